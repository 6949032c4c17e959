// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/bundle/bundle.h"

#include <stdlib.h>

#include "lib/base/crc32c.h"
#include "tests/check.h"

#define IMAGE_BYTES (3u * PAGE_BYTES)

struct image {
    union {
        struct {
            struct bundle_header header;
            struct bundle_entry entries[2];
        };
        uint8_t bytes[IMAGE_BYTES];
    };
};

static void seal(struct image *image)
{
    image->header.entries_crc32c = crc32c(0, image->entries, sizeof(image->entries));
}

static struct image *image_new(void)
{
    struct image *image = calloc(1, sizeof(*image));

    image->header.magic = BUNDLE_MAGIC;
    image->header.version = BUNDLE_VERSION;
    image->header.entry_count = 2;
    image->header.total_bytes = IMAGE_BYTES;
    strcpy(image->entries[0].name, "supervisor");
    image->entries[0].kind = BUNDLE_INITIAL_CELL;
    image->entries[0].offset = PAGE_BYTES;
    image->entries[0].bytes = 100;
    strcpy(image->entries[1].name, "system");
    image->entries[1].kind = BUNDLE_SYSTEM;
    image->entries[1].offset = 2u * PAGE_BYTES;
    image->entries[1].bytes = PAGE_BYTES;
    memset(image->bytes + PAGE_BYTES, 0x5a, 100);
    image->entries[0].crc32c = crc32c(0, image->bytes + PAGE_BYTES, 100);
    image->entries[1].crc32c = crc32c(0, image->bytes + 2u * PAGE_BYTES, PAGE_BYTES);
    seal(image);
    return image;
}

static status_t try_open(const struct image *image, uint64_t bytes, uint32_t *entry)
{
    struct bundle bundle;
    struct bundle_problem problem = {0};

    status_t status = bundle_open(&bundle, image, bytes, &problem);
    *entry = problem.entry;
    return status;
}

TEST(a_good_bundle_gives_its_entries)
{
    struct image *image = image_new();
    struct bundle bundle;
    struct bundle_problem problem;
    const void *data = NULL;

    CHECK_EQ(bundle_open(&bundle, image, IMAGE_BYTES, &problem), STATUS_OK);
    const struct bundle_entry *entry = bundle_find(&bundle, BUNDLE_INITIAL_CELL, NULL);
    CHECK(entry == &image->entries[0]);
    CHECK(bundle_find(&bundle, BUNDLE_SYSTEM, "system") == &image->entries[1]);
    CHECK(bundle_find(&bundle, BUNDLE_SYSTEM, "other") == NULL);
    CHECK(bundle_find(&bundle, BUNDLE_CELL, "system") == NULL);
    CHECK_EQ(bundle_read(&bundle, entry, &data), STATUS_OK);
    CHECK(data == image->bytes + PAGE_BYTES);
    image->bytes[PAGE_BYTES + 99u] ^= 1u;
    CHECK_EQ(bundle_read(&bundle, entry, &data), STATUS_CORRUPT);
    free(image);
}

TEST(wrong_headers_are_refused)
{
    struct image *image = image_new();
    uint32_t entry;

    CHECK_EQ(try_open(image, sizeof(image->header) - 1u, &entry), STATUS_CORRUPT);
    CHECK_EQ(try_open(image, IMAGE_BYTES - 1u, &entry), STATUS_CORRUPT);
    image->header.magic ^= 1u;
    CHECK_EQ(try_open(image, IMAGE_BYTES, &entry), STATUS_CORRUPT);
    image->header.magic ^= 1u;
    image->header.version = 2;
    CHECK_EQ(try_open(image, IMAGE_BYTES, &entry), STATUS_WRONG_VERSION);
    image->header.version = BUNDLE_VERSION;
    image->header.entry_count = BUNDLE_ENTRIES_MAX + 1u;
    CHECK_EQ(try_open(image, IMAGE_BYTES, &entry), STATUS_CORRUPT);
    image->header.entry_count = 0;
    CHECK_EQ(try_open(image, IMAGE_BYTES, &entry), STATUS_CORRUPT);
    image->header.entry_count = 2;
    image->header.total_bytes = sizeof(image->header);
    CHECK_EQ(try_open(image, IMAGE_BYTES, &entry), STATUS_CORRUPT);
    image->header.total_bytes = IMAGE_BYTES;
    image->entries[1].name[0] ^= 1;
    CHECK_EQ(try_open(image, IMAGE_BYTES, &entry), STATUS_CORRUPT);
    CHECK_EQ(entry, BUNDLE_ENTRIES_MAX);
    free(image);
}

