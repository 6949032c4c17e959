// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * From an enabled controller to a usable namespace, one admin command at a time (Base 7.6.1):
 *
 *   controller -> [shadow doorbells] -> namespaces -> [descriptors -> [set controller]] ->
 * namespace -> [set namespace]
 *     -> queue count -> completion queue -> submission queue -> done
 *
 * and back again for a shutdown: submission queue -> completion queue -> done.
 */
#include "drivers/nvme/nvme_internal.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"

enum setup_step {
    SETUP_CONTROLLER,
    SETUP_SHADOW,
    SETUP_NAMESPACES,
    SETUP_DESCRIPTORS,
    SETUP_SET_CONTROLLER,
    SETUP_NAMESPACE,
    SETUP_SET_NAMESPACE,
    SETUP_QUEUE_COUNT,
    SETUP_COMPLETION_QUEUE,
    SETUP_SUBMISSION_QUEUE,
    SETUP_DONE
};

static void submit_step(struct nvme *nvme, struct nvme_command *command, time_ns_t now_ns)
{
    nvme_admin_submit(nvme, command, NVME_FOR_SETUP, now_ns);
}

static void identify(struct nvme *nvme, uint32_t cns, uint32_t namespace_id, time_ns_t now_ns)
{
    struct nvme_command command = {0};
    uint64_t address =
        dma_device_address(&nvme->config.dma, (size_t)NVME_PAGE_IDENTIFY * PAGE_BYTES);

    /* A device that writes nothing is then seen as one. */
    memset(nvme->identify, 0, PAGE_BYTES);
    command.word[0] = NVME_ADMIN_IDENTIFY;
    command.word[1] = namespace_id;
    command.word[6] = (uint32_t)address;
    command.word[7] = (uint32_t)(address >> 32);
    command.word[10] = cns;
    if (cns == NVME_CNS_SET_CONTROLLER || cns == NVME_CNS_SET_NAMESPACE) {
        command.word[11] = nvme->command_set << 24;
    }
    submit_step(nvme, &command, now_ns);
}

static void create_queue(struct nvme *nvme, uint32_t opcode, time_ns_t now_ns)
{
    struct nvme_command command = {0};
    bool completion = opcode == NVME_ADMIN_CREATE_CQ;
    size_t page = completion ? NVME_PAGE_IO_CQ : NVME_PAGE_IO_SQ;
    uint64_t address = dma_device_address(&nvme->config.dma, page * PAGE_BYTES);
    uint32_t entries = completion ? nvme->io.cq_entries : nvme->io.sq_entries;
    uint32_t id = nvme->io.id;
    uint32_t interrupt = nvme->config.msix_table != NULL ? 2u : 0u;

    command.word[0] = opcode;
    command.word[6] = (uint32_t)address;
    command.word[7] = (uint32_t)(address >> 32);
    command.word[10] = (entries - 1u) << 16 | id;
    command.word[11] = completion ? interrupt | 1u : id << 16 | 1u; /* contiguous; vector 0 */
    submit_step(nvme, &command, now_ns);
}

static void delete_queue(struct nvme *nvme, uint32_t opcode, time_ns_t now_ns)
{
    struct nvme_command command = {0};

    command.word[0] = opcode;
    command.word[10] = nvme->io.id;
    submit_step(nvme, &command, now_ns);
}

/* Doorbell Buffer Config (Base 5.7): where the shadows and the events lie. */
static void configure_shadows(struct nvme *nvme, time_ns_t now_ns)
{
    const struct dma_region *dma = &nvme->config.dma;
    uint64_t shadow = dma_device_address(dma, (size_t)NVME_PAGE_SHADOW * PAGE_BYTES);
    uint64_t events = dma_device_address(dma, (size_t)NVME_PAGE_EVENTS * PAGE_BYTES);
    struct nvme_command command = {0};

    memset(dma->base + (size_t)NVME_PAGE_SHADOW * PAGE_BYTES, 0, 2u * PAGE_BYTES);
    command.word[0] = NVME_ADMIN_SHADOW_DOORBELLS;
    command.word[6] = (uint32_t)shadow;
    command.word[7] = (uint32_t)(shadow >> 32);
    command.word[8] = (uint32_t)events;
    command.word[9] = (uint32_t)(events >> 32);
    submit_step(nvme, &command, now_ns);
}

