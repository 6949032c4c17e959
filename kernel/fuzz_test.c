// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Random system calls, interrupts, faults and timer events against the whole core. Every invariant
 * is checked after every entry; a refused call must leave the capability state as it was (its own
 * registers excepted); and at the end of each round revoking all untyped memory must come to an end
 * whatever the calls have built, with nothing left.
 *
 * Calls a run: HALLOWS_FUZZ_CALLS; start of the random numbers: HALLOWS_FUZZ_SEED. With
 * HALLOWS_FUZZ_CHECK_EVERY above 1, for long runs, each call is followed by the invariants of the
 * objects that it named, and every so many calls by all; comparisons of states are as much rarer.
 * `./hallows fuzz-calls` does such runs (`make fuzz-long`: build/host/kernel/fuzz_long).
 */
#include <stdlib.h>

#include <hallows/boot.h>
#include <hallows/upcall.h>

#include "kernel/arch/host/harness.h"
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/sched.h"
#include "lib/base/crc32c.h"
#include "tests/check.h"

#define CALLS_DEFAULT 100000u
#define CALLS_A_ROUND 1000u
#define SLOTS_TRIED 48u
#define IO_FUNCTIONS 6u /* that devices in this machine have */

static uint64_t random_state;

static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static uint64_t random_below(uint64_t n)
{
    return random_next() % n;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoull(text, NULL, 0);
}

/* A slot of the caller's table; mostly one that holds the type. */
static uint64_t random_slot(uint32_t type)
{
    struct kernel *k = kernel_under_test;
    const struct thread *t = harness_current();
    uint32_t slots = table_at(k, t->table)->slots;
    uint32_t tries = slots < SLOTS_TRIED ? slots : SLOTS_TRIED;

    if (tries > 1 && random_below(16) != 0) {
        uint32_t start = (uint32_t)random_below(tries);
        for (uint32_t n = 0; n < tries; n++) {
            uint32_t slot = 1u + (start + n) % (tries - 1u);
            if (slot_at(k, (slot_ix){t->table.n + slot})->type == type) {
                return slot;
            }
        }
    }
    return random_below(SLOTS_TRIED + 2u);
}

static uint64_t random_ref(uint32_t type)
{
    uint64_t slot = random_slot(type);

    return random_below(4) == 0
               ? cap_ref((uint32_t)random_slot(OBJECT_TABLE), 1u + (uint32_t)random_below(15))
               : slot;
}

static uint64_t random_address(void)
{
    const uint64_t bases[] = {0, 0x40000000, 0x8000000000, 0x400000, USER_ADDRESS_END, 0x123};

    return bases[random_below(6)] + random_below(3) * SEGMENT_BYTES;
}

static uint64_t random_time(void)
{
    switch (random_below(4)) {
    case 0:
        return DEADLINE_NOW;
    case 1:
        return DEADLINE_NEVER;
    case 2:
        return host_machine.now_ns + random_below(100);
    default:
        return host_machine.now_ns + (random_next() >> random_below(63));
    }
}

static uint64_t random_info(void)
{
    uint64_t info = message_info(random_below(100), (uint32_t)random_below(8));

    info |= random_below(3) == 0 ? MESSAGE_CAP : 0;
    info |= random_below(3) == 0 ? MESSAGE_ACCEPT : 0;
    info |= random_below(3) == 0 ? MESSAGE_DEADLINE : 0;
    return random_below(50) == 0 ? random_next() : info;
}