TEST(wrong_entries_are_named)
{
    for (uint32_t fault = 0; fault < 7u; fault++) {
        struct image *image = image_new();
        struct bundle_entry *e = &image->entries[1];
        uint32_t entry;
        switch (fault) {
        case 0:
            memset(e->name, 'x', sizeof(e->name));
            break;
        case 1:
            e->name[0] = '\0';
            break;
        case 2:
            e->kind = 0;
            break;
        case 3:
            e->kind = 6;
            break;
        case 4:
            e->offset = 0;
            break;
        case 5:
            e->offset = UINT64_MAX - PAGE_BYTES + 1u;
            break;
        default:
            e->bytes = UINT64_MAX;
            break;
        }
        seal(image);
        CHECK_EQ(try_open(image, IMAGE_BYTES, &entry), STATUS_CORRUPT);
        CHECK_EQ(entry, 1);
        free(image);
    }
}

TEST(random_damage_never_reads_outside)
{
    srand(1);
    for (uint32_t round = 0; round < 20000u; round++) {
        struct image *image = image_new();
        for (uint32_t i = 0; i < 3u; i++) {
            image->bytes[(size_t)rand() % (sizeof(image->header) + sizeof(image->entries))] =
                (uint8_t)rand();
        }
        if (rand() % 2 == 0) {
            seal(image);
        }
        struct bundle bundle;
        struct bundle_problem problem;
        if (bundle_open(&bundle, image, IMAGE_BYTES, &problem) == STATUS_OK) {
            for (uint32_t i = 0; i < bundle.entry_count; i++) {
                const void *data;
                (void)bundle_find(&bundle, BUNDLE_FILE, bundle.entries[i].name);
                (void)!bundle_read(&bundle, &bundle.entries[i], &data);
            }
        } else {
            CHECK(problem.what != NULL);
        }
        free(image);
    }
}

struct symbol_image {
    struct symbol_table table;
    struct symbol_entry entries[3];
    char names[16];
};

TEST(symbols_name_functions_and_gaps)
{
    struct symbol_image image = {
        .table = {3, 16},
        .entries = {{0x1000, 0, 0x20}, {0x1040, 4, 0}, {0x1080, 99, 0x10}},
        .names = "one\0two\0",
    };
    struct symbols symbols;
    uint64_t offset = 0;

    CHECK_EQ(symbols_open(&symbols, &image, sizeof(image)), STATUS_OK);
    CHECK(symbols_find(&symbols, 0xfff, &offset) == NULL);
    CHECK_TEXT(symbols_find(&symbols, 0x1005, &offset), "one");
    CHECK_EQ(offset, 5);
    CHECK(symbols_find(&symbols, 0x1020, &offset) == NULL);
    CHECK_TEXT(symbols_find(&symbols, 0x1050, &offset), "two");
    CHECK(symbols_find(&symbols, 0x1085, &offset) == NULL);
    CHECK_EQ(symbols_open(&symbols, &image, sizeof(image) - 1u), STATUS_CORRUPT);
    image.names[15] = 'x';
    CHECK_EQ(symbols_open(&symbols, &image, sizeof(image)), STATUS_CORRUPT);
    image.table.count = UINT32_MAX;
    CHECK_EQ(symbols_open(&symbols, &image, sizeof(image)), STATUS_CORRUPT);
    CHECK_EQ(symbols_open(&symbols, &image, 7), STATUS_CORRUPT);
}
