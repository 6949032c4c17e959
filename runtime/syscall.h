// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * One inline function for each kernel call (hallows/syscall.h), of the same name. They add nothing:
 * a wrong argument comes back as the kernel's status.
 *
 * Context: any thread of a cell. Only ipc_* and notification_wait block.
 */
#ifndef RUNTIME_SYSCALL_H
#define RUNTIME_SYSCALL_H

#include <hallows/status.h>
#include <hallows/syscall.h>
#include <hallows/types.h>

/* Arguments beyond the first two. */
struct call_arguments {
    uint64_t rdx, r10, r8, r9;
};

/* A message in memory; the calls move it to and from registers. */
struct message {
    uint64_t info; /* message_info(label, words) and MESSAGE_ flags; on receipt the sender's */
    uint64_t words[MESSAGE_WORDS_MAX];
    uint64_t badge;         /* on receipt: the badge of the capability that it came through */
    cap_slot_t send_slot;   /* with MESSAGE_CAP: the capability to send */
    cap_slot_t accept_slot; /* with MESSAGE_ACCEPT: the empty slot to accept one in */
};

/* ---- The instruction itself ------------------------------------------------------------------ */

#ifdef HALLOWS_HOST

/* On the host a test gives these, for example services/supervisor/kernel_fake.c. */
status_t call_2(uint64_t call, uint64_t rdi, uint64_t rsi);
status_t call_6(uint64_t call, uint64_t rdi, uint64_t rsi, struct call_arguments a);
status_t call_values(uint64_t call, uint64_t rdi, uint64_t rsi, struct call_arguments a,
                     uint64_t values[2]);
status_t call_message(uint64_t call, uint64_t object, struct message *m);
status_t call_message_4(uint64_t call, uint64_t *object, uint64_t *info, uint64_t words[4]);

#else

static inline status_t call_2(uint64_t call, uint64_t rdi, uint64_t rsi)
{
    uint64_t rax = call;
    __asm__ volatile("syscall" : "+a"(rax) : "D"(rdi), "S"(rsi) : "rcx", "r11", "memory");
    return (status_t)rax;
}

