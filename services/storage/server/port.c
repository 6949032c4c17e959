// SPDX-License-Identifier: MIT OR Apache-2.0
/* One client's ring: sessions, submissions, completions. */
#include "lib/base/bytes.h"
#include "services/storage/server/server.h"

#define BURST 32u
#define FRAGMENT_BYTES ((uint32_t)sizeof(struct ring_log_fragment))

static void doorbell(const struct storage_server *server, const struct storage_port *port)
{
    server->config.doorbell(server->config.context, port->grant->ring->doorbell_slot);
}

/* ---- Completions ------------------------------------------------------------------------------
 */

static void complete(struct storage_port *port, uint64_t user_data, int32_t result, uint64_t value)
{
    ring_finish(&port->ring, &(struct ring_completion){
                                 .user_data = user_data, .result = result, .value = value});
}

static void refuse(struct storage_port *port, const struct ring_submission *s, status_t why)
{
    port->counters.refused++;
    complete(port, s->user_data, why, 0);
}

static uint32_t outstanding(const struct storage_port *port)
{
    return port->waiting_tail - port->waiting_head + (port->holding ? 1u : 0u) +
           (port->reading ? 1u : 0u);
}

static struct storage_waiting *waiting_at(struct storage_port *port, uint32_t cursor)
{
    return &port->waiting[cursor & (port->ring.entries - 1u)];
}

/* ---- Operations -------------------------------------------------------------------------------
 */

/* Where the operation's data lies; NULL: not in the pool. */
static uint8_t *data_of(const struct storage_port *port, const struct ring_submission *s)
{
    uint64_t at = (uint64_t)s->buffer * port->grant->ring->buffer_bytes + s->offset;

    return at <= port->pool_bytes && s->length <= port->pool_bytes - at ? port->pool + at : NULL;
}

static void wait_for(struct storage_port *port, const struct ring_submission *s,
                     log_position_t position)
{
    *waiting_at(port, port->waiting_tail++) = (struct storage_waiting){
        .position = position,
        .user_data = s->user_data,
        .length = s->length,
        .relaxed = port->relaxed && s->operation == RING_LOG_APPEND,
    };
}

/* WOULD_BLOCK: not now. Whatever else it is, the operation is over or waits for the drive. */
static status_t append(struct storage_server *server, struct storage_port *port,
                       const struct ring_submission *s)
{
    uint8_t *data = data_of(port, s);
    struct loglet_piece piece = {data, s->length};
    log_position_t position = 0;
    status_t status = STATUS_INVALID_ARGUMENT;

    if (data != NULL && s->length > server->record_bytes_max) {
        status = STATUS_TOO_LARGE;
    } else if (data != NULL && loglet_frames(port->log) >= server->frames_most) {
        return STATUS_WOULD_BLOCK;
    } else if (data != NULL && ((uintptr_t)data & (PAGE_BYTES - 1u)) == 0 && s->length != 0 &&
               (s->length & (PAGE_BYTES - 1u)) == 0 &&
               s->length <= loglet_page_bytes_max(port->log)) {
        static const struct loglet_piece nothing = {NULL, 0};
        status = loglet_append_pages(port->log, &nothing, &piece, 1, &position);
        port->counters.pages += status == STATUS_OK ? s->length >> PAGE_SHIFT : 0;
    } else if (data != NULL) {
        status = loglet_append(port->log, &piece, 1, &position);
    }
    if (status == STATUS_WOULD_BLOCK) {
        return status;
    }
    if (status != STATUS_OK) {
        refuse(port, s, status);
        return status;
    }
    port->appended = true;
    port->counters.appends++;
    port->counters.append_bytes += s->length;
    wait_for(port, s, position);
    return STATUS_OK;
}

static void begin_read(struct storage_port *port, const struct ring_submission *s)
{
    status_t status = STATUS_OK;

    if (port->reading) {
        refuse(port, s, STATUS_BUSY);
        return;
    }
    if (data_of(port, s) == NULL || ((uintptr_t)data_of(port, s) & 7u) != 0 ||
        s->length < FRAGMENT_BYTES + 8u ||
        ((s->flags & RING_LOG_FIRST) == 0 && !port->reader_open)) {
        refuse(port, s, STATUS_INVALID_ARGUMENT);
        return;
    }
    if ((s->flags & RING_LOG_FIRST) != 0) {
        /* The drive has nothing to bring: reads are completed when it has brought something. */
        if (port->reader_open && loglet_reader_stop(&port->reader) != STATUS_OK) {
            refuse(port, s, STATUS_BUSY);
            return;
        }
        status = loglet_reader_start(&port->reader, port->log, s->argument, port->read_buffer);
        port->reader_open = status == STATUS_OK;
        port->fragment_open = false;
    }
    if (status != STATUS_OK) {
        refuse(port, s, status);
        return;
    }
    port->reading = true;
    port->read = *s;
    port->filled = 0;
}

