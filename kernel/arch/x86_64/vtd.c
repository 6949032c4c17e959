// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/arch/x86_64/vtd.h"

#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/paging.h"
#include "kernel/arch/x86_64/serial.h"
#include "kernel/arch/x86_64/traps.h"
#include "kernel/arch/x86_64/vtd_entries.h"
#include "lib/base/bytes.h"

#define BUSES 256u
#define QUEUE_BYTES PAGE_BYTES
#define CACHE_LINE_BYTES 64u
/* The specification sets no limit; hardware needs microseconds. After this it counts as broken. */
#define WAIT_NS 1000000000ull
/* Faults of functions that nobody drives which are reported on the console. */
#define STRAYS_SAID_MAX 8u
#define RECORDS_MAX 256u     /* a unit has at most that many */
#define ADDRESS_BITS_MAX 47u /* what four levels of tables of this shape cover */

enum vtd_kind { VTD_NONE, VTD_LEGACY, VTD_SCALABLE_SECOND, VTD_SCALABLE_FIRST };

struct unit {
    volatile uint8_t *registers;
    uint8_t *queue;
    uint64_t queue_physical; /* the word that waits write lies in the page after it */
    uint32_t tail;           /* byte offset */
    uint32_t waits;
    uint32_t command; /* what is on */
    uint64_t capability;
};

static struct unit units[ACPI_IOMMUS_MAX];
static uint32_t unit_count;
static enum vtd_kind mode;
static bool coherent;
static bool flush_new; /* entries that were not present may be cached too, or writes be buffered */
static bool remap;
static uint64_t *roots;
static struct vtd_interrupt *interrupts; /* NULL: none are remapped */
static const struct acpi_facts *acpi;
static struct io_limits limits;
static uint32_t strays;

/* ---- One unit -------------------------------------------------------------------------------- */

static uint32_t read32(const struct unit *u, uint32_t offset)
{
    return *(volatile uint32_t *)(u->registers + offset);
}

static uint64_t read64(const struct unit *u, uint32_t offset)
{
    return *(volatile uint64_t *)(u->registers + offset);
}

static void write32(const struct unit *u, uint32_t offset, uint32_t value)
{
    *(volatile uint32_t *)(u->registers + offset) = value;
}

static void write64(const struct unit *u, uint32_t offset, uint64_t value)
{
    *(volatile uint64_t *)(u->registers + offset) = value;
}

/* Writes back what the unit reads past the CPU's caches. */
static void written(const void *memory, uint64_t bytes)
{
    if (!coherent) {
        for (uint64_t at = 0; at < bytes; at += CACHE_LINE_BYTES)
            __asm__ volatile("clflush %0" : : "m"(*((const char *)memory + at)) : "memory");
    }
    __asm__ volatile("mfence" : : : "memory");
}

/* Turns one thing on or off, or does a one-shot command, and waits until it is so (10.4.4). */
static bool command(struct unit *u, uint32_t bits, bool on)
{
    uint32_t value = on ? u->command | bits : u->command & ~bits;
    uint64_t deadline = arch_time_ns() + WAIT_NS;

    write32(u, VTD_COMMAND, value);
    u->command = value & ~VTD_ONE_SHOT;
    while (((read32(u, VTD_STATUS) & bits) != 0) != on) {
        if (arch_time_ns() > deadline)
            return false;
        __asm__ volatile("pause");
    }
    return true;
}

static void enqueue(struct unit *u, struct vtd_descriptor d)
{
    *(struct vtd_descriptor *)(u->queue + u->tail) = d; /* a wide one's second half stays 0 */
    written(u->queue + u->tail, sizeof d);
    u->tail = (u->tail + (mode == VTD_LEGACY ? 16u : 32u)) % QUEUE_BYTES;
}

