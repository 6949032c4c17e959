// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/fastpath_fake.h"

#include <stdlib.h>

#include <hallows/boot.h>
#include <hallows/upcall.h>

#include "kernel/object/object.h"
#include "kernel/sched.h"
#include "kernel/timer.h"
#include "tests/check.h"

#define MS 1000000ull
#define BADGE 0x55ull

/* ---- The base state, and copies of it ----------------------------------------------------------
 */

#define PAGES (HARNESS_BYTES / PAGE_BYTES)

struct copy {
    struct kernel kernel;
    struct cpu cpus[HARNESS_CPUS];
    struct page pages[PAGES];
    struct host_machine machine;
    uint8_t *memory; /* used pages, one behind the other */
};

static struct copy base, scene, after;
static uint32_t used[PAGES]; /* numbers of the pages that are in use, or not all zero */
static uint32_t used_count;
thread_ix self, server, second, third;

static void copy_make(struct copy *copy)
{
    struct kernel *k = kernel_under_test;

    copy->kernel = *k;
    copy->machine = host_machine;
    memcpy(copy->cpus, k->cpus, sizeof(copy->cpus));
    memcpy(copy->pages, k->pages, sizeof(copy->pages));
    for (uint32_t n = 0; n < used_count; n++) {
        memcpy(copy->memory + n * PAGE_BYTES, host_memory + used[n] * PAGE_BYTES, PAGE_BYTES);
    }
}

static void copy_restore(const struct copy *copy)
{
    struct kernel *k = kernel_under_test;

    *k = copy->kernel;
    host_machine = copy->machine;
    memcpy(k->cpus, copy->cpus, sizeof(copy->cpus));
    memcpy(k->pages, copy->pages, sizeof(copy->pages));
    for (uint32_t n = 0; n < used_count; n++) {
        memcpy(host_memory + used[n] * PAGE_BYTES, copy->memory + n * PAGE_BYTES, PAGE_BYTES);
    }
}

static bool copy_same(const struct copy *copy)
{
    const struct kernel *k = kernel_under_test;

    for (uint32_t n = 0; n < used_count; n++) {
        if (memcmp(copy->memory + n * PAGE_BYTES, host_memory + used[n] * PAGE_BYTES, PAGE_BYTES) !=
            0) {
            return false;
        }
    }
    return memcmp(&copy->kernel, k, sizeof(*k)) == 0 &&
           memcmp(copy->cpus, k->cpus, sizeof(copy->cpus)) == 0 &&
           memcmp(copy->pages, k->pages, sizeof(copy->pages)) == 0 &&
           copy->machine.timer_ns == host_machine.timer_ns &&
           copy->machine.kicked == host_machine.kicked;
}

/* Pages that no copy has are still as they were. */
static bool rest_is_zero(void)
{
    static const uint8_t zero[PAGE_BYTES];
    uint32_t next = 0;

    for (uint32_t page = 0; page < PAGES; page++) {
        if (next < used_count && used[next] == page) {
            next++;
        } else if (memcmp(host_memory + page * PAGE_BYTES, zero, PAGE_BYTES) != 0) {
            return false;
        }
    }
    return true;
}

static void find_used_pages(void)
{
    static const uint8_t zero[PAGE_BYTES];

    used_count = 0;
    for (uint32_t page = 0; page < PAGES; page++) {
        if (kernel_under_test->pages[page].kind >= PAGE_FRAME ||
            memcmp(host_memory + page * PAGE_BYTES, zero, PAGE_BYTES) != 0) {
            used[used_count++] = page;
        }
    }
}