static void tell_status(struct storage_server *server, struct storage_port *port,
                        const struct ring_submission *s)
{
    uint8_t *to = data_of(port, s);
    struct ring_log_status told = {
        .tail = loglet_tail(port->log),
        .durable = loglet_durable(port->log),
        .head = loglet_head(port->log),
        .capacity_bytes = loglet_capacity_bytes(port->log),
        .used_bytes = loglet_used_bytes(port->log),
        .free_bytes = loglet_free_bytes(port->log),
        .record_bytes_max = server->record_bytes_max,
        .rights = port->grant->rights,
        .state = loglet_state(port->log),
    };

    if (to == NULL || s->length < sizeof told) {
        refuse(port, s, STATUS_INVALID_ARGUMENT);
        return;
    }
    memcpy(to, &told, sizeof told);
    complete(port, s->user_data, STATUS_OK, told.durable);
}

struct filling {
    uint8_t *to;
    size_t room, bytes;
};

static void fill(void *context, const void *data, size_t bytes)
{
    struct filling *filling = context;

    if (filling->bytes < filling->room) {
        size_t left = filling->room - filling->bytes;
        memcpy(filling->to + filling->bytes, data, bytes < left ? bytes : left);
    }
    filling->bytes += bytes;
}

static void tell_account(struct storage_server *server, struct storage_port *port,
                         const struct ring_submission *s)
{
    struct filling filling = {.to = data_of(port, s), .room = s->length};
    const struct account account = {fill, &filling};

    if (filling.to == NULL || server->config.account == NULL) {
        refuse(port, s, filling.to == NULL ? STATUS_INVALID_ARGUMENT : STATUS_UNSUPPORTED);
        return;
    }
    server->config.account(server->config.context, &account);
    bool fits = filling.bytes <= filling.room;
    port->counters.refused += !fits;
    complete(port, s->user_data, fits ? (int32_t)filling.bytes : STATUS_TOO_LARGE, filling.bytes);
}

/* What is waited for is durable when the log is beyond the last record that was appended. */
static void begin_flush(struct storage_port *port, const struct ring_submission *s,
                        time_ns_t now_ns)
{
    loglet_commit(port->log, now_ns);
    loglet_flush(port->log, now_ns);
    wait_for(port, s, loglet_head(port->log) - 1u);
}

/* Whole logs are relaxed, so nobody else may append to the same one. */
static void relax(struct storage_server *server, struct storage_port *port,
                  const struct ring_submission *s, time_ns_t now_ns)
{
    for (uint32_t i = 0; i < server->config.grant_count; i++) {
        const struct storage_port *other = &server->ports[i];
        if (other != port && other->log == port->log &&
            (other->grant->rights & RING_LOG_MAY_APPEND) != 0) {
            refuse(port, s, STATUS_BUSY);
            return;
        }
    }
    port->relaxed = s->argument != 0;
    loglet_set_relaxed(port->log, port->relaxed, now_ns);
    complete(port, s->user_data, STATUS_OK, 0);
}

static const uint8_t rights_of[] = {
    [RING_LOG_APPEND - RING_LOG_APPEND] = RING_LOG_MAY_APPEND,
    [RING_LOG_READ - RING_LOG_APPEND] = RING_LOG_MAY_READ,
    [RING_LOG_TRIM - RING_LOG_APPEND] = RING_LOG_MAY_TRIM,
    [RING_LOG_FLUSH - RING_LOG_APPEND] = RING_LOG_MAY_APPEND,
    [RING_LOG_CHECKPOINT - RING_LOG_APPEND] = RING_LOG_MAY_APPEND,
    [RING_LOG_STATUS - RING_LOG_APPEND] = 0,
    [RING_LOG_RELAX - RING_LOG_APPEND] = RING_LOG_MAY_APPEND,
    [RING_LOG_ACCOUNT - RING_LOG_APPEND] = RING_LOG_MAY_ACCOUNT,
};

static status_t check(const struct storage_port *port, const struct ring_submission *s)
{
    uint32_t index = (uint32_t)s->operation - RING_LOG_APPEND;

    if (index >= sizeof rights_of) {
        return STATUS_INVALID_CALL;
    }
    if ((port->grant->rights & rights_of[index]) != rights_of[index]) {
        return STATUS_NO_RIGHTS;
    }
    if ((s->flags & ~RING_LOG_FIRST) != 0) {
        return STATUS_UNSUPPORTED; /* no linked operations here */
    }
    return port->log == NULL ? port->status : STATUS_OK;
}

