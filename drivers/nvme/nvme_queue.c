// SPDX-License-Identifier: MIT OR Apache-2.0
/* Queues, their slots, and completions. */
#include "drivers/nvme/nvme_internal.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"

#define SHADOW_JUDGED 64u
#define SHADOW_PAUSE 4096u

static void shadow_queue(struct nvme *nvme, struct nvme_queue *queue)
{
    size_t stride = (size_t)4u << NVME_CAP_DSTRD(nvme->capabilities);
    uint8_t *shadow = nvme->config.dma.base + (size_t)NVME_PAGE_SHADOW * PAGE_BYTES;
    uint8_t *events = nvme->config.dma.base + (size_t)NVME_PAGE_EVENTS * PAGE_BYTES;
    size_t tail = 2u * queue->id * stride;

    queue->tail_shadow = (volatile uint32_t *)(void *)(shadow + tail);
    queue->head_shadow = (volatile uint32_t *)(void *)(shadow + tail + stride);
    queue->tail_event = (const volatile uint32_t *)(void *)(events + tail);
    queue->head_event = (const volatile uint32_t *)(void *)(events + tail + stride);
    *queue->tail_shadow = queue->tail;
    *queue->head_shadow = queue->head;
}

void nvme_queue_init(struct nvme *nvme, struct nvme_queue *queue, uint16_t id, uint8_t *submissions,
                     uint8_t *completions)
{
    uint32_t entries = id == 0 ? NVME_ADMIN_ENTRIES : NVME_QUEUE_ENTRIES;
    uint32_t room = NVME_COMPLETION_ENTRIES;
    uint32_t most = NVME_CAP_MQES(nvme->capabilities) + 1u;
    size_t stride = (size_t)4u << NVME_CAP_DSTRD(nvme->capabilities);
    volatile uint8_t *doorbells = (volatile uint8_t *)nvme->config.registers + NVME_REG_DOORBELLS;

    if (id != 0) { /* MQES does not limit the admin queues */
        entries = entries < most ? entries : most;
        room = room < most ? room : most;
    }
    queue->submissions = submissions;
    queue->completions = completions;
    memset(submissions, 0, PAGE_BYTES);
    memset(completions, 0, PAGE_BYTES);
    queue->tail_doorbell = doorbells + 2u * id * stride;
    queue->head_doorbell = doorbells + (2u * id + 1u) * stride;
    queue->tail_shadow = NULL;
    queue->sq_entries = (uint16_t)entries;
    queue->cq_entries = (uint16_t)room;
    queue->id = id;
    queue->tail = 0;
    queue->head = 0;
    queue->head_told = 0;
    queue->phase = 1;
    /* Completions of everything outstanding must always find room. */
    queue->head_batch = (uint16_t)(room >= 2u * entries ? room - entries : 1u);
    queue->depth = entries - 1u;
    queue->free_count = 0;
    for (uint32_t i = queue->depth; i-- > 0;) {
        if (queue->slots[i].local_status == 0) { /* else it is still to be told to the user */
            queue->slots[i].key = (queue->slots[i].key & ~(NVME_IN_FLIGHT | NVME_SLOT_MASK)) | i;
            queue->free_slots[queue->free_count++] = (uint8_t)i;
        }
    }
    if (id != 0 && nvme->shadows_used) { /* controllers differ about the admin queue */
        shadow_queue(nvme, queue);
    }
}

struct nvme_command_slot *nvme_queue_push(struct nvme_queue *queue,
                                          const struct nvme_command *command)
{
    struct nvme_command_slot *slot = nvme_slot_take(queue);
    uint8_t *entry = nvme_entry_take(queue);

    __builtin_memcpy(entry, command, sizeof *command);
    store_le16(entry + 2, (uint16_t)slot->key);
    return slot;
}

/* Writes a doorbell's shadow; true when the controller does not look at it by itself now. */
static inline bool write_shadow(volatile uint32_t *shadow, const volatile uint32_t *event,
                                uint16_t value)
{
    uint16_t before = (uint16_t)*shadow;

    __atomic_thread_fence(__ATOMIC_RELEASE);
    *shadow = value;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* it writes the event, then looks at the shadow */
    return nvme_must_tell((uint16_t)*event, value, before);
}

