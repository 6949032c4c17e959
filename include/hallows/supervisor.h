// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Messages between cells and the supervisor, by ipc_call on CELL_SLOT_SUPERVISOR. Word 0 of every
 * reply is a status.
 */
#ifndef HALLOWS_SUPERVISOR_H
#define HALLOWS_SUPERVISOR_H

#include <hallows/types.h>

enum supervisor_label {
    /* The cell serves now. words: none. */
    SUPERVISOR_READY = 1,
    /* The cell has flushed its state after CELL_EVENT_SHUTDOWN. words: none. Does not return. */
    SUPERVISOR_SHUTDOWN_DONE = 2,
    /* The cell gives up. words: status. Handled as a fault. Does not return. */
    SUPERVISOR_EXIT = 3,
    /* words: cell index. Reply: status, state (enum cell_state), restarts, memory bytes, faults,
     * then the name in words 5..7. NOT_FOUND past the last cell. */
    SUPERVISOR_CELL_STATUS = 4,
    /* The whole system. Reply: status, cells, RAM bytes, free bytes, uptime ns, flags (boot_flags).
     */
    SUPERVISOR_SYSTEM_STATUS = 5
};

enum cell_state {
    CELL_STATE_WAITING = 0,
    CELL_STATE_STARTING = 1,
    CELL_STATE_READY = 2,
    CELL_STATE_FAILED = 3, /* restarts used up */
    CELL_STATE_STOPPED = 4 /* shut down */
};

#endif
