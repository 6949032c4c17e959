// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/loglet/loglet_format.h"

#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "lib/base/endian.h"

#define SUPER_MAGIC 0x4253474f4c4c4148ull /* "HALLOGSB" */
#define FRAME_MAGIC 0x52464c48u           /* "HLFR" */
#define SUPER_CRC_AT (SUPER_BYTES - 4u)
#define MARKER_CRC_AT (MARKER_BYTES - 4u)
#define SUPER_LOG_AT 256u
#define SUPER_LOG_BYTES 128u
#define FRAME_CRC_AT (FRAME_HEADER_BYTES - 4u)

void super_encode(const struct super *super, uint8_t bytes[SUPER_BYTES])
{
    memset(bytes, 0, SUPER_BYTES);
    store_le64(bytes, SUPER_MAGIC);
    store_le32(bytes + 8, FORMAT_VERSION);
    store_le32(bytes + 12, super->flags);
    store_le64(bytes + 16, super->sequence);
    store_le64(bytes + 24, super->device_id[0]);
    store_le64(bytes + 32, super->device_id[1]);
    store_le64(bytes + 40, super->device_blocks);
    store_le64(bytes + 48, super->data_block);
    store_le64(bytes + 56, super->extent_distance);
    store_le64(bytes + 64, super->extent_blocks);
    store_le32(bytes + 72, super->epoch);
    store_le32(bytes + 76, super->block_bytes);
    store_le32(bytes + 80, super->extent_count);
    store_le32(bytes + 84, super->position_shift);
    store_le32(bytes + 88, super->next_log_id);
    store_le32(bytes + 92, super->uses_least);
    for (uint32_t i = 0; i < SUPER_LOGS; i++) {
        const struct super_log *log = &super->logs[i];
        uint8_t *at = bytes + SUPER_LOG_AT + (size_t)i * SUPER_LOG_BYTES;
        memcpy(at, log->name, SUPER_NAME_BYTES);
        store_le64(at + 32, log->salt);
        store_le32(at + 40, log->id);
        store_le32(at + 44, log->quota_extents);
        store_le64(at + 48, log->tail);
        store_le64(at + 56, log->stable);
        store_le64(at + 64, log->stable_sequence);
    }
    store_le32(bytes + SUPER_CRC_AT, crc32c(0, bytes, SUPER_CRC_AT));
}

void super_encode_marker(uint8_t bytes[MARKER_BYTES])
{
    memset(bytes, 0, MARKER_BYTES);
    store_le64(bytes, SUPER_MAGIC);
    store_le32(bytes + 8, FORMAT_VERSION);
    store_le32(bytes + 12, SUPER_FORMATTING);
    store_le32(bytes + MARKER_CRC_AT, crc32c(0, bytes, MARKER_CRC_AT));
}

static bool is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1u)) == 0;
}

static bool geometry_is_sound(const struct super *super)
{
    return is_power_of_two(super->block_bytes) && super->block_bytes >= 512u &&
           super->block_bytes <= 4096u && super->extent_count != 0 &&
           super->extent_count <= 4096u && super->extent_blocks != 0 &&
           super->extent_blocks <= super->extent_distance && super->device_blocks < 1ull << 51 &&
           super->data_block < super->device_blocks &&
           super->extent_distance <=
               (super->device_blocks - super->data_block) / super->extent_count &&
           super->position_shift >= 12u && super->position_shift <= POSITION_SHIFT_MAX &&
           super->extent_blocks <= (1ull << super->position_shift) / super->block_bytes;
}

static bool log_is_sound(const struct super *super, const struct super_log *log)
{
    uint64_t mask = (1ull << super->position_shift) - 1u;
    uint64_t end = super->extent_blocks * super->block_bytes;

    return log->id == 0 ||
           (log->id < super->next_log_id && memchr(log->name, 0, SUPER_NAME_BYTES) != NULL &&
            log->name[0] != 0 && log->quota_extents <= super->extent_count &&
            log->quota_extents != 0 && log->tail >> super->position_shift != 0 &&
            log->tail <= log->stable && log->stable >> 62 == 0 && log->stable_sequence != 0 &&
            log->stable_sequence < 1ull << 62 && (log->stable & mask) <= end &&
            (log->stable & (super->block_bytes - 1u)) == 0);
}

