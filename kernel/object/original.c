// SPDX-License-Identifier: MIT OR Apache-2.0
/* Apart from the rest: in a proof, originals have cells of their own (proofs/kernel/cells.h). */
#include "kernel/object/object.h"

/* Where its field `original` lies, behind the object's first byte; 0: the type has none. */
#define ORIGINAL_OF(TYPE, name) [OBJECT_##TYPE] = offsetof(struct name, original) + 1u,
static const uint8_t offsets[OBJECT_TYPE_COUNT] = {OBJECT_KINDS(ORIGINAL_OF)};

slot_ix *object_original(struct kernel *k, enum object_type type, uint32_t object)
{
    if (type == OBJECT_IRQ) {
        return &irq_at(k, (irq_ix){object})->original;
    }
    uint32_t offset = offsets[arch_index(type, OBJECT_TYPE_COUNT)];
    /* The identity space of a machine without an IOMMU is no object. */
    bool has = offset != 0 && object != NIL;
    return has ? (slot_ix *)((uint8_t *)object_at(k, slot, object) + offset - 1u) : NULL;
}
