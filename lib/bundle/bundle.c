// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/bundle/bundle.h"

#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"

static status_t entry_check(const struct bundle_entry *entry, uint64_t data_start, uint64_t bytes,
                            const char **what)
{
    *what = NULL;
    if (entry->name[0] == '\0' || memchr(entry->name, '\0', BUNDLE_NAME_BYTES) == NULL) {
        *what = "the name is empty or has no end";
    } else if (entry->kind < BUNDLE_INITIAL_CELL || entry->kind > BUNDLE_FILE) {
        *what = "the kind is unknown";
    } else if (entry->offset % PAGE_BYTES != 0 || entry->offset < data_start) {
        *what = "the data does not start on a page behind the tables";
    } else if (entry->offset > bytes || entry->bytes > bytes - entry->offset) {
        *what = "the data reaches beyond the end";
    }
    return *what == NULL ? STATUS_OK : STATUS_CORRUPT;
}

static status_t header_check(const struct bundle_header *header, uint64_t bytes, const char **what)
{
    *what = NULL;
    if (header->magic != BUNDLE_MAGIC) {
        *what = "it does not start with the magic number";
        return STATUS_CORRUPT;
    }
    if (header->version != BUNDLE_VERSION) {
        *what = "it is of another version";
        return STATUS_WRONG_VERSION;
    }
    if (header->entry_count == 0 || header->entry_count > BUNDLE_ENTRIES_MAX) {
        *what = "the number of entries is out of range";
    } else if (header->total_bytes > bytes) {
        *what = "it is cut off";
    } else if (header->total_bytes <
               sizeof(*header) + header->entry_count * sizeof(struct bundle_entry)) {
        *what = "its size is smaller than its tables";
    }
    return *what == NULL ? STATUS_OK : STATUS_CORRUPT;
}

status_t bundle_open(struct bundle *bundle, const void *base, uint64_t bytes,
                     struct bundle_problem *problem)
{
    const struct bundle_header *header = base;

    *problem = (struct bundle_problem){"it is shorter than its header", BUNDLE_ENTRIES_MAX};
    if (bytes < sizeof(*header)) {
        return STATUS_CORRUPT;
    }
    status_t status = header_check(header, bytes, &problem->what);
    if (status != STATUS_OK) {
        return status;
    }
    const struct bundle_entry *entries = (const struct bundle_entry *)(header + 1);
    uint64_t tables = header->entry_count * sizeof(*entries);
    if (crc32c(0, entries, tables) != header->entries_crc32c) {
        problem->what = "the table of entries fails its checksum";
        return STATUS_CORRUPT;
    }
    for (uint32_t i = 0; i < header->entry_count; i++) {
        status =
            entry_check(&entries[i], sizeof(*header) + tables, header->total_bytes, &problem->what);
        if (status != STATUS_OK) {
            problem->entry = i;
            return status;
        }
    }
    *bundle = (struct bundle){base, entries, header->entry_count};
    return STATUS_OK;
}

const struct bundle_entry *bundle_find(const struct bundle *bundle, enum bundle_kind kind,
                                       const char *name)
{
    for (uint32_t i = 0; i < bundle->entry_count; i++) {
        const struct bundle_entry *entry = &bundle->entries[i];
        if (entry->kind == (uint32_t)kind && (name == NULL || strcmp(entry->name, name) == 0)) {
            return entry;
        }
    }
    return NULL;
}

status_t bundle_read(const struct bundle *bundle, const struct bundle_entry *entry,
                     const void **data)
{
    const uint8_t *at = bundle->base + entry->offset;

    if (crc32c(0, at, entry->bytes) != entry->crc32c) {
        return STATUS_CORRUPT;
    }
    *data = at;
    return STATUS_OK;
}

status_t symbols_open(struct symbols *symbols, const void *data, uint64_t bytes)
{
    const struct symbol_table *table = data;

    if (bytes < sizeof(*table)) {
        return STATUS_CORRUPT;
    }
    uint64_t entry_bytes = (uint64_t)table->count * sizeof(struct symbol_entry);
    if (entry_bytes > bytes - sizeof(*table) ||
        table->names_bytes > bytes - sizeof(*table) - entry_bytes) {
        return STATUS_CORRUPT;
    }
    const struct symbol_entry *entries = (const struct symbol_entry *)(table + 1);
    const char *names = (const char *)(entries + table->count);
    if (table->names_bytes == 0 || names[table->names_bytes - 1u] != '\0') {
        return STATUS_CORRUPT;
    }
    *symbols = (struct symbols){entries, names, table->count, table->names_bytes};
    return STATUS_OK;
}

const char *symbols_find(const struct symbols *symbols, uint64_t address, uint64_t *offset)
{
    uint32_t low = 0;
    uint32_t high = symbols->count;

    /* The last entry at or below the address. */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2u;
        if (symbols->entries[middle].address <= address) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return NULL;
    }
    const struct symbol_entry *entry = &symbols->entries[low - 1u];
    *offset = address - entry->address;
    if ((entry->bytes != 0 && *offset >= entry->bytes) ||
        entry->name_offset >= symbols->names_bytes) {
        return NULL;
    }
    return symbols->names + entry->name_offset;
}
