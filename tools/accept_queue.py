# SPDX-License-Identifier: MIT OR Apache-2.0
"""Longer accept queues for the ports that QEMU forwards to the guest.

QEMU's user-mode network listens with a queue of one connection (libslirp, tcpx_listen), so that of
fifty clients connecting at once, which is what redis-benchmark does, half are dropped by the host
and wait for ever. A second listen(2) on the same socket sets another length. The socket is borrowed
with pidfd_getfd(2) (Linux 5.6; allowed for one's own children).
"""

import ctypes
import os
import socket

SYS_PIDFD_GETFD = 438  # the same number on every architecture
QUEUE = 512


def lengthen(pid, descriptors):
    """Sets the queue of these listening sockets of process `pid`. Returns how many it could."""
    done = 0
    try:
        process = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return 0
    try:
        for descriptor in descriptors:
            copy = ctypes.CDLL(None, use_errno=True).syscall(
                SYS_PIDFD_GETFD, process, descriptor, 0)
            if copy < 0:
                continue
            with socket.socket(fileno=copy) as listener:
                if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    listener.listen(QUEUE)
                    done += 1
    finally:
        os.close(process)
    return done
