// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a proof of a whole operation is written with: docs/decisions/031.
 *
 *
 * A harness says which objects the operation looks at (LOOK...), and of which the invariants are
 * assumed; runs it on PROOF_KERNEL; and asks one invariant (-DASK=n) of an arbitrary slot, or what
 * the operation did (-DPROOF_EFFECT). Each goal is a run of the checker of its own: the lines
 * " * Goal name: options" of the harness.
 */
#ifndef PROOFS_KERNEL_KERNEL_H
#define PROOFS_KERNEL_KERNEL_H

/* -DASK=n: this run asks invariant n, and assumes what it takes for that. */
#ifndef ASK
#define ASK 0
#endif
#ifndef ASSUMED
#define ASSUMED(n) false
#endif
#define INVARIANT_WANTED(n) ((n) == ASK || ASSUMED(n))

#include "kernel/invariants.h"
#include "kernel/invariants_local.h"
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/state.h"
#include "proofs/proof.h"

/* ---- Cells --------------------------------------------------------------------------------------
 * How many; a harness may want others. */
#ifndef CELLS_slot
#define CELLS_slot 8
#endif
#ifndef CELLS_table
#define CELLS_table 3
#endif
#ifndef CELLS_untyped
#define CELLS_untyped 0
#endif
#ifndef CELLS_thread
#define CELLS_thread 1
#endif
#ifndef CELLS_endpoint
#define CELLS_endpoint 0
#endif
#ifndef CELLS_reply
#define CELLS_reply 0
#endif
#ifndef CELLS_notification
#define CELLS_notification 0
#endif
#ifndef CELLS_aspace
#define CELLS_aspace 0
#endif
#ifndef CELLS_page_table
#define CELLS_page_table 0
#endif
#ifndef CELLS_segment
#define CELLS_segment 0
#endif
#ifndef CELLS_iospace
#define CELLS_iospace 0
#endif
#ifndef CELLS_sched_context
#define CELLS_sched_context 0
#endif
#ifndef CELLS_schedule
#define CELLS_schedule 0
#endif
#ifndef CELLS_irq
#define CELLS_irq 0
#endif
#ifndef CELLS_cpu
#define CELLS_cpu 1
#endif
#ifndef CELLS_original
#define CELLS_original 1
#endif

struct kernel proof_before, proof_after, proof_kernel;

#define CELL(name, j)                                                                              \
    uint32_t name##_key_##j;                                                                       \
    struct page name##_page_##j; /* the one it is on */                                            \
    struct name name##_was_##j, name##_is_##j;
/* Conditions and choices are expressions: branches would cost the checker a merge of states each.
 */
#define SEE_WAS(name, j) j < CELLS_##name &&name##_key_##j == key ? name##_was_##j:
#define SEE_IS(name, j) j < CELLS_##name &&name##_key_##j == key ? name##_is_##j:
#define HIT(name, j) || (j < CELLS_##name && name##_key_##j == key)
#define TAKE(name, j) j < CELLS_##name &&name##_key_##j == key ? &name##_is_##j:
#define START(name, j)                                                                             \
    if (j < CELLS_##name) {                                                                        \
        name##_key_##j = NIL;                                                                      \
        name##_is_##j = name##_was_##j;                                                            \
    }
/* clang-format off */
#define EACH(X, name) \
    X(name, 0) X(name, 1) X(name, 2) X(name, 3) X(name, 4) X(name, 5) X(name, 6) \
    X(name, 7) X(name, 8) X(name, 9) X(name, 10) X(name, 11) X(name, 12) X(name, 13)
/* clang-format on */

/* The goal `cells` asks whether each object that the code looks at has a cell; in all others that
 * is known, and that the slots which it takes exist. */
#ifdef PROOF_CELLS
#define SUFFICE(hit, text) __CPROVER_assert(hit, text)
#else
#define SUFFICE(hit, text) __CPROVER_assume(hit)
#endif
#define KNOWN_slot(key) __CPROVER_assume(proof_slot_ok(key));
#define KNOWN_table(key)
#define KNOWN_untyped(key)
#define KNOWN_thread(key)
#define KNOWN_endpoint(key)
#define KNOWN_reply(key)
#define KNOWN_notification(key)
#define KNOWN_aspace(key)
#define KNOWN_page_table(key)
#define KNOWN_segment(key)
#define KNOWN_iospace(key)
#define KNOWN_sched_context(key)
#define KNOWN_schedule(key)
#define KNOWN_irq(key)
#define KNOWN_cpu(key)
#define KNOWN_original(key)

