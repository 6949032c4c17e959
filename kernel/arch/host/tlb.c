// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The host's CPUs: between any two entries into the kernel they may walk the tables of every
 * address space and remember what they find until they are told to flush it. So a flush that is
 * missing, or of another address space, shows in the next check.
 */
#include "kernel/arch/host/machine.h"

#define TLB_ENTRIES 64u
#define LEVELS 4u

static struct {
    uint64_t root; /* 0: unused */
    uint64_t address;
    uint64_t physical;
    uint32_t rights;
} tlb[TLB_ENTRIES];
static uint32_t tlb_count;

void arch_tlb_flush(uint64_t root)
{
    for (uint32_t i = 0; i < tlb_count; i++) {
        if (root == 0 || tlb[i].root == root) {
            tlb[i].root = 0;
        }
    }
    host_machine.flushes++;
}

/* Rights that an entry lets through, with those that it has and withholds left out. */
static uint32_t rights_through(uint64_t entry)
{
    return arch_leaf_rights(entry) & ~(arch_entry_writable(entry) ? 0u : (uint32_t)RIGHT_WRITE);
}

/* What the tables say: the physical page, or 0; then `level` is where the walk ended. */
static uint64_t walk(uint64_t root, uint64_t address, uint32_t *rights, uint32_t *level)
{
    uint64_t table = root;

    *rights = RIGHT_READ | RIGHT_WRITE | RIGHT_EXECUTE;
    for (*level = LEVELS - 1u;; --*level) {
        uint64_t entry = ((const uint64_t *)arch_memory(table))[paging_index(address, *level)];
        if (entry == 0) {
            return 0;
        }
        if (*level == 0 || arch_entry_large(entry)) {
            uint64_t inside = address & (((uint64_t)1 << (PAGE_SHIFT + 9u * *level)) - 1u);
            *rights &= rights_through(entry);
            return arch_leaf_physical(entry) + (inside & ~(uint64_t)(PAGE_BYTES - 1u));
        }
        *rights &= *level == 1 ? rights_through(entry) : ~0u;
        table = arch_leaf_physical(entry);
    }
}

/* Translations of one address space, past the first *skip of them. */
static void fill_from(uint64_t root, uint32_t *skip)
{
    uint64_t address = 0;

    while (address < USER_ADDRESS_END && tlb_count < TLB_ENTRIES) {
        uint32_t rights;
        uint32_t level;
        uint64_t physical = walk(root, address, &rights, &level);
        if (physical != 0 && *skip > 0) {
            --*skip;
        } else if (physical != 0) {
            tlb[tlb_count].root = root;
            tlb[tlb_count].address = address;
            tlb[tlb_count].physical = physical;
            tlb[tlb_count++].rights = rights;
        }
        uint64_t step = (uint64_t)1 << (PAGE_SHIFT + 9u * level);
        address = (address & ~(step - 1u)) + step;
    }
}

void host_tlb_fill(struct kernel *k)
{
    static uint32_t skipped;
    /* All of them if they fit; else others each time. */
    uint32_t skip = tlb_count < TLB_ENTRIES ? 0 : skipped++ % (4u * TLB_ENTRIES);

    tlb_count = 0;
    for (uint32_t page = 0; page < k->page_count; page++) {
        for (uint32_t n = 0;
             k->pages[page].kind == PAGE_OBJECT + OBJECT_ASPACE && n < GRANULES_PER_PAGE;
             n += sizeof(struct aspace) / GRANULE_BYTES) {
            const struct aspace *a = aspace_at(k, (aspace_ix){page * GRANULES_PER_PAGE + n});
            if (a->original.n != NIL) {
                fill_from(a->paging.physical, &skip);
            }
        }
    }
}

bool host_tlb_fresh(void)
{
    for (uint32_t i = 0; i < tlb_count; i++) {
        uint32_t rights;
        uint32_t level;
        if (tlb[i].root != 0 &&
            (walk(tlb[i].root, tlb[i].address, &rights, &level) != tlb[i].physical ||
             (tlb[i].rights & ~rights) != 0)) {
            return false;
        }
    }
    return true;
}