static bool version_is_known(uint32_t version)
{
    return version >= FORMAT_VERSION_OLDEST && version <= FORMAT_VERSION;
}

enum super_check super_decode(const uint8_t bytes[SUPER_BYTES], struct super *super)
{
    struct super found = {0};

    if (load_le64(bytes) != SUPER_MAGIC) {
        return SUPER_ABSENT;
    }
    found.version = load_le32(bytes + 8);
    if (!version_is_known(found.version)) {
        return SUPER_OTHER_VERSION;
    }
    if (load_le32(bytes + SUPER_CRC_AT) != crc32c(0, bytes, SUPER_CRC_AT)) {
        return load_le32(bytes + 12) == SUPER_FORMATTING &&
                       load_le32(bytes + MARKER_CRC_AT) == crc32c(0, bytes, MARKER_CRC_AT)
                   ? SUPER_MARKER
                   : SUPER_DAMAGED;
    }
    found.flags = load_le32(bytes + 12);
    found.sequence = load_le64(bytes + 16);
    found.device_id[0] = load_le64(bytes + 24);
    found.device_id[1] = load_le64(bytes + 32);
    found.device_blocks = load_le64(bytes + 40);
    found.data_block = load_le64(bytes + 48);
    found.extent_distance = load_le64(bytes + 56);
    found.extent_blocks = load_le64(bytes + 64);
    found.epoch = load_le32(bytes + 72);
    found.block_bytes = load_le32(bytes + 76);
    found.extent_count = load_le32(bytes + 80);
    found.position_shift = load_le32(bytes + 84);
    found.next_log_id = load_le32(bytes + 88);
    found.uses_least = load_le32(bytes + 92);
    if (!geometry_is_sound(&found)) {
        return SUPER_DAMAGED;
    }
    uint64_t quota = 0;
    for (uint32_t i = 0; i < SUPER_LOGS; i++) {
        struct super_log *log = &found.logs[i];
        const uint8_t *at = bytes + SUPER_LOG_AT + (size_t)i * SUPER_LOG_BYTES;
        memcpy(log->name, at, SUPER_NAME_BYTES);
        log->salt = load_le64(at + 32);
        log->id = load_le32(at + 40);
        log->quota_extents = load_le32(at + 44);
        log->tail = load_le64(at + 48);
        log->stable = load_le64(at + 56);
        log->stable_sequence = load_le64(at + 64);
        if (!log_is_sound(&found, log)) {
            return SUPER_DAMAGED;
        }
        quota += log->id != 0 ? log->quota_extents : 0;
    }
    if (quota > found.extent_count) {
        return SUPER_DAMAGED;
    }
    *super = found;
    return SUPER_VALID;
}

void frame_encode(const struct frame_header *header, uint8_t bytes[FRAME_HEADER_BYTES])
{
    store_le32(bytes, FRAME_MAGIC);
    store_le16(bytes + 4, FORMAT_VERSION);
    store_le16(bytes + 6, header->flags);
    store_le64(bytes + 8, header->salt);
    store_le32(bytes + 16, header->log_id);
    store_le32(bytes + 20, header->epoch);
    store_le64(bytes + 24, header->sequence);
    store_le64(bytes + 32, header->position);
    store_le64(bytes + 40, header->stable);
    store_le64(bytes + 48, header->stable_sequence);
    store_le32(bytes + 56, header->body_bytes);
    store_le32(bytes + 60, header->continued_bytes);
    store_le16(bytes + 64, header->record_count);
    store_le16(bytes + 66, header->page_offset);
    store_le32(bytes + 68, header->page_bytes);
    memcpy(bytes + 72, header->digest, FRAME_DIGEST_BYTES);
    store_le32(bytes + 88, header->uses);
    store_le32(bytes + FRAME_CRC_AT, crc32c(0, bytes, FRAME_CRC_AT));
}

