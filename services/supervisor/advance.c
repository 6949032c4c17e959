// SPDX-License-Identifier: MIT OR Apache-2.0
/* What follows from the state: starting, restarting and giving up cells. */
#include "services/supervisor/supervisor.h"

#include "lib/base/bytes.h"

static bool is_live(const struct cell *cell)
{
    return cell->stage == STAGE_ENABLING || cell->stage == STAGE_STARTING ||
           cell->stage == STAGE_READY;
}

void cell_end(struct supervisor *s, struct cell *cell)
{
    if (!is_live(cell)) {
        return;
    }
    cell_stop(cell);
    rings_disconnect(s, cell);
    devices_want(cell, DEVICE_QUIET);
    cell->stage = STAGE_QUIESCING;
}

/* Whether the pci service can still be asked for something. */
static bool pci_is_there(const struct supervisor *s)
{
    return s->pci_cell != NULL && s->pci_cell->stage != STAGE_FAILED &&
           s->pci_cell->stage != STAGE_STOPPED;
}

static bool device_gave_up(const struct cell *cell)
{
    for (uint32_t i = 0; i < cell->description->device_count; i++) {
        const struct device *device = cell->devices[i];
        if (device->function != NULL && device->wanted == DEVICE_UNKNOWN) {
            return true;
        }
    }
    return false;
}

/* ---- Starting -------------------------------------------------------------------------------- */

/* Whether all cells before it that others wait for are ready. */
static bool turn_has_come(const struct supervisor *s, const struct cell *cell)
{
    for (uint32_t i = 0; i < cell->index; i++) {
        const struct cell *earlier = &s->cells[i];
        bool waited_for =
            (earlier->description->flags & (CELL_FLAG_START_READY | CELL_FLAG_PCI)) != 0;
        if (waited_for && earlier->stage != STAGE_READY && earlier->stage != STAGE_FAILED &&
            earlier->stage != STAGE_STOPPED && earlier->generation == 0) {
            return false;
        }
    }
    return true;
}

static void give_up(struct cell *cell)
{
    cell->stage = STAGE_FAILED;
    log_line("%s stays down", cell->description->name);
}

static bool advance_waiting(struct supervisor *s, struct cell *cell)
{
    if (s->shutting_down || !turn_has_come(s, cell)) {
        return false;
    }
    if (cell->description->device_count > 0) {
        if (!pci_is_there(s)) {
            log_line("%s needs devices, but the pci service is not there", cell->description->name);
            give_up(cell);
            return true;
        }
        if (s->pci_cell->stage != STAGE_READY) {
            return false;
        }
        if (devices_match(s, cell) != STATUS_OK) {
            give_up(cell);
            return true;
        }
        devices_want(cell, DEVICE_ON);
    }
    cell->stage = STAGE_ENABLING;
    return true;
}

static bool advance_enabling(struct supervisor *s, struct cell *cell)
{
    if (device_gave_up(cell) || (cell->description->device_count > 0 && !pci_is_there(s))) {
        log_line("%s cannot start: its devices cannot be enabled", cell->description->name);
        devices_want(cell, DEVICE_QUIET);
        give_up(cell);
        return true;
    }
    if (!devices_are(cell, DEVICE_ON)) {
        return false;
    }
    cell->stage = STAGE_STARTING;
    if (cell_launch(s, cell) != STATUS_OK) {
        devices_want(cell, DEVICE_QUIET);
        give_up(cell);
    }
    return true;
}

/* ---- Ending ---------------------------------------------------------------------------------- */

static bool advance_quiescing(struct supervisor *s, struct cell *cell)
{
    if (!devices_are(cell, DEVICE_QUIET)) {
        if (pci_is_there(s) && !device_gave_up(cell)) {
            return false;
        }
        /* Its devices may still write to its memory, which therefore is not used again. */
        log_line("%s: its devices cannot be made quiet", cell->description->name);
        give_up(cell);
        return true;
    }
    cell_destroy(s, cell);
    if (s->shutting_down || cell->ended) {
        s->shutdown_unclean += cell->ended ? 0 : 1u; /* it broke while shutting down */
        cell->stage = STAGE_STOPPED;
        return true;
    }
    if (cell->managed) {
        cell->managed = false;
        log_line("%s restarts as asked", cell->description->name);
        cell->history.total++;
        cell->stage = STAGE_WAITING;
        return true;
    }
    if (cell->hopeless) {
        log_line("%s is not restarted: it would find the same again", cell->description->name);
        give_up(cell);
        return true;
    }
    if (!restart_allowed(&cell->history, cell->description, clock_ns(&s->boot->time))) {
        if (cell->description->restart == SYSTEM_RESTART_ON_FAULT) {
            log_line("%s has used up its restarts (%u in %u s)", cell->description->name,
                     cell->description->restarts_max, cell->description->restart_window_s);
        }
        give_up(cell);
        return true;
    }
    log_line("%s restarts (%u of %u)", cell->description->name, cell->history.in_window,
             cell->description->restarts_max);
    cell->stage = STAGE_WAITING;
    return true;
}

/* ---- All ------------------------------------------------------------------------------------- */

static bool advance_one(struct supervisor *s, struct cell *cell)
{
    switch (cell->stage) {
    case STAGE_WAITING:
        return advance_waiting(s, cell);
    case STAGE_ENABLING:
        return advance_enabling(s, cell);
    case STAGE_QUIESCING:
        return advance_quiescing(s, cell);
    default:
        return false;
    }
}

/* Says once, when nothing more is to come, whether the system is whole. */
static void say_ready(struct supervisor *s)
{
    static const char ready[] = "hallows: system ready\n";
    uint32_t failed = 0;

    if (s->said_ready || s->shutting_down) {
        return;
    }
    for (uint32_t i = 0; i < s->cell_count; i++) {
        if (s->cells[i].stage == STAGE_FAILED) {
            failed++;
        } else if (s->cells[i].stage != STAGE_READY && s->cells[i].stage != STAGE_STOPPED) {
            return;
        }
    }
    s->said_ready = true;
    if (failed == 0) {
        log_line("%u cells up after %lu us", s->cell_count, clock_ns(&s->boot->time) / 1000u);
        log_text(ready, sizeof(ready) - 1u);
    } else {
        log_line("the system is not whole: %u of %u cells are down", failed, s->cell_count);
    }
}

void cells_advance(struct supervisor *s)
{
    bool changed = true;

    /* Each round moves a cell at least one stage on; a restart loop ends with its contract. */
    while (changed) {
        changed = false;
        for (uint32_t i = 0; i < s->cell_count; i++) {
            changed = advance_one(s, &s->cells[i]) || changed;
        }
    }
    pci_advance(s);
    say_ready(s);
    power_advance(s);
}
