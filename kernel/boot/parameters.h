// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a loader tells the kernel, in one form for every boot protocol. The loader's data is read
 * here once, with every address and length checked; the rest of the kernel sees only this.
 *
 * Context: start of the kernel, before any other code; also host tests.
 */
#ifndef KERNEL_BOOT_PARAMETERS_H
#define KERNEL_BOOT_PARAMETERS_H

#include <hallows/boot.h>
#include <hallows/status.h>

#define BOOT_MEMORY_RANGES_MAX 128u
#define BOOT_RSDP_BYTES 36u

/* Shows `bytes` bytes of physical memory, or NULL when they cannot be shown. The result is valid
 * until the kernel changes to its final page tables. */
typedef const void *(*physical_view)(uint64_t address, uint64_t bytes);

/* Ranges with `base` ascending, not overlapping, all of them usable RAM. */
struct memory_map {
    uint32_t count;
    struct {
        uint64_t base;
        uint64_t bytes;
    } range[BOOT_MEMORY_RANGES_MAX];
};

struct boot_parameters {
    struct memory_map memory; /* usable RAM, whole pages */
    uint64_t bundle_address;  /* 0: the loader gave no module */
    uint64_t bundle_bytes;
    uint64_t rsdp_address; /* 0: unknown */
    bool has_rsdp_copy;    /* the loader gave the table itself */
    uint8_t rsdp_copy[BOOT_RSDP_BYTES];
    char command_line[BOOT_COMMAND_LINE_BYTES];
    const char *problem; /* when a reader refuses: what is wrong, one sentence */
};

/* For readers: says what is wrong. Returns CORRUPT. */
static inline status_t boot_refuse(struct boot_parameters *out, const char *problem)
{
    out->problem = problem;
    return STATUS_CORRUPT;
}

/* Reads the PVH start information (Xen public/arch-x86/hvm/start_info.h) at `address`. Returns
 * CORRUPT with out->problem set when it is not to be believed. */
HALLOWS_MUST_CHECK status_t pvh_read(uint64_t address, physical_view view,
                                     struct boot_parameters *out);

/* Reads the Multiboot2 information (Multiboot2 specification 2.0, 3.6) at `address`; as pvh_read.
 */
HALLOWS_MUST_CHECK status_t multiboot2_read(uint64_t address, physical_view view,
                                            struct boot_parameters *out);

/* Adds a range of usable RAM, shrunk to whole pages, keeping order; ranges that touch are joined,
 * overlapping parts are counted once. Returns NO_MEMORY when the map is full, else OK. */
HALLOWS_MUST_CHECK status_t memory_map_add(struct memory_map *map, uint64_t base, uint64_t bytes);

/* True if one range has all of [base, base + bytes). */
bool memory_map_holds(const struct memory_map *map, uint64_t base, uint64_t bytes);

/* Takes [base, base + bytes), grown to whole pages, out of the map. Returns NO_MEMORY when that
 * would split a range and the map is full; the map is then as before. */
HALLOWS_MUST_CHECK status_t memory_map_remove(struct memory_map *map, uint64_t base,
                                              uint64_t bytes);

#endif