static inline status_t call_6(uint64_t call, uint64_t rdi, uint64_t rsi, struct call_arguments a)
{
    register uint64_t r10 __asm__("r10") = a.r10;
    register uint64_t r8 __asm__("r8") = a.r8;
    register uint64_t r9 __asm__("r9") = a.r9;
    uint64_t rax = call;
    __asm__ volatile("syscall"
                     : "+a"(rax)
                     : "D"(rdi), "S"(rsi), "d"(a.rdx), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return (status_t)rax;
}

/* As call_6; values[0..1] get rdx and r10. */
static inline status_t call_values(uint64_t call, uint64_t rdi, uint64_t rsi,
                                   struct call_arguments a, uint64_t values[2])
{
    register uint64_t r10 __asm__("r10") = a.r10;
    register uint64_t r8 __asm__("r8") = a.r8;
    register uint64_t r9 __asm__("r9") = a.r9;
    uint64_t rax = call;
    uint64_t rdx = a.rdx;
    __asm__ volatile("syscall"
                     : "+a"(rax), "+d"(rdx), "+r"(r10)
                     : "D"(rdi), "S"(rsi), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    values[0] = rdx;
    values[1] = r10;
    return (status_t)rax;
}

/* All eight message words, both ways; the reply slot, if any, is in bits 32..63 of `call`. */
static inline status_t call_message(uint64_t call, uint64_t object, struct message *m)
{
    register uint64_t r10 __asm__("r10") = m->words[1];
    register uint64_t r8 __asm__("r8") = m->words[2];
    register uint64_t r9 __asm__("r9") = m->words[3];
    register uint64_t r12 __asm__("r12") = m->words[4];
    register uint64_t r13 __asm__("r13") = m->words[5];
    register uint64_t r14 __asm__("r14") = m->words[6];
    register uint64_t r15 __asm__("r15") = m->words[7];
    uint64_t rax = call;
    uint64_t rdi = object;
    uint64_t rsi = m->info;
    uint64_t rdx = m->words[0];
    uint64_t rbx = (uint64_t)m->accept_slot << 32 | m->send_slot;
    __asm__ volatile("syscall"
                     : "+a"(rax), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+b"(rbx), "+r"(r10), "+r"(r8),
                       "+r"(r9), "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15)
                     :
                     : "rcx", "r11", "memory");
    m->badge = rdi;
    m->info = rsi;
    m->words[0] = rdx;
    m->words[1] = r10;
    m->words[2] = r8;
    m->words[3] = r9;
    m->words[4] = r12;
    m->words[5] = r13;
    m->words[6] = r14;
    m->words[7] = r15;
    return (status_t)rax;
}

/* The short forms: up to four words and no capability, all in registers. `info` is updated. */
static inline status_t call_message_4(uint64_t call, uint64_t *object, uint64_t *info,
                                      uint64_t words[4])
{
    register uint64_t r10 __asm__("r10") = words[1];
    register uint64_t r8 __asm__("r8") = words[2];
    register uint64_t r9 __asm__("r9") = words[3];
    uint64_t rax = call;
    uint64_t rdx = words[0];
    __asm__ volatile("syscall"
                     : "+a"(rax), "+D"(*object), "+S"(*info), "+d"(rdx), "+r"(r10), "+r"(r8),
                       "+r"(r9)
                     :
                     : "rcx", "r11", "rbx", "r12", "r13", "r14", "r15", "memory");
    words[0] = rdx;
    words[1] = r10;
    words[2] = r8;
    words[3] = r9;
    return (status_t)rax;
}

#endif

static inline uint64_t call_with_reply(uint64_t call, cap_slot_t reply)
{
    return (uint64_t)reply << 32 | call;
}

/* ---- Capabilities ---------------------------------------------------------------------------- */

static inline status_t yield(void)
{
    return call_2(CALL_yield, 0, 0);
}

static inline status_t cap_copy(cap_ref_t to, cap_ref_t from, uint32_t rights)
{
    return call_6(CALL_cap_copy, to, from, (struct call_arguments){.rdx = rights});
}

static inline status_t cap_mint(cap_ref_t to, cap_ref_t from, uint32_t rights, uint64_t badge)
{
    return call_6(CALL_cap_mint, to, from, (struct call_arguments){.rdx = rights, .r10 = badge});
}

static inline status_t cap_move(cap_ref_t to, cap_ref_t from)
{
    return call_2(CALL_cap_move, to, from);
}

static inline status_t cap_delete(cap_ref_t ref)
{
    return call_2(CALL_cap_delete, ref, 0);
}

/* One bounded step: AGAIN asks for another. */
static inline status_t cap_revoke(cap_ref_t ref)
{
    return call_2(CALL_cap_revoke, ref, 0);
}

/* values: type | rights << 8 | depth << 16, and the badge. */
static inline status_t cap_identify(cap_ref_t ref, uint64_t values[2])
{
    return call_values(CALL_cap_identify, ref, 0, (struct call_arguments){0}, values);
}

struct range_request {
    uint64_t base;   /* first port, or byte offset */
    uint64_t length; /* ports, or bytes */
    uint32_t rights;
};

static inline status_t range_derive(cap_ref_t to, cap_ref_t from, struct range_request range)
{
    return call_6(
        CALL_range_derive, to, from,
        (struct call_arguments){.rdx = range.base, .r10 = range.length, .r8 = range.rights});
}

/* ---- Untyped memory -------------------------------------------------------------------------- */

struct retype_request {
    uint32_t type; /* enum object_type */
    uint64_t size;
    cap_ref_t first;
    uint32_t count; /* at most RETYPE_COUNT_MAX */
};

static inline status_t untyped_retype(cap_slot_t untyped, struct retype_request request)
{
    return call_6(
        CALL_untyped_retype, untyped, request.type,
        (struct call_arguments){.rdx = request.size, .r10 = request.first, .r8 = request.count});
}

static inline status_t untyped_reset(cap_slot_t untyped)
{
    return call_2(CALL_untyped_reset, untyped, 0);
}

/* values: bytes, free bytes. */
static inline status_t untyped_info(cap_slot_t untyped, uint64_t values[2])
{
    return call_values(CALL_untyped_info, untyped, 0, (struct call_arguments){0}, values);
}

/* ---- Threads --------------------------------------------------------------------------------- */

static inline status_t thread_configure(cap_slot_t thread, cap_slot_t table, cap_slot_t aspace,
                                        cap_slot_t fault_endpoint)
{
    return call_6(CALL_thread_configure, thread, table,
                  (struct call_arguments){.rdx = aspace, .r10 = fault_endpoint});
}

static inline status_t thread_write_registers(cap_slot_t thread, uint32_t group,
                                              const uint64_t words[MESSAGE_WORDS_MAX])
{
    struct message m = {.info = group};
    for (uint32_t i = 0; i < MESSAGE_WORDS_MAX; i++) {
        m.words[i] = words[i];
    }
    return call_message(CALL_thread_write_registers, thread, &m);
}

static inline status_t thread_read_registers(cap_slot_t thread, uint32_t group,
                                             uint64_t words[MESSAGE_WORDS_MAX])
{
    struct message m = {.info = group};
    status_t status = call_message(CALL_thread_read_registers, thread, &m);
    for (uint32_t i = 0; i < MESSAGE_WORDS_MAX; i++) {
        words[i] = m.words[i];
    }
    return status;
}

static inline status_t trace_control(cap_slot_t trace, bool on)
{
    return call_2(CALL_trace_control, trace, on ? 1u : 0u);
}

/* words: number, count, then the event's four. */
static inline status_t trace_read(cap_slot_t trace, uint32_t cpu, uint64_t number,
                                  uint64_t words[MESSAGE_WORDS_MAX])
{
    struct message m = {.info = cpu, .words = {number}};
    status_t status = call_message(CALL_trace_read, trace, &m);
    for (uint32_t i = 0; i < MESSAGE_WORDS_MAX; i++) {
        words[i] = m.words[i];
    }
    return status;
}

static inline status_t thread_set_priority(cap_slot_t thread, cap_slot_t sched_control,
                                           uint32_t priority)
{
    return call_6(CALL_thread_set_priority, thread, sched_control,
                  (struct call_arguments){.rdx = priority});
}

static inline status_t thread_set_cpu(cap_slot_t thread, cap_slot_t sched_control, uint32_t cpu)
{
    return call_6(CALL_thread_set_cpu, thread, sched_control, (struct call_arguments){.rdx = cpu});
}

static inline status_t thread_resume(cap_slot_t thread)
{
    return call_2(CALL_thread_resume, thread, 0);
}

static inline status_t thread_suspend(cap_slot_t thread)
{
    return call_2(CALL_thread_suspend, thread, 0);
}

static inline status_t thread_bind_notification(cap_slot_t thread, cap_slot_t notification)
{
    return call_2(CALL_thread_bind_notification, thread, notification);
}

static inline status_t thread_set_upcall(cap_slot_t thread, cap_slot_t segment, uint32_t page,
                                         uint32_t events)
{
    return call_6(CALL_thread_set_upcall, thread, segment,
                  (struct call_arguments){.rdx = page, .r10 = events});
}

static inline status_t upcall_quantum(uint64_t quantum_ns)
{
    return call_2(CALL_upcall_quantum, quantum_ns, 0);
}

/* ---- Messages -------------------------------------------------------------------------------- */

static inline status_t ipc_call(cap_slot_t endpoint, struct message *m)
{
    return call_message(CALL_ipc_call, endpoint, m);
}

static inline status_t ipc_send(cap_slot_t endpoint, struct message *m)
{
    return call_message(CALL_ipc_send, endpoint, m);
}

static inline status_t ipc_recv(cap_slot_t endpoint, cap_slot_t reply, struct message *m)
{
    return call_message(call_with_reply(CALL_ipc_recv, reply), endpoint, m);
}

static inline status_t ipc_reply(cap_slot_t reply, struct message *m)
{
    return call_message(CALL_ipc_reply, reply, m);
}

static inline status_t ipc_reply_recv(cap_slot_t endpoint, cap_slot_t reply, struct message *m)
{
    return call_message(call_with_reply(CALL_ipc_reply_recv, reply), endpoint, m);
}

static inline status_t ipc_call_4(cap_slot_t endpoint, uint64_t *info, uint64_t words[4])
{
    uint64_t object = endpoint;
    return call_message_4(CALL_ipc_call, &object, info, words);
}

static inline status_t ipc_reply_recv_4(cap_slot_t endpoint, cap_slot_t reply, uint64_t *badge,
                                        uint64_t *info, uint64_t words[4])
{
    *badge = endpoint;
    return call_message_4(call_with_reply(CALL_ipc_reply_recv, reply), badge, info, words);
}

/* ---- Notifications --------------------------------------------------------------------------- */

static inline status_t notification_signal(cap_slot_t notification)
{
    return call_2(CALL_notification_signal, notification, 0);
}

/* *word gets and clears the notification's bits; TIMED_OUT with *word = 0 when the deadline passes
 * (DEADLINE_NOW: WOULD_BLOCK or TIMED_OUT at once when there are none). */
static inline status_t notification_wait(cap_slot_t notification, time_ns_t deadline_ns,
                                         uint64_t *word)
{
    uint64_t values[2];
    status_t status = call_values(CALL_notification_wait, notification, deadline_ns,
                                  (struct call_arguments){0}, values);
    *word = status == STATUS_OK ? values[0] : 0;
    return status;
}

/* ---- Address spaces and segments ------------------------------------------------------------- */

static inline status_t aspace_map_table(cap_slot_t aspace, cap_slot_t page_table, uint64_t address)
{
    return call_6(CALL_aspace_map_table, aspace, page_table,
                  (struct call_arguments){.rdx = address});
}

static inline status_t aspace_unmap_table(cap_slot_t page_table)
{
    return call_2(CALL_aspace_unmap_table, page_table, 0);
}

static inline status_t segment_populate(cap_slot_t segment, uint32_t first_page, uint32_t count,
                                        cap_slot_t untyped, uint32_t rights)
{
    return call_6(CALL_segment_populate, segment, first_page,
                  (struct call_arguments){.rdx = count, .r10 = untyped, .r8 = rights});
}

struct device_pages {
    uint32_t first_page; /* in the segment */
    uint32_t count;      /* at most POPULATE_PAGES_MAX */
    cap_slot_t memory;
    uint64_t offset; /* bytes from the start of the device memory, page-aligned */
    uint32_t rights; /* and page attributes */
};

static inline status_t segment_populate_device(cap_slot_t segment, struct device_pages pages)
{
    struct message m = {
        .info = pages.first_page,
        .words = {pages.count, pages.memory, pages.offset, pages.rights, pages.rights}};
    return call_message(CALL_segment_populate_device, segment, &m);
}

static inline status_t segment_protect(cap_slot_t segment, uint32_t first_page, uint32_t count,
                                       uint32_t rights)
{
    return call_6(CALL_segment_protect, segment, first_page,
                  (struct call_arguments){.rdx = count, .r10 = rights});
}

static inline status_t segment_attach(cap_slot_t segment, cap_slot_t aspace, uint64_t address,
                                      uint32_t rights)
{
    return call_6(CALL_segment_attach, segment, aspace,
                  (struct call_arguments){.rdx = address, .r10 = rights});
}

static inline status_t segment_detach(cap_slot_t segment, cap_slot_t aspace, uint64_t address)
{
    return call_6(CALL_segment_detach, segment, aspace, (struct call_arguments){.rdx = address});
}

static inline status_t segment_device_address(cap_slot_t segment, uint32_t page, cap_slot_t iospace,
                                              uint64_t *address)
{
    uint64_t values[2];
    status_t status = call_values(CALL_segment_device_address, segment, page,
                                  (struct call_arguments){.rdx = iospace}, values);
    *address = values[0];
    return status;
}

static inline status_t segment_depopulate(cap_slot_t segment, uint32_t first_page, uint32_t count)
{
    return call_6(CALL_segment_depopulate, segment, first_page,
                  (struct call_arguments){.rdx = count});
}

struct large_page {
    cap_slot_t memory; /* device memory, or the segment's untyped memory */
    uint64_t offset;   /* into device memory */
    uint32_t level;    /* 1: 2 MiB, 2: 1 GiB */
    uint32_t rights;   /* and page attributes */
};

/* Repeat on AGAIN. */
static inline status_t segment_populate_large(cap_slot_t segment, struct large_page page)
{
    return call_6(CALL_segment_populate_large, segment, page.memory,
                  (struct call_arguments){page.offset, page.level, page.rights, 0});
}

struct derive_request {
    cap_slot_t parent; /* first of `count` in a row, as the next */
    cap_slot_t child;
    uint32_t count;
    cap_slot_t aspace; /* 0: attach nothing */
    uint64_t address;
    uint32_t flags; /* enum derive_flags */
};

/* Repeat on AGAIN. */
static inline status_t segment_derive(struct derive_request r)
{
    return call_6(CALL_segment_derive, r.parent, r.child,
                  (struct call_arguments){r.count, r.aspace, r.address, r.flags});
}

static inline status_t segment_revert(cap_slot_t segment)
{
    return call_2(CALL_segment_revert, segment, 0);
}

/* ---- Interrupts, ports, console -------------------------------------------------------------- */

/* values: what the device writes, address and data. */
static inline status_t irq_create_msi(cap_slot_t irq_control, cap_ref_t to, uint64_t values[2])
{
    return call_values(CALL_irq_create_msi, irq_control, to, (struct call_arguments){0}, values);
}

static inline status_t irq_create_ioapic(cap_slot_t irq_control, cap_ref_t to, uint32_t gsi,
                                         uint32_t flags)
{
    return call_6(CALL_irq_create_ioapic, irq_control, to,
                  (struct call_arguments){.rdx = gsi, .r10 = flags});
}

static inline status_t irq_source(cap_slot_t irq, cap_slot_t functions, uint32_t function)
{
    return call_6(CALL_irq_source, irq, functions, (struct call_arguments){.rdx = function});
}

static inline status_t iospace_map_table(cap_slot_t iospace, cap_slot_t page_table,
                                         uint64_t address)
{
    return call_6(CALL_iospace_map_table, iospace, page_table,
                  (struct call_arguments){.rdx = address});
}

static inline status_t iospace_attach(cap_slot_t segment, cap_slot_t iospace, uint64_t address,
                                      uint32_t rights)
{
    return call_6(CALL_iospace_attach, segment, iospace,
                  (struct call_arguments){.rdx = address, .r10 = rights});
}

static inline status_t iospace_detach(cap_slot_t segment, cap_slot_t iospace, uint64_t address)
{
    return call_6(CALL_iospace_detach, segment, iospace, (struct call_arguments){.rdx = address});
}

static inline status_t iospace_assign(cap_slot_t iospace, cap_slot_t functions, uint32_t function)
{
    return call_6(CALL_iospace_assign, iospace, functions,
                  (struct call_arguments){.rdx = function});
}

static inline status_t iospace_unassign(cap_slot_t iospace, uint32_t function)
{
    return call_2(CALL_iospace_unassign, iospace, function);
}

static inline status_t iospace_bind(cap_slot_t iospace, cap_slot_t notification)
{
    return call_2(CALL_iospace_bind, iospace, notification);
}

/* values: address, enum io_fault_bits. */
static inline status_t iospace_fault(cap_slot_t iospace, uint64_t values[2])
{
    return call_values(CALL_iospace_fault, iospace, 0, (struct call_arguments){0}, values);
}

static inline status_t irq_bind(cap_slot_t irq, cap_slot_t notification)
{
    return call_2(CALL_irq_bind, irq, notification);
}

static inline status_t irq_ack(cap_slot_t irq)
{
    return call_2(CALL_irq_ack, irq, 0);
}

static inline status_t port_in(cap_slot_t ports, uint32_t port, uint32_t width, uint32_t *value)
{
    uint64_t values[2];
    status_t status =
        call_values(CALL_port_in, ports, port, (struct call_arguments){.rdx = width}, values);
    *value = (uint32_t)values[0];
    return status;
}

static inline status_t port_out(cap_slot_t ports, uint32_t port, uint32_t width, uint32_t value)
{
    return call_6(CALL_port_out, ports, port, (struct call_arguments){.rdx = width, .r10 = value});
}

/* words: the text, eight bytes a word. */
static inline status_t console_write(cap_slot_t console, uint32_t bytes,
                                     const uint64_t words[MESSAGE_WORDS_MAX])
{
    struct message m = {.info = bytes};
    for (uint32_t i = 0; i < MESSAGE_WORDS_MAX; i++) {
        m.words[i] = words[i];
    }
    return call_message(CALL_console_write, console, &m);
}

#endif
