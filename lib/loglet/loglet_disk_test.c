// SPDX-License-Identifier: MIT OR Apache-2.0
/* Drives that hold something else, another version, damage, or anything at all. */
#include <stdlib.h>

#include "lib/base/crc32c.h"
#include "lib/base/endian.h"
#include "lib/loglet/loglet_digest.h"
#include "lib/loglet/loglet_format.h"
#include "lib/loglet/rig_fake.h"
#include "tests/check.h"

static const struct rig_shape plain = {4u << 20, 512, 0, 0, 200000};
static const struct rig_shape zoned = {4u << 20, 512, 256u << 10, 256u << 10, 200000};

static uint32_t media_hash(const struct rig *rig)
{
    const struct media_fake *media = &rig->fake.media;
    return crc32c(0, media->current, (size_t)media->block_count * media->block_bytes);
}

static void put(struct rig *rig, uint32_t at, const void *bytes, uint32_t count)
{
    memcpy(rig->fake.media.current + at, bytes, count);
}

TEST(foreign_drives_are_left_alone)
{
    static const struct {
        uint32_t at;
        const char *mark;
        const char *seen;
    } cases[] = {
        {510, "\x55\xaa", "an MBR partition table or boot sector"},
        {512, "EFI PART", "a GPT partition table"},
        {1080, "\x53\xef", "an ext2, ext3 or ext4 file system"},
        {0, "XFSB", "an XFS file system"},
        {65600, "_BHRfS_M", "a Btrfs file system"},
        {777, "x", "data of an unknown kind"},
        {131071, "x", "data of an unknown kind"},
        {(4u << 20) - 512u, "EFI PART", "data in the drive's last blocks (a backup GPT?)"},
    };
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig rig;
        rig_init(&rig, &plain);
        put(&rig, cases[i].at, cases[i].mark, (uint32_t)strlen(cases[i].mark));
        uint32_t before = media_hash(&rig);
        CHECK_EQ(rig_open(&rig, 0), STATUS_FOREIGN);
        CHECK_TEXT(loglet_device_seen(rig.device), cases[i].seen);
        CHECK_EQ(rig.fake.writes, 0);
        CHECK_EQ(media_hash(&rig), before);
        CHECK_EQ(rig_open(&rig, LOGLET_FORMAT), STATUS_OK);
        CHECK(loglet_device_formatted(rig.device));
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        rig_free(&rig);
    }
}

TEST(other_versions_are_left_alone)
{
    struct rig rig;
    rig_init(&rig, &plain);
    CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
    uint8_t version = 9;
    put(&rig, 8, &version, 1);
    put(&rig, 65536 + 8, &version, 1);
    uint32_t before = media_hash(&rig);
    CHECK_EQ(rig_open(&rig, 0), STATUS_WRONG_VERSION);
    CHECK_EQ(media_hash(&rig), before);
    rig_free(&rig);
}

/* Makes `version` of what begins at `at`: `length` bytes with a checksum at their end. */
static void make_old(uint8_t *at, uint32_t version, uint32_t version_at, uint32_t length)
{
    at[version_at] = (uint8_t)version;
    store_le32(at + length - 4u, crc32c(0, at, length - 4u));
}

/* Images of versions 2 and 3 are opened, with all that is in them, and are of this version from
 * then on. */
