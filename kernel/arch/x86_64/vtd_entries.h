// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Registers and structures of Intel VT-d (Intel Virtualization Technology for Directed I/O,
 * architecture specification 5.0: chapter 9 for structures, 10 for registers, 6.5 for descriptors).
 */
#ifndef KERNEL_ARCH_X86_64_VTD_ENTRIES_H
#define KERNEL_ARCH_X86_64_VTD_ENTRIES_H

#include <hallows/syscall.h>
#include <hallows/types.h>

/* ---- Registers: byte offsets (10.4) ---------------------------------------------------------- */

enum vtd_register {
    VTD_CAPABILITY = 0x08,
    VTD_EXTENDED_CAPABILITY = 0x10,
    VTD_COMMAND = 0x18,
    VTD_STATUS = 0x1c,
    VTD_ROOT_TABLE = 0x20,
    VTD_FAULT_STATUS = 0x34,
    VTD_FAULT_CONTROL = 0x38,
    VTD_FAULT_DATA = 0x3c,
    VTD_FAULT_ADDRESS = 0x40,
    VTD_FAULT_ADDRESS_HIGH = 0x44,
    VTD_QUEUE_TAIL = 0x88,
    VTD_QUEUE_ADDRESS = 0x90,
    VTD_INTERRUPT_TABLE = 0xb8
};

/* Command and status bits have the same places (10.4.4, 10.4.5). */
#define VTD_TRANSLATE (1u << 31)
#define VTD_SET_ROOT (1u << 30)
#define VTD_QUEUE (1u << 26)
#define VTD_REMAP_INTERRUPTS (1u << 25)
#define VTD_SET_INTERRUPT_TABLE (1u << 24)
/* Commands that act once and read as 0 in what is written next. */
#define VTD_ONE_SHOT (VTD_SET_ROOT | VTD_SET_INTERRUPT_TABLE)

/* Capability register (10.4.2). */
#define VTD_CAP_DOMAINS(cap) (1u << (4u + 2u * ((uint32_t)(cap)&7u)))
#define VTD_CAP_WRITE_BUFFER (1ull << 4) /* RWBF */
#define VTD_CAP_CACHING_MODE (1ull << 7)
#define VTD_CAP_LEVELS_4 (1ull << 10) /* SAGAW: 48 bits */
#define VTD_CAP_ADDRESS_BITS(cap) (((uint32_t)((cap) >> 16) & 0x3fu) + 1u)
#define VTD_CAP_FAULT_OFFSET(cap) (((uint32_t)((cap) >> 24) & 0x3ffu) * 16u)
#define VTD_CAP_FAULT_COUNT(cap) (((uint32_t)((cap) >> 40) & 0xffu) + 1u)
/* Extended capability register (10.4.3). */
#define VTD_ECAP_COHERENT (1ull << 0)
#define VTD_ECAP_QUEUE (1ull << 1)
#define VTD_ECAP_REMAP (1ull << 3)
#define VTD_ECAP_X2APIC (1ull << 4)
#define VTD_ECAP_SCALABLE (1ull << 43)
#define VTD_ECAP_SECOND (1ull << 46)
#define VTD_ECAP_FIRST (1ull << 47)

#define VTD_QUEUE_WIDE (1ull << 11)       /* descriptors of 256 bits: scalable mode (10.4.22) */
#define VTD_ROOT_SCALABLE (1ull << 10)    /* TTM 01 (10.4.6) */
#define VTD_INTERRUPT_X2APIC (1ull << 11) /* EIME (10.4.24) */
#define VTD_INTERRUPT_256 7ull            /* 2^(7 + 1) entries */
#define VTD_FAULT_STATUS_CLEAR 0x71u      /* overflow and the queue's errors, by writing 1 */
#define VTD_FAULT_QUEUE_ERRORS 0x70u      /* IQE, ICE, ITE */

/* Fault record, upper half (10.4.14). */
#define VTD_RECORD_VALID (1ull << 63)
#define VTD_RECORD_READ (1ull << 62)
#define VTD_REASON_INTERRUPT(reason) ((reason) >= 0x20 && (reason) <= 0x27) /* 7.1.3: remapping */
#define VTD_RECORD_REASON(high) ((uint32_t)((high) >> 32) & 0xffu)

/* ---- Tables (9.1 to 9.7) --------------------------------------------------------------------- */

#define VTD_PRESENT 1ull
#define VTD_NO_REPORT 2ull /* fault processing disabled, in context and interrupt entries */
#define VTD_CONTEXT_4_LEVELS 2ull
#define VTD_CONTEXT_DOMAIN_SHIFT 8u
#define VTD_PASID_4_LEVELS (2ull << 2)
#define VTD_PASID_FIRST (1ull << 6)
#define VTD_PASID_SECOND (2ull << 6)

struct vtd_context { /* legacy mode */
    uint64_t low;
    uint64_t high;
};
struct vtd_scalable_context {
    uint64_t low;
    uint64_t word[3]; /* all 0: no PASIDs, requests without one use PASID 0 */
};
struct vtd_pasid {
    uint64_t word[8];
};

/* Second-level entries: read bit 0, write bit 1, address; the rest 0 (9.8). */
static inline uint64_t vtd_second_level(uint64_t physical, uint32_t rights)
{
    return physical | ((rights & RIGHT_READ) != 0 ? 1u : 0u) |
           ((rights & RIGHT_WRITE) != 0 ? 2u : 0u);
}

/* ---- Interrupt remapping (5.1, 9.9) -----------------------------------------------------------
 */

struct vtd_interrupt {
    uint64_t low, high;
};
#define VTD_INTERRUPT_LEVEL (1ull << 4)
#define VTD_VERIFY_SOURCE (1ull << 18) /* SVT 01: all 16 bits of the requester id */

static inline struct vtd_interrupt vtd_interrupt_entry(uint32_t vector, uint32_t apic, bool x2apic,
                                                       bool level)
{
    uint64_t destination = x2apic ? apic : apic << 8;

    return (struct vtd_interrupt){VTD_PRESENT | (level ? VTD_INTERRUPT_LEVEL : 0) |
                                      (uint64_t)vector << 16 | destination << 32,
                                  0};
}

/* What a device writes to raise the interrupt of a table entry: the data is 0. */
static inline uint64_t vtd_interrupt_message(uint32_t entry)
{
    return 0xfee00010ull | (uint64_t)entry << 5;
}

/* ---- Invalidation descriptors (6.5.2) ---------------------------------------------------------
 */

struct vtd_descriptor {
    uint64_t low, high;
};

/* Context cache and IOTLB: of a domain, or 0 for all. The IOTLB's waits for reads and writes that
 * began before. */
static inline struct vtd_descriptor vtd_invalidate_contexts(void)
{
    return (struct vtd_descriptor){1u | 1u << 4, 0};
}
static inline struct vtd_descriptor vtd_invalidate_iotlb(uint32_t domain)
{
    return (struct vtd_descriptor){
        2u | (domain == 0 ? 1u : 2u) << 4 | 3u << 6 | (uint64_t)domain << 16, 0};
}
static inline struct vtd_descriptor vtd_invalidate_pasids(void)
{
    return (struct vtd_descriptor){7u | 3u << 4, 0};
}
static inline struct vtd_descriptor vtd_invalidate_interrupts(void)
{
    return (struct vtd_descriptor){4u, 0};
}
/* Writes `value` to `status` when all before it is done. */
static inline struct vtd_descriptor vtd_wait(uint64_t status, uint32_t value)
{
    return (struct vtd_descriptor){5u | 1u << 5 | (uint64_t)value << 32, status};
}

#endif
