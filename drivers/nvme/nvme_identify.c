// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the controller and its namespaces say of themselves; nothing of it is believed unseen. */
#include "drivers/nvme/nvme_internal.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"

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

void nvme_identify(struct nvme *nvme, uint32_t cns, uint32_t namespace_id, uint32_t set,
                   uint8_t purpose, time_ns_t now_ns)
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
    command.word[11] = set << 24;
    nvme_admin_submit(nvme, &command, purpose, now_ns);
}

/* Identify Controller (Base 5.15.2.2). */
status_t nvme_read_controller(struct nvme *nvme)
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
    nvme->controller_transfer_bytes = NVME_TRANSFER_BYTES_MAX;
    if (mdts != 0 && mdts + page_shift < 32u &&
        1u << (mdts + page_shift) < nvme->controller_transfer_bytes) {
        nvme->controller_transfer_bytes = 1u << (mdts + page_shift);
    }
    while (nvme->controller_transfer_bytes > nvme->config.data.bytes) {
        nvme->controller_transfer_bytes /= 2u;
    }
    nvme->shadow_offered = (load_le16(data + 256) & NVME_OACS_SHADOW_DOORBELLS) != 0;
    nvme->virtual_offered = (load_le16(data + 256) & NVME_OACS_VIRTUALIZATION) != 0;
    nvme->placement_offered = (load_le32(data + 96) & NVME_CTRATT_PLACEMENT) != 0;
    nvme->error_log_entries = data[262] + 1u;                    /* ELPE */
    nvme->controller_atomic_blocks = load_le16(data + 528) + 1u; /* AWUPF */
    nvme->controller_flags =
        ((data[525] & 1u) != 0 ? BLOCK_DEVICE_VOLATILE_CACHE : 0u) |
        ((load_le32(data + 536) & NVME_SGLS_SUPPORT) != 0 ? BLOCK_DEVICE_ANY_PIECES : 0u) |
        ((optional & 1u) != 0 ? BLOCK_DEVICE_COMPARE : 0u) |
        ((optional & 4u) != 0 ? BLOCK_DEVICE_DISCARD : 0u) |
        ((optional & 8u) != 0 ? BLOCK_DEVICE_WRITE_ZEROES : 0u) |
        ((optional & 0x100u) != 0 && (load_le16(data + 534) & 1u) != 0 ? BLOCK_DEVICE_COPY : 0u);
    return STATUS_OK;
}

/* Active Namespace ID list (Base 5.15.2.3): ascending, ended by 0. */
void nvme_read_namespaces(struct nvme *nvme)
{
    nvme->namespace_count = 0;
    for (uint32_t i = 0; i < NVME_NAMESPACES_MAX; i++) {
        uint32_t id = load_le32(nvme->identify + (size_t)i * 4u);
        if (id == 0) {
            break;
        }
        if (nvme->namespaces[i].id != id) {
            nvme->namespaces[i] = (struct nvme_namespace){.id = id};
        }
        nvme->namespace_count++;
    }
}

/* Namespace Identification Descriptor list (Base 5.15.2.4; type 4 is the command set). */
status_t nvme_read_command_set(const struct nvme *nvme, uint32_t *command_set)
{
    const uint8_t *data = nvme->identify;

    *command_set = NVME_CSI_NVM;
    for (uint32_t at = 0; at + 4u <= PAGE_BYTES;) {
        uint32_t type = data[at];
        uint32_t bytes = data[at + 1u];
        if (type == 0 || bytes == 0 || at + 4u + bytes > PAGE_BYTES) {
            break;
        }
        if (type == NVME_DESCRIPTOR_CSI) {
            *command_set = data[at + 4u];
        }
        at += 4u + bytes;
    }
    return *command_set == NVME_CSI_NVM || *command_set == NVME_CSI_ZNS ? STATUS_OK
                                                                        : STATUS_UNSUPPORTED;
}

/* Limits of one Copy (TP 4065): MSSRL, MCL, MSRC. */
static void read_copy_limits(struct block_device *block, const uint8_t *data)
{
    uint32_t most = NVME_PRP_LIST_BYTES / NVME_COPY_RANGE_BYTES;
    uint32_t ranges = data[80] + 1u;
    uint32_t range_blocks = load_le16(data + 74);
    uint32_t blocks = load_le32(data + 76);

    if ((block->flags & BLOCK_DEVICE_COPY) == 0 || range_blocks == 0 || blocks == 0) {
        block->flags &= ~(uint32_t)BLOCK_DEVICE_COPY;
        block->max_copy_ranges = 0;
        return;
    }
    block->max_copy_ranges = ranges < most ? ranges : most;
    block->max_copy_range_blocks = range_blocks;
    block->max_copy_blocks = blocks;
}

/* What a write keeps whole at power loss: the namespace's own limit where it has one (Base 6.4).
 * Where atomic writes must not cross a boundary, only one block is promised at any place. */
static uint32_t atomic_blocks(const struct nvme *nvme, const uint8_t *data)
{
    if ((data[24] & NVME_NSFEAT_ATOMIC) == 0) {
        return nvme->controller_atomic_blocks;
    }
    if (load_le16(data + 44) != 0) { /* NABSPF */
        return 1;
    }
    return load_le16(data + 36) != 0 ? load_le16(data + 36) + 1u : nvme->controller_atomic_blocks;
}

