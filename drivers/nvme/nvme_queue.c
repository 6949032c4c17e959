// SPDX-License-Identifier: MIT OR Apache-2.0
/* Submission and completion: the hot path, and the slots behind it. */
#include "drivers/nvme/nvme_internal.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

void nvme_queue_init(struct nvme *nvme, struct nvme_queue *queue, uint16_t id)
{
    const struct dma_region *dma = &nvme->config.dma;
    uint32_t page = id == 0 ? NVME_PAGE_ADMIN_SQ : NVME_PAGE_IO_SQ;
    uint32_t entries = id == 0 ? NVME_ADMIN_ENTRIES : NVME_QUEUE_ENTRIES;
    uint32_t completions = NVME_COMPLETION_ENTRIES;
    uint32_t most = NVME_CAP_MQES(nvme->capabilities) + 1u;
    size_t stride = (size_t)4u << NVME_CAP_DSTRD(nvme->capabilities);
    volatile uint8_t *doorbells = (volatile uint8_t *)nvme->config.registers + NVME_REG_DOORBELLS;

    if (id != 0) { /* MQES does not limit the admin queues */
        entries = entries < most ? entries : most;
        completions = completions < most ? completions : most;
    }
    queue->submissions = dma->base + (size_t)page * PAGE_BYTES;
    queue->completions = queue->submissions + PAGE_BYTES;
    memset(queue->submissions, 0, (size_t)2u * PAGE_BYTES);
    queue->tail_doorbell = doorbells + 2u * id * stride;
    queue->head_doorbell = doorbells + (2u * id + 1u) * stride;
    queue->sq_entries = (uint16_t)entries;
    queue->cq_entries = (uint16_t)completions;
    queue->id = id;
    queue->tail = 0;
    queue->head = 0;
    queue->head_told = 0;
    queue->phase = 1;
    /* Completions of everything outstanding must always find room. */
    queue->head_batch = (uint16_t)(completions >= 2u * entries ? completions - entries : 1u);
    queue->depth = entries - 1u;
    queue->free_count = 0;
    for (uint32_t i = queue->depth; i-- > 0;) {
        if (queue->slots[i].local_status == 0) { /* else it is still to be told to the user */
            queue->slots[i].operation = 0;
            queue->free_slots[queue->free_count++] = (uint8_t)i;
        }
    }
}

struct nvme_command_slot *nvme_queue_push(struct nvme_queue *queue, struct nvme_command *command)
{
    uint32_t index = queue->free_slots[--queue->free_count];
    struct nvme_command_slot *slot = &queue->slots[index];
    uint32_t generation = ((uint32_t)slot->cid >> 6) + 1u;

    if (unlikely(generation >= NVME_GENERATION_END)) {
        generation = 0;
    }
    slot->cid = (uint16_t)(generation << 6 | index);
    slot->aborting = false;
    command->word[0] |= (uint32_t)slot->cid << 16;
    __builtin_memcpy(queue->submissions + (size_t)queue->tail * NVME_SQE_BYTES, command,
                     sizeof *command);
    queue->tail = (uint16_t)(queue->tail + 1u == queue->sq_entries ? 0 : queue->tail + 1u);
    return slot;
}

void nvme_queue_ring(struct nvme *nvme, struct nvme_queue *queue)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
    mmio_write32(queue->tail_doorbell, queue->tail);
    nvme->counters.doorbells++;
}

static inline uint32_t completion_word(const struct nvme_queue *queue, uint32_t word)
{
    const volatile uint32_t *entry =
        (const volatile uint32_t *)(const volatile void *)(queue->completions +
                                                           (size_t)queue->head * NVME_CQE_BYTES);
    return entry[word];
}

static inline bool completion_is_new(const struct nvme_queue *queue, uint32_t word3)
{
    return (word3 >> 16 & 1u) == queue->phase;
}

bool nvme_completion_waits(const struct nvme_queue *queue)
{
    return completion_is_new(queue, completion_word(queue, 3));
}

