// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * NVMe controller driver: NVM and ZNS command sets over PCIe. A *port* is one namespace seen
 * through one I/O queue pair: a block device of its own. A controller has one port, or several: for
 * several namespaces, and for several threads on one namespace. Sources: NVM Express Base
 * Specification 1.4c; Zoned Namespace Command Set Specification 1.1.
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
 * Thread rule: one owner, who drives the controller and all ports; nothing here locks. A port with
 * `own_thread` has an owner of its own (its functions may be called by that thread only), who
 * shares nothing with the others but what follows. The controller lends the port its queue
 * (`grant`, a number that the controller alone writes); when it takes the queue back for a reset,
 * it waits until the port has seen that (`epoch`, which the port alone writes) or sleeps
 * (`parked`), before the queues are made anew. The port asks for a reset or an abort by single
 * words (`reset_status`, `abort_key`). The controller's owner has to call nvme_poll within
 * NVME_OWNER_CHECK_NS even when it has nothing to do itself (nvme_next_due says so). A thread that
 * stops using its port leaves it armed, or the next reset waits for it until it gives up the
 * controller.
 */
#ifndef DRIVERS_NVME_NVME_H
#define DRIVERS_NVME_NVME_H

#include <hallows/cell.h>
#include <hallows/status.h>
#include <hallows/types.h>

#include "drivers/mmio.h"
#include "lib/block/account.h"
#include "lib/block/block.h"

#define NVME_QUEUE_ENTRIES 64u /* one page of submission entries */
#define NVME_QUEUE_DEPTH (NVME_QUEUE_ENTRIES - 1u)
#define NVME_TRANSFER_BYTES_MAX (512u * 1024u)
/* Memory of the controller and its first port: queues, PRP lists, identify data. */
#define NVME_QUEUE_MEMORY_BYTES (32u * PAGE_BYTES)
#define NVME_PORT_MEMORY_BYTES (18u * PAGE_BYTES) /* of each port more */
#define NVME_PORTS_MAX 32u
#define NVME_NAMESPACES_MAX 64u
#define NVME_PLACEMENTS_MAX 16u
#define NVME_ERRORS_KEPT 8u
#define NVME_OWNER_CHECK_NS 1000000000ull
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

/* One interrupt vector. */
struct nvme_vector {
    volatile void *entry; /* its MSI-X table entry; NULL: no interrupt, arm refuses to sleep */
    uint64_t address;     /* what it is filled with */
    uint32_t data;
    uint32_t index; /* its number */
};

struct nvme_port;

struct nvme_port_config {
    struct nvme_port *port;    /* the caller's, for as long as the controller is in use */
    uint32_t namespace_id;     /* 0: the first active one */
    bool own_thread;           /* see above; then it needs a vector of its own to sleep */
    struct nvme_vector vector; /* entry NULL: shares the controller's */
    struct dma_region dma;     /* NVME_PORT_MEMORY_BYTES for the driver */
};

