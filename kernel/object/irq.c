// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Interrupt handlers: one for each vector, made from the irq control capability. When its interrupt
 * comes, a handler signals the notification it is bound to. A level-triggered pin is masked then,
 * until irq_ack; every source is masked while its handler is not bound.
 *
 * A handler has a CPU and a domain. An interrupt that comes in a window of another domain is *held
 * back*: its source is masked, so that it comes once, and it arrives when its CPU enters a window
 * of its domain (docs/decisions/017). Invariant 75.
 */
#include "kernel/entry.h"
#include "kernel/object/cap.h"
#include "kernel/object/lists.h"
#include "kernel/object/object.h"
#include "kernel/sched.h"
#include "kernel/timer.h"
#include "kernel/trace.h"

/* Interrupts held back that one entry lets arrive. */
#define IRQ_RELEASE_STEP 2u

/* At the source. */
APART static void irq_mask(struct kernel *k, irq_ix i, bool masked)
{
    const struct irq *irq = irq_at(k, i);

    if (irq->kind == IRQ_PIN) {
        arch_irq_pin_mask(irq->gsi, masked);
    } else {
        arch_irq_message_mask(i.n, masked);
    }
}

/* Where it is held back, if it is. */
static uint64_t *irq_held(struct kernel *k, const struct irq *irq)
{
    return cpu_at(k, irq->cpu)->held[irq->domain];
}

