// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * All of the kernel's state: struct kernel, the objects, the table of pages, and the accessors.
 *
 * Model. Objects live in memory retyped from untyped memory and name each other by index: the
 * number of the 64-byte granule in which the object starts (physical address / 64). Index 0 is NIL,
 * since physical page 0 is never handed out. An accessor turns an index into a reference; a debug
 * build checks it there, a proof assumes the invariants there. What a page is stands apart from
 * the page, in struct kernel's `pages`, so that retyped memory can never forge it.
 *
 * Context: every function of the core runs with interrupts off, one call at a time.
 * Invariants: kernel/invariants.h.
 */
#ifndef KERNEL_STATE_H
#define KERNEL_STATE_H

#include <hallows/status.h>
#include <hallows/syscall.h>
#include <hallows/types.h>

#include "kernel/arch.h"
#include "kernel/bits.h"
#include "lib/base/assert.h"

#define GRANULE_SHIFT 6u
#define GRANULE_BYTES 64u
#define GRANULES_PER_PAGE (PAGE_BYTES / GRANULE_BYTES)
/* Reach of a 32-bit granule number; RAM above it is left unused. */
#define PHYSICAL_BYTES_MAX ((uint64_t)1 << (32u + GRANULE_SHIFT))
#define NIL 0u
/* Objects fill whole granules. */
#define GRANULE_SIZED __attribute__((aligned(GRANULE_BYTES)))

#define DEFINE_INDEX(name)                                                                         \
    typedef struct {                                                                               \
        uint32_t n;                                                                                \
    } name##_ix
DEFINE_INDEX(slot);
DEFINE_INDEX(table);
DEFINE_INDEX(untyped);
DEFINE_INDEX(thread);
DEFINE_INDEX(endpoint);
DEFINE_INDEX(reply);
DEFINE_INDEX(notification);
DEFINE_INDEX(aspace);
DEFINE_INDEX(page_table);
DEFINE_INDEX(segment);
DEFINE_INDEX(iospace);
DEFINE_INDEX(sched_context);
DEFINE_INDEX(schedule);
DEFINE_INDEX(irq); /* interrupt vector; NIL = 0, which is never a device's */
#undef DEFINE_INDEX

/* ---- Pages -------------------------------------------------------------------------------- */

enum page_kind {
    PAGE_RESERVED = 0, /* kernel, firmware, no RAM */
    PAGE_FREE = 1,     /* untyped memory, unused */
    PAGE_FRAME = 2,    /* frame of a segment; owner: the segment */
    PAGE_PAGING = 3,   /* table that the MMU walks; owner: aspace, page table or segment */
    PAGE_RECORDS = 4,  /* attachment records; owner: the page table */
    PAGE_BUNDLE = 5,   /* boot module: may be shown read-only */
    PAGE_SPARE = 6,    /* frame in the list of those that its segment does not show; owner: it */
    PAGE_OBJECT = 16   /* + object type: objects of that type; owner: the table, else NIL */
};

struct page {
    uint8_t kind;  /* enum page_kind */
    uint8_t clean; /* SPARE: it is all zero */
    uint8_t reserved[2];
    uint32_t owner; /* index of an object */
    uint32_t next;  /* SPARE: number of the next page of the list; 0: none */
    uint32_t reserved2;
};

/* ---- Capabilities --------------------------------------------------------------------------- */

/* One capability, in a table or embedded in a thread. All zero when empty. */
struct slot {
    uint8_t type; /* enum object_type */
    uint8_t rights;
    uint8_t depth;    /* parent's + 1; 0 for roots */
    uint8_t original; /* 1: the object dies with this capability */
    uint32_t object;  /* index of the object, NIL for types without one */
    uint64_t badge;
    slot_ix parent;
    slot_ix child; /* first child */
    slot_ix next;  /* siblings, newest first */
    slot_ix previous;
    uint64_t base; /* IO_PORTS: port; DEVICE_MEMORY: physical address */
    uint64_t length;
} GRANULE_SIZED;

