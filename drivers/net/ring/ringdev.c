// SPDX-License-Identifier: MIT OR Apache-2.0
#include "drivers/net/ring/ringdev.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"

#define FRAME_BYTES_MIN 14u
#define MTU_MIN 576u
#define MTU_MAX 1500u
#define WATCH_NS 1000000000ull
#define PAUSE_FIRST_NS 100000000ull
#define PAUSE_MAX_NS 10000000000ull
#define STEADY_NS 10000000000ull
/* A server that owes something for so long is taken for stuck. */
#define PATIENCE_NS 10000000000ull
#define STATUS_USER_DATA (1ull << 32) /* no buffer's number */
#define STATUS_ALWAYS 2u

struct ringdev {
    struct netdev netdev; /* first: the ops get this */
    struct ring_client ring;
    uint8_t *lent;     /* [buffer_count] 1: the server may fill it */
    uint16_t *sending; /* [buffer_count] transmissions outstanding */
    uint32_t rx_lent;
    uint32_t rx_limit;
    uint32_t tx_out;
    uint32_t tx_limit;
    bool link;
    bool known;   /* the server has told MAC and link */
    bool greeted; /* in this session */
    bool stopped; /* or about to be */
    bool rest;    /* the server broke the rules: leave it alone for a while */
    struct netdev_environment environment;
    cap_slot_t doorbell_slot;
    time_ns_t restart_at_ns; /* resting: when to try again; 0: tick has to choose */
    time_ns_t open_since_ns; /* 0: tick has to note it */
    time_ns_t pause_ns;
    uint64_t progress; /* sessions begun, completions taken */
    uint64_t progress_seen;
    time_ns_t progress_at_ns;
};

static struct ringdev *ringdev_of(struct netdev *dev)
{
    return (struct ringdev *)dev;
}

static void ring_doorbell(struct ringdev *self)
{
    self->netdev.counters.doorbells++;
    self->environment.doorbell(self->environment.context, self->doorbell_slot);
}

static void publish(struct ringdev *self)
{
    if (ring_publish(&self->ring.submit)) {
        ring_doorbell(self);
    }
}

/* ---- Sessions ---------------------------------------------------------------------------------
 */

static void start_session(struct ringdev *self)
{
    self->link = false;
    self->rest = false;
    self->progress++;
    ring_client_start(&self->ring);
    ring_doorbell(self);
}

/* The server broke the rules or refuses us. */
static void leave(struct ringdev *self)
{
    ring_client_close(&self->ring);
    self->link = false;
    self->rest = true;
    self->restart_at_ns = 0;
    self->netdev.counters.resets++;
}

/* Everything that was out is ours again. */
static void reclaim(struct ringdev *self)
{
    struct netbuf_pool *pool = self->netdev.pool;

    for (uint32_t buffer = 0; buffer < pool->buffer_count; buffer++) {
        if (self->lent[buffer] != 0) {
            self->lent[buffer] = 0;
            netbuf_drop(pool, buffer);
        }
        for (; self->sending[buffer] > 0; self->sending[buffer]--) {
            netbuf_drop(pool, buffer);
            self->netdev.counters.tx_dropped++;
        }
    }
    self->rx_lent = 0;
    self->tx_out = 0;
}

static void lend(struct ringdev *self)
{
    struct ring_run run = ring_push_begin(&self->ring.submit);

    while (self->rx_lent < self->rx_limit) {
        uint32_t buffer = netbuf_take(self->netdev.pool);
        if (buffer == NETBUF_NONE) {
            break;
        }
        self->lent[buffer] = 1;
        self->rx_lent++;
        *(struct ring_submission *)ring_run_slot(&run) = (struct ring_submission){
            .operation = RING_NET_RECEIVE,
            .buffer = buffer,
            .length = self->netdev.pool->buffer_bytes,
            .user_data = buffer,
        };
    }
    ring_push_end(&self->ring.submit, &run);
}

static void ask_status(struct ringdev *self, uint64_t known)
{
    ring_submit(&self->ring, &(struct ring_submission){
                                 .operation = RING_NET_STATUS,
                                 .argument = known,
                                 .user_data = STATUS_USER_DATA,
                             });
}

