// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The initial cell: its program from the bundle, its stack and boot_info page, and capabilities to
 * everything that the kernel does not keep. Context: start only; the core is initialised.
 */
#ifndef KERNEL_BOOT_INITIAL_CELL_H
#define KERNEL_BOOT_INITIAL_CELL_H

#include "kernel/boot/acpi.h"
#include "kernel/boot/parameters.h"
#include "kernel/entry.h"
#include "lib/bundle/bundle.h"

#define INITIAL_CELL_SLOTS 4096u
#define INITIAL_CELL_STACK_BYTES 0x10000ull
#define INITIAL_CELL_BUNDLE_ADDRESS 0x80000000ull
#define INITIAL_CELL_PRIORITY 255u
/* Ports below are the kernel's own (PICs, PIT, console) or old devices nobody drives. */
#define INITIAL_CELL_FIRST_PORT 0x400u

struct initial_cell_request {
    const struct boot_parameters *parameters;
    const struct acpi_facts *facts;
    const struct time_calibration *time;
    struct memory_map free;   /* RAM that nobody uses: becomes untyped memory */
    struct memory_map device; /* becomes device memory */
    uint64_t start_memory_base;
    uint64_t start_memory_bytes; /* initial_cell_memory */
    uint64_t ram_bytes;
    uint64_t start_tsc; /* at the kernel's first instructions */
    uint32_t flags;     /* enum boot_flags */
    uint32_t cpus_used;
    const char *problem;    /* out: what is wrong, one sentence */
    struct symbols symbols; /* out: of the initial cell's program; no entries if there are none */
    char problem_text[160];
};

/* Bytes of RAM that the initial cell's own objects and pages take, at most. */
uint64_t initial_cell_memory(const struct boot_parameters *parameters);

/* Creates the cell and makes its thread current. CORRUPT, WRONG_VERSION, TOO_LARGE: the bundle or
 * the program in it is refused; NO_MEMORY: the memory does not suffice. request->problem then says
 * what is wrong. */
HALLOWS_MUST_CHECK status_t initial_cell_start(struct kernel *k,
                                               struct initial_cell_request *request);

#endif
