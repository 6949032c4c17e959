// SPDX-License-Identifier: MIT OR Apache-2.0
/* From requests to submission entries; the hot path of submission. */
#include "drivers/nvme/nvme_internal.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"

/* PRP1 and PRP2 for data in the controller's own memory, which is one piece for it. False: it is
 * not. */
static bool fill_own_prps(const struct nvme_port *port, struct nvme_command *command,
                          const void *data, uint64_t bytes)
{
    uint64_t first = nvme_memory_address(port->nvme, data, bytes);
    uint64_t next = (first | (PAGE_BYTES - 1u)) + 1u;
    uint64_t end = first + bytes;
    uint64_t second = end > next ? next : 0;

    if (first == 0 || (first & 3u) != 0) {
        return false;
    }
    if (end > next + PAGE_BYTES) {
        uint32_t slot = port->queue.free_slots[port->queue.free_count - 1u];
        uint64_t at = (uint64_t)slot * NVME_PRP_LIST_BYTES;
        uint64_t *list = (uint64_t *)(void *)(port->prp_lists + at);
        for (uint32_t i = 0; next + i * PAGE_BYTES < end; i++) {
            if (i == NVME_PRP_LIST_BYTES / 8u) {
                return false;
            }
            list[i] = next + i * PAGE_BYTES;
        }
        second = dma_device_address(&port->dma, NVME_PAGE_PRP_LISTS * PAGE_BYTES + at);
    }
    command->word[6] = (uint32_t)first;
    command->word[7] = (uint32_t)(first >> 32);
    command->word[8] = (uint32_t)second;
    command->word[9] = (uint32_t)(second >> 32);
    return true;
}

/* Fills PRP1 and PRP2 for `bytes` at `data` (Base 4.3). False: not in the data memory. */
static bool fill_prps(const struct nvme_port *port, struct nvme_command *command, const void *data,
                      uint64_t bytes)
{
    const struct dma_region *region = &port->data;
    uint64_t offset = (uint64_t)((uintptr_t)data - (uintptr_t)region->base);

    if (unlikely(offset >= region->bytes || bytes > region->bytes - offset || (offset & 3u) != 0)) {
        return fill_own_prps(port, command, data, bytes);
    }
    const uint64_t *page = region->page_device_address + (offset >> PAGE_SHIFT);
    uint64_t in_page = offset & (PAGE_BYTES - 1u);
    uint64_t first = page[0] + in_page;
    uint64_t pages = (in_page + bytes + PAGE_BYTES - 1u) >> PAGE_SHIFT;
    uint64_t second = 0;

    if (pages == 2) {
        second = page[1];
    } else if (pages > 2) {
        uint32_t slot = port->queue.free_slots[port->queue.free_count - 1u];
        uint64_t at = (uint64_t)slot * NVME_PRP_LIST_BYTES;
        uint8_t *list = port->prp_lists + at;
        if (unlikely(pages - 1u > NVME_PRP_LIST_BYTES / 8u)) {
            return false;
        }
        memcpy(list, page + 1, (size_t)(pages - 1u) * 8u);
        second = dma_device_address(&port->dma, NVME_PAGE_PRP_LISTS * PAGE_BYTES + at);
    }
    command->word[6] = (uint32_t)first;
    command->word[7] = (uint32_t)(first >> 32);
    command->word[8] = (uint32_t)second;
    command->word[9] = (uint32_t)(second >> 32);
    return true;
}

/* The region in which a piece begins: that of all data, or one of the further ones. */
static inline const struct dma_region *region_of(const struct nvme_port *port, const void *data)
{
    const struct nvme_config *config = &port->nvme->config;

    if (likely((uintptr_t)data - (uintptr_t)port->data.base < port->data.bytes)) {
        return &port->data;
    }
    for (uint32_t i = 0; i < config->more_data_count; i++) {
        const struct dma_region *region = &config->more_data[i];
        if ((uintptr_t)data - (uintptr_t)region->base < region->bytes) {
            return region;
        }
    }
    return &port->data; /* in which it does not lie: refused there */
}