/* False: it has to wait, and is held. */
static bool serve(struct storage_server *server, struct storage_port *port,
                  const struct ring_submission *s, time_ns_t now_ns)
{
    status_t status = s->operation == RING_NOP ? STATUS_OK : check(port, s);

    if (status != STATUS_OK) {
        refuse(port, s, status);
        return true;
    }
    switch (s->operation) {
    case RING_LOG_APPEND:
        if (append(server, port, s) == STATUS_WOULD_BLOCK) {
            port->held = *s;
            port->holding = true;
            return false;
        }
        return true;
    case RING_LOG_READ:
        begin_read(port, s);
        return true;
    case RING_LOG_TRIM:
        complete(port, s->user_data, loglet_trim(port->log, s->argument), 0);
        return true;
    case RING_LOG_FLUSH:
        begin_flush(port, s, now_ns);
        return true;
    case RING_LOG_CHECKPOINT:
        complete(port, s->user_data, loglet_checkpoint(port->log), 0);
        return true;
    case RING_LOG_STATUS:
        tell_status(server, port, s);
        return true;
    case RING_LOG_RELAX:
        relax(server, port, s, now_ns);
        return true;
    case RING_LOG_ACCOUNT:
        tell_account(server, port, s);
        return true;
    default:
        complete(port, s->user_data, STATUS_OK, 0);
        return true;
    }
}

/* Takes a burst of submissions, as long as none has to wait. False: a violation. */
static bool accept_burst(struct storage_server *server, struct storage_port *port, time_ns_t now_ns,
                         bool *worked)
{
    if (port->holding) {
        port->holding = false;
        if (!serve(server, port, &port->held, now_ns)) {
            return true;
        }
        *worked = true;
    }
    uint32_t pending = ring_pending(&port->ring.submit);
    if (pending == 0 || pending == RING_VIOLATION) {
        return pending == 0;
    }
    uint32_t count = pending < BURST ? pending : BURST;
    uint32_t room = ring_room(&port->ring.complete, outstanding(port) + count);
    if (room == RING_VIOLATION || room < outstanding(port) + count) {
        return false; /* S1: more under way than the ring has entries */
    }
    for (uint32_t i = 0; i < count; i++) {
        struct ring_submission submission;
        ring_accept(&port->ring, &submission);
        *worked = true;
        if (!serve(server, port, &submission, now_ns)) {
            break;
        }
    }
    ring_release(&port->ring.submit);
    return true;
}

/* ---- What the device brought ------------------------------------------------------------------
 */

static bool complete_durable(struct storage_port *port, time_ns_t now_ns)
{
    bool open = port->ring.session == RING_SESSION_OPEN;
    uint32_t before = port->waiting_head;
    status_t state = loglet_state(port->log);
    log_position_t durable = loglet_durable(port->log);
    log_position_t accepted = loglet_accepted(port->log);

    while (port->waiting_head != port->waiting_tail) {
        const struct storage_waiting *first = waiting_at(port, port->waiting_head);
        bool done = first->position < (first->relaxed ? accepted : durable);
        if (!done && (state == STATUS_OK || state == STATUS_CLOSED)) {
            if (port->relaxed && first->position < accepted) {
                loglet_flush(port->log, now_ns); /* a FLUSH waits for what has come down since */
            }
            break;
        }
        if (open) {
            complete(port, first->user_data, done ? STATUS_OK : state, first->position);
        }
        port->waiting_head++;
    }
    return port->waiting_head != before;
}

/* Puts as much of the fragment into the client's memory as has room; false: nothing has. */
static bool put_fragment(struct storage_port *port, uint8_t *to)
{
    const struct loglet_fragment *fragment = &port->fragment;
    uint32_t given = fragment->bytes - port->fragment_left;
    uint32_t room = port->read.length - port->filled;

    if (room < FRAGMENT_BYTES + (port->fragment_left != 0 ? 8u : 0)) {
        return false;
    }
    uint32_t bytes = room - FRAGMENT_BYTES;
    bytes = port->fragment_left < bytes ? port->fragment_left : bytes;
    struct ring_log_fragment header = {
        .position = fragment->position,
        .total = fragment->total_bytes,
        .offset = fragment->offset + given,
        .bytes = bytes,
    };
    memcpy(to + port->filled, &header, sizeof header);
    memcpy(to + port->filled + FRAGMENT_BYTES, fragment->data + given, bytes);
    uint32_t used = (FRAGMENT_BYTES + bytes + 7u) & ~7u;
    port->filled += used < room ? used : room;
    port->fragment_left -= bytes;
    port->fragment_open = port->fragment_left != 0;
    return true;
}