static void make_capabilities(void)
{
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_ENDPOINT, 0, ENDPOINT, 1), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_REPLY, 0, REPLY, 3), STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_NOTIFICATION, 0, NOTIFICATION, 2),
             STATUS_OK);
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_SCHED_CONTEXT, 0, CONTEXT, 2), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, ENDPOINT_SEND, ENDPOINT, RIGHT_SEND), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, ENDPOINT_SEND_GRANT, ENDPOINT, RIGHT_SEND | RIGHT_GRANT), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, ENDPOINT_RECEIVE, ENDPOINT, RIGHT_RECEIVE), STATUS_OK);
    CHECK_EQ(CALL(cap_mint, ENDPOINT_MINTED, ENDPOINT, RIGHTS_ALL, BADGE), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, ENDPOINT_NOTHING, ENDPOINT, RIGHT_GRANT), STATUS_OK);
    CHECK_EQ(CALL(cap_copy, REPLY_GRANT, REPLY, RIGHT_GRANT), STATUS_OK);
    CHECK_EQ(CALL(cap_mint, NOTIFICATION_MINTED, NOTIFICATION, RIGHT_SEND, BADGE), STATUS_OK);
    CHECK_EQ(CALL(cap_mint, NOTIFICATION_RECEIVE, NOTIFICATION, RIGHT_RECEIVE, BADGE), STATUS_OK);
    for (uint64_t n = 0; n < 2; n++) {
        CHECK_EQ(
            CALL(sched_context_configure, CONTEXT + n, BOOT_SLOT_SCHED_CONTROL, MS, 10 * MS, 0),
            STATUS_OK);
    }
}

/* Everything is there once; only the initial thread runs. */
static void make_base(void)
{
    harness_start();
    host_machine.now_ns = NOW;
    make_capabilities();
    for (uint32_t n = 0; n < 3; n++) {
        harness_spawn(THREADS + n, SELF_PRIORITY);
        CHECK_EQ(CALL(thread_suspend, THREADS + n), STATUS_OK);
    }
    CHECK_EQ(CALL(untyped_retype, SLOT_UNTYPED, OBJECT_SEGMENT, 0, SEGMENT, 1), STATUS_OK);
    CHECK_EQ(CALL(segment_populate, SEGMENT, 0, 2, SLOT_UNTYPED, RIGHT_READ | RIGHT_WRITE),
             STATUS_OK);
    CHECK_EQ(CALL(thread_set_upcall, BOOT_SLOT_THREAD, SEGMENT, 0, 0), STATUS_OK);
    CHECK_EQ(CALL(thread_set_upcall, THREADS, SEGMENT, 1, 0), STATUS_OK);
    self = current_thread(kernel_under_test);
    server = harness_thread_ix(THREADS);
    second = harness_thread_ix(THREADS + 1);
    third = harness_thread_ix(THREADS + 2);
    for (uint64_t n = 0; n < MESSAGE_WORDS_MAX; n++) {
        thread_at(kernel_under_test, self)->registers.word[n] = 100 + n;
    }
    find_used_pages();
    struct copy *copies[] = {&base, &scene, &after};
    for (uint32_t n = 0; n < 3; n++) {
        free(copies[n]->memory);
        copies[n]->memory = malloc((size_t)used_count * PAGE_BYTES);
    }
    copy_make(&base);
}

/* ---- Pieces of a scene -------------------------------------------------------------------------
 */

uint32_t pick(uint64_t *number, uint32_t n)
{
    uint32_t digit = (uint32_t)(*number % n);

    *number /= n;
    return digit;
}

struct thread *thread_of(thread_ix i)
{
    return thread_at(kernel_under_test, i);
}

static struct sched_context *context(uint32_t n)
{
    return sched_context_at(kernel_under_test,
                            (sched_context_ix){harness_slot(CONTEXT + n)->object});
}

void set_budget(thread_ix i, enum budget budget)
{
    struct thread *t = thread_of(i);

    if (budget == BUDGETED) {
        t->flags |= THREAD_BUDGETED;
        t->context = (sched_context_ix){harness_slot(CONTEXT)->object};
        context(0)->thread = i;
        t->lease = context(0)->lease;
    } else if (budget != PLAIN) {
        t->flags |= THREAD_PASSIVE;
        const uint64_t leases[BUDGETS] = {[LENT] = context(1)->lease,
                                          [LENT_PLAIN] = LEASE_UNBUDGETED,
                                          [PASSIVE_IDLE] = LEASE_NONE};
        t->lease = leases[budget];
    }
}