/* What an argument is, so that calls get past their first check. One letter an argument. */
static const struct {
    uint32_t number;
    uint32_t weight;
    const char *arguments;
} calls[] = {
    {CALL_yield, 1, ""},
    {CALL_cap_copy, 4, "0?R"},
    {CALL_cap_mint, 3, "0?RN"},
    {CALL_cap_move, 3, "0?"},
    {CALL_cap_delete, 3, "?"},
    {CALL_cap_revoke, 1, "?"},
    {CALL_cap_identify, 1, "?"},
    {CALL_range_derive, 1, "0?NNR"},
    {CALL_untyped_retype, 16, "uTS0C"},
    {CALL_untyped_reset, 1, "u"},
    {CALL_untyped_info, 1, "u"},
    {CALL_thread_configure, 6, "tbae"},
    {CALL_thread_write_registers, 1, "tNNNNN"},
    {CALL_thread_read_registers, 1, "tN"},
    {CALL_thread_set_priority, 3, "tsP"},
    {CALL_thread_resume, 8, "t"},
    {CALL_thread_suspend, 2, "t"},
    {CALL_thread_bind_notification, 2, "tn"},
    {CALL_thread_set_upcall, 6, "tgKU"},
    {CALL_upcall_quantum, 2, "Q"},
    {CALL_ipc_call, 5, "eI"},
    {CALL_ipc_send, 3, "eI"},
    {CALL_ipc_recv, 6, "eF"},
    {CALL_ipc_reply, 4, "rI"},
    {CALL_ipc_reply_recv, 5, "eI"},
    {CALL_notification_signal, 4, "n"},
    {CALL_notification_wait, 3, "nD"},
    {CALL_aspace_map_table, 4, "apA"},
    {CALL_aspace_unmap_table, 1, "p"},
    {CALL_segment_populate, 4, "gKCuR"},
    {CALL_segment_populate_device, 2, "gKCdN"},
    {CALL_segment_protect, 2, "gKCR"},
    {CALL_segment_attach, 5, "gaAR"},
    {CALL_segment_detach, 2, "gaA"},
    {CALL_segment_device_address, 1, "gKi"},
    {CALL_segment_depopulate, 3, "gKC"},
    {CALL_segment_derive, 6, "ggHzAO"},
    {CALL_segment_revert, 2, "g"},
    {CALL_segment_populate_large, 4, "gLGHM"},
    {CALL_irq_create_msi, 2, "c0"},
    {CALL_irq_create_ioapic, 2, "c0NN"},
    {CALL_irq_bind, 3, "qn"},
    {CALL_irq_ack, 1, "q"},
    {CALL_irq_affinity, 3, "qs2Y"},
    {CALL_irq_source, 1, "qfW"},
    {CALL_iospace_map_table, 4, "ipA"},
    {CALL_iospace_attach, 5, "giAR"},
    {CALL_iospace_detach, 2, "giA"},
    {CALL_iospace_assign, 3, "ifW"},
    {CALL_iospace_unassign, 1, "iW"},
    {CALL_iospace_bind, 2, "in"},
    {CALL_iospace_fault, 2, "i"},
    {CALL_trace_control, 1, "zN"},
    {CALL_trace_read, 1, "zNN"},
    {CALL_port_in, 1, "oNN"},
    {CALL_port_out, 1, "oNN"},
    {CALL_console_write, 1, "wN"},
    {CALL_sched_context_configure, 2, "xsBB2"},
    {CALL_sched_context_bind, 3, "xt"},
    {CALL_sched_context_unbind, 2, "x"},
    {CALL_thread_set_passive, 2, "t2s"},
    {CALL_sched_context_info, 1, "x"},
    {CALL_schedule_append, 3, "ysYV"},
    {CALL_schedule_start, 3, "ysJX"},
    {CALL_thread_set_domain, 2, "tsY"},
    {CALL_thread_set_cpu, 3, "ts2"},
};

static uint64_t random_number(void)
{
    switch (random_below(4)) {
    case 0:
        return random_next();
    case 1:
        return random_below(0x1000);
    default:
        return random_below(5);
    }
}

