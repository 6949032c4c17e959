// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a proof of a whole operation is written with: docs/decisions/031.
 *
 * A harness says which objects the operation looks at (LOOK...), in *own* cells, and of which the
 * invariants are assumed; runs it on PROOF_KERNEL; and asks one invariant (-DASK=n) of an arbitrary
 * slot, which has, with the neighbours that the invariant names, the *asked* cells. Other goals ask
 * what the operation did (-DPROOF_EFFECT), whether all that it touches has a cell, with CBMC's own
 * checks (-DPROOF_CELLS), and whether it is there, with the kernel's assertions (-DPROOF_SAFETY).
 * Each goal is a run of the checker of its own: the lines " * Goal name: options" of the harness.
 */
#ifndef PROOFS_KERNEL_KERNEL_H
#define PROOFS_KERNEL_KERNEL_H

/* -DASK=n: this run asks invariant n, and assumes what it takes for that. */
#ifndef ASK
#define ASK 0
#endif
#ifndef ASSUMED
/* Fewer make a goal quicker to decide. */
#if ASK == 2 || ASK == 6 || ASK == 7 || ASK == 11
#define ASSUMED(n) ((n) == 2)
#elif ASK == 3
#define ASSUMED(n) ((n) == 4)
#elif ASK == 4
#define ASSUMED(n) ((n) == 1)
#else
#define ASSUMED(n) ((n) == 4)
#endif
#endif
/* What safety takes as given besides. */
#ifndef SAFETY_ALSO
#define SAFETY_ALSO(n) false
#endif
#ifdef PROOF_SAFETY
#define FOR_SAFETY(n)                                                                              \
    ((n) == 5 || (n) == 8 || (n) == 12 || (n) == 13 || (n) == 27 || SAFETY_ALSO(n))
#else
#define FOR_SAFETY(n) false
#endif
#define INVARIANT_WANTED(n) ((n) == ASK || ASSUMED(n) || FOR_SAFETY(n))

#include "kernel/invariants.h"
#include "kernel/invariants_local.h"
#include "kernel/object/cap.h"
#include "kernel/object/object.h"
#include "kernel/state.h"
#include "proofs/proof.h"

/* ---- Cells --------------------------------------------------------------------------------------
 * How many own ones, up to 8: 0, 1, ...; a harness may want others. */
#ifndef CELLS_slot
#define CELLS_slot 6
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
#define CELLS_original 0
#endif

/* And the asked ones: 8, 9, ... The arbitrary slot is slot 8. */
#if defined(PROOF_SAFETY) || defined(PROOF_CELLS)
#define ASKED_slot 0
#elif ASK == 0 || ASK == 1
#define ASKED_slot 1
#elif ASK == 3
#define ASKED_slot 4
#else
#define ASKED_slot 2
#endif
#if ASK == 6
#define ASKED_table 2
#define ASKED_untyped 2
#elif ASK == 11
#define ASKED_table 0
#define ASKED_untyped 1
#elif ASK == 8
#define ASKED_table 1
#define ASKED_untyped 0
#else
#define ASKED_table 0
#define ASKED_untyped 0
#endif
#if ASK == 5
#define ASKED_original 1
#define ASKED_irq 1
#endif
#ifndef ASKED_original
#define ASKED_original 0
#endif
#ifndef ASKED_thread
#define ASKED_thread 0
#endif
#ifndef ASKED_endpoint
#define ASKED_endpoint 0
#endif
#ifndef ASKED_reply
#define ASKED_reply 0
#endif
#ifndef ASKED_notification
#define ASKED_notification 0
#endif
#ifndef ASKED_aspace
#define ASKED_aspace 0
#endif
#ifndef ASKED_page_table
#define ASKED_page_table 0
#endif
#ifndef ASKED_segment
#define ASKED_segment 0
#endif
#ifndef ASKED_iospace
#define ASKED_iospace 0
#endif
#ifndef ASKED_sched_context
#define ASKED_sched_context 0
#endif
#ifndef ASKED_schedule
#define ASKED_schedule 0
#endif
#ifndef ASKED_irq
#define ASKED_irq 0
#endif
#ifndef ASKED_cpu
#define ASKED_cpu 0
#endif