static void start_step(struct nvme *nvme, time_ns_t now_ns)
{
    struct nvme_command command = {0};

    switch (nvme->step) {
    case SETUP_CONTROLLER:
        identify(nvme, NVME_CNS_CONTROLLER, 0, now_ns);
        break;
    case SETUP_SHADOW:
        configure_shadows(nvme, now_ns);
        break;
    case SETUP_NAMESPACES:
        identify(nvme, NVME_CNS_ACTIVE_NAMESPACES, 0, now_ns);
        break;
    case SETUP_DESCRIPTORS:
        identify(nvme, NVME_CNS_DESCRIPTORS, nvme->namespace_id, now_ns);
        break;
    case SETUP_SET_CONTROLLER:
        identify(nvme, NVME_CNS_SET_CONTROLLER, 0, now_ns);
        break;
    case SETUP_NAMESPACE:
        identify(nvme, NVME_CNS_NAMESPACE, nvme->namespace_id, now_ns);
        break;
    case SETUP_SET_NAMESPACE:
        identify(nvme, NVME_CNS_SET_NAMESPACE, nvme->namespace_id, now_ns);
        break;
    case SETUP_QUEUE_COUNT:
        command.word[0] = NVME_ADMIN_SET_FEATURES;
        command.word[10] = NVME_FEATURE_QUEUES; /* word 11: 0-based counts, one of each */
        submit_step(nvme, &command, now_ns);
        break;
    case SETUP_COMPLETION_QUEUE:
        create_queue(nvme, NVME_ADMIN_CREATE_CQ, now_ns);
        break;
    default:
        create_queue(nvme, NVME_ADMIN_CREATE_SQ, now_ns);
        break;
    }
}

/* Printable part of a space-padded ASCII field (Base 1.5). */
static void copy_text(char *to, const uint8_t *from, size_t bytes)
{
    size_t length = 0;

    for (size_t i = 0; i < bytes; i++) {
        char c = (char)from[i];
        to[i] = c >= ' ' && c <= '~' ? c : '?';
        if (c != ' ' && c != '\0') {
            length = i + 1u;
        }
    }
    to[length] = '\0';
}

/* Identify Controller (Base 5.15.2.2). */
static status_t read_controller(struct nvme *nvme)
{
    const uint8_t *data = nvme->identify;
    uint32_t mdts = data[77];
    uint32_t page_shift = 12u + NVME_CAP_MPSMIN(nvme->capabilities);
    uint32_t optional = load_le16(data + 520); /* ONCS */

    if ((data[512] & 0xfu) > 6u || (data[513] & 0xfu) > 4u) {
        return STATUS_UNSUPPORTED; /* it needs larger queue entries than ours */
    }
    copy_text(nvme->serial, data + 4, 20);
    copy_text(nvme->model, data + 24, 40);
    copy_text(nvme->firmware, data + 64, 8);
    nvme->transfer_bytes_max = NVME_TRANSFER_BYTES_MAX;
    if (mdts != 0 && mdts + page_shift < 32u &&
        1u << (mdts + page_shift) < nvme->transfer_bytes_max) {
        nvme->transfer_bytes_max = 1u << (mdts + page_shift);
    }
    while (nvme->transfer_bytes_max > nvme->config.data.bytes) {
        nvme->transfer_bytes_max /= 2u;
    }
    nvme->append_bytes_max = nvme->transfer_bytes_max;
    nvme->shadow_offered = (load_le16(data + 256) & NVME_OACS_SHADOW_DOORBELLS) != 0;
    nvme->block.atomic_blocks = load_le16(data + 528) + 1u; /* AWUPF */
    nvme->block.flags =
        ((data[525] & 1u) != 0 ? BLOCK_DEVICE_VOLATILE_CACHE : 0u) |
        ((load_le32(data + 536) & NVME_SGLS_SUPPORT) != 0 ? BLOCK_DEVICE_ANY_PIECES : 0u) |
        ((optional & 1u) != 0 ? BLOCK_DEVICE_COMPARE : 0u) |
        ((optional & 4u) != 0 ? BLOCK_DEVICE_DISCARD : 0u) |
        ((optional & 8u) != 0 ? BLOCK_DEVICE_WRITE_ZEROES : 0u);
    return STATUS_OK;
}

