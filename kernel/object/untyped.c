// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Untyped memory: base, watermark, prepared, end. Objects are taken at the watermark, which only a
 * reset lowers, so memory is never reused while anything made from it lives. Small objects of one
 * type fill a page together; tables, page tables and frames take pages of their own. Memory is
 * cleared as it is taken, at most PREPARE_PAGES_MAX pages a call; what was cleared already is
 * remembered by `prepared`.
 */
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "lib/base/bytes.h"

/* Pages cleared in one call at most: what bounds its time with interrupts off. */
#define PREPARE_PAGES_MAX 2u
/* Pages one reset step gives back. */
#define RESET_PAGES_STEP 256u

/* What an object takes: granules of a shared page (0: none) and pages of its own. */
struct object_size {
    uint32_t granules;
    uint32_t pages;
};

#define GRANULES(name) (sizeof(struct name) / GRANULE_BYTES)
/* Of types whose objects are all of one size. */
static const struct object_size sizes[OBJECT_TYPE_COUNT] = {
    [OBJECT_THREAD] = {GRANULES(thread), 0},
    [OBJECT_ENDPOINT] = {GRANULES(endpoint), 0},
    [OBJECT_REPLY] = {GRANULES(reply), 0},
    [OBJECT_NOTIFICATION] = {GRANULES(notification), 0},
    [OBJECT_SCHED_CONTEXT] = {GRANULES(sched_context), 0},
    [OBJECT_PARTITION_SCHEDULE] = {GRANULES(schedule), 0},
    [OBJECT_ASPACE] = {GRANULES(aspace), 1},
    [OBJECT_PAGE_TABLE] = {GRANULES(page_table), 1 + RECORD_PAGES},
    [OBJECT_SEGMENT] = {GRANULES(segment), 1},
    [OBJECT_IOSPACE] = {GRANULES(iospace), IO_SPACE_PAGES}};

/* Precondition: object_size_check said OK. */
FAST static struct object_size object_size_of(enum object_type type, uint64_t size)
{
    if (type == OBJECT_UNTYPED) {
        return (struct object_size){1, (uint32_t)(size >> PAGE_SHIFT)};
    }
    if (type == OBJECT_TABLE) {
        return (struct object_size){
            0, (uint32_t)((size + GRANULES_PER_PAGE - 1u) / GRANULES_PER_PAGE)};
    }
    return sizes[arch_index(type, OBJECT_TYPE_COUNT)];
}

FAST static status_t object_size_check(uint64_t type, uint64_t size)
{
    if (type == OBJECT_UNTYPED) {
        if ((size & (PAGE_BYTES - 1u)) != 0) {
            return STATUS_MISALIGNED;
        }
        return size == 0 || size >= PHYSICAL_BYTES_MAX ? STATUS_INVALID_ARGUMENT : STATUS_OK;
    }
    if (type == OBJECT_TABLE) {
        return size < 2u || size > CAP_TABLE_SLOTS_MAX ? STATUS_INVALID_ARGUMENT : STATUS_OK;
    }
    if (type == OBJECT_IOSPACE && arch_io_limits().domains == 0) {
        return STATUS_UNSUPPORTED;
    }
    bool made = sizes[arch_index(type, OBJECT_TYPE_COUNT)].granules != 0;
    return made && size == 0 ? STATUS_OK : STATUS_INVALID_ARGUMENT;
}

status_t untyped_clear(struct untyped *u, uint64_t bytes)
{
    if (bytes > u->end - u->watermark) {
        return STATUS_NO_MEMORY;
    }
    uint64_t need = u->watermark + bytes;
    uint64_t now = need - u->prepared;
    if (now > PREPARE_PAGES_MAX * (uint64_t)PAGE_BYTES) {
        now = PREPARE_PAGES_MAX * (uint64_t)PAGE_BYTES;
    }
    memset(arch_memory(u->prepared), 0, now);
    u->prepared += now;
    /* Who asks for much does the rest in a call that clears nothing. */
    return u->prepared >= need && bytes <= PAGE_BYTES ? STATUS_OK : STATUS_AGAIN;
}

/* ---- Retype -------------------------------------------------------------------------------------
 */

/* Where the objects of one retype lie. */
struct layout {
    struct object_size size;
    uint32_t fitting;    /* objects that still fit in the fill page */
    uint32_t fill_pages; /* fresh pages for shared granules, at the watermark */
    uint64_t own;        /* first page of the objects' own pages, after those */
    uint64_t bytes;      /* in all */
};

