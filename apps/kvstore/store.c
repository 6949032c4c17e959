// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/cell.h"

#include "runtime/random.h"

/* What one log record carries of the journal: fits one frame of the log. */
#define RECORD_BYTES_MAX (LOGLET_FRAME_BYTES - 8192u)
#define PIECES_MAX 32u
#define SECOND_NS 1000000000ull
/* The log's room that pending records may not use: overhead of frames and records. */
#define SPACE_MARGIN_BYTES (4u << 20)
/* The log's space is looked at when so much of it may have been taken; far less than the margin. */
#define LOOK_BYTES (256u << 10)
/* What a record may take beyond its bytes: a frame's header, padding to a block. */
#define RECORD_OVERHEAD_BYTES 8192u
#define CHECKPOINT_STEP_BYTES (64u << 10)
#define CHECKPOINT_PENDING_BYTES (256u << 10)

/* ---- Start ------------------------------------------------------------------------------------
 */

/* A queue pair of its own for questions about zones; before the drive is started. */
static status_t zones_port(struct kvstore *kvstore, struct nvme_port_config *config)
{
    struct store *store = &kvstore->store;
    struct dma_region buffer;
    status_t status = dma_take(&kvstore->dma, BLOCK_ZONE_REPORT_BYTES, &buffer);

    *config = (struct nvme_port_config){.port = &store->zones_port};
    if (status == STATUS_OK) {
        store->zones = (struct zones){.block = &store->zones_port.block, .buffer = buffer.base};
        status = dma_take(&kvstore->dma, NVME_PORT_MEMORY_BYTES, &config->dma);
    }
    return status;
}

static status_t start_drive(struct kvstore *kvstore)
{
    struct store *store = &kvstore->store;
    const struct cell_info *info = kvstore->info;
    const struct cell_device *device = NULL;
    struct nvme_config config = {0};
    struct nvme_port_config zones_config;

    for (uint32_t i = 0; i < info->device_count && device == NULL; i++) {
        if (info->devices[i].kind == SYSTEM_DEVICE_NVME) {
            device = &info->devices[i];
        }
    }
    if (device == NULL) {
        log_line("the manifest gives this cell no NVMe drive to keep its log on");
        return STATUS_NOT_FOUND;
    }
    status_t status = nvme_config_from_cell(&config, device);
    if (status != STATUS_OK && status != STATUS_UNSUPPORTED) {
        return status;
    }
    config.data = kvstore->dma.all;
    config.shadow_doorbells = config_bool(info, "shadow_doorbells", false);
    status = dma_take(&kvstore->dma, NVME_QUEUE_MEMORY_BYTES, &config.dma);
    if (status == STATUS_OK) {
        status = zones_port(kvstore, &zones_config);
        config.more_ports = &zones_config;
        config.more_count = 1;
    }
    if (status == STATUS_OK) {
        status = nvme_start(&store->nvme, &config, kvstore_now(kvstore));
    }
    while (status == STATUS_OK && nvme_state(&store->nvme) != NVME_READY) {
        struct block_completion none;
        (void)nvme_poll(&store->nvme.port, &none, 1, kvstore_now(kvstore));
        if (nvme_state(&store->nvme) == NVME_DEAD) {
            status = store->nvme.last_error;
            break;
        }
        kvstore_pause(kvstore);
    }
    if (status != STATUS_OK) {
        log_line("drive %s: %s", device->name, status_text(status));
    }
    return status;
}

