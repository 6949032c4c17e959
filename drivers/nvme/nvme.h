// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * NVMe controller driver: NVM and ZNS command sets over PCIe, one I/O queue pair a namespace user.
 * Sources: NVM Express Base Specification 1.4c; Zoned Namespace Command Set Specification 1.1.
 *
 * Life cycle: nvme_start -> nvme_poll until nvme_state is NVME_READY (or NVME_DEAD) -> submit and
 * poll -> nvme_stop -> nvme_poll until NVME_STOPPED. Nothing blocks and no clock is read: time is
 * an argument, and the caller polls.
 *
 * Faults. Each command has a deadline. When it passes, the command is aborted; when that does not
 * help, or the controller reports a fatal status or breaks the protocol, the controller is reset,
 * everything outstanding completes with DEVICE_TIMEOUT or DEVICE_ERROR (whether such a write
 * reached the media is unknown), and the driver brings the controller up again. After
 * NVME_RESETS_MAX resets without a good command between them it is NVME_DEAD: every later request
 * completes with DEVICE_ERROR. A controller that does not even let itself be disabled is dead too,
 * and may still write into the memory of what was outstanding.
 *
 * What the device supplies is untrusted: command identifiers, queue heads, status, identify data
 * and zone reports are checked before use; a wrong one counts in `violations` and never indexes
 * memory.
 *
 * Invariants: 1. a slot is in use from submission to its completion, and its command identifier
 * carries the slot's generation, so that a stale or doubled completion is seen as one; 2. at most
 * entries - 1 slots are in use, so that the submission queue never overflows; 3. memory of a
 * command is returned only when the controller has completed it, is disabled, or is given up.
 *
 * Thread rule: one owner; nothing here locks.
 */
#ifndef DRIVERS_NVME_NVME_H
#define DRIVERS_NVME_NVME_H

#include <hallows/cell.h>
#include <hallows/status.h>
#include <hallows/types.h>

#include "drivers/mmio.h"
#include "lib/block/block.h"

#define NVME_QUEUE_ENTRIES 64u /* one page of submission entries */
#define NVME_QUEUE_DEPTH (NVME_QUEUE_ENTRIES - 1u)
#define NVME_TRANSFER_BYTES_MAX (512u * 1024u)
/* Memory for queues, PRP lists and identify data, at the start of the region given. */
#define NVME_QUEUE_MEMORY_BYTES (32u * PAGE_BYTES)
#define NVME_IN_FLIGHT 0x10000u /* in a slot's key */
#define NVME_RESETS_MAX 3u
/* A device behind an emulator with a virtual clock may look arbitrarily slow. */
#define NVME_DEFAULT_DEADLINE_NS (60ull * 1000 * 1000 * 1000)

enum nvme_state {
    NVME_DISABLING = 1, /* CC.EN = 0 written, waiting for CSTS.RDY = 0 */
    NVME_ENABLING,      /* CC.EN = 1 written, waiting for CSTS.RDY = 1 */
    NVME_SETTING_UP,    /* identify, queues */
    NVME_READY,
    NVME_STOPPING, /* deleting queues, CC.SHN written */
    NVME_STOPPED,
    NVME_DEAD
};

struct nvme_config {
    volatile void *registers; /* BAR 0 */
    uint64_t register_bytes;
    volatile void *msix_table; /* entry 0; NULL: no interrupt, arm refuses to sleep */
    uint64_t msix_address;     /* what entry 0 is filled with */
    uint32_t msix_data;
    uint32_t namespace_id;  /* 0: the first active one */
    bool shadow_doorbells;  /* use them if offered: worth it where a doorbell is dear (a trap) and
                               the controller looks by itself while it is busy; QEMU's does not */
    time_ns_t deadline_ns;  /* a command's; 0: NVME_DEFAULT_DEADLINE_NS */
    struct dma_region dma;  /* NVME_QUEUE_MEMORY_BYTES for the driver */
    struct dma_region data; /* where requests' data lies; usually the cell's whole DMA memory */
};

/* What the drive says of itself (Base 5.14.1.2). */
struct nvme_health {
    bool valid;
    uint8_t critical_warning; /* bits; 0 is good */
    uint8_t spare_percent, spare_threshold_percent, used_percent;
    uint16_t temperature_kelvin;
    uint64_t read_units, written_units; /* of 512,000 bytes */
    uint64_t power_cycles, power_on_hours, unsafe_shutdowns;
    uint64_t media_errors, error_log_entries;
};

struct nvme_counters {
    uint64_t submitted, completed, errors;
    uint64_t doorbells, shadowed, timeouts, aborts, resets, violations;
};

/* Fills config->registers, msix_* from a cell's device. Returns NOT_FOUND when BAR 0 is missing,
 * UNSUPPORTED when the MSI-X table is not in a mapped BAR (everything but msix_table is set). */
status_t nvme_config_from_cell(struct nvme_config *config,
                               const struct cell_device *device) HALLOWS_MUST_CHECK;

