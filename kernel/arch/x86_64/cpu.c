// SPDX-License-Identifier: MIT OR Apache-2.0
/* CPUID (SDM vol. 2, CPUID) and the control registers. Only CPUID decides: probing by faults does
 * not work on every CPU or emulator. */
#include "kernel/arch/x86_64/cpu.h"

#include "kernel/arch.h"

struct cpu_features cpu_features;

/* State components that XCR0 switches on (SDM vol. 1, 13.1). */
#define XSTATE_X87 (1u << 0)
#define XSTATE_SSE (1u << 1)
#define XSTATE_AVX (1u << 2)
#define XSTATE_AVX512 (7u << 5) /* opmask, upper halves, registers 16 to 31: all or none */
#define XSTATE_COMPONENTS 8u

/* Of `components`, the ones above the first two that the CPU has and whose state fits a thread
 * (CPUID.0DH: eax size, ebx offset). */
static uint32_t xstate_fitting(uint32_t supported, uint32_t components)
{
    if ((supported & components) != components)
        return 0;
    for (uint32_t i = 2; i < XSTATE_COMPONENTS; i++) {
        struct cpuid_result r = cpuid(0xd, i);
        if ((components >> i & 1) != 0 && r.eax + r.ebx > ARCH_FPU_BYTES)
            return 0;
    }
    return components;
}

static void xstate_detect(struct cpu_features *f)
{
    uint32_t supported = cpuid(0xd, 0).eax;
    f->xsaveopt = cpuid(0xd, 1).eax & 1;
    f->xcr0 = XSTATE_X87 | XSTATE_SSE;
    if (f->avx)
        f->xcr0 |= xstate_fitting(supported, XSTATE_AVX);
    if ((f->xcr0 & XSTATE_AVX) != 0)
        f->xcr0 |= xstate_fitting(supported, XSTATE_AVX512);
}

void cpu_features_detect(void)
{
    struct cpu_features *f = &cpu_features;
    uint32_t basic_max = cpuid(0, 0).eax;
    uint32_t extended_max = cpuid(0x80000000u, 0).eax;

    struct cpuid_result r = cpuid(0, 0);
    /* Meltdown: not AMD's ("Auth", "Hygo"), nor those that say so (RDCL_NO: SDM vol. 4, 2.1). */
    f->isolate = r.ebx != 0x68747541 && r.ebx != 0x6f677948;
    if (basic_max >= 7 && (cpuid(7, 0).edx >> 29 & 1) != 0)
        f->isolate = f->isolate && (rdmsr(MSR_ARCH_CAPABILITIES) & 1) == 0;
    r = cpuid(1, 0);
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
    f->xsave = f->xsave && basic_max >= 0xd;
    if (f->xsave)
        xstate_detect(f);
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
    if (cpu_features.xsave)
        cr4 |= CR4_OSXSAVE;
    write_cr4(cr4);
    if (cpu_features.xsave)
        write_xcr0(cpu_features.xcr0);
    write_cr0((read_cr0() | CR0_WP | CR0_MP | CR0_TS) & ~CR0_EM);
}
