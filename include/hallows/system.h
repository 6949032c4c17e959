// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The compiled system description: what tools/image makes from system.toml and the cell manifests
 * and the supervisor reads (bundle entry BUNDLE_SYSTEM). Little-endian, no padding beyond what is
 * written here; all arrays follow the header at the offsets that it gives.
 */
#ifndef HALLOWS_SYSTEM_H
#define HALLOWS_SYSTEM_H

#include <hallows/types.h>

#define SYSTEM_MAGIC 0x4d54535953484c48ull /* "HLHSYSTM" */
#define SYSTEM_VERSION 4u
#define SYSTEM_NAME_BYTES 24u
#define SYSTEM_CELLS_MAX 32u
#define SYSTEM_DEVICES_MAX 16u
#define SYSTEM_RINGS_MAX 32u
#define SYSTEM_VIRTUAL_FUNCTIONS_MAX 64u
#define SYSTEM_CPUS_MAX 64u
#define SYSTEM_CPU_WINDOWS_MAX 124u
#define SYSTEM_DOMAINS_MAX 16u
#define SYSTEM_WINDOW_MIN_US 10u
#define SYSTEM_BUDGET_MIN_US 10u
#define SYSTEM_PERIOD_MAX_US 60000000u
#define CELL_DEVICES_MAX 4u
#define CELL_WORKERS_MAX 7u /* threads beside the first */
#define CELL_RINGS_MAX 8u
#define SYSTEM_NONE 0xffffffffu

enum system_device_kind { SYSTEM_DEVICE_NET = 1, SYSTEM_DEVICE_NVME = 2 };

/* Which PCI function a name in the system stands for: the index-th (0-based, in bus order) of its
 * kind, narrowed by vendor and device id where they are not 0. */
struct system_device {
    char name[SYSTEM_NAME_BYTES];
    uint32_t kind;
    uint16_t pci_vendor;
    uint16_t pci_device;
    uint32_t index;
    uint32_t irq_count;         /* MSI-X vectors to prepare, 1..8 */
    uint32_t virtual_functions; /* to make of it (SR-IOV), 0..SYSTEM_VIRTUAL_FUNCTIONS_MAX */
    uint32_t parent; /* device + 1 whose virtual function number `index` it is; 0: none */
};

enum system_ring_kind { SYSTEM_RING_NET = 0, SYSTEM_RING_LOG = 1 };

/* A ring pair between two cells (hallows/ring.h), with its buffer pool. */
struct system_ring {
    char name[SYSTEM_NAME_BYTES];
    uint32_t client_cell; /* index */
    uint32_t server_cell;
    uint32_t entries;      /* of each of submission and completion ring, power of two */
    uint32_t buffer_count; /* buffers of the pool */
    uint32_t buffer_bytes; /* of each, power of two, <= PAGE_BYTES */
    uint32_t kind;         /* enum system_ring_kind: what the server does for the client */
};

enum system_restart { SYSTEM_RESTART_NEVER = 0, SYSTEM_RESTART_ON_FAULT = 1 };
enum system_cell_flags {
    CELL_FLAG_PCI = 1u << 0,         /* gets ECAM and the PCI memory windows: the pci service */
    CELL_FLAG_START_READY = 1u << 1, /* later cells start only once this one reports ready */
    CELL_FLAG_MANAGE = 1u << 2       /* may ask the supervisor to restart cells */
};

struct system_cell {
    char name[SYSTEM_NAME_BYTES];
    char program[40];     /* bundle entry of kind BUNDLE_CELL */
    uint64_t heap_bytes;  /* multiple of SEGMENT_BYTES */
    uint64_t dma_bytes;   /* multiple of SEGMENT_BYTES; memory with known device addresses */
    uint64_t stack_bytes; /* multiple of PAGE_BYTES */
    uint32_t priority;
    uint32_t cpu; /* below SYSTEM_CPUS_MAX; what the machine does not run is refused at start */
    uint32_t budget_us; /* of CPU time in each period; 0: as much as its priority gets */
    uint32_t period_us; /* budget_us to SYSTEM_PERIOD_MAX_US; 0 without a budget */
    uint32_t flags;
    uint32_t restart;      /* enum system_restart */
    uint32_t restarts_max; /* within restart_window_s, then the cell stays down */
    uint32_t restart_window_s;
    uint32_t device_count;
    uint32_t devices[CELL_DEVICES_MAX]; /* indices into the devices */
    uint32_t config_offset; /* from the start of the description: "key=value\0" strings */
    uint32_t config_bytes;
    uint32_t domain;       /* of its CPU, in whose windows it runs; 0 without a schedule */
    uint32_t worker_count; /* further threads; 0 with a budget or a domain that is not 0 */
    uint32_t worker_cpus[CELL_WORKERS_MAX]; /* where they run; each another CPU than the rest */
};

/* A window of the partition schedule of a CPU, in the order in which it goes through them. */
struct system_window {
    uint32_t cpu;       /* that of the window before or above; CPU 0 has windows of domain 0 */
    uint32_t domain;    /* below SYSTEM_DOMAINS_MAX */
    uint32_t length_us; /* of all of the CPU SYSTEM_PERIOD_MAX_US at most */
    uint32_t reserved;  /* 0 */
};

struct system_header {
    uint64_t magic;
    uint32_t version;
    uint32_t total_bytes;
    char name[SYSTEM_NAME_BYTES];
    uint32_t cell_count; /* cells start in this order */
    uint32_t cells_offset;
    uint32_t device_count;
    uint32_t devices_offset;
    uint32_t ring_count;
    uint32_t rings_offset;
    uint32_t window_count; /* SYSTEM_CPU_WINDOWS_MAX of each CPU at most */
    uint32_t windows_offset;
};

_Static_assert(sizeof(struct system_device) == 48, "tools/image writes this layout");
_Static_assert(sizeof(struct system_ring) == 48, "tools/image writes this layout");
_Static_assert(sizeof(struct system_cell) == 184, "tools/image writes this layout");
_Static_assert(sizeof(struct system_window) == 16, "tools/image writes this layout");
_Static_assert(sizeof(struct system_header) == 72, "tools/image writes this layout");

#endif
