// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/nvme/nvme_fake.h"

#include <stdlib.h>
#include <string.h>

#include "drivers/nvme/nvme_spec.h"
#include "lib/base/assert.h"
#include "lib/base/endian.h"

void nvme_fake_fault(struct nvme_fake *fake, const char *what)
{
    fake->faults++;
    if (fake->fault == NULL) {
        fake->fault = what;
    }
}

void *nvme_fake_memory(struct nvme_fake *fake, uint64_t address, size_t bytes)
{
    uint64_t page = address & ~(uint64_t)(PAGE_BYTES - 1u);
    size_t offset = (size_t)(address - page);

    uint64_t own = address - (fake->own_control & ~(uint64_t)(PAGE_BYTES - 1u));
    if (fake->own_memory != NULL && (fake->own_control & 2u) != 0 &&
        own < (uint64_t)fake->own_pages * PAGE_BYTES) {
        return fake->own_memory + own;
    }
    for (size_t i = 0; offset + bytes <= PAGE_BYTES && i < fake->memory->bytes / PAGE_BYTES; i++) {
        if (fake->memory->page_device_address[i] == page) {
            return fake->memory->base + i * PAGE_BYTES + offset;
        }
    }
    nvme_fake_fault(fake, "DMA outside the driver's memory");
    return NULL;
}

static void interrupt(struct nvme_fake *fake, uint32_t vector)
{
    if ((fake->msix[vector][3] & NVME_MSIX_MASKED) != 0) {
        fake->interrupt_pending |= 1u << vector;
        return;
    }
    fake->interrupts++;
    fake->interrupt_pending &= ~(1u << vector);
}

static void post(struct nvme_fake *fake, uint32_t index, const uint32_t words[4])
{
    struct nvme_fake_queue *queue = &fake->queues[index];
    uint8_t *entry = nvme_fake_memory(
        fake, queue->cq_address + (uint64_t)queue->cq_tail * NVME_CQE_BYTES, NVME_CQE_BYTES);

    if ((queue->cq_tail + 1u) % queue->cq_entries == queue->cq_head) {
        nvme_fake_fault(fake, "completion queue overflow");
        return;
    }
    if (entry == NULL) {
        return;
    }
    for (uint32_t i = 0; i < 4; i++) {
        store_le32(entry + (size_t)4u * i, words[i]);
    }
    if (++queue->cq_tail == queue->cq_entries) {
        queue->cq_tail = 0;
        queue->phase ^= 1u;
    }
    if (index == 0 || queue->interrupts) {
        interrupt(fake, queue->vector);
    }
}

static void complete(struct nvme_fake *fake, const struct nvme_fake_command *command,
                     uint32_t status, uint64_t result)
{
    struct nvme_fake_queue *queue = &fake->queues[command->queue];
    uint32_t cid = command->word[0] >> 16;
    uint32_t sq_head = queue->sq_head;
    enum nvme_fake_hostility hostility = HOSTILE_NONE;

    if (command->queue != 0) {
        hostility = fake->hostility;
        fake->hostility = HOSTILE_NONE;
    }
    if (hostility == HOSTILE_BAD_CID) {
        cid ^= 0x4000u;
    } else if (hostility == HOSTILE_BAD_SQ_HEAD) {
        sq_head = 0xfff0u;
    } else if (hostility == HOSTILE_APPEND_PLACE) {
        result = fake->media.block_count + 5u;
    }
    for (uint32_t i = 0; i < (hostility == HOSTILE_DOUBLE ? 2u : 1u); i++) {
        uint32_t words[4] = {(uint32_t)result, (uint32_t)(result >> 32),
                             command->queue << 16 | sq_head,
                             status << 17 | queue->phase << 16 | cid};
        post(fake, command->queue, words);
    }
}