/* A capability table: this header in place of slot 0, slot n is granule table.n + n. */
struct table {
    uint32_t no_type; /* 0: who takes the header for slot 0 finds no capability there */
    uint32_t slots;   /* usable, header included; teardown shrinks it past empty slots */
    uint32_t slots_made;
    slot_ix original;
    uint32_t level; /* nesting: kernel/object/cap.h */
} GRANULE_SIZED;

struct untyped {
    uint64_t base;      /* physical, page-aligned, as the next three */
    uint64_t watermark; /* memory below is in use */
    uint64_t prepared;  /* memory from watermark to here is zero */
    uint64_t end;
    uint32_t fill_page; /* page that takes small objects of type fill_type; 0: none */
    uint16_t fill_type; /* enum object_type */
    uint16_t fill_next; /* next free granule in it */
    slot_ix original;
    uint32_t level;
} GRANULE_SIZED;

/* ---- Threads and what they wait on ------------------------------------------------------------
 */

enum thread_state {
    THREAD_INACTIVE = 0,
    THREAD_READY = 1,         /* current, or in the ready queue of its priority */
    THREAD_SENDING = 2,       /* in an endpoint's queue, by ipc_send */
    THREAD_CALLING = 3,       /* in an endpoint's queue, by ipc_call or a fault */
    THREAD_RECEIVING = 4,     /* in an endpoint's queue; holds a reply object */
    THREAD_REPLY_WAITING = 5, /* called or faulted; a reply object holds it */
    THREAD_WAITING = 6,       /* the waiter of a notification */
    THREAD_THROTTLED = 7,     /* its context has no budget left; timed until it has */
    THREAD_STATE_COUNT = 8
};

enum thread_flags {
    THREAD_FAULTED = 1u << 0,  /* stopped by a fault: `fault` is valid, a reply resumes as it was */
    THREAD_GRANT = 1u << 1,    /* the queued message may carry a capability */
    THREAD_TIMED = 1u << 2,    /* in the timer wheel */
    THREAD_BUDGETED = 1u << 3, /* runs on `context`, which is bound to it */
    THREAD_PASSIVE = 1u << 4,  /* runs on what its callers lend */
    THREAD_DEMOTED = 1u << 5,  /* ready without a lease that counts: of priority 0 meanwhile */
    THREAD_UPCALLS = 1u << 7   /* has a quantum, or wants foreign system calls: no short ways */
};

/* What a thread runs on. A lease names a scheduling context: bits 0..31 its index, above a number
 * that is new whenever the context is handed out afresh. It counts while the context still has
 * that lease; it is never looked up otherwise, so that it may outlive the context. */
#define LEASE_UNBUDGETED 0ull
#define LEASE_NONE 1ull /* names no context */
#define LEASE_SERIAL_FIRST 1u

struct fault {
    uint64_t vector, error, address;
};

struct thread {
    /* -- first granule: scheduling -- */
    uint8_t state;       /* enum thread_state */
    uint8_t flags;       /* enum thread_flags; beside state: the fast path asks for both at once */
    uint8_t cpu;         /* where it runs */
    uint8_t domain;      /* in whose windows; both say whose queues and timer wheel it is in */
    uint32_t blocked_on; /* endpoint or notification */
    thread_ix next;      /* ready queue or endpoint queue */
    thread_ix previous;
    table_ix table; /* the object of its embedded slot, or NIL, as the next two */
    aspace_ix aspace;
    reply_ix reply; /* RECEIVING: to hold the caller; REPLY_WAITING: what holds this thread */
    notification_ix bound;
    uint64_t badge;    /* of the capability used to send */
    uint64_t deadline; /* while THREAD_TIMED */
    thread_ix timer_next, timer_previous;
    uint16_t timer_bucket;
    uint8_t base_priority; /* as it was set */
    uint8_t priority;      /* 0 while DEMOTED */
    uint8_t unused2[4];
    /* -- second granule -- */
    slot_ix original;
    sched_context_ix context; /* bound to it; NIL: none */
    struct fault fault;
    uint64_t root; /* of `aspace`, what the MMU's root register takes; 0 without one */
    /* Ready: what it runs on. Waiting for an answer: what it lent, or keeps. Throttled: as ready.
     */
    uint64_t lease, reserved[2];
    struct registers registers;
    struct slot table_slot; /* derived capabilities: revocation reaches them */
    struct slot aspace_slot, fault_slot;
    /* -- a granule: upcalls -- */
    uint64_t upcall_area; /* physical address, 0: none */
    uint64_t upcall_quantum_ns;
    uint64_t upcall_at; /* next QUANTUM event, unless upcall_quantum_ns is 0 */
    segment_ix upcall_segment;
    thread_ix upcall_next; /* others with areas in that segment */
    thread_ix upcall_previous;
    uint8_t upcall_events, unused4[3];
    uint64_t reserved2[3];
    struct arch_thread arch;
};
#define THREAD_BYTES 4096u