/* The same for pieces (lib/block/block.h): all but the first begin with a page, so that their pages
 * follow each other in one list. False: not in the data memory, or not such pieces. */
static bool fill_piece_prps(const struct nvme_port *port, struct nvme_command *command,
                            const struct block_request *request)
{
    const struct block_piece *pieces = request->data;
    uint64_t left = (uint64_t)request->blocks << port->block.block_shift;
    uint32_t slot = port->queue.free_slots[port->queue.free_count - 1u];
    uint64_t list_at = (uint64_t)slot * NVME_PRP_LIST_BYTES;
    uint64_t *list = (uint64_t *)(void *)(port->prp_lists + list_at);
    uint32_t count = 0;
    uint64_t first = 0;

    for (uint32_t i = 0; i < request->pieces; i++) {
        const struct dma_region *region = region_of(port, pieces[i].data);
        uint64_t offset = (uint64_t)((uintptr_t)pieces[i].data - (uintptr_t)region->base);
        uint32_t bytes = pieces[i].bytes;
        uint64_t in_page = offset & (PAGE_BYTES - 1u);
        const uint64_t *page = region->page_device_address + (offset >> PAGE_SHIFT);
        if (unlikely(offset >= region->bytes || bytes > region->bytes - offset || bytes > left ||
                     bytes == 0 || (offset & 3u) != 0 || (i != 0 && in_page != 0) ||
                     (i + 1u != request->pieces && ((in_page + bytes) & (PAGE_BYTES - 1u)) != 0))) {
            return false;
        }
        left -= bytes;
        uint32_t pages = (uint32_t)((in_page + bytes + PAGE_BYTES - 1u) >> PAGE_SHIFT);
        if (unlikely(count + pages > NVME_PRP_LIST_BYTES / 8u)) {
            return false;
        }
        if (i == 0) {
            first = *page++ + in_page;
            pages--;
        }
        for (; pages != 0; pages--) {
            list[count++] = *page++;
        }
    }
    uint64_t second =
        count == 1 ? list[0]
                   : dma_device_address(&port->dma, NVME_PAGE_PRP_LISTS * PAGE_BYTES + list_at);
    second = count == 0 ? 0 : second;
    command->word[6] = (uint32_t)first;
    command->word[7] = (uint32_t)(first >> 32);
    command->word[8] = (uint32_t)second;
    command->word[9] = (uint32_t)(second >> 32);
    return left == 0;
}

static void put_descriptor(uint8_t *to, uint64_t address, uint32_t bytes, uint8_t type)
{
    store_le64(to, address);
    store_le32(to + 8, bytes);
    store_le32(to + 12, (uint32_t)type << 24);
}

/* Pieces that pages cannot say: one data block descriptor for what lies in one page of one piece.
 * False: not in the data memory, too many, or not `blocks` in all. */