static inline void next_completion(struct nvme_queue *queue)
{
    if (unlikely(++queue->head == queue->cq_entries)) {
        queue->head = 0;
        queue->phase ^= 1u;
    }
    queue->head_told++;
}

static void tell_head(struct nvme *nvme, struct nvme_queue *queue)
{
    mmio_write32(queue->head_doorbell, queue->head);
    queue->head_told = 0;
    nvme->counters.doorbells++;
}

/* ---- Addresses ---- */

/* Fills PRP1 and PRP2 for `bytes` at `data` (Base 4.3). False: not in the data memory. */
static bool fill_prps(const struct nvme *nvme, struct nvme_command *command, const void *data,
                      uint64_t bytes)
{
    const struct dma_region *region = &nvme->config.data;
    uint64_t offset = (uint64_t)((uintptr_t)data - (uintptr_t)region->base);

    if (unlikely(offset >= region->bytes || bytes > region->bytes - offset || (offset & 3u) != 0)) {
        return false;
    }
    const uint64_t *page = region->page_device_address + (offset >> PAGE_SHIFT);
    uint64_t in_page = offset & (PAGE_BYTES - 1u);
    uint64_t first = page[0] + in_page;
    uint64_t pages = (in_page + bytes + PAGE_BYTES - 1u) >> PAGE_SHIFT;
    uint64_t second = 0;

    if (pages == 2) {
        second = page[1];
    } else if (pages > 2) {
        uint32_t slot = nvme->io.free_slots[nvme->io.free_count - 1u];
        uint64_t at = (uint64_t)slot * NVME_PRP_LIST_BYTES;
        uint8_t *list = nvme->prp_lists + at;
        if (unlikely(pages - 1u > NVME_PRP_LIST_BYTES / 8u)) {
            return false;
        }
        memcpy(list, page + 1, (size_t)(pages - 1u) * 8u);
        second = dma_device_address(&nvme->config.dma, NVME_PAGE_PRP_LISTS * PAGE_BYTES + at);
    }
    command->word[6] = (uint32_t)first;
    command->word[7] = (uint32_t)(first >> 32);
    command->word[8] = (uint32_t)second;
    command->word[9] = (uint32_t)(second >> 32);
    return true;
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

static bool is_zone_start(const struct block_device *block, uint64_t at)
{
    return (block->flags & BLOCK_DEVICE_ZONED) != 0 && at < block->block_count &&
           at % block->zone_blocks == 0;
}

/* A discard's one range lies where the slot's PRP list would (Base 6.7). */
static void fill_discard(const struct nvme *nvme, struct nvme_command *command,
                         const struct block_request *request)
{
    uint32_t slot = nvme->io.free_slots[nvme->io.free_count - 1u];
    size_t at = (size_t)slot * NVME_PRP_LIST_BYTES;
    uint8_t *range = nvme->prp_lists + at;
    uint64_t address = dma_device_address(&nvme->config.dma, NVME_PAGE_PRP_LISTS * PAGE_BYTES + at);

    store_le32(range, 0);
    store_le32(range + 4, request->blocks);
    store_le64(range + 8, request->block);
    command->word[0] = NVME_IO_DATASET;
    command->word[6] = (uint32_t)address;
    command->word[7] = (uint32_t)(address >> 32);
    command->word[11] = NVME_DATASET_DEALLOCATE;
}

static bool fill_zone_command(const struct nvme *nvme, struct nvme_command *command,
                              const struct block_request *request)
{
    static const uint8_t actions[] = {
        [BLOCK_ZONE_RESET] = NVME_ZONE_RESET,
        [BLOCK_ZONE_FINISH] = NVME_ZONE_FINISH,
        [BLOCK_ZONE_OPEN] = NVME_ZONE_OPEN,
        [BLOCK_ZONE_CLOSE] = NVME_ZONE_CLOSE,
    };

    if (!is_zone_start(&nvme->block, request->block)) {
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
               fill_prps(nvme, command, request->data, BLOCK_ZONE_REPORT_BYTES);
    }
    command->word[0] = NVME_IO_ZONE_SEND;
    command->word[13] = actions[request->operation];
    return true;
}

/* All operations but the plain read and write. */
static bool fill_other(const struct nvme *nvme, struct nvme_command *command,
                       const struct block_request *request)
{
    const struct block_device *block = &nvme->block;
    uint32_t fua = (request->flags & BLOCK_FUA) != 0 ? NVME_FUA : 0;

    switch (request->operation) {
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
        fill_discard(nvme, command, request);
        return (block->flags & BLOCK_DEVICE_DISCARD) != 0 &&
               range_fits(block, request, BLOCK_RANGE_MAX);
    case BLOCK_ZONE_APPEND:
        command->word[0] = NVME_IO_ZONE_APPEND;
        fill_range(command, request->block, request->blocks);
        command->word[12] |= fua;
        /* The drive itself refuses what is not a zone's start. */
        return range_fits(block, request, block->max_append_blocks) &&
               fill_prps(nvme, command, request->data,
                         (uint64_t)request->blocks << block->block_shift);
    case BLOCK_ZONE_RESET:
    case BLOCK_ZONE_FINISH:
    case BLOCK_ZONE_OPEN:
    case BLOCK_ZONE_CLOSE:
    case BLOCK_ZONE_REPORT:
        return fill_zone_command(nvme, command, request);
    default:
        return false;
    }
}

static inline bool fill_command(const struct nvme *nvme, struct nvme_command *command,
                                const struct block_request *request)
{
    const struct block_device *block = &nvme->block;

    *command = (struct nvme_command){0};
    command->word[1] = nvme->namespace_id;
    if (likely(request->operation == BLOCK_READ || request->operation == BLOCK_WRITE)) {
        command->word[0] = request->operation == BLOCK_READ ? NVME_IO_READ : NVME_IO_WRITE;
        fill_range(command, request->block, request->blocks);
        if (request->operation == BLOCK_WRITE && (request->flags & BLOCK_FUA) != 0) {
            command->word[12] |= NVME_FUA;
        }
        return range_fits(block, request, block->max_transfer_blocks) &&
               fill_prps(nvme, command, request->data,
                         (uint64_t)request->blocks << block->block_shift);
    }
    return fill_other(nvme, command, request);
}

/* Takes a slot for a request that never reaches the device. */
static void complete_locally(struct nvme *nvme, const struct block_request *request,
                             status_t status)
{
    struct nvme_queue *queue = &nvme->io;
    struct nvme_command_slot *slot = &queue->slots[queue->free_slots[--queue->free_count]];

    slot->cookie = request->cookie;
    slot->operation = BLOCK_FLUSH;
    slot->local_status = (uint32_t)-status;
    nvme->local_count++;
}

uint32_t nvme_submit(struct nvme *nvme, const struct block_request *requests, uint32_t count,
                     time_ns_t now_ns)
{
    struct nvme_queue *queue = &nvme->io;
    time_ns_t deadline_ns = now_ns + nvme->config.deadline_ns;
    uint16_t tail = queue->tail;
    uint32_t done = 0;

    if (unlikely(nvme->state != NVME_READY && nvme->state != NVME_DEAD)) {
        return 0;
    }
    if (queue->free_count == queue->depth) {
        nvme->next_check_ns = deadline_ns;
    }
    for (; done < count && queue->free_count != 0; done++) {
        const struct block_request *request = &requests[done];
        struct nvme_command command;
        if (unlikely(nvme->state == NVME_DEAD)) {
            complete_locally(nvme, request, STATUS_DEVICE_ERROR);
            continue;
        }
        if (unlikely(!fill_command(nvme, &command, request))) {
            complete_locally(nvme, request, STATUS_INVALID_ARGUMENT);
            continue;
        }
        struct nvme_command_slot *slot = nvme_queue_push(queue, &command);
        slot->cookie = request->cookie;
        slot->block = request->block;
        slot->data = request->data;
        slot->operation = request->operation;
        slot->deadline_ns = deadline_ns;
    }
    if (likely(queue->tail != tail)) {
        nvme_queue_ring(nvme, queue);
    }
    nvme->counters.submitted += done;
    return done;
}

/* ---- Completions ---- */

status_t nvme_status(uint32_t device_status)
{
    switch (device_status) {
    case NVME_SC_SUCCESS:
        return STATUS_OK;
    case NVME_SC_INVALID_OPCODE:
        return STATUS_UNSUPPORTED;
    case NVME_SC_INVALID_FIELD:
    case NVME_SC_INVALID_NAMESPACE:
    case NVME_SC_LBA_RANGE:
    case NVME_SC_ZONE_INVALID_WRITE:
    case NVME_SC_ZONE_TRANSITION:
        return STATUS_INVALID_ARGUMENT;
    case NVME_SC_ABORTED:
    case NVME_SC_ABORTED_SQ_DELETED:
        return STATUS_DEVICE_TIMEOUT;
    case NVME_SC_CAPACITY:
    case NVME_SC_ZONE_BOUNDARY:
    case NVME_SC_ZONE_FULL:
    case NVME_SC_TOO_MANY_ACTIVE:
    case NVME_SC_TOO_MANY_OPEN:
        return STATUS_FULL;
    default:
        return STATUS_DEVICE_ERROR;
    }
}

/* Turns the device's descriptors into struct block_zone, in place: each is read before anything is
 * written at or behind it. Returns the number of zones, or 0 with CORRUPT for impossible ones. */
static uint64_t convert_zones(const struct nvme *nvme, uint8_t *data, status_t *status)
{
    const struct block_device *block = &nvme->block;
    uint64_t count = load_le64(data);

    count = count < BLOCK_ZONE_REPORT_MAX ? count : BLOCK_ZONE_REPORT_MAX;
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *at =
            data + NVME_ZONE_REPORT_HEADER_BYTES + (size_t)i * NVME_ZONE_DESCRIPTOR_BYTES;
        uint32_t raw = (uint32_t)at[1] >> 4;
        struct block_zone zone = {load_le64(at + 16), load_le64(at + 8), 0, BLOCK_ZONE_DEAD};
        uint64_t pointer = load_le64(at + 24);
        if (!is_zone_start(block, zone.block) || zone.capacity > block->zone_blocks) {
            *status = STATUS_CORRUPT;
            return 0;
        }
        if (raw == NVME_ZS_FULL) {
            zone.state = BLOCK_ZONE_FULL;
            zone.written_blocks = zone.capacity;
        } else if (raw >= NVME_ZS_EMPTY && raw <= NVME_ZS_CLOSED) {
            zone.state = raw == NVME_ZS_EMPTY    ? BLOCK_ZONE_EMPTY
                         : raw == NVME_ZS_CLOSED ? BLOCK_ZONE_CLOSED
                                                 : BLOCK_ZONE_OPEN_STATE;
            if (pointer < zone.block || pointer - zone.block > zone.capacity) {
                *status = STATUS_CORRUPT;
                return 0;
            }
            zone.written_blocks = pointer - zone.block;
        }
        memcpy(data + (size_t)i * sizeof zone, &zone, sizeof zone);
    }
    return count;
}

