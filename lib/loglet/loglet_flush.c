// SPDX-License-Identifier: MIT OR Apache-2.0
/* From accepted to durable: at once for frames written with FUA, by a flush for the others. */
#include "lib/loglet/loglet_internal.h"

static void make_durable(struct loglet *log, const struct log_mark *mark)
{
    log->durable = mark->record;
    log->stable = mark->frame;
    log->stable_sequence = mark->sequence;
}

void log_accept(struct loglet *log, const struct log_mark *mark, bool forced)
{
    log->accepted = *mark;
    log->flush_needed = log->flush_needed || !forced;
    if (likely(!log->flush_needed)) {
        make_durable(log, mark);
    } else if (!log->relaxed) {
        log_want_flush(log); /* an earlier frame of relaxed times keeps this one from counting */
    }
}

void log_want_flush(struct loglet *log)
{
    if (log->flush_needed && !log->flush_flying) {
        log->device->flush_logs |= 1u << log->index;
    }
}

void device_send_flushes(struct loglet_device *device, time_ns_t now_ns)
{
    for (uint32_t left = device->flush_logs; left != 0; left &= left - 1u) {
        uint32_t index = (uint32_t)__builtin_ctz(left);
        struct loglet *log = &device->logs[index];
        struct block_request request = {.cookie = COOKIE(COOKIE_FLUSH, index),
                                        .operation = BLOCK_FLUSH};
        log_place(log, &request);
        if (!device_request(device, &request, now_ns)) {
            return;
        }
        device->flush_logs &= ~(1u << index);
        log->flushing = log->accepted;
        log->flush_flying = true;
    }
}

void log_flush_done(struct loglet_device *device, uint32_t index, status_t status)
{
    struct loglet *log = &device->logs[index];

    log->flush_flying = false;
    if (status != STATUS_OK) {
        /* What of it survives is not known, and no second flush would tell. */
        log_fail(log, status == STATUS_DEVICE_TIMEOUT ? status : STATUS_DEVICE_ERROR);
        return;
    }
    make_durable(log, &log->flushing);
    log->flush_needed = log->accepted.record != log->durable;
    if (!log->relaxed || log->state == STATUS_CLOSED) {
        log_want_flush(log);
    }
}

void loglet_set_relaxed(struct loglet *log, bool relaxed, time_ns_t now_ns)
{
    log->relaxed = relaxed;
    if (!relaxed) {
        loglet_flush(log, now_ns);
    }
}

void loglet_flush(struct loglet *log, time_ns_t now_ns)
{
    if (log->state == STATUS_OK && log->flush_needed) {
        log_want_flush(log);
        device_pump(log->device, now_ns);
    }
}

log_position_t loglet_accepted(const struct loglet *log)
{
    return log->accepted.record;
}