static bool fill_piece_sgl(const struct nvme_port *port, struct nvme_command *command,
                           const struct block_request *request)
{
    const struct block_piece *pieces = request->data;
    uint64_t left = (uint64_t)request->blocks << port->block.block_shift;
    uint32_t slot = port->queue.free_slots[port->queue.free_count - 1u];
    uint64_t list_at = (uint64_t)slot * NVME_PRP_LIST_BYTES;
    uint8_t descriptor[NVME_SGL_BYTES];
    uint32_t used = 0;

    for (uint32_t i = 0; i < request->pieces; i++) {
        const struct dma_region *region = region_of(port, pieces[i].data);
        uint64_t offset = (uint64_t)((uintptr_t)pieces[i].data - (uintptr_t)region->base);
        uint32_t bytes = pieces[i].bytes;
        if (offset >= region->bytes || bytes > region->bytes - offset || bytes > left ||
            bytes == 0 || ((offset | bytes) & 3u) != 0) {
            return false;
        }
        left -= bytes;
        while (bytes != 0) {
            uint32_t room = PAGE_BYTES - (uint32_t)(offset & (PAGE_BYTES - 1u));
            uint32_t chunk = bytes < room ? bytes : room;
            if (used == NVME_PRP_LIST_BYTES) {
                return false;
            }
            put_descriptor(port->prp_lists + list_at + used, dma_device_address(region, offset),
                           chunk, NVME_SGL_DATA_BLOCK);
            used += NVME_SGL_BYTES;
            offset += chunk;
            bytes -= chunk;
        }
    }
    put_descriptor(descriptor,
                   dma_device_address(&port->dma, NVME_PAGE_PRP_LISTS * PAGE_BYTES + list_at), used,
                   NVME_SGL_LAST_SEGMENT);
    command->word[0] |= NVME_PSDT_SGL;
    for (uint32_t i = 0; i < 4u; i++) {
        command->word[6u + i] = load_le32(descriptor + (size_t)i * 4u);
    }
    return left == 0 && used != 0;
}

static bool fill_data(const struct nvme_port *port, struct nvme_command *command,
                      const struct block_request *request)
{
    if ((request->flags & BLOCK_VECTORED) != 0) {
        return request->pieces <= BLOCK_PIECES_MAX &&
               (fill_piece_prps(port, command, request) ||
                ((port->block.flags & BLOCK_DEVICE_ANY_PIECES) != 0 &&
                 fill_piece_sgl(port, command, request)));
    }
    return fill_prps(port, command, request->data,
                     (uint64_t)request->blocks << port->block.block_shift);
}

/* ---- Commands ---- */

static inline void fill_range(struct nvme_command *command, uint64_t block, uint32_t blocks)
{
    command->word[10] = (uint32_t)block;
    command->word[11] = (uint32_t)(block >> 32);
    command->word[12] = blocks - 1u;
}

static bool range_fits(const struct block_device *block, const struct block_request *request,
                       uint32_t most)
{
    return request->blocks != 0 && request->blocks <= most && request->block < block->block_count &&
           request->blocks <= block->block_count - request->block;
}

/* A discard's one range lies where the slot's PRP list would (Base 6.7). */
static void fill_discard(const struct nvme_port *port, struct nvme_command *command,
                         const struct block_request *request)
{
    uint32_t slot = port->queue.free_slots[port->queue.free_count - 1u];
    size_t at = (size_t)slot * NVME_PRP_LIST_BYTES;
    uint8_t *range = port->prp_lists + at;
    uint64_t address = dma_device_address(&port->dma, NVME_PAGE_PRP_LISTS * PAGE_BYTES + at);

    store_le32(range, 0);
    store_le32(range + 4, request->blocks);
    store_le64(range + 8, request->block);
    command->word[0] = NVME_IO_DATASET;
    command->word[6] = (uint32_t)address;
    command->word[7] = (uint32_t)(address >> 32);
    command->word[11] = NVME_DATASET_DEALLOCATE;
}

/* Sources of a copy lie where the slot's PRP list would (TP 4065, descriptor format 0). */
static bool fill_copy(const struct nvme_port *port, struct nvme_command *command,
                      const struct block_request *request)
{
    const struct block_device *block = &port->block;
    const struct block_range *ranges = request->data;
    uint32_t slot = port->queue.free_slots[port->queue.free_count - 1u];
    size_t at = (size_t)slot * NVME_PRP_LIST_BYTES;
    uint64_t address = dma_device_address(&port->dma, NVME_PAGE_PRP_LISTS * PAGE_BYTES + at);
    uint64_t left = request->blocks;

    if (request->pieces == 0 || request->pieces > block->max_copy_ranges) {
        return false;
    }
    for (uint32_t i = 0; i < request->pieces; i++) {
        uint8_t *to = port->prp_lists + at + (size_t)i * NVME_COPY_RANGE_BYTES;
        struct block_range range = ranges[i];
        if (range.blocks == 0 || range.blocks > block->max_copy_range_blocks ||
            range.blocks > left || range.block >= block->block_count ||
            range.blocks > block->block_count - range.block) {
            return false;
        }
        left -= range.blocks;
        memset(to, 0, NVME_COPY_RANGE_BYTES);
        store_le64(to + 8, range.block);
        store_le16(to + 16, (uint16_t)(range.blocks - 1u));
    }
    command->word[0] = NVME_IO_COPY;
    command->word[6] = (uint32_t)address;
    command->word[7] = (uint32_t)(address >> 32);
    command->word[10] = (uint32_t)request->block;
    command->word[11] = (uint32_t)(request->block >> 32);
    command->word[12] = request->pieces - 1u;
    return left == 0;
}

