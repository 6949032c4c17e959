// SPDX-License-Identifier: MIT OR Apache-2.0
#include "runtime/cell.h"

#include "lib/base/bytes.h"
#include "lib/config/config.h"
#include "runtime/syscall.h"

/* ---- Configuration -------------------------------------------------------------------------- */

const char *config_text(const struct cell_info *info, const char *key, const char *fallback)
{
    const char *value = config_find(info->config, info->config_bytes, key);
    return value == NULL ? fallback : value;
}

uint64_t config_u64(const struct cell_info *info, const char *key, uint64_t fallback)
{
    const char *text = config_text(info, key, NULL);
    uint64_t value;

    if (text == NULL) {
        return fallback;
    }
    if (config_parse_u64(text, &value) != STATUS_OK) {
        log_line("setting %s: \"%.60s\" is not a number; using %lu", key, text, fallback);
        return fallback;
    }
    return value;
}

bool config_bool(const struct cell_info *info, const char *key, bool fallback)
{
    const char *text = config_text(info, key, NULL);
    bool value;

    if (text == NULL) {
        return fallback;
    }
    if (config_parse_bool(text, &value) != STATUS_OK) {
        log_line("setting %s: \"%.60s\" is neither true nor false; using %s", key, text,
                 fallback ? "true" : "false");
        return fallback;
    }
    return value;
}

/* ---- Workers ------------------------------------------------------------------------------- */

void thread_wake(uint32_t thread)
{
    (void)notification_signal(CELL_SLOT_WAKE + thread);
}

void worker_await(struct worker_gate *gate, uint32_t thread)
{
    uint64_t word;

    while (__atomic_load_n(&gate->open, __ATOMIC_ACQUIRE) == 0) {
        (void)notification_wait(thread_notification(thread), DEADLINE_NEVER, &word);
    }
}

void worker_release(struct worker_gate *gate, const struct cell_info *info)
{
    __atomic_store_n(&gate->open, 1u, __ATOMIC_RELEASE);
    for (uint32_t thread = 1; thread < info->thread_count; thread++) {
        thread_wake(thread);
    }
}

/* ---- Supervisor ----------------------------------------------------------------------------- */

/* Sends label and one word; gets the reply's words. The status is the first of them. */
static status_t supervisor_ask(uint64_t label, uint64_t word, struct message *reply)
{
    *reply = (struct message){.info = message_info(label, 1), .words = {word}};
    status_t status = ipc_call(CELL_SLOT_SUPERVISOR, reply);
    if (status != STATUS_OK) {
        return status;
    }
    return message_words(reply->info) == 0 ? STATUS_INVALID_ARGUMENT : (status_t)reply->words[0];
}

status_t supervisor_ready(void)
{
    struct message m = {.info = message_info(SUPERVISOR_READY, 0)};
    status_t status = ipc_call(CELL_SLOT_SUPERVISOR, &m);
    return status == STATUS_OK ? (status_t)m.words[0] : status;
}

status_t supervisor_cell_status(uint32_t cell_index, struct cell_status *status)
{
    struct message m;
    status_t result = supervisor_ask(SUPERVISOR_CELL_STATUS, cell_index, &m);

    if (result == STATUS_OK) {
        status->state = (enum cell_state)m.words[1];
        status->restarts = (uint32_t)m.words[2];
        status->memory_bytes = m.words[3];
        status->faults = (uint32_t)m.words[4];
        memcpy(status->name, &m.words[5], SYSTEM_NAME_BYTES);
        status->name[SYSTEM_NAME_BYTES] = '\0';
    }
    return result;
}

status_t supervisor_system_status(struct system_status *status)
{
    struct message m;
    status_t result = supervisor_ask(SUPERVISOR_SYSTEM_STATUS, 0, &m);

    if (result == STATUS_OK) {
        status->cells = (uint32_t)m.words[1];
        status->ram_bytes = m.words[2];
        status->free_bytes = m.words[3];
        status->uptime_ns = m.words[4];
        status->flags = (uint32_t)m.words[5];
    }
    return result;
}

status_t supervisor_cell_restart(uint32_t cell_index)
{
    struct message m;

    return supervisor_ask(SUPERVISOR_CELL_RESTART, cell_index, &m);
}

_Noreturn void supervisor_shutdown_done(void)
{
    struct message m = {.info = message_info(SUPERVISOR_SHUTDOWN_DONE, 0)};
    for (;;) {
        (void)ipc_call(CELL_SLOT_SUPERVISOR, &m);
        m = (struct message){.info = message_info(SUPERVISOR_EXIT, 1), .words = {STATUS_OK}};
    }
}

_Noreturn void supervisor_exit(status_t status)
{
    struct message m = {.info = message_info(SUPERVISOR_EXIT, 1), .words = {(uint64_t)status}};
    (void)ipc_call(CELL_SLOT_SUPERVISOR, &m);
    __builtin_trap();
}
