// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/block/media_fake.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/assert.h"

void media_fake_init(struct media_fake *media, uint64_t block_count, uint32_t block_bytes,
                     uint32_t zone_blocks, uint32_t zone_capacity)
{
    memset(media, 0, sizeof *media);
    media->block_count = block_count;
    media->block_bytes = block_bytes;
    media->current = calloc(block_count, block_bytes);
    media->durable = calloc(block_count, block_bytes);
    media->dirty = calloc(block_count, 1);
    media->dirty_list = calloc(block_count, sizeof *media->dirty_list);
    media->random = 88172645463325252ull;
    VERIFY(media->current && media->durable && media->dirty && media->dirty_list);
    if (zone_blocks != 0) {
        media->zone_blocks = zone_blocks;
        media->zone_count = (uint32_t)(block_count / zone_blocks);
        media->zones = calloc(media->zone_count, sizeof *media->zones);
        VERIFY(media->zones != NULL);
        for (uint32_t i = 0; i < media->zone_count; i++) {
            media->zones[i].capacity = zone_capacity;
        }
    }
}

void media_fake_free(struct media_fake *media)
{
    free(media->current);
    free(media->durable);
    free(media->dirty);
    free(media->dirty_list);
    free(media->zones);
    memset(media, 0, sizeof *media);
}

uint64_t media_random(struct media_fake *media)
{
    uint64_t x = media->random; /* xorshift64, Marsaglia 2003 */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    media->random = x;
    return x * 2685821657736338717ull;
}

static bool in_range(const struct media_fake *media, uint64_t block, uint32_t blocks)
{
    return blocks != 0 && block < media->block_count && blocks <= media->block_count - block;
}

static struct media_zone *zone_of(struct media_fake *media, uint64_t block)
{
    uint64_t index = block / media->zone_blocks;
    return index < media->zone_count ? &media->zones[index] : NULL;
}

static void mark_dirty(struct media_fake *media, uint64_t block)
{
    if (!media->dirty[block]) {
        media->dirty[block] = 1;
        media->dirty_list[media->dirty_count++] = block;
    }
}

static void settle(struct media_fake *media, uint64_t block)
{
    size_t at = (size_t)block * media->block_bytes;
    memcpy(media->durable + at, media->current + at, media->block_bytes);
}

static void store(struct media_fake *media, uint64_t block, uint32_t blocks, const void *data,
                  bool fua)
{
    size_t at = (size_t)block * media->block_bytes;
    size_t bytes = (size_t)blocks * media->block_bytes;

    if (data == NULL) {
        memset(media->current + at, 0, bytes);
    } else {
        memcpy(media->current + at, data, bytes);
    }
    for (uint32_t i = 0; i < blocks; i++) {
        mark_dirty(media, block + i);
        if (fua) {
            settle(media, block + i);
        }
    }
}

static bool is_full(const struct media_zone *zone)
{
    return zone->finished || zone->written == zone->capacity;
}

static bool is_active(const struct media_zone *zone)
{
    return zone->open || (zone->written != 0 && !is_full(zone));
}

/* Whether one more zone may be open, and active if it is not yet. A write that needs room closes
 * another one that is open (implicitly: media does not tell them apart, nor do drives promise to).
 */
static enum media_error make_room(struct media_fake *media, const struct media_zone *zone,
                                  bool implicitly)
{
    uint32_t active = 0, open = 0;
    struct media_zone *victim = NULL;

    for (uint32_t i = 0; i < media->zone_count; i++) {
        struct media_zone *other = &media->zones[i];
        active += is_active(other);
        open += other->open;
        victim = other->open && other != zone ? other : victim;
    }
    if (media->max_active != 0 && !is_active(zone) && active >= media->max_active) {
        return MEDIA_TOO_MANY_ACTIVE;
    }
    if (media->max_open != 0 && !zone->open && open >= media->max_open) {
        if (!implicitly || victim == NULL || victim->written == 0) {
            return MEDIA_TOO_MANY_OPEN;
        }
        victim->open = false;
    }
    return MEDIA_OK;
}

static enum media_error zone_usable(const struct media_zone *zone)
{
    return zone->offline ? MEDIA_OFFLINE : zone->read_only ? MEDIA_READ_ONLY : MEDIA_OK;
}

enum media_error media_read(struct media_fake *media, uint64_t block, uint32_t blocks, void *data)
{
    if (!in_range(media, block, blocks)) {
        return MEDIA_RANGE;
    }
    if (media->zones != NULL && zone_of(media, block)->offline) {
        return MEDIA_OFFLINE;
    }
    memcpy(data, media->current + (size_t)block * media->block_bytes,
           (size_t)blocks * media->block_bytes);
    return MEDIA_OK;
}

