// SPDX-License-Identifier: MIT OR Apache-2.0
/* CPUID (SDM vol. 2, CPUID) and the control registers. Only CPUID decides: probing by faults does
 * not work on every CPU or emulator. */
#include "kernel/arch/x86_64/cpu.h"

struct cpu_features cpu_features;

void cpu_features_detect(void)
{
    struct cpu_features *f = &cpu_features;
    uint32_t basic_max = cpuid(0, 0).eax;
    uint32_t extended_max = cpuid(0x80000000u, 0).eax;

    struct cpuid_result r = cpuid(1, 0);
    f->sse42 = r.ecx >> 20 & 1;
    f->x2apic = r.ecx >> 21 & 1;
    f->tsc_deadline = r.ecx >> 24 & 1;
    f->xsave = r.ecx >> 26 & 1;
    f->avx = r.ecx >> 28 & 1;
    f->hypervisor = r.ecx >> 31 & 1;
    if (basic_max >= 7) {
        r = cpuid(7, 0);
        f->fsgsbase = r.ebx & 1;
        f->smep = r.ebx >> 7 & 1;
        f->smap = r.ebx >> 20 & 1;
        f->umip = r.ecx >> 2 & 1;
    }
    if (f->xsave && basic_max >= 0xd)
        f->xsaveopt = cpuid(0xd, 1).eax & 1;
    if (basic_max >= 0x15) {
        r = cpuid(0x15, 0);
        f->tsc_denominator = r.eax;
        f->tsc_numerator = r.ebx;
        f->crystal_hz = r.ecx;
    }
    if (extended_max >= 0x80000001u)
        f->page_1g = cpuid(0x80000001u, 0).edx >> 26 & 1;
    if (extended_max >= 0x80000007u)
        f->invariant_tsc = cpuid(0x80000007u, 0).edx >> 8 & 1;
    f->physical_bits = 36;
    if (extended_max >= 0x80000008u)
        f->physical_bits = cpuid(0x80000008u, 0).eax & 0xff;
    if (f->physical_bits > 52)
        f->physical_bits = 52; /* SDM vol. 3, 4.1.4: MAXPHYADDR is at most 52 */
}

void cpu_features_enable(void)
{
    uint64_t cr4 = read_cr4() | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    if (cpu_features.smep)
        cr4 |= CR4_SMEP;
    if (cpu_features.smap)
        cr4 |= CR4_SMAP;
    if (cpu_features.umip)
        cr4 |= CR4_UMIP;
    /* CR4_FSGSBASE is set while a thread runs that uses it: switch.c. */
    write_cr4(cr4);
    write_cr0((read_cr0() | CR0_WP | CR0_MP | CR0_TS) & ~CR0_EM);
}
