// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the fake controller's commands do. */
#include <string.h>

#include "drivers/nvme/nvme_fake.h"
#include "drivers/nvme/nvme_spec.h"
#include "lib/base/endian.h"

#define SEGMENTS_MAX 260u
#define FAKE_FIRST_PLACEMENT 0x40u /* identifiers are no indices */

struct transfer {
    uint32_t count;
    struct {
        uint8_t *at;
        uint32_t bytes;
    } segment[SEGMENTS_MAX];
};

static bool add_segment(struct nvme_fake *fake, struct transfer *transfer, uint64_t address,
                        uint32_t bytes)
{
    uint8_t *at = nvme_fake_memory(fake, address, bytes);
    if (at == NULL || transfer->count == SEGMENTS_MAX) {
        return false;
    }
    transfer->segment[transfer->count].at = at;
    transfer->segment[transfer->count++].bytes = bytes;
    return true;
}

/* PRP entries (Base 4.3): the first may start inside a page, all others are pages; more than two
 * are in a list. */
static bool walk_prps(struct nvme_fake *fake, const uint32_t word[16], uint32_t bytes,
                      struct transfer *transfer)
{
    uint64_t first = (uint64_t)word[7] << 32 | word[6];
    uint64_t second = (uint64_t)word[9] << 32 | word[8];
    uint32_t room = PAGE_BYTES - (uint32_t)(first & (PAGE_BYTES - 1u));
    uint32_t chunk = bytes < room ? bytes : room;

    transfer->count = 0;
    if ((first & 3u) != 0) {
        nvme_fake_fault(fake, "PRP1 not aligned");
        return false;
    }
    if (!add_segment(fake, transfer, first, chunk)) {
        return false;
    }
    bytes -= chunk;
    if (bytes == 0) {
        return true;
    }
    if (bytes <= PAGE_BYTES) {
        if ((second & (PAGE_BYTES - 1u)) != 0) {
            nvme_fake_fault(fake, "PRP2 not a page");
        }
        return add_segment(fake, transfer, second, bytes);
    }
    if ((second & 7u) != 0) {
        nvme_fake_fault(fake, "PRP list not aligned");
    }
    for (uint64_t at = second; bytes != 0; at += 8) {
        const uint8_t *entry = nvme_fake_memory(fake, at, 8);
        chunk = bytes < PAGE_BYTES ? bytes : PAGE_BYTES;
        if (entry == NULL || (load_le64(entry) & (PAGE_BYTES - 1u)) != 0 ||
            !add_segment(fake, transfer, load_le64(entry), chunk)) {
            nvme_fake_fault(fake, "bad PRP list");
            return false;
        }
        bytes -= chunk;
    }
    return true;
}

/* SGL (Base 4.4): a last segment of data block descriptors. */
static bool walk_sgl(struct nvme_fake *fake, const uint32_t word[16], uint32_t bytes,
                     struct transfer *transfer)
{
    uint64_t address = (uint64_t)word[7] << 32 | word[6];
    uint32_t count = word[8] / NVME_SGL_BYTES;

    transfer->count = 0;
    if (word[9] >> 24 != NVME_SGL_LAST_SEGMENT || word[8] % NVME_SGL_BYTES != 0) {
        nvme_fake_fault(fake, "not a segment");
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *entry =
            nvme_fake_memory(fake, address + (uint64_t)i * NVME_SGL_BYTES, NVME_SGL_BYTES);
        if (entry == NULL || load_le32(entry + 12) >> 24 != NVME_SGL_DATA_BLOCK ||
            load_le32(entry + 8) > bytes ||
            !add_segment(fake, transfer, load_le64(entry), load_le32(entry + 8))) {
            nvme_fake_fault(fake, "bad SGL");
            return false;
        }
        bytes -= load_le32(entry + 8);
    }
    if (bytes != 0) {
        nvme_fake_fault(fake, "SGL too short");
    }
    return bytes == 0;
}

static bool walk_data(struct nvme_fake *fake, const uint32_t word[16], uint32_t bytes,
                      struct transfer *transfer)
{
    return (word[0] & NVME_PSDT_SGL) != 0 ? walk_sgl(fake, word, bytes, transfer)
                                          : walk_prps(fake, word, bytes, transfer);
}