static void fetch(struct nvme_fake *fake, uint32_t index)
{
    struct nvme_fake_queue *queue = &fake->queues[index];

    while (queue->sq_head != queue->sq_tail) {
        const uint8_t *entry = nvme_fake_memory(
            fake, queue->sq_address + (uint64_t)queue->sq_head * NVME_SQE_BYTES, NVME_SQE_BYTES);
        if (entry == NULL || fake->pending_count == NVME_FAKE_PENDING) {
            nvme_fake_fault(fake, "too many commands");
            return;
        }
        struct nvme_fake_command *command = &fake->pending[fake->pending_count++];
        command->queue = index;
        for (uint32_t i = 0; i < 16; i++) {
            command->word[i] = load_le32(entry + (size_t)4u * i);
        }
        queue->sq_head = queue->sq_head + 1u == queue->sq_entries ? 0 : queue->sq_head + 1u;
    }
}

/* One doorbell's shadow or event; NULL without them. */
static uint8_t *shadow_of(struct nvme_fake *fake, uint64_t base, uint32_t number)
{
    return base == 0 || number < 2u ? NULL : nvme_fake_memory(fake, base + number * 4u, 4);
}

/* Reads the shadows of a queue's doorbells. */
static void look_at_shadows(struct nvme_fake *fake, uint32_t index)
{
    struct nvme_fake_queue *queue = &fake->queues[index];
    uint8_t *tail = shadow_of(fake, fake->shadow_address, 2u * index);
    uint8_t *head = shadow_of(fake, fake->shadow_address, 2u * index + 1u);

    if (tail == NULL || head == NULL || !queue->sq_live) {
        return;
    }
    if (load_le32(tail) >= queue->sq_entries || load_le32(head) >= queue->cq_entries) {
        nvme_fake_fault(fake, "shadow doorbell outside the queue");
        return;
    }
    queue->sq_tail = load_le32(tail);
    queue->cq_head = load_le32(head);
    fetch(fake, index);
    if (fake->pending_count == 0) { /* it goes to sleep: the next one has to be told */
        store_le32(shadow_of(fake, fake->event_address, 2u * index), queue->sq_tail);
        store_le32(shadow_of(fake, fake->event_address, 2u * index + 1u), queue->cq_head);
    }
}

/* Woken by a doorbell, it looks after each command, and sleeps when there is nothing to do. */
static void look_when_awake(struct nvme_fake *fake)
{
    for (uint32_t i = 0; i < NVME_FAKE_QUEUES; i++) {
        if ((fake->awake >> i & 1u) != 0) {
            look_at_shadows(fake, i);
        }
    }
    fake->awake = fake->pending_count == 0 ? 0 : fake->awake;
}

static void reset_controller(struct nvme_fake *fake)
{
    fake->awake = 0;
    fake->shadow_address = 0;
    fake->event_address = 0;
    memset(fake->queues, 0, sizeof fake->queues);
    fake->pending_count = 0;
    fake->swallowed_count = 0;
    fake->csts = 0;
    fake->own_control = 0;
    fake->resets++;
}

static void enable_controller(struct nvme_fake *fake)
{
    struct nvme_fake_queue *queue = &fake->queues[0];

    if ((fake->cc & 0x00ff0000u) != NVME_CC_ENTRY_SIZES || (fake->cc >> 7 & 0xfu) != 0) {
        nvme_fake_fault(fake, "wrong entry or page size in CC");
    }
    if ((fake->asq & (PAGE_BYTES - 1u)) != 0 || (fake->acq & (PAGE_BYTES - 1u)) != 0) {
        nvme_fake_fault(fake, "admin queue not aligned");
    }
    *queue = (struct nvme_fake_queue){.sq_address = fake->asq,
                                      .cq_address = fake->acq,
                                      .sq_entries = (fake->aqa & 0xfffu) + 1u,
                                      .cq_entries = (fake->aqa >> 16 & 0xfffu) + 1u,
                                      .phase = 1,
                                      .sq_live = true,
                                      .cq_live = true};
    fake->csts |= NVME_CSTS_RDY;
}