bool frame_decode(const uint8_t bytes[FRAME_HEADER_BYTES], struct frame_header *header)
{
    if (load_le32(bytes) != FRAME_MAGIC || !version_is_known(load_le16(bytes + 4)) ||
        load_le32(bytes + FRAME_CRC_AT) != crc32c(0, bytes, FRAME_CRC_AT)) {
        return false;
    }
    header->flags = load_le16(bytes + 6);
    header->salt = load_le64(bytes + 8);
    header->log_id = load_le32(bytes + 16);
    header->epoch = load_le32(bytes + 20);
    header->sequence = load_le64(bytes + 24);
    header->position = load_le64(bytes + 32);
    header->stable = load_le64(bytes + 40);
    header->stable_sequence = load_le64(bytes + 48);
    header->body_bytes = load_le32(bytes + 56);
    header->continued_bytes = load_le32(bytes + 60);
    header->record_count = load_le16(bytes + 64);
    header->page_offset = load_le16(bytes + 66);
    header->page_bytes = load_le32(bytes + 68);
    header->uses = load_le32(bytes + 88);
    memcpy(header->digest, bytes + 72, FRAME_DIGEST_BYTES);
    if ((header->flags & FRAME_PAGED) != 0) {
        return header->page_offset <= FRAME_HEAD_BYTES_MAX &&
               header->page_offset >= FRAME_HEADER_BYTES && header->page_offset % 512u == 0 &&
               header->body_bytes <= header->page_offset - FRAME_HEADER_BYTES &&
               header->page_bytes <= FRAME_BYTES_MAX - FRAME_HEAD_BYTES_MAX &&
               header->page_bytes % PAGE_BYTES == 0 && header->continued_bytes == 0 &&
               header->record_count <= FRAME_RECORDS_MAX &&
               (header->flags & (FRAME_CONTINUES | FRAME_OPEN_END)) == 0;
    }
    return header->page_offset == 0 && header->page_bytes == 0 &&
           header->body_bytes <= FRAME_BYTES_MAX - FRAME_HEAD_BYTES_MAX - FRAME_HEADER_BYTES &&
           header->continued_bytes <= header->body_bytes &&
           header->record_count <= FRAME_RECORDS_MAX;
}

struct signature {
    uint32_t offset;
    uint32_t bytes;
    const char *mark;
    const char *name;
};

/* Where well-known formats carry their marks, most telling first. */
static const struct signature signatures[] = {
    {512, 8, "EFI PART", "a GPT partition table"},
    {4096, 8, "EFI PART", "a GPT partition table"},
    {0, 6, "LUKS\xba\xbe", "a LUKS encrypted volume"},
    {512, 8, "LABELONE", "an LVM physical volume"},
    {0, 4, "XFSB", "an XFS file system"},
    {65600, 8, "_BHRfS_M", "a Btrfs file system"},
    {1080, 2, "\x53\xef", "an ext2, ext3 or ext4 file system"},
    {1024, 4, "\x10\x20\xf5\xf2", "an F2FS file system"},
    {3, 8, "NTFS    ", "an NTFS file system"},
    {3, 8, "EXFAT   ", "an exFAT file system"},
    {82, 5, "FAT32", "a FAT32 file system"},
    {54, 3, "FAT", "a FAT file system"},
    {4086, 10, "SWAPSPACE2", "a swap area"},
    {32769, 5, "CD001", "an ISO 9660 file system"},
    {4096, 4, "\xfc\x4e\x2b\xa9", "a software RAID member"},
    {0, 4, "QFI\xfb", "a QCOW image"},
    {510, 2, "\x55\xaa", "an MBR partition table or boot sector"},
};

const char *format_recognise(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++) {
        const struct signature *signature = &signatures[i];
        if ((size_t)signature->offset + signature->bytes <= count &&
            memcmp(bytes + signature->offset, signature->mark, signature->bytes) == 0) {
            return signature->name;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != 0) {
            return "data of an unknown kind";
        }
    }
    return NULL;
}
