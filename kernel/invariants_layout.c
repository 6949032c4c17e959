// SPDX-License-Identifier: MIT OR Apache-2.0
/* Invariants that the compiler asks: sizes of objects. */
#include "kernel/state.h"

_Static_assert(sizeof(struct page) == 16, "a power of two, so that finding one is a shift");
_Static_assert(sizeof(struct slot) == GRANULE_BYTES, "a slot is a granule");
_Static_assert(sizeof(struct table) == GRANULE_BYTES, "a table's header takes the place of slot 0");
_Static_assert(sizeof(struct untyped) == GRANULE_BYTES, "one granule");
_Static_assert(sizeof(struct thread) == THREAD_BYTES, "a thread is a page");
_Static_assert(offsetof(struct thread, table_slot) % GRANULE_BYTES == 0, "slots lie on granules");
_Static_assert(sizeof(struct endpoint) == GRANULE_BYTES, "one granule");
_Static_assert(sizeof(struct reply) == GRANULE_BYTES, "one granule");
_Static_assert(sizeof(struct notification) == GRANULE_BYTES, "one granule");
_Static_assert(sizeof(struct sched_context) == 2 * GRANULE_BYTES, "two granules");
_Static_assert(sizeof(struct schedule) == 32 * GRANULE_BYTES, "32 granules");
_Static_assert(sizeof(struct aspace) == 2 * GRANULE_BYTES, "two granules");
_Static_assert(sizeof(struct attachment_record) == 16, "512 of them take two pages");
_Static_assert(sizeof(struct page_table) == 2 * GRANULE_BYTES, "two granules");
_Static_assert(sizeof(struct segment) == 2 * GRANULE_BYTES, "two granules");
_Static_assert(sizeof(struct iospace) == 4 * GRANULE_BYTES, "four granules");
