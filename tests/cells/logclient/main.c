// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Test cell: a client of loglet `loglet` of the storage service. As `role = "good"` it appends
 * records, keeps account of what was acknowledged, and reads the whole log back now and then, and
 * after each new session of the service: all that was acknowledged has to be there. As "hostile" it
 * writes over its ring and its pool and asks for anything, for ever.
 */
#include "lib/base/bytes.h"
#include "lib/logport/logport.h"
#include "runtime/cell.h"
#include "runtime/syscall.h"

#define RECORD_KINDS 8u
#define READ_AT 524288u /* bytes of the pool's end are for reading */
#define READ_BYTES 262144u
#define SLOT_BYTES 16384u
#define SLOTS 24u
#define TRIM_AFTER 2000u /* records */

static const struct cell_info *cell;
static struct logport port;
static uint64_t next, confirmed; /* records: to append; acknowledged */
static uint64_t first;           /* that the log still has */
static uint64_t first_position;
static bool trim_sent;   /* of all that was acknowledged, and not answered */
static uint64_t checked; /* records read back */
static uint64_t seed = 88172645463325252ull;

static time_ns_t now_ns(void)
{
    return clock_ns(&cell->time);
}

static void doorbell(void *context, cap_slot_t slot)
{
    (void)context;
    (void)notification_signal(slot);
}

static uint64_t draw(void) /* xorshift64, Marsaglia 2003 */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void wait_a_little(void)
{
    uint64_t word = 0;

    if (logport_arm(&port)) {
        (void)notification_wait(CELL_SLOT_NOTIFICATION, now_ns() + 5000000u, &word);
        logport_disarm(&port);
    }
    if ((word & CELL_EVENT_SHUTDOWN) != 0) {
        log_line("%lu records acknowledged, %lu read back, %lu sessions", confirmed, checked,
                 port.sessions);
        supervisor_shutdown_done();
    }
}

static uint32_t record_bytes(uint64_t n)
{
    static const uint32_t sizes[RECORD_KINDS] = {16, 4096, 200, 8192, 1000, 16384, 5000, 24};

    return sizes[n % RECORD_KINDS];
}

static uint64_t word_of(uint64_t n, uint32_t at)
{
    return n * 0x9e3779b97f4a7c15ull + at;
}

static void make_record(uint64_t n, uint8_t *to)
{
    for (uint32_t at = 0; at < record_bytes(n); at += 8u) {
        uint64_t word = at == 0 ? n : word_of(n, at);
        memcpy(to + at, &word, 8);
    }
}

static bool is_record(uint64_t n, uint32_t at, const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i + 8u <= count; i += 8u) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        if (word != (at + i == 0 ? n : word_of(n, at + i))) {
            return false;
        }
    }
    return true;
}

/* One operation, waited for. False: the session ended meanwhile. */
static bool ask(struct ring_submission submission, struct ring_completion *completion)
{
    uint64_t session = port.sessions;

    if (!logport_poll(&port, now_ns()) || port.sessions != session || logport_room(&port) == 0) {
        return false;
    }
    submission.user_data = UINT64_MAX;
    logport_submit(&port, &submission);
    logport_publish(&port);
    for (;;) {
        if (!logport_poll(&port, now_ns()) || port.sessions != session) {
            return false;
        }
        if (logport_take(&port, completion, 1) == 1) {
            return completion->user_data == UINT64_MAX;
        }
        wait_a_little();
    }
}

/* Reads everything back. False: the session ended. What is found behind what was acknowledged was
 * appended all the same, so the next record is the one after it. */
static bool check_log(void)
{
    uint64_t n = first;
    uint16_t flags = RING_LOG_FIRST;
    struct ring_completion done;

    if (confirmed == first) {
        return true;
    }
    for (;;) {
        if (!ask((struct ring_submission){.operation = RING_LOG_READ,
                                          .flags = flags,
                                          .buffer = READ_AT / PAGE_BYTES,
                                          .length = READ_BYTES,
                                          .argument = first_position},
                 &done)) {
            return false;
        }
        if (done.result <= 0) {
            break;
        }
        flags = 0;
        struct ring_log_fragment fragment;
        const uint8_t *bytes;
        uint32_t at = 0;
        while (
            logport_fragment(port.pool + READ_AT, (uint32_t)done.result, &at, &fragment, &bytes)) {
            if (fragment.total != record_bytes(n) ||
                !is_record(n, fragment.offset, bytes, fragment.bytes)) {
                log_line("FAILED: record %lu is wrong", n);
                supervisor_exit(STATUS_CORRUPT);
            }
            n += fragment.offset + fragment.bytes == fragment.total;
        }
    }
    if (done.result < 0 || n < confirmed || n > next) {
        status_t why = done.result;
        struct ring_log_status told = {0};
        if (ask((struct ring_submission){.operation = RING_LOG_STATUS, .length = sizeof told},
                &done)) {
            memcpy(&told, port.pool, sizeof told);
        }
        log_line(
            "FAILED: %s, %lu records found of %lu acknowledged and %lu appended; first at %lx, "
            "the log has %lx to %lx",
            status_text(why), n, confirmed, next, first_position, told.tail, told.durable);
        supervisor_exit(STATUS_CORRUPT);
    }
    checked += n - first;
    confirmed = n;
    next = n;
    return true;
}