/* Active Namespace ID list (Base 5.15.2.3): ascending, ended by 0. */
static status_t choose_namespace(struct nvme *nvme)
{
    uint32_t wanted = nvme->config.namespace_id;

    for (uint32_t i = 0; i < PAGE_BYTES / 4u; i++) {
        uint32_t id = load_le32(nvme->identify + (size_t)i * 4u);
        if (id == 0) {
            break;
        }
        if (wanted == 0 || id == wanted) {
            nvme->namespace_id = id;
            return STATUS_OK;
        }
    }
    return STATUS_NOT_FOUND;
}

/* Namespace Identification Descriptor list (Base 5.15.2.4; type 4 is the command set). */
static status_t read_command_set(struct nvme *nvme)
{
    const uint8_t *data = nvme->identify;

    nvme->command_set = NVME_CSI_NVM;
    for (uint32_t at = 0; at + 4u <= PAGE_BYTES;) {
        uint32_t type = data[at];
        uint32_t bytes = data[at + 1u];
        if (type == 0 || bytes == 0 || at + 4u + bytes > PAGE_BYTES) {
            break;
        }
        if (type == NVME_DESCRIPTOR_CSI) {
            nvme->command_set = data[at + 4u];
        }
        at += 4u + bytes;
    }
    return nvme->command_set == NVME_CSI_NVM || nvme->command_set == NVME_CSI_ZNS
               ? STATUS_OK
               : STATUS_UNSUPPORTED;
}

/* Identify Namespace, NVM command set (Base 5.15.2.1). */
static status_t read_namespace(struct nvme *nvme)
{
    struct block_device *block = &nvme->block;
    const uint8_t *data = nvme->identify;
    uint64_t size = load_le64(data);
    uint32_t format = load_le32(data + 128u + (data[26] & 0xfu) * 4u);
    uint32_t shift = format >> 16 & 0xffu;

    if (size == 0 || shift < 9u || shift > 12u || (format & 0xffffu) != 0 || size >> 51 != 0) {
        return STATUS_UNSUPPORTED; /* no blocks, odd size, or metadata in every block */
    }
    if (nvme->geometry_known && (block->block_count != size || block->block_shift != shift)) {
        return STATUS_CORRUPT;
    }
    block->block_count = size;
    block->block_shift = shift;
    block->block_bytes = 1u << shift;
    while (nvme->transfer_bytes_max >> shift > size) {
        nvme->transfer_bytes_max /= 2u;
    }
    block->max_transfer_blocks = nvme->transfer_bytes_max >> shift;
    block->queue_depth = nvme->io.depth;
    return STATUS_OK;
}

/* A 0's based limit in which all ones means none (ZNS 4.1.5.1). */
static uint32_t zone_limit(uint32_t raw)
{
    return raw == 0xffffffffu ? 0 : raw + 1u;
}

