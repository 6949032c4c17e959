// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Replays what QEMU's blklogwrites recorded of a key-value server's drive (the format of Linux's
 * dm-log-writes, Documentation/admin-guide/device-mapper/log-writes.rst): after every entry the
 * power may go. What no flush and no FUA made durable is kept or lost, block by block, the entry
 * that would have come next is torn, and the log is opened and read.
 *
 * QEMU's NVMe drive does not hand Force Unit Access down to where it is recorded (10.0). In a
 * recording without a single FUA every write counts as durable once it is recorded; then cuts lie
 * between writes and inside them, but nothing changes order. (loglet_replay_test does that.)
 *
 *   cutlog RECORDING DRIVE-BYTES ACKNOWLEDGED CUTS
 *
 * ACKNOWLEDGED has lines "ENTRIES NUMBER": when so many entries were recorded, the client had been
 * told that values 0 to NUMBER are safe. Value n is "#n#" and FILL letters that follow from n. They
 * must all be there, unchanged, and nothing but values behind them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/assert.h"
#include "lib/base/endian.h"
#include "lib/block/media_fake.h"
#include "lib/loglet/rig_fake.h"

#define LOG_MAGIC 0x6a736677736872ull
#define LOG_VERSION 1u
#define FLAG_FLUSH 1u
#define FLAG_FUA 2u
#define FLAG_DISCARD 4u
#define SECTOR 512u
#define FILL 200u
#define LOG_NAME "kvstore"

struct entry {
    uint64_t sector, sectors, flags;
    const uint8_t *data;
};

struct acknowledged {
    uint32_t entries, number;
};

static struct entry *entries;
static uint32_t entry_count;
static bool tells_fua;
static struct acknowledged *known;
static uint32_t known_count;

struct found {
    uint32_t next; /* the value that has to come now */
    bool wrong;
};

void assertion_failed(const char *expression, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, expression);
    abort();
}

static uint8_t *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;

    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        *bytes = (size_t)ftell(file);
        data = malloc(*bytes + 1u);
        rewind(file);
        if (data != NULL && fread(data, 1, *bytes, file) == *bytes) {
            data[*bytes] = 0;
        } else {
            free(data);
            data = NULL;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return data;
}

/* The entries, up to the first that was not written. False: this is no recording. */
static bool parse_log(const uint8_t *log, size_t bytes)
{
    size_t at = SECTOR;

    if (bytes < SECTOR || load_le64(log) != LOG_MAGIC || load_le64(log + 8) != LOG_VERSION ||
        load_le32(log + 24) != SECTOR) {
        return false;
    }
    entries = calloc(bytes / SECTOR, sizeof *entries);
    while (at + SECTOR <= bytes) {
        struct entry entry = {load_le64(log + at), load_le64(log + at + 8),
                              load_le64(log + at + 16), log + at + SECTOR};
        uint64_t stored = (entry.flags & FLAG_DISCARD) != 0 ? 0 : entry.sectors;
        if ((entry.flags == 0 && entry.sectors == 0) || stored > (bytes - at) / SECTOR - 1u) {
            break;
        }
        entries[entry_count++] = entry;
        at += SECTOR + (size_t)stored * SECTOR;
    }
    return true;
}

static void parse_known(const char *text)
{
    unsigned at, number;
    int used;

    known = calloc(strlen(text) + 1u, sizeof *known);
    for (; sscanf(text, "%u %u%n", &at, &number, &used) == 2; text += used) {
        known[known_count++] = (struct acknowledged){at, number};
    }
}

/* Values in the log's records, which come in order. */
static bool take(void *context, log_position_t position, const uint8_t *data, uint32_t bytes)
{
    struct found *found = context;

    (void)position;
    for (uint32_t i = 0; i < bytes && !found->wrong; i++) {
        char mark[16];
        uint32_t length = (uint32_t)snprintf(mark, sizeof mark, "#%u#", found->next);
        if (data[i] != '#') {
            continue;
        }
        found->wrong = bytes - i < length + FILL || memcmp(data + i, mark, length) != 0;
        for (uint32_t k = 0; k < FILL && !found->wrong; k++) {
            found->wrong = data[i + length + k] != (uint8_t)('a' + (found->next + k) % 26u);
        }
        i += length + FILL - 1u;
        found->next++;
    }
    return !found->wrong;
}