static void take_completions(void)
{
    struct ring_completion done;

    while (logport_take(&port, &done, 1) == 1) {
        if (done.result != STATUS_OK || done.user_data != confirmed) {
            log_line("FAILED: record %lu of %lu: %s", done.user_data, confirmed,
                     status_text(done.result));
            supervisor_exit(STATUS_CORRUPT);
        }
        if (confirmed == first) {
            first_position = done.value;
        }
        confirmed++;
    }
}

/* A new session: what is in the log? Nothing acknowledged: what is there has no known position, so
 * the log is emptied. */
static bool begin_session(void)
{
    struct ring_completion done;
    struct ring_log_status told;

    if (confirmed != first && !trim_sent) {
        return check_log();
    }
    if (!ask((struct ring_submission){.operation = RING_LOG_STATUS, .length = sizeof told},
             &done)) {
        return false;
    }
    memcpy(&told, port.pool, sizeof told);
    if (trim_sent) { /* the service ended meanwhile: it has done that, or not */
        trim_sent = false;
        if (told.tail <= first_position) {
            return check_log();
        }
        first = confirmed;
    }
    if (!ask((struct ring_submission){.operation = RING_LOG_TRIM, .argument = told.durable},
             &done)) {
        return false;
    }
    next = confirmed;
    return true;
}

static void be_good(void)
{
    uint64_t session = 0;
    uint64_t told = 0;

    for (;;) {
        if (!logport_poll(&port, now_ns())) {
            wait_a_little();
            continue;
        }
        if (port.sessions != session) {
            session = port.sessions;
            if (!begin_session()) {
                session = 0;
                continue;
            }
        }
        take_completions();
        if (next == confirmed && confirmed - first >= TRIM_AFTER) {
            struct ring_completion done;
            if (!check_log() ||
                !ask((struct ring_submission){.operation = RING_LOG_TRIM,
                                              .argument = first_position},
                     &done) ||
                !ask((struct ring_submission){.operation = RING_LOG_STATUS, .length = 64}, &done)) {
                session = 0;
                continue;
            }
            trim_sent = true;
            if (!ask((struct ring_submission){.operation = RING_LOG_TRIM, .argument = done.value},
                     &done)) {
                session = 0;
                continue;
            }
            trim_sent = false;
            first = confirmed;
            if (told == 0 || confirmed - told >= 10000u) {
                told = confirmed;
                log_line("kept %lu records", confirmed);
            }
        }
        while (next - confirmed < SLOTS && next - first < TRIM_AFTER && logport_room(&port) != 0) {
            uint32_t slot = (uint32_t)(next % SLOTS);
            make_record(next, port.pool + PAGE_BYTES + slot * SLOT_BYTES);
            logport_submit(&port, &(struct ring_submission){
                                      .operation = RING_LOG_APPEND,
                                      .buffer = 1u + slot * (SLOT_BYTES / PAGE_BYTES),
                                      .length = record_bytes(next),
                                      .user_data = next,
                                  });
            next++;
        }
        logport_publish(&port);
        wait_a_little();
    }
}

static void be_hostile(void)
{
    uint32_t *words = port.where->address;
    uint64_t count = port.where->bytes / 4u;

    for (uint64_t step = 0;; step++) {
        struct ring_completion none[8];
        if (logport_poll(&port, now_ns()) && logport_room(&port) != 0) {
            logport_submit(
                &port,
                &(struct ring_submission){
                    .operation = (uint16_t)(14u + draw() % 11u),
                    .flags = (uint16_t)(draw() % 2u * RING_LOG_FIRST + draw() % 2u),
                    .buffer = (uint32_t)(draw() % 260u),
                    .offset = draw() % 3u != 0 ? 0 : (uint32_t)draw(),
                    .length = draw() % 2u != 0 ? (uint32_t)(draw() % 16u) << 12 : (uint32_t)draw(),
                    .argument = draw() % 2u != 0 ? draw() : draw() % 3u,
                });
            logport_publish(&port);
        }
        (void)logport_take(&port, none, 8);
        uint64_t bound = step % 3u == 0 ? 128u : count;
        words[16u + draw() % (bound - 16u)] =
            draw() % 2u != 0 ? (uint32_t)draw() : (uint32_t)draw() % 64u;
        if (step % 16u == 0) {
            (void)notification_signal(port.where->doorbell_slot);
            wait_a_little();
        }
        if (step == 20000u) {
            log_line("did its worst for a while");
        }
    }
}

status_t cell_main(const struct cell_info *info)
{
    const char *role = config_text(info, "role", "good");
    const struct cell_ring *ring = logport_find(info, config_text(info, "loglet", "good"));

    cell = info;
    if (ring == NULL || info->ring_count != 1) {
        log_line("FAILED: the manifest gives this cell %u rings", info->ring_count);
        return STATUS_NOT_FOUND;
    }
    status_t status = logport_init(&port, ring, doorbell, NULL);
    if (status != STATUS_OK || (status = supervisor_ready()) != STATUS_OK) {
        return status;
    }
    if (strcmp(role, "hostile") == 0) {
        be_hostile();
    }
    be_good();
    return STATUS_OK;
}
