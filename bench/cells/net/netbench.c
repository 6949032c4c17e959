// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Benchmarks below the network stack, in TSC ticks, which are guest instructions under icount:
 *
 *   ring-noop-32, ring-noop-1  submit, accept, finish and reap one no-op of the ring ABI, both
 * sides, in batches of that size forward                    a frame received, its addresses
 * exchanged, and sent on, in polls that gave a batch of at least BATCH_MIN; beside it the share of
 *                              doorbells and the mean batch. Frames come from the load generator's
 *                              UDP clients, who take them for echoes; ARP is answered.
 */
#include "drivers/net/open.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"
#include "lib/base/format.h"
#include "lib/ring/ring.h"
#include "runtime/cell.h"
#include "runtime/dma.h"
#include "runtime/syscall.h"

#define RING_ENTRIES 64u
#define RING_ROUNDS 2000u
#define BUFFERS 1024u
#define FRAMES_WANTED 40000u
#define BATCH_MIN 16u
#define POLL_EVERY_NS 100000u /* lets a batch come together */
#define NS_PER_S 1000000000ull
#define PATIENCE_NS (120u * NS_PER_S)
#define ETHERTYPE_AT 12u
#define ARP_OPERATION_AT 20u
#define ARP_SENDER_AT 22u
#define ARP_TARGET_AT 32u
#define ARP_FRAME_BYTES 42u
#define UDP_FRAME_BYTES 42u

static const struct cell_info *cell;

static time_ns_t now_ns(void *context)
{
    (void)context;
    return clock_ns(&cell->time);
}

static void relax(void *context)
{
    (void)context;
    (void)yield();
}

static void print_figure(const char *name, uint64_t value, const char *unit)
{
    char line[96];

    log_text(line, format_text(line, sizeof(line), "BENCH %s %lu %s\n", name, value, unit));
}

/* ---- Ring ------------------------------------------------------------------------------------*/

static struct {
    struct ring_shared shared;
    uint8_t rest[RING_ENTRIES_OFFSET + 2u * RING_ENTRIES * sizeof(struct ring_submission) -
                 sizeof(struct ring_shared)];
} ring_memory __attribute__((aligned(64)));

static status_t open_ring(struct ring_client *client, struct ring_server *server)
{
    status_t status;

    ring_memory.shared.magic = RING_MAGIC;
    ring_memory.shared.version = RING_VERSION;
    ring_memory.shared.entries = RING_ENTRIES;
    if ((status = ring_client_init(client, &ring_memory, RING_ENTRIES)) != STATUS_OK ||
        (status = ring_server_init(server, &ring_memory, RING_ENTRIES)) != STATUS_OK) {
        return status;
    }
    ring_server_start(server);
    ring_client_start(client);
    ring_server_answer(server);
    return ring_client_connect(client) && ring_server_connect(server) ? STATUS_OK
                                                                      : STATUS_NOT_FOUND;
}

/* What the server does: takes what is there and finishes it, checking as it would a stranger. */
static bool serve(struct ring_server *server)
{
    uint32_t pending = ring_pending(&server->submit);
    struct ring_submission submission;

    if (pending == RING_VIOLATION || ring_room(&server->complete, pending) == RING_VIOLATION ||
        !ring_server_alive(server)) {
        return false;
    }
    struct ring_run in = ring_take_begin(&server->submit);
    struct ring_run out = ring_push_begin(&server->complete);
    for (uint32_t i = 0; i < pending; i++) {
        ring_run_accept(&in, &submission);
        *(struct ring_completion *)ring_run_slot(&out) = (struct ring_completion){
            .user_data = submission.user_data,
            .result = submission.operation == RING_NOP ? 0 : STATUS_UNSUPPORTED,
        };
    }
    ring_take_end(&server->submit, &in);
    ring_push_end(&server->complete, &out);
    ring_release(&server->submit);
    (void)ring_publish(&server->complete);
    return true;
}

/* Number of completions that are not as they should be. */
static uint32_t reap_all(struct ring_client *client, uint64_t *expected)
{
    uint32_t pending = ring_pending(&client->complete);
    struct ring_completion completion;
    uint32_t wrong = 0;

    if (pending == RING_VIOLATION || !ring_client_alive(client)) {
        return 1;
    }
    struct ring_run in = ring_take_begin(&client->complete);
    uint64_t next = *expected;
    for (uint32_t i = 0; i < pending; i++) {
        ring_run_reap(&in, &completion);
        wrong += completion.user_data != next++ || completion.result != 0;
    }
    *expected = next;
    ring_take_end(&client->complete, &in);
    ring_release(&client->complete);
    return wrong;
}

static status_t measure_ring(uint32_t batch)
{
    struct ring_client client;
    struct ring_server server;
    uint64_t number = 0;
    uint64_t expected = 0;
    uint32_t wrong = 0;

    status_t status = open_ring(&client, &server);
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t before = clock_ticks();
    for (uint32_t round = 0; round < RING_ROUNDS; round++) {
        if (ring_room(&client.submit, batch) < batch) {
            return STATUS_FULL;
        }
        struct ring_run out = ring_push_begin(&client.submit);
        for (uint32_t i = 0; i < batch; i++) {
            *(struct ring_submission *)ring_run_slot(&out) =
                (struct ring_submission){.operation = RING_NOP, .user_data = number++};
        }
        ring_push_end(&client.submit, &out);
        (void)ring_publish(&client.submit);
        wrong += !serve(&server);
        wrong += reap_all(&client, &expected);
    }
    uint64_t ticks = clock_ticks() - before;
    if (wrong != 0 || expected != number) {
        return STATUS_CORRUPT;
    }
    print_figure(batch == 1 ? "ring-noop-1" : "ring-noop-32", ticks / number, "instr");
    return STATUS_OK;
}