/* Goes on with a session that is being opened. True: it is open now. */
static bool connect(struct ringdev *self)
{
    if (self->ring.session != RING_SESSION_OPENING || self->stopped ||
        !ring_client_connect(&self->ring)) {
        return false;
    }
    self->open_since_ns = 0;
    self->greeted = false;
    self->progress++;
    reclaim(self);
    lend(self);
    ask_status(self, STATUS_ALWAYS);
    (void)ring_publish(&self->ring.submit);
    ring_doorbell(self);
    return true;
}

/* The open session has ended: a server that starts anew is met at once. */
static void lost(struct ringdev *self)
{
    if (ring_load(&self->ring.shared->server_generation) != self->ring.peer_generation) {
        self->netdev.counters.resets++;
        start_session(self);
    } else {
        leave(self);
    }
}

/* ---- Completions ------------------------------------------------------------------------------
 */

static bool take_status(struct ringdev *self, const struct ring_completion *completion)
{
    uint32_t mtu = (uint32_t)(completion->value >> 48);

    if (completion->result < 0 || completion->result > 1 || mtu < MTU_MIN || mtu > MTU_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < 6; i++) {
        self->netdev.mac[i] = (uint8_t)(completion->value >> (8u * i));
    }
    self->netdev.mtu_bytes = (uint16_t)mtu;
    self->link = completion->result == 1;
    self->known = true;
    self->greeted = true;
    ask_status(self, (uint64_t)completion->result);
    return true;
}

enum taken { TAKEN_NOTHING, TAKEN_FRAME, TAKEN_VIOLATION };

static enum taken take_received(struct ringdev *self, const struct ring_completion *completion,
                                struct netframe *frame)
{
    struct netbuf_pool *pool = self->netdev.pool;
    uint32_t buffer = completion->buffer;

    if (completion->result < 0) {
        self->lent[buffer] = 0;
        self->rx_lent--;
        self->netdev.counters.rx_errors++;
        netbuf_drop(pool, buffer);
        return TAKEN_NOTHING;
    }
    uint32_t length = (uint32_t)completion->result;
    if (length < FRAME_BYTES_MIN || length > pool->buffer_bytes ||
        completion->value > pool->buffer_bytes - length) {
        return TAKEN_VIOLATION;
    }
    self->lent[buffer] = 0;
    self->rx_lent--;
    *frame = (struct netframe){buffer, (uint16_t)completion->value, (uint16_t)length};
    return TAKEN_FRAME;
}

static enum taken take_one(struct ringdev *self, struct netframe *frame)
{
    struct ring_completion completion;
    struct netbuf_pool *pool = self->netdev.pool;

    ring_reap(&self->ring, &completion);
    self->progress++;
    if (completion.user_data == STATUS_USER_DATA) {
        return take_status(self, &completion) ? TAKEN_NOTHING : TAKEN_VIOLATION;
    }
    if (completion.buffer >= pool->buffer_count) {
        return TAKEN_VIOLATION;
    }
    if (self->lent[completion.buffer] != 0) {
        return take_received(self, &completion, frame);
    }
    if (self->sending[completion.buffer] == 0) {
        return TAKEN_VIOLATION;
    }
    self->sending[completion.buffer]--;
    self->tx_out--;
    self->netdev.counters.tx_errors += completion.result < 0;
    netbuf_drop(pool, completion.buffer);
    return TAKEN_NOTHING;
}

static uint32_t receive(struct netdev *dev, struct netframe *frames, uint32_t max)
{
    struct ringdev *self = ringdev_of(dev);

    if (self->ring.session != RING_SESSION_OPEN && !connect(self)) {
        return 0;
    }
    uint32_t pending = ring_pending(&self->ring.complete);
    if (!ring_client_alive(&self->ring)) {
        lost(self);
        return 0;
    }
    if (pending == RING_VIOLATION) {
        dev->counters.rx_errors++;
        leave(self);
        return 0;
    }
    uint32_t taken = 0;
    uint64_t bytes = 0;
    uint32_t before = self->ring.submit.tail;
    for (; pending > 0 && taken < max; pending--) {
        switch (take_one(self, &frames[taken])) {
        case TAKEN_FRAME:
            bytes += frames[taken].length;
            taken++;
            break;
        case TAKEN_VIOLATION:
            dev->counters.rx_errors++;
            leave(self);
            return taken;
        default:
            break;
        }
    }
    dev->counters.rx_frames += taken;
    dev->counters.rx_bytes += bytes;
    ring_release(&self->ring.complete);
    lend(self);
    if (self->ring.submit.tail != before) {
        publish(self);
    }
    return taken;
}

