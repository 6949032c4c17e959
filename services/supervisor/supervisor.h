// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The supervisor: the initial cell. It owns all memory and devices, builds every cell from the
 * compiled system description, restarts failed ones by their contract, and takes the system down.
 *
 * Model. One thread, one loop (main.c): receive a message, a fault or a notification; change state;
 * then `cells_advance` starts, quiesces, destroys and restarts whatever is due. It never waits for
 * a cell: it only receives and replies, so a hostile cell can at most fail itself.
 *
 * Life of a cell, struct cell.stage:
 *
 *   WAITING --cells_advance--> ENABLING --devices on, cell_launch--> STARTING --READY--> READY
 *      ^                          |                                      |                 |
 *      |                          v fault, exit, no device               v fault, exit     v
 *      +---- cell_destroy <--- QUIESCING <-------------------------------+-----------------+
 *   (or FAILED when the contract is used up; STOPPED after shutdown or an exit with OK)
 *
 * Invariants: 1 memory of an incarnation is reused only after each of its devices is quiet.
 * 2 what survives an incarnation (notification, rings, doorbells) is made from the supervisor's own
 * memory, the rest from the incarnation's one untyped memory and goes with it.
 */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

#include <hallows/boot.h>
#include <hallows/cell.h>
#include <hallows/ring.h>
#include <hallows/supervisor.h>

#include "lib/bundle/bundle.h"
#include "lib/system/system.h"
#include "runtime/cell.h"
#include "runtime/syscall.h"
#include "services/supervisor/contract.h"
#include "services/supervisor/plan.h"

#define PCI_FUNCTIONS_MAX 256u
#define CELL_TABLES_MAX 300u /* page tables of a cell: 256 GiB of heap and some */
#define SUPERVISOR_TABLES_MAX 64u

/* Badges on the supervisor's endpoint: cell index + 1 for its messages; for faults FAULT_BADGE
 * more, and so much for each thread before the one that faulted. */
#define FAULT_BADGE 0x10000u
#define FAULT_BADGE_THREAD 0x100u
/* Bits of the supervisor's own notification. */
#define EVENT_POWER_BUTTON (1ull << 0)
#define EVENT_IO_FAULT(cell_index) (1ull << (32u + (cell_index)))
_Static_assert(SYSTEM_CELLS_MAX <= 32u, "each cell has a bit");

/* ---- State ------------------------------------------------------------------------------------
 */

enum stage {
    STAGE_WAITING,
    STAGE_ENABLING,
    STAGE_STARTING,
    STAGE_READY,
    STAGE_QUIESCING,
    STAGE_FAILED,
    STAGE_STOPPED
};

/* What a device does, as far as the supervisor knows. */
enum device_power { DEVICE_UNKNOWN, DEVICE_ON, DEVICE_QUIET };

/* One function that the pci service reported. */
struct pci_function {
    uint32_t address;
    uint16_t vendor;
    uint16_t device;
    uint32_t class_code;
    uint32_t msix_vectors;
    bool is_virtual;
    uint32_t physical; /* of a virtual one: address of the function that it belongs to */
    uint32_t number;   /* and which of that one's it is */
    uint64_t bar_base[6];
    uint64_t bar_bytes[6];
};

/* One device of the system description. */
struct device {
    const struct system_device *description;
    struct pci_function *function; /* NULL until it is matched */
    enum device_power power;
    enum device_power wanted;
    cap_slot_t irqs; /* CELL_IRQS_MAX slots, made at the first start */
    uint32_t irqs_made;
    uint64_t msi[CELL_IRQS_MAX][2];
};

struct ring {
    const struct system_ring *description;
    cap_slot_t client_doorbell; /* signals the client's notification */
    cap_slot_t server_doorbell;
    cap_slot_t windows; /* first segment */
    uint32_t window_count;
    uint64_t bytes;
    uint64_t pool_offset;
    struct ring_shared *shared; /* seen by the supervisor */
};

/* A thread's slots. Those of its wake-up word, with badged copies, and for its faults live as long
 * as the system; the thread is the incarnation's. */
struct thread_slots {
    cap_slot_t notification;
    cap_slot_t fault_endpoint;
    cap_slot_t device[CELL_DEVICES_MAX]; /* badge CELL_EVENT_DEVICE(i) */
    cap_slot_t thread;
};

