// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The kernel's contract: object types, rights, calls, message layout.
 *
 * Model. Every call but `yield` names an object by a capability in the caller's capability table.
 * The kernel never reads or writes user memory: all arguments, messages and results travel in
 * registers (docs/decisions/001). A call that returns a status other than OK, AGAIN, TIMED_OUT or
 * CANCELLED changed nothing.
 *
 * Registers on `syscall` (x86-64):
 *   rax   bits 0..15 call number, bits 32..63 a second slot where the call takes one (IPC: reply)
 *   rdi   argument 0 (IPC: the endpoint's or reply's slot)
 *   rsi   argument 1 (IPC: message info)
 *   rdx r10 r8 r9      arguments 2..5, message words 0..3
 *   r12 r13 r14 r15    message words 4..7
 *   rbx   IPC: bits 0..31 slot of the capability to send, bits 32..63 slot to accept one in
 * On return:
 *   rax   status (sign-extended)
 *   calls with values: rdx value 0, r10 value 1; register reads use words 0..7 as for messages
 *   receiving IPC calls: rdi badge, rsi message info, words as above
 *   rcx and r11 are clobbered, every other register is kept.
 */
#ifndef HALLOWS_SYSCALL_H
#define HALLOWS_SYSCALL_H

#include <hallows/types.h>

/* ---- Object types ------------------------------------------------------------------------- */

enum object_type {
    OBJECT_NONE = 0,
    OBJECT_UNTYPED = 1, /* size: bytes, a multiple of PAGE_BYTES */
    OBJECT_TABLE = 2,   /* size: slots, 2..CAP_TABLE_SLOTS_MAX */
    OBJECT_THREAD = 3,  /* size: 0, as for all below */
    OBJECT_ENDPOINT = 4,
    OBJECT_REPLY = 5,
    OBJECT_NOTIFICATION = 6,
    OBJECT_ASPACE = 7,
    OBJECT_PAGE_TABLE = 8,   /* an intermediate table: page-directory-pointer table or directory */
    OBJECT_SEGMENT = 9,      /* a 2 MiB window with its own leaf page table */
    OBJECT_IRQ_CONTROL = 10, /* authority to create interrupt handlers; boot only */
    OBJECT_IRQ = 11,         /* one interrupt source; from irq_create_* */
    OBJECT_IO_PORTS = 12,    /* a range of x86 I/O ports; from boot and range_derive */
    OBJECT_DEVICE_MEMORY = 13, /* a range of physical pages that are not RAM; as IO_PORTS */
    OBJECT_SCHED_CONTROL = 14, /* authority over priorities; boot only; badge = highest priority */
    OBJECT_IOSPACE = 15,       /* what a device sees; without an IOMMU the boot's identity space */
    OBJECT_CONSOLE = 16,       /* the kernel's debug console */
    OBJECT_SCHED_CONTEXT = 17, /* budget and period */
    OBJECT_PARTITION_SCHEDULE = 18, /* a cyclic table of windows */
    OBJECT_TRACE = 19,              /* the kernel's trace ring; boot only */
    OBJECT_PCI_FUNCTIONS = 20,      /* a range of PCI functions (requester ids); as IO_PORTS */
    OBJECT_TYPE_COUNT = 21
};

#define CAP_TABLE_SLOTS_MAX 65536u
/* Objects one retype call creates at most: bounds the call's interrupts-off time. */
#define RETYPE_COUNT_MAX 8u
/* Pages one populate, protect or device-populate call touches at most, likewise. */
#define POPULATE_PAGES_MAX 16u
/* Segments one segment_derive copies at most, likewise. */
#define DERIVE_COUNT_MAX 8u
/* Longest chain original -> copy -> copy ...; makes ancestor facts finite for the proofs. */
#define DERIVATION_DEPTH_MAX 16u
#define PRIORITY_COUNT 256u

/* ---- Rights ------------------------------------------------------------------------------- */