static void copy_out(const struct transfer *transfer, const uint8_t *from)
{
    for (uint32_t i = 0; i < transfer->count; i++) {
        memcpy(transfer->segment[i].at, from, transfer->segment[i].bytes);
        from += transfer->segment[i].bytes;
    }
}

static void copy_in(const struct transfer *transfer, uint8_t *to)
{
    for (uint32_t i = 0; i < transfer->count; i++) {
        memcpy(to, transfer->segment[i].at, transfer->segment[i].bytes);
        to += transfer->segment[i].bytes;
    }
}

/* ---- Admin ---- */

static void identify_controller(const struct nvme_fake *fake, uint8_t *data)
{
    memcpy(data + 4, "SERIAL 1            ", 20);
    memcpy(data + 24, "Fake controller                         ", 40);
    memcpy(data + 64, "1.0     ", 8);
    data[77] = (uint8_t)fake->mdts;
    data[262] = (uint8_t)(NVME_FAKE_ERRORS - 1u);
    data[512] = 0x66;
    data[513] = 0x44;
    store_le32(data + 516, 1);
    store_le16(data + 256, (uint16_t)((fake->no_shadow_doorbells ? 0 : NVME_OACS_SHADOW_DOORBELLS) |
                                      (fake->secondaries != 0 ? NVME_OACS_VIRTUALIZATION : 0)));
    store_le16(data + 520, 1u | 4u | 8u | 0x100u);
    store_le16(data + 534, 1);
    store_le32(data + 96, fake->placement ? NVME_CTRATT_PLACEMENT : 0);
    store_le16(data + 528, 7);
    data[525] = 1;
    store_le32(data + 536, fake->no_sgl ? 0 : 2);
}

static void identify_namespace(const struct nvme_fake *fake, const struct media_fake *media,
                               uint8_t *data)
{
    uint32_t shift = (uint32_t)__builtin_ctz(media->block_bytes);

    store_le64(data, media->block_count);
    store_le64(data + 8, media->block_count);
    store_le64(data + 16, media->block_count / 2u);
    data[24] = fake->nawupf != 0 || fake->nabspf != 0 ? NVME_NSFEAT_ATOMIC : 0;
    data[25] = 1; /* two formats, the second is in use */
    data[26] = 1;
    store_le16(data + 36, fake->nawupf);
    store_le16(data + 44, fake->nabspf);
    store_le16(data + 74, 64); /* copies: blocks of a range, of all, ranges - 1 */
    store_le32(data + 76, 100);
    data[80] = 3;
    store_le32(data + 128, 21u << 16);
    store_le32(data + 132, shift << 16);
}

static void list_namespaces(const struct nvme_fake *fake, uint8_t *data)
{
    uint32_t last = 1;

    store_le32(data, 1);
    for (uint32_t count = 1; count < NVME_FAKE_NAMESPACES; count++) {
        uint32_t next = 0;
        for (uint32_t i = 0; i < NVME_FAKE_NAMESPACES - 1u; i++) {
            uint32_t id = fake->more[i].id;
            next = id > last && (next == 0 || id < next) ? id : next;
        }
        if (next == 0) {
            return;
        }
        store_le32(data + (size_t)4u * count, next);
        last = next;
    }
}

