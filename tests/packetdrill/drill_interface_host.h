// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What packetdrill expects of a shared object that it loads: packetdrill_interface_init fills a
 * table of functions, in this order (facts from packetdrill's packetdrill.h). A function that is
 * missing here is NULL there.
 */
#ifndef TESTS_PACKETDRILL_DRILL_INTERFACE_HOST_H
#define TESTS_PACKETDRILL_DRILL_INTERFACE_HOST_H

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

struct packetdrill_interface {
    void *userdata;
    void (*free)(void *userdata);
    int (*socket)(void *userdata, int domain, int type, int protocol);
    int (*bind)(void *userdata, int fd, const struct sockaddr *address, socklen_t bytes);
    int (*listen)(void *userdata, int fd, int backlog);
    int (*accept)(void *userdata, int fd, struct sockaddr *address, socklen_t *bytes);
    int (*connect)(void *userdata, int fd, const struct sockaddr *address, socklen_t bytes);
    ssize_t (*read)(void *userdata, int fd, void *to, size_t count);
    ssize_t (*readv)(void *userdata, int fd, const struct iovec *pieces, int count);
    ssize_t (*recv)(void *userdata, int fd, void *to, size_t count, int flags);
    ssize_t (*recvfrom)(void *userdata, int fd, void *to, size_t count, int flags,
                        struct sockaddr *address, socklen_t *bytes);
    ssize_t (*recvmsg)(void *userdata, int fd, struct msghdr *message, int flags);
    ssize_t (*write)(void *userdata, int fd, const void *from, size_t count);
    ssize_t (*writev)(void *userdata, int fd, const struct iovec *pieces, int count);
    ssize_t (*send)(void *userdata, int fd, const void *from, size_t count, int flags);
    ssize_t (*sendto)(void *userdata, int fd, const void *from, size_t count, int flags,
                      const struct sockaddr *address, socklen_t bytes);
    ssize_t (*sendmsg)(void *userdata, int fd, const struct msghdr *message, int flags);
    int (*fcntl)(void *userdata, int fd, int command, ...);
    int (*ioctl)(void *userdata, int fd, unsigned long request, ...);
    int (*close)(void *userdata, int fd);
    int (*shutdown)(void *userdata, int fd, int how);
    int (*getsockopt)(void *userdata, int fd, int level, int name, void *value, socklen_t *bytes);
    int (*setsockopt)(void *userdata, int fd, int level, int name, const void *value,
                      socklen_t bytes);
    int (*poll)(void *userdata, struct pollfd *fds, nfds_t count, int timeout_ms);
    int (*netdev_send)(void *userdata, const void *packet, size_t bytes);
    int (*netdev_receive)(void *userdata, void *packet, size_t *bytes, long long *at_us);
    int (*usleep)(void *userdata, useconds_t us);
    int (*gettimeofday)(void *userdata, struct timeval *now, struct timezone *zone);
    int (*epoll_create)(void *userdata, int size);
    int (*epoll_ctl)(void *userdata, int epoll, int operation, int fd, struct epoll_event *event);
    int (*epoll_wait)(void *userdata, int epoll, struct epoll_event *events, int max,
                      int timeout_ms);
    int (*pipe)(void *userdata, int fds[2]);
    int (*splice)(void *userdata, int from, loff_t *from_at, int to, loff_t *to_at, size_t bytes,
                  unsigned int flags);
};

void packetdrill_interface_init(const char *flags, struct packetdrill_interface *interface);

#endif
