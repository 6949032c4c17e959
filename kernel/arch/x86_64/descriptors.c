// SPDX-License-Identifier: MIT OR Apache-2.0
/* Segment and interrupt descriptors: SDM vol. 3, 3.4.5, 6.14 and 7.7. */
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/traps.h"
#include "lib/base/bytes.h"

#define GATE_INTERRUPT 0x8e00u
#define GATE_USER 0x6000u /* may be raised by `int` in user mode */
/* Of a vector's stub in traps.S: of 16 bytes for the 32 exceptions, of 4 for interrupts, with 8
 * more behind each 32 of them. */
#define TRAP_STUB_OFFSET(vector)                                                                   \
    ((vector) < 32 ? (vector)*16u : 376u + (vector)*4u + (vector) / 32u * 8u)
#define VECTOR_BREAKPOINT 3u
#define VECTOR_OVERFLOW 4u

struct gate {
    uint16_t offset_low;
    uint16_t selector;
    uint16_t ist_and_type_low; /* bits 0..2 IST; bits 8..15 type, privilege, present */
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved;
};

struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map_base;
} __attribute__((packed));

struct descriptor_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

extern const char trap_stubs[];
extern char kernel_stack_top[];

/* A page of the image, which paging.c shows. */
struct gate idt[256] __attribute__((aligned(PAGE_BYTES)));

struct cpu_descriptors {
    uint64_t gdt[8];
    struct tss tss;
} __attribute__((aligned(16)));
static struct cpu_descriptors boot_descriptors;
_Static_assert(sizeof(struct cpu_descriptors) <= PAGE_BYTES, "fits a page");

static const uint64_t segments[6] = {
    0,
    0x00af9b000000ffffull, /* kernel code, 64-bit */
    0x00cf93000000ffffull, /* kernel data */
    0,                     /* SELECTOR_USER_BASE: 32-bit user code, which does not exist */
    0x00cff3000000ffffull, /* user data */
    0x00affb000000ffffull, /* user code, 64-bit */
};

static void set_gate(uint32_t vector, uint32_t ist, uint32_t type)
{
    uint64_t at = (uint64_t)trap_stubs + TRAP_STUB_OFFSET(vector);
    idt[vector] = (struct gate){.offset_low = (uint16_t)at,
                                .selector = SELECTOR_KERNEL_CODE,
                                .ist_and_type_low = (uint16_t)(type | ist),
                                .offset_middle = (uint16_t)(at >> 16),
                                .offset_high = (uint32_t)(at >> 32)};
}

void descriptors_load(const struct arch_cpu *cpu)
{
    struct cpu_descriptors *d = cpu->descriptors;
    struct tss *tss = &d->tss;
    tss->rsp[0] = cpu->frame_top;
    for (uint32_t i = 0; i < 3; i++)
        tss->ist[i] = cpu->stack_top + (i + 1) * (STACK_GUARD_BYTES + IST_STACK_BYTES);
    tss->io_map_base = sizeof *tss; /* no port is open to user mode */
    memcpy(d->gdt, segments, sizeof segments);
    uint64_t base = (uint64_t)tss;
    d->gdt[6] =
        (sizeof *tss - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
    d->gdt[7] = base >> 32;
    struct descriptor_pointer pointer = {sizeof d->gdt - 1, (uint64_t)d->gdt};
    __asm__ volatile("lgdt %0\n\tltr %w1" : : "m"(pointer), "r"(SELECTOR_TSS) : "memory");
    pointer = (struct descriptor_pointer){sizeof idt - 1, (uint64_t)idt};
    __asm__ volatile("lidt %0" : : "m"(pointer) : "memory");
}

void descriptors_init(void)
{
    for (uint32_t vector = 0; vector < 256; vector++)
        set_gate(vector, 0, GATE_INTERRUPT);
    set_gate(VECTOR_BREAKPOINT, 0, GATE_INTERRUPT | GATE_USER);
    set_gate(VECTOR_OVERFLOW, 0, GATE_INTERRUPT | GATE_USER);
    set_gate(8, 1, GATE_INTERRUPT);  /* double fault */
    set_gate(2, 2, GATE_INTERRUPT);  /* NMI */
    set_gate(18, 3, GATE_INTERRUPT); /* machine check */
    /* Until the first CPU has its own. */
    uint64_t top = (uint64_t)kernel_stack_top;
    descriptors_load(
        &(struct arch_cpu){.descriptors = &boot_descriptors, .stack_top = top, .frame_top = top});
}
