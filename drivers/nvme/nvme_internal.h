// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the driver's files share; not for users. */
#ifndef DRIVERS_NVME_INTERNAL_H
#define DRIVERS_NVME_INTERNAL_H

#include "drivers/nvme/nvme.h"
#include "drivers/nvme/nvme_spec.h"

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

#define NVME_ADMIN_ENTRIES 16u
#define NVME_COMPLETION_ENTRIES 256u /* one page */
#define NVME_PRP_LIST_BYTES 1024u    /* 128 entries: a transfer of NVME_TRANSFER_BYTES_MAX */
#define NVME_SLOT_MASK 63u
#define NVME_OPERATION_ABORTING 0x80u /* in a slot's operation */
#define NVME_GENERATION_END 0x3ffu    /* so that a cid is never 0xffff (Base 4.2) */

/* Pages of a port's memory. */
enum nvme_port_page {
    NVME_PAGE_IO_SQ,
    NVME_PAGE_IO_CQ,
    NVME_PAGE_PRP_LISTS, /* and the 15 after it */
    NVME_PORT_PAGES = NVME_PAGE_PRP_LISTS + 16
};

/* Pages of config.dma; the first port's come first. */
enum nvme_page {
    NVME_PAGE_ADMIN_SQ = NVME_PORT_PAGES,
    NVME_PAGE_ADMIN_CQ,
    NVME_PAGE_IDENTIFY,
    NVME_PAGE_SHADOW, /* shadow doorbells, laid out as the real ones */
    NVME_PAGE_EVENTS, /* up to where the controller looks by itself */
    NVME_PAGES
};

_Static_assert(NVME_PAGES *PAGE_BYTES <= NVME_QUEUE_MEMORY_BYTES, "queue memory suffices");
_Static_assert(NVME_PORT_PAGES *PAGE_BYTES == NVME_PORT_MEMORY_BYTES, "and a port's");
_Static_assert(NVME_QUEUE_ENTRIES *NVME_PRP_LIST_BYTES == 16u * PAGE_BYTES, "a list a slot");

#define NVME_GRANT_DEAD 0x7fffffffu   /* in place of a grant: nothing reaches the device any more */
#define NVME_GRANT_CLOSED 0x80000000u /* with a grant: take completions, but submit no more */
#define NVME_ABORT_GRACE_SHIFT 2u     /* an abort gets a quarter of the command's time */

/* What an admin slot is for. */
enum nvme_admin_purpose { NVME_FOR_SETUP = 1, NVME_FOR_ABORT = 2, NVME_FOR_QUESTION = 3 };

/* A submission entry as 16 words of 32 bits (Base 4.2). */
struct nvme_command {
    uint32_t word[16];
};

struct nvme_result {
    uint32_t status; /* SCT << 8 | SC */
    uint32_t value;  /* DW0 */
};

struct nvme_geometry {
    uint64_t blocks, used_blocks;
    uint32_t block_shift;
    uint32_t format_index; /* of its LBA format */
};

struct nvme_zones {
    uint64_t blocks; /* from one to the next */
    uint32_t count, max_active, max_open;
};

static inline uint32_t nvme_register(const struct nvme *nvme, uint32_t offset)
{
    return mmio_read32((const volatile uint8_t *)nvme->config.registers + offset);
}

static inline void nvme_set_register(struct nvme *nvme, uint32_t offset, uint32_t value)
{
    mmio_write32((volatile uint8_t *)nvme->config.registers + offset, value);
}

static inline bool nvme_is_zone_start(const struct block_device *block, uint64_t at)
{
    return (block->flags & BLOCK_DEVICE_ZONED) != 0 && at < block->block_count &&
           at % block->zone_blocks == 0;
}

/* Whether the port works under a grant of the controller's. */
static inline bool nvme_port_lives(const struct nvme_port *port)
{
    return port->epoch - 1u < NVME_GRANT_DEAD - 1u;
}

/* Gives a slot that is free its next cid. */
static inline struct nvme_command_slot *nvme_slot_start(struct nvme_queue *queue, uint32_t index)
{
    struct nvme_command_slot *slot = &queue->slots[index];
    uint32_t cid = slot->key + NVME_SLOT_MASK + 1u;

    cid = cid < NVME_GENERATION_END << 6 ? cid : index;
    slot->key = cid | NVME_IN_FLIGHT;
    return slot;
}

/* Takes a free slot, which the caller has seen there is. */
static inline struct nvme_command_slot *nvme_slot_take(struct nvme_queue *queue)
{
    return nvme_slot_start(queue, queue->free_slots[--queue->free_count]);
}

/* Memory of the next submission entry. */
static inline uint8_t *nvme_entry_take(struct nvme_queue *queue)
{
    uint32_t tail = queue->tail;

    queue->tail = (uint16_t)(tail + 1u == queue->sq_entries ? 0 : tail + 1u);
    return queue->submissions + (size_t)tail * NVME_SQE_BYTES;
}