enum cap_rights {
    RIGHT_READ = 1u << 0,    /* segment, device memory, ports: read */
    RIGHT_WRITE = 1u << 1,   /* segment, device memory, ports: write */
    RIGHT_EXECUTE = 1u << 2, /* segment: fetch instructions; never together with WRITE in a page */
    RIGHT_SEND = 1u << 3,    /* endpoint: call, send; notification: signal; reply: reply */
    RIGHT_RECEIVE = 1u << 4, /* endpoint: receive; notification: wait */
    RIGHT_GRANT = 1u << 5,   /* endpoint: a message through it may carry a capability */
    RIGHT_MANAGE = 1u << 6,  /* thread, table, aspace, segment, untyped, irq: reconfigure */
    RIGHT_DMA = 1u << 7,     /* segment: learn device addresses, attach to an I/O space */
    RIGHTS_ALL = 0xff
};

/* Page attributes, or-ed to READ/WRITE/EXECUTE in populate calls. */
enum page_attribute {
    PAGE_UNCACHED = 1u << 8,       /* strong uncacheable: device registers */
    PAGE_WRITE_COMBINING = 1u << 9 /* device memory only */
};

/* ---- Calls -------------------------------------------------------------------------------- */

/* X(name, number, arguments, values, summary). `ref` is a cap_ref_t, `slot` a cap_slot_t in the
 * caller's own table. docs/kernel.md explains them. */