TEST(versions_before_are_taken_over)
{
    for (uint32_t kind = 0; kind < 4u; kind++) {
        uint32_t version = 2u + kind / 2u;
        char seen[64];
        struct rig rig;
        log_position_t position;
        rig_init(&rig, kind % 2u == 0 ? &plain : &zoned);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        for (uint32_t i = 0; i < 20; i++) {
            CHECK_EQ(rig_append(&rig, "hello", 5, &position), STATUS_OK);
        }
        CHECK_EQ(rig_close(&rig), STATUS_CLOSED);
        for (uint64_t block = 0; block < rig.fake.media.block_count; block++) {
            uint8_t *at = rig.fake.media.current + block * 512u;
            struct super super;
            struct frame_header header;
            if (block + 8u <= rig.fake.media.block_count &&
                super_decode(at, &super) == SUPER_VALID) {
                make_old(at, version, 8, SUPER_BYTES);
            } else if (frame_decode(at, &header)) {
                make_old(at, version, 4, FRAME_HEADER_BYTES);
            }
        }
        media_flush(&rig.fake.media);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        snprintf(seen, sizeof seen, "a Hallows log of format %u, 4 from now on", version);
        CHECK_TEXT(loglet_device_seen(rig.device), seen);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        CHECK(position < loglet_durable(rig.log));
        CHECK_EQ(rig_append(&rig, "hello", 5, &position), STATUS_OK);
        CHECK_EQ(rig_close(&rig), STATUS_CLOSED);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_TEXT(loglet_device_seen(rig.device), "a Hallows log");
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        CHECK(position < loglet_durable(rig.log));
        rig_free(&rig);
    }
}

TEST(one_damaged_superblock_is_survived)
{
    for (uint32_t copy = 0; copy < 2; copy++) {
        struct rig rig;
        log_position_t position;
        rig_init(&rig, &plain);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        CHECK_EQ(rig_append(&rig, "hello", 5, &position), STATUS_OK);
        CHECK_EQ(rig_close(&rig), STATUS_CLOSED);
        put(&rig, copy * 65536 + 100, "damage", 6);
        CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        CHECK(position < loglet_durable(rig.log));
        put(&rig, 100, "damage", 6);
        put(&rig, 65636, "damage", 6);
        uint32_t before = media_hash(&rig);
        CHECK_EQ(rig_open(&rig, 0), STATUS_CORRUPT);
        CHECK_EQ(media_hash(&rig), before);
        rig_free(&rig);
    }
}

TEST(lost_zone_states_are_seen)
{
    struct rig rig;
    log_position_t position;
    rig_init(&rig, &zoned);
    CHECK_EQ(rig_open(&rig, 0), STATUS_OK);
    CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
    CHECK_EQ(rig_append(&rig, "hello", 5, &position), STATUS_OK);
    CHECK_EQ(rig_close(&rig), STATUS_CLOSED);
    media_forget_zones(&rig.fake.media);
    uint32_t before = media_hash(&rig);
    CHECK_EQ(rig_open(&rig, 0), STATUS_FOREIGN);
    CHECK(strstr(loglet_device_seen(rig.device), "zone states") != NULL);
    CHECK_EQ(media_hash(&rig), before);
    CHECK_EQ(rig_open(&rig, LOGLET_FORMAT), STATUS_OK);
    CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
    CHECK_EQ(rig_append(&rig, "hello", 5, &position), STATUS_OK);
    rig_free(&rig);
    /* Zones that something else has written. */
    rig_init(&rig, &zoned);
    (void)media_write(&rig.fake.media, 8 * 512, 1, NULL, true);
    CHECK_EQ(rig_open(&rig, 0), STATUS_FOREIGN);
    rig_free(&rig);
}

TEST(small_drives_are_refused)
{
    static const struct rig_shape tiny[] = {{1u << 20, 512, 0, 0, 200000},
                                            {(1u << 20) + 4096, 4096, 0, 0, 200000},
                                            {128u << 10, 512, 0, 0, 200000},
                                            {3u << 18, 512, 1u << 18, 1u << 18, 200000}};
    for (uint32_t i = 0; i < 4; i++) {
        struct rig rig;
        rig_init(&rig, &tiny[i]);
        CHECK_EQ(rig_open(&rig, 0), STATUS_FULL);
        CHECK_EQ(rig.fake.writes, 0);
        rig_free(&rig);
    }
}

struct sum {
    uint32_t count;
    uint32_t wrong;
};

static bool take(void *context, log_position_t position, const uint8_t *data, uint32_t bytes)
{
    struct sum *sum = context;
    (void)position;
    for (uint32_t i = 0; i < bytes; i++) {
        sum->wrong += data[i] != (uint8_t)(sum->count + i);
    }
    sum->count++;
    return true;
}

