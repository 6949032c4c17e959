// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The device: requests down, completions up, and logs by name.
 *
 *   ZONES -> SUPER -> [END -> RESET] or [HEADERS -> SCAN] -> FLUSH -> PUBLISH -> OPEN
 *     -> DRAIN -> CLOSE -> CLOSED; anything -> FAILED
 */
#include "lib/loglet/loglet.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/loglet/loglet_internal.h"

size_t loglet_device_bytes(void)
{
    return sizeof(struct loglet_device);
}

static void make_frames(struct loglet_device *device)
{
    for (uint32_t i = 0; i < device->frame_count; i++) {
        device->frames[i].next = i + 1u < device->frame_count ? i + 1u : NONE;
    }
    device->free_frame = 0;
    device->free_frames = device->frame_count;
}

status_t loglet_device_open(void *memory, const struct loglet_config *config, time_ns_t now_ns,
                            struct loglet_device **opened)
{
    struct loglet_device *device = memory;
    struct block_device *block = config->block;
    uint64_t frames;

    if (((uintptr_t)memory & 7u) != 0 || ((uintptr_t)config->buffers & (PAGE_BYTES - 1u)) != 0 ||
        config->buffer_bytes < LOGLET_BUFFER_BYTES_MIN || block->block_shift < 9u ||
        block->block_shift > 12u || block->block_bytes != 1u << block->block_shift ||
        block->max_transfer_blocks == 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    bool zoned = (block->flags & BLOCK_DEVICE_ZONED) != 0;
    uint64_t transfer = (uint64_t)block->max_transfer_blocks << block->block_shift;
    if (zoned && (uint64_t)block->max_append_blocks << block->block_shift < transfer) {
        transfer = (uint64_t)block->max_append_blocks << block->block_shift;
    }
    if (transfer < SUPER_BYTES || block->block_count << block->block_shift < SUPER_AREA_BYTES ||
        (zoned && block->zone_blocks > EXTENT_BYTES_MAX >> block->block_shift)) {
        return STATUS_UNSUPPORTED;
    }
    memset(device, 0, sizeof *device);
    device->block = block;
    device->config = *config;
    device->zoned = zoned;
    device->status = STATUS_AGAIN;
    device->seen = "nothing";
    device->format_wanted = (config->flags & LOGLET_FORMAT) != 0;
    device->frame_bytes = transfer < LOGLET_FRAME_BYTES ? (uint32_t)transfer & ~(SUPER_BYTES - 1u)
                                                        : LOGLET_FRAME_BYTES;
    device->fast_digest = digest_is_fast();
    device->pages_max = ((transfer < FRAME_BYTES_MAX ? (uint32_t)transfer : FRAME_BYTES_MAX) -
                         FRAME_HEAD_BYTES_MAX) >>
                        PAGE_SHIFT;
    device->read_buffer = config->buffers;
    device->super_buffer = device->read_buffer + LOGLET_READ_BYTES;
    device->probe_buffer = device->super_buffer + SUPER_BYTES;
    device->frame_memory = device->probe_buffer + BLOCK_ZONE_REPORT_BYTES;
    frames = (config->buffer_bytes - LOGLET_READ_BYTES - SUPER_BYTES - BLOCK_ZONE_REPORT_BYTES) /
             LOGLET_FRAME_BYTES;
    device->frame_count = frames < LOGLET_FRAMES_MAX ? (uint32_t)frames : LOGLET_FRAMES_MAX;
    make_frames(device);
    device_divide(device);
    device->phase = zoned ? PHASE_ZONES : PHASE_SUPER;
    *opened = device;
    device_advance(device, now_ns);
    device_pump(device, now_ns);
    return STATUS_OK;
}

status_t loglet_device_state(const struct loglet_device *device)
{
    return device->status;
}

const char *loglet_device_seen(const struct loglet_device *device)
{
    return device->seen;
}

bool loglet_device_formatted(const struct loglet_device *device)
{
    return device->formatted;
}

void device_fail(struct loglet_device *device, status_t why)
{
    device->phase = PHASE_FAILED;
    device->status = why;
    for (uint32_t i = 0; i < LOGLET_LOGS_MAX; i++) {
        struct loglet *log = &device->logs[i];
        if (log->state == STATUS_OK || log->state == STATUS_AGAIN) {
            log->state = why;
        }
    }
}

/* ---- Requests ---- */

void device_flush_requests(struct loglet_device *device, time_ns_t now_ns)
{
    if (device->requests_count == 0) {
        return;
    }
    uint32_t taken =
        device->block->ops->submit(device->block, device->requests, device->requests_count, now_ns);
    device->requests_count -= taken;
    if (unlikely(device->requests_count != 0)) {
        memmove(device->requests, device->requests + taken,
                device->requests_count * sizeof device->requests[0]);
    }
}

bool device_request(struct loglet_device *device, const struct block_request *request,
                    time_ns_t now_ns)
{
    if (device->requests_count == BATCH) {
        device_flush_requests(device, now_ns);
        if (device->requests_count == BATCH) {
            return false;
        }
    }
    device->requests[device->requests_count++] = *request;
    device->outstanding++;
    return true;
}

void job_start(struct loglet_device *device, struct loglet_job *job, uint64_t block, uint64_t bytes,
               uint8_t *to)
{
    job->block = block;
    job->to = to;
    job->bytes_left = bytes;
    job->outstanding = 0;
    job->active = true;
    job->status = STATUS_OK;
    job->flags = 0;
    job->next = device->jobs;
    device->jobs = job;
}

static void send_jobs(struct loglet_device *device, time_ns_t now_ns)
{
    uint32_t shift = device->block->block_shift;

    for (struct loglet_job *job = device->jobs; job != NULL; job = job->next) {
        while (job->bytes_left != 0) {
            uint64_t blocks = job->bytes_left >> shift;
            if (blocks > device->block->max_transfer_blocks) {
                blocks = device->block->max_transfer_blocks;
            }
            struct block_request request = {.cookie = COOKIE(COOKIE_JOB, (uintptr_t)job),
                                            .block = job->block,
                                            .blocks = (uint32_t)blocks,
                                            .operation = BLOCK_READ,
                                            .flags = job->flags,
                                            .placement = job->placement,
                                            .data = job->to};
            if (!device_request(device, &request, now_ns)) {
                return;
            }
            job->outstanding++;
            job->block += blocks;
            job->to += blocks << shift;
            job->bytes_left -= blocks << shift;
        }
    }
}

static void job_done(struct loglet_device *device, struct loglet_job *job, status_t status)
{
    job->outstanding--;
    if (status != STATUS_OK) {
        job->status = status == STATUS_DEVICE_TIMEOUT ? status : STATUS_DEVICE_ERROR;
        job->bytes_left = 0;
    }
    if (job->outstanding != 0 || job->bytes_left != 0) {
        return;
    }
    job->active = false;
    for (struct loglet_job **link = &device->jobs; *link != NULL; link = &(*link)->next) {
        if (*link == job) {
            *link = job->next;
            return;
        }
    }
}

static void complete(struct loglet_device *device, const struct block_completion *completion)
{
    uint64_t value = COOKIE_VALUE(completion->cookie);

    device->outstanding--;
    switch (completion->cookie >> 56) {
    case COOKIE_FRAME:
        log_frame_done(device, (uint32_t)value, completion);
        break;
    case COOKIE_JOB:
        job_done(device, (struct loglet_job *)(uintptr_t)value, completion->status);
        break;
    case COOKIE_SUPER:
        super_done(device, completion);
        break;
    case COOKIE_ZONE:
        log_zone_done(device, (uint32_t)value, completion->status);
        break;
    case COOKIE_PROBE:
        log_probe_done(device, (uint32_t)value, completion);
        break;
    case COOKIE_FLUSH:
        log_flush_done(device, (uint32_t)value, completion->status);
        break;
    case COOKIE_SETTLE:
        log_settle_done(device, (uint32_t)value, completion->status);
        break;
    default:
        device->step_outstanding--;
        device->step_result = completion->block;
        if (completion->status != STATUS_OK) {
            device->step_status = completion->status;
        }
        break;
    }
}

void device_pump(struct loglet_device *device, time_ns_t now_ns)
{
    if (device->phase == PHASE_OPEN || device->phase == PHASE_DRAIN) {
        for (uint32_t left = device->unsent_logs; left != 0; left &= left - 1u) {
            log_send(&device->logs[__builtin_ctz(left)], now_ns);
        }
    }
    if (unlikely(device->flush_logs != 0) && device->phase != PHASE_FAILED) {
        device_send_flushes(device, now_ns);
    }
    if (unlikely(device->super_wanted) && device->phase != PHASE_FAILED) {
        super_send(device, now_ns);
    }
    if (unlikely(device->jobs != NULL)) {
        send_jobs(device, now_ns);
    }
    device_flush_requests(device, now_ns);
}

/* Whether device_pump would do anything. */
static inline bool pump_wanted(const struct loglet_device *device)
{
    return (device->unsent_logs | device->flush_logs | device->requests_count) != 0 ||
           device->super_wanted || device->jobs != NULL;
}

uint32_t loglet_device_poll(struct loglet_device *device, time_ns_t now_ns)
{
    struct block_completion completions[BATCH];
    uint32_t total = 0;
    uint32_t count;

    do {
        count = device->block->ops->poll(device->block, completions, BATCH, now_ns);
        for (uint32_t i = 0; i < count; i++) {
            complete(device, &completions[i]);
        }
        total += count;
    } while (count == BATCH);
    if (unlikely(device->phase != PHASE_OPEN)) {
        device_advance(device, now_ns);
    }
    if (pump_wanted(device)) {
        device_pump(device, now_ns);
    }
    return total;
}

bool loglet_device_busy(const struct loglet_device *device)
{
    return device->outstanding != 0 || device->requests_count != 0 || device->super_wanted ||
           device->flush_logs != 0 || device->jobs != NULL || (device->status == STATUS_AGAIN);
}

void loglet_device_close(struct loglet_device *device)
{
    if (device->phase != PHASE_OPEN) {
        return;
    }
    for (uint32_t i = 0; i < LOGLET_LOGS_MAX; i++) {
        struct loglet *log = &device->logs[i];
        if (log->info.id != 0 && log->state == STATUS_OK) {
            log_close_frame(log);
            log->state = STATUS_CLOSED;
        }
    }
    device->phase = PHASE_DRAIN;
    device->status = STATUS_AGAIN;
}

/* ---- Logs by name ---- */

void device_divide(struct loglet_device *device)
{
    bool streams = (device->block->flags & BLOCK_DEVICE_STREAMS) != 0;
    uint32_t count = 0;

    for (uint32_t i = 0; i < LOGLET_LOGS_MAX; i++) {
        count += device->logs[i].info.id != 0;
    }
    /* Where logs have contracts none may fill the device with frames that wait for their turn. */
    device->flying_most =
        streams && count > 1u ? FRAMES_IN_FLIGHT_MAX / count : FRAMES_IN_FLIGHT_MAX;
}

uint32_t loglet_placement(const struct loglet *log)
{
    uint32_t placements = log->device->block->placements;

    /* The first one is for superblocks. */
    return placements > 1u ? 1u + log->index % (placements - 1u) : 0;
}

uint32_t loglet_frames(const struct loglet *log)
{
    return log->frames;
}

uint32_t loglet_device_frames(const struct loglet_device *device)
{
    return device->frame_count;
}

static uint64_t mix(uint64_t x) /* splitmix64, Steele et al. 2014 */
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static status_t create(struct loglet_device *device, struct loglet *log, const char *name,
                       uint64_t capacity_bytes)
{
    struct super *super = &device->super;
    uint32_t alive = super->extent_count - device->dead_extents;
    uint32_t left = alive > device->promised_extents ? alive - device->promised_extents : 0;
    uint64_t wanted = (capacity_bytes + extent_bytes(device) - 1u) / extent_bytes(device);
    uint64_t quota = capacity_bytes == 0 ? left : wanted;

    if (quota > left || quota == 0 || capacity_bytes >> 62 != 0) {
        return STATUS_FULL;
    }
    memset(&log->info, 0, sizeof log->info);
    memcpy(log->info.name, name, strlen(name));
    log->info.id = super->next_log_id++;
    log->info.salt = mix(mix(device->config.random[0] ^ log->info.id) ^ device->config.random[1]) ^
                     mix(super->device_id[0] + super->sequence);
    log->info.quota_extents = (uint32_t)quota;
    log->info.tail = position_of(device, 1, 0);
    log->info.stable = log->info.tail;
    log->info.stable_sequence = 1;
    device->promised_extents += (uint32_t)quota;
    log_init(device, (uint32_t)(log - device->logs));
    device_divide(device);
    super_want(device);
    return STATUS_OK;
}

/* Each log has an active zone of the drive's for itself, one is for superblocks: so none ever waits
 * for another's to be full. */
static bool device_has_active_zone(const struct loglet_device *device)
{
    uint32_t most = device->zoned ? device->block->max_active_zones : 0;
    uint32_t logs = 0;

    for (uint32_t i = 0; i < LOGLET_LOGS_MAX; i++) {
        logs += device->logs[i].info.id != 0;
    }
    return most == 0 || logs + 1u < most;
}

status_t loglet_open(struct loglet_device *device, const char *name, uint64_t capacity_bytes,
                     struct loglet **found)
{
    size_t length = strnlen(name, LOGLET_NAME_BYTES);
    struct loglet *empty = NULL;

