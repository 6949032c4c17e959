// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What the IOMMU reads, bit by bit (VT-d 5.0, 9.8, 9.9, 6.5.2).
 * Of: kernel/arch/x86_64/vtd_entries.h
 */
#include "kernel/arch/x86_64/vtd_entries.h"
#include "proofs/proof.h"

#define ADDRESS 0x000ffffffffff000ull

/* A device reads and writes the page shown, only as its rights say; without rights it does not. */
void prove_second_level_no_wider(void)
{
    uint64_t physical = nondet_u64();
    uint32_t rights = nondet_u32();

    ASSUME((physical & ~ADDRESS) == 0);
    uint64_t entry = vtd_second_level(physical, rights);
    PROVE((entry & ADDRESS) == physical);
    PROVE(((entry & 1u) != 0) == ((rights & RIGHT_READ) != 0));
    PROVE(((entry & 2u) != 0) == ((rights & RIGHT_WRITE) != 0));
    PROVE((entry & ~ADDRESS & ~3ull) == 0);
    PROOF_END();
}

/* An interrupt entry is present, of fixed delivery to one CPU in physical mode, and of that vector.
 */
void prove_interrupt_entry(void)
{
    uint32_t vector = nondet_u8();
    uint32_t apic = nondet_u32();
    bool x2apic = nondet_u8() != 0;
    bool level = nondet_u8() != 0;

    ASSUME(x2apic || apic < 256u);
    struct vtd_interrupt entry = vtd_interrupt_entry(vector, apic, x2apic, level);
    PROVE((entry.low & 1u) != 0 && ((entry.low >> 4) & 1u) == level);
    PROVE((entry.low & 0xffeeu) == 0); /* no redirection, no other delivery mode, not posted */
    PROVE(((entry.low >> 16) & 0xffu) == vector && ((entry.low >> 24) & 0xffu) == 0);
    PROVE(entry.low >> 32 == (x2apic ? apic : apic << 8));
    PROVE(entry.high == 0);
    PROOF_END();
}

/* Each entry of the table has its own message, in the remappable format and interrupt range. */
void prove_interrupt_message(void)
{
    uint32_t a = nondet_u8();
    uint32_t b = nondet_u8();
    uint64_t message = vtd_interrupt_message(a);

    PROVE(message >> 20 == 0xfeeu && (message & 0x10u) != 0 && (message & 0xfu) == 0);
    PROVE(((message >> 5) & 0x7fffu) == a);
    PROVE((message == vtd_interrupt_message(b)) == (a == b));
    PROOF_END();
}

/* An invalidation names its domain, or all; the types differ; a wait writes where it should. */
void prove_invalidations(void)
{
    uint32_t domain = nondet_u32();
    uint64_t status = nondet_u64();
    uint32_t value = nondet_u32();

    ASSUME(domain < 65536u);
    struct vtd_descriptor iotlb = vtd_invalidate_iotlb(domain);
    struct vtd_descriptor wait = vtd_wait(status, value);
    PROVE((iotlb.low & 0xfu) == 2u && ((iotlb.low >> 4) & 3u) == (domain == 0 ? 1u : 2u));
    PROVE(((iotlb.low >> 16) & 0xffffu) == domain && iotlb.low >> 32 == 0 && iotlb.high == 0);
    PROVE((wait.low & 0xfu) == 5u && (wait.low >> 32) == value && wait.high == status);
    PROVE((vtd_invalidate_contexts().low & 0xfu) == 1u);
    PROVE((vtd_invalidate_interrupts().low & 0xfu) == 4u);
    PROVE((vtd_invalidate_pasids().low & 0xfu) == 7u);
    PROOF_END();
}
