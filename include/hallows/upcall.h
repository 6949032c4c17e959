// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Upcalls: how a thread handles its own events at user level (docs/decisions/022).
 *
 * Model. A thread registers (thread_set_upcall) an *area*: one page of a segment, which the kernel
 * pins. When an enabled event happens while the thread could run and is not masked, the kernel
 *   1. saves the thread's registers in the area's frame,
 *   2. sets `masked` to 1, and takes and clears `pending`,
 *   3. continues the thread at `handler` with rsp = stack, rdi = argument, rsi = the events taken,
 *      rflags = 0x202; the other registers are as they were.
 * The handler resumes what was interrupted without the kernel: it clears `masked`, looks whether
 * something became pending, and restores the frame with an `iretq` from the area (legal at user
 * level). Events that happen while `masked` is not 0 only set their bit in `pending`.
 *
 * Between clearing `masked` and the `iretq` the thread is in the *resume code*, whose addresses are
 * resume_first up to resume_end. An event there saves nothing, since what is to be resumed is still
 * in the frame: the handler starts anew. runtime/upcall.S has this code.
 *
 * Two events cannot wait: a fault or a foreign system call while masked, or in the resume code, is
 * a fault that goes to the thread's fault endpoint. A handler address outside the user half
 * disables upcalls; an address where nothing is mapped is a fault while masked.
 *
 * Threads: the area belongs to one thread. `pending` is changed atomically by both sides. The
 * kernel reads each word once and uses none of them for anything but this thread.
 */
#ifndef HALLOWS_UPCALL_H
#define HALLOWS_UPCALL_H

#include <stddef.h>

#include <hallows/types.h>

enum upcall_event {
    UPCALL_QUANTUM = 1u << 0,      /* upcall_quantum's time is over */
    UPCALL_NOTIFICATION = 1u << 1, /* the bound notification was signalled; `notification` */
    UPCALL_FAULT = 1u << 2,        /* `fault_*` */
    UPCALL_SYSCALL = 1u << 3,      /* a `syscall` instruction outside the kernel-call code */
    UPCALL_EVENTS_ALL = 0xf
};

/* The order of the first 15 is the kernel's own (kernel/arch.h, struct registers). */
struct upcall_frame {
    uint64_t rdx, r10, r8, r9, r12, r13, r14, r15;
    uint64_t rax, rdi, rsi, rbx, rbp, rcx, r11;
    uint64_t reserved;
    uint64_t ip, cs, flags, sp, ss; /* as iretq takes them */
    uint64_t reserved2[3];
};

#define UPCALL_FPU_BYTES 832u /* x87, SSE and AVX state (Intel SDM vol. 1, 13.4) */

struct upcall_area {
    /* Set before registration, read at each event. */
    uint64_t handler;
    uint64_t stack;    /* 16-byte aligned end of the handler's stack */
    uint64_t argument; /* by custom the area's own user address */
    uint64_t resume_first;
    uint64_t resume_end;
    uint64_t kernel_code_first; /* `syscall` from here on ... */
    uint64_t kernel_code_end;   /* ... and below is a kernel call: libc's stubs, so to speak */
    /* Changed by both. */
    uint64_t masked;
    uint64_t pending; /* enum upcall_event */
    /* Written by the kernel. */
    uint64_t notification; /* bits that arrived; the handler takes and clears them */
    uint64_t fault_vector; /* as a fault message's words */
    uint64_t fault_error;
    uint64_t fault_address;
    uint64_t reserved[3];
    struct upcall_frame frame;
    uint8_t fpu[UPCALL_FPU_BYTES]; /* the handler's, to save FPU state in */
};
_Static_assert(sizeof(struct upcall_frame) == 192, "offsets are known to assembly");
_Static_assert(sizeof(struct upcall_area) <= PAGE_BYTES, "the area is a page");
_Static_assert(offsetof(struct upcall_area, fpu) % 64 == 0, "XSAVE wants 64 bytes");

/* Shortest quantum: an event costs a few hundred instructions. */
#define UPCALL_QUANTUM_MIN_NS 1000u
#define UPCALL_QUANTUM_MAX_NS 1000000000u
/* upcall_quantum: leave the quantum as it is and only deliver what is pending. */
#define UPCALL_QUANTUM_KEEP UINT64_MAX

#endif
