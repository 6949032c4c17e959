// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The machine contract: everything the core of the kernel asks of the machine. kernel/arch/x86_64
 * implements it on hardware, kernel/arch/host on Linux for tests. The calls in the other direction
 * (entry points of the core) stand in kernel/entry.h.
 *
 * Context: interrupts off. None of these functions blocks; each is bounded.
 */
#ifndef KERNEL_ARCH_H
#define KERNEL_ARCH_H

#include <hallows/status.h>
#include <hallows/syscall.h>
#include <hallows/types.h>

#include "kernel/leaf.h"

/* Of functions that measured paths run through; all others are built for size (decision 023). */
#ifdef HALLOWS_KERNEL
#define FAST __attribute__((optimize("O2"), hot))
#else
#define FAST
#endif
/* What those always need, and what they need so rarely that it stays out of them. */
#define INLINE static inline __attribute__((always_inline))
#define APART __attribute__((noinline))

/* ---- A thread's registers --------------------------------------------------------------------
 * The user-visible register set of hallows/syscall.h. Entry code saves the current thread's here
 * before it calls the core, and restores whatever thread is current afterwards. Offsets are part of
 * the contract with assembly. */
struct registers {
    uint64_t word[8]; /* rdx r10 r8 r9 r12 r13 r14 r15: message words, arguments 2.. */
    uint64_t result;  /* rax: in: call number and aux slot, out: status */
    uint64_t arg0;    /* rdi: argument 0, out: badge */
    uint64_t arg1;    /* rsi: argument 1, out: message info */
    uint64_t caps;    /* rbx: slots of a capability transfer */
    uint64_t rbp, rcx, r11, ip, flags;
    uint64_t sp, fs_base, gs_base;
    uint64_t entry;      /* the machine's own bits, and REGISTERS_FULL: rcx and r11 count too */
    uint64_t machine[3]; /* the machine's own, e.g. what it keeps of the FPU's state */
};
_Static_assert(sizeof(struct registers) == 192, "offsets are known to assembly");
#define REGISTERS_FULL 1u

/* The machine's part of a thread: what FXSAVE or XSAVE writes (Intel SDM vol. 1, 10.5.1, 13.4). All
 * zero at creation, then arch_thread_init. */
#define ARCH_FPU_BYTES 3520u
struct arch_thread {
    uint8_t fpu[ARCH_FPU_BYTES] __attribute__((aligned(64)));
};

struct kernel;
struct thread;
struct cpu;

/* The machine's part of a CPU: what it holds of a thread, and the addresses that entry code needs.
 * Offsets are part of the contract with assembly. */
struct arch_cpu {
    struct cpu *self;      /* [const] */
    uint64_t stack_top;    /* [const] of its kernel stack */
    uint64_t frame_top;    /* [const] of the stack on which it comes from and goes to user mode */
    uint64_t user_sp;      /* while the system-call entry has no stack */
    struct thread *loaded; /* whose state is in the CPU; NULL: nobody's */
    struct thread *fpu_owner; /* whose FPU state is in the CPU; NULL: nobody's */
    uint64_t root;            /* what CR3 holds */
    uint64_t cr0_fpu_off;     /* CR0 with TS */
    uint32_t live;            /* LIVE_FPU, LIVE_BASES */
    uint32_t loaded_index;    /* of `loaded`; LOADED_NOBODY when that is NULL */
    uint32_t apic_id;         /* [const] */
    uint32_t request;         /* [atomic] what the holder of the lock wants of it; 0: nothing */
    struct thread *request_thread;
    struct cpu_descriptors *descriptors; /* [const] */
};

/* No thread's index, nor NIL, which a CPU's current thread may be. */
#define LOADED_NOBODY UINT32_MAX

/* The CPU calls kernel_reschedule soon, even if it idles. */
void arch_cpu_kick(const struct cpu *c);

/* Makes the machine's part and the registers of a fresh (all-zero) thread fit to run. */
void arch_thread_init(struct thread *thread);
/* The thread dies, leaves its CPU, or its registers are about to be read or written from outside:
 * the machine writes back what it holds of it (bases, lazily switched FPU state), and its next
 * return to user mode restores every register. If another CPU executes it, that stops; the CPU goes
 * on with kernel_reschedule after this entry, and what the thread entered the kernel for meanwhile,
 * if it did, has not happened. */