enum media_error media_write(struct media_fake *media, uint64_t block, uint32_t blocks,
                             const void *data, bool fua)
{
    if (!in_range(media, block, blocks)) {
        return MEDIA_RANGE;
    }
    if (media->zones != NULL) {
        struct media_zone *zone = zone_of(media, block);
        uint64_t offset = block % media->zone_blocks;
        if (zone == NULL) {
            return MEDIA_INVALID;
        }
        if (zone_usable(zone) != MEDIA_OK) {
            return zone_usable(zone);
        }
        if (is_full(zone)) {
            return MEDIA_FULL;
        }
        if (offset != zone->written) {
            return MEDIA_INVALID;
        }
        if (blocks > zone->capacity - offset) {
            return MEDIA_BOUNDARY;
        }
        enum media_error room = make_room(media, zone, true);
        if (room != MEDIA_OK) {
            return room;
        }
        zone->written += blocks;
        zone->open = zone->written != zone->capacity;
        if (fua && zone->durable_written < zone->written) {
            /* A durable block implies those before it in the zone: the pointer only grows. */
            for (uint64_t i = zone->durable_written; i < zone->written - blocks; i++) {
                settle(media, block - offset + i);
            }
            zone->durable_written = zone->written;
        }
    }
    store(media, block, blocks, data, fua);
    return MEDIA_OK;
}

enum media_error media_append(struct media_fake *media, uint64_t zone_block, uint32_t blocks,
                              const void *data, bool fua, uint64_t *where)
{
    if (media->zones == NULL || zone_block % media->zone_blocks != 0 ||
        zone_block >= media->block_count) {
        return MEDIA_INVALID;
    }
    struct media_zone *zone = zone_of(media, zone_block);
    if (zone == NULL) {
        return MEDIA_INVALID;
    }
    *where = zone_block + zone->written;
    return media_write(media, *where, blocks, data, fua);
}

enum media_error media_zone_reset(struct media_fake *media, uint64_t zone_block)
{
    if (media->zones == NULL || zone_block % media->zone_blocks != 0 ||
        zone_of(media, zone_block) == NULL) {
        return MEDIA_INVALID;
    }
    struct media_zone *zone = zone_of(media, zone_block);
    if (zone_usable(zone) != MEDIA_OK) {
        return zone_usable(zone);
    }
    zone->written = 0;
    zone->durable_written = 0;
    zone->open = false;
    zone->finished = false;
    memset(media->current + (size_t)zone_block * media->block_bytes, 0,
           (size_t)media->zone_blocks * media->block_bytes);
    memset(media->durable + (size_t)zone_block * media->block_bytes, 0,
           (size_t)media->zone_blocks * media->block_bytes);
    return MEDIA_OK;
}

enum media_error media_zone_finish(struct media_fake *media, uint64_t zone_block)
{
    if (media->zones == NULL || zone_block % media->zone_blocks != 0 ||
        zone_of(media, zone_block) == NULL) {
        return MEDIA_INVALID;
    }
    struct media_zone *zone = zone_of(media, zone_block);
    if (zone_usable(zone) != MEDIA_OK) {
        return zone_usable(zone);
    }
    zone->finished = true;
    zone->open = false;
    return MEDIA_OK;
}

enum media_error media_zone_open(struct media_fake *media, uint64_t zone_block)
{
    if (media->zones == NULL || zone_block % media->zone_blocks != 0 ||
        zone_of(media, zone_block) == NULL) {
        return MEDIA_INVALID;
    }
    struct media_zone *zone = zone_of(media, zone_block);
    enum media_error error = zone_usable(zone);
    error = error == MEDIA_OK && is_full(zone) ? MEDIA_FULL : error;
    error = error == MEDIA_OK ? make_room(media, zone, false) : error;
    zone->open = zone->open || error == MEDIA_OK;
    return error;
}

enum media_error media_zone_close(struct media_fake *media, uint64_t zone_block)
{
    if (media->zones == NULL || zone_block % media->zone_blocks != 0 ||
        zone_of(media, zone_block) == NULL) {
        return MEDIA_INVALID;
    }
    zone_of(media, zone_block)->open = false;
    return MEDIA_OK;
}

void media_flush(struct media_fake *media)
{
    for (uint64_t i = 0; i < media->dirty_count; i++) {
        settle(media, media->dirty_list[i]);
        media->dirty[media->dirty_list[i]] = 0;
    }
    media->dirty_count = 0;
    for (uint32_t i = 0; i < media->zone_count; i++) {
        media->zones[i].durable_written = media->zones[i].written;
    }
}