struct nvme_config {
    volatile void *registers; /* BAR 0 */
    uint64_t register_bytes;
    volatile void *bar[6]; /* mapped BARs, for the controller memory buffer; may all be NULL */
    uint64_t bar_bytes[6];
    bool
        controller_memory; /* use its memory buffer, if it has one: for submission queues, and for
                              data in nvme->memory. Worth it where the bus is slow for the drive. */
    struct nvme_vector vector;  /* of the admin queue and the first port: number 0 */
    uint32_t namespace_id;      /* of the first port; 0: the first active one */
    uint32_t virtual_functions; /* secondary controllers to bring online (SR-IOV), each with one I/O
                                   queue pair and one interrupt, for drivers of their own. It dies,
                                   last_error TOO_LARGE, where there are not that many. */
    const struct nvme_port_config *more_ports; /* read by nvme_start only */
    uint32_t more_count;
    bool shadow_doorbells;  /* use them if offered: worth it where a doorbell is dear (a trap) and
                               the controller looks by itself while it is busy; QEMU's does not */
    time_ns_t deadline_ns;  /* a command's; 0: NVME_DEFAULT_DEADLINE_NS */
    struct dma_region dma;  /* NVME_QUEUE_MEMORY_BYTES for the driver */
    struct dma_region data; /* where requests' data lies; usually the cell's whole DMA memory */
    const struct dma_region *more_data; /* where pieces of BLOCK_VECTORED requests may lie, too: the
                                           pools of rings, say. The caller's, while it is in use */
    uint32_t more_data_count;
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

/* An entry of the drive's error log (Base 5.14.1.1). */
struct nvme_error {
    uint64_t number; /* of the error, over the drive's life, from 1 */
    uint64_t block;  /* the first that it is about, where it is about any */
    uint32_t namespace_id;
    uint16_t queue;
    uint16_t device_status; /* as in struct block_completion */
};

/* An active namespace, in use through a port or not. */
struct nvme_namespace {
    uint32_t id;
    bool known;  /* the rest is as last asked for */
    bool usable; /* the driver can read and write it: false, and only `id` is told */
    uint32_t block_bytes;
    uint64_t blocks;
    uint64_t used_blocks; /* that the drive has allocated, where it keeps count; else `blocks` */
    uint64_t zone_blocks; /* distance of zones; 0: it has none */
    uint32_t max_active_zones, max_open_zones; /* 0: no limit */
};

struct nvme_counters {
    uint64_t submitted, completed, errors; /* completed: by the drive; errors: also in the driver */
    uint64_t doorbells, shadowed, timeouts, aborts, resets, violations;
};

/* Fills config->registers and vector from a cell's device. Returns NOT_FOUND when BAR 0 is missing,
 * UNSUPPORTED when the MSI-X table is not in a mapped BAR (everything but vector.entry is set). */
status_t nvme_config_from_cell(struct nvme_config *config,
                               const struct cell_device *device) HALLOWS_MUST_CHECK;
/* Vector `index` of it. NOT_FOUND: the device was given fewer; UNSUPPORTED as above. */
status_t nvme_vector_from_cell(struct nvme_vector *vector, const struct cell_device *device,
                               uint32_t index) HALLOWS_MUST_CHECK;

struct nvme_command_slot {
    uint64_t cookie;
    uint64_t block;        /* of a zone append: its zone */
    void *data;            /* zone reports are converted in place */
    time_ns_t deadline_ns; /* of the command */
    uint32_t key;      /* its cid (generation << 6 | slot), with NVME_IN_FLIGHT; free: the last */
    uint8_t operation; /* enum block_operation, or an admin purpose; and flags of the driver */
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

struct nvme;

/* One namespace through one queue pair. Users look at `block`, `namespace_id` and `counters`. */
struct nvme_port {
    struct block_device block; /* geometry valid once NVME_READY; the same functions as below */
    struct nvme_queue queue;
    uint32_t epoch;          /* [port] grant that it works under; 0: none */
    volatile uint32_t grant; /* [controller] 0: hands off */
    uint32_t namespace_id;
    uint32_t transfer_bytes_max;
    time_ns_t next_check_ns; /* of command deadlines */
    time_ns_t command_ns;    /* a command's time */
    uint32_t local_count;    /* slots with a local_status */
    struct dma_region data;
    uint8_t *prp_lists;   /* [dma] 1 KiB for each slot */
    uint8_t *submissions; /* the queue's memory: in dma, or in the controller */
    uint64_t submissions_address;
    struct dma_region dma;
    struct nvme_counters counters;

    struct nvme *nvme;
    struct nvme_vector vector;
    bool own_thread, own_vector;
    bool shares;                   /* of the owner's thread, and others have threads of their own */
    volatile bool parked;          /* [port] asleep: does not touch the queue */
    volatile int32_t reset_status; /* a reset is needed, and why: broken protocol, vain abort */
    volatile uint32_t abort_key;   /* abort this command: its key with NVME_IN_FLIGHT; 0: none */
    volatile int32_t failed_status; /* [controller] why what was outstanding failed */
    uint32_t wanted_namespace;
    uint32_t command_set;  /* NVME_CSI_* */
    uint32_t format_index; /* of the namespace's LBA format */
    uint32_t append_bytes_max;
    bool geometry_known; /* after a reset the same namespace must be found again */
    uint16_t placement_ids[NVME_PLACEMENTS_MAX];
};

/* One controller with its first port. Users look at `port`, the texts, `health`, `errors`,
 * `namespaces`, `answers` and `last_error` only. */
struct nvme {
    struct nvme_port port;
    char model[41], serial[21], firmware[9]; /* printable ASCII, trimmed, NUL-terminated */
    uint32_t version;                        /* VS register: major << 16 | minor << 8 | tertiary */
    status_t last_error;                     /* why it is dead, or why the last reset was made */
    struct nvme_namespace namespaces[NVME_NAMESPACES_MAX]; /* active ones, by ascending `id` */
    uint32_t namespace_count;

    /* The controller's own memory, where config.controller_memory found some: `data` of requests
     * may lie in [memory, memory + memory_bytes). Uncached; gone when the controller is reset. */
    uint8_t *memory;
    uint64_t memory_bytes;
    uint64_t memory_address; /* for the controller; 0: there is none */

