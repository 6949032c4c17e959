// SPDX-License-Identifier: MIT OR Apache-2.0
#include "tests/packetdrill/drill_interface_host.h"

#include <errno.h>

#include "tests/packetdrill/drill_host.h"

static void do_free(void *userdata)
{
    drill_destroy(userdata);
}

static int do_netdev_send(void *userdata, const void *packet, size_t bytes)
{
    struct drill *drill = userdata;

    pthread_mutex_lock(&drill->lock);
    bool sent = drill_inject(drill, packet, bytes);
    pthread_mutex_unlock(&drill->lock);
    if (!sent) {
        errno = EINVAL;
    }
    return sent ? 0 : -1;
}

static int do_netdev_receive(void *userdata, void *to, size_t *bytes, long long *at_us)
{
    struct drill *drill = userdata;

    pthread_mutex_lock(&drill->lock);
    const struct drill_packet *packet = drill_next_packet(drill);
    bool fits = packet != NULL && packet->length <= *bytes;
    *bytes = fits ? packet->length : 0;
    if (fits) {
        memcpy(to, packet->data, packet->length);
        *at_us = (long long)(packet->at_ns / NS_PER_US);
    }
    pthread_mutex_unlock(&drill->lock);
    return fits ? 0 : -1;
}

static int do_usleep(void *userdata, useconds_t us)
{
    struct drill *drill = userdata;

    pthread_mutex_lock(&drill->lock);
    drill_pass(drill, (time_ns_t)us * NS_PER_US);
    pthread_mutex_unlock(&drill->lock);
    return 0;
}

static int do_gettimeofday(void *userdata, struct timeval *now, struct timezone *zone)
{
    struct drill *drill = userdata;

    (void)zone;
    pthread_mutex_lock(&drill->lock);
    drill_pass(drill, NS_PER_US); /* packetdrill asks again and again until an event is due */
    now->tv_sec = (time_t)(drill->sim->now / NS_PER_S);
    now->tv_usec = (suseconds_t)(drill->sim->now % NS_PER_S / NS_PER_US);
    pthread_mutex_unlock(&drill->lock);
    return 0;
}

__attribute__((visibility("default"))) void
packetdrill_interface_init(const char *flags, struct packetdrill_interface *interface)
{
    *interface = (struct packetdrill_interface){
        .userdata = drill_create(flags),
        .free = do_free,
        .netdev_send = do_netdev_send,
        .netdev_receive = do_netdev_receive,
        .usleep = do_usleep,
        .gettimeofday = do_gettimeofday,
    };
    drill_sockets_interface(interface);
}

/* Packets sent and not read yet, for the end of our own scripts. */
uint32_t drill_pending(struct drill *drill);

__attribute__((visibility("default"))) uint32_t drill_pending(struct drill *drill)
{
    return drill->packet_count;
}
