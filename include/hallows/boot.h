// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What the kernel and the initial cell find at boot: the bundle (made by tools/image) and the boot
 * information page that the kernel fills for the initial cell.
 */
#ifndef HALLOWS_BOOT_H
#define HALLOWS_BOOT_H

#include <hallows/types.h>

/* ---- Bundle: the one boot module -------------------------------------------------------------
 * A bundle_header, then entry_count bundle_entries, then the data; every entry's data starts at a
 * multiple of PAGE_BYTES. Little-endian. Nothing in it is trusted before it is checked. */

#define BUNDLE_MAGIC 0x444e425357484c48ull /* "HLHWSBND" */
#define BUNDLE_VERSION 1u
#define BUNDLE_ENTRIES_MAX 64u
#define BUNDLE_NAME_BYTES 40u

enum bundle_kind {
    BUNDLE_INITIAL_CELL =
        1,              /* ELF64 of the initial cell; exactly one, the only one the kernel reads */
    BUNDLE_SYSTEM = 2,  /* compiled system description (hallows/system.h); exactly one */
    BUNDLE_CELL = 3,    /* ELF64 of a cell */
    BUNDLE_SYMBOLS = 4, /* symbol table of the cell of the same name (struct symbol_table) */
    BUNDLE_FILE = 5     /* anything a cell asks for by name */
};

struct bundle_header {
    uint64_t magic;
    uint32_t version;
    uint32_t entry_count;
    uint64_t total_bytes;
    uint32_t entries_crc32c; /* over the entry array */
    uint32_t reserved;       /* 0 */
};

struct bundle_entry {
    char name[BUNDLE_NAME_BYTES]; /* NUL-padded, at least one NUL */
    uint32_t kind;
    uint32_t crc32c; /* over the data */
    uint64_t offset; /* from the start of the bundle */
    uint64_t bytes;
};

/* Symbols for backtraces: `count` entries sorted by address, then the names, NUL-terminated. */
struct symbol_entry {
    uint64_t address;
    uint32_t name_offset; /* from the start of the names */
    uint32_t bytes;       /* size of the function, 0 if unknown */
};

struct symbol_table {
    uint32_t count;
    uint32_t names_bytes;
    /* struct symbol_entry entries[count]; char names[names_bytes]; */
};

/* ---- Boot information: one read-only page of the initial cell, address in rdi ---------------- */

#define BOOT_INFO_MAGIC 0x4f464e49544f4f42ull /* "BOOTINFO" */
#define BOOT_INFO_VERSION 1u
#define BOOT_UNTYPED_MAX 32u
#define BOOT_DEVICE_MEMORY_MAX 32u
#define BOOT_COMMAND_LINE_BYTES 256u

/* Slots of the initial cell's table; the rest up to table_slots is empty from first_free_slot. */
enum boot_slot {
    BOOT_SLOT_TABLE = 1,
    BOOT_SLOT_ASPACE = 2,
    BOOT_SLOT_THREAD = 3,
    BOOT_SLOT_IRQ_CONTROL = 4,
    BOOT_SLOT_IO_PORTS = 5, /* ports 0x400..0xffff; below are the kernel's and old devices' */
    BOOT_SLOT_SCHED_CONTROL = 6,
    BOOT_SLOT_IOSPACE = 7, /* device addresses are physical; empty with an IOMMU */
    BOOT_SLOT_CONSOLE = 8,
    BOOT_SLOT_RTC_PORTS = 9,      /* the PC's real-time clock: ports 0x70 and 0x71 */
    BOOT_SLOT_PCI_FUNCTIONS = 10, /* all functions; empty without an IOMMU */
    BOOT_SLOT_TRACE = 11,
    BOOT_SLOT_FIRST_DYNAMIC = 16 /* untyped memory, then device memory, then free slots */
};

struct boot_range {
    uint64_t base; /* physical */
    uint64_t bytes;
    uint32_t slot;
    uint32_t reserved;
};

/* Converts the TSC to system time: ns = (tsc - tsc_base) * tsc_mult >> 32 (128-bit product). */
struct time_calibration {
    uint64_t tsc_base;
    uint64_t tsc_mult;
    uint64_t tsc_hz;
};

enum boot_flags {
    BOOT_FLAG_IOMMU = 1u << 0,     /* DMA is confined; else driver cells are trusted */
    BOOT_FLAG_HYPERVISOR = 1u << 1 /* CPUID.1:ECX[31] */
};

struct boot_info {
    uint64_t magic;
    uint32_t version;
    uint32_t flags;
    struct time_calibration time;
    uint32_t table_slots;
    uint32_t first_free_slot;
    uint64_t bundle_address; /* where the initial cell sees the bundle, read-only */
    uint64_t bundle_bytes;
    uint64_t free_address; /* 2 MiB-aligned start of the address range the kernel left unused */
    uint32_t cpu_count;    /* CPUs that the firmware lists */
    uint32_t cpus_used;    /* CPUs that the kernel runs on */
    uint64_t ecam_base;    /* MCFG, segment 0; 0 if there is none */
    uint32_t ecam_first_bus;
    uint32_t ecam_last_bus;
    uint32_t acpi_pm1a_event_port; /* FADT; 0 if there is none */
    uint32_t acpi_pm1a_control_port;
    uint32_t acpi_sci_gsi;
    uint32_t acpi_s5_sleep_type; /* SLP_TYPa of \_S5, 0xffffffff if not found */
    uint64_t ram_bytes;
    uint32_t untyped_count;
    uint32_t device_memory_count;
    struct boot_range untyped[BOOT_UNTYPED_MAX];
    struct boot_range device_memory[BOOT_DEVICE_MEMORY_MAX];
    char command_line[BOOT_COMMAND_LINE_BYTES];
    uint64_t start_tsc; /* TSC at the kernel's first instructions */
};

_Static_assert(sizeof(struct boot_info) <= PAGE_BYTES, "boot_info fits its page");

#endif