static void write_cc(struct nvme_fake *fake, uint32_t value)
{
    uint32_t before = fake->cc;

    fake->cc = value;
    if (fake->never_ready) {
        return;
    }
    if ((before & NVME_CC_EN) != 0 && (value & NVME_CC_EN) == 0) {
        reset_controller(fake);
    } else if ((before & NVME_CC_EN) == 0 && (value & NVME_CC_EN) != 0) {
        enable_controller(fake);
    }
    if ((value & NVME_CC_SHN_NORMAL) != 0 && (before & NVME_CC_SHN_NORMAL) == 0) {
        fake->shutdowns++;
        media_flush(&fake->media);
        fake->csts |= NVME_SHST_COMPLETE << 2;
    }
}

static void write_doorbell(struct nvme_fake *fake, size_t offset, uint32_t value)
{
    uint32_t number = (uint32_t)(offset - NVME_REG_DOORBELLS) / 4u;
    struct nvme_fake_queue *queue =
        number / 2u < NVME_FAKE_QUEUES ? &fake->queues[number / 2u] : NULL;

    fake->doorbell_writes++;
    if (queue == NULL || !queue->cq_live || (number % 2u == 0 && !queue->sq_live)) {
        nvme_fake_fault(fake, "doorbell of a queue that does not exist");
        return;
    }
    if (value >= (number % 2u == 0 ? queue->sq_entries : queue->cq_entries)) {
        nvme_fake_fault(fake, "doorbell value outside the queue");
        return;
    }
    uint8_t *shadow = shadow_of(fake, fake->shadow_address, number);
    if (shadow != NULL) {
        if (load_le32(shadow) != value) {
            nvme_fake_fault(fake, "doorbell without its shadow");
        }
        fake->awake |= 1u << number / 2u;
    } else if (number % 2u == 0) {
        queue->sq_tail = value;
        fetch(fake, number / 2u);
    } else {
        queue->cq_head = value;
    }
}

static uint64_t fake_read(void *context, size_t offset, unsigned width)
{
    struct nvme_fake *fake = context;
    uint64_t cap = fake->mqes | 1ull << 16 | 20ull << 24 | NVME_CAP_CSS_NVM | NVME_CAP_CSS_IO_SETS;

    if (width != 4) {
        nvme_fake_fault(fake, "register access of another width than 4");
    }
    switch (offset) {
    case NVME_REG_CAP:
        return (uint32_t)cap;
    case NVME_REG_CAP + 4:
        return (cap | (fake->own_memory != NULL ? NVME_CAP_CMBS : 0)) >> 32;
    case NVME_REG_CMBLOC: /* told once it is enabled */
        return (fake->own_control & 1u) != 0 ? 2u : 0;
    case NVME_REG_CMBSZ:
        return (fake->own_control & 1u) != 0
                   ? fake->own_pages << 12 | NVME_CMBSZ_QUEUES | NVME_CMBSZ_DATA
                   : 0;
    case NVME_REG_VS:
        return 0x00010400u;
    case NVME_REG_CC:
        return fake->cc;
    case NVME_REG_CSTS:
        return fake->csts;
    default:
        nvme_fake_fault(fake, "read of an unknown register");
        return 0;
    }
}

static void set_half(uint64_t *value, bool high, uint64_t half)
{
    *value = high ? (*value & 0xffffffffu) | half << 32
                  : (*value & ~(uint64_t)0xffffffffu) | (uint32_t)half;
}

