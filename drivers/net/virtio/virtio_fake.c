// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/virtio/virtio_fake.h"

#include <stdlib.h>
#include <string.h>

#include "drivers/dma_fake.h"
#include "lib/base/endian.h"
#include "lib/net/netdev.h"

#define BAR 4u
#define BAR_BYTES 16384u
#define COMMON_AT 0u
#define COMMON_BYTES 60u /* with what RING_RESET needs */
#define DEVICE_AT 0x1000u
#define NOTIFY_AT 0x2000u
#define NOTIFY_BYTES 0x100u
#define NOTIFY_MULTIPLIER 4u
#define MSIX_AT 0x3000u
#define MSIX_ENTRIES 5u

/* ---- Registers ------------------------------------------------------------------------------- */

/* Behind the pairs, if there can be several, comes the control queue. */
static unsigned queue_count(const struct virtio_fake *fake)
{
    return VIRTIO_NET_QUEUES * fake->pairs_max + (fake->pairs_max > 1u ? 1u : 0u);
}

static struct virtio_fake_queue *selected(struct virtio_fake *fake)
{
    return fake->queue_select < queue_count(fake) ? &fake->queues[fake->queue_select] : NULL;
}

static uint64_t read_queue_reset(struct virtio_fake_queue *queue)
{
    if (queue->reset_left != 0 && --queue->reset_left == 0) {
        queue->enabled = 0;
    }
    return queue->reset_left != 0;
}

static uint64_t read_queue(struct virtio_fake *fake, size_t offset)
{
    struct virtio_fake_queue *queue = selected(fake);

    if (queue == NULL) {
        return 0;
    }
    switch (offset) {
    case VIRTIO_COMMON_QUEUE_SIZE:
        return queue->size != 0 ? queue->size : fake->size_max;
    case VIRTIO_COMMON_QUEUE_VECTOR:
        return fake->refuse_vectors ? VIRTIO_NO_VECTOR : queue->vector;
    case VIRTIO_COMMON_QUEUE_ENABLE:
        return queue->enabled;
    case VIRTIO_COMMON_QUEUE_RESET:
        return read_queue_reset(queue);
    case VIRTIO_COMMON_QUEUE_NOTIFY_OFF:
        return fake->notify_offset_max != 0 ? fake->notify_offset_max : fake->queue_select;
    default:
        return 0;
    }
}

static uint64_t read_status(struct virtio_fake *fake)
{
    if (fake->reset_left > 0 && --fake->reset_left > 0) {
        return VIRTIO_STATUS_DRIVER_OK;
    }
    return fake->status;
}

static uint64_t read_common(struct virtio_fake *fake, size_t offset)
{
    switch (offset) {
    case VIRTIO_COMMON_DEVICE_FEATURE:
        return fake->device_select < 2 ? (uint32_t)(fake->offered >> (32u * fake->device_select))
                                       : 0;
    case VIRTIO_COMMON_NUM_QUEUES:
        return queue_count(fake);
    case VIRTIO_COMMON_DEVICE_STATUS:
        return read_status(fake);
    case VIRTIO_COMMON_CONFIG_GENERATION:
        return 7;
    default:
        return read_queue(fake, offset);
    }
}

static uint64_t fake_read(void *context, size_t offset, unsigned width)
{
    struct virtio_fake *fake = context;
    uint8_t net[VIRTIO_NET_CONFIG_RSS_BYTES] = {0};
    uint64_t value = 0;

    if (offset < COMMON_BYTES) {
        return read_common(fake, offset);
    }
    if (offset >= DEVICE_AT && offset + width <= DEVICE_AT + sizeof net) {
        memcpy(net, fake->mac, 6);
        store_le16(net + VIRTIO_NET_CONFIG_STATUS, fake->link);
        store_le16(net + VIRTIO_NET_CONFIG_PAIRS, fake->pairs_told);
        store_le16(net + VIRTIO_NET_CONFIG_MTU, fake->mtu);
        net[VIRTIO_NET_CONFIG_KEY_BYTES] = fake->key_max;
        store_le16(net + VIRTIO_NET_CONFIG_TABLE, fake->table_max);
        store_le32(net + VIRTIO_NET_CONFIG_HASHES, fake->hashes);
        memcpy(&value, net + (offset - DEVICE_AT), width);
        return value;
    }
    memcpy(&value, fake->bar + offset, width);
    return value;
}

static void reset(struct virtio_fake *fake)
{
    fake->status = 0;
    fake->resets++;
    fake->reset_left = fake->reset_reads;
    fake->accepted = 0;
    fake->pairs_set = 0;
    for (unsigned i = 0; i < VIRTIO_FAKE_QUEUES; i++) {
        unsigned notified = fake->queues[i].notified;
        fake->queues[i] =
            (struct virtio_fake_queue){.notified = notified, .avail_wrap = true, .used_wrap = true};
    }
}