/* Whether a controller that looks at shadow doorbells by itself up to `event` has to be told that
 * one went from `from` to `to` (Base 7.13; the same rule as virtio's, 2.7.10). */
static inline bool nvme_must_tell(uint16_t event, uint16_t to, uint16_t from)
{
    return (uint16_t)(to - event - 1u) < (uint16_t)(to - from);
}

/* nvme_memory.c: finds and enables the controller's memory buffer; moves the ports' submission
 * queues there. Once, before the controller is enabled first. */
void nvme_take_controller_memory(struct nvme *nvme);
/* Its registers again, after each reset. */
void nvme_enable_controller_memory(const struct nvme *nvme);
/* Where the controller sees `bytes` at `data` of its own memory; 0: they do not lie there. */
uint64_t nvme_memory_address(const struct nvme *nvme, const void *data, uint64_t bytes);

/* nvme_queue.c: a page for submissions, one for completions. */
void nvme_queue_init(struct nvme *nvme, struct nvme_queue *queue, uint16_t id, uint8_t *submissions,
                     uint8_t *completions);
/* Takes a slot and writes the command with its cid filled in; the caller has seen free_count > 0
 * and rings later. */
struct nvme_command_slot *nvme_queue_push(struct nvme_queue *queue,
                                          const struct nvme_command *command);
void nvme_queue_ring(struct nvme_queue *queue, struct nvme_counters *counters);
/* Next completion of a queue of which only setup knows: the admin queue, or the first port's before
 * it is lent. False when there is none. Sets reset_wanted on a violation. */
bool nvme_reap_one(struct nvme *nvme, struct nvme_queue *queue, struct nvme_result *result,
                   uint8_t *purpose);
/* From now on the controller looks at the shadows of the ports' doorbells. */
void nvme_use_shadows(struct nvme *nvme);
/* [port] Follows the controller's grant: gives the queue back, takes it anew (what was outstanding
 * then completes locally), or ends. */
void nvme_port_follow(struct nvme_port *port);
/* [port] Its queue afresh; what was outstanding completes locally. */
void nvme_port_renew(struct nvme_port *port);
/* [port] Looks for late commands; sets the next time to look. */
void nvme_port_check(struct nvme_port *port, time_ns_t now_ns);
/* [port] Writes the completion queue's doorbell if completions were held back. */
void nvme_tell_head(struct nvme_port *port);
bool nvme_completion_waits(const struct nvme_queue *queue);
status_t nvme_status(uint32_t device_status);

/* nvme_setup.c: one step each; AGAIN while waiting, OK when done. */
status_t nvme_setup_step(struct nvme *nvme, const struct nvme_result *result, time_ns_t now_ns);
status_t nvme_teardown_step(struct nvme *nvme, const struct nvme_result *result, time_ns_t now_ns);

/* nvme_ask.c: takes the answer to the question under way and asks the next. */
void nvme_take_answer(struct nvme *nvme, const struct nvme_result *result, time_ns_t now_ns);

/* nvme_identify.c: asks for a structure; the answer comes into `identify`. `set`: NVME_CSI_* where
 * the structure is of one command set. */
void nvme_identify(struct nvme *nvme, uint32_t cns, uint32_t namespace_id, uint32_t set,
                   uint8_t purpose, time_ns_t now_ns);
/* What the structures in `identify` say. CORRUPT: not the namespace it was. */
status_t nvme_read_controller(struct nvme *nvme);
void nvme_read_namespaces(struct nvme *nvme);
status_t nvme_read_command_set(const struct nvme *nvme, uint32_t *command_set);
status_t nvme_read_geometry(const struct nvme *nvme, struct nvme_geometry *geometry);
status_t nvme_read_zones(const struct nvme *nvme, uint64_t blocks, uint32_t format_index,
                         struct nvme_zones *zones);
status_t nvme_read_namespace(struct nvme *nvme, struct nvme_port *port);
void nvme_read_zoned_controller(const struct nvme *nvme, struct nvme_port *port);
status_t nvme_read_zoned_namespace(const struct nvme *nvme, struct nvme_port *port);
bool nvme_read_secondaries(struct nvme *nvme);
void nvme_read_placements(const struct nvme *nvme, struct nvme_port *port);

/* nvme_port.c: writes the port's MSI-X table entry, masked. */
void nvme_fill_vector(const struct nvme_port *port);
extern const struct block_device_ops nvme_block_ops;
/* nvme.c: what nvme_poll does besides taking completions: states, deadlines, aborts. */
void nvme_poll_slowly(struct nvme_port *port, time_ns_t now_ns);
void nvme_admin_submit(struct nvme *nvme, struct nvme_command *command, uint8_t purpose,
                       time_ns_t now_ns);

#endif
