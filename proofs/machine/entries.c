// SPDX-License-Identifier: MIT OR Apache-2.0
/* Page-table entries, bit by bit. Of: kernel/arch/x86_64/entries.h */
#include "kernel/arch/x86_64/entries.h"
#include "proofs/proof.h"

#define RIGHTS_PAGE ((uint32_t)(RIGHT_READ | RIGHT_WRITE | RIGHT_EXECUTE))
#define WX ((uint32_t)(RIGHT_WRITE | RIGHT_EXECUTE))
/* SDM vol. 3, table 4-20: what the CPU makes of an entry. */
#define CPU_PRESENT 0x1ull
#define CPU_WRITE 0x2ull
#define CPU_USER 0x4ull
#define CPU_NO_EXECUTE 0x8000000000000000ull
#define CPU_ADDRESS 0x000ffffffffff000ull
#define CPU_RESERVED 0x7ff0000000000800ull /* bits 11 and 52..62: never set by us */

static uint64_t any_physical(void)
{
    uint64_t physical = nondet_u64();

    ASSUME((physical & ~CPU_ADDRESS) == 0);
    return physical;
}

/* A leaf shows the page asked for, to the user, with no right that was not asked for. */
void prove_leaf_no_wider(void)
{
    uint64_t physical = any_physical();
    uint32_t rights = nondet_u32();
    uint64_t entry = arch_leaf_encode(physical, rights);

    PROVE((entry & CPU_ADDRESS) == physical);
    PROVE((entry & (CPU_PRESENT | CPU_USER)) == (CPU_PRESENT | CPU_USER));
    PROVE(((entry & CPU_WRITE) != 0) == ((rights & RIGHT_WRITE) != 0));
    PROVE(((entry & CPU_NO_EXECUTE) == 0) == ((rights & RIGHT_EXECUTE) != 0));
    PROVE((entry & CPU_RESERVED) == 0);
    PROVE(arch_leaf_own(entry) == ((rights & LEAF_OWN) != 0));
    PROOF_END();
}

/* Writable and executable at once only if both were asked for. */
void prove_leaf_write_xor_execute(void)
{
    uint32_t rights = nondet_u32();
    uint64_t entry = arch_leaf_encode(any_physical(), rights);

    ASSUME((rights & WX) != WX);
    PROVE((entry & CPU_WRITE) == 0 || (entry & CPU_NO_EXECUTE) != 0);
    PROOF_END();
}

/* What is read back from a leaf is what was put in. */
void prove_leaf_round_trip(void)
{
    uint64_t physical = any_physical();
    uint32_t rights = nondet_u32() & (RIGHTS_PAGE | PAGE_UNCACHED | PAGE_WRITE_COMBINING);
    uint64_t entry = arch_leaf_encode(physical, rights);
    uint32_t back = arch_leaf_rights(entry);

    ASSUME((rights & RIGHT_READ) != 0);
    PROVE(arch_leaf_physical(entry) == physical);
    PROVE((back & RIGHTS_PAGE) == (rights & RIGHTS_PAGE));
    PROVE(((back & PAGE_UNCACHED) != 0) == ((rights & PAGE_UNCACHED) != 0));
    PROVE(IMPLIES((rights & PAGE_UNCACHED) == 0, back == rights));
    PROVE(arch_leaf_rights(0) == 0);
    PROOF_END();
}

/* An attachment gives no more than its rights, whatever else is set in them. */
void prove_attach_no_wider(void)
{
    uint64_t physical = any_physical();
    uint32_t rights = nondet_u32();
    uint64_t entry = arch_attach_encode(physical, rights);

    PROVE(arch_leaf_physical(entry) == physical);
    PROVE(arch_attach_rights(entry) == (RIGHT_READ | (rights & WX)));
    PROVE(((entry & CPU_WRITE) != 0) == ((rights & RIGHT_WRITE) != 0));
    PROVE(((entry & CPU_NO_EXECUTE) == 0) == ((rights & RIGHT_EXECUTE) != 0));
    PROVE(!arch_leaf_own(entry) && (entry & CPU_RESERVED) == 0);
    PROOF_END();
}

/* Shared for copy-on-write: the CPU stops writes, the rights to come back to stay. */
void prove_share_stops_writes(void)
{
    uint64_t entry = nondet_u64();
    uint64_t shared = arch_entry_share(entry);

    PROVE(!arch_entry_writable(shared) && (shared & CPU_WRITE) == 0);
    PROVE(!arch_leaf_own(shared));
    PROVE(arch_leaf_rights(shared) == arch_leaf_rights(entry));
    PROVE(arch_leaf_physical(shared) == arch_leaf_physical(entry));
    PROVE((shared & ~entry) == 0);
    PROOF_END();
}

/* An intermediate table's entry takes nothing away and points where it should. */
void prove_table_entry(void)
{
    uint64_t physical = any_physical();
    uint64_t entry = arch_table_encode(physical);

    PROVE(arch_leaf_physical(entry) == physical);
    PROVE((entry & (CPU_PRESENT | CPU_USER | CPU_WRITE)) == (CPU_PRESENT | CPU_USER | CPU_WRITE));
    PROVE((entry & (CPU_NO_EXECUTE | CPU_RESERVED)) == 0);
    PROOF_END();
}