static void finish_slow(struct nvme *nvme, const struct nvme_command_slot *slot,
                        struct block_completion *completion, uint64_t result)
{
    if (completion->device_status != NVME_SC_SUCCESS) {
        completion->status = nvme_status(completion->device_status);
        nvme->counters.errors++;
        return;
    }
    if (slot->operation == BLOCK_ZONE_APPEND) {
        completion->block = result;
        if (result < slot->block || result - slot->block >= nvme->block.zone_blocks) {
            completion->status = STATUS_DEVICE_ERROR;
            nvme->counters.violations++;
        }
    } else if (slot->operation == BLOCK_ZONE_REPORT) {
        completion->block = convert_zones(nvme, slot->data, &completion->status);
    }
}

static void violation(struct nvme *nvme)
{
    nvme->counters.violations++;
    nvme->reset_wanted = true;
}

/* Reads the completion at the head and frees its slot; NULL for one that names no command in
 * flight. The slot's fields stay readable until the next submission. */
static inline struct nvme_command_slot *take_completion(struct nvme *nvme, struct nvme_queue *queue,
                                                        uint32_t word3)
{
    uint32_t sq_head = completion_word(queue, 2) & 0xffffu;
    uint32_t index = word3 & NVME_SLOT_MASK;
    struct nvme_command_slot *slot = &queue->slots[index];

    if (unlikely(index >= queue->depth || slot->cid != (uint16_t)word3 || slot->operation == 0 ||
                 slot->local_status != 0 || sq_head >= queue->sq_entries)) {
        violation(nvme);
        return NULL;
    }
    queue->free_slots[queue->free_count++] = (uint8_t)index;
    return slot;
}