struct kernel proof_before, proof_after, proof_kernel;

/* X(name, j) for each cell j of that type. */
/* clang-format off */
#define EACH(X, name) OWN(X, name) ASKED(X, name)
#define OWN(X, name) EACH_NUMBER(CELLS_##name, X, name)
#define ASKED(X, name) ASKED_NUMBER(ASKED_##name, X, name)
#define EACH_NUMBER(n, X, name) EACH_OF(n, X, name)
#define ASKED_NUMBER(n, X, name) ASKED_OF(n, X, name)
#define EACH_OF(n, X, name) EACH_##n(X, name)
#define ASKED_OF(n, X, name) ASKED_##n(X, name)
#define EACH_0(X, name)
#define EACH_1(X, name) X(name, 0)
#define EACH_2(X, name) EACH_1(X, name) X(name, 1)
#define EACH_3(X, name) EACH_2(X, name) X(name, 2)
#define EACH_4(X, name) EACH_3(X, name) X(name, 3)
#define EACH_5(X, name) EACH_4(X, name) X(name, 4)
#define EACH_6(X, name) EACH_5(X, name) X(name, 5)
#define EACH_7(X, name) EACH_6(X, name) X(name, 6)
#define EACH_8(X, name) EACH_7(X, name) X(name, 7)
#define ASKED_0(X, name)
#define ASKED_1(X, name) X(name, 8)
#define ASKED_2(X, name) ASKED_1(X, name) X(name, 9)
#define ASKED_3(X, name) ASKED_2(X, name) X(name, 10)
#define ASKED_4(X, name) ASKED_3(X, name) X(name, 11)
/* clang-format on */

#define CELL(name, j)                                                                              \
    uint32_t name##_key_##j;                                                                       \
    struct page name##_page_##j; /* the one it is on */                                            \
    struct name name##_was_##j, name##_is_##j;
/* Conditions and choices are expressions: branches would cost the checker a merge of states each.
 * The operation takes own cells only, the last of them without asking, since the goal `cells`
 * asks that one hits. */
#define SEE_WAS(name, j) name##_key_##j == key ? name##_was_##j:
#define SEE_IS(name, j) name##_key_##j == key ? name##_is_##j:
#define HIT(name, j) || name##_key_##j == key
#define TAKE(name, j) j + 1 == CELLS_##name || name##_key_##j == key ? &name##_is_##j:
#define START(name, j)                                                                             \
    name##_key_##j = NIL;                                                                          \
    name##_is_##j = name##_was_##j;

/* The goal `cells` asks whether each object that the code looks at has an own cell, and CBMC's own
 * checks; `safety` asks the kernel's assertions, among them that each is there, by the table of
 * pages. In all others that is known. */
#ifdef PROOF_CELLS
#define SUFFICE(hit, text) __CPROVER_assert(hit, text)
#else
#define SUFFICE(hit, text) __CPROVER_assume(hit)
#endif

#ifdef PROOF_SAFETY
#define KNOWN_slot(key)
#else
#define KNOWN_slot(key) __CPROVER_assume(proof_slot_ok(key));
#endif
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
        bool hit = 0 OWN(HIT, name);                                                               \
        SUFFICE(hit, "cells suffice: " #name);                                                     \
        KNOWN_##name(key) return OWN(TAKE, name) 0;                                                \
    }
PROOF_OBJECTS(CELLS)

#define SEE_PAGE(name, j) name##_key_##j >> 6 == page ? name##_page_##j:
/* All cells of one page agree, since the first that is on it answers. */
struct page page_get(const struct kernel *k, uint32_t page)
{
    struct page any;