/* A zone keeps its durable blocks and some of those behind; what lies before the write pointer is
 * there. */
static void cut_zones(struct media_fake *media)
{
    for (uint32_t i = 0; i < media->zone_count; i++) {
        struct media_zone *zone = &media->zones[i];
        uint64_t loose = zone->written - zone->durable_written;
        if (loose != 0) {
            zone->written = zone->durable_written + media_random(media) % (loose + 1u);
        }
        for (uint64_t k = zone->durable_written; k < zone->written; k++) {
            settle(media, (uint64_t)i * media->zone_blocks + k);
        }
        zone->durable_written = zone->written;
        zone->open = false;
    }
}

void media_cut(struct media_fake *media)
{
    uint64_t mode = media_random(media) % 4u; /* all lost, all kept, or a mixture */

    cut_zones(media);
    for (uint64_t i = 0; i < media->dirty_count; i++) {
        uint64_t block = media->dirty_list[i];
        size_t at = (size_t)block * media->block_bytes;
        bool keep = mode == 0 ? false : mode == 1 ? true : (media_random(media) & 1u) != 0;
        if (keep && media->zones == NULL) {
            memcpy(media->durable + at, media->current + at, media->block_bytes);
        } else {
            memcpy(media->current + at, media->durable + at, media->block_bytes);
        }
        media->dirty[block] = 0;
    }
    media->dirty_count = 0;
}

void media_tear(struct media_fake *media, uint64_t block, uint32_t blocks, const void *data)
{
    if (media->zones != NULL) {
        uint32_t some = (uint32_t)(media_random(media) % (blocks + 1u));
        if (some != 0) {
            (void)media_write(media, block, some, data, false);
        }
        return;
    }
    for (uint32_t i = 0; in_range(media, block, blocks) && i < blocks; i++) {
        if ((media_random(media) & 1u) != 0) {
            store(media, block + i, 1,
                  data == NULL ? NULL : (const uint8_t *)data + (size_t)i * media->block_bytes,
                  false);
        }
    }
}

void media_forget_zones(struct media_fake *media)
{
    for (uint32_t i = 0; i < media->zone_count; i++) {
        media->zones[i] = (struct media_zone){.capacity = media->zones[i].capacity};
    }
}

void media_put(struct media_fake *media, uint64_t block, uint32_t blocks, const void *data,
               bool fua)
{
    if (!in_range(media, block, blocks)) {
        return;
    }
    if (media->zones != NULL) {
        struct media_zone *zone = zone_of(media, block);
        uint64_t offset = block % media->zone_blocks;
        if (offset >= zone->capacity) {
            return;
        }
        blocks = blocks < zone->capacity - offset ? blocks : (uint32_t)(zone->capacity - offset);
        uint64_t end = offset + blocks;
        zone->written = zone->written < end ? end : zone->written;
        zone->open = zone->written != zone->capacity;
    }
    store(media, block, blocks, data, fua);
    if (media->zones != NULL && fua) {
        struct media_zone *zone = zone_of(media, block);
        uint64_t first = block - block % media->zone_blocks;
        for (uint64_t i = zone->durable_written; i < zone->written; i++) {
            settle(media, first + i);
        }
        zone->durable_written = zone->written;
    }
}

void media_copy(struct media_fake *to, const struct media_fake *from)
{
    size_t bytes = (size_t)from->block_count * from->block_bytes;

    VERIFY(to->block_count == from->block_count && to->block_bytes == from->block_bytes &&
           to->zone_count == from->zone_count);
    memcpy(to->current, from->current, bytes);
    memcpy(to->durable, from->durable, bytes);
    memcpy(to->dirty, from->dirty, from->block_count);
    memcpy(to->dirty_list, from->dirty_list, from->dirty_count * sizeof *from->dirty_list);
    to->dirty_count = from->dirty_count;
    if (from->zones != NULL) {
        memcpy(to->zones, from->zones, from->zone_count * sizeof *from->zones);
    }
}

void media_settle(struct media_fake *media, uint64_t block, uint32_t blocks)
{
    if (media->zones != NULL) {
        struct media_zone *zone = zone_of(media, block);
        uint64_t offset = block % media->zone_blocks;
        uint64_t end = offset + blocks;
        if (zone == NULL || zone->durable_written >= end) {
            return;
        }
        blocks = (uint32_t)(end - zone->durable_written);
        block = block - offset + zone->durable_written;
        zone->durable_written = end;
    }
    for (uint32_t i = 0; i < blocks; i++) {
        settle(media, block + i);
    }
}
