// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Checked reader of the bundle (hallows/boot.h). bundle_open checks the header and every entry's
 * fields; bundle_read checks an entry's data against its CRC. The bundle's memory stays the
 * caller's, must not change, and lies at a multiple of 8.
 */
#ifndef LIB_BUNDLE_BUNDLE_H
#define LIB_BUNDLE_BUNDLE_H

#include <hallows/boot.h>
#include <hallows/status.h>

struct bundle {
    const uint8_t *base;
    const struct bundle_entry *entries;
    uint32_t entry_count;
};

/* What is wrong, for a message to people. */
struct bundle_problem {
    const char *what;
    uint32_t entry; /* BUNDLE_ENTRIES_MAX when it is not about one entry */
};

/* CORRUPT: not a bundle, or its tables are wrong; WRONG_VERSION. *problem says more. */
status_t bundle_open(struct bundle *bundle, const void *base, uint64_t bytes,
                     struct bundle_problem *problem) HALLOWS_MUST_CHECK;
/* The entry of that kind and name (NULL: any name); NULL if there is none. */
const struct bundle_entry *bundle_find(const struct bundle *bundle, enum bundle_kind kind,
                                       const char *name);
/* The entry's data, at a multiple of PAGE_BYTES from the bundle's start. CORRUPT: its CRC is wrong.
 * Work: proportional to the entry's size. */
status_t bundle_read(const struct bundle *bundle, const struct bundle_entry *entry,
                     const void **data) HALLOWS_MUST_CHECK;

/* ---- Symbol tables -------------------------------------------------------------------------- */

struct symbols {
    const struct symbol_entry *entries;
    const char *names;
    uint32_t count;
    uint32_t names_bytes;
};

/* CORRUPT: counts do not fit the size, or the names do not end with a NUL. */
status_t symbols_open(struct symbols *symbols, const void *data, uint64_t bytes) HALLOWS_MUST_CHECK;
/* The function that holds `address`, with the offset into it; NULL if none does. Works on any
 * contents, sorted or not. */
const char *symbols_find(const struct symbols *symbols, uint64_t address, uint64_t *offset);

#endif