struct cell_slots {
    struct thread_slots threads[CELL_THREADS_MAX];
    cap_slot_t shutdown; /* signals the first thread CELL_EVENT_SHUTDOWN */
    cap_slot_t io_event; /* signals the supervisor EVENT_IO_FAULT */
    /* Of the incarnation: */
    cap_slot_t untyped;
    cap_slot_t table;
    cap_slot_t aspace;
    cap_slot_t iospace; /* empty without an IOMMU or devices */
    cap_slot_t context; /* empty without a budget */
    cap_slot_t tables;  /* tables_made of plan.table_count */
    cap_slot_t windows; /* plan.window_count */
};

struct cell {
    const struct system_cell *description;
    enum stage stage;
    bool made; /* there are threads to stop and memory to take back */
    bool slots_taken;
    bool hopeless;      /* gave up for a reason that a restart cannot change */
    bool ended;         /* by itself, with STATUS_OK: it does not start again */
    bool shutdown_told; /* it has been asked to flush and stop */
    bool managed;       /* ended by SUPERVISOR_CELL_RESTART: starts again without being counted */
    uint32_t index;
    uint32_t generation;
    uint32_t faults;
    uint32_t io_faults; /* of its devices, said for this incarnation */
    uint32_t tables_made;
    uint32_t extra_windows_used;
    uint64_t untyped_bytes; /* 0 until the first start */
    struct restart_history history;
    struct cell_slots slots;
    struct cell_plan plan;
    struct device *devices[CELL_DEVICES_MAX];
    /* As the supervisor sees the cell's memory; NULL when it is not there. */
    uint8_t *program;
    uint8_t *stack; /* whole window */
    uint8_t *info;
};

struct supervisor {
    const struct boot_info *boot;
    struct bundle bundle;
    struct system_view system;
    cap_slot_t endpoint;
    cap_slot_t notification;
    cap_slot_t events; /* the same without a badge */
    cap_slot_t sci;    /* 0: no power button */
    cap_slot_t replies[2];
    uint32_t reply_in_use; /* index of the reply object for the next receive */
    bool pci_waits;        /* the other one holds the pci service's NEXT */
    bool said_ready;
    bool shutting_down;
    bool switched_off;
    uint32_t shutdown_left;         /* cells [0, shutdown_left) are not known to have stopped */
    uint32_t shutdown_unclean;      /* cells that did not end as they should */
    time_ns_t shutdown_deadline_ns; /* of the cell whose turn it is; NEVER: nothing to wait for */
    uint64_t unix_ns_at_zero;       /* Unix time in ns at system time 0; 0: not known */
    uint32_t next_slot;
    uint64_t next_address;
    uint32_t cell_count;
    uint32_t device_count;
    uint32_t ring_count;
    uint32_t function_count;
    struct device *pci_device; /* what the pci service works on; NULL: nothing */
    enum pci_request pci_request;
    struct cell *pci_cell; /* NULL: none in the description */
    uint64_t pci_buses[4]; /* bit b: bus b is shown to it */
    struct cell cells[SYSTEM_CELLS_MAX];
    struct device devices[SYSTEM_DEVICES_MAX];
    struct ring rings[SYSTEM_RINGS_MAX];
    struct pci_function functions[PCI_FUNCTIONS_MAX];
};

/* ---- start.c -----------------------------------------------------------------------------------
 */

/* Fills *s, all zero, from the boot information, which stays the kernel's. NULL, or why the system
 * cannot start (details were said). */
const char *supervisor_prepare(struct supervisor *s, const struct boot_info *boot);

/* ---- memory.c: slots, untyped memory, windows --------------------------------------------------
 */

/* A range of windows made from one untyped memory. */
struct window_range {
    cap_slot_t untyped;
    cap_slot_t first;
    uint32_t count;
};

/* Takes `count` consecutive empty slots for good. NO_MEMORY: the table is full. */
status_t slots_take(struct supervisor *s, uint32_t count, cap_slot_t *first) HALLOWS_MUST_CHECK;
/* Repeats a retype until it is done. */
status_t retype(cap_slot_t untyped, struct retype_request request) HALLOWS_MUST_CHECK;
/* `count` objects into slots from `first` on, from the supervisor's own memory. */
status_t retype_own(struct supervisor *s, struct retype_request request) HALLOWS_MUST_CHECK;
/* An untyped memory of `bytes` into `slot`. */
status_t untyped_take(struct supervisor *s, uint64_t bytes, cap_slot_t slot) HALLOWS_MUST_CHECK;
/* Free bytes of all root untyped memory. */
uint64_t untyped_free_bytes(const struct supervisor *s);
/* Revokes, deletes: what is left of a slot's contents and all that came from it. */
void cap_remove(cap_ref_t ref);
void cap_revoke_all(cap_ref_t ref);
/* Makes the segments of a range, without pages. */
status_t windows_make(const struct window_range *range) HALLOWS_MUST_CHECK;
/* Pages first_page.. of the range (page 0 is the first window's first) with zeroed frames. */
status_t windows_populate(const struct window_range *range, uint64_t first_page, uint64_t count,
                          uint32_t rights) HALLOWS_MUST_CHECK;