/* Identify Namespace, ZNS (ZNS 4.1.5.1). */
static status_t read_zoned_namespace(struct nvme *nvme, uint32_t format_index)
{
    struct block_device *block = &nvme->block;
    const uint8_t *data = nvme->identify;
    uint64_t zone_blocks = load_le64(data + 2816u + format_index * 16u);

    if (zone_blocks == 0 || zone_blocks > block->block_count ||
        block->block_count / zone_blocks > 0xffffffffu) {
        return STATUS_UNSUPPORTED;
    }
    if (nvme->geometry_known && block->zone_blocks != zone_blocks) {
        return STATUS_CORRUPT;
    }
    block->flags |= BLOCK_DEVICE_ZONED;
    block->zone_blocks = zone_blocks;
    block->zone_count = (uint32_t)(block->block_count / zone_blocks);
    block->max_active_zones = zone_limit(load_le32(data + 4));
    block->max_open_zones = zone_limit(load_le32(data + 8));
    block->max_append_blocks = nvme->append_bytes_max >> block->block_shift;
    return STATUS_OK;
}

/* Identify Controller, ZNS (ZNS 4.1.5.2): zone append size limit, 0 meaning MDTS. */
static status_t read_zoned_controller(struct nvme *nvme)
{
    uint32_t zasl = nvme->identify[0];
    uint32_t shift = zasl + 12u + NVME_CAP_MPSMIN(nvme->capabilities);

    if (zasl != 0 && shift < 32u && 1u << shift < nvme->append_bytes_max) {
        nvme->append_bytes_max = 1u << shift;
    }
    return STATUS_OK;
}

static status_t finish_step(struct nvme *nvme, const struct nvme_result *result)
{
    bool sets = (nvme->capabilities & NVME_CAP_CSS_IO_SETS) != 0;
    bool zoned = nvme->command_set == NVME_CSI_ZNS;
    status_t status;

    if (result->status != NVME_SC_SUCCESS && nvme->step == SETUP_SHADOW) {
        nvme->step++; /* then without */
        return STATUS_OK;
    }
    if (result->status != NVME_SC_SUCCESS) {
        return STATUS_DEVICE_ERROR;
    }
    switch (nvme->step++) {
    case SETUP_CONTROLLER:
        status = read_controller(nvme);
        nvme->step =
            nvme->shadow_offered && nvme->config.shadow_doorbells ? SETUP_SHADOW : SETUP_NAMESPACES;
        return status;
    case SETUP_SHADOW:
        nvme_use_shadows(nvme);
        return STATUS_OK;
    case SETUP_NAMESPACES:
        nvme->command_set = NVME_CSI_NVM;
        nvme->step = sets ? SETUP_DESCRIPTORS : SETUP_NAMESPACE;
        return choose_namespace(nvme);
    case SETUP_DESCRIPTORS:
        status = read_command_set(nvme);
        nvme->step = nvme->command_set == NVME_CSI_ZNS ? SETUP_SET_CONTROLLER : SETUP_NAMESPACE;
        return status;
    case SETUP_SET_CONTROLLER:
        return read_zoned_controller(nvme);
    case SETUP_NAMESPACE:
        nvme->format_index = nvme->identify[26] & 0xfu;
        nvme->step = zoned ? SETUP_SET_NAMESPACE : SETUP_QUEUE_COUNT;
        return read_namespace(nvme);
    case SETUP_SET_NAMESPACE:
        return read_zoned_namespace(nvme, nvme->format_index);
    default:
        return STATUS_OK;
    }
}

status_t nvme_setup_step(struct nvme *nvme, const struct nvme_result *result, time_ns_t now_ns)
{
    if (result != NULL) {
        status_t status = finish_step(nvme, result);
        if (status != STATUS_OK) {
            return status;
        }
        if (nvme->step == SETUP_DONE) {
            return STATUS_OK;
        }
    }
    start_step(nvme, now_ns);
    return STATUS_AGAIN;
}

status_t nvme_teardown_step(struct nvme *nvme, const struct nvme_result *result, time_ns_t now_ns)
{
    if (result != NULL) {
        nvme->step++; /* a refused deletion does not keep the drive from shutting down */
    }
    if (nvme->step == 2) {
        return STATUS_OK;
    }
    delete_queue(nvme, nvme->step == 0 ? NVME_ADMIN_DELETE_SQ : NVME_ADMIN_DELETE_CQ, now_ns);
    return STATUS_AGAIN;
}