void arch_thread_forget(struct thread *thread);
/* The fault is a user's write to a page that is there and may be read (x86: error code P, W and U,
 * Intel SDM vol. 3, 4.7). */
#define FAULT_VECTOR_PAGE 14u
#define FAULT_ERROR_WRITE 7u
/* flags with every bit removed or set that user code may not choose (IF on, IOPL 0, ...). */
uint64_t arch_flags_sanitize(uint64_t flags);
/* True if the address lies in the user half and may be returned to or used as a base. */
bool arch_user_address_ok(uint64_t address);

/* ---- Memory ---------------------------------------------------------------------------------- */

#ifdef HALLOWS_HOST
#include "kernel/arch/host/memory.h"
#elif defined(HALLOWS_PROOF)
#include "proofs/kernel/memory.h"
#else
#include "kernel/arch/x86_64/memory.h"
#endif
/* memory.h gives, inline:
 *   void *arch_memory(uint64_t physical): the kernel's view of RAM;
 *   struct cpu *arch_cpu_self(void): the CPU that executes this;
 *   struct thread *arch_caller(struct kernel *k): the thread whose system call this is, while it is
 *     current;
 *   uint64_t arch_index(uint64_t n, uint64_t count): n if it is below count, else 0, also where the
 *     CPU executes ahead along a wrong guess (Spectre, variant 1). Every number that a user chose
 *     and that selects memory goes through it or through
 *   uint32_t arch_mask(uint32_t n, uint32_t count): n modulo a power of two, likewise
 *     (docs/decisions/011);
 * and ARCH_USER_CODE, ARCH_USER_DATA: the selectors of user mode, for a frame to return there. */

/* First address past what an address space offers; segments attach below. The last window of the
 * CPU's user half is left out, so that no instruction ends where the half does: the address after a
 * SYSCALL can always be returned to (SYSRET would fault in ring 0). */
#define USER_ADDRESS_END (((uint64_t)1 << 47) - SEGMENT_BYTES)
/* Entries of the top-level table that belong to user space: 0..USER_TOP_ENTRIES-1. */
#define USER_TOP_ENTRIES 256u
#define PAGING_LEVEL_TOP 3u /* of the aspace's own table; page tables are of level 2 or 1 */
#define PAGING_ENTRIES 512u

static inline uint32_t paging_index(uint64_t address, uint32_t level)
{
    return (uint32_t)(address >> (PAGE_SHIFT + 9u * level)) & (PAGING_ENTRIES - 1u);
}

/* memory.h gives as well, inline on hardware:
 *
 * The entry of a leaf table: page at `physical` with RIGHT_READ/WRITE/EXECUTE, PAGE_* attributes
 * and LEAF_OWN. The core never asks for WRITE with EXECUTE. */
uint64_t arch_leaf_encode(uint64_t physical, uint32_t rights);
/* Inverse, without LEAF_OWN: 0 if the entry maps nothing. */
uint32_t arch_leaf_rights(uint64_t entry);
bool arch_leaf_own(uint64_t entry);
uint64_t arch_leaf_physical(uint64_t entry);
/* The entry that points to an intermediate table: all rights. */
uint64_t arch_table_encode(uint64_t physical);
/* The level-1 entry that attaches a segment's leaf table with at most these rights. */
uint64_t arch_attach_encode(uint64_t physical, uint32_t rights);
/* Rights of such an entry: RIGHT_READ, WRITE, EXECUTE. */
uint32_t arch_attach_rights(uint64_t entry);
/* The entry of a table of level 1 or 2 that is a page itself; else as arch_leaf_encode. */
uint64_t arch_large_encode(uint64_t physical, uint32_t rights);
bool arch_entry_large(uint64_t entry);
/* The highest level that may hold such entries: 1, or 2 where the CPU has pages of 1 GiB. */
uint32_t arch_large_level_max(void);
/* A leaf or level-1 entry with the same rights whose writes trap (copy-on-write); not LEAF_OWN. */
uint64_t arch_entry_share(uint64_t entry);
/* The CPU lets writes through. */
bool arch_entry_writable(uint64_t entry);
/* One aligned 64-bit store to a table that the MMU may be walking. */
void arch_entry_store(uint64_t *entry, uint64_t value);
/* After it returns no CPU uses a translation of the address space with this root that is no longer
 * in its tables; root 0: of any address space. */