    (void)k;
    /* clang-format off */
    return EACH(SEE_PAGE, slot) EACH(SEE_PAGE, table) EACH(SEE_PAGE, thread)
        EACH(SEE_PAGE, original) EACH(SEE_PAGE, endpoint) EACH(SEE_PAGE, reply)
        EACH(SEE_PAGE, notification) EACH(SEE_PAGE, aspace) EACH(SEE_PAGE, page_table)
        EACH(SEE_PAGE, segment) EACH(SEE_PAGE, iospace) EACH(SEE_PAGE, sched_context)
        EACH(SEE_PAGE, schedule) any;
    /* clang-format on */
}

/* Whether a slot is there. The goal `safety` asks the table of pages. The others ask each cell
 * once; of what has no cell the answer is arbitrary. */
#ifdef PROOF_SAFETY
#define FIND_OK(name, j)
bool proof_slot_ok(uint32_t n)
{
    return slot_index_ok(PROOF_KERNEL, n);
}
#else
#define SEE_OK(name, j) slot_key_##j == n ? slot_ok_##j:
#define FIND_OK(name, j) slot_ok_##j = slot_key_##j != NIL && nondet_u8() != 0;
#define OK(name, j) static bool slot_ok_##j;
EACH(OK, slot)
bool proof_slot_ok(uint32_t n)
{
    bool any;

    return EACH(SEE_OK, slot) any;
}
#endif

/* Cell 0 of the CPUs is the one that executes. */
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

/* The original of the object of slot `s`, and the slot that it names. */
#define LOOK_ORIGINAL(j, s) (LOOK(original, j, (s).object), LOOK(irq, j, (s).object))
#define WAS_ORIGINAL(j, s) ((s).type == OBJECT_IRQ ? irq_was_##j.original.n : original_was_##j.at.n)

