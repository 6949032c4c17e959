// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Messages between cells and the supervisor, by ipc_call on CELL_SLOT_SUPERVISOR. Word 0 of every
 * reply is a status; INVALID_ARGUMENT answers an unknown label or wrong words.
 */
#ifndef HALLOWS_SUPERVISOR_H
#define HALLOWS_SUPERVISOR_H

#include <hallows/types.h>

enum supervisor_label {
    /* The cell serves now. words: none. */
    SUPERVISOR_READY = 1,
    /* The cell has flushed its state after CELL_EVENT_SHUTDOWN. words: none. Does not return. */
    SUPERVISOR_SHUTDOWN_DONE = 2,
    /* The cell ends. words: status. OK: it has done its work and does not start again; else it gave
     * up, handled as a fault. Does not return. */
    SUPERVISOR_EXIT = 3,
    /* words: cell index. Reply: status, state (enum cell_state), restarts, memory bytes, faults,
     * then the name in words 5..7. NOT_FOUND past the last cell. */
    SUPERVISOR_CELL_STATUS = 4,
    /* The whole system. Reply: status, cells, RAM bytes, free bytes, uptime ns, flags (boot_flags).
     */
    SUPERVISOR_SYSTEM_STATUS = 5,
    /* words: cell index. Ends that cell as a fault would and starts it again, whatever its restart
     * contract says. NO_RIGHTS without CELL_FLAG_MANAGE; NOT_FOUND past the last cell; BUSY while
     * it is not running. Reply at once: status. */
    SUPERVISOR_CELL_RESTART = 6,

    /* ---- Only from the cell with CELL_FLAG_PCI; others get NO_RIGHTS. ---- */

    /* words: bus. Shows that bus's configuration space at ecam + ((bus - first bus) << 20). Reply:
     * status (OK too when it is there already). */
    SUPERVISOR_PCI_MAP_BUS = 16,
    /* A function was found. words: address (bus << 8 | device << 3 | function), vendor | device id
     * << 16 | class code << 32 (3 bytes), MSI-X vectors (0: none). Reply: status, virtual functions
     * to make of it and report. */
    SUPERVISOR_PCI_FUNCTION = 17,
    /* A memory BAR of a reported function. words: address, index 0..5, base, bytes. */
    SUPERVISOR_PCI_BAR = 18,
    /* All functions and BARs are reported, or the last request is done. words: status of the last
     * request. Returns when there is something to do, with status, enum pci_request, address. */
    SUPERVISOR_PCI_NEXT = 19,
    /* A virtual function was made (its BARs are reported as others are). words: address, vendor |
     * device id << 16 | class code << 32, MSI-X vectors, physical function's address | number
     * << 16. INVALID_ARGUMENT: no such physical function was reported. */
    SUPERVISOR_PCI_VIRTUAL = 20
};

/* What the supervisor asks of the pci service, as answer to SUPERVISOR_PCI_NEXT. */
enum pci_request {
    /* Let the function work: memory decoding, bus mastering and MSI-X on, INTx off. */
    PCI_REQUEST_ENABLE = 1,
    /* Make it quiet: no bus mastering, no MSI-X, reset where it has function-level reset. When this
     * is answered the function starts no more DMA. */
    PCI_REQUEST_QUIESCE = 2,
    /* The system goes down: answer with SUPERVISOR_SHUTDOWN_DONE. */
    PCI_REQUEST_SHUTDOWN = 3
};

enum cell_state {
    CELL_STATE_WAITING = 0,
    CELL_STATE_STARTING = 1,
    CELL_STATE_READY = 2,
    CELL_STATE_FAILED = 3, /* restarts used up */
    CELL_STATE_STOPPED = 4 /* shut down, or ended with OK */
};

#endif
