// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * From boot.S to the first user instruction: what the loader says, what the firmware says, memory,
 * final page tables, interrupts and clock, the core, the initial cell.
 */
#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/ioapic.h"
#include "kernel/arch/x86_64/paging.h"
#include "kernel/arch/x86_64/serial.h"
#include "kernel/arch/x86_64/slide.h"
#include "kernel/arch/x86_64/smp.h"
#include "kernel/arch/x86_64/traps.h"
#include "kernel/arch/x86_64/vtd.h"
#include "kernel/boot/acpi.h"
#include "kernel/boot/initial_cell.h"
#include "kernel/boot/parameters.h"
#include "lib/base/bytes.h"

#define LOW_MEMORY_BYTES 0x100000ull /* firmware data, and later CPUs' start-up code */
#define EARLY_BYTES 0x100000000ull   /* what the early tables map */
#define PAGE_POOL_PAGES 64u

extern const char image_physical_start[], image_physical_end[], start_end[];

/* From boot.S, one after the other; the second at its final address. */
void x86_64_place(uint32_t loader, uint32_t information);
_Noreturn void x86_64_start(uint32_t loader);

static status_t loader_status;
static struct boot_parameters parameters;
static struct acpi_facts facts;
static struct initial_cell_request request;

static _Noreturn void refuse(const char *what, const char *why)
{
    print("hallows: %s: %s; stopped\n", what, why);
    cpu_stop();
}

