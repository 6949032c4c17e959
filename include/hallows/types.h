// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Scalar types of the public contract. Freestanding: only compiler headers.
 */
#ifndef HALLOWS_TYPES_H
#define HALLOWS_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes a leaf page and a segment window cover (Intel SDM vol. 3, 4.5). */
#define PAGE_BYTES 4096u
#define PAGE_SHIFT 12u
#define SEGMENT_BYTES 0x200000u
#define SEGMENT_SHIFT 21u
#define SEGMENT_PAGES 512u

/* Index of a slot in the caller's own capability table. Slot 0 never holds a capability. */
typedef uint32_t cap_slot_t;

/* Names a slot in any table the caller holds a capability to: bits 0..31 the slot, bits 32..63 the
 * slot (in the caller's table) of the table's capability, 0 for the caller's own table. */
typedef uint64_t cap_ref_t;

static inline cap_ref_t cap_ref(cap_slot_t table, cap_slot_t slot)
{
    return ((cap_ref_t)table << 32) | slot;
}

/* An absolute time in ns since the kernel started counting; DEADLINE_NEVER waits for ever and
 * DEADLINE_NOW (any time already past) only polls. */
typedef uint64_t time_ns_t;
#define DEADLINE_NOW ((time_ns_t)0)
#define DEADLINE_NEVER UINT64_MAX

#define HALLOWS_MUST_CHECK __attribute__((warn_unused_result))

#endif