status_t windows_protect(const struct window_range *range, uint64_t first_page, uint64_t count,
                         uint32_t rights) HALLOWS_MUST_CHECK;
/* Device memory [physical, physical + bytes) from `first_page` on. NOT_FOUND: that is no device
 * memory that the kernel handed out. */
status_t windows_populate_device(const struct supervisor *s, const struct window_range *range,
                                 uint64_t first_page, const struct boot_range *physical,
                                 uint32_t rights) HALLOWS_MUST_CHECK;
/* Shows the range to a cell; makes page tables from its untyped memory. */
status_t windows_attach(struct cell *cell, const struct window_range *range, uint64_t address,
                        uint32_t rights) HALLOWS_MUST_CHECK;
/* Shows the range to the supervisor, read and write. */
status_t windows_attach_own(struct supervisor *s, const struct window_range *range,
                            uint64_t address) HALLOWS_MUST_CHECK;
/* Takes `bytes` (multiple of SEGMENT_BYTES) of the supervisor's unused addresses. */
uint64_t addresses_take(struct supervisor *s, uint64_t bytes);

/* ---- cell.c: one cell's life -------------------------------------------------------------------
 */

/* What lives as long as the system: slots, notification, doorbells. */
status_t cell_prepare(struct supervisor *s, uint32_t index) HALLOWS_MUST_CHECK;
/* Builds an incarnation and starts its threads. On an error nothing of it is left, and the cause
 * was said. */
status_t cell_launch(struct supervisor *s, struct cell *cell) HALLOWS_MUST_CHECK;
/* Stops the cell's threads for good; its memory stays for cell_destroy. */
void cell_stop(struct cell *cell);
/* Takes everything of the incarnation back. Precondition: stopped, devices quiet. */
void cell_destroy(struct supervisor *s, struct cell *cell);
/* The enum cell_state for a stage. */
enum cell_state cell_public_state(const struct cell *cell);

/* ---- thread.c: its threads ---------------------------------------------------------------------
 */

/* The first and its workers. */
uint32_t cell_threads(const struct cell *cell);
/* Once: slots, notifications. */
status_t threads_prepare(struct supervisor *s, struct cell *cell) HALLOWS_MUST_CHECK;
/* Makes them, without memory or authority yet; objects_make of an incarnation. */
status_t threads_make(struct cell *cell) HALLOWS_MUST_CHECK;
/* Populates the stacks of all of them in the stack window. */
status_t stacks_populate(struct cell *cell, const struct window_range *window) HALLOWS_MUST_CHECK;
/* Bytes from the end of the stack window to that of the thread's stack; a page without memory lies
 * between two. */
uint64_t stack_depth(const struct cell *cell, uint32_t thread);
/* Each waits for its own word, and wakes any other. */
status_t threads_give(struct cell *cell) HALLOWS_MUST_CHECK;
status_t threads_start(const struct supervisor *s, struct cell *cell,
                       uint64_t entry) HALLOWS_MUST_CHECK;
/* Whose interrupt number `irq` of a device is, and on which CPU it runs. */
uint32_t irq_thread(const struct cell *cell, uint32_t irq);
uint32_t thread_cpu(const struct cell *cell, uint32_t thread);

/* ---- info.c: the cell's information page -------------------------------------------------------
 */

/* Fills the information window, whose pages are populated and seen at cell->info. */
status_t cell_info_fill(struct supervisor *s, struct cell *cell) HALLOWS_MUST_CHECK;

/* ---- ring.c ------------------------------------------------------------------------------------
 */

/* Makes the memory and doorbells of all rings; the cells' notifications are there. */
status_t rings_prepare(struct supervisor *s) HALLOWS_MUST_CHECK;
/* Shows the cell's rings in its address space, gives it doorbells, fills info->rings. */
status_t rings_connect(struct supervisor *s, struct cell *cell,
                       struct cell_info *info) HALLOWS_MUST_CHECK;
