// SPDX-License-Identifier: MIT OR Apache-2.0
/* Shared by the server's files: the loop (server.c), frames and submissions (server_operations.c),
 * pools, watches and cancelling (server_control.c). */
#ifndef SERVICES_NIC_SERVER_SERVER_INTERNAL_H
#define SERVICES_NIC_SERVER_SERVER_INTERNAL_H

#include "services/nic/server/server.h"

/* SERVER: lent for receiving, alone; LINKED: that, in a chain; MULTI: for the multi-shot receive.
 */
enum nic_owner {
    NIC_BUFFER_CLIENT = 0,
    NIC_BUFFER_SERVER = 1,
    NIC_BUFFER_LINKED = 2,
    NIC_BUFFER_MULTI = 3,
    NIC_BUFFER_NONE = 4,
};

/* ---- server_operations.c ---- */

/* A new session: nothing is outstanding, one pool of all buffers. */
void nic_operations_reset(struct nic_server *server);
/* Takes a burst of submissions and what may go on in chains. False: a violation; *worked is set if
 * there was any. */
bool nic_accept(struct nic_server *server, bool *worked);
/* Moves frames to and from the NIC. False: a violation. */
bool nic_move_frames(struct nic_server *server, bool *worked);
/* The last completion of an operation. */
void nic_finish(struct nic_server *server, uint32_t chain,
                const struct ring_completion *completion);
void nic_refuse(struct nic_server *server, const struct ring_submission *submission, uint32_t chain,
                status_t status);
/* Lends a buffer that the client has. False: it has not. */
bool nic_lend(struct nic_server *server, uint32_t buffer, enum nic_owner owner);
/* Completions that may be posted beyond those that outstanding operations need; RING_VIOLATION. */
uint32_t nic_spare_room(struct nic_server *server);

/* ---- server_control.c ---- */

/* Each starts an operation. False: a violation. */
bool nic_start_receive_multi(struct nic_server *server, const struct ring_submission *submission,
                             uint32_t chain);
bool nic_start_lend(struct nic_server *server, const struct ring_submission *submission,
                    uint32_t chain);
void nic_start_status(struct nic_server *server, const struct ring_submission *submission,
                      uint32_t chain);
void nic_start_cancel(struct nic_server *server, const struct ring_submission *submission,
                      uint32_t chain);
void nic_start_pool_add(struct nic_server *server, const struct ring_submission *submission,
                        uint32_t chain);
void nic_start_pool_remove(struct nic_server *server, const struct ring_submission *submission,
                           uint32_t chain);
/* Answers the question for the link state when there is something to tell. */
bool nic_serve_status(struct nic_server *server);
/* Goes on with what is being ended: the multi-shot receive, pools. */
bool nic_serve_endings(struct nic_server *server);

#endif