static uint32_t transmit(struct netdev *dev, const struct netframe *frames, uint32_t count)
{
    struct ringdev *self = ringdev_of(dev);

    if (self->ring.session != RING_SESSION_OPEN) {
        return 0;
    }
    uint32_t room = self->tx_limit - self->tx_out;
    uint32_t taken = count < room ? count : room;
    struct ring_run run = ring_push_begin(&self->ring.submit);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < taken; i++) {
        struct netframe frame = frames[i];
        ASSERT(frame.buffer < dev->pool->buffer_count && self->lent[frame.buffer] == 0);
        self->sending[frame.buffer]++;
        *(struct ring_submission *)ring_run_slot(&run) = (struct ring_submission){
            .operation = RING_NET_TRANSMIT,
            .buffer = frame.buffer,
            .offset = frame.offset,
            .length = frame.length,
            .user_data = frame.buffer,
        };
        bytes += frame.length;
    }
    ring_push_end(&self->ring.submit, &run);
    dev->counters.tx_bytes += bytes;
    if (taken > 0) {
        self->tx_out += taken;
        dev->counters.tx_frames += taken;
        publish(self);
    }
    return taken;
}

/* ---- Waking and housekeeping ------------------------------------------------------------------
 */

static bool arm(struct netdev *dev)
{
    struct ringdev *self = ringdev_of(dev);

    switch (self->ring.session) {
    case RING_SESSION_OPENING: /* the server rings when it has answered */
        return ring_load(&self->ring.shared->client_generation_seen) != self->ring.generation;
    case RING_SESSION_OPEN:
        if (!ring_arm(&self->ring.complete)) {
            return false;
        }
        /* A server that starts anew or closes rings after it has said so. */
        if (!ring_client_alive(&self->ring)) {
            ring_disarm(&self->ring.complete);
            return false;
        }
        return true;
    default:
        return true;
    }
}

static void disarm(struct netdev *dev)
{
    struct ringdev *self = ringdev_of(dev);

    if (self->ring.session == RING_SESSION_OPEN) {
        ring_disarm(&self->ring.complete);
    }
}

static bool link_up(struct netdev *dev)
{
    struct ringdev *self = ringdev_of(dev);
    return self->ring.session == RING_SESSION_OPEN && self->link;
}

/* Whether the server owes an answer and has done nothing for too long. */
static bool is_stuck(struct ringdev *self, time_ns_t now_ns)
{
    if (self->progress != self->progress_seen) {
        self->progress_seen = self->progress;
        self->progress_at_ns = now_ns;
    }
    return now_ns - self->progress_at_ns >= PATIENCE_NS &&
           (self->ring.session == RING_SESSION_OPENING || !self->greeted ||
            (self->link && self->tx_out > 0));
}

static time_ns_t tick(struct netdev *dev, time_ns_t now_ns)
{
    struct ringdev *self = ringdev_of(dev);

    if (self->stopped) {
        return DEADLINE_NEVER;
    }
    if (self->ring.session == RING_SESSION_OPEN && self->open_since_ns == 0) {
        self->open_since_ns = now_ns;
    }
    if (!self->rest) {
        if (is_stuck(self, now_ns)) {
            start_session(self);
        } else if (self->ring.session == RING_SESSION_OPENING) {
            ring_doorbell(self); /* should the server have missed the first */
        }
        return now_ns + WATCH_NS;
    }
    if (self->restart_at_ns == 0) {
        if (self->open_since_ns != 0 && now_ns - self->open_since_ns >= STEADY_NS) {
            self->pause_ns = PAUSE_FIRST_NS;
        }
        self->restart_at_ns = now_ns + self->pause_ns;
        self->pause_ns = 2u * self->pause_ns < PAUSE_MAX_NS ? 2u * self->pause_ns : PAUSE_MAX_NS;
    }
    if (now_ns < self->restart_at_ns) {
        return self->restart_at_ns;
    }
    start_session(self);
    return now_ns + WATCH_NS;
}

