// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The echo server of the Linux guest: UDP and TCP port 7 on Linux's sockets, as apps/echo is on
 * lib/net. Two processes, so that Linux is compared at its good side: datagrams by blocking calls
 * in batches (recvmmsg, sendmmsg), streams by epoll.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ECHO_PORT 7
#define BATCH 32
#define BYTES 2048
#define STREAM_BYTES 65536
#define EVENTS 64

static uint8_t stream[STREAM_BYTES];
static uint8_t datagrams[BATCH][BYTES];
static struct sockaddr_in peers[BATCH];
static struct iovec pieces[BATCH];
static struct mmsghdr messages[BATCH];

static _Noreturn void give_up(const char *what)
{
    perror(what);
    exit(1);
}

static int open_socket(int type)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(ECHO_PORT)};
    int one = 1;
    int file = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (file < 0 || bind(file, (void *)&address, sizeof(address)) != 0) {
        give_up("echo: bind");
    }
    return file;
}

static void watch(int queue, int file)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = file};

    if (epoll_ctl(queue, EPOLL_CTL_ADD, file, &event) != 0) {
        give_up("echo: epoll_ctl");
    }
}

static _Noreturn void serve_datagrams(void)
{
    int file = open_socket(SOCK_DGRAM);

    for (;;) {
        for (unsigned i = 0; i < BATCH; i++) {
            pieces[i] = (struct iovec){datagrams[i], BYTES};
            messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i],
                                                  .msg_namelen = sizeof(peers[i]),
                                                  .msg_iov = &pieces[i],
                                                  .msg_iovlen = 1};
        }
        int count = recvmmsg(file, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count; i++) {
            pieces[i].iov_len = messages[i].msg_len;
        }
        /* What cannot be sent is lost, as datagrams may be. */
        if (count > 0 && sendmmsg(file, messages, (unsigned)count, 0) < 0 && errno != ENOBUFS) {
            give_up("echo: sendmmsg");
        }
    }
}

static void accept_all(int queue, int listener)
{
    int one = 1;
    int file;

    while ((file = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        watch(queue, file);
    }
}

/* The benchmark's messages fit the socket's send buffer; a peer that does not read is dropped. */
static void echo_stream(int file)
{
    ssize_t length = recv(file, stream, sizeof(stream), 0);

    if (length < 0 && errno == EAGAIN) {
        return;
    }
    if (length <= 0 || send(file, stream, (size_t)length, MSG_NOSIGNAL) != length) {
        close(file);
    }
}

static _Noreturn void serve_streams(void)
{
    int queue = epoll_create1(EPOLL_CLOEXEC);
    int listener = open_socket(SOCK_STREAM | SOCK_NONBLOCK);
    struct epoll_event events[EVENTS];

    if (queue < 0 || listen(listener, 512) != 0) {
        give_up("echo: listen");
    }
    watch(queue, listener);
    for (;;) {
        int count = epoll_wait(queue, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener) {
                accept_all(queue, listener);
            } else {
                echo_stream(events[i].data.fd);
            }
        }
    }
}

int main(void)
{
    pid_t child = fork();

    if (child < 0) {
        give_up("echo: fork");
    }
    if (child == 0) {
        serve_datagrams();
    }
    serve_streams();
}