static uint32_t identify(struct nvme_fake *fake, const struct nvme_fake_command *command)
{
    uint8_t data[PAGE_BYTES] = {0};
    struct transfer transfer;
    uint32_t cns = command->word[10] & 0xffu;
    const struct media_fake *media = nvme_fake_media(fake, command->word[1]);
    bool zoned = media != NULL && media->zones != NULL;

    if (media == NULL && (cns == NVME_CNS_DESCRIPTORS || cns == NVME_CNS_NAMESPACE ||
                          cns == NVME_CNS_SET_NAMESPACE)) {
        nvme_fake_fault(fake, "identify of no namespace");
        return NVME_SC_INVALID_NAMESPACE;
    }
    switch (cns) {
    case NVME_CNS_CONTROLLER:
        identify_controller(fake, data);
        break;
    case NVME_CNS_ACTIVE_NAMESPACES:
        list_namespaces(fake, data);
        break;
    case NVME_CNS_SECONDARIES:
        nvme_fake_list_secondaries(fake, data);
        break;
    case NVME_CNS_DESCRIPTORS:
        data[0] = 1; /* an EUI64 */
        data[1] = 8;
        data[12] = NVME_DESCRIPTOR_CSI;
        data[13] = 1;
        data[16] = zoned ? NVME_CSI_ZNS : NVME_CSI_NVM;
        break;
    case NVME_CNS_NAMESPACE:
        identify_namespace(fake, media, data);
        break;
    case NVME_CNS_SET_CONTROLLER:
        data[0] = (uint8_t)fake->zasl;
        break;
    case NVME_CNS_SET_NAMESPACE:
        if (!zoned || command->word[11] >> 24 != NVME_CSI_ZNS) {
            return NVME_SC_INVALID_FIELD;
        }
        store_le32(data + 4, fake->max_active - 1u); /* 0: all ones, no limit */
        store_le32(data + 8, fake->max_open - 1u);
        store_le64(data + 2816 + 16, media->zone_blocks);
        break;
    default:
        return NVME_SC_INVALID_FIELD;
    }
    for (uint32_t i = 0; fake->corrupt_identify != NULL && i < PAGE_BYTES; i++) {
        data[i] = fake->corrupt_identify(fake->corrupt_context, cns, i, data[i]);
    }
    if (!walk_prps(fake, command->word, PAGE_BYTES, &transfer)) {
        return NVME_SC_INVALID_FIELD;
    }
    copy_out(&transfer, data);
    return NVME_SC_SUCCESS;
}

static uint32_t create_queue(struct nvme_fake *fake, const struct nvme_fake_command *command)
{
    uint32_t id = command->word[10] & 0xffffu;
    struct nvme_fake_queue *queue = &fake->queues[id < NVME_FAKE_QUEUES ? id : 1];
    uint32_t entries = (command->word[10] >> 16) + 1u;
    uint64_t address = (uint64_t)command->word[7] << 32 | command->word[6];

    if (id == 0 || id >= NVME_FAKE_QUEUES || id > fake->queues_offered || entries < 2 ||
        entries > fake->mqes + 1u || (address & (PAGE_BYTES - 1u)) != 0 ||
        (command->word[11] & 1u) == 0) {
        nvme_fake_fault(fake, "bad queue");
        return NVME_SC_INVALID_FIELD;
    }
    if ((command->word[0] & 0xffu) == NVME_ADMIN_CREATE_CQ) {
        *queue = (struct nvme_fake_queue){.cq_address = address,
                                          .cq_entries = entries,
                                          .phase = 1,
                                          .cq_live = true,
                                          .vector = command->word[11] >> 16,
                                          .interrupts = (command->word[11] & 2u) != 0};
        if (queue->vector >= NVME_FAKE_QUEUES) {
            nvme_fake_fault(fake, "no such vector");
            queue->vector = 0;
        }
        return NVME_SC_SUCCESS;
    }
    if (!queue->cq_live || command->word[11] >> 16 != id) {
        nvme_fake_fault(fake, "submission queue without its completion queue");
        return NVME_SC_INVALID_FIELD;
    }
    queue->sq_address = address;
    queue->sq_entries = entries;
    queue->sq_live = true;
    return NVME_SC_SUCCESS;
}

static uint32_t get_log(struct nvme_fake *fake, const struct nvme_fake_command *command)
{
    uint8_t data[PAGE_BYTES] = {0};
    struct transfer transfer;
    uint32_t bytes = ((command->word[10] >> 16) + 1u) * 4u;

    if (bytes > sizeof data || !walk_prps(fake, command->word, bytes, &transfer) ||
        !nvme_fake_log(fake, command->word[10] & 0xffu, data, bytes)) {
        return NVME_SC_INVALID_FIELD;
    }
    copy_out(&transfer, data);
    return NVME_SC_SUCCESS;
}