static uint64_t random_argument(char kind)
{
    static const char types[] = "-ubterna" /* NONE .. ASPACE */
                                "pgcqodsiwxyzf";
    const char *type = strchr(types, kind);

    if (type != NULL) {
        return random_slot((uint32_t)(type - types));
    }
    switch (kind) {
    case '0':
        return random_ref(OBJECT_NONE);
    case '?':
        return random_ref(1u + (uint32_t)random_below(16));
    case 'R':
        return random_below(3) == 0 ? random_below(1024) : 3u + 4u * random_below(2);
    case 'W':
        return random_below(8) == 0 ? random_number() : random_below(IO_FUNCTIONS);
    case 'T':
        return random_below(8) == 0
                   ? (random_below(2) == 0 ? OBJECT_IOSPACE
                                           : OBJECT_SCHED_CONTEXT + random_below(2))
                   : random_below(12);
    case '2':
        return random_below(3);
    case 'B':
        return SCHED_BUDGET_MIN_NS + random_below(4) * 3000 - random_below(2);
    case 'Y':
        return random_below(16) == 0 ? random_number() : random_below(3);
    case 'V':
        return random_below(16) == 0 ? random_next()
                                     : SCHEDULE_WINDOW_MIN_NS + random_below(3000) - 1;
    case 'J':
        return random_below(8) == 0 ? random_number() : 0;
    case 'X':
        return random_below(3) == 0 ? random_number() : host_machine.now_ns + random_below(20000);
    case 'S':
        return random_below(2) == 0 ? 0
                                    : (random_below(2) == 0 ? 16 : PAGE_BYTES * random_below(40));
    case 'C':
        return random_below(4);
    case 'P':
        return random_below(202);
    case 'A':
        return random_address();
    case 'K':
        return random_below(12) == 0 ? random_below(600) : random_below(40);
    case 'D':
        return random_time();
    case 'I':
        return random_info();
    case 'L':
        return random_below(3) == 0 ? random_slot(OBJECT_UNTYPED) : SLOT_DEVICE_LARGE;
    case 'G':
        return random_below(4) == 0 ? random_next() : random_below(5) * SEGMENT_BYTES * 256u;
    case 'M':
        return random_below(4) == 0 ? random_next() : random_below(1024);
    case 'H':
        return random_below(16) == 0 ? random_below(20) : 1 + random_below(2);
    case 'z':
        return random_below(2) == 0 ? 0 : random_slot(OBJECT_ASPACE);
    case 'O':
        return random_below(4) == 0 ? random_below(3) : 0;
    case 'U':
        return random_below(8) == 0 ? random_next() : random_below(UPCALL_EVENTS_ALL + 1u);
    case 'Q':
        return random_below(3) == 0 ? random_next() : random_below(3000);
    case 'F':
        return random_info() & (MESSAGE_ACCEPT | MESSAGE_DEADLINE);
    default:
        return random_number();
    }
}

static uint32_t random_call(struct registers *r)
{
    uint32_t total = 0;
    uint32_t n = 0;

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        total += calls[i].weight;
    }
    uint32_t pick = (uint32_t)random_below(total);
    while (pick >= calls[n].weight) {
        pick -= calls[n++].weight;
    }
    uint64_t arguments[6] = {0};
    for (size_t i = 0; calls[n].arguments[i] != 0; i++) {
        arguments[i] = random_argument(calls[n].arguments[i]);
    }
    r->arg0 = arguments[0];
    r->arg1 = arguments[1];
    for (uint32_t i = 0; i < 4; i++) {
        r->word[i] = arguments[i + 2];
    }
    r->word[4] = 3;
    r->word[7] = random_time();
    r->caps = random_slot(1u + (uint32_t)random_below(16)) | random_slot(OBJECT_NONE) << 32;
    r->result = calls[n].number | random_slot(OBJECT_REPLY) << 32;
    return calls[n].number;
}

/* A checksum of all but the registers of one thread. */
static uint32_t state_sum(struct kernel *k, struct thread *t)
{
    struct registers saved = t->registers;

    t->registers = (struct registers){0};
    uint32_t sum = crc32c(0, host_memory + 0x10000, 0x10000);
    sum = crc32c(sum, host_memory + HARNESS_UNTYPED_BASE, 0x40000);
    sum = crc32c(sum, k, sizeof(*k));
    t->registers = saved;
    return sum;
}

/* What a supervisor that is not part of the game does when nothing else can happen: it wakes the
 * initial thread or another one that was configured. */