static uint32_t fill_log(struct rig *rig, const struct rig_shape *shape, uint32_t records)
{
    static uint8_t record[40000];
    log_position_t position;

    rig_init(rig, shape);
    CHECK_EQ(rig_open(rig, 0), STATUS_OK);
    CHECK_EQ(rig_log(rig, "main", 0), STATUS_OK);
    for (uint32_t n = 0; n < records; n++) {
        uint32_t bytes = n % 7u == 0 ? 40000 : 50u * (n % 13u);
        for (uint32_t i = 0; i < bytes; i++) {
            record[i] = (uint8_t)(n + i);
        }
        CHECK_EQ(rig_append(rig, record, bytes, &position), STATUS_OK);
    }
    return records;
}

static status_t scrub(struct rig *rig, log_position_t *position)
{
    struct loglet_reader reader;
    status_t status = loglet_scrub_start(&reader, rig->log, rig->read_buffer);

    while (status == STATUS_OK) {
        status = loglet_scrub_next(&reader, position);
        if (status != STATUS_AGAIN) {
            break;
        }
        rig_turn(rig, 8);
        status = STATUS_OK;
    }
    return status;
}

/* Scrubbing a log in use finds a flipped bit, and says in which frame. */
TEST(scrubbing_finds_damage)
{
    for (uint32_t kind = 0; kind < 2; kind++) {
        struct rig rig;
        log_position_t position, before;
        uint32_t found = 0;
        (void)fill_log(&rig, kind == 0 ? &plain : &zoned, 60);
        CHECK_EQ(scrub(&rig, &before), STATUS_OK);
        size_t bytes = (size_t)rig.fake.media.block_count * 512u;
        for (size_t at = 0; at + 4096u <= bytes; at += 512u) {
            uint8_t *frame = rig.fake.media.current + at;
            if (memcmp(frame, "HLFR", 4) != 0 || load_le32(frame + 56) < 20u) {
                continue;
            }
            frame[FRAME_HEADER_BYTES + at / 512u % 20u] ^= 4u;
            CHECK_EQ(scrub(&rig, &position), STATUS_CORRUPT);
            CHECK_EQ(position, load_le64(frame + 32));
            frame[FRAME_HEADER_BYTES + at / 512u % 20u] ^= 4u;
            found++;
        }
        CHECK(found > 20);
        CHECK_EQ(scrub(&rig, &position), STATUS_OK);
        CHECK_EQ(position, before);
        rig_free(&rig);
    }
}

/* After a clean close every single flipped bit is either outside what counts or found. */
TEST(flipped_bits_are_found)
{
    struct rig rig;
    uint32_t found = 0;
    uint32_t records = fill_log(&rig, &plain, 60);
    CHECK_EQ(rig_close(&rig), STATUS_CLOSED);
    size_t bytes = (size_t)rig.fake.media.block_count * 512u;
    uint8_t *image = malloc(bytes);
    memcpy(image, rig.fake.media.current, bytes);
    for (uint32_t round = 0; round < 900; round++) {
        uint64_t where = media_random(&rig.fake.media) % ((1u << 20) + 600000u);
        uint32_t bit = (uint32_t)(media_random(&rig.fake.media) % 8u);
        memcpy(rig.fake.media.current, image, bytes);
        if (where < (1u << 20)) {
            where = (where & 1u) * 65536u + where % 4096u;
        }
        rig.fake.media.current[where] ^= (uint8_t)(1u << bit);
        status_t status = rig_open(&rig, 0);
        if (status != STATUS_OK) {
            CHECK_EQ(status, STATUS_CORRUPT);
            found++;
            continue;
        }
        struct sum sum = {0};
        CHECK_EQ(rig_log(&rig, "main", 0), STATUS_OK);
        status = rig_read(&rig, loglet_tail(rig.log), take, &sum);
        CHECK_EQ(sum.wrong, 0);
        if (status != STATUS_NOT_FOUND) {
            CHECK_EQ(status, STATUS_CORRUPT);
            found++;
        } else {
            CHECK_EQ(sum.count, records);
        }
    }
    CHECK(found > 100);
    free(image);
    rig_free(&rig);
}