/* Makes every unit do some invalidations and waits until it has. */
static void invalidate(const struct vtd_descriptor *descriptors, uint32_t count)
{
    for (uint32_t i = 0; i < unit_count; i++) {
        struct unit *u = &units[i];
        volatile uint32_t *status = physical_pointer(u->queue_physical + PAGE_BYTES);
        uint64_t deadline = arch_time_ns() + WAIT_NS;

        for (uint32_t n = 0; n < count; n++)
            enqueue(u, descriptors[n]);
        enqueue(u, vtd_wait(u->queue_physical + PAGE_BYTES, ++u->waits));
        write64(u, VTD_QUEUE_TAIL, u->tail);
        while (*status != u->waits) {
            /* Memory may not be used again while a device might still reach it. */
            if (arch_time_ns() > deadline || (read32(u, VTD_FAULT_STATUS) & VTD_FAULT_QUEUE_ERRORS))
                panic("IOMMU %u does not invalidate (fault status %x)", i,
                      read32(u, VTD_FAULT_STATUS));
            __asm__ volatile("pause");
        }
    }
}

/* By domain only translations of second-level tables can be named (6.5.2.3). */
static struct vtd_descriptor invalidate_space(uint32_t domain)
{
    return vtd_invalidate_iotlb(mode == VTD_SCALABLE_FIRST ? 0 : domain);
}

static void invalidate_functions(uint32_t domain)
{
    const struct vtd_descriptor contexts = vtd_invalidate_contexts();
    const struct vtd_descriptor d[] = {contexts,
                                       mode == VTD_LEGACY ? contexts : vtd_invalidate_pasids(),
                                       invalidate_space(domain)};
    invalidate(d, 3);
}

/* ---- Start ----------------------------------------------------------------------------------- */

/* What all units can do. */
static const char *choose_mode(void)
{
    uint64_t cap = UINT64_MAX, ecap = UINT64_MAX;
    uint32_t domains = IO_DOMAINS_MAX, bits = ADDRESS_BITS_MAX;

    for (uint32_t i = 0; i < unit_count; i++) {
        uint64_t c = units[i].capability = read64(&units[i], VTD_CAPABILITY);
        cap &= c;
        ecap &= read64(&units[i], VTD_EXTENDED_CAPABILITY);
        flush_new = flush_new || (c & (VTD_CAP_CACHING_MODE | VTD_CAP_WRITE_BUFFER)) != 0;
        domains = VTD_CAP_DOMAINS(c) < domains ? VTD_CAP_DOMAINS(c) : domains;
        bits = VTD_CAP_ADDRESS_BITS(c) < bits ? VTD_CAP_ADDRESS_BITS(c) : bits;
    }
    if (!(ecap & VTD_ECAP_QUEUE))
        return "it has no invalidation queue";
    bool scalable = (ecap & VTD_ECAP_SCALABLE) != 0;
    bool second = (cap & VTD_CAP_LEVELS_4) != 0;
    if (scalable && (ecap & VTD_ECAP_SECOND) && second)
        mode = VTD_SCALABLE_SECOND;
    else if (scalable && (ecap & VTD_ECAP_FIRST))
        mode = VTD_SCALABLE_FIRST;
    else if (second)
        mode = VTD_LEGACY;
    else
        return "it has no tables of four levels";
    coherent = (ecap & VTD_ECAP_COHERENT) != 0;
    limits = (struct io_limits){domains, 1ull << bits};
    remap = (ecap & VTD_ECAP_REMAP) && (!cpu_features.x2apic || (ecap & VTD_ECAP_X2APIC)) &&
            acpi->iommu_remaps_interrupts;
    return NULL;
}

/* Legacy: a context table a bus; scalable: one for each half. */
static bool make_roots(memory_source memory)
{
    uint64_t tables = mode == VTD_LEGACY ? 1 : 2;
    uint64_t base = memory(BUSES * tables * PAGE_BYTES + 2 * PAGE_BYTES);

    if (base == 0)
        return false;
    roots = physical_pointer(base);
    if (remap)
        interrupts = physical_pointer(base + PAGE_BYTES);
    for (uint32_t bus = 0; bus < BUSES; bus++)
        for (uint64_t n = 0; n < tables; n++)
            roots[2 * bus + n] = (base + (2 + bus * tables + n) * PAGE_BYTES) | VTD_PRESENT;
    written(roots, BUSES * tables * PAGE_BYTES + 2 * PAGE_BYTES);
    return true;
}

static uint64_t physical_of(const void *memory)
{
    return (uint64_t)memory - PHYSICAL_WINDOW;
}

