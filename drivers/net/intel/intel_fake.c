// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/intel/intel_fake.h"

#include <stdlib.h>
#include <string.h>

#include "drivers/dma_fake.h"
#include "drivers/net/toeplitz_fake.h"
#include "lib/base/endian.h"

#define MSIX_BAR 3u
#define MSIX_ENTRIES 5u

static uint32_t *reg(struct intel_fake *fake, uint32_t at)
{
    return &fake->registers[at / 4u];
}

static void reset(struct intel_fake *fake)
{
    uint32_t link = *reg(fake, INTEL_STATUS) & INTEL_STATUS_LU;

    memset(fake->registers, 0, fake->chip->register_bytes);
    *reg(fake, INTEL_STATUS) = link;
    if (fake->chip->is_virtual) {
        fake->causes = fake->mask = 0;
        memset(fake->rx_head, 0, sizeof fake->rx_head);
        memset(fake->tx_head, 0, sizeof fake->tx_head);
        fake->reset_left = fake->reset_reads;
        fake->resets++;
        return;
    }
    *reg(fake, INTEL_RAL0) = load_le32(fake->mac);
    *reg(fake, INTEL_RAH0) = INTEL_RAH_VALID | load_le16(fake->mac + 4);
    fake->causes = fake->mask = 0;
    memset(fake->rx_head, 0, sizeof fake->rx_head);
    memset(fake->tx_head, 0, sizeof fake->tx_head);
    fake->gathered = 0;
    fake->reset_left = fake->reset_reads;
    fake->resets++;
}

static uint64_t fake_read(void *context, size_t offset, unsigned width)
{
    struct intel_fake *fake = context;
    const struct intel_chip *chip = fake->chip;
    uint32_t value = fake->registers[offset / 4u];

    if (fake->gone || width != 4) {
        return 0xffffffffu;
    }
    if (chip->is_virtual && offset == INTEL_VIRTUAL_MAILBOX) {
        value |= fake->mailbox;
        fake->mailbox = 0;
        return value;
    }
    if (offset == INTEL_CTRL && fake->reset_left > 0 && --fake->reset_left > 0) {
        return value | INTEL_CTRL_RST;
    }
    if (offset == chip->rx_block + INTEL_QUEUE_CONTROL && fake->enable_left > 0 &&
        --fake->enable_left > 0) {
        return value & ~INTEL_QUEUE_ENABLE;
    }
    return value;
}

static void interrupt(struct intel_fake *fake, uint32_t cause)
{
    fake->causes |= cause;
    if ((fake->causes & fake->mask & cause) != 0) {
        fake->interrupts++;
        fake->causes &= ~cause; /* EIAC */
    }
}

static bool is_enabled(struct intel_fake *fake, uint32_t block)
{
    return (*reg(fake, block + INTEL_QUEUE_CONTROL) & INTEL_QUEUE_ENABLE) != 0;
}

/* Whether it is that register of one of the queues whose blocks start at `block`. */
static bool is_register_of(const struct intel_chip *chip, uint32_t block, size_t offset,
                           uint32_t which)
{
    uint32_t queues = chip->queue_step != 0 ? NETDEV_QUEUES_MAX : 1u;

    for (uint32_t i = 0; i < queues; i++) {
        if (offset == block + i * chip->queue_step + which) {
            return true;
        }
    }
    return false;
}

/* The physical function answers at once. */
static void write_mailbox(struct intel_fake *fake, uint32_t value)
{
    uint32_t *message = reg(fake, INTEL_VIRTUAL_MESSAGE);

    *reg(fake, INTEL_VIRTUAL_MAILBOX) =
        fake->mailbox_held ? INTEL_MAILBOX_PHYSICAL_OWNS : value & INTEL_MAILBOX_VIRTUAL_OWNS;
    if ((value & INTEL_MAILBOX_SEND) == 0) {
        return;
    }
    fake->asked++;
    fake->faults += message[0] != INTEL_MESSAGE_RESET;
    if (!fake->no_answer) {
        message[0] = fake->answer != 0 ? fake->answer : INTEL_MESSAGE_RESET | INTEL_MESSAGE_GOOD;
        message[1] = load_le32(fake->mac);
        message[2] = load_le16(fake->mac + 4);
        fake->mailbox |= INTEL_MAILBOX_SENT | INTEL_MAILBOX_ACK << 4;
    }
}

