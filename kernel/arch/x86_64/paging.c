// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/arch/x86_64/paging.h"

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/slide.h"
#include "kernel/arch/x86_64/traps.h"
#include "lib/base/assert.h"
#include "lib/base/bytes.h"

extern char start_begin[], start_data_begin[], start_end[];
extern char text_start[], text_end[], rodata_start[], rodata_end[], data_start[], data_end[];
extern char stack_guard[], entry_text_end[], idt[];
extern uint64_t isolation_root; /* traps.S */
extern char *isolation_sites[][2],
    *isolation_sites_end[][2]; /* [0]: where to jump to [1]; NULL: no CR3 */

uint64_t paging_kernel_root, paging_shared_root;
static uint64_t global;                        /* PTE_GLOBAL, 0 with isolation */
static uint64_t *start_leaves, *window_leaves; /* of start_begin: as image and as RAM */
static uint64_t device_table[512] __attribute__((aligned(PAGE_BYTES)));
static uint32_t device_pages;

/* PAT (SDM vol. 3, 11.12): the reset value with entries 1 and 5 write-combining. */
#define PAT_VALUE 0x0007010600070106ull

static uint64_t image_physical(const char *symbol)
{
    return (uint64_t)symbol - (uint64_t)image_base;
}

/* The entry of `address` in the table of `level` (0: 4 KiB pages .. 3: top), or NULL. */
static uint64_t *entry_at(uint64_t address, uint32_t level, page_source pages)
{
    uint64_t table = paging_kernel_root;
    for (uint32_t l = 3; l > level; l--) {
        uint64_t *entry = (uint64_t *)physical_pointer(table) + (address >> (12 + 9 * l) & 511);
        if (!(*entry & PTE_PRESENT)) {
            uint64_t page = pages();
            if (page == 0)
                return NULL;
            *entry = page | PTE_PRESENT | PTE_WRITE;
        }
        table = *entry & PTE_ADDRESS_MASK;
    }
    return (uint64_t *)physical_pointer(table) + (address >> (12 + 9 * level) & 511);
}

/* Maps [address, address + bytes), whole pages, to `physical` with the largest pages that fit. */
static status_t map(uint64_t address, uint64_t physical, uint64_t bytes, uint64_t flags,
                    page_source pages)
{
    while (bytes > 0) {
        uint32_t level = 0;
        for (uint32_t l = cpu_features.page_1g ? 2 : 1; l > 0; l--) {
            uint64_t size = 1ull << (12 + 9 * l);
            if (((address | physical) & (size - 1)) == 0 && bytes >= size) {
                level = l;
                break;
            }
        }
        uint64_t *entry = entry_at(address, level, pages);
        if (entry == NULL)
            return STATUS_NO_MEMORY;
        *entry = physical | flags | (level > 0 ? PTE_LARGE : 0);
        uint64_t step = 1ull << (12 + 9 * level);
        address += step;
        physical += step;
        bytes -= step;
    }
    return STATUS_OK;
}

static status_t map_image(page_source pages)
{
    const struct {
        const char *start, *end;
        uint64_t flags;
    } parts[] = {
        {start_begin, start_data_begin, PTE_PRESENT},
        {start_data_begin, start_end, PTE_PRESENT | PTE_WRITE | PTE_NO_EXECUTE},
        {text_start, text_end, PTE_PRESENT | global},
        {rodata_start, rodata_end, PTE_PRESENT | global | PTE_NO_EXECUTE},
        {data_start, data_end, PTE_PRESENT | PTE_WRITE | global | PTE_NO_EXECUTE},
    };
    status_t status = STATUS_OK;
    for (uint32_t i = 0; i < sizeof parts / sizeof *parts && status == STATUS_OK; i++)
        status = map((uint64_t)parts[i].start, image_physical(parts[i].start),
                     (uint64_t)(parts[i].end - parts[i].start), parts[i].flags, pages);
    return status;
}

/* As `map`, in another top table. */
static status_t map_under(uint64_t root, uint64_t address, uint64_t physical, uint64_t flags,
                          page_source pages)
{
    uint64_t own = paging_kernel_root;
    paging_kernel_root = root;
    status_t status = map(address, physical, PAGE_BYTES, flags, pages);
    paging_kernel_root = own;
    return status;
}

/* Context: early tables, which let code be written to. */
static status_t isolate(page_source pages)
{
    paging_shared_root = pages();
    status_t status = paging_shared_root == 0 ? STATUS_NO_MEMORY : STATUS_OK;
    for (const char *at = text_start; at < entry_text_end && status == STATUS_OK; at += PAGE_BYTES)
        status =
            map_under(paging_shared_root, (uint64_t)at, image_physical(at), PTE_PRESENT, pages);
    if (status == STATUS_OK)
        status = map_under(paging_shared_root, (uint64_t)idt, image_physical(idt),
                           PTE_PRESENT | PTE_NO_EXECUTE, pages);
    for (char *(*site)[2] = isolation_sites; site < isolation_sites_end; site++) {
        char *at = (*site)[0], *other = (*site)[1];
        int32_t distance = (int32_t)(other - (at + 5));
        memcpy(at, other == NULL ? "\x0f\x1f" : "\xe9", other == NULL ? 3 : 1); /* NOP, JMP */
        if (other != NULL)
            memcpy(at + 1, &distance, sizeof distance);
    }
    isolation_root = paging_kernel_root;
    return status;
}