void set_self(uint32_t budget)
{
    struct cpu *c = cpu_self(kernel_under_test);
    struct thread *t = thread_of(self);

    if (budget == BUDGETS - 1) {
        set_budget(self, PASSIVE_IDLE);
        t->flags |= THREAD_DEMOTED;
        t->priority = 0;
        return;
    }
    if (budget == BUDGETED) { /* on the other context, so that a waiter can have the first */
        t->flags |= THREAD_BUDGETED;
        t->context = (sched_context_ix){harness_slot(CONTEXT + 1)->object};
        context(1)->thread = self;
        t->lease = context(1)->lease;
    } else {
        set_budget(self, (enum budget)budget);
    }
    c->lease = t->lease;
    if (t->lease != LEASE_UNBUDGETED) {
        sched_context_of(kernel_under_test, t->lease)->user = 1;
        c->charge_from = NOW - 100;
        c->budget_end = NOW + MS;
        timer_due_update(c);
    }
}

void set_priority(thread_ix i, uint32_t priority)
{
    thread_of(i)->base_priority = (uint8_t)priority;
    thread_of(i)->priority = (uint8_t)priority;
}

void set_upcalls(thread_ix i, uint32_t which)
{
    struct thread *t = thread_of(i);

    if (which == 1) {
        t->upcall_quantum_ns = 1000;
        t->upcall_at = NOW + 700;
        t->flags |= THREAD_UPCALLS;
    } else if (which == 2) {
        t->upcall_events = UPCALL_SYSCALL;
        t->flags |= THREAD_UPCALLS;
    }
}

void set_timed(thread_ix i)
{
    timer_insert(kernel_under_test, i, NOW + 100000);
}

void queue_up(thread_ix i, enum thread_state state, uint32_t reply)
{
    struct kernel *k = kernel_under_test;
    endpoint_ix e = {harness_slot(ENDPOINT)->object};
    struct endpoint *endpoint = endpoint_at(k, e);
    struct thread *t = thread_of(i);

    t->state = (uint8_t)state;
    t->blocked_on = e.n;
    t->previous = endpoint->tail;
    if (endpoint->tail.n == NIL) {
        endpoint->head = i;
    } else {
        thread_of(endpoint->tail)->next = i;
    }
    endpoint->tail = i;
    if (state == THREAD_RECEIVING) {
        t->reply = (reply_ix){harness_slot(REPLY + reply)->object};
        reply_at(k, t->reply)->thread = i;
    } else {
        t->registers.arg1 = message_info(9, 2);
        t->badge = 0x77;
    }
}

void set_bound(thread_ix i, uint64_t word)
{
    struct notification *n = notification_at(
        kernel_under_test, (notification_ix){harness_slot(NOTIFICATION + 1)->object});

    n->bound = i;
    n->word = word;
    thread_of(i)->bound = (notification_ix){harness_slot(NOTIFICATION + 1)->object};
}

void set_ready(uint32_t which)
{
    if (which != 0) {
        set_priority(third, (uint32_t)thread_of(self)->priority + 1u - which);
        sched_wake(kernel_under_test, third);
    }
}

static bool timer_early;

void set_clock(uint32_t early, uint32_t quantum)
{
    struct cpu *c = cpu_self(kernel_under_test);

    timer_early = early != 0;
    c->quantum_end = quantum == 0 ? DEADLINE_NEVER : NOW + 400;
    c->quantum_priority = quantum == 2 ? 7 : SELF_PRIORITY;
}

