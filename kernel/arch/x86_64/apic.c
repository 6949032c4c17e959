// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/arch/x86_64/apic.h"

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/paging.h"

/* Register numbers: MSR_X2APIC + n, or byte offset 16 * n in the page (SDM vol. 3, table 11-1). */
enum {
    APIC_ID = 0x02,
    APIC_TASK_PRIORITY = 0x08,
    APIC_EOI = 0x0b,
    APIC_SPURIOUS = 0x0f,
    APIC_COMMAND = 0x30, /* x2APIC: all of it; else the low half */
    APIC_COMMAND_HIGH = 0x31,
    APIC_LVT_TIMER = 0x32,
    APIC_LVT_LINT0 = 0x35,
    APIC_LVT_LINT1 = 0x36,
    APIC_LVT_ERROR = 0x37,
    APIC_TIMER_INITIAL = 0x38,
    APIC_TIMER_CURRENT = 0x39,
    APIC_TIMER_DIVIDE = 0x3e
};

#define APIC_BASE_ENABLE (1ull << 11)
#define APIC_BASE_X2APIC (1ull << 10)
#define SPURIOUS_ENABLE (1u << 8)
#define LVT_MASKED (1u << 16)
#define LVT_NMI (4u << 8)
#define LVT_TIMER_TSC_DEADLINE (2u << 17)
#define TIMER_DIVIDE_BY_1 0xbu
#define COMMAND_PENDING (1u << 12)
#define COMMAND_POLLS_MAX 1000000u
#define PIC1 0x20u
#define PIC2 0xa0u

static volatile uint32_t *page;
static bool x2apic;
static bool tsc_deadline;
static uint64_t count_per_tick;

static uint32_t apic_read(uint32_t reg)
{
    if (x2apic)
        return (uint32_t)rdmsr(MSR_X2APIC + reg);
    return page[reg * 4];
}

static void apic_write(uint32_t reg, uint32_t value)
{
    if (x2apic)
        wrmsr(MSR_X2APIC + reg, value);
    else
        page[reg * 4] = value;
}

/* Intel 8259A data sheet, "initialization command words". */
static void pic_mask(void)
{
    static const uint8_t words[][2] = {
        {0x11, 0x11}, {VECTOR_PIC_FIRST, VECTOR_PIC_FIRST + 8}, {4, 2}, {1, 1}, {0xff, 0xff}};
    for (uint32_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        port_out8(i == 0 ? PIC1 : PIC1 + 1, words[i][0]);
        port_out8(i == 0 ? PIC2 : PIC2 + 1, words[i][1]);
    }
}

static void local_setup(void)
{
    apic_write(APIC_TASK_PRIORITY, 0);
    apic_write(APIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    apic_write(APIC_LVT_LINT1, LVT_NMI);
    apic_write(APIC_LVT_ERROR, LVT_MASKED | VECTOR_SPURIOUS);
    apic_write(APIC_TIMER_INITIAL, 0);
    apic_write(APIC_TIMER_DIVIDE, TIMER_DIVIDE_BY_1);
    apic_write(APIC_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
}

void apic_init(uint64_t lapic_address)
{
    pic_mask();
    uint64_t base = rdmsr(MSR_APIC_BASE);
    x2apic = (base & APIC_BASE_X2APIC) != 0; /* the firmware may have left it so */
    wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLE);
    page = paging_map_device(lapic_address);
    local_setup();
}

void apic_timer_count_start(void)
{
    apic_write(APIC_TIMER_INITIAL, UINT32_MAX);
}

uint32_t apic_timer_count(void)
{
    return apic_read(APIC_TIMER_CURRENT);
}

static void timer_setup(void)
{
    apic_write(APIC_LVT_TIMER, VECTOR_TIMER | (tsc_deadline ? LVT_TIMER_TSC_DEADLINE : 0));
    if (tsc_deadline)
        __asm__ volatile("mfence" : : : "memory"); /* SDM vol. 3, 11.5.4.1 */
}

void apic_timer_init(uint64_t timer_count_per_tick)
{
    apic_write(APIC_TIMER_INITIAL, 0);
    if (cpu_features.x2apic && !x2apic) {
        wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | APIC_BASE_ENABLE | APIC_BASE_X2APIC);
        x2apic = true;
        local_setup();
    }
    tsc_deadline = cpu_features.tsc_deadline;
    count_per_tick = timer_count_per_tick;
    timer_setup();
}

FAST void apic_timer_arm(uint64_t tsc)
{
    if (tsc_deadline) {
        wrmsr(MSR_TSC_DEADLINE, tsc == UINT64_MAX ? 0 : tsc == 0 ? 1 : tsc);
        return;
    }
    uint32_t count = 0; /* stops the timer */
    if (tsc != UINT64_MAX) {
        uint64_t now = rdtsc();
        uint64_t ticks = tsc > now ? tsc - now : 0;
        uint64_t counts = (uint64_t)((unsigned __int128)ticks * count_per_tick >> 32) + 1;
        count = counts > UINT32_MAX ? UINT32_MAX : (uint32_t)counts;
    }
    apic_write(APIC_TIMER_INITIAL, count);
}

void apic_end_of_interrupt(void)
{
    apic_write(APIC_EOI, 0);
}

uint32_t apic_id(void)
{
    uint32_t id = apic_read(APIC_ID);
    return x2apic ? id : id >> 24;
}

void apic_join(void)
{
    uint64_t mode = APIC_BASE_ENABLE | (x2apic ? APIC_BASE_X2APIC : 0);
    uint64_t base = rdmsr(MSR_APIC_BASE);
    wrmsr(MSR_APIC_BASE, base | APIC_BASE_ENABLE); /* x2APIC is entered from xAPIC only */
    wrmsr(MSR_APIC_BASE, base | mode);
    local_setup();
    timer_setup();
}

void apic_send(uint32_t id, uint32_t command)
{
    if (x2apic) {
        __asm__ volatile("mfence" : : : "memory"); /* this write waits for no store: 11.12.3 */
        wrmsr(MSR_X2APIC + APIC_COMMAND, (uint64_t)id << 32 | command);
        return;
    }
    for (uint32_t i = 0; (apic_read(APIC_COMMAND) & COMMAND_PENDING) && i < COMMAND_POLLS_MAX; i++)
        cpu_pause();
    apic_write(APIC_COMMAND_HIGH, id << 24);
    apic_write(APIC_COMMAND, command);
}