static void write_status(struct virtio_fake *fake, uint8_t value)
{
    if (value == 0) {
        reset(fake);
        return;
    }
    if ((value & VIRTIO_STATUS_FEATURES_OK) != 0 && fake->refuse_features) {
        value &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    }
    fake->status = value;
}

static void write_queue(struct virtio_fake *fake, size_t offset, uint64_t value)
{
    struct virtio_fake_queue *queue = selected(fake);
    uint64_t *halves[3];

    if (queue == NULL) {
        return;
    }
    halves[0] = &queue->descriptors;
    halves[1] = &queue->driver;
    halves[2] = &queue->device;
    switch (offset) {
    case VIRTIO_COMMON_QUEUE_SIZE:
        queue->size = (uint16_t)value;
        return;
    case VIRTIO_COMMON_QUEUE_VECTOR:
        queue->vector = (uint16_t)value;
        return;
    case VIRTIO_COMMON_QUEUE_ENABLE:
        queue->enabled = (uint16_t)value;
        return;
    case VIRTIO_COMMON_QUEUE_RESET:
        fake->faults += (fake->accepted & VIRTIO_F_RING_RESET) == 0;
        queue->reset_left = fake->queue_reset_reads + 1u;
        return;
    default:
        break;
    }
    if (offset >= VIRTIO_COMMON_QUEUE_DESCRIPTORS && offset < VIRTIO_COMMON_BYTES) {
        size_t at = offset - VIRTIO_COMMON_QUEUE_DESCRIPTORS;
        unsigned shift = at % 8 != 0 ? 32 : 0;
        *halves[at / 8] &= ~(0xffffffffull << shift);
        *halves[at / 8] |= value << shift;
    }
}

static void write_common(struct virtio_fake *fake, size_t offset, uint64_t value)
{
    switch (offset) {
    case VIRTIO_COMMON_DEVICE_FEATURE_SELECT:
        fake->device_select = (uint32_t)value;
        return;
    case VIRTIO_COMMON_DRIVER_FEATURE_SELECT:
        fake->driver_select = (uint32_t)value;
        return;
    case VIRTIO_COMMON_DRIVER_FEATURE:
        if (fake->driver_select < 2) {
            fake->accepted |= value << (32u * fake->driver_select);
        }
        return;
    case VIRTIO_COMMON_DEVICE_STATUS:
        write_status(fake, (uint8_t)value);
        return;
    case VIRTIO_COMMON_QUEUE_SELECT:
        fake->queue_select = (uint16_t)value;
        return;
    default:
        write_queue(fake, offset, value);
        return;
    }
}

static void fake_write(void *context, size_t offset, unsigned width, uint64_t value)
{
    struct virtio_fake *fake = context;

    if (offset < COMMON_BYTES) {
        write_common(fake, offset, value);
    } else if (offset >= NOTIFY_AT && offset < NOTIFY_AT + NOTIFY_BYTES) {
        if (value < queue_count(fake) && offset == NOTIFY_AT + value * NOTIFY_MULTIPLIER) {
            fake->queues[value].notified++;
            if (value == VIRTIO_NET_QUEUES * fake->pairs_max && !fake->silent) {
                virtio_fake_control(fake);
            }
        } else {
            fake->faults++;
        }
    } else {
        memcpy(fake->bar + offset, &value, width);
    }
}

/* ---- Life ------------------------------------------------------------------------------------ */

static void put_capability(uint8_t *at, uint8_t type, uint32_t offset, uint32_t bytes)
{
    at[0] = 0x09; /* vendor */
    at[2] = type == 2 ? 20 : 16;
    at[3] = type;
    at[4] = BAR;
    store_le32(at + 8, offset);
    store_le32(at + 12, bytes);
    store_le32(at + 16, NOTIFY_MULTIPLIER);
}