/* Identify Namespace, NVM command set (Base 5.15.2.1): NSZE, NUSE, FLBAS, LBAF. */
status_t nvme_read_geometry(const struct nvme *nvme, struct nvme_geometry *geometry)
{
    const uint8_t *data = nvme->identify;
    uint32_t index = (data[26] & 0xfu) | (data[26] >> 1 & 0x30u);
    uint32_t format = load_le32(data + 128u + (size_t)index * 4u);

    *geometry = (struct nvme_geometry){.blocks = load_le64(data),
                                       .used_blocks = load_le64(data + 16),
                                       .block_shift = format >> 16 & 0xffu,
                                       .format_index = index};
    if (geometry->blocks == 0 || geometry->blocks >> 51 != 0 || geometry->block_shift < 9u ||
        geometry->block_shift > 12u || (format & 0xffffu) != 0) {
        return STATUS_UNSUPPORTED; /* no blocks, odd size, or metadata in every block */
    }
    return STATUS_OK;
}

/* The same of a port's. */
status_t nvme_read_namespace(struct nvme *nvme, struct nvme_port *port)
{
    struct block_device *block = &port->block;
    const uint8_t *data = nvme->identify;
    uint32_t transfer = nvme->controller_transfer_bytes;
    struct nvme_geometry geometry;
    status_t status = nvme_read_geometry(nvme, &geometry);
    uint32_t shift = geometry.block_shift;

    if (status != STATUS_OK) {
        return status;
    }
    if (port->geometry_known &&
        (block->block_count != geometry.blocks || block->block_shift != shift)) {
        return STATUS_CORRUPT;
    }
    while (transfer >> shift > geometry.blocks) {
        transfer /= 2u;
    }
    port->format_index = geometry.format_index;
    port->transfer_bytes_max = transfer;
    block->flags = nvme->controller_flags;
    block->block_count = geometry.blocks;
    block->block_shift = shift;
    block->block_bytes = 1u << shift;
    block->max_transfer_blocks = transfer >> shift;
    block->atomic_blocks = atomic_blocks(nvme, data);
    block->queue_depth = port->queue.depth;
    read_copy_limits(block, data);
    return STATUS_OK;
}

/* A 0's based limit in which all ones means none (ZNS 4.1.5.1). */
static uint32_t zone_limit(uint32_t raw)
{
    return raw == 0xffffffffu ? 0 : raw + 1u;
}

/* Identify Namespace, ZNS (ZNS 4.1.5.1). */
status_t nvme_read_zones(const struct nvme *nvme, uint64_t blocks, uint32_t format_index,
                         struct nvme_zones *zones)
{
    const uint8_t *data = nvme->identify;
    uint64_t distance = load_le64(data + 2816u + (size_t)format_index * 16u);

    if (distance == 0 || distance > blocks || blocks / distance > 0xffffffffu) {
        return STATUS_UNSUPPORTED;
    }
    *zones = (struct nvme_zones){.blocks = distance,
                                 .count = (uint32_t)(blocks / distance),
                                 .max_active = zone_limit(load_le32(data + 4)),
                                 .max_open = zone_limit(load_le32(data + 8))};
    return STATUS_OK;
}

/* The same of a port's. */
status_t nvme_read_zoned_namespace(const struct nvme *nvme, struct nvme_port *port)
{
    struct block_device *block = &port->block;
    uint32_t append = port->append_bytes_max;
    struct nvme_zones zones;
    status_t status = nvme_read_zones(nvme, block->block_count, port->format_index, &zones);

    if (status != STATUS_OK) {
        return status;
    }
    if (port->geometry_known && block->zone_blocks != zones.blocks) {
        return STATUS_CORRUPT;
    }
    append = append < port->transfer_bytes_max ? append : port->transfer_bytes_max;
    block->flags |= BLOCK_DEVICE_ZONED;
    block->zone_blocks = zones.blocks;
    block->zone_count = zones.count;
    block->max_active_zones = zones.max_active;
    block->max_open_zones = zones.max_open;
    block->max_append_blocks = append >> block->block_shift;
    return STATUS_OK;
}

/* Identify Controller, ZNS (ZNS 4.1.5.2): zone append size limit, 0 meaning MDTS. */
void nvme_read_zoned_controller(const struct nvme *nvme, struct nvme_port *port)
{
    uint32_t zasl = nvme->identify[0];
    uint32_t shift = zasl + 12u + NVME_CAP_MPSMIN(nvme->capabilities);

    port->append_bytes_max = nvme->controller_transfer_bytes;
    if (zasl != 0 && shift < 32u && 1u << shift < port->append_bytes_max) {
        port->append_bytes_max = 1u << shift;
    }
}

/* Reclaim Unit Handle Status (TP 4146): a descriptor for each placement handle of the namespace. */
void nvme_read_placements(const struct nvme *nvme, struct nvme_port *port)
{
    uint32_t count = load_le16(nvme->identify + 14);

    count = count < NVME_PLACEMENTS_MAX ? count : NVME_PLACEMENTS_MAX;
    for (uint32_t i = 0; i < count; i++) {
        port->placement_ids[i] = load_le16(nvme->identify + NVME_PLACEMENT_HEADER_BYTES +
                                           (size_t)i * NVME_PLACEMENT_BYTES);
    }
    port->block.placements = count;
}

/* Secondary Controller List (Base 5.15.2.11): the first one that is not online, with the number of
 * those that are before it. False: there is none. */
bool nvme_read_secondaries(struct nvme *nvme)
{
    uint32_t count = nvme->identify[0];

    nvme->secondaries_online = 0;
    for (uint32_t i = 0; i < count && i < NVME_SECONDARIES_MAX; i++) {
        const uint8_t *entry = nvme->identify + (size_t)(i + 1u) * NVME_SECONDARY_BYTES;
        if ((entry[4] & 1u) == 0) {
            nvme->secondary = load_le16(entry);
            return true;
        }
        nvme->secondaries_online++;
    }
    return false;
}