static void revive(struct kernel *k)
{
    thread_ix i = k->initial_thread;

    if (random_below(2) == 0) {
        uint32_t slot = 1u + (uint32_t)random_below(SLOTS_TRIED);
        if (harness_slot(slot)->type == OBJECT_THREAD) {
            i = harness_thread_ix(slot);
        }
    }
    struct thread *t = thread_at(k, i);
    if (t->table.n == NIL || t->aspace.n == NIL || t->state == THREAD_READY) {
        return;
    }
    if (t->state != THREAD_INACTIVE) {
        thread_stop(k, i);
    }
    t->flags &= (uint8_t)~THREAD_FAULTED;
    if (random_below(2) == 0) { /* or it waits for its window */
        sched_move(k, i, cpu_self(k)->index, (uint8_t)cpu_self(k)->domain);
    }
    sched_wake(k, i);
    sched_finish(k);
}

/* What the user may have put into an upcall area. */
static void scribble(struct thread *t)
{
    uint64_t *words = arch_memory(t->upcall_area);
    uint32_t word = (uint32_t)random_below(16);

    words[word] = word == offsetof(struct upcall_area, masked) / 8u ? random_below(2)
                                                                    : random_address() + word;
    t->registers.ip = random_address();
}

/* A device reads or writes: it reaches frames and device memory that it was shown, or faults. */
static void random_dma(struct kernel *k)
{
    uint32_t function = (uint32_t)random_below(IO_FUNCTIONS);
    uint64_t address = random_address() + random_below(40) * PAGE_BYTES;
    bool write = random_below(2) == 0;

    if (arch_io_domain(function) == 0) {
        CHECK(!kernel_io_fault(k, function, address, 5u << IO_FAULT_REASON_SHIFT));
        return;
    }
    uint64_t physical = host_io_access(function, address, write);
    if (physical == 0) {
        if (!host_machine.io_quiet[function]) {
            CHECK(kernel_io_fault(k, function, address, 5u << IO_FAULT_REASON_SHIFT));
        }
    } else if ((physical >> PAGE_SHIFT) < k->page_count) {
        CHECK_EQ(page_at(k, physical)->kind, PAGE_FRAME);
    }
}

/* Any, or one that has a notification. */
static uint32_t random_vector(const struct kernel *k)
{
    uint32_t vector = (uint32_t)random_below(IRQ_VECTOR_COUNT);

    for (uint32_t n = 0; n < IRQ_VECTOR_COUNT && random_below(128) != 0; n++) {
        vector = (vector + 1) % IRQ_VECTOR_COUNT;
        if (k->irqs[vector].notification.n != NIL) {
            break;
        }
    }
    return vector;
}

/* Something from outside. */
static void random_event(struct kernel *k)
{
    switch (random_below(6)) {
    case 4:
    case 5:
        random_dma(k);
        break;
    case 3:
        if (current_thread(k).n == NIL) {
            revive(k);
        }
        break;
    case 0:
        kernel_interrupt(k, random_vector(k));
        break;
    case 1:
        host_machine.now_ns += random_below(10000);
        kernel_timer(k);
        break;
    default:
        if (cpu_self(k)->timer_armed != DEADLINE_NEVER) {
            if (cpu_self(k)->timer_armed > host_machine.now_ns) {
                host_machine.now_ns = cpu_self(k)->timer_armed;
            }
            kernel_timer(k);
        }
        break;
    }
}