struct nvme_command_slot {
    uint64_t cookie;
    uint64_t block;        /* of a zone append: its zone */
    void *data;            /* zone reports are converted in place */
    time_ns_t deadline_ns; /* of the command */
    uint32_t key;          /* its cid (generation << 6 | slot), and NVME_IN_FLIGHT */
    uint8_t operation;     /* enum block_operation, or an admin purpose; and flags of the driver */
    uint16_t local_status; /* not 0: not in flight, completes in the driver with -local_status */
};

/* A submission and completion queue pair with its command slots. */
struct nvme_queue {
    uint8_t *submissions;         /* [dma] 64 bytes each */
    const uint8_t *completions;   /* [dma] 16 bytes each */
    volatile void *tail_doorbell; /* [const], so are the entries */
    volatile void *head_doorbell;
    volatile uint32_t *tail_shadow; /* [dma] NULL: no shadow doorbells */
    volatile uint32_t *head_shadow;
    const volatile uint32_t *tail_event;
    const volatile uint32_t *head_event;
    uint16_t shadow_asked, shadow_spared; /* rings since it was last judged, and those saved */
    uint16_t tell_always;                 /* rings for which the event is not worth looking at */
    uint16_t sq_entries;
    uint16_t cq_entries;
    uint16_t id;
    uint16_t tail;       /* next submission entry */
    uint16_t head;       /* next completion entry */
    uint16_t head_told;  /* completions reaped since the doorbell was last written */
    uint16_t phase;      /* of a new completion: 1 or 0 */
    uint16_t head_batch; /* completions that may be held back before telling */
    uint32_t free_count;
    uint32_t depth;                         /* slots in all: sq_entries - 1 */
    uint8_t free_slots[NVME_QUEUE_ENTRIES]; /* stack */
    struct nvme_command_slot slots[NVME_QUEUE_ENTRIES];
};

/* One controller with one namespace. Users look at `block`, `counters`, the texts and `last_error`
 * only. */
struct nvme {
    struct block_device block; /* geometry valid once NVME_READY; the same functions as below */
    struct nvme_counters counters;
    char model[41], serial[21], firmware[9]; /* printable ASCII, trimmed, NUL-terminated */
    uint32_t namespace_id;
    uint32_t version;    /* VS register: major << 16 | minor << 8 | tertiary */
    status_t last_error; /* why it is dead, or why the last reset was made */

    struct nvme_health health; /* as last asked for */

    struct nvme_config config;
    uint64_t capabilities; /* CAP register */
    enum nvme_state state;
    uint32_t step; /* within NVME_SETTING_UP and NVME_STOPPING */
    uint32_t resets_in_row;
    uint32_t local_count;  /* I/O slots with a local_status */
    uint32_t command_set;  /* NVME_CSI_* */
    uint32_t format_index; /* of the namespace's LBA format */
    uint32_t transfer_bytes_max;
    uint32_t append_bytes_max;
    bool stop_wanted;
    bool shut_down;
    bool armed;
    bool reset_wanted;
    bool shadow_offered; /* the controller has shadow doorbells */
    bool geometry_known; /* after a reset the same namespace must be found again */
    time_ns_t state_deadline_ns;
    time_ns_t next_check_ns; /* of command deadlines */
    uint16_t setup_cid;      /* of the admin command that the current step waits for */
    uint8_t *identify;       /* [dma] one page */
    uint8_t *prp_lists;      /* [dma] 1 KiB for each I/O slot */
    struct nvme_queue admin;
    struct nvme_queue io;
};

/* Takes over the controller: disables it and begins to bring it up. `nvme` need not be initialised.
 * Returns INVALID_ARGUMENT for missing or too small memory or register window, UNSUPPORTED for a
 * controller without 4 KiB pages or without the NVM command set; then the device is untouched. */
status_t nvme_start(struct nvme *nvme, const struct nvme_config *config,
                    time_ns_t now_ns) HALLOWS_MUST_CHECK;

static inline enum nvme_state nvme_state(const struct nvme *nvme)
{
    return nvme->state;
}

/* Queues requests (lib/block/block.h) and rings the doorbell once. Returns how many were taken: 0
 * unless NVME_READY, fewer than count when all slots are in use. Never blocks. */
uint32_t nvme_submit(struct nvme *nvme, const struct block_request *requests, uint32_t count,
                     time_ns_t now_ns);

/* Takes up to max completions, and drives state changes and deadlines. Returns how many. Must be
 * called again and again, at the latest at nvme_next_due. */
uint32_t nvme_poll(struct nvme *nvme, struct block_completion *completions, uint32_t max,
                   time_ns_t now_ns);

/* Sleeping: arm unmasks the interrupt and returns true, or returns false (still masked) when
 * completions are there already. An interrupt that came while masked is delivered on arming, so no
 * wake-up is lost. */
bool nvme_arm(struct nvme *nvme);
void nvme_disarm(struct nvme *nvme);
time_ns_t nvme_next_due(const struct nvme *nvme);

/* Asks for the drive's health; nvme_poll brings it into nvme->health. False: not ready, or another
 * admin command is under way; ask again. */
bool nvme_ask_health(struct nvme *nvme, time_ns_t now_ns);

/* Begins the shutdown: outstanding commands complete first (or time out), then the queues are
 * deleted and the drive is told to shut down (CC.SHN). Flush before, or lose unflushed writes. */
void nvme_stop(struct nvme *nvme, time_ns_t now_ns);

#endif