#define HALLOWS_SYSCALL_TABLE(X)                                                                   \
    X(yield, 0, "", "", "let the next thread of the same priority run")                            \
    X(cap_copy, 1, "ref dst, ref src, rights", "", "derive dst from src with rights & src's")      \
    X(cap_mint, 2, "ref dst, ref src, rights, badge", "", "as cap_copy and set the badge")         \
    X(cap_move, 3, "ref dst, ref src", "", "move a capability that has no children")               \
    X(cap_delete, 4, "ref", "", "delete a capability that has no children")                        \
    X(cap_revoke, 5, "ref", "", "delete descendants, a bounded step; repeat on AGAIN")             \
    X(cap_identify, 6, "ref", "type|rights<<8|depth<<16, badge", "what the slot holds")            \
    X(range_derive, 7, "ref dst, ref src, base, length, rights", "",                               \
      "derive a sub-range of ports (ports) or device memory (bytes, page-aligned)")                \
    X(untyped_retype, 10, "slot untyped, type, size, ref first, count", "",                        \
      "create `count` objects in consecutive slots; AGAIN while it clears memory")                 \
    X(untyped_reset, 11, "slot untyped", "", "make childless untyped memory whole again")          \
    X(untyped_info, 12, "slot untyped", "bytes, free bytes", "size and what is left")              \
    X(irq_affinity, 13, "slot irq, slot sched_control, cpu, domain", "MSI address, MSI data",      \
      "the CPU where it arrives, and the domain in whose windows")                                 \
    X(thread_configure, 20, "slot thread, slot table, slot aspace, slot fault endpoint or 0", "",  \
      "set what an inactive thread may use")                                                       \
    X(thread_write_registers, 21, "slot thread, group; words 0..7", "",                            \
      "set a register group of an inactive thread")                                                \
    X(thread_read_registers, 22, "slot thread, group", "words 0..7",                               \
      "read a register group of a stopped or blocked thread")                                      \
    X(thread_set_priority, 23, "slot thread, slot sched_control, priority", "",                    \
      "0 lowest .. 255 highest, at most the sched_control's")                                      \
    X(thread_resume, 24, "slot thread", "", "make an inactive thread runnable")                    \
    X(thread_suspend, 25, "slot thread", "", "stop a thread; cancels what it waits for")           \
    X(thread_bind_notification, 26, "slot thread, slot notification or 0", "",                     \
      "let ipc_recv of this thread also return on this notification")                              \
    X(thread_set_upcall, 27, "slot thread, slot segment or 0, page, events", "",                   \
      "use that page for upcalls (hallows/upcall.h); pins it")                                     \
    X(thread_set_cpu, 28, "slot thread, slot sched_control, cpu", "",                              \
      "the thread runs on that CPU, 0..cpus_used-1 of the boot information")                       \
    X(upcall_quantum, 29, "quantum_ns, 0 or UPCALL_QUANTUM_KEEP", "",                              \
      "when the caller's QUANTUM events come; deliver what is pending")                            \
    X(ipc_call, 30, "slot endpoint, info; words", "badge 0, info, words",                          \
      "send and wait for the reply")                                                               \
    X(ipc_send, 31, "slot endpoint, info; words", "", "send and wait until it is taken")           \
    X(ipc_recv, 32, "slot endpoint, info (flags only); aux = reply slot", "badge, info, words",    \
      "wait for a message")                                                                        \
    X(ipc_reply, 33, "slot reply, info; words", "", "answer the caller held by the reply object")  \
    X(ipc_reply_recv, 34, "slot endpoint, info; words; aux = reply slot", "badge, info, words",    \
      "answer, then wait for the next message in one step")                                        \
    X(notification_signal, 40, "slot notification", "", "or the badge into the word, wake")        \
    X(notification_wait, 41, "slot notification, deadline_ns", "word", "take the word when not 0") \
    X(aspace_map_table, 50, "slot aspace, slot page_table, address", "",                           \
      "enter an intermediate table at the highest level that misses one")                          \
    X(aspace_unmap_table, 51, "slot page_table", "", "remove an empty intermediate table")         \
    X(segment_populate, 52, "slot segment, first page, count, slot untyped, rights", "",           \
      "back empty pages with zeroed frames of the segment's untyped memory; AGAIN as retype")      \
    X(segment_populate_device, 53,                                                                 \
      "slot segment, first page, count, slot devmem, byte offset, "                                \
      "rights|attributes (r12)",                                                                   \
      "", "back empty pages with device memory")                                                   \
    X(segment_protect, 54, "slot segment, first page, count, rights", "",                          \
      "change the rights of populated pages")                                                      \
    X(segment_attach, 55, "slot segment, slot aspace, address, rights", "",                        \
      "show the window at a 2 MiB-aligned address")                                                \
    X(segment_detach, 56, "slot segment, slot aspace, address", "", "undo segment_attach")         \
    X(segment_device_address, 57, "slot segment, page, slot iospace", "address",                   \
      "the address a device uses for that page")                                                   \
    X(segment_depopulate, 58, "slot segment, first page, count", "",                               \
      "empty populated pages; their frames stay the segment's and back its pages again")           \
    X(segment_populate_large, 59,                                                                  \
      "slot segment, slot untyped or devmem, byte offset, level 1|2, rights|attributes", "",       \
      "make a new segment one page of 2 MiB (1) or 1 GiB (2, device memory only); AGAIN as "       \
      "retype")                                                                                    \
    X(segment_derive, 120,                                                                         \
      "slot first parent, slot first child, count, slot aspace or 0, address, flags", "",          \
      "make new segments copy-on-write copies, and attach them; AGAIN: freezing the parents")      \
    X(segment_revert, 121, "slot segment", "", "a copy shows again what its parent shows")         \
    X(irq_create_msi, 60, "slot irq_control, ref dst", "MSI address, MSI data",                    \
      "a handler for a message-signalled interrupt")                                               \
    X(irq_create_ioapic, 61, "slot irq_control, ref dst, gsi, flags", "",                          \
      "a handler for an I/O APIC pin; starts masked until bound")                                  \
    X(irq_bind, 62, "slot irq, slot notification or 0", "", "signal this when it fires")           \
    X(irq_ack, 63, "slot irq", "", "unmask a level-triggered pin again")                           \
    X(port_in, 70, "slot ports, port, width 1|2|4", "value", "read an I/O port")                   \
    X(port_out, 71, "slot ports, port, width 1|2|4, value", "", "write an I/O port")               \
    X(iospace_map_table, 100, "slot iospace, slot page_table, address", "",                        \
      "as aspace_map_table, for a device's addresses")                                             \
    X(iospace_attach, 101, "slot segment, slot iospace, address, rights", "",                      \
      "show the window to the space's devices at a 2 MiB-aligned address")                         \
    X(iospace_detach, 102, "slot segment, slot iospace, address", "", "undo iospace_attach")       \
    X(iospace_assign, 103, "slot iospace, slot pci_functions, function", "",                       \
      "what that function reads and writes is this space, and nothing else")                       \
    X(iospace_unassign, 104, "slot iospace, function", "", "the function reaches no memory")       \
    X(iospace_bind, 105, "slot iospace, slot notification or 0", "", "signal this on a fault")     \
    X(iospace_fault, 106, "slot iospace", "address, enum io_fault_bits",                           \
      "take the record of the first fault since the last one taken")                               \
    X(irq_source, 107, "slot irq, slot pci_functions, function", "",                               \
      "only this function may raise the message-signalled interrupt")                              \
    X(sched_context_configure, 90,                                                                 \
      "slot context, slot sched_control, budget_ns, period_ns, flags", "",                         \
      "set budget and period; the whole budget is there at once")                                  \
    X(sched_context_bind, 91, "slot context, slot thread", "", "the thread runs on the context")   \
    X(sched_context_unbind, 92, "slot context", "", "its thread is passive from now on")           \
    X(thread_set_passive, 93, "slot thread, 0 or 1, slot sched_control if 0", "",                  \
      "1: run on what callers lend, else in idle time; 0: run without a budget")                   \
    X(sched_context_info, 94, "slot context", "used ns, ns to use now", "what was used")           \
    X(schedule_append, 96, "slot schedule, slot sched_control, domain, length_ns", "",             \
      "one more window at the end of a schedule that no CPU follows")                              \
    X(schedule_start, 97, "slot schedule or 0, slot sched_control, cpu, start_ns", "",             \
      "the CPU follows it from the end of its frame on, or from that time if it follows none")     \
    X(thread_set_domain, 98, "slot thread, slot sched_control, domain", "",                        \
      "the thread runs in windows of that domain only")                                            \
    X(trace_control, 110, "slot trace, 1 or 0", "", "record what this CPU does, or no more")       \
    X(trace_read, 111, "slot trace, cpu, number", "words 0..5: number, count, event",              \
      "read one recorded event")                                                                   \
    X(console_write, 80, "slot console, bytes 0..64; words 0..7", "", "print on the debug console")

