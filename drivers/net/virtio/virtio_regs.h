// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Layouts and numbers of virtio 1.2 that the driver and its fake device share.
 */
#ifndef DRIVERS_NET_VIRTIO_VIRTIO_REGS_H
#define DRIVERS_NET_VIRTIO_VIRTIO_REGS_H

#include <hallows/types.h>

/* PCI ids (§4.1.2): vendor, modern and transitional network device. */
#define VIRTIO_PCI_VENDOR 0x1af4u
#define VIRTIO_PCI_NET 0x1041u
#define VIRTIO_PCI_NET_TRANSITIONAL 0x1000u

/* struct virtio_pci_common_cfg (§4.1.4.3). */
enum virtio_common {
    VIRTIO_COMMON_DEVICE_FEATURE_SELECT = 0,
    VIRTIO_COMMON_DEVICE_FEATURE = 4,
    VIRTIO_COMMON_DRIVER_FEATURE_SELECT = 8,
    VIRTIO_COMMON_DRIVER_FEATURE = 12,
    VIRTIO_COMMON_CONFIG_VECTOR = 16, /* 16 bits, as those below down to QUEUE_NOTIFY_OFF */
    VIRTIO_COMMON_NUM_QUEUES = 18,
    VIRTIO_COMMON_DEVICE_STATUS = 20,     /* 8 bits */
    VIRTIO_COMMON_CONFIG_GENERATION = 21, /* 8 bits */
    VIRTIO_COMMON_QUEUE_SELECT = 22,
    VIRTIO_COMMON_QUEUE_SIZE = 24,
    VIRTIO_COMMON_QUEUE_VECTOR = 26,
    VIRTIO_COMMON_QUEUE_ENABLE = 28,
    VIRTIO_COMMON_QUEUE_NOTIFY_OFF = 30,
    VIRTIO_COMMON_QUEUE_DESCRIPTORS = 32, /* 64 bits, written as two halves */
    VIRTIO_COMMON_QUEUE_DRIVER = 40,
    VIRTIO_COMMON_QUEUE_DEVICE = 48,
    VIRTIO_COMMON_BYTES = 56,
    VIRTIO_COMMON_QUEUE_RESET = 58 /* 16 bits; RING_RESET */
};

#define VIRTIO_NO_VECTOR 0xffffu

/* Device status (§2.1). */
enum virtio_status {
    VIRTIO_STATUS_ACKNOWLEDGE = 1,
    VIRTIO_STATUS_DRIVER = 2,
    VIRTIO_STATUS_DRIVER_OK = 4,
    VIRTIO_STATUS_FEATURES_OK = 8,
    VIRTIO_STATUS_NEEDS_RESET = 64,
    VIRTIO_STATUS_FAILED = 128
};

/* Feature bits (§5.1.3, §6). */
#define VIRTIO_NET_F_CSUM (1ull << 0)
#define VIRTIO_NET_F_GUEST_CSUM (1ull << 1)
#define VIRTIO_NET_F_MTU (1ull << 3)
#define VIRTIO_NET_F_MAC (1ull << 5)
#define VIRTIO_NET_F_HOST_TSO4 (1ull << 11)
#define VIRTIO_NET_F_STATUS (1ull << 16)
#define VIRTIO_NET_F_CTRL_VQ (1ull << 17)
#define VIRTIO_NET_F_MQ (1ull << 22)
#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)
#define VIRTIO_F_ACCESS_PLATFORM (1ull << 33)
#define VIRTIO_F_RING_PACKED (1ull << 34)
#define VIRTIO_F_ORDER_PLATFORM (1ull << 36)
#define VIRTIO_F_RING_RESET (1ull << 40)
#define VIRTIO_NET_F_RSS (1ull << 60)

/* struct virtio_net_config (§5.1.4). */
enum virtio_net_config {
    VIRTIO_NET_CONFIG_MAC = 0,
    VIRTIO_NET_CONFIG_STATUS = 6,
    VIRTIO_NET_CONFIG_PAIRS = 8, /* most queue pairs; MQ or RSS */
    VIRTIO_NET_CONFIG_MTU = 10,
    VIRTIO_NET_CONFIG_BYTES = 12,
    VIRTIO_NET_CONFIG_KEY_BYTES = 17, /* 8 bits, longest key of the hash; these need RSS */
    VIRTIO_NET_CONFIG_TABLE = 18,     /* most entries of its table */
    VIRTIO_NET_CONFIG_HASHES = 20,    /* 32 bits, kinds that it knows */
    VIRTIO_NET_CONFIG_RSS_BYTES = 24
};
#define VIRTIO_NET_STATUS_LINK_UP 1u

