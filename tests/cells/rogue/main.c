// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Test cell: hostile. Makes `calls` system calls with random numbers, slots and words, among them
 * many messages to the supervisor, and then says that it still runs. Nobody else may notice.
 */
#include "runtime/cell.h"
#include "runtime/syscall.h"

#define CALL_NUMBERS 136u
#define SAY_EVERY 100000u

static uint64_t state;

/* xorshift64* (Marsaglia 2003, Vigna 2016). */
static uint64_t next_random(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1dull;
}

/* Mostly small numbers, sometimes edges, sometimes anything. */
static uint64_t word(void)
{
    static const uint64_t edges[] = {0,           1,          PAGE_BYTES,     SEGMENT_BYTES,
                                     0x7fffffffu, 0xffffffff, 0x7fffffffffff, 0x800000000000,
                                     INT64_MAX,   UINT64_MAX, 0x400000,       0x100000000};
    uint64_t r = next_random();

    switch (r & 7u) {
    case 0:
        return edges[(r >> 3) % (sizeof(edges) / sizeof(edges[0]))];
    case 1:
        return next_random();
    default:
        return (r >> 3) % 72u;
    }
}

static void say_something(void)
{
    struct message m = {.info = message_info(word(), (uint32_t)next_random() % 9u)};

    for (uint32_t i = 0; i < MESSAGE_WORDS_MAX; i++) {
        m.words[i] = word();
    }
    uint64_t label = message_label(m.info);
    if (label == SUPERVISOR_EXIT || label == SUPERVISOR_SHUTDOWN_DONE) {
        return;
    }
    if ((next_random() & 7u) == 0) {
        m.info |= MESSAGE_CAP | MESSAGE_ACCEPT;
        m.send_slot = (cap_slot_t)word();
        m.accept_slot = (cap_slot_t)word();
    }
    (void)ipc_call(CELL_SLOT_SUPERVISOR, &m);
}

/* Calls that would end the game rather than test it: those that block for ever or write to the
 * console, and deleting the way to the supervisor. */
static bool spoils(uint64_t call, uint64_t rdi)
{
    return call == CALL_console_write || call == CALL_ipc_recv || call == CALL_ipc_reply_recv ||
           call == CALL_notification_wait || call == CALL_ipc_send || call == CALL_ipc_call ||
           ((call == CALL_cap_delete || call == CALL_cap_revoke) &&
            (uint32_t)rdi < CELL_SLOT_FIRST_DYNAMIC) ||
           call == CALL_cap_move;
}

static void call_something(void)
{
    struct message m = {.info = word()};
    uint64_t call = next_random() % CALL_NUMBERS;
    uint64_t rdi = word();

    for (uint32_t i = 0; i < MESSAGE_WORDS_MAX; i++) {
        m.words[i] = word();
    }
    m.send_slot = (cap_slot_t)word();
    m.accept_slot = (cap_slot_t)word();
    if (!spoils(call, rdi)) {
        (void)call_message(call | word() << 32, rdi, &m);
    }
}

status_t cell_main(const struct cell_info *info)
{
    uint64_t calls = config_u64(info, "calls", 1000000);
    uint64_t word_now = 0;

    state = config_u64(info, "seed", 1) * 0x9e3779b97f4a7c15ull + 1u;
    status_t status = supervisor_ready();
    for (uint64_t i = 0; i < calls && status == STATUS_OK; i++) {
        if ((next_random() & 3u) == 0) {
            say_something();
        } else {
            call_something();
        }
        if (i % SAY_EVERY == 0) {
            (void)notification_wait(CELL_SLOT_NOTIFICATION, DEADLINE_NOW, &word_now);
            if ((word_now & CELL_EVENT_SHUTDOWN) != 0) {
                supervisor_shutdown_done();
            }
        }
    }
    log_line("%lu random calls made", calls);
    while ((word_now & CELL_EVENT_SHUTDOWN) == 0) {
        status = notification_wait(CELL_SLOT_NOTIFICATION, DEADLINE_NEVER, &word_now);
        if (status != STATUS_OK) {
            return status;
        }
    }
    supervisor_shutdown_done();
}