/* Checks what both kinds of creation need. */
static status_t irq_decode(struct kernel *k, uint64_t control, cap_ref_t to, slot_ix *dst,
                           irq_ix *irq)
{
    struct slot *slot;
    table_ix table;
    status_t status = cap_find(k, control, OBJECT_IRQ_CONTROL, 0, &slot);

    if (status == STATUS_OK) {
        status = cap_ref_slot(k, to, dst, &table);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (slot_at(k, *dst)->type != OBJECT_NONE) {
        return STATUS_OCCUPIED_SLOT;
    }
    if (slot->depth >= DERIVATION_DEPTH_MAX) {
        return STATUS_DERIVATION_DEPTH;
    }
    irq->n = bit_free(k->irq_used, IRQ_VECTOR_COUNT / 64u);
    return irq->n == IRQ_VECTOR_COUNT ? STATUS_NO_MEMORY : STATUS_OK;
}

/* Cannot fail. It arrives on the CPU that makes it, in domain 0. */
APART static void irq_create(struct kernel *k, uint64_t control, slot_ix dst, irq_ix i,
                             const struct irq *irq)
{
    *irq_at(k, i) = *irq;
    irq_at(k, i)->cpu = cpu_self(k)->index;
    bit_set(k->irq_used, i.n);
    cap_create(k, cap_own(k, control), dst, OBJECT_IRQ, i.n);
}

/*
 * Requires: irq_control, an empty slot, a free vector (NO_MEMORY).
 * Changes:  the slot holds a new handler, a child of irq_control; the values tell the device where
 * to write what.
 */
status_t irq_create_msi(struct kernel *k, uint64_t control, cap_ref_t to, uint64_t values[2])
{
    slot_ix dst;
    irq_ix i;
    status_t status = irq_decode(k, control, to, &dst, &i);

    if (status == STATUS_OK) {
        status = arch_irq_msi(i.n, cpu_self(k), values);
    }
    if (status == STATUS_OK) {
        irq_create(k, control, dst, i, &(struct irq){.kind = IRQ_MSI});
    }
    return status;
}

/* Bound: the number of vectors. */
static bool pin_taken(const struct kernel *k, uint64_t gsi)
{
    for (uint32_t v = IRQ_VECTOR_FIRST; v <= IRQ_VECTOR_LAST; v++) {
        if (k->irqs[v].kind == IRQ_PIN && k->irqs[v].gsi == gsi) {
            return true;
        }
    }
    return false;
}

/*
 * Requires: as irq_create_msi; a pin that exists (NOT_FOUND) and has no handler (IN_USE); known
 * flags. Changes:  the slot holds a new handler; the pin is routed to it, masked.
 */
status_t irq_create_ioapic(struct kernel *k, uint64_t control, cap_ref_t to, uint64_t gsi,
                           uint64_t flags)
{
    slot_ix dst;
    irq_ix i;
    status_t status = irq_decode(k, control, to, &dst, &i);

    if (status != STATUS_OK) {
        return status;
    }
    if ((flags & ~(uint64_t)(IRQ_LEVEL | IRQ_ACTIVE_LOW)) != 0 || gsi > UINT16_MAX) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (pin_taken(k, gsi)) {
        return STATUS_IN_USE;
    }
    status = arch_irq_pin((uint32_t)gsi, i.n, (uint32_t)flags, cpu_self(k));
    if (status == STATUS_OK) {
        irq_create(k, control, dst, i,
                   &(struct irq){.kind = IRQ_PIN, .flags = (uint8_t)flags, .gsi = (uint16_t)gsi});
    }
    return status;
}

DEFINE_MEMBERS(irq, irq, notification, notification, irqs, next, previous)

void irq_unbind(struct kernel *k, irq_ix i)
{
    struct irq *irq = irq_at(k, i);

    irq_mask(k, i, true);
    bit_clear(irq_held(k, irq), i.n);
    irq_unlink(k, i);
    irq->badge = 0;
}

/*
 * Requires: irq held with MANAGE; notification 0, or one held with SEND and a badge that is not 0
 *           (INVALID_ARGUMENT).
 * Changes:  the handler signals that notification with that badge, or none; what was held back is
 *           forgotten.
 */
status_t irq_bind(struct kernel *k, uint64_t irq_slot, uint64_t notification)
{
    struct slot *slot, *with;
    status_t status = cap_find(k, irq_slot, OBJECT_IRQ, RIGHT_MANAGE, &slot);

    if (status == STATUS_OK) {
        status = source_decode(k, notification, &with);
    }
    if (status != STATUS_OK) {
        return status;
    }
    irq_ix i = {slot->object};
    struct irq *irq = irq_at(k, i);
    irq_unbind(k, i);
    if (with != NULL) {
        irq->badge = with->badge;
        irq_link(k, (notification_ix){with->object}, i);
        irq_mask(k, i, false);
    }
    return STATUS_OK;
}

/* Requires: irq held with MANAGE, bound (NOT_MAPPED). Changes: a level-triggered pin may fire
 * again. */
status_t irq_ack(struct kernel *k, uint64_t irq_slot)
{
    struct slot *slot;
    status_t status = cap_find(k, irq_slot, OBJECT_IRQ, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    const struct irq *irq = irq_at(k, (irq_ix){slot->object});
    if (irq->notification.n == NIL) {
        return STATUS_NOT_MAPPED;
    }
    if ((irq->flags & IRQ_LEVEL) != 0 && !bit_get(irq_held(k, irq), slot->object)) {
        arch_irq_pin_mask(irq->gsi, false);
    }
    return STATUS_OK;
}

/*
 * Requires: a message-signalled irq held with MANAGE (INVALID_ARGUMENT for a pin); functions held
 *           with MANAGE that cover this one; interrupt remapping (UNSUPPORTED).
 * Changes:  that function's messages raise the interrupt and nobody else's.
 */
status_t irq_source(struct kernel *k, uint64_t irq_slot, uint64_t functions, uint64_t function)
{
    struct slot *slot;
    status_t status = cap_find(k, irq_slot, OBJECT_IRQ, RIGHT_MANAGE, &slot);

    if (status == STATUS_OK) {
        status = functions_decode(k, functions, function);
    }
    if (status == STATUS_OK && irq_at(k, (irq_ix){slot->object})->kind != IRQ_MSI) {
        status = STATUS_INVALID_ARGUMENT;
    }
    return status == STATUS_OK ? arch_irq_source(slot->object, (uint32_t)function) : status;
}

status_t irq_destroy(struct kernel *k, irq_ix i)
{
    irq_unbind(k, i);
    arch_irq_forget(i.n);
    *irq_at(k, i) = (struct irq){.kind = IRQ_NONE};
    bit_clear(k->irq_used, i.n);
    return STATUS_OK;
}

/* Precondition: bound. */
FAST static void irq_arrive(struct kernel *k, irq_ix i)
{
    const struct irq *irq = irq_at(k, i);

    if (irq->domain != cpu_at(k, irq->cpu)->domain) {
        bit_set(irq_held(k, irq), i.n);
        irq_mask(k, i, true);
        return;
    }
    if ((irq->flags & IRQ_LEVEL) != 0) {
        arch_irq_pin_mask(irq->gsi, true);
    }
    notification_raise(k, irq->notification, irq->badge);
}

/* It arrives once more. A source that is not level-triggered is unmasked first: what it drops until
 * then is what arrives here. */
static void irq_again(struct kernel *k, irq_ix i)
{
    bit_clear(irq_held(k, irq_at(k, i)), i.n);
    if ((irq_at(k, i)->flags & IRQ_LEVEL) == 0) {
        irq_mask(k, i, false);
    }
    irq_arrive(k, i);
}

/* Bound: IRQ_RELEASE_STEP; what is left makes the timer fire again at once. */
void irq_release(struct kernel *k)
{
    struct cpu *c = cpu_self(k);
    const uint64_t *held = c->held[c->domain];
    uint32_t v = bit_first(held, IRQ_VECTOR_COUNT / 64u);

    for (uint32_t step = 0; step < IRQ_RELEASE_STEP && v != IRQ_VECTOR_COUNT; step++) {
        irq_again(k, (irq_ix){v});
        v = bit_first(held, IRQ_VECTOR_COUNT / 64u);
    }
    c->releasing = v != IRQ_VECTOR_COUNT;
    timer_due_update(c);
}

/*
 * Requires: irq held with MANAGE; a sched_control; a CPU that is used, a domain (INVALID_ARGUMENT);
 *           interrupt remapping if the CPU's APIC id is above 255 (UNSUPPORTED).
 * Changes:  the interrupt arrives on that CPU, in windows of that domain. If it is bound it arrives
 *           once without having come, since one may have been lost on the way. The values are what
 *           the device of a message has to write from now on; with remapping, the same as before.
 */
status_t irq_affinity(struct kernel *k, const struct irq_place *place, uint64_t values[2])
{
    struct slot *slot, *with;
    status_t status = cap_find_sched(k, place->irq, OBJECT_IRQ, place->control, &slot, &with);

    if (status != STATUS_OK) {
        return status;
    }
    if (place->cpu >= k->cpu_count || place->domain >= DOMAIN_COUNT) {
        return STATUS_INVALID_ARGUMENT;
    }
    irq_ix i = {slot->object};
    struct irq *irq = irq_at(k, i);
    struct cpu *c = cpu_at(k, (uint32_t)arch_index(place->cpu, k->cpu_count));
    status = irq->kind == IRQ_PIN ? arch_irq_pin(irq->gsi, i.n, irq->flags, c)
                                  : arch_irq_msi(i.n, c, values);
    if (status == STATUS_OK) {
        bit_clear(irq_held(k, irq), i.n);
        irq->cpu = c->index;
        irq->domain = (uint8_t)arch_index(place->domain, DOMAIN_COUNT);
        if (irq->notification.n != NIL) {
            irq_again(k, i);
        }
    }
    return status;
}

FAST void kernel_interrupt(struct kernel *k, uint32_t vector)
{
    bool device = vector >= IRQ_VECTOR_FIRST && vector <= IRQ_VECTOR_LAST;

    if (device && irq_at(k, (irq_ix){vector})->notification.n != NIL) {
        irq_arrive(k, (irq_ix){vector});
    }
    sched_finish(k);
    trace(k, TRACE_IRQ, vector, 0);
}