static void fake_write(void *context, size_t offset, unsigned width, uint64_t value)
{
    struct nvme_fake *fake = context;

    if (width != 4) {
        nvme_fake_fault(fake, "register access of another width than 4");
    }
    if (offset >= NVME_FAKE_MSIX_OFFSET &&
        offset < NVME_FAKE_MSIX_OFFSET + NVME_FAKE_QUEUES * 16u) {
        uint32_t vector = (uint32_t)(offset - NVME_FAKE_MSIX_OFFSET) / 16u;
        uint32_t *entry = fake->msix[vector];
        if ((fake->cc & NVME_CC_EN) != 0 && offset % 16u != 12u &&
            (entry[3] & NVME_MSIX_MASKED) == 0) {
            /* A vector may only be changed while masked (PCI 3.0, 6.8.2). */
            nvme_fake_fault(fake, "unmasked vector changed");
        }
        entry[offset % 16u / 4u] = (uint32_t)value;
        if ((entry[3] & NVME_MSIX_MASKED) == 0 && (fake->interrupt_pending >> vector & 1u) != 0) {
            interrupt(fake, vector);
        }
    } else if (offset >= NVME_REG_DOORBELLS && offset < NVME_FAKE_REGISTER_BYTES) {
        write_doorbell(fake, offset, (uint32_t)value);
    } else if (offset == NVME_REG_CC) {
        write_cc(fake, (uint32_t)value);
    } else if (offset == NVME_REG_AQA) {
        fake->aqa = (uint32_t)value;
    } else if ((offset & ~(size_t)4u) == NVME_REG_CMBMSC && fake->own_memory != NULL) {
        set_half(&fake->own_control, (offset & 4u) != 0, value);
    } else if ((offset & ~(size_t)4u) == NVME_REG_ASQ) {
        set_half(&fake->asq, (offset & 4u) != 0, value);
    } else if ((offset & ~(size_t)4u) == NVME_REG_ACQ) {
        set_half(&fake->acq, (offset & 4u) != 0, value);
    } else {
        nvme_fake_fault(fake, "write of an unknown register");
    }
}

void nvme_fake_init(struct nvme_fake *fake, const struct dma_region *memory)
{
    memset(fake, 0, sizeof *fake);
    fake->space = aligned_alloc(PAGE_BYTES, NVME_FAKE_WINDOW_BYTES);
    VERIFY(fake->space != NULL);
    fake->memory = memory;
    fake->mdts = 7;
    fake->mqes = 2047;
    fake->queues_offered = NVME_FAKE_QUEUES - 1u;
    fake->max_open = 14;
    for (uint32_t i = 0; i < NVME_FAKE_QUEUES; i++) {
        fake->msix[i][3] = NVME_MSIX_MASKED;
    }
    fake->window = (struct mmio_fake){.base = fake->space,
                                      .bytes = NVME_FAKE_WINDOW_BYTES,
                                      .read = fake_read,
                                      .write = fake_write,
                                      .context = fake};
    mmio_fake_add(&fake->window);
}

void nvme_fake_namespace(struct nvme_fake *fake, uint64_t block_count, uint32_t block_bytes,
                         uint32_t zone_blocks, uint32_t zone_capacity)
{
    media_fake_init(&fake->media, block_count, block_bytes, zone_blocks, zone_capacity);
}

void nvme_fake_add_namespace(struct nvme_fake *fake, uint32_t id, uint64_t block_count,
                             uint32_t block_bytes, uint32_t zone_blocks, uint32_t zone_capacity)
{
    uint32_t at = 0;

    while (fake->more[at].id != 0) {
        VERIFY(++at < NVME_FAKE_NAMESPACES - 1u);
    }
    fake->more[at].id = id;
    media_fake_init(&fake->more[at].media, block_count, block_bytes, zone_blocks, zone_capacity);
}

struct media_fake *nvme_fake_media(struct nvme_fake *fake, uint32_t id)
{
    for (uint32_t i = 0; id > 1u && i < NVME_FAKE_NAMESPACES - 1u; i++) {
        if (fake->more[i].id == id) {
            return &fake->more[i].media;
        }
    }
    return id == 1u ? &fake->media : NULL;
}

void nvme_fake_free(struct nvme_fake *fake)
{
    mmio_fake_remove(&fake->window);
    media_fake_free(&fake->media);
    for (uint32_t i = 0; i < NVME_FAKE_NAMESPACES - 1u; i++) {
        media_fake_free(&fake->more[i].media);
    }
    free(fake->space);
}