static void fake_write(void *context, size_t offset, unsigned width, uint64_t value)
{
    struct intel_fake *fake = context;
    const struct intel_chip *chip = fake->chip;

    if (width != 4) {
        fake->faults++;
        return;
    }
    fake->registers[offset / 4u] = (uint32_t)value;
    if (chip->is_virtual && offset == INTEL_VIRTUAL_MAILBOX) {
        write_mailbox(fake, (uint32_t)value);
    } else if (offset == INTEL_CTRL && (value & INTEL_CTRL_RST) != 0) {
        reset(fake);
    } else if (offset == INTEL_MDIC) {
        *reg(fake, INTEL_MDIC) |= INTEL_MDIC_READY | (fake->mdic_error ? INTEL_MDIC_ERROR : 0u);
    } else if (offset == chip->rx_block + INTEL_QUEUE_CONTROL) {
        fake->enable_left = fake->enable_reads;
    } else if (is_register_of(chip, chip->rx_block, offset, INTEL_QUEUE_TAIL)) {
        fake->rx_tail_writes += is_enabled(fake, (uint32_t)offset - INTEL_QUEUE_TAIL);
    } else if (is_register_of(chip, chip->tx_block, offset, INTEL_QUEUE_TAIL)) {
        fake->tx_tail_writes += is_enabled(fake, (uint32_t)offset - INTEL_QUEUE_TAIL);
    } else if (offset == chip->cause_clear) {
        fake->causes &= ~(uint32_t)value;
    } else if (offset == chip->mask_set) {
        fake->mask |= (uint32_t)value;
        interrupt(fake, 0);
    } else if (offset == chip->mask_clear) {
        fake->mask &= ~(uint32_t)value;
    }
}

void intel_fake_init(struct intel_fake *fake, uint16_t pci_device)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0, 0xab, 0xcd, 0xef};

    memset(fake, 0, sizeof *fake);
    fake->chip = intel_find_chip(pci_device);
    fake->registers = aligned_alloc(PAGE_BYTES, fake->chip->register_bytes);
    fake->config = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    fake->msix = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    memset(fake->registers, 0, fake->chip->register_bytes);
    memset(fake->config, 0, PAGE_BYTES);
    memset(fake->msix, 0, PAGE_BYTES);
    memcpy(fake->mac, mac, sizeof mac);
    store_le16(fake->config + 6, 0x10);
    fake->config[0x34] = 0x70;
    fake->config[0x70] = 0x11; /* MSI-X */
    store_le16(fake->config + 0x72, MSIX_ENTRIES - 1u);
    store_le32(fake->config + 0x74, MSIX_BAR);
    fake->device.kind = SYSTEM_DEVICE_NET;
    fake->device.pci_vendor = INTEL_PCI_VENDOR;
    fake->device.pci_device = pci_device;
    fake->device.irq_count = 2;
    fake->device.config = fake->config;
    fake->device.bar[0] = fake->registers;
    fake->device.bar_bytes[0] = fake->chip->register_bytes;
    fake->device.bar[MSIX_BAR] = fake->msix;
    fake->device.bar_bytes[MSIX_BAR] = PAGE_BYTES;
    fake->window = (struct mmio_fake){
        .base = fake->registers,
        .bytes = fake->chip->register_bytes,
        .read = fake_read,
        .write = fake_write,
        .context = fake,
    };
    mmio_fake_add(&fake->window);
    intel_fake_set_link(fake, true);
}

void intel_fake_destroy(struct intel_fake *fake)
{
    mmio_fake_remove(&fake->window);
    free(fake->registers);
    free(fake->config);
    free(fake->msix);
}

void intel_fake_set_link(struct intel_fake *fake, bool up)
{
    *reg(fake, INTEL_STATUS) &= ~INTEL_STATUS_LU;
    *reg(fake, INTEL_STATUS) |= up ? INTEL_STATUS_LU : 0u;
}