bool paging_show(uint64_t physical, page_source pages)
{
    return map_under(paging_shared_root, PHYSICAL_WINDOW + physical, physical,
                     PTE_PRESENT | PTE_WRITE | PTE_NO_EXECUTE, pages) == STATUS_OK;
}

static status_t map_window(const struct memory_map *ram, page_source pages)
{
    static struct memory_map window;
    window = *ram;
    status_t status =
        memory_map_remove(&window, KERNEL_PHYSICAL, image_physical(data_end) - KERNEL_PHYSICAL);
    for (uint32_t i = 0; i < window.count && status == STATUS_OK; i++)
        status =
            map(PHYSICAL_WINDOW + window.range[i].base, window.range[i].base, window.range[i].bytes,
                PTE_PRESENT | PTE_WRITE | global | PTE_NO_EXECUTE, pages);
    return status;
}

status_t paging_init(const struct memory_map *ram, page_source pages)
{
    paging_kernel_root = paging_shared_root = pages();
    if (paging_kernel_root == 0)
        return STATUS_NO_MEMORY;
    global = cpu_features.isolate ? 0 : PTE_GLOBAL;
    status_t status = cpu_features.isolate ? isolate(pages) : STATUS_OK;
    if (status == STATUS_OK)
        status = map_window(ram, pages);
    if (status == STATUS_OK)
        status = map_image(pages);
    uint64_t *device_entry = entry_at(DEVICE_WINDOW, 1, pages);
    start_leaves = entry_at((uint64_t)start_begin, 0, pages);
    window_leaves = entry_at(PHYSICAL_WINDOW + KERNEL_PHYSICAL, 0, pages);
    if (status != STATUS_OK || device_entry == NULL || window_leaves == NULL)
        return STATUS_NO_MEMORY;
    *device_entry = image_physical((const char *)device_table) | PTE_PRESENT | PTE_WRITE;
    *entry_at((uint64_t)stack_guard, 0, pages) = 0;
    /* Every top-level entry that the kernel will ever use exists now. */
    paging_load();
    return STATUS_OK;
}

void paging_leave_start(void)
{
    for (uint32_t i = 0; i < (uint64_t)(start_end - start_begin) / PAGE_BYTES; i++) {
        start_leaves[i] = 0;
        window_leaves[i] =
            (KERNEL_PHYSICAL + i * PAGE_BYTES) | PTE_PRESENT | PTE_WRITE | global | PTE_NO_EXECUTE;
    }
    arch_tlb_flush(0);
    user_return();
}

void paging_load(void)
{
    wrmsr(MSR_PAT, PAT_VALUE);
    write_cr3(paging_kernel_root);
}

static bool map_fresh(uint64_t address, uint64_t bytes, bool shown, page_source pages)
{
    for (uint64_t at = address; at < address + bytes; at += PAGE_BYTES) {
        uint64_t page = pages();
        uint64_t flags = PTE_PRESENT | PTE_WRITE | global | PTE_NO_EXECUTE;
        if (page == 0 || map(at, page, PAGE_BYTES, flags, pages) != STATUS_OK)
            return false;
        if (shown && map_under(paging_shared_root, at, page, flags, pages) != STATUS_OK)
            return false;
    }
    return true;
}

uint64_t paging_map_stack(uint32_t cpu, page_source pages)
{
    uint64_t at = STACK_WINDOW + (uint64_t)cpu * STACK_WINDOW_BYTES;
    uint64_t top = at + STACK_GUARD_BYTES + KERNEL_STACK_BYTES;
    bool done = map_fresh(at + STACK_GUARD_BYTES, KERNEL_STACK_BYTES, false, pages);
    for (uint32_t i = 0; i < 3 && done; i++)
        done = map_fresh(top + i * (STACK_GUARD_BYTES + IST_STACK_BYTES) + STACK_GUARD_BYTES,
                         IST_STACK_BYTES, true, pages);
    return done ? top : 0;
}

uint64_t paging_start_root(uint64_t physical, page_source pages)
{
    uint64_t root = pages();
    if (root == 0)
        return 0;
    memcpy(physical_pointer(root), physical_pointer(paging_kernel_root), PAGE_BYTES);
    return map_under(root, physical, physical, PTE_PRESENT, pages) == STATUS_OK ? root : 0;
}

volatile void *paging_map_device(uint64_t address)
{
    VERIFY(device_pages < DEVICE_WINDOW_PAGES);
    uint32_t index = device_pages++;
    device_table[index] = (address & PTE_ADDRESS_MASK) | PTE_PRESENT | PTE_WRITE | global |
                          PTE_NO_EXECUTE | PTE_CACHE_UNCACHEABLE;
    return (volatile void *)(DEVICE_WINDOW + (uint64_t)index * PAGE_BYTES +
                             (address & (PAGE_BYTES - 1)));
}
