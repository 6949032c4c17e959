// SPDX-License-Identifier: MIT OR Apache-2.0
#include "runtime/upcall.h"

#include "lib/base/bytes.h"
#include "runtime/syscall.h"

extern char upcall_entry[], upcall_resume_first[], upcall_resume_end[];
extern char program_code_start[], program_code_end[];

_Static_assert(offsetof(struct upcall_area, masked) == 56, "upcall.S");
_Static_assert(offsetof(struct upcall_area, pending) == 64, "upcall.S");
_Static_assert(offsetof(struct upcall_area, reserved) == 104, "upcall.S keeps the handler there");
_Static_assert(offsetof(struct upcall_area, frame) == 128, "upcall.S");
_Static_assert(offsetof(struct upcall_area, fpu) == 320, "upcall.S");

#define CPUID_OSXSAVE (1u << 27)
#define XSTATE_AVX (1u << 2)
#define XSTATE_AREA 7u             /* x87, SSE, AVX: what UPCALL_FPU_BYTES holds */
#define FPU_CONTROL_DEFAULT 0x37fu /* as the kernel starts threads */
#define MXCSR_DEFAULT 0x1f80u

/* The state components that FXSAVE does not know, if the kernel has switched AVX on; else 0 (Intel
 * SDM vol. 1, 13.3). */
static uint32_t xsave_components(void)
{
    uint32_t eax = 1, ecx = 0, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "+c"(ecx) : : "ebx", "edx");
    if ((ecx & CPUID_OSXSAVE) == 0)
        return 0;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return (eax & XSTATE_AVX) != 0 ? XSTATE_AREA : 0;
}

void upcall_open(struct upcall_area *area, upcall_handler handler, void *stack_end)
{
    area->handler = (uint64_t)upcall_entry;
    area->stack = (uint64_t)stack_end;
    area->argument = (uint64_t)area;
    area->resume_first = (uint64_t)upcall_resume_first;
    area->resume_end = (uint64_t)upcall_resume_end;
    area->kernel_code_first = (uint64_t)program_code_start;
    area->kernel_code_end = (uint64_t)program_code_end;
    area->masked = 0;
    area->pending = 0;
    area->notification = 0;
    area->reserved[0] = (uint64_t)handler;
    area->reserved[1] = xsave_components();
    memset(area->fpu, 0, sizeof area->fpu);
    area->fpu[0] = FPU_CONTROL_DEFAULT & 0xff;
    area->fpu[1] = FPU_CONTROL_DEFAULT >> 8;
    area->fpu[24] = MXCSR_DEFAULT & 0xff;
    area->fpu[25] = MXCSR_DEFAULT >> 8;
}

void upcall_unmask(struct upcall_area *area, uint64_t before)
{
    if (before != 0)
        return;
    *(volatile uint64_t *)&area->masked = 0;
    __asm__ volatile("" : : : "memory");
    if (*(volatile uint64_t *)&area->pending != 0)
        (void)upcall_quantum(UPCALL_QUANTUM_KEEP);
}