void virtio_fake_init(struct virtio_fake *fake)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};

    memset(fake, 0, sizeof *fake);
    fake->config = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    fake->bar = aligned_alloc(PAGE_BYTES, BAR_BYTES);
    memset(fake->config, 0, PAGE_BYTES);
    memset(fake->bar, 0, BAR_BYTES);
    fake->offered = VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS |
                    VIRTIO_F_EVENT_IDX | 1ull << 7 /* GUEST_TSO4: not wanted */;
    memcpy(fake->mac, mac, sizeof mac);
    fake->link = VIRTIO_NET_STATUS_LINK_UP;
    fake->size_max = 256;
    fake->pairs_max = fake->pairs_told = 1;
    fake->key_max = 40;
    fake->table_max = 128;
    fake->hashes = 0x1ff;

    store_le16(fake->config + 6, 0x10);
    fake->config[0x34] = 0x98;
    fake->config[0x98] = 0x11; /* MSI-X */
    fake->config[0x99] = 0x40;
    store_le16(fake->config + 0x9a, MSIX_ENTRIES - 1u);
    store_le32(fake->config + 0x9c, MSIX_AT | BAR);
    put_capability(fake->config + 0x40, 1, COMMON_AT, COMMON_BYTES);
    fake->config[0x41] = 0x54;
    put_capability(fake->config + 0x54, 2, NOTIFY_AT, NOTIFY_BYTES);
    fake->config[0x55] = 0x68;
    put_capability(fake->config + 0x68, 4, DEVICE_AT, 0x40);

    fake->device.kind = SYSTEM_DEVICE_NET;
    fake->device.pci_vendor = VIRTIO_PCI_VENDOR;
    fake->device.pci_device = VIRTIO_PCI_NET;
    fake->device.irq_count = 2;
    fake->device.config = fake->config;
    fake->device.bar[BAR] = fake->bar;
    fake->device.bar_bytes[BAR] = BAR_BYTES;
    for (unsigned i = 0; i < MSIX_ENTRIES && i < CELL_IRQS_MAX; i++) {
        fake->device.msi[i].address = 0xfee00000u + i * 0x1000u;
        fake->device.msi[i].data = 0x31u + i;
    }
    fake->window = (struct mmio_fake){
        .base = fake->bar,
        .bytes = BAR_BYTES,
        .read = fake_read,
        .write = fake_write,
        .context = fake,
    };
    mmio_fake_add(&fake->window);
}

void virtio_fake_destroy(struct virtio_fake *fake)
{
    mmio_fake_remove(&fake->window);
    free(fake->config);
    free(fake->bar);
}

/* ---- Queues ---------------------------------------------------------------------------------- */

void *virtio_fake_reach(struct virtio_fake *fake, uint64_t address, size_t bytes)
{
    void *at = dma_fake_reach(address, bytes);

    if (at == NULL) {
        fake->faults++;
    }
    return at;
}

bool virtio_fake_is_packed(const struct virtio_fake *fake)
{
    return (fake->accepted & VIRTIO_F_RING_PACKED) != 0;
}

int virtio_fake_take(struct virtio_fake *fake, unsigned number)
{
    struct virtio_fake_queue *queue = &fake->queues[number];
    unsigned first;

    if (virtio_fake_is_packed(fake)) {
        return virtio_fake_packed_take(fake, number, &first);
    }

    if (!queue->enabled || (fake->status & VIRTIO_STATUS_DRIVER_OK) == 0) {
        return -1;
    }
    const struct virtio_avail *avail =
        virtio_fake_reach(fake, queue->driver, 4u + 2u * queue->size + 2u);
    if (avail == NULL || avail->index == queue->avail_index) {
        return -1;
    }
    return avail->ring[queue->avail_index++ % queue->size];
}

/* Interrupts when the driver wants it (virtio 1.2 §2.7.7). */
static void interrupt(struct virtio_fake *fake, struct virtio_fake_queue *queue, uint16_t old)
{
    const struct virtio_avail *avail =
        virtio_fake_reach(fake, queue->driver, 4u + 2u * queue->size + 2u);

    if (avail == NULL) {
        return;
    }
    if ((fake->accepted & VIRTIO_F_EVENT_IDX) != 0) {
        uint16_t event = avail->ring[queue->size];
        if ((uint16_t)(queue->used_index - event - 1u) < (uint16_t)(queue->used_index - old)) {
            queue->interrupts++;
        }
    } else if ((avail->flags & VIRTIO_AVAIL_NO_INTERRUPT) == 0) {
        queue->interrupts++;
    }
}

static struct virtio_used *used_of(struct virtio_fake *fake, struct virtio_fake_queue *queue)
{
    return virtio_fake_reach(fake, queue->device, 4u + 8u * queue->size + 2u);
}

void virtio_fake_set_used(struct virtio_fake *fake, unsigned number, uint16_t index)
{
    struct virtio_fake_queue *queue = &fake->queues[number];

    if (!queue->enabled || virtio_fake_is_packed(fake)) {
        return;
    }
    struct virtio_used *used = used_of(fake, queue);
    queue->used_index = index;
    if (used != NULL) {
        used->index = index;
    }
}

