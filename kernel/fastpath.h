// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The common call and the common answer, straight through: a plain message (no capability, no
 * deadline) to a server that waits, and back to the caller that waits. Each function either does
 * exactly what ipc_call or ipc_reply_recv with sched_finish would do, or nothing (false). A test
 * compares the two on copies of the whole state.
 */
#ifndef KERNEL_FASTPATH_H
#define KERNEL_FASTPATH_H

#include "kernel/state.h"

bool fastpath_call(struct kernel *k, struct thread *t);
bool fastpath_reply_recv(struct kernel *k, struct thread *t);

#endif