static bool swallow(struct nvme_fake *fake, const struct nvme_fake_command *command)
{
    if (command->queue == 0 || fake->swallow == 0) {
        return false;
    }
    fake->swallow--;
    if (fake->swallowed_count < NVME_FAKE_PENDING) {
        fake->swallowed[fake->swallowed_count++] = *command;
    }
    return true;
}

/* An abort brings a swallowed command back with the status for it (Base 5.1). */
static void abort_swallowed(struct nvme_fake *fake, const struct nvme_fake_command *command)
{
    for (uint32_t i = 0; i < fake->swallowed_count && !fake->ignore_abort; i++) {
        if (fake->swallowed[i].word[0] >> 16 == command->word[10] >> 16) {
            struct nvme_fake_command victim = fake->swallowed[i];
            fake->swallowed[i] = fake->swallowed[--fake->swallowed_count];
            complete(fake, &victim, NVME_SC_ABORTED, 0);
            return;
        }
    }
}

void nvme_fake_run(struct nvme_fake *fake, uint32_t most)
{
    look_when_awake(fake);
    for (; most != 0 && fake->pending_count != 0 && (fake->csts & NVME_CSTS_CFS) == 0; most--) {
        uint32_t index =
            fake->any_order ? (uint32_t)(media_random(&fake->media) % fake->pending_count) : 0;
        struct nvme_fake_command command = fake->pending[index];
        uint64_t result = 0;
        uint32_t status;

        fake->pending_count--;
        memmove(&fake->pending[index], &fake->pending[index + 1u],
                (fake->pending_count - index) * sizeof command);
        fake->commands++;
        if (swallow(fake, &command)) {
            continue;
        }
        if (command.queue != 0 && fake->fail_next != 0) {
            fake->fail_next--;
            status = fake->fail_status;
        } else {
            status = nvme_fake_execute(fake, &command, &result);
        }
        if (command.queue == 0 && (command.word[0] & 0xffu) == NVME_ADMIN_ABORT) {
            abort_swallowed(fake, &command);
        }
        complete(fake, &command, status, result);
        look_when_awake(fake);
    }
}

void nvme_fake_break(struct nvme_fake *fake)
{
    fake->csts |= NVME_CSTS_CFS;
}

void nvme_fake_list_secondaries(const struct nvme_fake *fake, uint8_t *data)
{
    data[0] = (uint8_t)fake->secondaries;
    for (uint32_t i = 0; i < fake->secondaries; i++) {
        uint8_t *entry = data + (size_t)(i + 1u) * NVME_SECONDARY_BYTES;
        store_le16(entry, (uint16_t)(NVME_FAKE_SECONDARY + i));
        entry[4] = fake->secondary[i].online;
    }
}

/* Virtualization Management (Base 5.22): resources only while offline, online only with them. */
uint32_t nvme_fake_manage_secondary(struct nvme_fake *fake, const struct nvme_fake_command *command)
{
    uint32_t index = (command->word[10] >> 16) - NVME_FAKE_SECONDARY;
    uint32_t what = command->word[10] & 0xffffu;

    if (index >= fake->secondaries || fake->secondary[index].online) {
        return NVME_SC_INVALID_FIELD;
    }
    if (what == (NVME_VIRTUAL_ASSIGN | NVME_VIRTUAL_QUEUES)) {
        fake->secondary[index].queues = command->word[11];
    } else if (what == (NVME_VIRTUAL_ASSIGN | NVME_VIRTUAL_INTERRUPTS)) {
        fake->secondary[index].interrupts = command->word[11];
    } else if (what == NVME_VIRTUAL_ONLINE && fake->secondary[index].queues >= 2u &&
               fake->secondary[index].interrupts != 0) {
        fake->secondary[index].online = !fake->secondary_stuck;
    } else {
        return NVME_SC_INVALID_FIELD;
    }
    return NVME_SC_SUCCESS;
}