/* As every entry leaves the CPU. False: then something else would run. */
static bool settle(void)
{
    struct kernel *k = kernel_under_test;
    struct cpu *c = cpu_self(k);

    sched_finish_slow(k);
    if (timer_early) {
        c->timer_armed = NOW + 50;
        host_machine.timer_ns = c->timer_armed;
    }
    return c->current.n == self.n;
}

void set_call(uint32_t number, uint64_t arg0, uint64_t info, uint32_t reply_slot)
{
    struct registers *r = &thread_of(self)->registers;

    r->result = number | (uint64_t)reply_slot << 32;
    r->arg0 = arg0;
    r->arg1 = info;
    r->word[7] = (info & MESSAGE_DEADLINE) != 0 ? NOW + 10000 : r->word[7];
    r->caps = ENDPOINT_SEND | (uint64_t)EMPTY << 32;
}

/* ---- The comparison ----------------------------------------------------------------------------
 */

struct tally {
    uint64_t scenes;  /* that the invariants allow */
    uint64_t refused; /* by the invariants: such states do not come up */
    uint64_t taken;   /* by a short way */
};

static bool scene_sound(void)
{
    struct kernel *k = kernel_under_test;
    const uint32_t objects[] = {self.n,
                                server.n,
                                second.n,
                                third.n,
                                harness_slot(ENDPOINT)->object,
                                harness_slot(REPLY)->object,
                                harness_slot(NOTIFICATION)->object,
                                harness_slot(CONTEXT)->object};

    for (uint32_t n = 0; n < sizeof(objects) / sizeof(objects[0]); n++) {
        if (invariants_check_page(k, objects[n] / GRANULES_PER_PAGE).number != 0) {
            return false;
        }
    }
    return invariants_check_cpu(k, &k->cpus[0], 0, DOMAIN_COUNT).number == 0 &&
           invariants_check_cpu(k, &k->cpus[1], 0, DOMAIN_COUNT).number == 0;
}

/* The call by its short way. True: it was taken. */
static bool call_short(struct kernel *k, struct thread *t)
{
    uint32_t number = (uint16_t)t->registers.result;

    if (number == CALL_ipc_call || number == CALL_ipc_reply_recv) {
        struct fast_switch done =
            number == CALL_ipc_call
                ? kernel_call_fast(t->registers.arg0, t->registers.arg1, t, k)
                : kernel_reply_recv_fast(t->registers.arg0, t->registers.arg1, t, k);
        bool right = done.to == NULL || (done.index == current_thread(k).n &&
                                         done.to == thread_at(k, current_thread(k)));
        CHECK(right);
        return done.to != NULL;
    }
    kernel_syscall(k, t);
    return true;
}

static void compare(const char *name, uint64_t number, struct tally *tally)
{
    struct kernel *k = kernel_under_test;
    bool same;

    copy_make(&scene);
    if (call_short(k, thread_of(self))) {
        tally->taken++;
        copy_make(&after);
        copy_restore(&scene);
        kernel_syscall_slow(k, thread_at(k, current_thread(k)));
        same = copy_same(&after);
    } else {
        same = copy_same(&scene);
    }
    if (!same) {
        check_failed(__FILE__, __LINE__, "%s: combination %" PRIu64 " differs", name, number);
        fflush(stdout);
        abort();
    }
}

void compare_all(const char *name, scene_maker make, uint64_t combinations)
{
    struct tally tally = {0, 0, 0};

    make_base();
    for (uint64_t number = 0; number < combinations; number++) {
        copy_restore(&base);
        if (make(number) && settle() && scene_sound()) {
            tally.scenes++;
            compare(name, number, &tally);
        } else {
            tally.refused++;
        }
        if (number % 1024 == 0 || number + 1 == combinations) {
            CHECK(rest_is_zero());
        }
    }
    printf("  %s: %" PRIu64 " states, the short way in %" PRIu64 "; %" PRIu64 " cannot be\n", name,
           tally.scenes, tally.taken, tally.refused);
    CHECK(tally.taken > 0 && tally.scenes > combinations / 4u);
}