static status_t open_device(struct kvstore *kvstore)
{
    struct store *store = &kvstore->store;
    struct dma_region buffers;
    size_t left = kvstore->dma.all.bytes - kvstore->dma.used_bytes;
    struct loglet_config config = {.block = store->block};
    void *memory = heap_allocate(kvstore->heap, loglet_device_bytes());

    if (memory == NULL || left < LOGLET_BUFFER_BYTES_MIN) {
        return STATUS_NO_MEMORY;
    }
    status_t status = dma_take(&kvstore->dma, left, &buffers);
    if (status != STATUS_OK) {
        return status;
    }
    config.buffers = buffers.base;
    config.buffer_bytes = buffers.bytes;
    /* Once: what was acknowledged since must survive a restart of the cell. */
    if (kvstore->info->generation == 0 && config_bool(kvstore->info, "format", false)) {
        config.flags = LOGLET_FORMAT;
    }
    (void)random_bytes(config.random, sizeof config.random);
    status = loglet_device_open(memory, &config, kvstore_now(kvstore), &store->device);
    while (status == STATUS_OK) {
        (void)loglet_device_poll(store->device, kvstore_now(kvstore));
        status = loglet_device_state(store->device);
        if (status != STATUS_AGAIN) {
            break;
        }
        status = STATUS_OK;
        kvstore_pause(kvstore);
    }
    if (status == STATUS_FOREIGN) {
        log_line("the drive holds other data (%s): nothing was written; `format` allows to "
                 "overwrite it",
                 loglet_device_seen(store->device));
    } else if (status != STATUS_OK && store->device != NULL) {
        log_line("the drive holds %s", loglet_device_seen(store->device));
    } else if (loglet_device_formatted(store->device)) {
        log_line("formatted the drive");
    }
    return status;
}

static status_t open_log(struct kvstore *kvstore)
{
    struct store *store = &kvstore->store;
    status_t status = loglet_open(store->device, STORE_LOG_NAME, 0, &store->log);

    while (status == STATUS_OK && loglet_state(store->log) == STATUS_AGAIN) {
        (void)loglet_device_poll(store->device, kvstore_now(kvstore));
        kvstore_pause(kvstore);
    }
    return status == STATUS_OK ? loglet_state(store->log) : status;
}

/* ---- Recovery ---------------------------------------------------------------------------------
 */

static status_t apply(void *context, const struct journal_record *record)
{
    struct server *server = context;

    return database_apply(&server->database, record);
}

static void tell_progress(const struct kvstore *kvstore, const struct journal_reader *reader)
{
    log_line("recovery: %llu records, %llu KiB, %zu keys", (unsigned long long)reader->records,
             (unsigned long long)reader->bytes >> 10,
             keyspace_count(&kvstore->server.database.keyspace));
}

static status_t replay(struct kvstore *kvstore, struct loglet_reader *log,
                       struct journal_reader *journal)
{
    struct store *store = &kvstore->store;
    time_ns_t next_line = kvstore_now(kvstore) + SECOND_NS;

    for (;;) {
        struct loglet_fragment fragment;
        status_t status = loglet_reader_next(log, &fragment);
        if (status == STATUS_NOT_FOUND) {
            return STATUS_OK;
        }
        if (status == STATUS_AGAIN) {
            (void)loglet_device_poll(store->device, kvstore_now(kvstore));
            kvstore_pause(kvstore);
            continue;
        }
        if (status == STATUS_OK) {
            status = journal_reader_feed(journal, slice_of(fragment.data, fragment.bytes),
                                         fragment.offset);
        }
        if (status != STATUS_OK) {
            return status;
        }
        if (kvstore_now(kvstore) >= next_line) {
            next_line = kvstore_now(kvstore) + SECOND_NS;
            tell_progress(kvstore, journal);
        }
    }
}

static status_t recover(struct kvstore *kvstore, void *buffer)
{
    struct store *store = &kvstore->store;
    struct server *server = &kvstore->server;
    struct loglet_reader log;
    struct journal_reader journal;
    time_ns_t started = kvstore_now(kvstore);
    status_t status = loglet_reader_start(&log, store->log, loglet_tail(store->log), buffer);

    if (status != STATUS_OK) {
        return status;
    }
    journal_reader_init(&journal, kvstore->heap, apply, server);
    status = replay(kvstore, &log, &journal);
    while (loglet_reader_stop(&log) == STATUS_AGAIN) {
        (void)loglet_device_poll(store->device, kvstore_now(kvstore));
        kvstore_pause(kvstore);
    }
    server->log.recovered_records = journal.records;
    server->log.recovered_bytes = journal.bytes;
    server->log.recovery_ns = kvstore_now(kvstore) - started;
    if (status == STATUS_OK) {
        tell_progress(kvstore, &journal);
    } else {
        log_line("recovery stopped after %llu records: %s", (unsigned long long)journal.records,
                 status_text(status));
    }
    journal_reader_free(&journal);
    return status;
}

/* What a trim gives back comes back bit by bit; the least is what the rewrite has left. */
static void note_base(struct store *store)
{
    uint64_t used = loglet_used_bytes(store->log);
    uint64_t *base = &store->server->log.base_bytes;

    *base = used < *base ? used : *base;
}