    struct nvme_health health;                  /* as last asked for */
    struct nvme_error errors[NVME_ERRORS_KEPT]; /* the newest, as last asked for */
    uint32_t error_count;
    uint64_t answers;              /* how often nvme_ask was answered in full */
    struct nvme_counters counters; /* of the controller itself: nvme_count_all has all */

    struct nvme_config config;
    uint64_t capabilities; /* CAP register */
    enum nvme_state state;
    uint32_t step;       /* within NVME_SETTING_UP and NVME_STOPPING */
    uint32_t port_index; /* port that the step is about */
    uint32_t resets_in_row;
    uint64_t completed_at_reset; /* good commands until the last reset */
    uint32_t grants;             /* the last one given */
    uint32_t controller_flags;   /* enum block_device_flags that every port has */
    uint32_t controller_transfer_bytes;
    uint32_t controller_atomic_blocks;
    uint32_t error_log_entries; /* that its error log has room for */
    uint32_t shared_armed;      /* ports asleep on the controller's vector */
    bool stop_wanted;
    bool shut_down;
    bool reset_wanted;
    bool shadow_offered; /* the controller has shadow doorbells */
    bool shadows_used;
    bool virtual_offered;      /* it manages secondary controllers */
    uint32_t secondary;        /* identifier of the one that setup is about */
    uint32_t secondary_rounds; /* a list that never changes is seen as one */
    uint32_t secondaries_online;
    bool placement_offered; /* it has flexible data placement */
    bool asking;            /* nvme_ask is being answered: */
    uint32_t question;      /* which one, about which of the namespaces */
    uint32_t asked_namespace;
    uint32_t asked_command_set, asked_format_index;
    time_ns_t state_deadline_ns;
    uint8_t *identify; /* [dma] one page */
    struct nvme_queue admin;
    struct nvme_queue *setup_queue; /* that of the command for which setup waits; NULL: none */
    struct nvme_port *ports[NVME_PORTS_MAX];
    uint32_t port_count;
};

/* Takes over the controller: disables it and begins to bring it up. `nvme` need not be initialised.
 * Returns INVALID_ARGUMENT for missing or too small memory or register window or too many ports,
 * UNSUPPORTED for a controller without 4 KiB pages or without the NVM command set; then the device
 * is untouched. It dies, last_error TOO_LARGE, when it has not that many queue pairs; NOT_FOUND, a
 * namespace is missing. */
status_t nvme_start(struct nvme *nvme, const struct nvme_config *config,
                    time_ns_t now_ns) HALLOWS_MUST_CHECK;

static inline enum nvme_state nvme_state(const struct nvme *nvme)
{
    return nvme->state;
}

/* Queues requests (lib/block/block.h) and rings the doorbell once. Returns how many were taken: 0
 * unless the port is in use, fewer than count when all slots are in use. Never blocks. */
uint32_t nvme_submit(struct nvme_port *port, const struct block_request *requests, uint32_t count,
                     time_ns_t now_ns);

/* Takes up to max completions of the port, and drives the controller's state changes and deadlines
 * (with own_thread: only the port's). Returns how many. Must be called again and again, at the
 * latest at nvme_next_due. */
uint32_t nvme_poll(struct nvme_port *port, struct block_completion *completions, uint32_t max,
                   time_ns_t now_ns);

/* Sleeping: arm unmasks the interrupt and returns true, or returns false (still masked) when
 * completions are there already. An interrupt that came while masked is delivered on arming, so no
 * wake-up is lost. Ports that share a vector and a thread are all armed before it sleeps, and all
 * disarmed after it woke; the vector is masked once all are. */
bool nvme_arm(struct nvme_port *port);
void nvme_disarm(struct nvme_port *port);
/* When nvme_poll is due. While the controller comes up, or a queue was taken back: now. */
time_ns_t nvme_next_due(const struct nvme_port *port);

/* Counters of the controller and all its ports together. */
void nvme_count_all(const struct nvme *nvme, struct nvme_counters *sum);

/* Asks for the drive's health, its error log and what its namespaces are, one admin command after
 * the other; nvme_poll brings it into nvme->health, nvme->errors and nvme->namespaces. What the
 * drive refuses to tell stays as it was. False: not ready, or another admin command is under way;
 * ask again. */
bool nvme_ask(struct nvme *nvme, time_ns_t now_ns);

/* ,"drive":{..},"health":{..} (lib/block/account.h): the controller with its namespaces. */
void nvme_account(const struct nvme *nvme, const struct account *account);

/* Begins the shutdown: outstanding commands of every port complete first (all are polled) (or time
 * out), then the queues are deleted and the drive is told to shut down (CC.SHN). Flush before, or
 * lose unflushed writes. */
void nvme_stop(struct nvme *nvme, time_ns_t now_ns);

#endif