#define CELLS(name)                                                                                \
    EACH(CELL, name)                                                                               \
    struct name proof_##name##_get(const struct kernel *k, uint32_t key)                           \
    {                                                                                              \
        struct name any;                                                                           \
        if (k == PROOF_BEFORE) {                                                                   \
            return EACH(SEE_WAS, name) any;                                                        \
        }                                                                                          \
        return EACH(SEE_IS, name) any;                                                             \
    }                                                                                              \
    struct name *proof_##name(uint32_t key)                                                        \
    {                                                                                              \
        bool hit = 0 EACH(HIT, name);                                                              \
        SUFFICE(hit, "cells suffice: " #name);                                                     \
        KNOWN_##name(key) return EACH(TAKE, name) 0;                                               \
    }
PROOF_OBJECTS(CELLS)

/* Cell 0 of the CPUs is the one that executes. */
#define SEE_PAGE(name, j) j < CELLS_##name &&name##_key_##j >> 6 == page ? name##_page_##j:
/* All cells of one page agree, since the first that is on it answers. */
struct page page_get(const struct kernel *k, uint32_t page)
{
    struct page any;

    (void)k;
    return EACH(SEE_PAGE, slot) EACH(SEE_PAGE, table) EACH(SEE_PAGE, thread)
        EACH(SEE_PAGE, original) any;
}

/* Asked of each cell once; of what has no cell the answer is arbitrary. */
#define SEE_OK(name, j) j < CELLS_slot &&slot_key_##j == n ? slot_ok_##j:
#define FIND_OK(name, j)                                                                           \
    if (j < CELLS_slot) {                                                                          \
        slot_ok_##j = slot_key_##j != NIL && nondet_u8() != 0;                                     \
    }
#define OK(name, j) static bool slot_ok_##j;
EACH(OK, slot)
bool proof_slot_ok(uint32_t n)
{
    bool any;

    return EACH(SEE_OK, slot) any;
}

struct cpu *arch_cpu_self(void)
{
    return &cpu_is_0;
}

slot_ix *object_original(struct kernel *k, enum object_type type, uint32_t object)
{
    if (type == OBJECT_IRQ) {
        return &irq_at(k, (irq_ix){object})->original;
    }
    switch (type) {
#define HAS_ORIGINAL(TYPE, name) case OBJECT_##TYPE:
        OBJECT_KINDS(HAS_ORIGINAL)
        return type == OBJECT_IOSPACE && object == NIL ? NULL : &proof_original(object)->at;
    default:
        return NULL;
    }
}

_Noreturn void assertion_failed(const char *expression, const char *file, int line)
{
    (void)expression;
    (void)file;
    (void)line;
    __CPROVER_assert(0, "VERIFY");
    __CPROVER_assume(0);
}

/* ---- Invariants of an object that exists, before or after --------------------------------------
 */

static uint32_t check_slot(struct kernel *k, uint32_t n)
{
    return proof_slot_ok(n) ? inv_slot_check(k, (slot_ix){n}) : 0;
}

/* ---- Begin and end ------------------------------------------------------------------------------
 */

#define RESET(name) EACH(START, name)

/* Cell j is of index n. In the order of j: of two cells of one index the first counts. */
#define LOOK(name, j, n) ((void)(name##_key_##j = (n)))
#define WAS(name, n) (proof_##name##_get(PROOF_BEFORE, n))
#define IS(name, n) (proof_##name##_get(PROOF_AFTER, n))
/* The slot that `ref` names, its table and that table's capability: slots j (that), j + 1, table t.
 */
#define LOOK_REF(j, j1, t, ref)                                                                    \
    do {                                                                                           \
        uint32_t in = thread_was_0.table.n;                                                        \
        uint32_t cap = in + (uint32_t)((ref) >> 32);                                               \
        LOOK(slot, j1, cap);                                                                       \
        LOOK(table, t, (ref) >> 32 != 0 ? WAS(slot, cap).object : in);                             \
        LOOK(slot, j, table_key_##t + (uint32_t)(ref));                                            \
    } while (0)

/* CPU 0 executes; thread 0 is its current one; slot 0 holds its table, which is table 0. */
static void proof_begin(void)
{
    PROOF_OBJECTS(RESET)
    proof_after = proof_before;
    proof_kernel = proof_before;
    LOOK(cpu, 0, cpu_was_0.index + 1u);
    ASSUME(cpu_was_0.index < PROOF_KERNEL->cpu_count && cpu_was_0.current.n != NIL);
    LOOK(thread, 0, cpu_was_0.current.n);
    LOOK(slot, 0, thread_key_0 + THREAD_SLOT_TABLE);
    LOOK(table, 0, thread_was_0.table.n);
}

/* Which of the slots with cells exist: any, but for NIL. */
static void proof_looked(void)
{
    EACH(FIND_OK, slot)
}
#define ASSUME_SLOT(j) ASSUME(check_slot(PROOF_BEFORE, slot_key_##j) == 0)

static inline void proof_ask(uint32_t failed)
{
    if (ASK != 0) {
        PROVE(failed != ASK);
    }
}

/* Slot j is an arbitrary one, and the next ones are those neighbours that invariant ASK asks. */
#define LOOK_SLOT(j, j1, j2, j3)                                                                   \
    do {                                                                                           \
        LOOK(slot, j, nondet_u32());                                                               \
        LOOK(slot, j1,                                                                             \
             ASK == 4 ? WAS(slot, slot_key_##j).child.n : WAS(slot, slot_key_##j).parent.n);       \
        LOOK(slot, j2, WAS(slot, slot_key_##j).previous.n);                                        \
        LOOK(slot, j3, WAS(slot, slot_key_##j).next.n);                                            \
    } while (0)
#define PROVE_SLOT(n) proof_ask(check_slot(PROOF_AFTER, n))
/* The goal `effect` asks what the operation did. */
#ifdef PROOF_EFFECT
#define PROVE_EFFECT(condition) PROVE(condition)
#else
#define PROVE_EFFECT(condition) ((void)0)
#endif

#endif