static const char *unit_start(struct unit *u, memory_source memory)
{
    u->command = read32(u, VTD_STATUS) & (VTD_TRANSLATE | VTD_QUEUE | VTD_REMAP_INTERRUPTS);
    if (!command(u, VTD_TRANSLATE, false) || !command(u, VTD_REMAP_INTERRUPTS, false) ||
        !command(u, VTD_QUEUE, false))
        return "it does not stop what the firmware began";
    u->queue_physical = memory(2 * PAGE_BYTES);
    if (u->queue_physical == 0)
        return "there is too little memory for its queue";
    u->queue = physical_pointer(u->queue_physical);
    write64(u, VTD_QUEUE_TAIL, 0);
    write64(u, VTD_QUEUE_ADDRESS, u->queue_physical | (mode == VTD_LEGACY ? 0 : VTD_QUEUE_WIDE));
    write64(u, VTD_ROOT_TABLE, physical_of(roots) | (mode == VTD_LEGACY ? 0 : VTD_ROOT_SCALABLE));
    if (!command(u, VTD_QUEUE, true) || !command(u, VTD_SET_ROOT, true))
        return "it does not take its tables";
    if (interrupts != NULL) {
        write64(u, VTD_INTERRUPT_TABLE,
                physical_of(interrupts) | (cpu_features.x2apic ? VTD_INTERRUPT_X2APIC : 0) |
                    VTD_INTERRUPT_256);
        if (!command(u, VTD_SET_INTERRUPT_TABLE, true))
            return "it does not take its interrupt table";
    }
    uint32_t apic = apic_id();
    write32(u, VTD_FAULT_DATA, VECTOR_IOMMU);
    write32(u, VTD_FAULT_ADDRESS, 0xfee00000u | (apic & 0xffu) << 12);
    write32(u, VTD_FAULT_ADDRESS_HIGH, apic & ~0xffu);
    return NULL;
}

const char *vtd_init(const struct acpi_facts *facts, memory_source memory)
{
    const char *problem;

    acpi = facts;
    for (uint32_t i = 0; i < facts->iommu_count; i++)
        units[i].registers = paging_map_device(facts->iommus[i]);
    unit_count = facts->iommu_count;
    problem = choose_mode();
    if (problem == NULL && !make_roots(memory))
        problem = "there is too little memory for its tables";
    for (uint32_t i = 0; i < unit_count && problem == NULL; i++)
        problem = unit_start(&units[i], memory);
    if (problem != NULL) {
        mode = VTD_NONE;
        interrupts = NULL;
        limits = (struct io_limits){0, 0};
        return problem;
    }
    const struct vtd_descriptor entries = vtd_invalidate_interrupts();
    invalidate(&entries, 1);
    invalidate_functions(0);
    for (uint32_t i = 0; i < unit_count; i++) {
        struct unit *u = &units[i];
        write32(u, VTD_FAULT_STATUS, VTD_FAULT_STATUS_CLEAR);
        write32(u, VTD_FAULT_CONTROL, 0);
        if (!command(u, VTD_TRANSLATE, true) ||
            (interrupts != NULL && !command(u, VTD_REMAP_INTERRUPTS, true)))
            panic("IOMMU %u does not start", i);
    }
    return NULL;
}

const char *vtd_mode(void)
{
    static const char *const names[] = {NULL, "legacy mode", "scalable mode, second level",
                                        "scalable mode, first level"};
    return names[mode];
}

bool vtd_remaps_interrupts(void)
{
    return interrupts != NULL;
}

/* ---- Spaces ---------------------------------------------------------------------------------- */

struct io_limits arch_io_limits(void)
{
    return limits;
}

/* Pages of a space: top table; PASID directory; PASID table, whose entry 0 is for requests without
 * PASID. */
void arch_io_space_init(uint64_t pages, uint32_t domain)
{
    uint64_t *directory = physical_pointer(pages + PAGE_BYTES);
    struct vtd_pasid *table = physical_pointer(pages + 2ull * PAGE_BYTES);

    directory[0] = (pages + 2ull * PAGE_BYTES) | VTD_PRESENT;
    table->word[1] = domain;
    if (mode == VTD_SCALABLE_FIRST) {
        /* The width is for second-level tables; QEMU checks first-level addresses by it too. */
        table->word[0] = VTD_PRESENT | VTD_PASID_4_LEVELS | VTD_PASID_FIRST;
        table->word[2] = pages;
    } else {
        table->word[0] = VTD_PRESENT | VTD_PASID_4_LEVELS | VTD_PASID_SECOND | pages;
    }
    written(physical_pointer(pages), (uint64_t)IO_SPACE_PAGES * PAGE_BYTES);
}