/* Tells the peers of a cell that it went: its side is closed; rings their doorbells. */
void rings_disconnect(struct supervisor *s, struct cell *cell);
/* Pool pages whose device addresses the cell is told, and 1 GiB ranges that its rings take. */
uint64_t rings_pool_pages(const struct supervisor *s, const struct cell *cell);
uint64_t rings_bytes(const struct supervisor *s, const struct cell *cell);

/* ---- schedule.c --------------------------------------------------------------------------------
 */

/* CPUs go through their windows from now on, and this thread runs in those of domain 0. */
status_t schedules_prepare(struct supervisor *s) HALLOWS_MUST_CHECK;

/* ---- iospace.c ---------------------------------------------------------------------------------
 */

/* Whether the cell's devices see an I/O space, not physical memory. */
bool iospace_used(const struct supervisor *s, const struct cell *cell);
/* Page tables that it takes. */
uint32_t iospace_tables(const struct supervisor *s, const struct cell *cell);
/* Makes it, empty, and assigns the cell's functions; nothing without an IOMMU or devices. */
status_t iospace_make(struct supervisor *s, struct cell *cell) HALLOWS_MUST_CHECK;
/* Shows the range to the cell's devices, likewise. */
status_t iospace_show(const struct supervisor *s, struct cell *cell,
                      const struct window_range *range, uint64_t address) HALLOWS_MUST_CHECK;
/* A page of windows that are shown to a cell and its devices at `address`. */
struct io_page {
    cap_slot_t windows;
    uint64_t address;
    uint64_t number;
};
/* The address that the cell's devices use for it. */
status_t device_address(const struct supervisor *s, const struct cell *cell,
                        const struct io_page *page, uint64_t *address) HALLOWS_MUST_CHECK;
/* Says which cells' devices were refused what. */
void io_faults_report(struct supervisor *s, uint64_t events);

/* ---- device.c: matching functions, the pci service's messages ----------------------------------
 */

/* Answers SUPERVISOR_PCI_MAP_BUS, _FUNCTION, _BAR, _VIRTUAL; *more is the answer's second word. */
status_t pci_report(struct supervisor *s, const struct message *m, uint64_t *more);
/* The pci service asks for work; `result` is that of its last request. */
void pci_next(struct supervisor *s, status_t result);
/* Answers a waiting NEXT if there is something to do. */
void pci_advance(struct supervisor *s);
/* Finds the function of each of the cell's devices; says what is missing. */
status_t devices_match(struct supervisor *s, struct cell *cell) HALLOWS_MUST_CHECK;
void devices_want(struct cell *cell, enum device_power power);
bool devices_are(const struct cell *cell, enum device_power power);
/* Interrupt handlers of one device, bound to the cell. */
status_t device_irqs_make(struct supervisor *s, struct cell *cell,
                          uint32_t index) HALLOWS_MUST_CHECK;
void device_irqs_remove(struct device *device);

/* ---- report.c ----------------------------------------------------------------------------------
 */

/* Prints cause, registers and callers of a cell's thread that faulted. */
void fault_report(struct supervisor *s, struct cell *cell, uint32_t thread,
                  const struct message *fault);

/* ---- advance.c ---------------------------------------------------------------------------------
 */

/* The cell is broken, gave up or has ended: stop it, close its rings, quiesce its devices. */
void cell_end(struct supervisor *s, struct cell *cell);
/* Does everything that is due, until nothing is. */
void cells_advance(struct supervisor *s);

/* ---- messages.c --------------------------------------------------------------------------------
 */

/* One received message. */
void message_handle(struct supervisor *s, struct message *m);

/* ---- calendar.c --------------------------------------------------------------------------------
 */

/* Finds out the time of day for unix_ns_at_zero. */
void calendar_read(struct supervisor *s);

/* ---- power.c -----------------------------------------------------------------------------------
 */

/* Sets up the power button, if the machine has one. */
void power_prepare(struct supervisor *s);
/* Something signalled the supervisor's notification. */
void power_event(struct supervisor *s, uint64_t events);
/* Goes on with the shutdown: the last cell first, since those before it may serve it; each has its
 * deadline. Switches the machine off when all have stopped. */
void power_advance(struct supervisor *s);

#endif