static uint32_t execute_admin(struct nvme_fake *fake, const struct nvme_fake_command *command,
                              uint64_t *result)
{
    switch (command->word[0] & 0xffu) {
    case NVME_ADMIN_IDENTIFY:
        return identify(fake, command);
    case NVME_ADMIN_SHADOW_DOORBELLS:
        fake->shadow_address = (uint64_t)command->word[7] << 32 | command->word[6];
        fake->event_address = (uint64_t)command->word[9] << 32 | command->word[8];
        return ((fake->shadow_address | fake->event_address) & (PAGE_BYTES - 1u)) != 0
                   ? NVME_SC_INVALID_FIELD
                   : NVME_SC_SUCCESS;
    case NVME_ADMIN_VIRTUALIZATION:
        return nvme_fake_manage_secondary(fake, command);
    case NVME_ADMIN_GET_LOG:
        return get_log(fake, command);
    case NVME_ADMIN_SET_FEATURES:
        *result = (fake->queues_offered - 1u) * 0x10001u;
        return (command->word[10] & 0xffu) == NVME_FEATURE_QUEUES ? NVME_SC_SUCCESS
                                                                  : NVME_SC_INVALID_FIELD;
    case NVME_ADMIN_CREATE_CQ:
    case NVME_ADMIN_CREATE_SQ:
        return create_queue(fake, command);
    case NVME_ADMIN_DELETE_SQ:
        fake->queues[command->word[10] % NVME_FAKE_QUEUES].sq_live = false;
        return NVME_SC_SUCCESS;
    case NVME_ADMIN_DELETE_CQ:
        if (fake->queues[command->word[10] % NVME_FAKE_QUEUES].sq_live) {
            nvme_fake_fault(fake, "completion queue deleted before its submission queue");
        }
        fake->queues[command->word[10] % NVME_FAKE_QUEUES].cq_live = false;
        return NVME_SC_SUCCESS;
    case NVME_ADMIN_ABORT:
        *result = fake->ignore_abort;
        return NVME_SC_SUCCESS;
    default:
        return NVME_SC_INVALID_OPCODE;
    }
}

/* ---- I/O ---- */

static uint32_t media_status(enum media_error error)
{
    static const uint16_t statuses[] = {
        [MEDIA_OK] = NVME_SC_SUCCESS,
        [MEDIA_RANGE] = NVME_SC_LBA_RANGE,
        [MEDIA_BOUNDARY] = NVME_SC_ZONE_BOUNDARY,
        [MEDIA_FULL] = NVME_SC_ZONE_FULL,
        [MEDIA_INVALID] = NVME_SC_ZONE_INVALID_WRITE,
        [MEDIA_READ_ONLY] = NVME_SC_ZONE_READ_ONLY,
        [MEDIA_OFFLINE] = NVME_SC_ZONE_OFFLINE,
        [MEDIA_TOO_MANY_ACTIVE] = NVME_SC_TOO_MANY_ACTIVE,
        [MEDIA_TOO_MANY_OPEN] = NVME_SC_TOO_MANY_OPEN,
    };
    return statuses[error];
}

/* False: a directive that means nothing. */
static bool note_placement(struct nvme_fake *fake, const struct nvme_fake_command *command,
                           uint32_t blocks)
{
    uint32_t handle = (command->word[13] >> 16) - FAKE_FIRST_PLACEMENT;

    if ((command->word[12] & NVME_DIRECTIVE_MASK) == 0) {
        return true;
    }
    if ((command->word[12] & NVME_DIRECTIVE_MASK) != NVME_DIRECTIVE_PLACEMENT || !fake->placement ||
        handle >= NVME_FAKE_PLACEMENTS) {
        nvme_fake_fault(fake, "wrong placement");
        return false;
    }
    fake->placed_blocks[handle] += blocks;
    return true;
}

static uint32_t placement_status(struct nvme_fake *fake, const struct nvme_fake_command *command)
{
    uint8_t data[PAGE_BYTES] = {0};
    struct transfer transfer;
    uint32_t bytes = (command->word[11] + 1u) * 4u;

    if (!fake->placement) {
        return NVME_SC_PLACEMENT_DISABLED;
    }
    if ((command->word[10] & 0xffu) != NVME_PLACEMENT_STATUS || bytes > PAGE_BYTES ||
        !walk_prps(fake, command->word, bytes, &transfer)) {
        return NVME_SC_INVALID_FIELD;
    }
    store_le16(data + 14, NVME_FAKE_PLACEMENTS);
    for (uint32_t i = 0; i < NVME_FAKE_PLACEMENTS; i++) {
        store_le16(data + NVME_PLACEMENT_HEADER_BYTES + (size_t)i * NVME_PLACEMENT_BYTES,
                   (uint16_t)(FAKE_FIRST_PLACEMENT + i));
    }
    copy_out(&transfer, data);
    return NVME_SC_SUCCESS;
}

