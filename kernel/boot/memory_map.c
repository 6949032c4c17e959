// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/boot/parameters.h"
#include "lib/base/bytes.h"

#define PAGE_MASK ((uint64_t)PAGE_BYTES - 1)

static void drop(struct memory_map *map, uint32_t index)
{
    memmove(&map->range[index], &map->range[index + 1],
            (map->count - index - 1) * sizeof map->range[0]);
    map->count--;
}

bool memory_map_holds(const struct memory_map *map, uint64_t base, uint64_t bytes)
{
    for (uint32_t i = 0; i < map->count; i++)
        if (base - map->range[i].base <= map->range[i].bytes &&
            bytes <= map->range[i].bytes - (base - map->range[i].base))
            return true;
    return false;
}

status_t memory_map_remove(struct memory_map *map, uint64_t base, uint64_t bytes)
{
    if (bytes == 0)
        return STATUS_OK;
    uint64_t end = base + bytes < base ? ~PAGE_MASK : base + bytes;
    end = end > ~PAGE_MASK ? ~PAGE_MASK : (end + PAGE_MASK) & ~PAGE_MASK;
    base &= ~PAGE_MASK;

    /* At most one range is split, and then no other is touched: check before the first write. */
    for (uint32_t i = 0; i < map->count; i++) {
        uint64_t range_end = map->range[i].base + map->range[i].bytes;
        if (map->range[i].base < base && range_end > end && map->count == BOOT_MEMORY_RANGES_MAX)
            return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < map->count;) {
        uint64_t range_base = map->range[i].base;
        uint64_t range_end = range_base + map->range[i].bytes;
        if (range_end <= base || range_base >= end) {
            i++;
        } else if (range_base < base && range_end > end) {
            memmove(&map->range[i + 1], &map->range[i], (map->count - i) * sizeof map->range[0]);
            map->count++;
            map->range[i].bytes = base - range_base;
            map->range[i + 1].base = end;
            map->range[i + 1].bytes = range_end - end;
            i += 2;
        } else if (range_base < base) {
            map->range[i++].bytes = base - range_base;
        } else if (range_end > end) {
            map->range[i].base = end;
            map->range[i++].bytes = range_end - end;
        } else {
            drop(map, i);
        }
    }
    return STATUS_OK;
}

status_t memory_map_add(struct memory_map *map, uint64_t base, uint64_t bytes)
{
    if (base > ~PAGE_MASK - PAGE_BYTES)
        return STATUS_OK;
    uint64_t end = base + bytes < base ? ~PAGE_MASK : base + bytes;
    base = (base + PAGE_MASK) & ~PAGE_MASK;
    end &= ~PAGE_MASK;
    if (base >= end)
        return STATUS_OK;

    /* Swallow what it overlaps or touches, then enter one range. */
    for (uint32_t i = 0; i < map->count;) {
        uint64_t range_end = map->range[i].base + map->range[i].bytes;
        if (range_end < base || map->range[i].base > end) {
            i++;
            continue;
        }
        base = map->range[i].base < base ? map->range[i].base : base;
        end = range_end > end ? range_end : end;
        drop(map, i);
        i = 0;
    }
    if (map->count == BOOT_MEMORY_RANGES_MAX)
        return STATUS_NO_MEMORY;
    uint32_t at = 0;
    while (at < map->count && map->range[at].base < base)
        at++;
    memmove(&map->range[at + 1], &map->range[at], (map->count - at) * sizeof map->range[0]);
    map->range[at].base = base;
    map->range[at].bytes = end - base;
    map->count++;
    return STATUS_OK;
}