/* Enough of everything, and threads that run, so that calls meet each other. */
static void populate(void)
{
    static const struct {
        uint32_t type;
        uint32_t count;
    } made[] = {{OBJECT_THREAD, 4},        {OBJECT_ENDPOINT, 2},
                {OBJECT_REPLY, 3},         {OBJECT_NOTIFICATION, 2},
                {OBJECT_SEGMENT, 4},       {OBJECT_PAGE_TABLE, 2},
                {OBJECT_ASPACE, 1},        {OBJECT_IOSPACE, 1},
                {OBJECT_SCHED_CONTEXT, 2}, {OBJECT_PARTITION_SCHEDULE, 2}};
    uint64_t slot = 19;

    (void)CALL(untyped_retype, SLOT_UNTYPED, OBJECT_UNTYPED, 0x80000, slot++, 1);
    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
        uint64_t from = random_below(3) == 0 ? 19 : SLOT_UNTYPED;
        (void)CALL(untyped_retype, from, made[i].type, 0, slot, made[i].count);
        slot += made[i].count;
    }
    (void)CALL(untyped_retype, 19, OBJECT_TABLE, 16, slot++, 1);
    for (uint64_t n = 0; n < 3; n++) {
        (void)CALL(cap_mint, slot++, n == 0 ? 24 : 29 + n % 2, RIGHTS_ALL, 1ull << n);
        (void)CALL(thread_configure, 20 + n, BOOT_SLOT_TABLE, BOOT_SLOT_ASPACE,
                   random_below(2) == 0 ? 0 : 24);
        (void)CALL(thread_set_priority, 20 + n, BOOT_SLOT_SCHED_CONTROL, 98 + random_below(3));
        (void)CALL(thread_set_cpu, 20 + n, BOOT_SLOT_SCHED_CONTROL, random_below(2));
        if (n == 2) {
            (void)CALL(thread_set_passive, 20 + n, 1);
        } else if (random_below(2) == 0) {
            (void)CALL(sched_context_configure, 39 + n, BOOT_SLOT_SCHED_CONTROL,
                       2 * SCHED_BUDGET_MIN_NS, 5 * SCHED_BUDGET_MIN_NS, random_below(2));
            (void)CALL(sched_context_bind, 39 + n, 20 + n);
        }
        (void)CALL(thread_resume, 20 + n);
    }
    for (uint64_t n = 0; n < 2; n++) { /* the last minted is a notification with a badge */
        (void)CALL(irq_create_msi, BOOT_SLOT_IRQ_CONTROL, slot + n);
        (void)CALL(irq_bind, slot + n, slot - 1);
        (void)CALL(irq_affinity, slot + n, BOOT_SLOT_SCHED_CONTROL, n, random_below(3));
    }
}

/* The pages of what a slot number of the caller names, and of the slot. */
static void touch_slot(struct kernel *k, uint64_t number)
{
    const struct thread *t = harness_current();

    if (number == 0 || number >= table_at(k, t->table)->slots) {
        return;
    }
    uint32_t slot = t->table.n + (uint32_t)number;
    harness_touch(slot / GRANULES_PER_PAGE);
    harness_touch(slot_at(k, (slot_ix){slot})->object / GRANULES_PER_PAGE);
}

/* What the call that is about to be made can change first of all. */
static void touch_call(struct kernel *k, const struct registers *r)
{
    const uint64_t numbers[] = {r->arg0,       r->arg1,          r->word[0],
                                r->word[1],    r->result >> 32,  r->caps & 0xffffffffu,
                                r->caps >> 32, (uint32_t)r->arg0};

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        touch_slot(k, numbers[i]);
    }
    harness_touch(current_thread(k).n / GRANULES_PER_PAGE);
}

/* Another CPU goes on, or the same. True: it looked again first, since it was told to; it has to if
 * its thread was stopped. */
static bool cpu_switch(struct kernel *k)
{
    if (random_below(8) == 0) {
        host_cpu = &k->cpus[random_below(HARNESS_CPUS)];
    }
    uint32_t bit = 1u << host_cpu->index;
    bool stopped = (host_machine.stopped & bit) != 0;
    if (!stopped && (!host_cpu->kicked || random_below(2) == 0)) {
        return false;
    }
    host_machine.stopped &= ~bit;
    kernel_reschedule(k);
    return true;
}