void virtio_fake_finish(struct virtio_fake *fake, unsigned number, uint32_t id, uint32_t length)
{
    struct virtio_fake_queue *queue = &fake->queues[number];

    if (!queue->enabled) {
        return;
    }
    if (virtio_fake_is_packed(fake)) {
        virtio_fake_packed_finish(fake, number, id, length);
        return;
    }
    struct virtio_used *used = used_of(fake, queue);
    if (used == NULL) {
        return;
    }
    uint16_t old = queue->used_index++;
    used->ring[old % queue->size] = (struct virtio_used_element){id, length};
    used->index = queue->used_index;
    if ((fake->accepted & VIRTIO_F_EVENT_IDX) != 0) {
        /* Notify me of the next one that I have not taken. */
        uint16_t *avail_event = (uint16_t *)&used->ring[queue->size];
        *avail_event = queue->avail_index;
    }
    interrupt(fake, queue, old);
}

void virtio_fake_put(const struct virtio_fake *fake, uint8_t *to, const void *frame, size_t bytes)
{
    struct virtio_net_header header = fake->receive_header;

    header.buffers = 1;
    memcpy(to, &header, sizeof header);
    memcpy(to + sizeof header, frame, bytes);
}

bool virtio_fake_deliver(struct virtio_fake *fake, const void *frame, size_t bytes)
{
    unsigned number = VIRTIO_NET_QUEUES * virtio_fake_steer(fake, frame, bytes) + VIRTIO_NET_RX;
    struct virtio_fake_queue *queue = &fake->queues[number];
    if (virtio_fake_is_packed(fake)) {
        return virtio_fake_packed_deliver(fake, number, frame, bytes);
    }
    int id = virtio_fake_take(fake, number);
    if (id < 0) {
        return false;
    }
    const struct virtio_descriptor *table =
        virtio_fake_reach(fake, queue->descriptors, queue->size * sizeof *table);
    if (table == NULL || id >= queue->size || (table[id].flags & VIRTIO_DESCRIPTOR_WRITE) == 0 ||
        table[id].length < bytes + VIRTIO_NET_HEADER_BYTES) {
        fake->faults++;
        return false;
    }
    uint8_t *to = virtio_fake_reach(fake, table[id].address, table[id].length);
    if (to == NULL) {
        return false;
    }
    virtio_fake_put(fake, to, frame, bytes);
    virtio_fake_finish(fake, number, (uint32_t)id, (uint32_t)bytes + VIRTIO_NET_HEADER_BYTES);
    return true;
}

/* Reads the chain header + frame that starts at `id`. */
static void gather(struct virtio_fake *fake, const struct virtio_fake_queue *queue, uint16_t id)
{
    const struct virtio_descriptor *table =
        virtio_fake_reach(fake, queue->descriptors, queue->size * sizeof *table);
    static uint8_t bytes[VIRTIO_NET_HEADER_BYTES + sizeof fake->sent];
    size_t count = 0;

    for (unsigned i = 0; table != NULL && i < 1u + NETFRAMES_MAX && id < queue->size; i++) {
        const struct virtio_descriptor *descriptor = &table[id];
        const void *from = virtio_fake_reach(fake, descriptor->address, descriptor->length);
        if (from == NULL || count + descriptor->length > sizeof bytes ||
            (descriptor->flags & VIRTIO_DESCRIPTOR_WRITE) != 0) {
            fake->faults++;
            return;
        }
        memcpy(bytes + count, from, descriptor->length);
        count += descriptor->length;
        if ((descriptor->flags & VIRTIO_DESCRIPTOR_NEXT) == 0) {
            break;
        }
        id = descriptor->next;
    }
    if (count < VIRTIO_NET_HEADER_BYTES) {
        fake->faults++;
        return;
    }
    memcpy(&fake->sent_header, bytes, sizeof fake->sent_header);
    fake->sent_bytes = count - VIRTIO_NET_HEADER_BYTES;
    memcpy(fake->sent, bytes + VIRTIO_NET_HEADER_BYTES, fake->sent_bytes);
    fake->sent_count++;
}

unsigned virtio_fake_send_queue(struct virtio_fake *fake, unsigned number, unsigned max)
{
    unsigned count = 0;

    if (virtio_fake_is_packed(fake)) {
        return virtio_fake_packed_send(fake, number, max);
    }
    while (count < max) {
        int id = virtio_fake_take(fake, number);
        if (id < 0) {
            break;
        }
        gather(fake, &fake->queues[number], (uint16_t)id);
        virtio_fake_finish(fake, number, (uint32_t)id, 0);
        count++;
    }
    return count;
}

unsigned virtio_fake_send(struct virtio_fake *fake, unsigned max)
{
    return virtio_fake_send_queue(fake, VIRTIO_NET_TX, max);
}