/* Copy (TP 4065), descriptor format 0; limits as identify_namespace tells them. */
static uint32_t copy_blocks(struct nvme_fake *fake, struct media_fake *media,
                            const struct nvme_fake_command *command)
{
    static uint8_t data[100u * 4096u];
    uint64_t list = (uint64_t)command->word[7] << 32 | command->word[6];
    uint64_t to = (uint64_t)command->word[11] << 32 | command->word[10];
    uint32_t count = (command->word[12] & 0xffu) + 1u;
    uint32_t got = 0;

    if (count > 4u || (command->word[12] >> 8 & 0xfu) != 0) {
        return NVME_SC_COPY_LIMIT;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *range = nvme_fake_memory(fake, list + (uint64_t)i * NVME_COPY_RANGE_BYTES,
                                                NVME_COPY_RANGE_BYTES);
        uint32_t blocks = range == NULL ? 0 : load_le16(range + 16) + 1u;
        if (blocks == 0 || blocks > 64u || got + blocks > 100u) {
            return NVME_SC_COPY_LIMIT;
        }
        enum media_error error = media_read(media, load_le64(range + 8), blocks,
                                            data + (size_t)got * media->block_bytes);
        if (error != MEDIA_OK) {
            return media_status(error);
        }
        got += blocks;
    }
    fake->copies++;
    return media_status(media_write(media, to, got, data, (command->word[12] & NVME_FUA) != 0));
}

static uint32_t transfer_blocks(struct nvme_fake *fake, struct media_fake *media,
                                const struct nvme_fake_command *command, uint64_t *result)
{
    static uint8_t data[1u << 20];
    struct transfer transfer;
    uint32_t opcode = command->word[0] & 0xffu;
    uint64_t block = (uint64_t)command->word[11] << 32 | command->word[10];
    uint32_t blocks = (command->word[12] & 0xffffu) + 1u;
    uint64_t bytes = (uint64_t)blocks * media->block_bytes;
    bool fua = (command->word[12] & NVME_FUA) != 0;
    enum media_error error;

    if (bytes > (uint64_t)PAGE_BYTES << fake->mdts || bytes > sizeof data) {
        nvme_fake_fault(fake, "transfer above MDTS");
        return NVME_SC_INVALID_FIELD;
    }
    if (!walk_data(fake, command->word, (uint32_t)bytes, &transfer)) {
        return NVME_SC_INVALID_FIELD;
    }
    if (opcode == NVME_IO_READ) {
        error = media_read(media, block, blocks, data);
        if (error == MEDIA_OK) {
            copy_out(&transfer, data);
        }
    } else if (opcode == NVME_IO_COMPARE) {
        static uint8_t other[1u << 20];
        copy_in(&transfer, data);
        error = media_read(media, block, blocks, other);
        if (error == MEDIA_OK && memcmp(data, other, bytes) != 0) {
            return NVME_SC_COMPARE_FAILURE;
        }
    } else {
        copy_in(&transfer, data);
        if (!note_placement(fake, command, blocks)) {
            return NVME_SC_INVALID_FIELD;
        }
        error = opcode == NVME_IO_WRITE ? media_write(media, block, blocks, data, fua)
                                        : media_append(media, block, blocks, data, fua, result);
    }
    return media_status(error);
}

