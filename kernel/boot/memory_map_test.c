// SPDX-License-Identifier: MIT OR Apache-2.0
#include <stdlib.h>

#include "kernel/boot/parameters.h"
#include "tests/check.h"

#define PAGES 512u

static uint64_t pages_of(const struct memory_map *map)
{
    uint64_t pages = 0;
    for (uint32_t i = 0; i < map->count; i++)
        pages += map->range[i].bytes / PAGE_BYTES;
    return pages;
}

TEST(ranges_shrink_to_whole_pages)
{
    struct memory_map map = {0};
    CHECK_EQ(memory_map_add(&map, 0x1234, 0x3000), STATUS_OK);
    CHECK_EQ(map.count, 1);
    CHECK_EQ(map.range[0].base, 0x2000);
    CHECK_EQ(map.range[0].bytes, 0x2000);
    CHECK_EQ(memory_map_add(&map, 0x9001, 0xffe), STATUS_OK);
    CHECK_EQ(map.count, 1);
}

TEST(touching_and_overlapping_ranges_join)
{
    struct memory_map map = {0};
    CHECK_EQ(memory_map_add(&map, 0x8000, 0x1000), STATUS_OK);
    CHECK_EQ(memory_map_add(&map, 0x1000, 0x1000), STATUS_OK);
    CHECK_EQ(memory_map_add(&map, 0x2000, 0x1000), STATUS_OK);
    CHECK_EQ(map.count, 2);
    CHECK_EQ(memory_map_add(&map, 0x0, 0x10000), STATUS_OK);
    CHECK_EQ(map.count, 1);
    CHECK_EQ(pages_of(&map), 16);
}

TEST(removal_grows_to_whole_pages)
{
    struct memory_map map = {0};
    CHECK_EQ(memory_map_add(&map, 0, 0x10000), STATUS_OK);
    CHECK_EQ(memory_map_remove(&map, 0x4fff, 2), STATUS_OK);
    CHECK_EQ(map.count, 2);
    CHECK_EQ(map.range[0].bytes, 0x4000);
    CHECK_EQ(map.range[1].base, 0x6000);
    CHECK_EQ(memory_map_remove(&map, 0, 0), STATUS_OK);
    CHECK_EQ(pages_of(&map), 14);
}

TEST(addresses_at_the_end_do_not_wrap)
{
    struct memory_map map = {0};
    CHECK_EQ(memory_map_add(&map, UINT64_MAX - 100, 1000), STATUS_OK);
    CHECK_EQ(memory_map_add(&map, UINT64_MAX - 0x5000, UINT64_MAX), STATUS_OK);
    CHECK(pages_of(&map) <= 6);
    CHECK_EQ(memory_map_remove(&map, UINT64_MAX - 0x2000, UINT64_MAX), STATUS_OK);
    CHECK_EQ(memory_map_remove(&map, 0, UINT64_MAX), STATUS_OK);
    CHECK_EQ(map.count, 0);
}

TEST(a_full_map_says_so_and_stays)
{
    struct memory_map map = {0};
    for (uint32_t i = 0; i < BOOT_MEMORY_RANGES_MAX; i++)
        CHECK_EQ(memory_map_add(&map, i * 0x10000ull, 0x3000), STATUS_OK);
    struct memory_map before = map;
    CHECK_EQ(memory_map_add(&map, 0x8000, 0x1000), STATUS_NO_MEMORY);
    CHECK_EQ(memory_map_remove(&map, 0x1000, 0x1000), STATUS_NO_MEMORY);
    CHECK_EQ(memcmp(&map, &before, sizeof map), 0);
    CHECK_EQ(memory_map_remove(&map, 0x2000, 0x1000), STATUS_OK);
}

/* Against a plain array of pages. */
TEST(random_operations_agree_with_a_bitmap)
{
    srand(7);
    for (uint32_t round = 0; round < 200; round++) {
        struct memory_map map = {0};
        bool model[PAGES] = {false};
        for (uint32_t step = 0; step < 40; step++) {
            uint64_t first = (uint64_t)rand() % PAGES;
            uint64_t count = (uint64_t)rand() % (PAGES - first);
            bool add = rand() % 2 == 0;
            CHECK_EQ(add ? memory_map_add(&map, first * PAGE_BYTES, count * PAGE_BYTES)
                         : memory_map_remove(&map, first * PAGE_BYTES, count * PAGE_BYTES),
                     STATUS_OK);
            for (uint64_t i = first; i < first + count; i++)
                model[i] = add;
        }
        uint64_t end = 0;
        uint32_t pages = 0;
        for (uint32_t i = 0; i < map.count; i++) {
            CHECK(i == 0 || map.range[i].base > end);
            CHECK(map.range[i].bytes > 0);
            end = map.range[i].base + map.range[i].bytes;
            for (uint64_t at = map.range[i].base; at < end; at += PAGE_BYTES, pages++)
                CHECK(model[at / PAGE_BYTES]);
        }
        uint64_t first = (uint64_t)rand() % PAGES;
        bool all = true;
        for (uint64_t i = first; i < first + 3; i++)
            all = all && i < PAGES && model[i];
        CHECK_EQ(memory_map_holds(&map, first * PAGE_BYTES, 3 * PAGE_BYTES), all);
        for (uint32_t i = 0; i < PAGES; i++)
            pages -= model[i];
        CHECK_EQ(pages, 0);
    }
}