/* Pages are counted in 64 bits: count <= RETYPE_COUNT_MAX, pages < 2^26. */
FAST static struct layout layout_of(const struct untyped *u, const struct retype_plan *plan)
{
    struct layout l = {.size = object_size_of(plan->type, plan->size)};

    if (l.size.granules != 0) {
        uint32_t per_page = GRANULES_PER_PAGE / l.size.granules;
        if (u->fill_page != 0 && u->fill_type == (uint16_t)plan->type) {
            l.fitting = (GRANULES_PER_PAGE - u->fill_next) / l.size.granules;
        }
        if (plan->count > l.fitting) {
            l.fill_pages = (plan->count - l.fitting + per_page - 1u) / per_page;
        }
    }
    l.own = u->watermark + (uint64_t)l.fill_pages * PAGE_BYTES;
    l.bytes = ((uint64_t)l.fill_pages + (uint64_t)plan->count * l.size.pages) * PAGE_BYTES;
    return l;
}

/* The next free granules of the fill page; starts a new page at *next_page when it is full. */
FAST static uint32_t fill_take(struct kernel *k, struct untyped *u, enum object_type type,
                               uint32_t granules, uint64_t *next_page)
{
    if (u->fill_page == 0 || u->fill_type != (uint16_t)type ||
        u->fill_next + granules > GRANULES_PER_PAGE) {
        pages_take(k, *next_page, 1, (uint8_t)(PAGE_OBJECT + type), NIL);
        u->fill_page = (uint32_t)(*next_page >> PAGE_SHIFT);
        u->fill_type = (uint16_t)type;
        u->fill_next = 0;
        *next_page += PAGE_BYTES;
    }
    uint32_t n = u->fill_page * GRANULES_PER_PAGE + u->fill_next;
    u->fill_next = (uint16_t)(u->fill_next + granules);
    return n;
}

/* Fills in a zeroed object: header at granule n, own pages at `own`. */
APART static void object_init(struct kernel *k, const struct retype_plan *plan, uint32_t n,
                              uint64_t own)
{
    switch (plan->type) {
    case OBJECT_UNTYPED: {
        struct untyped *u = untyped_at(k, (untyped_ix){n});
        u->base = own;
        u->watermark = own;
        u->prepared = own;
        u->end = own + plan->size;
        u->level = plan->level;
        break;
    }
    case OBJECT_THREAD:
        arch_thread_init(thread_at(k, (thread_ix){n}));
        break;
    case OBJECT_ASPACE:
        pages_take(k, own, 1, PAGE_PAGING, n);
        aspace_at(k, (aspace_ix){n})->paging.physical = own;
        arch_aspace_init(own);
        break;
    case OBJECT_PAGE_TABLE: {
        struct page_table *table = page_table_at(k, (page_table_ix){n});
        pages_take(k, own, 1, PAGE_PAGING, n);
        pages_take(k, own + PAGE_BYTES, RECORD_PAGES, PAGE_RECORDS, n);
        table->paging.physical = own;
        table->records = own + PAGE_BYTES;
        break;
    }
    case OBJECT_SEGMENT: {
        struct segment *segment = segment_at(k, (segment_ix){n});
        pages_take(k, own, 1, PAGE_PAGING, n);
        segment->physical = own;
        segment->shown = own;
        segment->source = plan->untyped;
        break;
    }
    case OBJECT_IOSPACE: {
        struct iospace *space = iospace_at(k, (iospace_ix){n});
        pages_take(k, own, IO_SPACE_PAGES, PAGE_PAGING, n);
        space->paging.physical = own;
        space->domain = iospace_domain_free(k);
        bit_set(k->io_domain_used, space->domain);
        k->io_domains[space->domain] = (iospace_ix){n};
        arch_io_space_init(own, space->domain);
        break;
    }
    default:
        break;
    }
}

FAST static uint32_t table_init(struct kernel *k, const struct retype_plan *plan, uint64_t own,
                                uint32_t pages)
{
    uint32_t n = address_granule(own);

    pages_take(k, own, pages, PAGE_OBJECT + OBJECT_TABLE, n);
    struct table *table = table_at(k, (table_ix){n});
    table->slots = (uint32_t)plan->size;
    table->slots_made = (uint32_t)plan->size;
    table->level = plan->level;
    return n;
}

FAST status_t untyped_retype_plan(struct kernel *k, const struct retype_plan *plan)
{
    struct untyped *u = untyped_at(k, plan->untyped);
    struct layout l = layout_of(u, plan);

    if (l.bytes > u->end - u->watermark) {
        return STATUS_NO_MEMORY;
    }
    uint64_t zeroed = plan->type == OBJECT_UNTYPED ? (uint64_t)l.fill_pages * PAGE_BYTES : l.bytes;
    status_t status = untyped_prepare(u, zeroed);
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t next_page = u->watermark;
    uint64_t own = l.own;
    u->watermark += l.bytes;
    if (u->prepared < u->watermark) {
        u->prepared = u->watermark;
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        uint32_t n;
        if (plan->type == OBJECT_TABLE) {
            n = table_init(k, plan, own, l.size.pages);
        } else {
            n = fill_take(k, u, plan->type, l.size.granules, &next_page);
            object_init(k, plan, n, own);
        }
        own += (uint64_t)l.size.pages * PAGE_BYTES;
        cap_create(k, plan->parent, (slot_ix){plan->first.n + i}, plan->type, n);
    }
    return STATUS_OK;
}