uint32_t nvme_reap(struct nvme *nvme, struct block_completion *completions, uint32_t max)
{
    struct nvme_queue *queue = &nvme->io;
    uint32_t done = 0;

    while (done < max) {
        uint32_t word3 = completion_word(queue, 3);
        if (!completion_is_new(queue, word3)) {
            break;
        }
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        struct nvme_command_slot *slot = take_completion(nvme, queue, word3);
        if (likely(slot != NULL)) {
            struct block_completion *completion = &completions[done++];
            completion->cookie = slot->cookie;
            completion->block = 0;
            completion->status = STATUS_OK;
            completion->device_status = word3 >> 17 & NVME_STATUS_MASK;
            if (unlikely(completion->device_status != 0 || slot->operation >= BLOCK_ZONE_APPEND)) {
                uint64_t low = completion_word(queue, 0);
                finish_slow(nvme, slot, completion,
                            (uint64_t)completion_word(queue, 1) << 32 | low);
            }
            slot->operation = 0;
        }
        next_completion(queue);
        if (unlikely(nvme->reset_wanted)) {
            break;
        }
    }
    if (queue->head_told >= queue->head_batch) {
        tell_head(nvme, queue);
    }
    if (done != 0) {
        nvme->counters.completed += done;
        nvme->resets_in_row = 0;
    }
    return done;
}

