// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Tests only: a drive's media with a volatile write cache and, if wanted, zones. What a read sees
 * (`current`) and what power loss leaves (`durable`) are kept apart, block by block: a cut keeps or
 * reverts each block that was not made durable, at random, so writes tear and change order.
 */
#ifndef LIB_BLOCK_MEDIA_FAKE_H
#define LIB_BLOCK_MEDIA_FAKE_H

#include <hallows/types.h>

struct media_zone {
    uint64_t written;         /* blocks */
    uint64_t durable_written; /* that power loss cannot take back */
    uint64_t capacity;
    bool open;
    bool finished;
    bool read_only, offline; /* set by a test */
};

struct media_fake {
    uint8_t *current;
    uint8_t *durable;
    uint8_t *dirty; /* a byte a block */
    uint64_t *dirty_list;
    uint64_t dirty_count;
    uint64_t block_count;
    uint32_t block_bytes;
    uint32_t zone_blocks; /* 0: plain */
    uint32_t zone_count;
    struct media_zone *zones;
    uint32_t max_active, max_open; /* zones; 0: no limit */
    uint64_t random;               /* state of media_random */
};

enum media_error {
    MEDIA_OK = 0,
    MEDIA_RANGE,    /* outside the drive */
    MEDIA_BOUNDARY, /* crosses a zone's end */
    MEDIA_FULL,     /* zone is full */
    MEDIA_INVALID,  /* not at the write pointer, not a zone */
    MEDIA_READ_ONLY,
    MEDIA_OFFLINE,
    MEDIA_TOO_MANY_ACTIVE,
    MEDIA_TOO_MANY_OPEN
};

/* Memory comes from the C library. zone_blocks 0: plain; else capacity of each zone. */
void media_fake_init(struct media_fake *media, uint64_t block_count, uint32_t block_bytes,
                     uint32_t zone_blocks, uint32_t zone_capacity);
void media_fake_free(struct media_fake *media);
uint64_t media_random(struct media_fake *media);

enum media_error media_read(struct media_fake *media, uint64_t block, uint32_t blocks, void *data);
/* data NULL: zeroes. On a zoned drive only at the write pointer. */
enum media_error media_write(struct media_fake *media, uint64_t block, uint32_t blocks,
                             const void *data, bool fua);
enum media_error media_append(struct media_fake *media, uint64_t zone_block, uint32_t blocks,
                              const void *data, bool fua, uint64_t *where);
enum media_error media_zone_reset(struct media_fake *media, uint64_t zone_block);
/* Opened explicitly, or closed. A write opens its zone by itself; with max_open reached it closes
 * another first. */
enum media_error media_zone_open(struct media_fake *media, uint64_t zone_block);
enum media_error media_zone_close(struct media_fake *media, uint64_t zone_block);
enum media_error media_zone_finish(struct media_fake *media, uint64_t zone_block);
void media_flush(struct media_fake *media);
/* Power loss: each block written since is kept or reverted at random; zones keep their durable
 * write pointer or more. */
void media_cut(struct media_fake *media);
/* A write that was under way when the power went: some of its blocks reach the media. */
void media_tear(struct media_fake *media, uint64_t block, uint32_t blocks, const void *data);
/* Content put where it went before, in any order: on a zoned drive, too, the write pointer then is
 * behind all that was put. */
void media_put(struct media_fake *media, uint64_t block, uint32_t blocks, const void *data,
               bool fua);
/* Makes that range durable, and on a zoned drive all before it in its zone. */
void media_settle(struct media_fake *media, uint64_t block, uint32_t blocks);
/* Makes `to`, of the same shape, equal to `from`. */
void media_copy(struct media_fake *to, const struct media_fake *from);
/* As QEMU does when it exits: data stays, every zone is empty. */
void media_forget_zones(struct media_fake *media);

#endif