static void mutate(struct rig *rig, uint8_t *at, uint32_t bytes)
{
    uint32_t count = 1u + (uint32_t)(media_random(&rig->fake.media) % 6u);

    for (uint32_t i = 0; i < count; i++) {
        uint64_t random = media_random(&rig->fake.media);
        uint32_t where = (uint32_t)(random >> 16) % bytes;
        at[where] = (random & 1u) != 0 ? (uint8_t)(random >> 40) : (uint8_t)(at[where] ^ 1u);
    }
}

/* Makes a frame's checksums hold, whatever it says. */
static void seal_frame(uint8_t *frame, size_t room, uint32_t body_bytes)
{
    uint32_t page_offset = load_le16(frame + 66);
    uint32_t page_bytes = load_le32(frame + 68);
    struct digest digest;

    if (FRAME_HEADER_BYTES + (size_t)body_bytes <= room && page_offset % 512u == 0 &&
        page_bytes % 4096u == 0 && page_offset + (size_t)page_bytes <= room) {
        digest_begin(&digest);
        digest_add(&digest, true, frame + page_offset, page_bytes);
        digest_end(&digest, true, frame + FRAME_HEADER_BYTES, body_bytes, frame + 72);
    }
    store_le32(frame + 92, crc32c(0, frame, 92));
}

/* Superblocks and frames of any content whose checksums hold: an error or a log, never a crash, a
 * wild access or an endless loop. */
TEST(hostile_disks)
{
    uint32_t opened = 0;
    for (uint32_t kind = 0; kind < 2; kind++) {
        struct rig rig;
        (void)fill_log(&rig, kind == 0 ? &plain : &zoned, 60);
        if (kind == 0) {
            CHECK_EQ(rig_close(&rig), STATUS_CLOSED);
        }
        media_flush(&rig.fake.media);
        size_t bytes = (size_t)rig.fake.media.block_count * 512u;
        uint8_t *image = malloc(bytes);
        struct media_zone zones[16];
        memcpy(image, rig.fake.media.current, bytes);
        if (kind == 1) {
            memcpy(zones, rig.fake.media.zones, sizeof zones);
        }
        for (uint32_t round = 0; round < 900; round++) {
            uint8_t *disk = rig.fake.media.current;
            memcpy(disk, image, bytes);
            if (kind == 1) {
                memcpy(rig.fake.media.zones, zones, sizeof zones);
            }
            for (uint32_t at = 0; at + 4096u <= bytes; at += 512u) {
                if (memcmp(disk + at, "HLFR", 4) == 0 && round % 2u == 1) {
                    if (media_random(&rig.fake.media) % 16u == 0) {
                        uint32_t body = load_le32(disk + at + 56);
                        mutate(&rig, disk + at + 4, 68);
                        if (body < 100000u && media_random(&rig.fake.media) % 2u == 0) {
                            mutate(&rig, disk + at + FRAME_HEADER_BYTES, 24);
                        }
                        seal_frame(disk + at, bytes - at, body);
                    }
                } else if (load_le64(disk + at) == 0x4253474f4c4c4148ull && round % 2u == 0 &&
                           (at == 0 || at == 65536 || kind == 1) && at < (512u << 10)) {
                    mutate(&rig, disk + at + 8, 500);
                    store_le32(disk + at + 4092, crc32c(0, disk + at, 4092));
                    at += kind == 1 ? 3584u : 0;
                }
            }
            if (rig_open(&rig, 0) != STATUS_OK) {
                continue;
            }
            opened++;
            struct sum sum = {0};
            log_position_t position;
            if (rig_log(&rig, "main", 0) == STATUS_OK) {
                (void)rig_read(&rig, loglet_tail(rig.log), take, &sum);
                (void)rig_append(&rig, image, 70000, &position);
                if (loglet_trim(rig.log, loglet_durable(rig.log)) == STATUS_OK) {
                    rig_settle(&rig);
                }
            }
        }
        free(image);
        rig_free(&rig);
    }
    CHECK(opened > 20);
}