/* Threads that wait, all senders or all receivers, oldest first. */
struct endpoint {
    thread_ix head, tail;
    slot_ix original;
} GRANULE_SIZED;

struct reply {
    thread_ix thread; /* RECEIVING: claimed by it; REPLY_WAITING: the caller to answer; or NIL */
    slot_ix original;
} GRANULE_SIZED;

struct notification {
    uint64_t word;
    thread_ix waiter;
    thread_ix bound; /* the thread whose `bound` this is */
    irq_ix irqs;     /* first irq that signals this */
    slot_ix original;
    iospace_ix iospaces; /* first I/O space whose faults signal this */
    uint32_t reserved;
} GRANULE_SIZED;

/* Pieces in which a budget comes back; more of them are merged, which only delays. */
#define REFILLS_MAX 4u

struct refill {
    uint64_t time; /* from when on `amount` may be used */
    uint64_t amount;
};

/* A budget in each period: kernel/object/sched_context.c. */
struct sched_context {
    slot_ix original;
    thread_ix thread;      /* bound to; NIL: none */
    uint32_t flags;        /* enum sched_flags */
    uint32_t refill_count; /* 0: not configured */
    uint64_t budget_ns, period_ns;
    uint64_t lease; /* the one that counts */
    uint64_t user;  /* the CPU that has it in use, + 1; 0: none */
    uint64_t consumed_ns;
    struct refill refill[REFILLS_MAX]; /* in order of time; the amounts add up to the budget */
} GRANULE_SIZED;

struct window {
    uint64_t length_ns, domain;
};

/* Windows in turn, for ever: kernel/object/schedule.c. */
struct schedule {
    slot_ix original;
    uint32_t count;    /* of windows */
    uint64_t frame_ns; /* their sum */
    uint64_t reserved[6];
    struct window window[SCHEDULE_WINDOWS_MAX];
};

/* ---- Memory -------------------------------------------------------------------------------- */

/* A table that the MMU walks and which of its entries are in use. */
struct paging {
    uint64_t used[8];  /* bit i: entry i is present */
    uint64_t physical; /* of the table */
};

struct aspace {
    struct paging paging; /* top level; physical is what the MMU's root register takes */
    slot_ix original;
} GRANULE_SIZED;

/* Where a segment is attached: entry `entry` of page table `table`; table NIL: nowhere. */
struct attachment {
    page_table_ix table;
    uint32_t entry;
};

/* One for each entry of a page table of level 1, on PAGE_RECORDS pages. */
struct attachment_record {
    segment_ix segment; /* NIL: nothing is attached here */
    page_table_ix next_table, previous_table;
    uint16_t next_entry, previous_entry;
};
#define RECORD_PAGES 2u

struct page_table {
    struct paging paging;
    slot_ix original;
    uint32_t level;   /* 2: of tables, 1: of segments; 0: not mapped */
    uint32_t parent;  /* level 2: aspace or iospace; level 1: page table */
    uint32_t entry;   /* in the parent */
    aspace_ix aspace; /* it is mapped in; or NIL and */
    iospace_ix iospace;
    uint64_t address; /* first user address it covers */
    uint64_t records; /* physical address of its attachment records */
} GRANULE_SIZED;