static void end_read(struct storage_port *port, status_t status)
{
    bool good = port->filled != 0 || status == STATUS_NOT_FOUND;

    port->reading = false;
    port->counters.reads++;
    port->counters.read_bytes += port->filled;
    if (!good) {
        port->reader_open = false;
    }
    complete(port, port->read.user_data, good ? (int32_t)port->filled : status, 0);
}

/* Fills the client's buffer with what the reader has; true: the read is over. */
static bool go_on_reading(struct storage_port *port)
{
    uint8_t *to = data_of(port, &port->read);
    status_t status = STATUS_OK;

    /* Bounded: each turn fills some of the client's buffer, or ends. */
    while (status == STATUS_OK) {
        if (!port->fragment_open) {
            status = loglet_reader_next(&port->reader, &port->fragment);
            port->fragment_open = status == STATUS_OK;
            port->fragment_left = port->fragment.bytes;
        }
        if (status == STATUS_AGAIN && port->filled == 0) {
            return false;
        }
        if (status == STATUS_OK && !put_fragment(port, to)) {
            break;
        }
    }
    end_read(port, status);
    return true;
}

/* ---- Sessions ---------------------------------------------------------------------------------
 */

/* Whether nothing of the session before is under way any more. */
static bool let_go(struct storage_port *port, time_ns_t now_ns)
{
    if (port->log == NULL) {
        return true;
    }
    (void)complete_durable(port, now_ns);
    port->holding = false;
    port->reading = false;
    port->fragment_open = false;
    if (port->reader_open && loglet_reader_stop(&port->reader) != STATUS_OK) {
        return false;
    }
    port->reader_open = false;
    return port->waiting_head == port->waiting_tail;
}

/* Meets a client that begins a session, or goes on waiting for one. True: it is open. */
static bool meet_client(struct storage_server *server, struct storage_port *port, time_ns_t now_ns,
                        bool *worked)
{
    if (!ring_server_called(&port->ring)) {
        return ring_server_connect(&port->ring);
    }
    if (port->log != NULL && port->appended) { /* what it has appended is waited for */
        port->appended = false;
        loglet_commit(port->log, now_ns);
    }
    if (port->log != NULL && port->relaxed) {
        port->relaxed = false;
        loglet_set_relaxed(port->log, false, now_ns);
    }
    if (!let_go(port, now_ns)) {
        return false;
    }
    port->counters.sessions++;
    ring_server_answer(&port->ring);
    doorbell(server, port);
    *worked = true;
    return false;
}

bool storage_port_poll(struct storage_server *server, struct storage_port *port, time_ns_t now_ns)
{
    bool worked = false;

    if (port->ring.session != RING_SESSION_OPEN || !ring_server_alive(&port->ring)) {
        if (port->ring.session == RING_SESSION_OPEN) {
            port->ring.session = RING_SESSION_CLOSED;
        }
        if (!meet_client(server, port, now_ns, &worked)) {
            return worked;
        }
    }
    if (!accept_burst(server, port, now_ns, &worked)) {
        port->counters.violations++;
        ring_server_close(&port->ring);
        doorbell(server, port);
        return true;
    }
    return worked;
}

void storage_port_commit(struct storage_server *server, struct storage_port *port, time_ns_t now_ns)
{
    /* With many frames under way the open one fills further. */
    if (port->log != NULL && port->appended &&
        loglet_frames(port->log) <= (server->frames_most + 1u) / 2u) {
        port->appended = false;
        loglet_commit(port->log, now_ns);
    }
}

bool storage_port_complete(struct storage_server *server, struct storage_port *port,
                           time_ns_t now_ns)
{
    bool worked = port->log != NULL && complete_durable(port, now_ns);

    if (port->ring.session != RING_SESSION_OPEN || !ring_server_alive(&port->ring)) {
        return worked;
    }
    if (port->reading) {
        worked = go_on_reading(port) || worked;
    }
    if (ring_publish(&port->ring.complete)) {
        doorbell(server, port);
    }
    return worked;
}

bool storage_port_arm(struct storage_port *port)
{
    if (port->ring.session != RING_SESSION_OPEN) {
        /* Called: that it is not answered yet waits for the drive. */
        return ring_server_called(&port->ring) || !ring_server_connect(&port->ring);
    }
    if (port->holding) {
        return ring_server_alive(&port->ring); /* room comes with the drive's interrupt */
    }
    if (!ring_arm(&port->ring.submit)) {
        return false;
    }
    if (!ring_server_alive(&port->ring)) {
        ring_disarm(&port->ring.submit);
        return false;
    }
    return true;
}

void storage_port_disarm(struct storage_port *port)
{
    if (port->ring.session == RING_SESSION_OPEN) {
        ring_disarm(&port->ring.submit);
    }
}