/* The placement handle of a write (TP 4146). False: there is no such handle. */
static bool fill_placement(const struct nvme_port *port, struct nvme_command *command,
                           const struct block_request *request)
{
    if ((request->flags & BLOCK_PLACED) == 0) {
        return true;
    }
    if (request->operation != BLOCK_WRITE || request->placement >= port->block.placements) {
        return false;
    }
    command->word[12] |= NVME_DIRECTIVE_PLACEMENT;
    command->word[13] = (uint32_t)port->placement_ids[request->placement] << 16;
    return true;
}

static bool fill_zone_command(const struct nvme_port *port, struct nvme_command *command,
                              const struct block_request *request)
{
    static const uint8_t actions[] = {
        [BLOCK_ZONE_RESET] = NVME_ZONE_RESET,
        [BLOCK_ZONE_FINISH] = NVME_ZONE_FINISH,
        [BLOCK_ZONE_OPEN] = NVME_ZONE_OPEN,
        [BLOCK_ZONE_CLOSE] = NVME_ZONE_CLOSE,
    };

    if (!nvme_is_zone_start(&port->block, request->block)) {
        return false;
    }
    command->word[10] = (uint32_t)request->block;
    command->word[11] = (uint32_t)(request->block >> 32);
    if (request->operation == BLOCK_ZONE_REPORT) {
        uint32_t bytes =
            NVME_ZONE_REPORT_HEADER_BYTES + request->blocks * NVME_ZONE_DESCRIPTOR_BYTES;
        command->word[0] = NVME_IO_ZONE_RECEIVE;
        command->word[12] = bytes / 4u - 1u;
        command->word[13] = NVME_ZONE_REPORT_PARTIAL;
        return request->blocks != 0 && request->blocks <= BLOCK_ZONE_REPORT_MAX &&
               fill_prps(port, command, request->data, BLOCK_ZONE_REPORT_BYTES);
    }
    command->word[0] = NVME_IO_ZONE_SEND;
    command->word[13] = actions[request->operation];
    return true;
}