static const void *early_view(uint64_t address, uint64_t bytes)
{
    if (address >= EARLY_BYTES || bytes > EARLY_BYTES - address)
        return NULL;
    return physical_pointer(address);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static void map_check(status_t status)
{
    if (status != STATUS_OK)
        refuse("memory map", "it has too many ranges");
}

static void keep_out(struct memory_map *map, uint64_t base, uint64_t bytes)
{
    map_check(memory_map_remove(map, base, bytes));
}

/* Takes `bytes` (whole pages) from the top of the highest free range below `limit` that has them.
 * Returns 0 when none has. */
static uint64_t take_memory(uint64_t bytes, uint64_t limit)
{
    for (uint32_t i = request.free.count; i > 0; i--) {
        uint64_t base = request.free.range[i - 1].base;
        uint64_t end = base + request.free.range[i - 1].bytes;
        if (end > limit)
            end = limit;
        if (base >= end || end - base < bytes)
            continue;
        keep_out(&request.free, end - bytes, bytes);
        return end - bytes;
    }
    return 0;
}

/* Pages for the kernel's page tables, taken a pool at a time. */
static uint64_t table_page(void)
{
    static uint64_t pool, left;
    if (left == 0) {
        pool = take_memory(PAGE_POOL_PAGES * PAGE_BYTES, EARLY_BYTES);
        if (pool == 0)
            return 0;
        left = PAGE_POOL_PAGES;
    }
    uint64_t page = pool + --left * PAGE_BYTES;
    memset(physical_pointer(page), 0, PAGE_BYTES);
    return page;
}

/* What follows the bundle in its module is padding, which firmware may have taken: QEMU puts the
 * module at the top of RAM, where SeaBIOS reserves its own pages later. */
static void trim_bundle(void)
{
    const struct bundle_header *header = early_view(parameters.bundle_address, sizeof *header);
    if (header != NULL && parameters.bundle_bytes >= sizeof *header &&
        header->magic == BUNDLE_MAGIC && header->total_bytes >= sizeof *header &&
        header->total_bytes < parameters.bundle_bytes)
        parameters.bundle_bytes = header->total_bytes;
}

void x86_64_place(uint32_t loader, uint32_t information)
{
    loader_status = STATUS_UNSUPPORTED;
    if (loader == PVH_START_MAGIC)
        loader_status = pvh_read(information, early_view, &parameters);
    else if (loader == MULTIBOOT2_LOADER_MAGIC)
        loader_status = multiboot2_read(information, early_view, &parameters);
    slide_image(&parameters);
}

static void check_loader(void)
{
    if (loader_status == STATUS_UNSUPPORTED)
        refuse("loader", "it speaks neither PVH nor Multiboot2");
    if (loader_status != STATUS_OK)
        refuse("boot information", parameters.problem);
    if (parameters.memory.count == 0)
        refuse("boot information", "it names no usable memory");
    if (parameters.bundle_bytes == 0)
        refuse("boot module",
               "there is none; give the bundle with -initrd (QEMU) or module2 (GRUB)");
    trim_bundle();
}

static void plan_memory(void)
{
    /* RAM that the core's indices or the physical window cannot reach is left unused. */
    uint64_t limit = PHYSICAL_BYTES_MAX;
    keep_out(&parameters.memory, limit, UINT64_MAX - limit);
    /* Firmware may have reserved memory that the loader then put the end of the module into; it is
     * RAM all the same. */
    if (parameters.bundle_address % PAGE_BYTES != 0)
        refuse("boot module", "the loader did not put it on a page boundary");
    uint64_t bytes = (parameters.bundle_bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1ull);
    map_check(memory_map_add(&parameters.memory, parameters.bundle_address, bytes));
    request.parameters = &parameters;
    request.facts = &facts;
    request.free = parameters.memory;
    keep_out(&request.free, 0, LOW_MEMORY_BYTES);
    keep_out(&request.free, (uint64_t)image_physical_start,
             (uint64_t)image_physical_end - KERNEL_PHYSICAL);
    if (!memory_map_holds(&parameters.memory, parameters.bundle_address, bytes))
        refuse("boot module", "it does not lie in usable memory");
    keep_out(&request.free, parameters.bundle_address, bytes);
}

/* Everything that is not RAM and not the kernel's own device. */
static void plan_device_memory(void)
{
    struct memory_map *device = &request.device;
    map_check(memory_map_add(device, 0, 1ull << cpu_features.physical_bits));
    for (uint32_t i = 0; i < parameters.memory.count; i++)
        keep_out(device, parameters.memory.range[i].base, parameters.memory.range[i].bytes);
    keep_out(device, facts.lapic_address, PAGE_BYTES);
    for (uint32_t i = 0; i < facts.ioapic_count; i++)
        keep_out(device, facts.ioapics[i].address, PAGE_BYTES);
    for (uint32_t i = 0; i < facts.iommu_count; i++)
        keep_out(device, facts.iommus[i], PAGE_BYTES);
}

/* ---- Core ------------------------------------------------------------------------------------ */

static void start_core(void)
{
    const struct memory_map *ram = &parameters.memory;
    uint64_t end = ram->range[ram->count - 1].base + ram->range[ram->count - 1].bytes;
    uint64_t page_count = end / PAGE_BYTES;
    uint64_t bytes = (page_count * sizeof(struct page) + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1ull);
    uint64_t pages = take_memory(bytes, UINT64_MAX);
    uint32_t cpu_room = facts.cpu_count < CPU_COUNT_MAX ? facts.cpu_count : CPU_COUNT_MAX;
    uint64_t cpus_bytes = PAGE_BYTES + cpu_room * sizeof(struct cpu);
    uint64_t cpus = take_memory(cpus_bytes, UINT64_MAX);
    if (pages == 0 || cpus == 0)
        refuse("memory", "there is too little for the table of pages");
    memset(physical_pointer(pages), 0, bytes);
    memset(physical_pointer(cpus), 0, cpus_bytes);
    struct cpu *cpu = physical_pointer(cpus + PAGE_BYTES - sizeof(struct arch_cpu));
    if (!smp_prepare(cpu, 0, apic_id(), table_page))
        refuse("memory", "there is too little for the first CPU's stacks");
    descriptors_load(&cpu->arch);
    syscall_init(cpu);
    request.cpus_used = smp_start(cpu, &facts, &parameters.memory, table_page);
    kernel_init(&kernel_state, cpu, request.cpus_used, physical_pointer(pages),
                (uint32_t)page_count);
    request.start_memory_bytes = initial_cell_memory(&parameters);
    request.start_memory_base = take_memory(request.start_memory_bytes, UINT64_MAX);
    if (request.start_memory_base == 0)
        refuse("memory", "there is too little for the initial cell");
}

static void print_machine(void)
{
    const struct time_calibration *time = clock_calibration();
    print("hallows: %u MiB RAM, %u CPU%s (%u used), TSC %lu kHz, %s, %u I/O APIC%s%s%s\n",
          (uint32_t)(request.ram_bytes >> 20), facts.cpu_count, facts.cpu_count == 1 ? "" : "s",
          request.cpus_used, time->tsc_hz / 1000, cpu_features.x2apic ? "x2APIC" : "xAPIC",
          facts.ioapic_count, facts.ioapic_count == 1 ? "" : "s",
          cpu_features.isolate ? ", page tables isolated" : "",
          cpu_features.hypervisor ? ", hypervisor" : "");
    if (facts.problem != NULL)
        print("hallows: note: %s; left out\n", facts.problem);
    if (vtd_mode() != NULL) {
        print("hallows: IOMMU: VT-d, %s, %s: a device reaches only what is attached for it\n",
              vtd_mode(),
              vtd_remaps_interrupts() ? "interrupts remapped" : "interrupts not remapped");
        return;
    }
    if (facts.iommu_unsupported != NULL)
        print("hallows: IOMMU: %s is not supported\n", facts.iommu_unsupported);
    print("hallows: WARNING: no IOMMU: a cell that drives a device can reach all memory and is "
          "trusted\n");
}

static uint64_t iommu_memory(uint64_t bytes)
{
    uint64_t memory = take_memory(bytes, UINT64_MAX);

    if (memory != 0)
        memset(physical_pointer(memory), 0, bytes);
    return memory;
}

static void start_iommu(void)
{
    const char *problem = facts.iommu_count == 0 ? NULL : vtd_init(&facts, iommu_memory);

    if (problem != NULL)
        print("hallows: IOMMU: VT-d cannot be used: %s\n", problem);
}

static void start_machine(void)
{
    if (acpi_read(&parameters, early_view, &facts) != STATUS_OK)
        refuse("ACPI", facts.problem);
    if (paging_init(&parameters.memory, table_page) != STATUS_OK)
        refuse("memory", "there is too little for the kernel's page tables");
    apic_init(facts.lapic_address);
    ioapic_init(&facts);
    if (clock_init(facts.pm_timer_port) != STATUS_OK)
        refuse("clock", "neither the PM timer nor the PIT runs");
}

void x86_64_start(uint32_t loader)
{
    request.start_tsc = rdtsc();
    serial_init();
    descriptors_init();
    cpu_features_detect();
    if (!cpu_features.sse42)
        refuse("CPU", "it has no SSE4.2, which programs here are built for");
    cpu_features_enable();
    print("hallows: kernel for x86-64, %s\n",
          loader == PVH_START_MAGIC ? "started by PVH" : "started by Multiboot2");
    check_loader();
    plan_memory();
    start_machine();
    start_iommu();
    plan_device_memory();
    for (uint32_t i = 0; i < parameters.memory.count; i++)
        request.ram_bytes += parameters.memory.range[i].bytes;
    request.time = clock_calibration();
    request.flags = (cpu_features.hypervisor ? BOOT_FLAG_HYPERVISOR : 0u) |
                    (vtd_mode() != NULL ? BOOT_FLAG_IOMMU : 0u);
    start_core();
    print_machine();
    map_check(memory_map_add(&request.free, KERNEL_PHYSICAL,
                             (uint64_t)(start_end - image_base) - KERNEL_PHYSICAL));
    status_t status = initial_cell_start(&kernel_state, &request);
    if (status != STATUS_OK)
        refuse("bundle", request.problem);
    report_symbols_set(&request.symbols);
    print("hallows: initial cell starts at %lu us\n", arch_time_ns() / 1000);
    paging_leave_start();
}