/* CPU 0 executes; thread 0 is its current one; slot 0 holds its table, which is table 0. */
static void proof_begin(void)
{
    PROOF_OBJECTS(RESET)
    proof_after = proof_before;
    proof_kernel = proof_before;
    LOOK(cpu, 0, cpu_was_0.index + 1u);
    ASSUME(PROOF_KERNEL->page_count <= PHYSICAL_BYTES_MAX / PAGE_BYTES);
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
/* What makes the caller's table, and what a reference names (the cells of LOOK_REF), be there. */
#ifdef PROOF_SAFETY
#define ASSUME_CALLER()                                                                            \
    do {                                                                                           \
        ASSUME(inv_current_check(PROOF_BEFORE, &cpu_was_0) == 0);                                  \
        ASSUME(inv_thread_spaces_check(PROOF_BEFORE, cpu_was_0.current) == 0);                     \
        ASSUME_SLOT(0);                                                                            \
    } while (0)
#define ASSUME_IN_TABLE(j, t)                                                                      \
    do {                                                                                           \
        const table_ix in = {table_key_##t};                                                       \
        ASSUME(inv_table_slot_check(PROOF_BEFORE, in, 0) == 0);                                    \
        ASSUME(inv_table_page_check(PROOF_BEFORE, in, slot_key_##j) == 0);                         \
    } while (0)
#else
#define ASSUME_CALLER() ((void)0)
#define ASSUME_IN_TABLE(j, t) ((void)0)
#endif
#define ASSUME_REF(j, j1, t)                                                                       \
    do {                                                                                           \
        ASSUME_IN_TABLE(j1, 0);                                                                    \
        ASSUME_SLOT(j1);                                                                           \
        ASSUME_IN_TABLE(j, t);                                                                     \
        ASSUME_SLOT(j);                                                                            \
    } while (0)
#define ASSUME_SLOT(j) ASSUME(check_slot(PROOF_BEFORE, slot_key_##j) == 0)

/* Original cell j is of an object of that type, which names its capability. */
#define ASSUME_ORIGINAL(j, type)                                                                   \
    ASSUME(!inv_alive(PROOF_BEFORE, type, original_key_##j) ||                                     \
           inv_original_check(PROOF_BEFORE, type, original_key_##j) == 0)

/* The invariants that ASK and ASSUMED name, of slot n. */
static inline void prove_slot(uint32_t n)
{
    uint32_t failed = check_slot(PROOF_AFTER, n);

    if (ASK != 0) {
        PROVE(failed != ASK);
    }
}

/* Slot 8 is `w`, and the other asked cells are what invariant ASK looks at. After the own
 * cells. Returns its index. */
#if defined(PROOF_SAFETY) || defined(PROOF_CELLS)
#define ASSUME_ASKED() ((void)0)
static uint32_t look_asked(uint32_t w)
{
    return w; /* nothing is asked of it */
}
#else
#define ASSUME_ASKED() ASSUME_SLOT(8)
static uint32_t look_asked(uint32_t w)
{
    LOOK(slot, 8, w);
    ASSUME(slot_key_8 != NIL);
#if ASK == 2 || ASK == 3 || ASK == 6 || ASK == 7 || ASK == 11
    LOOK(slot, 9, WAS(slot, slot_key_8).parent.n);
#endif
#if ASK == 3
    LOOK(slot, 10, WAS(slot, slot_key_8).previous.n);
    LOOK(slot, 11, WAS(slot, slot_key_8).next.n);
#elif ASK == 4
    LOOK(slot, 9, WAS(slot, slot_key_8).child.n);
#elif ASK == 5
    LOOK(original, 8, WAS(slot, slot_key_8).object);
    LOOK(irq, 8, WAS(slot, slot_key_8).object);
#elif ASK == 6
    LOOK(table, 8, WAS(slot, slot_key_8).object);
    LOOK(table, 9, page_get(PROOF_BEFORE, granule_page(slot_key_8)).owner);
    LOOK(untyped, 8, WAS(slot, slot_key_8).object);
    LOOK(untyped, 9, WAS(slot, slot_key_9).object);
#elif ASK == 8
    uint32_t owner = page_get(PROOF_BEFORE, granule_page(slot_key_8)).owner;
    LOOK(table, 8, owner);
#elif ASK == 11
    LOOK(untyped, 8, WAS(slot, slot_key_9).object);
#endif
    return slot_key_8;
}
#endif

/* -DPROOF_CASE=0..3: which slot the invariant is asked of, 0 being any but the other three. */
#ifndef PROOF_CASE
#define PROOF_CASE 4
#endif
static inline uint32_t asked_slot(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t any = nondet_u32();

    ASSUME(PROOF_CASE != 0 || (any != a && any != b && any != c));
    return PROOF_CASE == 1 ? a : PROOF_CASE == 2 ? b : PROOF_CASE == 3 ? c : any;
}

/* ---- What an operation did ----------------------------------------------------------------------
 */

/* The goal `effect` asks that; all others take it as known, before they ask their invariant. */
#ifdef PROOF_EFFECT
#define PROVE_EFFECT(condition) PROVE(condition)
#elif defined(PROOF_SAFETY) || defined(PROOF_CELLS)
#define PROVE_EFFECT(condition) ((void)0)
#else
#define PROVE_EFFECT(condition) ASSUME(condition)
#endif

/* Objects of that type are as they were: those without a cell are so by construction. */
#define SAME(name, j) &&__CPROVER_equal(name##_is_##j, name##_was_##j)
#define UNCHANGED(name) (true EACH(SAME, name))
/* But for that of cell 0. */
#define SAME_BUT_0(name, j) &&(j == 0 || __CPROVER_equal(name##_is_##j, name##_was_##j))
#define UNCHANGED_BUT_0(name) (true EACH(SAME_BUT_0, name))

/* All but its place among its siblings and its first child. */
static inline bool slot_keeps(struct slot a, struct slot b)
{
    return a.type == b.type && a.rights == b.rights && a.depth == b.depth && a.badge == b.badge &&
           a.original == b.original && a.object == b.object && a.parent.n == b.parent.n &&
           a.base == b.base && a.length == b.length;
}

static inline bool slot_same(struct slot a, struct slot b)
{
    return slot_keeps(a, b) && a.child.n == b.child.n && a.next.n == b.next.n &&
           a.previous.n == b.previous.n;
}

#endif