/* struct virtio_net_hdr with num_buffers, always present under VERSION_1 (§5.1.6). */
#define VIRTIO_NET_HEADER_BYTES 12u
struct virtio_net_header {
    uint8_t flags;
    uint8_t segments; /* gso_type */
    uint16_t header_bytes;
    uint16_t segment_bytes;
    uint16_t checksum_start;
    uint16_t checksum_offset;
    uint16_t buffers;
};
#define VIRTIO_NET_HEADER_NEEDS_CHECKSUM 1u
#define VIRTIO_NET_HEADER_DATA_VALID 2u
#define VIRTIO_NET_HEADER_TCP4 1u
_Static_assert(sizeof(struct virtio_net_header) == VIRTIO_NET_HEADER_BYTES, "virtio 1.2 §5.1.6");

/* Of pair 0; pair n has 2 n more. Behind the last pair that the device has comes the control queue.
 */
enum virtio_net_queue { VIRTIO_NET_RX = 0, VIRTIO_NET_TX = 1, VIRTIO_NET_QUEUES = 2 };

/* Commands through the control queue (§5.1.6.5), and what the device answers: one byte. */
#define VIRTIO_NET_CLASS_PAIRS 4u
#define VIRTIO_NET_PAIRS_SET 0u
#define VIRTIO_NET_PAIRS_STEER 1u
#define VIRTIO_NET_ANSWER_OK 0u

struct __attribute__((packed)) virtio_net_pairs_command {
    uint8_t class;
    uint8_t command;
    uint16_t pairs;
};

/* §5.1.6.5.7; addresses and ports are hashed of TCP and UDP, the rest goes to pair 0. */
#define VIRTIO_NET_HASHES                                                                          \
    ((1u << 1) | (1u << 2) | (1u << 4) | (1u << 5)) /* TCP4, UDP4, TCP6, UDP6 */
#define VIRTIO_NET_TABLE_ENTRIES 128u
#define VIRTIO_NET_KEY_BYTES 40u
struct __attribute__((packed)) virtio_net_steer_command {
    uint8_t class;
    uint8_t command;
    uint32_t hashes;
    uint16_t table_mask;
    uint16_t unclassified;
    uint16_t table[VIRTIO_NET_TABLE_ENTRIES];
    uint16_t tx_pairs;
    uint8_t key_bytes;
    uint8_t key[VIRTIO_NET_KEY_BYTES];
};
_Static_assert(sizeof(struct virtio_net_steer_command) == 309, "virtio 1.2 §5.1.6.5.7");

/* Split virtqueues (§2.7). */
#define VIRTIO_DESCRIPTOR_NEXT 1u
#define VIRTIO_DESCRIPTOR_WRITE 2u
#define VIRTIO_AVAIL_NO_INTERRUPT 1u
#define VIRTIO_USED_NO_NOTIFY 1u

struct virtio_descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
};

/* Packed virtqueues (§2.8). */
#define VIRTIO_PACKED_AVAIL (1u << 7)
#define VIRTIO_PACKED_USED (1u << 15)
#define VIRTIO_PACKED_EVENT_ON 0u
#define VIRTIO_PACKED_EVENT_OFF 1u

struct virtio_packed_descriptor { /* [dma] as all below: both sides write it */
    uint64_t address;
    uint32_t length;
    uint16_t id;
    uint16_t flags;
};

struct virtio_packed_event {
    uint16_t place;
    uint16_t flags;
};

struct virtio_used_element {
    uint32_t id;
    uint32_t length;
};

struct virtio_avail {
    uint16_t flags;
    uint16_t index;
    uint16_t ring[]; /* size entries, then used_event */
};

struct virtio_used {
    uint16_t flags; /* [dma] as all below: written by the device */
    uint16_t index;
    struct virtio_used_element ring[]; /* size entries, then avail_event */
};

_Static_assert(sizeof(struct virtio_descriptor) == 16, "virtio 1.2 §2.7.5");
_Static_assert(sizeof(struct virtio_used_element) == 8, "virtio 1.2 §2.7.8");

#endif
