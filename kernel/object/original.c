// SPDX-License-Identifier: MIT OR Apache-2.0
/* Apart from the rest: in a proof, originals have cells of their own (proofs/kernel/cells.h). */
#include "kernel/object/object.h"

#define ORIGINAL_OF(TYPE, name)                                                                    \
    case OBJECT_##TYPE:                                                                            \
        return &name##_at(k, (name##_ix){object})->original;

slot_ix *object_original(struct kernel *k, enum object_type type, uint32_t object)
{
    if (type == OBJECT_IOSPACE && object == NIL) {
        return NULL; /* the identity space of a machine without an IOMMU */
    }
    switch (type) {
        OBJECT_KINDS(ORIGINAL_OF)
    default:
        return NULL;
    }
}