/* Whether the doorbell is to be written too. A controller that wants to be told each time (QEMU
 * with few requests under way) costs a fence for nothing: then it is told without asking for a
 * while. */
static bool ring_shadow(struct nvme_queue *queue, struct nvme_counters *counters)
{
    if (queue->tell_always != 0) {
        queue->tell_always--;
        __atomic_store_n(queue->tail_shadow, queue->tail, __ATOMIC_RELEASE);
        return true;
    }
    bool tell = write_shadow(queue->tail_shadow, queue->tail_event, queue->tail);
    queue->shadow_spared = (uint16_t)(queue->shadow_spared + !tell);
    counters->shadowed += !tell;
    if (++queue->shadow_asked == SHADOW_JUDGED) {
        queue->tell_always = queue->shadow_spared < SHADOW_JUDGED / 8u ? SHADOW_PAUSE : 0;
        queue->shadow_asked = 0;
        queue->shadow_spared = 0;
    }
    return tell;
}

void nvme_queue_ring(struct nvme_queue *queue, struct nvme_counters *counters)
{
    if (queue->tail_shadow != NULL && !ring_shadow(queue, counters)) {
        return;
    }
    __atomic_thread_fence(__ATOMIC_RELEASE);
    mmio_write32(queue->tail_doorbell, queue->tail);
    counters->doorbells++;
}

static inline const volatile uint32_t *completion_at(const struct nvme_queue *queue, uint32_t head)
{
    return (const volatile uint32_t *)(const volatile void *)(queue->completions +
                                                              (size_t)head * NVME_CQE_BYTES);
}

bool nvme_completion_waits(const struct nvme_queue *queue)
{
    return (completion_at(queue, queue->head)[3] >> NVME_PHASE_SHIFT & 1u) == queue->phase;
}