uint64_t arch_io_table_encode(uint64_t physical)
{
    return mode == VTD_SCALABLE_FIRST ? arch_table_encode(physical)
                                      : vtd_second_level(physical, RIGHT_READ | RIGHT_WRITE);
}

uint64_t arch_io_attach_encode(uint64_t physical, uint32_t rights)
{
    return mode == VTD_SCALABLE_FIRST ? arch_attach_encode(physical, rights)
                                      : vtd_second_level(physical, rights);
}

uint32_t arch_io_attach_rights(uint64_t entry)
{
    return ((entry & 1u) != 0 ? (uint32_t)RIGHT_READ : 0u) |
           ((entry & 2u) != 0 ? (uint32_t)RIGHT_WRITE : 0u);
}

void arch_io_stored(const void *entries, uint32_t bytes)
{
    written(entries, bytes);
    if (flush_new)
        arch_io_flush(0);
}

void arch_io_flush(uint32_t domain)
{
    const struct vtd_descriptor d = invalidate_space(domain);

    if (mode != VTD_NONE)
        invalidate(&d, 1);
}

/* ---- Functions ------------------------------------------------------------------------------- */

/* The first quadword of the function's context entry, and its second in legacy mode. */
static uint64_t *context_of(uint32_t function)
{
    uint32_t bus = arch_mask(function >> 8, BUSES), device = function & 0xffu;

    if (mode == VTD_LEGACY) {
        struct vtd_context *table = physical_pointer(roots[2 * bus] & PTE_ADDRESS_MASK);
        return &table[device].low;
    }
    struct vtd_scalable_context *table =
        physical_pointer(roots[2 * bus + (device >> 7)] & PTE_ADDRESS_MASK);
    return &table[device & 0x7fu].low;
}

bool arch_io_function_ok(uint32_t function)
{
    return mode != VTD_NONE && function < BUSES << 8;
}

uint32_t arch_io_domain(uint32_t function)
{
    const uint64_t *context = context_of(function);

    if (!(context[0] & VTD_PRESENT))
        return 0;
    if (mode == VTD_LEGACY)
        return (uint32_t)(context[1] >> VTD_CONTEXT_DOMAIN_SHIFT) & 0xffffu;
    const uint64_t *directory = physical_pointer(context[0] & PTE_ADDRESS_MASK);
    const struct vtd_pasid *table = physical_pointer(directory[0] & PTE_ADDRESS_MASK);
    return (uint32_t)table->word[1] & 0xffffu;
}

void arch_io_assign(uint32_t function, uint64_t pages, uint32_t domain)
{
    uint64_t *context = context_of(function);

    if (mode == VTD_LEGACY) {
        context[1] = VTD_CONTEXT_4_LEVELS | (uint64_t)domain << VTD_CONTEXT_DOMAIN_SHIFT;
        context[0] = pages | VTD_PRESENT;
    } else {
        context[0] = (pages + PAGE_BYTES) | VTD_PRESENT;
    }
    written(context, sizeof(struct vtd_scalable_context));
    invalidate_functions(domain);
}

void arch_io_unassign(uint32_t function)
{
    uint64_t *context = context_of(function);
    uint32_t domain = arch_io_domain(function);

    context[0] = 0;
    written(context, sizeof *context);
    invalidate_functions(domain);
}

void arch_io_report(uint32_t function, bool on)
{
    uint64_t *context = context_of(function);
    uint64_t value = on ? *context & ~VTD_NO_REPORT : *context | VTD_NO_REPORT;

    if (value == *context)
        return;
    *context = value;
    written(context, sizeof *context);
    const struct vtd_descriptor d = vtd_invalidate_contexts();
    invalidate(&d, 1);
}

/* ---- Interrupts ------------------------------------------------------------------------------ */