/* Decodes and checks all that does not need the memory itself. */
FAST static status_t retype_decode(struct kernel *k, const struct retype_request *request,
                                   struct retype_plan *plan)
{
    struct slot *slot;
    status_t status = cap_find_here(k, request->untyped, OBJECT_UNTYPED, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    status = object_size_check(request->type, request->size);
    if (status != STATUS_OK) {
        return status;
    }
    if (request->count == 0 || request->count > RETYPE_COUNT_MAX) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (request->type == OBJECT_IOSPACE) {
        if (request->count != 1) { /* each takes a domain number */
            return STATUS_INVALID_ARGUMENT;
        }
        if (iospace_domain_free(k) == 0) {
            return STATUS_FULL;
        }
    }
    table_ix table;
    status = cap_ref_slot(k, request->first, &plan->first, &table);
    if (status != STATUS_OK) {
        return status;
    }
    plan->parent = cap_own(k, request->untyped);
    plan->untyped = (untyped_ix){slot->object};
    plan->type = (enum object_type)request->type;
    plan->size = request->size;
    plan->count = (uint32_t)request->count;
    if (plan->first.n - table.n + plan->count > table_at(k, table)->slots) {
        return STATUS_INVALID_SLOT;
    }
    for (uint32_t i = 0; i < plan->count; i++) {
        if (slot_at(k, (slot_ix){plan->first.n + i})->type != OBJECT_NONE) {
            return STATUS_OCCUPIED_SLOT;
        }
    }
    uint32_t level = untyped_at(k, plan->untyped)->level;
    if (table_at(k, table)->level > level) {
        level = table_at(k, table)->level;
    }
    plan->level = level + 1u;
    bool leveled = plan->type == OBJECT_TABLE || plan->type == OBJECT_UNTYPED;
    if (slot->depth >= DERIVATION_DEPTH_MAX || (leveled && plan->level > LEVEL_MAX)) {
        return STATUS_DERIVATION_DEPTH;
    }
    return STATUS_OK;
}

/*
 * Requires: untyped memory held with MANAGE; a type and size that can be made; `count` empty slots
 * in a row; depth and level below their limits; room. Changes:  OK: `count` new, all-zero objects;
 * the slots hold their originals, children of the untyped capability. AGAIN: only memory was
 * cleared. Else:     nothing changes.
 */
FAST status_t untyped_retype(struct kernel *k, const struct retype_request *request)
{
    struct retype_plan plan;
    status_t status = retype_decode(k, request, &plan);

    return status == STATUS_OK ? untyped_retype_plan(k, &plan) : status;
}

/*
 * Requires: untyped memory held with MANAGE, without children (BUSY).
 * Changes:  OK: all of it is free again. AGAIN: a part at its end is.
 */
status_t untyped_reset(struct kernel *k, uint64_t untyped)
{
    struct slot *slot;
    status_t status = cap_find(k, untyped, OBJECT_UNTYPED, RIGHT_MANAGE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    if (slot->child.n != NIL) {
        return STATUS_BUSY;
    }
    struct untyped *u = untyped_at(k, (untyped_ix){slot->object});
    u->fill_page = 0;
    for (uint32_t i = 0; i < RESET_PAGES_STEP && u->watermark > u->base; i++) {
        u->watermark -= PAGE_BYTES;
        *page_at(k, u->watermark) = (struct page){.kind = PAGE_FREE};
    }
    u->prepared = u->watermark;
    return u->watermark == u->base ? STATUS_OK : STATUS_AGAIN;
}

/* Requires: untyped memory held. Changes: nothing. */
status_t untyped_info(struct kernel *k, uint64_t untyped, uint64_t values[2])
{
    struct slot *slot;
    status_t status = cap_find(k, untyped, OBJECT_UNTYPED, 0, &slot);

    if (status == STATUS_OK) {
        const struct untyped *u = untyped_at(k, (untyped_ix){slot->object});
        values[0] = u->end - u->base;
        values[1] = u->end - u->watermark;
    }
    return status;
}

/* Its memory stays in use by the untyped memory above it until that is reset. */
status_t untyped_destroy(struct kernel *k, untyped_ix i)
{
    (void)k;
    (void)i;
    return STATUS_OK;
}
