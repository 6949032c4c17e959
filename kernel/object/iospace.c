// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * I/O spaces: what devices see. A space has tables of the same shape as an address space, made of
 * page tables from the caller's untyped memory, and shows segments by pointing at their leaf tables
 * (docs/decisions/025). PCI functions are assigned to it; one that is assigned nowhere reaches no
 * memory at all.
 *
 * A fault is reported once: the first is recorded, the space's notification is signalled, and the
 * IOMMU holds further reports of that function back until the record is taken.
 */
#include "kernel/entry.h"
#include "kernel/object/cap.h"
#include "kernel/object/lists.h"
#include "kernel/object/object.h"
#include "kernel/sched.h"

#define RIGHTS_DEVICE (RIGHT_READ | RIGHT_WRITE)

uint32_t iospace_domain_free(const struct kernel *k)
{
    uint32_t domain = bit_free(k->io_domain_used, IO_DOMAINS_MAX / 64u);

    return domain < arch_io_limits().domains ? domain : 0;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Finds the space and the place of an address in it. */
static status_t place_decode(struct kernel *k, uint64_t iospace, uint64_t address,
                             struct attachment *at)
{
    struct slot *space;
    status_t status = cap_find_object(k, iospace, OBJECT_IOSPACE, RIGHT_MANAGE, &space);

    if (status != STATUS_OK) {
        return status;
    }
    if ((address & (SEGMENT_BYTES - 1u)) != 0) {
        return STATUS_MISALIGNED;
    }
    if (address >= arch_io_limits().address_end) {
        return STATUS_INVALID_ARGUMENT;
    }
    const struct paging *top = &iospace_at(k, (iospace_ix){space->object})->paging;
    at->table = paging_directory(k, top, address);
    at->entry = paging_index(address, 1);
    return at->table.n == NIL ? STATUS_MISSING_TABLE : STATUS_OK;
}

/*
 * Requires: segment held with READ and DMA, READ asked for, WRITE or not; an I/O space held with
 *           MANAGE; a 2 MiB-aligned address whose tables are there and whose entry is unused.
 *           No copies of the segment (BUSY).
 * Changes:  OK: the space's devices see the window there, each page with its own rights & the
 *           capability's & those asked for. AGAIN: a step of ending that the segment shows
 * another's pages. While it is attached, it cannot be copied.
 */
status_t iospace_attach(struct kernel *k, uint64_t segment, uint64_t iospace, uint64_t address,
                        uint64_t rights)
{
    struct slot *slot;
    struct attachment at;
    status_t status = cap_find(k, segment, OBJECT_SEGMENT, RIGHT_READ | RIGHT_DMA, &slot);

    if (status == STATUS_OK) {
        status = place_decode(k, iospace, address, &at);
    }
    if (status != STATUS_OK) {
        return status;
    }
    if ((rights & ~(uint64_t)RIGHTS_DEVICE) != 0 || (rights & RIGHT_READ) == 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (bit_get(page_table_at(k, at.table)->paging.used, at.entry)) {
        return STATUS_ALREADY_MAPPED;
    }
    if (segment_at(k, (segment_ix){slot->object})->large_level != 0) {
        return STATUS_UNSUPPORTED;
    }
    status = segment_make_open(k, (segment_ix){slot->object});
    if (status != STATUS_OK) {
        return status;
    }
    segment_enter_io(k, (segment_ix){slot->object}, at,
                     rights_narrow(slot->rights, (uint32_t)rights));
    return STATUS_OK;
}

/*
 * Requires: segment held, I/O space held with MANAGE, the segment attached there (NOT_MAPPED).
 * Changes:  it is not, and no device uses it.
 */
status_t iospace_detach(struct kernel *k, uint64_t segment, uint64_t iospace, uint64_t address)
{
    struct slot *slot;
    struct attachment at;
    status_t status = cap_find(k, segment, OBJECT_SEGMENT, 0, &slot);

    if (status == STATUS_OK) {
        status = place_decode(k, iospace, address, &at);
    }
    if (status != STATUS_OK) {
        return status == STATUS_MISSING_TABLE ? STATUS_NOT_MAPPED : status;
    }
    if (segment_record(k, at)->segment.n != slot->object) {
        return STATUS_NOT_MAPPED;
    }
    segment_undo(k, at);
    arch_io_flush(iospace_at(k, page_table_at(k, at.table)->iospace)->domain);
    return STATUS_OK;
}

/* ---- Functions ------------------------------------------------------------------------------- */

status_t functions_decode(struct kernel *k, uint64_t functions, uint64_t function)
{
    struct slot *slot;
    status_t status = cap_find(k, functions, OBJECT_PCI_FUNCTIONS, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    bool inside = function >= slot->base && function - slot->base < slot->length;
    return inside && arch_io_function_ok((uint32_t)function) ? STATUS_OK : STATUS_INVALID_ARGUMENT;
}

/*
 * Requires: I/O space held with MANAGE; functions held with MANAGE that cover this one, which the
 *           machine can have (INVALID_ARGUMENT); it is assigned nowhere (IN_USE); the space has
 *           fewer than IOSPACE_FUNCTIONS_MAX (FULL).
 * Changes:  what the function reads and writes is this space.
 */
status_t iospace_assign(struct kernel *k, uint64_t iospace, uint64_t functions, uint64_t function)
{
    struct slot *slot;
    status_t status = cap_find_object(k, iospace, OBJECT_IOSPACE, RIGHT_MANAGE, &slot);

    if (status == STATUS_OK) {
        status = functions_decode(k, functions, function);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct iospace *space = iospace_at(k, (iospace_ix){slot->object});
    if (arch_io_domain((uint32_t)function) != 0) {
        return STATUS_IN_USE;
    }
    uint32_t n = (uint32_t)__builtin_ctz(~space->functions_used);
    if (n >= IOSPACE_FUNCTIONS_MAX) {
        return STATUS_FULL;
    }
    space->functions[n] = (uint16_t)function;
    space->functions_used |= 1u << n;
    arch_io_assign((uint32_t)function, space->paging.physical, space->domain);
    return STATUS_OK;
}

static void function_remove(struct iospace *space, uint32_t n)
{
    arch_io_unassign(space->functions[n]);
    space->functions_used &= ~(1u << n);
    space->functions[n] = 0;
}

/*
 * Requires: I/O space held with MANAGE; the function is assigned to it (NOT_FOUND).
 * Changes:  the function reaches no memory, and what it had begun is done.
 */
status_t iospace_unassign(struct kernel *k, uint64_t iospace, uint64_t function)
{
    struct slot *slot;
    status_t status = cap_find_object(k, iospace, OBJECT_IOSPACE, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    struct iospace *space = iospace_at(k, (iospace_ix){slot->object});
    for (uint32_t n = 0; n < IOSPACE_FUNCTIONS_MAX; n++) {
        if ((space->functions_used >> n & 1u) != 0 && space->functions[n] == function) {
            function_remove(space, n);
            return STATUS_OK;
        }
    }
    return STATUS_NOT_FOUND;
}

/* ---- Faults ---------------------------------------------------------------------------------- */

DEFINE_MEMBERS(iospace, iospace, notification, notification, iospaces, next, previous)

void iospace_unbind(struct kernel *k, iospace_ix i)
{
    iospace_unlink(k, i);
    iospace_at(k, i)->badge = 0;
}

/*
 * Requires: I/O space held with MANAGE; notification 0, or one held with SEND and a badge that is
 *           not 0 (INVALID_ARGUMENT).
 * Changes:  faults of its functions signal that notification with that badge, or none.
 */
status_t iospace_bind(struct kernel *k, uint64_t iospace, uint64_t notification)
{
    struct slot *slot, *with;
    status_t status = cap_find_object(k, iospace, OBJECT_IOSPACE, RIGHT_MANAGE, &slot);

    if (status == STATUS_OK) {
        status = source_decode(k, notification, &with);
    }
    if (status != STATUS_OK) {
        return status;
    }
    iospace_ix i = {slot->object};
    iospace_unbind(k, i);
    if (with != NULL) {
        iospace_at(k, i)->badge = with->badge;
        iospace_link(k, (notification_ix){with->object}, i);
    }
    return STATUS_OK;
}

/*
 * Requires: I/O space held with READ; there is a record (NOT_FOUND).
 * Changes:  it is taken; the space's functions report faults again.
 */
status_t iospace_fault(struct kernel *k, uint64_t iospace, uint64_t values[2])
{
    struct slot *slot;
    status_t status = cap_find_object(k, iospace, OBJECT_IOSPACE, RIGHT_READ, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    struct iospace *space = iospace_at(k, (iospace_ix){slot->object});
    if (space->fault == 0) {
        return STATUS_NOT_FOUND;
    }
    values[0] = space->fault_address;
    values[1] = space->fault;
    space->fault_address = 0;
    space->fault = 0;
    for (uint32_t n = 0; n < IOSPACE_FUNCTIONS_MAX; n++) {
        if ((space->functions_used >> n & 1u) != 0) {
            arch_io_report(space->functions[n], true);
        }
    }
    return STATUS_OK;
}

bool kernel_io_fault(struct kernel *k, uint32_t function, uint64_t address, uint32_t flags)
{
    uint32_t domain = arch_io_function_ok(function) ? arch_io_domain(function) : 0;

    if (domain == 0) {
        return false;
    }
    struct iospace *space = iospace_at(k, k->io_domains[domain]);
    arch_io_report(function, false);
    if (space->fault == 0) {
        space->fault_address = address;
        space->fault = function | flags;
    }
    if (space->fault >> IO_FAULT_COUNT_SHIFT != UINT32_MAX) {
        space->fault += (uint64_t)1 << IO_FAULT_COUNT_SHIFT;
    }
    if (space->notification.n != NIL) {
        notification_raise(k, space->notification, space->badge);
    }
    sched_finish(k);
    return true;
}

/* ---- Death ----------------------------------------------------------------------------------- */

status_t iospace_destroy(struct kernel *k, iospace_ix i)
{
    struct iospace *space = iospace_at(k, i);

    if (space->functions_used != 0) {
        function_remove(space, (uint32_t)__builtin_ctz(space->functions_used));
        return STATUS_AGAIN;
    }
    uint32_t entry = bit_first(space->paging.used, PAGING_ENTRIES / 64u);
    if (entry != PAGING_ENTRIES) {
        paging_step(k, &space->paging, entry);
        return STATUS_AGAIN;
    }
    iospace_unbind(k, i);
    arch_io_flush(space->domain);
    k->io_domains[space->domain] = (iospace_ix){NIL};
    bit_clear(k->io_domain_used, space->domain);
    return STATUS_OK;
}