void nvme_tell_head(struct nvme *nvme)
{
    if (nvme->io.head_told != 0) {
        tell_head(nvme, &nvme->io);
    }
}

bool nvme_admin_reap(struct nvme *nvme, struct nvme_result *result, uint8_t *purpose)
{
    struct nvme_queue *queue = &nvme->admin;
    uint32_t word3 = completion_word(queue, 3);

    if (!completion_is_new(queue, word3)) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    struct nvme_command_slot *slot = take_completion(nvme, queue, word3);
    if (slot == NULL) {
        return false;
    }
    *result =
        (struct nvme_result){word3 >> 17 & NVME_STATUS_MASK, slot->cid, completion_word(queue, 0)};
    *purpose = slot->operation;
    slot->operation = 0;
    next_completion(queue);
    tell_head(nvme, queue);
    return true;
}

void nvme_fail_outstanding(struct nvme *nvme, status_t status)
{
    for (uint32_t i = 0; i < nvme->io.depth; i++) {
        struct nvme_command_slot *slot = &nvme->io.slots[i];
        if (slot->operation != 0 && slot->local_status == 0) {
            slot->local_status = (uint32_t)-status;
            nvme->local_count++;
        }
    }
}

uint32_t nvme_reap_local(struct nvme *nvme, struct block_completion *completions, uint32_t max)
{
    struct nvme_queue *queue = &nvme->io;
    uint32_t done = 0;

    for (uint32_t i = 0; i < NVME_QUEUE_ENTRIES && done < max && nvme->local_count != 0; i++) {
        struct nvme_command_slot *slot = &queue->slots[i];
        if (slot->operation == 0 || slot->local_status == 0) {
            continue;
        }
        completions[done++] = (struct block_completion){.cookie = slot->cookie,
                                                        .status = -(status_t)slot->local_status};
        slot->operation = 0;
        slot->local_status = 0;
        queue->free_slots[queue->free_count++] = (uint8_t)i;
        nvme->local_count--;
        nvme->counters.errors++;
    }
    nvme->counters.completed += done;
    return done;
}