static void tell_head(struct nvme_queue *queue, struct nvme_counters *counters)
{
    queue->head_told = 0;
    if (queue->tail_shadow != NULL &&
        !write_shadow(queue->head_shadow, queue->head_event, queue->head)) {
        counters->shadowed++;
        return;
    }
    mmio_write32(queue->head_doorbell, queue->head);
    counters->doorbells++;
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
    case NVME_SC_COMPARE_FAILURE:
        return STATUS_CORRUPT;
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
static uint64_t convert_zones(const struct block_device *block, uint8_t *data, status_t *status)
{
    uint64_t count = load_le64(data);

    count = count < BLOCK_ZONE_REPORT_MAX ? count : BLOCK_ZONE_REPORT_MAX;
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *at =
            data + NVME_ZONE_REPORT_HEADER_BYTES + (size_t)i * NVME_ZONE_DESCRIPTOR_BYTES;
        uint32_t raw = (uint32_t)at[1] >> 4;
        struct block_zone zone = {load_le64(at + 16), load_le64(at + 8), 0, BLOCK_ZONE_DEAD};
        uint64_t pointer = load_le64(at + 24);
        if (!nvme_is_zone_start(block, zone.block) || zone.capacity > block->zone_blocks) {
            *status = STATUS_CORRUPT;
            return 0;
        }
        if (raw == NVME_ZS_FULL || raw == NVME_ZS_READ_ONLY) {
            zone.state = raw == NVME_ZS_FULL ? BLOCK_ZONE_FULL : BLOCK_ZONE_READ_ONLY;
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

static void violation(struct nvme_port *port)
{
    port->counters.violations++;
    port->reset_status = STATUS_CORRUPT;
    port->next_check_ns = 0;
}

static void finish_slow(struct nvme_port *port, const struct nvme_command_slot *slot,
                        struct block_completion *completion, uint64_t result)
{
    uint32_t operation = slot->operation & ~NVME_OPERATION_ABORTING;

    if (completion->device_status != NVME_SC_SUCCESS) {
        completion->status = nvme_status(completion->device_status);
        port->counters.errors++;
        return;
    }
    if (operation == BLOCK_ZONE_APPEND) {
        completion->block = result;
        if (result < slot->block || result - slot->block >= port->block.zone_blocks) {
            completion->status = STATUS_DEVICE_ERROR;
            port->counters.violations++;
        }
    } else if (operation == BLOCK_ZONE_REPORT) {
        completion->block = convert_zones(&port->block, slot->data, &completion->status);
    }
}

/* The slot that a completion is of; NULL for one that names no command in flight, or a queue
 * position that does not exist. */
static inline struct nvme_command_slot *slot_of(struct nvme_queue *queue, uint32_t word2,
                                                uint32_t word3)
{
    struct nvme_command_slot *slot = &queue->slots[word3 & NVME_SLOT_MASK];

    if (unlikely(slot->key != ((word3 & 0xffffu) | NVME_IN_FLIGHT) ||
                 (word2 & 0xffffu) >= queue->sq_entries)) {
        return NULL;
    }
    slot->key = word3 & 0xffffu;
    return slot;
}

static inline uint32_t reap(struct nvme_port *port, struct block_completion *completions,
                            uint32_t max)
{
    struct nvme_queue *queue = &port->queue;
    uint32_t head = queue->head;
    uint32_t phase = (uint32_t)queue->phase << NVME_PHASE_SHIFT;
    uint32_t free_count = queue->free_count;
    uint32_t done = 0;
    uint32_t taken = 0;

    for (; done < max; taken++) {
        const volatile uint32_t *entry = completion_at(queue, head);
        uint32_t word3 = entry[3];
        if ((word3 & 1u << NVME_PHASE_SHIFT) != phase) {
            break;
        }
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        struct nvme_command_slot *slot = slot_of(queue, entry[2], word3);
        if (unlikely(++head == queue->cq_entries)) {
            head = 0;
            phase ^= 1u << NVME_PHASE_SHIFT;
        }
        if (unlikely(slot == NULL)) {
            violation(port);
            taken++;
            break;
        }
        struct block_completion *completion = &completions[done++];
        uint32_t status = word3 >> 17 & NVME_STATUS_MASK;
        *completion = (struct block_completion){.cookie = slot->cookie, .device_status = status};
        if (unlikely(status != 0 || slot->operation >= BLOCK_ZONE_APPEND)) {
            uint64_t low = entry[0];
            finish_slow(port, slot, completion, (uint64_t)entry[1] << 32 | low);
        }
        queue->free_slots[free_count++] = (uint8_t)(word3 & NVME_SLOT_MASK);
    }
    if (taken != 0) {
        queue->head = (uint16_t)head;
        queue->phase = (uint16_t)(phase >> NVME_PHASE_SHIFT);
        queue->free_count = free_count;
        queue->head_told = (uint16_t)(queue->head_told + taken);
        if (queue->head_told >= queue->head_batch) {
            tell_head(queue, &port->counters);
        }
        port->counters.completed += done;
    }
    return done;
}

void nvme_tell_head(struct nvme_port *port)
{
    if (port->queue.head_told != 0) {
        tell_head(&port->queue, &port->counters);
    }
}

bool nvme_reap_one(struct nvme *nvme, struct nvme_queue *queue, struct nvme_result *result,
                   uint8_t *purpose)
{
    const volatile uint32_t *entry = completion_at(queue, queue->head);
    uint32_t word3 = entry[3];

    if ((word3 >> NVME_PHASE_SHIFT & 1u) != queue->phase) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    struct nvme_command_slot *slot = slot_of(queue, entry[2], word3);
    if (slot == NULL) {
        nvme->counters.violations++;
        nvme->reset_wanted = true;
        return false;
    }
    *result = (struct nvme_result){word3 >> 17 & NVME_STATUS_MASK, entry[0]};
    *purpose = slot->operation;
    queue->free_slots[queue->free_count++] = (uint8_t)(word3 & NVME_SLOT_MASK);
    if (++queue->head == queue->cq_entries) {
        queue->head = 0;
        queue->phase ^= 1u;
    }
    tell_head(queue, &nvme->counters);
    return true;
}

void nvme_use_shadows(struct nvme *nvme)
{
    nvme->shadows_used = true;
    for (uint32_t i = 0; i < nvme->port_count; i++) {
        if (!nvme->ports[i]->own_thread) { /* the others find out when they renew theirs */
            shadow_queue(nvme, &nvme->ports[i]->queue);
        }
    }
}

/* ---- A port ---- */

static void fail_outstanding(struct nvme_port *port, status_t status)
{
    for (uint32_t i = 0; i < NVME_QUEUE_ENTRIES; i++) {
        struct nvme_command_slot *slot = &port->queue.slots[i];
        if ((slot->key & NVME_IN_FLIGHT) != 0) {
            slot->key &= ~NVME_IN_FLIGHT;
            slot->local_status = (uint16_t)-status;
            port->local_count++;
        }
    }
}

void nvme_port_renew(struct nvme_port *port)
{
    fail_outstanding(port, port->failed_status);
    nvme_queue_init(port->nvme, &port->queue, port->queue.id, port->submissions,
                    port->dma.base + (size_t)NVME_PAGE_IO_CQ * PAGE_BYTES);
}

void nvme_port_follow(struct nvme_port *port)
{
    uint32_t grant = __atomic_load_n(&port->grant, __ATOMIC_ACQUIRE) & ~NVME_GRANT_CLOSED;

    if (grant == port->epoch) {
        return;
    }
    if (grant == NVME_GRANT_DEAD) {
        fail_outstanding(port, port->failed_status);
        port->transfer_bytes_max = 0; /* so that every request is looked at closely */
    } else if (grant != 0) {
        nvme_port_renew(port);
    }
    port->next_check_ns = 0;
    __atomic_store_n(&port->epoch, grant, __ATOMIC_RELEASE);
}

void nvme_port_check(struct nvme_port *port, time_ns_t now_ns)
{
    time_ns_t next_ns = DEADLINE_NEVER;

    for (uint32_t i = 0; i < port->queue.depth && nvme_port_lives(port); i++) {
        struct nvme_command_slot *slot = &port->queue.slots[i];
        if ((slot->key & NVME_IN_FLIGHT) == 0) {
            continue;
        }
        if (now_ns >= slot->deadline_ns && (slot->operation & NVME_OPERATION_ABORTING) != 0) {
            port->counters.timeouts++;
            port->reset_status = STATUS_DEVICE_TIMEOUT;
            slot->deadline_ns = DEADLINE_NEVER; /* said once */
        } else if (now_ns >= slot->deadline_ns && port->abort_key == 0) {
            port->counters.timeouts++;
            port->counters.aborts++;
            slot->operation |= NVME_OPERATION_ABORTING;
            slot->deadline_ns = now_ns + (port->command_ns >> NVME_ABORT_GRACE_SHIFT);
            __atomic_store_n(&port->abort_key, slot->key, __ATOMIC_RELEASE);
        }
        next_ns = slot->deadline_ns < next_ns ? slot->deadline_ns : next_ns;
    }
    port->next_check_ns = next_ns;
}

static uint32_t reap_local(struct nvme_port *port, struct block_completion *completions,
                           uint32_t max)
{
    struct nvme_queue *queue = &port->queue;
    uint32_t done = 0;

    for (uint32_t i = 0; i < NVME_QUEUE_ENTRIES && done < max && port->local_count != 0; i++) {
        struct nvme_command_slot *slot = &queue->slots[i];
        if (slot->local_status == 0) {
            continue;
        }
        completions[done++] = (struct block_completion){.cookie = slot->cookie,
                                                        .status = -(status_t)slot->local_status};
        slot->local_status = 0;
        queue->free_slots[queue->free_count++] = (uint8_t)i;
        port->local_count--;
        port->counters.errors++;
    }
    return done;
}

uint32_t nvme_poll(struct nvme_port *port, struct block_completion *completions, uint32_t max,
                   time_ns_t now_ns)
{
    uint32_t done = 0;

    if (unlikely(port->epoch != port->grant)) {
        nvme_port_follow(port);
    }
    if (unlikely(port->local_count != 0)) {
        done = reap_local(port, completions, max);
    }
    if (likely(nvme_port_lives(port))) {
        done += reap(port, completions + done, max - done);
    }
    if (unlikely(now_ns >= port->next_check_ns)) {
        nvme_poll_slowly(port, now_ns);
    }
    return done;
}