/*
 * Attachments point to the leaf table `shown`: the segment's own, or an ancestor's until the first
 * write. They are *open* (the CPU lets writes through where rights allow) or *held* (each write
 * traps). Only a segment without children that shows its own table has open ones.
 */
struct segment {
    uint64_t physical; /* of its own leaf page table */
    uint64_t shown;
    slot_ix original;
    untyped_ix source;      /* frames come from here only */
    struct attachment open; /* first of the list, as the next */
    struct attachment held;
    segment_ix parent; /* what it is a copy of; NIL: nothing that lives */
    segment_ix child;  /* first copy of it */
    segment_ix next;   /* siblings */
    segment_ix previous;
    uint32_t spare;       /* first page of the list of frames that it owns and does not show */
    uint32_t copied;      /* entries of `physical` taken over from `shown` so far */
    uint32_t used;        /* 0: `physical` is all zero */
    thread_ix upcalls;    /* first thread with its upcall area in here */
    struct attachment io; /* first of those in I/O spaces: then it has no copies */
    uint32_t large_level; /* 1: it is one page of 2 MiB, 2: of 1 GiB; 0: it has small ones */
    uint32_t reserved;
    uint64_t large; /* the leaf that shows it, with all its rights */
} GRANULE_SIZED;

/* What the devices assigned to it see: kernel/object/iospace.c. */
struct iospace {
    struct paging paging; /* top level */
    slot_ix original;
    uint32_t domain; /* its number for the IOMMU; k->io_domains[domain] is this space */
    notification_ix notification;
    iospace_ix next; /* others of the same notification */
    iospace_ix previous;
    uint32_t functions_used; /* bit i: functions[i] is assigned to this space */
    uint64_t badge, fault_address;
    uint64_t fault; /* enum io_fault_bits; 0: none to be taken */
    uint16_t functions[IOSPACE_FUNCTIONS_MAX];
    uint64_t reserved[13]; /* sizes divide a page */
} GRANULE_SIZED;

/* ---- Static tables --------------------------------------------------------------------------- */

#define IRQ_VECTOR_COUNT 256u /* vectors are eight bits wide (Intel SDM vol. 3, 6.2) */
#define IRQ_VECTOR_FIRST 48u  /* device interrupts take vectors FIRST..LAST */
#define IRQ_VECTOR_LAST 238u

enum irq_kind { IRQ_NONE = 0, IRQ_MSI = 1, IRQ_PIN = 2 };

struct irq {
    uint8_t kind;  /* enum irq_kind */
    uint8_t flags; /* enum irq_flags; level-triggered: masked when it fires until irq_ack */
    uint16_t gsi;
    slot_ix original;
    notification_ix notification;
    irq_ix next; /* others of the same notification */
    irq_ix previous;
    uint8_t cpu, domain; /* where it arrives, and in whose windows */
    uint8_t reserved[2];
    uint64_t badge;
};

struct thread_queue {
    thread_ix head, tail;
};

/* Timer wheel: level l, bucket b holds deadlines that agree with `base` above digit l (6 bits a
 * digit) and have b as digit l. See kernel/timer.h. */
#define TIMER_LEVELS 11u
#define TIMER_BUCKETS 64u

struct timer_wheel {
    uint64_t base; /* no deadline in the wheel is earlier */
    uint64_t next; /* likewise, and not earlier than base: when to look again */
    uint64_t used[TIMER_LEVELS];
    thread_ix bucket[TIMER_LEVELS * TIMER_BUCKETS];
};

struct trace_event {
    uint64_t time_ns, head, what, value; /* head: enum trace_kind | thread << 32 */
};

struct trace {
    uint32_t on;
    uint32_t thread; /* current at the last event */
    uint64_t count;  /* events so far; number n is at n % TRACE_EVENTS */
    struct trace_event event[TRACE_EVENTS];
};

