// SPDX-License-Identifier: MIT OR Apache-2.0
/* What cells say to the supervisor. Nothing in a message is believed but its badge. */
#include "services/supervisor/supervisor.h"

#include "lib/base/bytes.h"

/* Reply to the message received last: status, then `count` further words. */
static void answer(struct supervisor *s, status_t status, const uint64_t *words, uint32_t count)
{
    struct message m = {.info = message_info(0, 1u + count), .words = {(uint64_t)(int64_t)status}};

    for (uint32_t i = 0; i < count; i++) {
        m.words[1u + i] = words[i];
    }
    /* Fails only when the caller is gone. */
    (void)ipc_reply(s->replies[s->reply_in_use], &m);
}

static void handle_ready(struct supervisor *s, struct cell *cell)
{
    if (cell->stage != STAGE_STARTING) {
        answer(s, STATUS_INVALID_ARGUMENT, NULL, 0);
        return;
    }
    cell->stage = STAGE_READY;
    log_line("%s ready", cell->description->name);
    answer(s, STATUS_OK, NULL, 0);
}

static void handle_shutdown_done(struct supervisor *s, struct cell *cell)
{
    if (!s->shutting_down) {
        answer(s, STATUS_INVALID_ARGUMENT, NULL, 0);
        return;
    }
    cell_stop(cell);
    cell->stage = STAGE_STOPPED;
}

/* Reasons that lie in the manifest, the device or what it holds, not in the cell's own state. */
static bool restart_is_hopeless(status_t status)
{
    return status == STATUS_FOREIGN || status == STATUS_WRONG_VERSION ||
           status == STATUS_UNSUPPORTED || status == STATUS_INVALID_ARGUMENT;
}

static void handle_exit(struct supervisor *s, struct cell *cell, const struct message *m)
{
    status_t status = (status_t)m->words[0];

    if (status == STATUS_OK) {
        log_line("%s has ended", cell->description->name);
        cell->ended = true;
    } else {
        log_line("%s gave up: %s (%s)", cell->description->name, status_text(status),
                 status_name(status));
        cell->faults++;
        cell->hopeless = restart_is_hopeless(status);
    }
    cell_end(s, cell);
}

static void handle_cell_status(struct supervisor *s, const struct message *m)
{
    uint64_t words[7] = {0};

    if (m->words[0] >= s->cell_count) {
        answer(s, STATUS_NOT_FOUND, NULL, 0);
        return;
    }
    const struct cell *cell = &s->cells[m->words[0]];
    words[0] = cell_public_state(cell);
    words[1] = cell->history.total;
    words[2] = cell->untyped_bytes;
    words[3] = cell->faults;
    memcpy(&words[4], cell->description->name, SYSTEM_NAME_BYTES);
    answer(s, STATUS_OK, words, 7);
}

static void handle_system_status(struct supervisor *s)
{
    uint64_t words[5] = {s->cell_count, s->boot->ram_bytes, untyped_free_bytes(s),
                         clock_ns(&s->boot->time), s->boot->flags};

    answer(s, STATUS_OK, words, 5);
}

static void handle_cell_restart(struct supervisor *s, const struct cell *asking,
                                const struct message *m)
{
    if ((asking->description->flags & CELL_FLAG_MANAGE) == 0) {
        answer(s, STATUS_NO_RIGHTS, NULL, 0);
        return;
    }
    if (m->words[0] >= s->cell_count) {
        answer(s, STATUS_NOT_FOUND, NULL, 0);
        return;
    }
    struct cell *cell = &s->cells[m->words[0]];
    if (s->shutting_down || (cell->stage != STAGE_READY && cell->stage != STAGE_STARTING)) {
        answer(s, STATUS_BUSY, NULL, 0);
        return;
    }
    answer(s, STATUS_OK, NULL, 0);
    cell->managed = true;
    cell_end(s, cell);
}

static void handle_pci(struct supervisor *s, struct cell *cell, const struct message *m)
{
    if (cell != s->pci_cell) {
        answer(s, STATUS_NO_RIGHTS, NULL, 0);
    } else if (message_label(m->info) != SUPERVISOR_PCI_NEXT) {
        uint64_t more = 0;
        status_t status = pci_report(s, m, &more);
        answer(s, status, &more, 1);
    } else if (message_words(m->info) != 1u || s->pci_waits) {
        answer(s, STATUS_INVALID_ARGUMENT, NULL, 0);
    } else {
        pci_next(s, (status_t)m->words[0]);
    }
}

static void handle_cell(struct supervisor *s, struct cell *cell, const struct message *m)
{
    uint64_t label = message_label(m->info);
    uint32_t words = message_words(m->info);

    if (label == SUPERVISOR_READY && words == 0) {
        handle_ready(s, cell);
    } else if (label == SUPERVISOR_SHUTDOWN_DONE && words == 0) {
        handle_shutdown_done(s, cell);
    } else if (label == SUPERVISOR_EXIT && words == 1u) {
        handle_exit(s, cell, m);
    } else if (label == SUPERVISOR_CELL_STATUS && words >= 1u) {
        handle_cell_status(s, m);
    } else if (label == SUPERVISOR_SYSTEM_STATUS) {
        handle_system_status(s);
    } else if (label == SUPERVISOR_CELL_RESTART && words == 1u) {
        handle_cell_restart(s, cell, m);
    } else if (label >= SUPERVISOR_PCI_MAP_BUS && label <= SUPERVISOR_PCI_VIRTUAL) {
        handle_pci(s, cell, m);
    } else {
        answer(s, STATUS_INVALID_ARGUMENT, NULL, 0);
    }
}

void message_handle(struct supervisor *s, struct message *m)
{
    uint64_t label = message_label(m->info);

    if (label == LABEL_NOTIFICATION) {
        io_faults_report(s, m->words[0]);
        power_event(s, m->words[0]);
        return;
    }
    bool fault = label == LABEL_FAULT && m->badge > FAULT_BADGE;
    uint64_t badge = fault ? m->badge - FAULT_BADGE : m->badge;
    uint32_t thread = (uint32_t)(badge / FAULT_BADGE_THREAD);
    uint64_t number = badge % FAULT_BADGE_THREAD;
    if (number == 0 || number > s->cell_count || thread >= cell_threads(&s->cells[number - 1u])) {
        answer(s, STATUS_INVALID_ARGUMENT, NULL, 0);
        return;
    }
    struct cell *cell = &s->cells[number - 1u];
    if (cell->stage != STAGE_STARTING && cell->stage != STAGE_READY) {
        answer(s, STATUS_INVALID_ARGUMENT, NULL, 0); /* it was on its way when the cell ended */
        return;
    }
    if (fault) {
        fault_report(s, cell, thread, m);
        cell->faults++;
        cell_end(s, cell);
    } else {
        handle_cell(s, cell, m);
    }
}