void store_tell(struct store *store)
{
    struct server_log_status *log = &store->server->log;

    if (store->log == NULL) {
        return;
    }
    log->tail = loglet_tail(store->log);
    log->head = loglet_head(store->log);
    log->durable = loglet_durable(store->log);
    log->accepted = loglet_accepted(store->log);
    log->used_bytes = loglet_used_bytes(store->log);
    log->capacity_bytes = loglet_capacity_bytes(store->log);
    note_base(store);
}

static void tell_log(void *context)
{
    store_tell(context);
}

/* Tells the journal how much it may still take. */
static void look_at_space(struct store *store)
{
    uint64_t free = loglet_free_bytes(store->log);

    note_base(store);
    free = free > SPACE_MARGIN_BYTES ? free - SPACE_MARGIN_BYTES : 0;
    store->server->database.journal.space_bytes = free - free / 16;
    store->crowded = loglet_used_bytes(store->log) > loglet_capacity_bytes(store->log) / 8;
    store->unseen_bytes = 0;
}

status_t store_open(struct kvstore *kvstore)
{
    struct dma_region reader;
    status_t status = start_drive(kvstore);

    kvstore->store.server = &kvstore->server;
    kvstore->store.unseen_bytes = LOOK_BYTES;
    kvstore->server.refresh_log = tell_log;
    kvstore->server.refresh_context = &kvstore->store;
    if (status == STATUS_OK) {
        status = dma_take(&kvstore->dma, LOGLET_READ_BYTES, &reader);
    }
    if (status == STATUS_OK) {
        status = contracts_admit(kvstore);
    }
    if (status == STATUS_OK) {
        status = open_device(kvstore);
    }
    if (status == STATUS_OK) {
        status = open_log(kvstore);
    }
    if (status != STATUS_OK) {
        log_line("log: %s", status_text(status));
        return status;
    }
    status = recover(kvstore, reader.base);
    look_at_space(&kvstore->store);
    kvstore->server.database.checkpoint_possible = true;
    (void)nvme_ask(&kvstore->store.nvme, kvstore_now(kvstore));
    kvstore->server.database.checkpoint_ms = kvstore->server.database.now_ms;
    kvstore->server.log.base_bytes = loglet_used_bytes(kvstore->store.log);
    return status;
}

/* ---- Batches ----------------------------------------------------------------------------------
 */

static void note_batch(struct store *store)
{
    struct batch batch = {store->last_record, store->batch_end};

    if (store->count == BATCHES_MAX) { /* the last one waits for this one too: safe */
        store->batches[(store->first + store->count - 1) % BATCHES_MAX] = batch;
        return;
    }
    store->batches[(store->first + store->count++) % BATCHES_MAX] = batch;
}

/* Gives one log record's worth of the batch to the log. */
static status_t append_record(struct store *store)
{
    struct chain *pending = &store->server->database.journal.pending;
    uint8_t header[JOURNAL_FRAME_HEADER_BYTES];
    struct slice slices[PIECES_MAX - 1];
    struct loglet_piece pieces[PIECES_MAX]; /* not cleared: few of them are used */
    size_t limit = (size_t)(store->batch_end - pending->got_bytes);
    size_t bytes = 0;
    log_position_t position;

    limit = limit < RECORD_BYTES_MAX ? limit : RECORD_BYTES_MAX;
    size_t count = chain_gather(pending, slices, PIECES_MAX - 1, limit);
    pieces[0] = (struct loglet_piece){header, sizeof header};
    for (size_t i = 0; i < count; i++) {
        pieces[i + 1] = (struct loglet_piece){slices[i].data, slices[i].bytes};
        bytes += slices[i].bytes;
    }
    journal_frame_header(header, !store->batch_begun);
    status_t status = loglet_append(store->log, pieces, (uint32_t)count + 1, &position);
    if (status == STATUS_OK) {
        if (!store->batch_begun && store->begin_wanted) {
            store->checkpoint_begin = position;
            store->begin_wanted = false;
        }
        store->batch_begun = true;
        store->last_record = position;
        store->server->log.appends++;
        store->server->log.append_bytes += bytes;
        store->unseen_bytes += bytes + RECORD_OVERHEAD_BYTES;
        chain_consume(pending, bytes);
    }
    return status;
}