/* What one CPU runs. */
struct cpu {
    struct arch_cpu arch;
    thread_ix current;    /* what runs after the kernel returns; NIL: idle */
    uint8_t index;        /* [const] in struct kernel's cpus */
    uint8_t domain;       /* whose threads run; beside index, as they are in a thread */
    uint64_t quantum_end; /* of the threads of priority quantum_priority; NEVER: to be set */
    uint32_t quantum_priority;
    int32_t ready_top; /* highest bit of the domain's ready_used, or -1 */
    bool kicked;       /* its current thread may not be the best: kernel_reschedule is coming */
    bool releasing;    /* interrupts held back until this window may be left: the timer is due */
    uint64_t lease;    /* of the scheduling context that is in use since charge_from */
    uint64_t charge_from;
    uint64_t budget_end;  /* when that has nothing left; DEADLINE_NEVER without one */
    uint64_t timer_due;   /* the earliest of budget_end, window_end and the domain's wheel.next */
    uint64_t timer_armed; /* what its hardware timer is set to, DEADLINE_NEVER: off */
    uint32_t window;      /* the one of `schedule` that it is in */
    schedule_ix schedule; /* NIL: none, and domain 0 runs until window_end */
    schedule_ix schedule_next; /* from the end of the frame on */
    uint64_t frame_start;
    uint64_t window_end; /* DEADLINE_NEVER: without a schedule */
    /* Of each domain: bit p: ready[p] holds threads; deadlines; all READY threads but the current.
     */
    uint64_t ready_used[DOMAIN_COUNT][PRIORITY_COUNT / 64u];
    struct timer_wheel wheel[DOMAIN_COUNT];
    struct thread_queue ready[DOMAIN_COUNT][PRIORITY_COUNT];
    /* Interrupts that came in other domains' windows: bit v: irqs[v], masked until its own. */
    uint64_t held[DOMAIN_COUNT][IRQ_VECTOR_COUNT / 64u];
    struct trace trace;
    /* `arch` may lie on a page of its own, which user mode's page tables show: see smp_cpus. */
    uint8_t apart[5288];
};
_Static_assert(sizeof(struct cpu) % PAGE_BYTES == 0, "whole pages: give `apart` another size");
_Static_assert(sizeof((struct cpu *)0)->apart >= PAGE_BYTES, "no less, or the page shows more");

#define CPU_COUNT_MAX 64u /* a thread's `cpu` and a set of CPUs in one word */

struct kernel {
    struct page *pages; /* [const] one for each page of physical memory below page_count */
    struct cpu *cpus;   /* [const] cpu_count of them */
    uint32_t page_count;
    uint32_t cpu_count; /* [const] 1..CPU_COUNT_MAX */
    struct irq irqs[IRQ_VECTOR_COUNT];
    uint64_t irq_used[IRQ_VECTOR_COUNT / 64u]; /* bit v: irqs[v].kind is not IRQ_NONE */
    iospace_ix io_domains[IO_DOMAINS_MAX];     /* whose number it is */
    uint64_t io_domain_used[IO_DOMAINS_MAX / 64u];
    table_ix boot_table;   /* originals of the initial cell's objects, out of any user's reach */
    uint32_t boot_next;    /* next empty slot in it */
    uint32_t untyped_next; /* next granule for the header of untyped memory made at boot */
    untyped_ix boot_untyped;
    table_ix initial_table;
    aspace_ix initial_aspace;
    thread_ix initial_thread;
    uint32_t lease_next; /* last number given to a lease */
};

/* ---- Accessors ------------------------------------------------------------------------------- */

static inline uint64_t granule_address(uint32_t n)
{
    return (uint64_t)n << GRANULE_SHIFT;
}

static inline uint32_t address_granule(uint64_t physical)
{
    return (uint32_t)(physical >> GRANULE_SHIFT);
}

/* Shifts and masks, here and below: a proof would divide bit by bit. */
static inline uint32_t granule_page(uint32_t n)
{
    return n >> (PAGE_SHIFT - GRANULE_SHIFT);
}