static void apply(struct media_fake *media, const struct entry *entry)
{
    bool fua = !tells_fua || (entry->flags & FLAG_FUA) != 0;

    if ((entry->flags & FLAG_FLUSH) != 0) {
        media_flush(media);
    }
    if (entry->sectors != 0) {
        media_put(media, entry->sector, (uint32_t)entry->sectors,
                  (entry->flags & FLAG_DISCARD) != 0 ? NULL : entry->data, fua);
    }
}

/* Whether everything of which `safe` values are known is there. */
static bool look(struct rig *rig, uint32_t safe, const char **why)
{
    struct found found = {0};
    status_t status = rig_open(rig, 0);

    if (status == STATUS_OK) {
        status = rig_log(rig, LOG_NAME, 0);
    }
    if (status == STATUS_OK) {
        status = rig_read(rig, loglet_tail(rig->log), take, &found);
    }
    *why = found.wrong                  ? "a wrong value"
           : status != STATUS_NOT_FOUND ? loglet_device_seen(rig->device)
                                        : "a value is missing";
    return !found.wrong && (status == STATUS_NOT_FOUND ? found.next >= safe : safe == 0);
}

static uint32_t cut_everywhere(const struct rig_shape *shape, uint32_t cuts)
{
    struct rig now, after;
    uint32_t safe = 0, at_known = 0, made = 0;
    uint32_t times = cuts / (entry_count + 1u) + 1u;

    rig_init(&now, shape);
    rig_init(&after, shape);
    for (uint32_t i = 0; i <= entry_count; i++) {
        for (; at_known < known_count && known[at_known].entries <= i; at_known++) {
            safe = known[at_known].number + 1u;
        }
        for (uint32_t k = 0; k < times; k++) {
            const char *why;
            media_copy(&after.fake.media, &now.fake.media);
            after.fake.media.random = (i * 1000003ull + k) * 88172645463325252ull + 1u;
            media_cut(&after.fake.media);
            if (i < entry_count && entries[i].sectors != 0) {
                media_tear(&after.fake.media, entries[i].sector, (uint32_t)entries[i].sectors,
                           (entries[i].flags & FLAG_DISCARD) != 0 ? NULL : entries[i].data);
            }
            if (!look(&after, safe, &why)) {
                printf("after entry %u, cut %u, %u values known: %s\n", i, k, safe, why);
                return 0;
            }
            made++;
        }
        if (i < entry_count) {
            apply(&now.fake.media, &entries[i]);
        }
    }
    rig_free(&now);
    rig_free(&after);
    return made;
}

int main(int argc, char **argv)
{
    size_t log_bytes, known_bytes;

    if (argc != 5) {
        fprintf(stderr, "usage: %s RECORDING DRIVE-BYTES ACKNOWLEDGED CUTS\n", argv[0]);
        return 2;
    }
    uint8_t *log = read_file(argv[1], &log_bytes);
    uint8_t *text = read_file(argv[3], &known_bytes);
    struct rig_shape shape = {strtoull(argv[2], NULL, 10), SECTOR, 0, 0, 4096};
    if (log == NULL || text == NULL || !parse_log(log, log_bytes)) {
        fprintf(stderr, "cutlog: no recording, or nothing acknowledged\n");
        return 2;
    }
    parse_known((const char *)text);
    uint32_t forced = 0, flushes = 0;
    for (uint32_t i = 0; i < entry_count; i++) {
        forced += (entries[i].flags & FLAG_FUA) != 0;
        flushes += (entries[i].flags & FLAG_FLUSH) != 0;
    }
    tells_fua = forced != 0;
    printf("%u entries, %u with FUA, %u flushes, %u acknowledgements\n", entry_count, forced,
           flushes, known_count);
    uint32_t made = cut_everywhere(&shape, (uint32_t)strtoul(argv[4], NULL, 10));
    printf("%u cuts\n", made);
    free(log);
    free(text);
    free(entries);
    free(known);
    return made == 0;
}