static void interrupt_set(uint32_t vector, struct vtd_interrupt entry)
{
    const struct vtd_descriptor d = vtd_invalidate_interrupts();

    if (interrupts[vector].high != entry.high)
        interrupts[vector].low = 0; /* else one store does it, and no message is lost */
    interrupts[vector].high = entry.high;
    interrupts[vector].low = entry.low;
    written(&interrupts[vector], sizeof entry);
    invalidate(&d, 1);
}

bool vtd_message(uint32_t vector, uint32_t apic, uint64_t values[2])
{
    if (interrupts == NULL)
        return false;
    struct vtd_interrupt entry = vtd_interrupt_entry(vector, apic, cpu_features.x2apic, false);
    entry.high = interrupts[vector].high;
    if (!(interrupts[vector].low & VTD_PRESENT))
        entry.low ^= VTD_PRESENT | VTD_NO_REPORT;
    interrupt_set(vector, entry);
    values[0] = vtd_interrupt_message(vector);
    values[1] = 0;
    return true;
}

void arch_irq_message_mask(uint32_t vector, bool masked)
{
    if (interrupts == NULL)
        return;
    struct vtd_interrupt entry = interrupts[vector];
    entry.low &= ~(VTD_PRESENT | VTD_NO_REPORT);
    entry.low |= masked ? VTD_NO_REPORT : VTD_PRESENT;
    interrupt_set(vector, entry);
}

bool vtd_pin(uint32_t vector, uint32_t apic, bool level, uint32_t ioapic_id, uint32_t *handle)
{
    if (interrupts == NULL)
        return false;
    struct vtd_interrupt entry = vtd_interrupt_entry(vector, apic, cpu_features.x2apic, level);
    for (uint32_t i = 0; i < acpi->iommu_ioapic_count; i++)
        if (acpi->iommu_ioapics[i].id == ioapic_id)
            entry.high = acpi->iommu_ioapics[i].function | VTD_VERIFY_SOURCE;
    interrupt_set(vector, entry);
    *handle = vector;
    return true;
}

status_t arch_irq_source(uint32_t vector, uint32_t function)
{
    if (interrupts == NULL)
        return STATUS_UNSUPPORTED;
    struct vtd_interrupt entry = interrupts[vector];
    entry.high = function | VTD_VERIFY_SOURCE;
    interrupt_set(vector, entry);
    return STATUS_OK;
}

void arch_irq_forget(uint32_t vector)
{
    if (interrupts != NULL)
        interrupt_set(vector, (struct vtd_interrupt){0, 0});
}

/* ---- Faults ---------------------------------------------------------------------------------- */

/* A fault of a function without a space, or of an interrupt; said on the console, a few times. */
static void stray(uint32_t function, uint64_t address, uint32_t reason)
{
    bool interrupt = VTD_REASON_INTERRUPT(reason);

    if (!interrupt)
        arch_io_report(function, false); /* until somebody drives it */
    if (strays++ < STRAYS_SAID_MAX)
        print("hallows: IOMMU: %02x:%02x.%u: %s %lx refused (reason %u)\n", function >> 8,
              function >> 3 & 0x1fu, function & 7u, interrupt ? "interrupt" : "access to", address,
              reason);
}

void vtd_interrupt(void)
{
    for (uint32_t i = 0; i < unit_count; i++) {
        struct unit *u = &units[i];
        uint32_t record = VTD_CAP_FAULT_OFFSET(u->capability);
        uint32_t count = VTD_CAP_FAULT_COUNT(u->capability);
        for (uint32_t n = 0; n < count && n < RECORDS_MAX; n++, record += 16) {
            uint64_t high = read64(u, record + 8);
            if (!(high & VTD_RECORD_VALID))
                continue;
            uint64_t address = read64(u, record) & ~(PAGE_BYTES - 1ull);
            uint32_t reason = VTD_RECORD_REASON(high);
            uint32_t flags = reason << IO_FAULT_REASON_SHIFT |
                             ((high & VTD_RECORD_READ) != 0 ? 0u : (uint32_t)IO_FAULT_WRITE);
            write64(u, record + 8, VTD_RECORD_VALID);
            if (VTD_REASON_INTERRUPT(reason) ||
                !kernel_io_fault(&kernel_state, high & 0xffffu, address, flags))
                stray(high & 0xffffu, address, reason);
        }
        write32(u, VTD_FAULT_STATUS, VTD_FAULT_STATUS_CLEAR);
    }
}