#define HALLOWS_SYSCALL_ENUM(name, number, arguments, values, summary) CALL_##name = (number),
enum syscall_number { HALLOWS_SYSCALL_TABLE(HALLOWS_SYSCALL_ENUM) };
#undef HALLOWS_SYSCALL_ENUM

/* segment_derive flags. TAKE: the copy takes the place of its parent where that is attached. */
enum derive_flags { DERIVE_TAKE = 1u << 0 };
/* An event of the trace: time in ns; kind | thread << 32, the thread that entered the kernel; two
 * words by kind. */
enum trace_kind {
    TRACE_CALL = 1,   /* call number, status or TRACE_WAITS */
    TRACE_SWITCH = 2, /* thread that runs now, 0: none; follows the event that made it so */
    TRACE_IRQ = 3,    /* vector */
    TRACE_TIMER = 4,
    TRACE_FAULT = 5 /* vector, address */
};
#define TRACE_WAITS 1u
#define TRACE_EVENTS 256u /* kept of each CPU */

/* iospace_fault's second value. */
enum io_fault_bits {
    IO_FAULT_FUNCTION = 0xffff, /* requester id: bus << 8 | device << 3 | function */
    IO_FAULT_REASON_SHIFT = 16, /* 8 bits: Intel VT-d 7.1.3, "fault reason encodings" */
    IO_FAULT_WRITE = 1u << 24,  /* the device wanted to write, else to read */
    IO_FAULT_COUNT_SHIFT = 32   /* reports since the last record taken, this one included */
};
/* Functions that one I/O space serves at most: a driver cell's devices, aliases included. */
#define IOSPACE_FUNCTIONS_MAX 16u

