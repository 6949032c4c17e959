// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a cell finds when it starts: one read-only page, struct cell_info, whose address each thread
 * gets in rdi, with its number in rsi. The supervisor fills it; the cell may believe it.
 */
#ifndef HALLOWS_CELL_H
#define HALLOWS_CELL_H

#include <hallows/boot.h>
#include <hallows/system.h>
#include <hallows/types.h>

#define CELL_INFO_MAGIC 0x4f464e494c4c4543ull /* "CELLINFO" */
#define CELL_INFO_VERSION 2u
#define CELL_IRQS_MAX 8u
#define CELL_THREADS_MAX (1u + CELL_WORKERS_MAX)
#define CELL_DMA_EXTENTS_MAX 16u

/* Addresses in a cell. Programs are linked at CELL_PROGRAM_ADDRESS and stay below 1 GiB. */
#define CELL_PROGRAM_ADDRESS 0x400000ull
#define CELL_STACK_TOP 0x40000000ull
#define CELL_INFO_ADDRESS 0x50000000ull
#define CELL_DEVICE_ADDRESS 0x80000000ull
#define CELL_DMA_ADDRESS 0x100000000ull
#define CELL_RING_ADDRESS 0x200000000ull
#define CELL_ECAM_ADDRESS 0x300000000ull /* pci service only */
#define CELL_HEAP_ADDRESS 0x400000000ull

/* Slots of a new cell's capability table. */
enum cell_slot {
    CELL_SLOT_CONSOLE = 1,
    CELL_SLOT_SUPERVISOR = 2,   /* endpoint, badge = cell index + 1 (hallows/supervisor.h) */
    CELL_SLOT_NOTIFICATION = 3, /* the first thread's wake-up word: irqs, rings, shutdown */
    CELL_SLOT_FIRST_DYNAMIC = 8,
    /* With workers only. + n: wakes thread n with CELL_EVENT_THREAD; the word of worker n. */
    CELL_SLOT_WAKE = 48,
    CELL_SLOT_WORKER = 56,
    CELL_SLOTS = 64
};

/* Bits of the notification word. */
/* An irq of that device: number n comes to thread n, to the first one if there is none. */
#define CELL_EVENT_DEVICE(device_index) (1ull << (device_index))
#define CELL_EVENT_RING(ring_index) (1ull << (16u + (ring_index)))
#define CELL_EVENT_THREAD (1ull << 62) /* from another thread of the cell */
#define CELL_EVENT_SHUTDOWN (1ull << 63)

/* One PCI function, ready for its driver: bus mastering and MSI-X are enabled, the MSI-X table is
 * the driver's to fill from `msi`. */
struct cell_device {
    char name[SYSTEM_NAME_BYTES];
    uint32_t kind; /* enum system_device_kind */
    uint16_t pci_vendor;
    uint16_t pci_device;
    uint32_t pci_address; /* bus << 8 | device << 3 | function */
    uint32_t irq_count;
    const volatile void *config; /* the function's 4 KiB configuration space, read-only */
    volatile void *bar[6];       /* mapped memory BARs, uncached; NULL if absent or I/O */
    uint64_t bar_bytes[6];
    struct {
        uint64_t address; /* for the MSI-X table entry */
        uint32_t data;
        uint32_t irq_slot; /* the handler's capability */
    } msi[CELL_IRQS_MAX];
};

enum cell_ring_role { CELL_RING_CLIENT = 1, CELL_RING_SERVER = 2 };

struct cell_ring {
    char name[SYSTEM_NAME_BYTES];
    uint32_t role;
    uint32_t entries;
    uint32_t buffer_count;
    uint32_t buffer_bytes;
    void *address; /* struct ring_shared, then the pool at pool_offset */
    uint64_t bytes;
    uint64_t pool_offset;
    /* Device addresses of the pool's pages, in order; NULL unless the cell drives a device. */
    const uint64_t *pool_page_device_address;
    uint32_t doorbell_slot; /* notification capability that wakes the peer */
    uint32_t kind;          /* enum system_ring_kind */
};

struct cell_info {
    uint64_t magic;
    uint32_t version;
    uint32_t cell_index;
    char name[SYSTEM_NAME_BYTES];
    uint32_t generation; /* 0 at first start, +1 a restart */
    uint32_t flags;
    struct time_calibration time;
    void *heap;
    uint64_t heap_bytes;
    void *dma;
    uint64_t dma_bytes;
    const uint64_t *dma_page_device_address; /* dma_bytes / PAGE_BYTES of them */
    const char *config;                      /* "key=value\0" strings */
    uint64_t config_bytes;
    uint32_t device_count;
    uint32_t ring_count;
    struct cell_device devices[CELL_DEVICES_MAX];
    struct cell_ring rings[CELL_RINGS_MAX];
    /* Only with CELL_FLAG_PCI: */
    volatile void *ecam; /* buses appear as SUPERVISOR_PCI_MAP_BUS asks for them */
    uint32_t ecam_first_bus;
    uint32_t ecam_last_bus;
    /* Physical addresses for BARs: below the ECAM, between ECAM and 4 GiB, above 4 GiB; bytes 0 if
     * there is none. */
    uint64_t pci_window_base[3];
    uint64_t pci_window_bytes[3];
    uint32_t thread_count; /* 1 and the workers */
    uint32_t reserved;
    /* Unix time in ns when system time was 0 (from the real-time clock); 0 if it is not known. */
    uint64_t unix_ns_at_zero;
};

_Static_assert(sizeof(struct cell_info) <= PAGE_BYTES, "cell_info fits its page");

#endif