static void *reach(struct intel_fake *fake, uint64_t address, size_t bytes)
{
    void *at = dma_fake_reach(address, bytes);

    if (at == NULL) {
        fake->faults++;
    }
    return at;
}

/* The queue's descriptors; NULL if it does not run. */
static void *descriptors(struct intel_fake *fake, uint32_t block)
{
    uint64_t address = *reg(fake, block + INTEL_QUEUE_BASE_LOW) |
                       (uint64_t)*reg(fake, block + INTEL_QUEUE_BASE_HIGH) << 32;
    uint32_t bytes = *reg(fake, block + INTEL_QUEUE_BYTES);

    if (!is_enabled(fake, block) || bytes == 0) {
        return NULL;
    }
    return reach(fake, address, bytes);
}

static uint32_t hash_of(struct intel_fake *fake, const uint8_t *input, uint32_t bytes)
{
    uint8_t key[40];

    for (uint32_t i = 0; i < sizeof key; i += 4u) {
        store_le32(key + i, *reg(fake, INTEL_82576_RSSRK + i));
    }
    return toeplitz_fake(key, input, bytes);
}

uint32_t intel_fake_steer(struct intel_fake *fake, const uint8_t *frame, size_t bytes)
{
    uint8_t input[36];
    uint32_t ends = 0;

    if (fake->chip->queue_step == 0) {
        return 0; /* of one queue; a virtual function has no such register, either */
    }
    uint32_t mode = *reg(fake, INTEL_82576_MRQC);
    if ((mode & 7u) != INTEL_82576_MRQC_RSS ||
        (*reg(fake, INTEL_RXCSUM) & INTEL_82576_RXCSUM_NO_SUM) == 0 || bytes < 58) {
        return 0;
    }
    uint32_t type = load_be16(frame + 12);
    uint32_t protocol = type == 0x0800u ? frame[23] : frame[20];
    uint32_t fields = type == 0x0800u ? 16u : 21u;
    if (type == 0x0800u) {
        memcpy(input, frame + 26, ends = 8);
    } else if (type == 0x86ddu) {
        memcpy(input, frame + 22, ends = 32);
    }
    fields = protocol == 6u ? fields : type == 0x0800u ? 22u : 23u;
    if (ends == 0 || (protocol != 6u && protocol != 17u) || (mode >> fields & 1u) == 0) {
        return 0;
    }
    memcpy(input + ends, frame + (type == 0x0800u ? 34 : 54), 4);
    uint32_t entry = hash_of(fake, input, ends + 4u) % 128u;
    return *reg(fake, INTEL_82576_RETA + entry / 4u * 4u) >> entry % 4u * 8u & 0xffu;
}

/* The cause of a queue with several of them, by the vector that its IVAR names. */
static uint32_t cause_of(struct intel_fake *fake, uint32_t queue, uint32_t one, unsigned shift)
{
    uint32_t entry = *reg(fake, INTEL_82576_IVAR0 + 4u * queue) >> shift & 0xffu;

    if (fake->chip->queue_step == 0) {
        return one;
    }
    return (entry & INTEL_82576_IVAR_VALID) != 0 ? 1u << (entry & 0x1fu) : 0u;
}

/* Writes the headers to the descriptor's second address, if the queue is set up for that (SRRCTL's
 * type 2), and what it tells of them; their length. */
static size_t set_apart(struct intel_fake *fake, uint32_t block,
                        struct intel_rx_descriptor *descriptor,
                        const struct intel_fake_frame *frame)
{
    uint32_t control = *reg(fake, block + INTEL_QUEUE_SPLIT);
    uint64_t place = descriptor->written;
    size_t headers = frame->header_bytes;

    if ((control >> 25 & 7u) != 2u) {
        return 0;
    }
    uint8_t *to = reach(fake, place, (control >> 8 & 15u) * 64u);
    if (to == NULL || place % 2u != 0 || headers > (control >> 8 & 15u) * 64u) {
        fake->faults++;
        return 0;
    }
    memcpy(to, frame->bytes, headers);
    uint32_t told = frame->told_header != 0 ? frame->told_header : (uint32_t)headers;
    descriptor->address = told << 21 | (told != 0 ? 1u << 31 : 0u);
    return headers;
}