/* A session that the server has answered and that we do not open leaves it with nothing of ours. */
static status_t stop(struct netdev *dev)
{
    struct ringdev *self = ringdev_of(dev);

    if (!self->stopped) {
        self->stopped = true;
        start_session(self);
    }
    if (self->ring.session == RING_SESSION_OPENING) {
        if (!ring_client_connect(&self->ring)) {
            return STATUS_AGAIN;
        }
        ring_client_close(&self->ring);
        ring_doorbell(self);
        reclaim(self);
    }
    return STATUS_OK;
}

static const struct netdev_ops operations = {
    .receive = receive,
    .transmit = transmit,
    .arm = arm,
    .disarm = disarm,
    .link_up = link_up,
    .tick = tick,
    .stop = stop,
};

/* ---- Attach -----------------------------------------------------------------------------------
 */

static size_t state_bytes(void)
{
    return (sizeof(struct ringdev) + 63u) & ~(size_t)63u;
}

size_t ringdev_memory_bytes(uint32_t buffer_count)
{
    return state_bytes() + (size_t)buffer_count * (sizeof(uint16_t) + sizeof(uint8_t));
}

static status_t check_request(const struct ringdev_attach_request *request)
{
    const struct cell_ring *ring = request->ring;
    uint64_t pool_bytes = (uint64_t)ring->buffer_count * ring->buffer_bytes;

    if (ring->role != CELL_RING_CLIENT || !ring_entries_valid(ring->entries) ||
        ring->pool_offset < ring_bytes(ring->entries) || ring->pool_offset > ring->bytes ||
        pool_bytes > ring->bytes - ring->pool_offset ||
        ring->buffer_bytes < NETDEV_BUFFER_BYTES_MIN || ring->buffer_count < 2u ||
        request->pool->buffer_count != ring->buffer_count ||
        request->pool->buffer_bytes != ring->buffer_bytes ||
        request->pool->base != ringdev_pool_base(ring) || (uintptr_t)request->memory % 64u != 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    return request->memory_bytes < ringdev_memory_bytes(ring->buffer_count) ? STATUS_NO_MEMORY
                                                                            : STATUS_OK;
}

status_t ringdev_attach(const struct ringdev_attach_request *request, struct netdev **dev)
{
    const struct netdev_environment *environment = &request->environment;
    const struct cell_ring *ring = request->ring;
    struct ringdev *self = request->memory;
    status_t status = check_request(request);

    if (status != STATUS_OK) {
        return status;
    }
    memset(self, 0, ringdev_memory_bytes(ring->buffer_count));
    status = ring_client_init(&self->ring, ring->address, ring->entries);
    if (status != STATUS_OK) {
        return status;
    }
    self->netdev.ops = &operations;
    self->netdev.pool = request->pool;
    self->sending = (uint16_t *)(void *)((uint8_t *)self + state_bytes());
    self->lent = (uint8_t *)(self->sending + ring->buffer_count);
    self->rx_limit =
        ring->entries / 2u < ring->buffer_count / 2u ? ring->entries / 2u : ring->buffer_count / 2u;
    self->tx_limit = ring->entries - self->rx_limit - 1u;
    self->environment = *environment;
    self->doorbell_slot = ring->doorbell_slot;
    self->pause_ns = PAUSE_FIRST_NS;

    time_ns_t now_ns = environment->now_ns(environment->context);
    time_ns_t deadline_ns = now_ns + NETDEV_ATTACH_TIMEOUT_NS;
    start_session(self);
    while (!self->known) {
        struct netframe frame;
        if (receive(&self->netdev, &frame, 1) != 0) {
            netbuf_drop(request->pool, frame.buffer); /* too early for anyone */
        }
        (void)tick(&self->netdev, now_ns);
        environment->relax(environment->context);
        now_ns = environment->now_ns(environment->context);
        if (now_ns >= deadline_ns) {
            ring_client_close(&self->ring);
            return STATUS_DEVICE_TIMEOUT;
        }
    }
    *dev = &self->netdev;
    return STATUS_OK;
}