void arch_tlb_flush(uint64_t root);
/* Fills the kernel's half of a zeroed top-level table. */
void arch_aspace_init(uint64_t root);
/* The address space dies: no CPU may keep using this root as its own. */
void arch_aspace_forget(uint64_t root);

/* ---- I/O memory management -------------------------------------------------------------------
 * Functions are named by requester id (bus << 8 | device << 3 | function), I/O spaces by domain
 * number. A function without a domain reaches no memory. An I/O space's tables have the shape of an
 * address space's and share the leaf tables of segments (docs/decisions/025). */

/* I/O spaces at most: each has one bit, looked for in a loop of IO_DOMAINS_MAX / 64. */
#define IO_DOMAINS_MAX 1024u
#define IO_SPACE_PAGES 3u /* the top table and two for the machine's own use */

struct io_limits {
    uint32_t domains;     /* numbers 1..domains-1 may be used; 0: there is no IOMMU */
    uint64_t address_end; /* first address that devices cannot use */
};
struct io_limits arch_io_limits(void);
/* Prepares the zeroed pages of a new space. */
void arch_io_space_init(uint64_t pages, uint32_t domain);
/* As arch_table_encode and arch_attach_encode, for an I/O space's tables. */
uint64_t arch_io_table_encode(uint64_t physical);
uint64_t arch_io_attach_encode(uint64_t physical, uint32_t rights);
/* RIGHT_READ and WRITE of such an entry. */
uint32_t arch_io_attach_rights(uint64_t entry);
/* Entries of a table that an IOMMU may walk were stored: after it returns it sees the new ones; of
 * those that took rights away only after arch_io_flush. */
void arch_io_stored(const void *entries, uint32_t bytes);
/* After it returns no device uses a translation of the domain that is no longer in its tables, and
 * what it had begun is done; domain 0: of any domain. */
void arch_io_flush(uint32_t domain);
/* Whether the machine can have such a function. */
bool arch_io_function_ok(uint32_t function);
/* The function's domain; 0: none. */
uint32_t arch_io_domain(uint32_t function);
/* Precondition: arch_io_function_ok, no domain. */
void arch_io_assign(uint32_t function, uint64_t pages, uint32_t domain);
void arch_io_unassign(uint32_t function);
/* Reports faults of a function with a domain, or holds them back: what makes a stream of faults
 * cost nothing. */
void arch_io_report(uint32_t function, bool on);

/* ---- Time ------------------------------------------------------------------------------------ */

/* Now, in ns since the kernel started counting; never goes back. */
uint64_t arch_time_ns(void);
/* Calls kernel_timer at or soon after that time (at once if it is past); replaces the last setting;
 * DEADLINE_NEVER: off. */
void arch_timer_set(uint64_t deadline_ns);

/* ---- Interrupts, ports, console ---------------------------------------------------------------
 */

/* What a device writes where (address, data) to raise `vector` on that CPU. Of a vector that is
 * known already only the CPU changes, at once if messages are remapped. UNSUPPORTED: only with
 * remapping can a message reach that CPU. */
status_t arch_irq_msi(uint32_t vector, const struct cpu *c, uint64_t values[2]);
/* Routes a pin to a vector of that CPU; masked as it was, which at first it is. irq_flags.
 * NOT_FOUND: no such pin. UNSUPPORTED: as arch_irq_msi. */
status_t arch_irq_pin(uint32_t gsi, uint32_t vector, uint32_t flags, const struct cpu *c);
void arch_irq_pin_mask(uint32_t gsi, bool masked);
/* Messages for the vector are dropped, or not; at first they are. Without interrupt remapping they
 * always come. */
void arch_irq_message_mask(uint32_t vector, bool masked);
/* Only this function's message may raise the vector. UNSUPPORTED without interrupt remapping. */
status_t arch_irq_source(uint32_t vector, uint32_t function);
/* The vector's handler died: no message raises it any more, where the machine can. */
void arch_irq_forget(uint32_t vector);

/* width 1, 2 or 4 */
uint32_t arch_port_in(uint16_t port, uint32_t width);
void arch_port_out(uint16_t port, uint32_t width, uint32_t value);

/* System calls of this CPU enter by kernel_syscall_traced, or as usual again. */
void arch_trace(bool on);

void arch_console_write(const char *text, uint32_t bytes);

#endif