bool intel_fake_deliver(struct intel_fake *fake, const struct intel_fake_frame *frame)
{
    uint32_t queue = intel_fake_steer(fake, frame->bytes, frame->length) % NETDEV_QUEUES_MAX;
    uint32_t block = fake->chip->rx_block + queue * fake->chip->queue_step;
    struct intel_rx_descriptor *ring = descriptors(fake, block);
    uint32_t *head = &fake->rx_head[queue];

    if (ring == NULL ||
        (!fake->chip->is_virtual && (*reg(fake, INTEL_RCTL) & INTEL_RCTL_EN) == 0) ||
        *head == *reg(fake, block + INTEL_QUEUE_TAIL)) {
        return false;
    }
    struct intel_rx_descriptor *descriptor = &ring[*head];
    void *to = reach(fake, descriptor->address, 2048);
    if (to == NULL) {
        return false;
    }
    size_t headers = set_apart(fake, block, descriptor, frame);
    memcpy(to, (const uint8_t *)frame->bytes + headers, frame->length - headers);
    uint64_t length =
        frame->told_length != 0 ? frame->told_length : (uint16_t)(frame->length - headers);
    uint32_t status = INTEL_RX_DONE | INTEL_RX_END_OF_PACKET | frame->status;
    descriptor->written = length << 32 | (status & ~frame->status_less);
    *head = (*head + 1u) & INTEL_RING_MASK;
    interrupt(fake, cause_of(fake, queue, fake->chip->rx_cause, 0));
    return true;
}

/* One descriptor: a context, or a part of a packet. */
static void send_descriptor(struct intel_fake *fake, const struct intel_tx_descriptor *descriptor)
{
    uint32_t command = descriptor->command;
    size_t length = command & 0xffffu;
    uint32_t allowed = 0xffffu | INTEL_TX_REPORT | INTEL_TX_END_OF_PACKET |
                       (fake->chip->offloads != 0 ? INTEL_82576_TX_CUT : 0u);

    if (fake->chip->offloads != 0 && (command & 3u << 20) == 2u << 20) {
        fake->context = *descriptor;
        fake->faults += fake->gathered != 0 || command != INTEL_82576_CONTEXT_TCP_IPV4;
        return;
    }
    const void *from = reach(fake, descriptor->address, length);
    if (from == NULL || length > sizeof fake->sent - fake->gathered ||
        (command & ~allowed) != (fake->chip->tx_command & ~allowed)) {
        fake->faults++;
        return;
    }
    if (fake->gathered == 0) {
        fake->sent_command = command;
        fake->sent_status = descriptor->status;
    }
    memcpy(fake->sent + fake->gathered, from, length);
    fake->gathered += length;
    if ((command & INTEL_TX_END_OF_PACKET) != 0) {
        fake->sent_bytes = fake->gathered;
        fake->gathered = 0;
        fake->sent_count++;
    }
}

unsigned intel_fake_send_queue(struct intel_fake *fake, uint32_t queue, unsigned max)
{
    uint32_t block = fake->chip->tx_block + queue * fake->chip->queue_step;
    struct intel_tx_descriptor *ring = descriptors(fake, block);
    uint32_t *head = &fake->tx_head[queue];
    unsigned count = 0;

    while (ring != NULL && count < max &&
           *head != (*reg(fake, block + INTEL_QUEUE_TAIL) & INTEL_RING_MASK)) {
        struct intel_tx_descriptor *descriptor = &ring[*head];
        send_descriptor(fake, descriptor);
        if ((descriptor->command & INTEL_TX_REPORT) != 0) {
            descriptor->status |= INTEL_TX_DONE;
            interrupt(fake, cause_of(fake, queue, fake->chip->tx_cause_two, 8));
        }
        *head = (*head + 1u) & INTEL_RING_MASK;
        count++;
    }
    return count;
}

unsigned intel_fake_send(struct intel_fake *fake, unsigned max)
{
    return intel_fake_send_queue(fake, 0, max);
}