#ifdef HALLOWS_PROOF
#include "proofs/kernel/cells.h"
#else
/* The object of that type with index n. */
#define object_at(k, name, n) ((struct name *)arch_memory(granule_address(n)))
/* Entry n of a static table. */
#define table_entry_at(k, name, table, n) (&(table)[n])

static inline struct page *page_at(struct kernel *k, uint64_t physical)
{
    ASSERT((physical >> PAGE_SHIFT) < k->page_count);
    return &k->pages[physical >> PAGE_SHIFT];
}

static inline struct page page_get(const struct kernel *k, uint32_t page)
{
    return k->pages[page];
}

static inline struct cpu *cpu_at(struct kernel *k, uint32_t cpu)
{
    ASSERT(cpu < k->cpu_count);
    return &k->cpus[cpu];
}
#endif

/* The CPU that executes the core. */
static inline struct cpu *cpu_self(struct kernel *k)
{
    ASSERT(arch_cpu_self() == cpu_at(k, arch_cpu_self()->index));
    (void)k;
    return arch_cpu_self();
}

/* The thread that entered the kernel, or what runs after it; NIL: none. */
static inline thread_ix current_thread(struct kernel *k)
{
    return cpu_self(k)->current;
}

/* The CPU that a thread belongs to. */
static inline struct cpu *cpu_of(struct kernel *k, const struct thread *t)
{
    return cpu_at(k, t->cpu);
}

/* Whether n is the index of an object of that type. */
static inline bool object_index_ok(const struct kernel *k, uint32_t n, uint32_t type,
                                   uint32_t granules)
{
    uint32_t page = granule_page(n);

    return n != NIL && page < k->page_count && page_get(k, page).kind == PAGE_OBJECT + type &&
           (n & (granules - 1u)) == 0;
}

#include "kernel/invariants_index.h"

static inline struct slot *slot_at(struct kernel *k, slot_ix i)
{
    ASSERT(slot_index_ok(k, i.n));
    return object_at(k, slot, i.n);
}

/* Slot n of a table for reading, or its header for n = 0, which reads as an empty slot's type. */
static inline const struct slot *slot_or_header_at(struct kernel *k, table_ix t, uint32_t n)
{
    ASSERT(n == 0 || slot_index_ok(k, t.n + n));
    (void)k;
    return object_at(k, slot, t.n + n);
}

#define DEFINE_ACCESSOR(name, TYPE)                                                                \
    static inline struct name *name##_at(struct kernel *k, name##_ix i)                            \
    {                                                                                              \
        ASSERT(object_is_open(k, i.n, TYPE, sizeof(struct name)));                                 \
        return object_at(k, name, i.n);                                                            \
    }
DEFINE_ACCESSOR(table, OBJECT_TABLE)
DEFINE_ACCESSOR(untyped, OBJECT_UNTYPED)
DEFINE_ACCESSOR(thread, OBJECT_THREAD)
DEFINE_ACCESSOR(endpoint, OBJECT_ENDPOINT)
DEFINE_ACCESSOR(reply, OBJECT_REPLY)
DEFINE_ACCESSOR(notification, OBJECT_NOTIFICATION)
DEFINE_ACCESSOR(aspace, OBJECT_ASPACE)
DEFINE_ACCESSOR(page_table, OBJECT_PAGE_TABLE)
DEFINE_ACCESSOR(segment, OBJECT_SEGMENT)
DEFINE_ACCESSOR(iospace, OBJECT_IOSPACE)
DEFINE_ACCESSOR(sched_context, OBJECT_SCHED_CONTEXT)
DEFINE_ACCESSOR(schedule, OBJECT_PARTITION_SCHEDULE)
#undef DEFINE_ACCESSOR

static inline struct irq *irq_at(struct kernel *k, irq_ix i)
{
    ASSERT(i.n >= IRQ_VECTOR_FIRST && i.n <= IRQ_VECTOR_LAST);
    return table_entry_at(k, irq, k->irqs, i.n);
}

#endif