static bool drain(struct store *store, time_ns_t now_ns)
{
    struct journal *journal = &store->server->database.journal;
    bool appended = false;

    if (chain_bytes(&journal->pending) == 0 || store->failure != STATUS_OK) {
        return false;
    }
    if (!store->draining) {
        store->draining = true;
        store->batch_begun = false;
        store->batch_end = journal->pending.put_bytes;
    }
    while (journal->pending.got_bytes != store->batch_end) {
        status_t status = append_record(store);
        if (status == STATUS_WOULD_BLOCK || status == STATUS_FULL) {
            break; /* until buffers are free, or the log is trimmed */
        }
        if (status != STATUS_OK) {
            store->failure = status;
            return true;
        }
        appended = true;
    }
    if (journal->pending.got_bytes == store->batch_end) {
        store->draining = false;
        note_batch(store);
    }
    if (appended) {
        loglet_commit(store->log, now_ns);
    }
    return appended;
}

static bool take_durable(struct store *store)
{
    log_position_t durable = loglet_durable(store->log);
    bool any = false;

    while (store->count != 0 && store->batches[store->first].record < durable) {
        server_set_durable(store->server, store->batches[store->first].position);
        store->first = (store->first + 1) % BATCHES_MAX;
        store->count--;
        any = true;
    }
    return any;
}

/* ---- appendfsync ------------------------------------------------------------------------------
 */

static void flush(struct store *store, time_ns_t now_ns)
{
    if (loglet_accepted(store->log) != loglet_durable(store->log)) {
        loglet_flush(store->log, now_ns);
        store->server->log.flushes++;
    }
}

static bool flush_waits(const struct store *store)
{
    return store->durability == DURABILITY_EVERYSEC &&
           loglet_accepted(store->log) != loglet_durable(store->log);
}

/* always: each frame is written with Force Unit Access. everysec: frames go into the drive's cache,
 * which is flushed when a second is over. no: it is flushed for checkpoints and at the end. */
static void keep_durability(struct store *store, time_ns_t now_ns)
{
    enum durability wanted = store->server->config.durability;

    if (wanted != store->durability) {
        store->durability = wanted;
        loglet_set_relaxed(store->log, wanted != DURABILITY_ALWAYS, now_ns);
    }
    if (flush_waits(store) && now_ns >= store->flush_due) {
        flush(store, now_ns);
        store->flush_due = now_ns + SECOND_NS;
    }
}

/* ---- Checkpoints ------------------------------------------------------------------------------
 */

static bool checkpoint_due(const struct store *store)
{
    uint64_t live = server_used_memory(store->server);
    uint64_t used = loglet_used_bytes(store->log);
    uint64_t capacity = loglet_capacity_bytes(store->log);

    /* Worth while when most of the log is not needed; due before a checkpoint would not fit. */
    if (store->server->database.checkpoint_wanted) {
        return true;
    }
    return used > capacity / 4 &&
           (used > 4 * live + SPACE_MARGIN_BYTES || capacity - used < 2 * live + capacity / 8);
}

static bool carry_checkpoint(struct store *store, time_ns_t now_ns)
{
    struct database *database = &store->server->database;
    struct journal *journal = &database->journal;

    if (store->trim_wanted) {
        if (journal->durable < store->checkpoint_end) {
            flush(store, now_ns); /* strict frames come by themselves; relaxed ones do not */
            return false;
        }
        store->trim_wanted = false;
        if (store->begin_wanted) { /* there was nothing to write, nor is there anything to keep */
            store->begin_wanted = false;
            store->checkpoint_begin = loglet_durable(store->log);
        }
        status_t status = loglet_trim(store->log, store->checkpoint_begin);
        if (status != STATUS_OK) {
            log_line("log: trim after a checkpoint: %s", status_text(status));
        }
        database_checkpoint_end(database, status);
        store->server->log.base_bytes = loglet_used_bytes(store->log);
        return true;
    }
    if (!database->checkpointing) {
        /* Begins with a batch of its own, whose first record it keeps. */
        if (chain_bytes(&journal->pending) != 0 || !checkpoint_due(store)) {
            return false;
        }
        store->begin_wanted = true;
        database_checkpoint_begin(database);
    }
    if (chain_bytes(&journal->pending) > CHECKPOINT_PENDING_BYTES) {
        return false;
    }
    uint64_t before = journal_position(journal);
    if (database_checkpoint_step(database, CHECKPOINT_STEP_BYTES) == STATUS_OK) {
        store->checkpoint_end = journal_position(journal);
        store->trim_wanted = true;
        return true;
    }
    return journal_position(journal) != before;
}