/* ---- Forwarding ------------------------------------------------------------------------------*/

struct forward {
    uint64_t frames; /* in counted polls */
    uint64_t ticks;
    uint64_t polls;
    uint64_t doorbells;
};

/* Exchanges two fields of the same size. */
static inline void exchange48(uint8_t *a, uint8_t *b)
{
    uint32_t first = load_le32(a);
    uint16_t second = load_le16(a + 4);

    store_le32(a, load_le32(b));
    store_le16(a + 4, load_le16(b + 4));
    store_le32(b, first);
    store_le16(b + 4, second);
}

static void answer_arp(uint8_t *at, const uint8_t *mac)
{
    uint8_t target[10];

    memcpy(target, mac, 6);
    memcpy(target + 6, at + ARP_TARGET_AT + 6, 4);
    memcpy(at + ARP_TARGET_AT, at + ARP_SENDER_AT, 10);
    memcpy(at + ARP_SENDER_AT, target, 10);
    memcpy(at, at + 6, 6);
    memcpy(at + 6, mac, 6);
    at[ARP_OPERATION_AT + 1] = 2; /* a reply, RFC 826 */
}

/* Sums do not change when the ends are exchanged. False: not a frame to send on. */
static inline bool turn_round(struct netdev *dev, const struct netframe *frame)
{
    uint8_t *at = netbuf_data(dev->pool, frame->buffer) + frame->offset;
    uint16_t type = load_be16(at + ETHERTYPE_AT);

    if (type == 0x0800u && frame->length >= UDP_FRAME_BYTES && at[23] == 17u) {
        exchange48(at, at + 6);
        uint64_t ends = load_le64(at + 26);
        uint32_t ports = load_le32(at + 34);
        store_le64(at + 26, ends >> 32 | ends << 32);
        store_le32(at + 34, ports >> 16 | ports << 16);
        return true;
    }
    if (type == 0x0806u && frame->length >= ARP_FRAME_BYTES && at[ARP_OPERATION_AT + 1] == 1u) {
        answer_arp(at, dev->mac);
        return true;
    }
    return false;
}

/* One poll; returns the frames received. */
static uint32_t forward_once(struct netdev *dev)
{
    struct netframe frames[NETDEV_BURST_MAX];
    uint32_t kept = 0;

    uint32_t count = dev->ops->receive(dev, frames, NETDEV_BURST_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (turn_round(dev, &frames[i])) {
            frames[kept++] = frames[i];
        } else {
            netbuf_drop(dev->pool, frames[i].buffer);
        }
    }
    uint32_t sent = kept != 0 ? dev->ops->transmit(dev, frames, kept) : 0;
    for (uint32_t i = sent; i < kept; i++) {
        netbuf_drop(dev->pool, frames[i].buffer);
    }
    return count;
}

static void forward_round(struct netdev *dev, struct forward *forward)
{
    uint64_t doorbells = dev->counters.doorbells;
    uint64_t before = clock_ticks();
    uint32_t count = forward_once(dev);

    if (count >= BATCH_MIN) {
        forward->ticks += clock_ticks() - before;
        forward->frames += count;
        forward->doorbells += dev->counters.doorbells - doorbells;
        forward->polls++;
    }
}

static status_t measure_forward(struct netdev *dev)
{
    struct forward forward = {0};
    time_ns_t due = 0;
    time_ns_t end = now_ns(NULL) + PATIENCE_NS;

    for (time_ns_t next = 0; forward.frames < FRAMES_WANTED;) {
        time_ns_t now = now_ns(NULL);
        if (now < next) {
            __builtin_ia32_pause();
            continue;
        }
        next = now + POLL_EVERY_NS;
        forward_round(dev, &forward);
        if (now >= due) {
            due = dev->ops->tick(dev, now);
        }
        if (now > end) {
            log_line("only %lu frames came in batches", forward.frames);
            return STATUS_DEVICE_TIMEOUT;
        }
    }
    print_figure("forward", forward.ticks / forward.frames, "instr");
    print_figure("forward.batch", forward.frames / forward.polls, "frames");
    print_figure("forward.frames-a-doorbell",
                 forward.frames / (forward.doorbells != 0 ? forward.doorbells : 1u), "frames");
    return STATUS_OK;
}

static status_t open_nic(struct netdev **dev)
{
    struct netdev_open_request open = {
        .cell = cell,
        .buffers = BUFFERS,
        .memory = cell->heap,
        .memory_bytes = cell->heap_bytes,
        .environment = {now_ns, relax, NULL, NULL},
    };
    struct dma_pool dma;

    dma_pool_init(&dma, cell);
    status_t status = dma_take(&dma, netdev_open_dma_bytes(&open), &open.dma);
    return status == STATUS_OK ? netdev_open(&open, dev) : status;
}

status_t cell_main(const struct cell_info *info)
{
    struct netdev *dev;
    status_t status;

    cell = info;
    if ((status = measure_ring(32)) == STATUS_OK && (status = measure_ring(1)) == STATUS_OK &&
        (status = open_nic(&dev)) == STATUS_OK && (status = supervisor_ready()) == STATUS_OK) {
        status = measure_forward(dev);
    }
    log_line("bench ended: %s", status_text(status));
    for (;;) {
        uint64_t word = 0;
        (void)notification_wait(CELL_SLOT_NOTIFICATION, DEADLINE_NEVER, &word);
        if ((word & CELL_EVENT_SHUTDOWN) != 0) {
            supervisor_shutdown_done();
        }
    }
}