/* irq_create_ioapic flags */
enum irq_flags { IRQ_LEVEL = 1u << 0, IRQ_ACTIVE_LOW = 1u << 1 };

/* ---- Scheduling contexts -------------------------------------------------------------------- */

/* Less is not handed out: about twice what a switch and a timer interrupt cost. */
#define SCHED_BUDGET_MIN_NS 5000u
/* An hour: sums of times stay far from overflow. */
#define SCHED_PERIOD_MAX_NS 3600000000000ull

enum sched_flags {
    /* When the budget ends, who runs on it faults (its own fault endpoint, FAULT_VECTOR_BUDGET)
     * instead of waiting for the next refill. */
    SCHED_TIMEOUT_FAULT = 1u << 0
};

/* ---- Partitions ----------------------------------------------------------------------------- */

/* Domains of each CPU; threads begin in domain 0, which is what runs without a schedule. Each takes
 * 5 KiB a CPU; modules after ARINC 653 have about ten partitions on a core. */
#define DOMAIN_COUNT 16u
/* Windows of a schedule: what fits into 2 KiB; bounds how long a late CPU needs to catch up. */
#define SCHEDULE_WINDOWS_MAX 124u
/* Several times what the change of windows costs. */
#define SCHEDULE_WINDOW_MIN_NS 10000u

/* ---- Messages ----------------------------------------------------------------------------- */

#define MESSAGE_WORDS_MAX 8u

/* Message info: bits 0..3 words in use, flags, bits 16..63 label. */
#define MESSAGE_WORDS_MASK 0xfu
#define MESSAGE_CAP (1u << 4)    /* in: send rbx[31:0]; out: one arrived in the accept slot */
#define MESSAGE_ACCEPT (1u << 5) /* in, receiving calls: accept one in slot rbx[63:32] */
#define MESSAGE_DEADLINE                                                                           \
    (1u << 6) /* in: word 7 (r15) is the deadline in ns, not a message word                        \
               */
#define MESSAGE_LABEL_SHIFT 16u

static inline uint64_t message_info(uint64_t label, uint32_t words)
{
    return (label << MESSAGE_LABEL_SHIFT) | words;
}

static inline uint64_t message_label(uint64_t info)
{
    return info >> MESSAGE_LABEL_SHIFT;
}

static inline uint32_t message_words(uint64_t info)
{
    return (uint32_t)info & MESSAGE_WORDS_MASK;
}

/* Labels at or above this come from the kernel; a sender that uses one gets INVALID_ARGUMENT. */
#define LABEL_KERNEL_FIRST 0xffff00000000ull
#define LABEL_NOTIFICATION (LABEL_KERNEL_FIRST + 0) /* word 0: the bound notification's word */
#define LABEL_FAULT (LABEL_KERNEL_FIRST + 1)        /* words: enum fault_word */

/* Vector of a fault that is no exception of the CPU: the budget ended. Word 2: ns used so far. */
#define FAULT_VECTOR_BUDGET 256u

/* Words of a fault message. Replying (with any message) resumes the thread where it stopped. */
enum fault_word {
    FAULT_WORD_VECTOR = 0,  /* CPU exception vector (Intel SDM vol. 3, table 6-1) */
    FAULT_WORD_ERROR = 1,   /* CPU error code, 0 where the vector has none */
    FAULT_WORD_ADDRESS = 2, /* CR2 for a page fault, else 0 */
    FAULT_WORD_IP = 3,
    FAULT_WORD_SP = 4,
    FAULT_WORD_FLAGS = 5,
    FAULT_WORD_COUNT = 6
};

/* ---- Register groups of thread_{read,write}_registers --------------------------------------- */

enum register_group {
    REGISTERS_CONTROL = 0, /* rip rsp rflags fs_base gs_base 0 0 0 */
    REGISTERS_LOW = 1,     /* rax rbx rcx rdx rsi rdi rbp 0 */
    REGISTERS_HIGH = 2,    /* r8 .. r15 */
    REGISTERS_GROUP_COUNT = 3
};

#endif