static uint32_t zone_report(struct nvme_fake *fake, struct media_fake *media,
                            const struct nvme_fake_command *command)
{
    uint8_t data[PAGE_BYTES] = {0};
    struct transfer transfer;
    uint64_t block = (uint64_t)command->word[11] << 32 | command->word[10];
    uint32_t bytes = (command->word[12] + 1u) * 4u;
    uint32_t room = (bytes - NVME_ZONE_REPORT_HEADER_BYTES) / NVME_ZONE_DESCRIPTOR_BYTES;
    uint32_t count = 0;

    if (media->zones == NULL || bytes > PAGE_BYTES ||
        !walk_prps(fake, command->word, bytes, &transfer)) {
        return NVME_SC_INVALID_FIELD;
    }
    for (uint64_t i = block / media->zone_blocks; i < media->zone_count && count < room;
         i++, count++) {
        const struct media_zone *zone = &media->zones[i];
        uint8_t *at =
            data + NVME_ZONE_REPORT_HEADER_BYTES + (size_t)count * NVME_ZONE_DESCRIPTOR_BYTES;
        bool full = zone->finished || zone->written == zone->capacity;
        at[0] = 2;
        at[1] = (uint8_t)((zone->offline        ? NVME_ZS_OFFLINE
                           : zone->read_only    ? NVME_ZS_READ_ONLY
                           : full               ? NVME_ZS_FULL
                           : zone->open         ? NVME_ZS_IMPLICITLY_OPEN
                           : zone->written == 0 ? NVME_ZS_EMPTY
                                                : NVME_ZS_CLOSED)
                          << 4);
        store_le64(at + 8, zone->capacity);
        store_le64(at + 16, i * media->zone_blocks);
        store_le64(at + 24, i * media->zone_blocks + zone->written);
    }
    store_le64(data, count);
    copy_out(&transfer, data);
    return NVME_SC_SUCCESS;
}

static uint32_t zone_send(struct media_fake *media, const struct nvme_fake_command *command)
{
    uint64_t block = (uint64_t)command->word[11] << 32 | command->word[10];

    switch (command->word[13] & 0xffu) {
    case NVME_ZONE_RESET:
        return media_status(media_zone_reset(media, block));
    case NVME_ZONE_FINISH:
        return media_status(media_zone_finish(media, block));
    case NVME_ZONE_OPEN:
        return media_status(media_zone_open(media, block));
    case NVME_ZONE_CLOSE:
        return media_status(media_zone_close(media, block));
    default:
        return NVME_SC_INVALID_FIELD;
    }
}

static uint32_t execute_io(struct nvme_fake *fake, const struct nvme_fake_command *command,
                           uint64_t *result)
{
    uint64_t block = (uint64_t)command->word[11] << 32 | command->word[10];

    struct media_fake *media = nvme_fake_media(fake, command->word[1]);

    if (media == NULL) {
        nvme_fake_fault(fake, "wrong namespace");
        return NVME_SC_INVALID_NAMESPACE;
    }
    switch (command->word[0] & 0xffu) {
    case NVME_IO_FLUSH:
        media_flush(media);
        fake->flushes++;
        return NVME_SC_SUCCESS;
    case NVME_IO_READ:
    case NVME_IO_WRITE:
    case NVME_IO_COMPARE:
    case NVME_IO_ZONE_APPEND:
        return transfer_blocks(fake, media, command, result);
    case NVME_IO_WRITE_ZEROES:
        return media_status(media_write(media, block, (command->word[12] & 0xffffu) + 1u, NULL,
                                        (command->word[12] & NVME_FUA) != 0));
    case NVME_IO_DATASET: {
        struct transfer transfer;
        if (!walk_prps(fake, command->word, 16, &transfer) || command->word[10] != 0 ||
            load_le64(transfer.segment[0].at + 8) >= media->block_count) {
            return NVME_SC_INVALID_FIELD;
        }
        return NVME_SC_SUCCESS;
    }
    case NVME_IO_COPY:
        return copy_blocks(fake, media, command);
    case NVME_IO_MANAGEMENT_RECEIVE:
        return placement_status(fake, command);
    case NVME_IO_ZONE_SEND:
        return zone_send(media, command);
    case NVME_IO_ZONE_RECEIVE:
        return zone_report(fake, media, command);
    default:
        return NVME_SC_INVALID_OPCODE;
    }
}

uint32_t nvme_fake_execute(struct nvme_fake *fake, const struct nvme_fake_command *command,
                           uint64_t *result)
{
    if ((command->word[0] & 0xff00u & ~(fake->no_sgl ? 0 : NVME_PSDT_SGL)) != 0) {
        nvme_fake_fault(fake, "reserved bits, or SGLs that it has not, in a command");
        return NVME_SC_INVALID_FIELD;
    }
    return command->queue == 0 ? execute_admin(fake, command, result)
                               : execute_io(fake, command, result);
}