/* ---- Running ----------------------------------------------------------------------------------
 */

/* Whether space or checkpoints need a look now. A log with plenty of room is looked at now and
 * then. */
static bool look_wanted(const struct store *store, bool worked)
{
    const struct database *database = &store->server->database;

    return database->checkpointing || database->checkpoint_wanted ||
           (worked && (store->crowded || store->trim_wanted || store->unseen_bytes >= LOOK_BYTES));
}

static void check_failure(struct store *store)
{
    status_t state = loglet_state(store->log);

    if (store->failure == STATUS_OK && state != STATUS_OK) {
        store->failure = state;
    }
    if (store->failure != STATUS_OK && store->server->database.checkpoint_open) {
        database_checkpoint_end(&store->server->database, store->failure);
    }
    if (store->failure != STATUS_OK && store->server->database.journal.refusal == STATUS_OK) {
        log_line("log: %s; changes are refused from now on, reads go on",
                 status_text(store->failure));
        server_log_failed(store->server, store->failure);
    }
}

/* Until when there is nothing to do: 0 while something is under way. */
static time_ns_t quiet_until(struct store *store)
{
    const struct database *database = &store->server->database;

    if (store->failure != STATUS_OK || store->count != 0 || loglet_device_busy(store->device) ||
        database->checkpointing || store->trim_wanted ||
        store->nvme.admin.free_count != store->nvme.admin.depth) {
        return 0;
    }
    store->quiet_until = 0;
    return store_deadline(store);
}

bool store_run(struct kvstore *kvstore, time_ns_t now_ns)
{
    struct store *store = &kvstore->store;

    kvstore_round_time(kvstore);
    keep_durability(store, now_ns);
    bool worked = drain(store, now_ns);

    worked = loglet_device_poll(store->device, now_ns) != 0 || worked;
    worked = take_durable(store) || worked;
    check_failure(store);
    if (store->failure == STATUS_OK && look_wanted(store, worked)) {
        look_at_space(store);
        worked = carry_checkpoint(store, now_ns) || worked;
    }
    store->quiet_until = worked ? 0 : quiet_until(store);
    return worked;
}

bool store_arm(struct store *store)
{
    struct block_device *block = store->block;

    /* With nothing under way the drive has nothing to tell. */
    return store->quiet_until != 0 || block->ops->arm(block);
}

void store_disarm(struct store *store)
{
    struct block_device *block = store->block;

    if (store->quiet_until == 0) {
        block->ops->disarm(block);
    }
}

time_ns_t store_deadline(struct store *store)
{
    struct block_device *block = store->block;

    if (store->quiet_until != 0) {
        return store->quiet_until;
    }
    time_ns_t due = block->ops->next_due(block);
    return flush_waits(store) && store->flush_due < due ? store->flush_due : due;
}

void store_close(struct kvstore *kvstore)
{
    struct store *store = &kvstore->store;
    struct journal *journal = &kvstore->server.database.journal;

    while (store->failure == STATUS_OK && chain_bytes(&journal->pending) != 0) {
        (void)store_poll(kvstore, kvstore_now(kvstore));
        kvstore_pause(kvstore);
    }
    loglet_device_close(store->device);
    while (loglet_device_state(store->device) == STATUS_AGAIN) {
        (void)loglet_device_poll(store->device, kvstore_now(kvstore));
        kvstore_pause(kvstore);
    }
    nvme_stop(&store->nvme, kvstore_now(kvstore));
    while (nvme_state(&store->nvme) != NVME_STOPPED && nvme_state(&store->nvme) != NVME_DEAD) {
        struct block_completion none;
        (void)nvme_poll(&store->nvme.port, &none, 1, kvstore_now(kvstore));
        (void)nvme_poll(&store->zones_port, &none, 1, kvstore_now(kvstore));
        kvstore_pause(kvstore);
    }
}