    if (device->phase != PHASE_OPEN) {
        return device->status;
    }
    if (length == 0 || length == LOGLET_NAME_BYTES) {
        return STATUS_INVALID_ARGUMENT;
    }
    for (uint32_t i = LOGLET_LOGS_MAX; i-- > 0;) {
        struct loglet *log = &device->logs[i];
        if (log->info.id == 0) {
            empty = log;
        } else if (strcmp(log->info.name, name) == 0) {
            *found = log;
            return STATUS_OK;
        }
    }
    if (device->super_wanted || device->super_flying) {
        return STATUS_BUSY;
    }
    if (empty == NULL || !device_has_active_zone(device)) {
        return STATUS_FULL;
    }
    status_t status = create(device, empty, name, capacity_bytes);
    if (status == STATUS_OK) {
        *found = empty;
    }
    return status;
}

status_t loglet_delete(struct loglet *log)
{
    struct loglet_device *device = log->device;

    if (log->state != STATUS_OK) {
        return log->state;
    }
    if (log->first_frame != NONE || log->flush_flying || device->jobs != NULL ||
        device->phase != PHASE_OPEN) {
        return STATUS_BUSY;
    }
    log->deleting = true;
    log->state = STATUS_CLOSED; /* takes nothing any more */
    super_want(device);
    return STATUS_OK;
}

status_t loglet_checkpoint(struct loglet *log)
{
    if (log->state == STATUS_OK) {
        super_want(log->device);
    }
    return log->state;
}

bool loglet_enumerate(const struct loglet_device *device, uint32_t index, struct loglet_info *info)
{
    const struct loglet *log = &device->logs[index];

    if (index >= LOGLET_LOGS_MAX || log->info.id == 0) {
        return false;
    }
    *info = (struct loglet_info){
        .name = log->info.name,
        .state = log->state,
        .tail = log->tail,
        .durable = log->durable,
        .capacity_bytes = loglet_capacity_bytes(log),
        .used_bytes = loglet_used_bytes(log),
        .free_bytes = loglet_free_bytes(log),
    };
    return true;
}

void loglet_space(const struct loglet_device *device, struct loglet_space *space)
{
    *space = (struct loglet_space){
        .zoned = device->zoned,
        .extents = device->super.extent_count,
        .free = device->free_extents,
        .dead = device->dead_extents,
        .promised = device->promised_extents,
        .extent_bytes = extent_bytes(device),
        .uses_least = UINT32_MAX,
        .epoch = device->super.epoch,
        .active = device->active_extents,
        .super_bytes = device->super_bytes,
        .wasted_bytes = device->wasted_bytes,
    };
    for (uint32_t i = 0; i < LOGLET_LOGS_MAX; i++) {
        space->append_bytes += device->logs[i].counters.append_bytes;
        space->frame_bytes += device->logs[i].counters.frame_bytes;
    }
    for (uint32_t i = 0; i < device->super.extent_count; i++) {
        uint32_t uses = device->extents[i].uses;
        space->uses += uses;
        if (device->extents[i].state == EXTENT_DEAD) {
            continue;
        }
        space->uses_least = uses < space->uses_least ? uses : space->uses_least;
        space->uses_most = uses > space->uses_most ? uses : space->uses_most;
    }
}

bool loglet_extent(const struct loglet_device *device, uint32_t index, struct loglet_extent *told)
{
    const struct extent *extent = &device->extents[index];

    if (index >= device->super.extent_count) {
        return false;
    }
    *told = (struct loglet_extent){
        .uses = extent->uses,
        .log = extent->state == EXTENT_USED ? device->logs[extent->log].info.name : NULL,
        .dead = extent->state == EXTENT_DEAD,
        .read_only = extent->read_only,
    };
    return true;
}