static void step(struct kernel *k, uint64_t n)
{
    char what[64];

    if (cpu_switch(k)) {
        harness_check("reschedule");
        return;
    }
    if (current_thread(k).n == NIL || random_below(8) == 0) {
        random_event(k);
        harness_check("event");
        return;
    }
    if (random_below(24) == 0) {
        const struct fault fault = {FAULT_VECTOR_PAGE, random_below(4) == 0 ? 4 : FAULT_ERROR_WRITE,
                                    random_address() + random_below(40) * PAGE_BYTES};
        kernel_fault(k, &fault);
        harness_check("fault");
        return;
    }
    struct thread *t = harness_current();
    if (t->upcall_area != 0 && random_below(4) == 0) {
        scribble(t);
    }
    uint32_t number = random_call(&t->registers);
    touch_call(k, &t->registers);
    bool compare = !host_machine.traced && n % (64u * harness_check_every) == 0;
    uint32_t before = compare ? state_sum(k, t) : 0;
    bool foreign = (t->upcall_events & UPCALL_SYSCALL) != 0;
    bool ipc = number == CALL_ipc_call || number == CALL_ipc_reply_recv ||
               number == CALL_notification_signal || number == CALL_yield;
    if (ipc && !foreign && !host_machine.traced && n % (4u * harness_check_every) == 0) {
        harness_compare_paths();
    } else if (host_machine.traced) {
        kernel_syscall_traced(k);
    } else {
        kernel_syscall(k, thread_at(k, current_thread(k)));
    }
    snprintf(what, sizeof(what), "call %u, step %llu", number, (unsigned long long)n);
    harness_check(what);
    int64_t status = (int64_t)t->registers.result;
    if (compare && !foreign && t->state == THREAD_READY && number != CALL_yield && status < 0 &&
        status != STATUS_AGAIN && status != STATUS_TIMED_OUT && status != STATUS_CANCELLED) {
        CHECK_EQ(state_sum(k, t), before);
    }
}

/* Everything made from a root of untyped memory goes in a bounded number of steps. */
static void teardown(struct kernel *k)
{
    for (uint32_t slot = SLOT_UNTYPED; slot <= SLOT_UNTYPED_2; slot++) {
        for (uint32_t n = 1; n < table_at(k, k->initial_table)->slots; n++) {
            slot_ix i = {k->initial_table.n + n};
            if (slot_at(k, i)->type != OBJECT_UNTYPED || slot_at(k, i)->parent.n != NIL) {
                continue;
            }
            uint32_t steps = 0;
            while (slot_at(k, i)->child.n != NIL && steps < 100000) {
                (void)cap_reduce(k, slot_at(k, i)->child);
                sched_finish(k);
                steps++;
                if (steps % 64 == 0) {
                    harness_check("teardown");
                }
            }
            CHECK_EQ(slot_at(k, i)->child.n, NIL);
        }
    }
    harness_check("teardown");
    for (uint32_t page = HARNESS_UNTYPED_BASE / PAGE_BYTES; page < k->page_count; page++) {
        uint32_t kind = k->pages[page].kind;
        for (uint32_t at = 0; kind >= PAGE_OBJECT && at < PAGE_BYTES; at += GRANULE_BYTES) {
            uint32_t n = page * GRANULES_PER_PAGE + at / GRANULE_BYTES;
            if (kind == PAGE_OBJECT + OBJECT_TABLE && n != k->pages[page].owner) {
                const struct slot *slot = slot_at(k, (slot_ix){n});
                CHECK_EQ(slot->type, OBJECT_NONE);
            }
        }
    }
}

TEST(random_calls)
{
    uint64_t total = from_environment("HALLOWS_FUZZ_CALLS", CALLS_DEFAULT);

    harness_check_every = (uint32_t)from_environment("HALLOWS_FUZZ_CHECK_EVERY", 1);
    random_state = from_environment("HALLOWS_FUZZ_SEED", 0x9e3779b97f4a7c15ull);
    for (uint64_t n = 0; n < total; n++) {
        if (n % CALLS_A_ROUND == 0) {
            if (n != 0) {
                teardown(kernel_under_test);
            }
            harness_start();
            populate();
        }
        step(kernel_under_test, n);
    }
    teardown(kernel_under_test);
}
