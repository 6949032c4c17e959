// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Single instructions as inline functions, and the CPU's features. Names and numbers follow the
 * Intel SDM (volumes 2, 3 and 4).
 */
#ifndef KERNEL_ARCH_X86_64_CPU_H
#define KERNEL_ARCH_X86_64_CPU_H

#include <stdbool.h>
#include <stdint.h>

/* ---- Model-specific registers (SDM vol. 4) --------------------------------------------------- */
#define MSR_APIC_BASE 0x1bu
#define MSR_ARCH_CAPABILITIES 0x10au
#define MSR_PAT 0x277u
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC 0x800u
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_FMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u

#define EFER_SYSCALL (1u << 0)

/* ---- Control registers (SDM vol. 3, 2.5) ----------------------------------------------------- */
#define CR0_MP (1ul << 1)
#define CR0_EM (1ul << 2)
#define CR0_TS (1ul << 3)
#define CR0_WP (1ul << 16)
#define CR4_PGE (1ul << 7)
#define CR4_OSFXSR (1ul << 9)
#define CR4_OSXMMEXCPT (1ul << 10)
#define CR4_UMIP (1ul << 11)
#define CR4_FSGSBASE (1ul << 16)
#define CR4_OSXSAVE (1ul << 18)
#define CR4_SMEP (1ul << 20)
#define CR4_SMAP (1ul << 21)

struct cpuid_result {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid_result cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_result r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

#define CONTROL_REGISTER(n)                                                                        \
    static inline uint64_t read_cr##n(void)                                                        \
    {                                                                                              \
        uint64_t value;                                                                            \
        __asm__ volatile("mov %%cr" #n ", %0" : "=r"(value));                                      \
        return value;                                                                              \
    }                                                                                              \
    static inline void write_cr##n(uint64_t value)                                                 \
    {                                                                                              \
        __asm__ volatile("mov %0, %%cr" #n : : "r"(value) : "memory");                             \
    }
CONTROL_REGISTER(0)
CONTROL_REGISTER(2)
CONTROL_REGISTER(3)
CONTROL_REGISTER(4)
#undef CONTROL_REGISTER

static inline void write_xcr0(uint32_t components)
{
    __asm__ volatile("xsetbv" : : "c"(0), "a"(components), "d"(0) : "memory");
}

static inline void cpu_pause(void)
{
    __asm__ volatile("pause" : : : "memory");
}

#define PORT_ACCESS(bits, suffix)                                                                  \
    static inline void port_out##bits(uint16_t port, uint##bits##_t value)                         \
    {                                                                                              \
        __asm__ volatile("out" suffix " %0, %1" : : "a"(value), "Nd"(port));                       \
    }                                                                                              \
    static inline uint##bits##_t port_in##bits(uint16_t port)                                      \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        __asm__ volatile("in" suffix " %1, %0" : "=a"(value) : "Nd"(port));                        \
        return value;                                                                              \
    }
PORT_ACCESS(8, "b")
PORT_ACCESS(16, "w")
PORT_ACCESS(32, "l")
#undef PORT_ACCESS

static inline _Noreturn void cpu_stop(void)
{
    for (;;)
        __asm__ volatile("cli; hlt" : : : "memory");
}

/* What CPUID offers of what the kernel uses; `const` after cpu_features_detect. */
struct cpu_features {
    bool sse42; /* needed: lib/base and every cell use it */
    bool smep, smap, umip, fsgsbase, x2apic, tsc_deadline, page_1g, xsave, xsaveopt, avx;
    /* isolate: user mode needs page tables that show next to nothing of the kernel */
    bool hypervisor, invariant_tsc, isolate;
    uint32_t xcr0; /* state components that threads have, if there is XSAVE */
    uint32_t physical_bits;
    uint32_t crystal_hz;                     /* CPUID.15H, 0 if not told */
    uint32_t tsc_numerator, tsc_denominator; /* CPUID.15H: TSC = crystal * n / d */
};

extern struct cpu_features cpu_features;
void cpu_features_detect(void);
/* Sets CR0 and CR4 as the kernel wants them, for what CPUID offers. */
void cpu_features_enable(void);

#endif