/* Any operation. False: the request is wrong in itself. */
static bool fill_command(const struct nvme_port *port, struct nvme_command *command,
                         const struct block_request *request)
{
    const struct block_device *block = &port->block;
    uint32_t fua = (request->flags & BLOCK_FUA) != 0 ? NVME_FUA : 0;

    *command = (struct nvme_command){0};
    command->word[1] = port->namespace_id;
    switch (request->operation) {
    case BLOCK_READ:
    case BLOCK_WRITE:
        command->word[0] = request->operation == BLOCK_READ ? NVME_IO_READ : NVME_IO_WRITE;
        fill_range(command, request->block, request->blocks);
        command->word[12] |= request->operation == BLOCK_WRITE ? fua : 0;
        return range_fits(block, request, block->max_transfer_blocks) &&
               fill_placement(port, command, request) && fill_data(port, command, request);
    case BLOCK_COPY:
        return (block->flags & BLOCK_DEVICE_COPY) != 0 &&
               range_fits(block, request, block->max_copy_blocks) &&
               fill_copy(port, command, request) && ((command->word[12] |= fua), true);
    case BLOCK_COMPARE:
        command->word[0] = NVME_IO_COMPARE;
        fill_range(command, request->block, request->blocks);
        return (block->flags & BLOCK_DEVICE_COMPARE) != 0 &&
               range_fits(block, request, block->max_transfer_blocks) &&
               fill_data(port, command, request);
    case BLOCK_FLUSH:
        command->word[0] = NVME_IO_FLUSH;
        return true;
    case BLOCK_WRITE_ZEROES:
        command->word[0] = NVME_IO_WRITE_ZEROES;
        fill_range(command, request->block, request->blocks);
        command->word[12] |= fua;
        return (block->flags & BLOCK_DEVICE_WRITE_ZEROES) != 0 &&
               range_fits(block, request, BLOCK_RANGE_MAX);
    case BLOCK_DISCARD:
        fill_discard(port, command, request);
        return (block->flags & BLOCK_DEVICE_DISCARD) != 0 &&
               range_fits(block, request, BLOCK_RANGE_MAX);
    case BLOCK_ZONE_APPEND:
        command->word[0] = NVME_IO_ZONE_APPEND;
        fill_range(command, request->block, request->blocks);
        command->word[12] |= fua;
        /* The drive itself refuses what is not a zone's start. */
        return range_fits(block, request, block->max_append_blocks) &&
               fill_data(port, command, request);
    case BLOCK_ZONE_RESET:
    case BLOCK_ZONE_FINISH:
    case BLOCK_ZONE_OPEN:
    case BLOCK_ZONE_CLOSE:
    case BLOCK_ZONE_REPORT:
        return fill_zone_command(port, command, request);
    default:
        return false;
    }
}

/* Takes a slot for a request that never reaches the device. */
static void complete_locally(struct nvme_port *port, const struct block_request *request,
                             status_t status)
{
    struct nvme_queue *queue = &port->queue;
    struct nvme_command_slot *slot = &queue->slots[queue->free_slots[--queue->free_count]];

    slot->cookie = request->cookie;
    slot->local_status = (uint16_t)-status;
    port->local_count++;
}

/* Everything but what submit_plain takes. */
static __attribute__((noinline)) void
submit_any(struct nvme_port *port, const struct block_request *request, time_ns_t deadline_ns)
{
    struct nvme_command command;

    if (port->epoch == NVME_GRANT_DEAD) {
        complete_locally(port, request, STATUS_DEVICE_ERROR);
        return;
    }
    if (!fill_command(port, &command, request)) {
        complete_locally(port, request, STATUS_INVALID_ARGUMENT);
        return;
    }
    struct nvme_command_slot *slot = nvme_queue_push(&port->queue, &command);
    slot->cookie = request->cookie;
    slot->operation = request->operation;
    slot->deadline_ns = deadline_ns;
    slot->block = request->block;
    slot->data = request->data;
}

/* A submission entry as eight words of 64 bits (Base 4.2). */
typedef uint64_t __attribute__((may_alias)) entry_word_t;

/* The one is the other's opcode taken from this sum. */
#define PLAIN_OPCODES (BLOCK_READ + NVME_IO_READ)
_Static_assert(PLAIN_OPCODES == BLOCK_WRITE + NVME_IO_WRITE, "reads and writes swap numbers");
_Static_assert(BLOCK_FUA == 1u && BLOCK_WRITE == 2u, "the FUA bit counts with the write's");

/* What of the queue is kept in registers while requests are submitted: stores into the queue would
 * make the compiler load it again. */
struct submitting {
    uint32_t tail, free_count;
};

static inline struct submitting begin_submitting(const struct nvme_queue *queue)
{
    return (struct submitting){.tail = queue->tail, .free_count = queue->free_count};
}

static inline void end_submitting(struct nvme_queue *queue, struct submitting at)
{
    queue->tail = (uint16_t)at.tail;
    queue->free_count = at.free_count;
}

