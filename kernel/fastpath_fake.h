// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Scenes for kernel/fastpath_test.c: a base state with everything there once, pieces that change it
 * into the state that a combination stands for, and the comparison of the short way with the slow
 * path in it. The scenes call these on the kernel under test.
 */
#ifndef KERNEL_FASTPATH_FAKE_H
#define KERNEL_FASTPATH_FAKE_H

#include "kernel/arch/host/harness.h"

#define NOW 5000ull
#define SELF_PRIORITY HARNESS_PRIORITY

/* Slots of the base state. */
enum {
    ENDPOINT = 30,
    REPLY = 32,        /* three */
    NOTIFICATION = 36, /* two */
    CONTEXT = 40,      /* two */
    SEGMENT = 44,
    EMPTY = 45,
    ENDPOINT_SEND = 50,
    ENDPOINT_SEND_GRANT,
    ENDPOINT_RECEIVE,
    ENDPOINT_MINTED,  /* all rights, a badge */
    ENDPOINT_NOTHING, /* neither SEND nor RECEIVE */
    REPLY_GRANT,      /* without SEND */
    NOTIFICATION_MINTED,
    NOTIFICATION_RECEIVE,
    THREADS = 60, /* three */
};

/* The threads of the base state: the one that runs and calls, and three that are inactive. The
 * first two have upcall areas. */
extern thread_ix self, server, second, third;

/* The next digit of a combination, below n. */
uint32_t pick(uint64_t *number, uint32_t n);
struct thread *thread_of(thread_ix i);

/* What a thread runs on. The last one is for threads that wait only. */
enum budget { PLAIN, BUDGETED, LENT, LENT_PLAIN, PASSIVE_IDLE, BUDGETS };

/* Context 0 is bound to it, or context 1, which is `self`'s or nobody's, is lent to it. */
void set_budget(thread_ix i, enum budget budget);
/* As set_budget, for the thread that calls; the last one: demoted (passive, nothing to run on). */
void set_self(uint32_t budget);
void set_priority(thread_ix i, uint32_t priority);
/* 0: none, 1: a quantum, 2: foreign system calls. Only threads with an area have them. */
void set_upcalls(thread_ix i, uint32_t which);
void set_timed(thread_ix i);
/* Puts a thread into the endpoint's queue; receivers hold reply object `reply`. */
void queue_up(thread_ix i, enum thread_state state, uint32_t reply);
/* Binds the second notification, with that word. */
void set_bound(thread_ix i, uint64_t word);
/* Somebody is ready: 0 nobody, else at that distance below the caller (1: at its priority). */
void set_ready(uint32_t which);
/* The hardware timer: right, or early. The quantum: to be set, running for the caller's priority,
 * or for another one. */
void set_clock(uint32_t early, uint32_t quantum);
/* The call that is compared. */
void set_call(uint32_t number, uint64_t arg0, uint64_t info, uint32_t reply_slot);

/* One scene is made of a number; false: what its digits say contradicts itself. */
typedef bool (*scene_maker)(uint64_t number);
/* Compares in every combination below that number, and prints how many there were. */
void compare_all(const char *name, scene_maker make, uint64_t combinations);

#endif
