// SPDX-License-Identifier: MIT OR Apache-2.0
/* A boot module that holds anything. The checksums are repaired, so that the fuzzer gets past
 * them. */
#include "lib/base/crc32c.h"
#include "lib/bundle/bundle.h"
#include "tests/fuzz.h"

static void repair(uint8_t *data, size_t bytes)
{
    struct bundle_header header;

    if (bytes < sizeof(header)) {
        return;
    }
    memcpy(&header, data, sizeof(header));
    header.magic = BUNDLE_MAGIC;
    header.version = BUNDLE_VERSION;
    header.total_bytes = header.total_bytes % 2u == 0 ? bytes : header.total_bytes;
    uint64_t entries = (uint64_t)(header.entry_count % 64u) * sizeof(struct bundle_entry);
    if (entries <= bytes - sizeof(header)) {
        header.entries_crc32c = crc32c(0, data + sizeof(header), entries);
    }
    memcpy(data, &header, sizeof(header));
}

static void read_symbols(const void *data, uint64_t bytes)
{
    struct symbols symbols;
    uint64_t offset;

    if (symbols_open(&symbols, data, bytes) == STATUS_OK) {
        for (uint64_t address = 0; address < 0x10000u; address += 0xfffu) {
            const char *name = symbols_find(&symbols, address, &offset);
            VERIFY(name == NULL || fuzz_within(name, strlen(name) + 1u, data, bytes));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = fuzz_copy(data, bytes, 0);
    struct bundle bundle;
    struct bundle_problem problem = {0};

    repair(copy, bytes);
    if (bundle_open(&bundle, copy, bytes, &problem) == STATUS_OK) {
        VERIFY(bundle.entry_count <= BUNDLE_ENTRIES_MAX);
        for (uint32_t n = 0; n < bundle.entry_count; n++) {
            const struct bundle_entry *entry = &bundle.entries[n];
            const void *body;
            VERIFY(memchr(entry->name, 0, BUNDLE_NAME_BYTES) != NULL);
            VERIFY(bundle_find(&bundle, (enum bundle_kind)entry->kind, entry->name) != NULL);
            if (bundle_read(&bundle, entry, &body) == STATUS_OK) {
                VERIFY(fuzz_within(body, entry->bytes, copy, bytes));
            }
        }
    } else {
        VERIFY(problem.what != NULL);
    }
    read_symbols(copy, bytes);
    free(copy);
    return 0;
}