/* Operation and flags in one: a read or a write, with FUA or without. */
static inline uint32_t what_of(const struct block_request *request)
{
    return (uint32_t)request->flags << 8 | request->operation;
}

static inline bool is_plain(uint32_t what)
{
    return (what & ~(BLOCK_FUA << 8)) - BLOCK_READ <= BLOCK_WRITE - BLOCK_READ;
}

/* The hot path: a plain request of a right range and at most two pages. False: not such a one,
 * nothing was done. transfer_bytes_max is at most the data memory and the namespace, so that the
 * subtractions cannot wrap. */
static inline bool submit_plain(struct nvme_port *port, const struct block_request *request,
                                struct submitting *at, time_ns_t deadline_ns)
{
    struct nvme_queue *queue = &port->queue;
    const struct block_device *block = &port->block;
    const struct dma_region *region = &port->data;
    uint64_t offset = (uint64_t)((uintptr_t)request->data - (uintptr_t)region->base);
    uint64_t bytes = (uint64_t)request->blocks << block->block_shift;
    uint64_t in_page = offset & (PAGE_BYTES - 1u);
    uint32_t what = what_of(request);

    if (unlikely(bytes - 1u >= port->transfer_bytes_max ||
                 request->block > block->block_count - request->blocks ||
                 offset > region->bytes - bytes || in_page + bytes > 2u * PAGE_BYTES ||
                 (offset & 3u) != 0)) {
        return false;
    }
    const uint64_t *page = region->page_device_address + (offset >> PAGE_SHIFT);
    struct nvme_command_slot *slot = nvme_slot_start(queue, queue->free_slots[--at->free_count]);
    entry_word_t *entry =
        (entry_word_t *)(void *)(queue->submissions + (size_t)at->tail * NVME_SQE_BYTES);
    uint32_t fua = (what >> 8 & what >> 1 & 1u) != 0 ? NVME_FUA : 0; /* of a write only */

    at->tail = at->tail + 1u == queue->sq_entries ? 0 : at->tail + 1u;
    entry[0] = (uint64_t)port->namespace_id << 32 | (uint32_t)(slot->key << 16) |
               (PLAIN_OPCODES - (what & 0xffu));
    /* Words 1, 2 and 7 are 0 in every command of ours, so in every entry of the queue. */
    entry[3] = page[0] + in_page;
    entry[4] = in_page + bytes > PAGE_BYTES ? page[1] : 0;
    entry[5] = request->block;
    entry[6] = (request->blocks - 1u) | fua;
    slot->cookie = request->cookie;
    slot->operation = (uint8_t)what;
    slot->deadline_ns = deadline_ns;
    return true;
}

uint32_t nvme_submit(struct nvme_port *port, const struct block_request *requests, uint32_t count,
                     time_ns_t now_ns)
{
    struct nvme_queue *queue = &port->queue;
    time_ns_t deadline_ns = now_ns + port->command_ns;
    uint16_t tail = queue->tail;

    if (unlikely(port->epoch != port->grant || port->epoch == 0)) {
        nvme_port_follow(port);
        if (port->epoch == 0 || port->epoch != port->grant) {
            return 0;
        }
        tail = queue->tail; /* of the queue made anew */
    }
    if (deadline_ns < port->next_check_ns) {
        port->next_check_ns = deadline_ns;
    }
    struct submitting at = begin_submitting(queue);
    count = count < at.free_count ? count : at.free_count;
    for (uint32_t i = 0; i < count; i++) {
        if (unlikely(!is_plain(what_of(&requests[i])) ||
                     !submit_plain(port, &requests[i], &at, deadline_ns))) {
            end_submitting(queue, at);
            submit_any(port, &requests[i], deadline_ns);
            at = begin_submitting(queue);
        }
    }
    end_submitting(queue, at);
    if (likely(at.tail != tail)) {
        nvme_queue_ring(queue, &port->counters);
    }
    port->counters.submitted += count;
    return count;
}
