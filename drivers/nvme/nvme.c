// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The controller's life (Base 3.1.5, 7.6):
 *
 *   nvme_start --> DISABLING --RDY=0--> ENABLING --RDY=1--> SETTING_UP --queues made--> READY
 *                      ^                    |                    |                        |
 *                      +------ reset: late command, fatal status, protocol violation -----+
 *   more than NVME_RESETS_MAX in a row, or no answer to CC.EN: --> DEAD
 *   nvme_stop: READY --> STOPPING (queues deleted, CC.SHN) --SHST complete--> STOPPED
 */
#include "drivers/nvme/nvme.h"

#include "drivers/nvme/nvme_internal.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"

#define STATE_DEADLINE_MIN_NS (60ull * 1000 * 1000 * 1000)

static time_ns_t state_deadline(const struct nvme *nvme, time_ns_t now_ns)
{
    uint64_t told_ns = (uint64_t)NVME_CAP_TO(nvme->capabilities) * 500u * 1000 * 1000;

    return now_ns + (told_ns > STATE_DEADLINE_MIN_NS ? told_ns : STATE_DEADLINE_MIN_NS);
}

static void enter(struct nvme *nvme, enum nvme_state state, time_ns_t now_ns)
{
    nvme->state = state;
    nvme->step = 0;
    nvme->port_index = 0;
    nvme->secondary_rounds = 0;
    nvme->asking = false;
    nvme->setup_queue = NULL;
    nvme->state_deadline_ns = state_deadline(nvme, now_ns);
}

/* Ports of the owner's own thread follow at once, the others when they look. */
static void set_grants(struct nvme *nvme, uint32_t grant)
{
    for (uint32_t i = 0; i < nvme->port_count; i++) {
        struct nvme_port *port = nvme->ports[i];
        __atomic_store_n(&port->grant, grant, __ATOMIC_SEQ_CST);
        if (!port->own_thread) {
            nvme_port_follow(port);
        }
    }
}

static void note_failure(struct nvme *nvme, status_t why)
{
    nvme->last_error = why;
    for (uint32_t i = 0; i < nvme->port_count; i++) {
        nvme->ports[i]->failed_status =
            why == STATUS_DEVICE_TIMEOUT ? STATUS_DEVICE_TIMEOUT : STATUS_DEVICE_ERROR;
    }
}

static void die(struct nvme *nvme, status_t why)
{
    note_failure(nvme, why);
    nvme->state = nvme->stop_wanted ? NVME_STOPPED : NVME_DEAD;
    set_grants(nvme, NVME_GRANT_DEAD);
}

/* Takes the queues back and disables the controller. What was outstanding is given back once it
 * says that it is disabled. */
static void disable(struct nvme *nvme, time_ns_t now_ns)
{
    uint32_t configuration = nvme_register(nvme, NVME_REG_CC);

    nvme->reset_wanted = false;
    nvme->shadows_used = false;
    set_grants(nvme, 0);
    nvme->shared_armed = 0;
    for (uint32_t i = 0; i < nvme->port_count; i++) {
        struct nvme_port *port = nvme->ports[i];
        port->reset_status = STATUS_OK;
        port->abort_key = 0;
        if (!port->own_thread) {
            port->parked = false;
            nvme_fill_vector(port);
        }
    }
    nvme_set_register(nvme, NVME_REG_CC, configuration & ~NVME_CC_EN);
    enter(nvme, NVME_DISABLING, now_ns);
}

static uint64_t completed_in_all(const struct nvme *nvme)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < nvme->port_count; i++) {
        sum += nvme->ports[i]->counters.completed;
    }
    return sum;
}

static void reset(struct nvme *nvme, status_t why, time_ns_t now_ns)
{
    uint64_t completed = completed_in_all(nvme);

    note_failure(nvme, why);
    nvme->counters.resets++;
    nvme->resets_in_row = completed != nvme->completed_at_reset ? 0 : nvme->resets_in_row;
    nvme->completed_at_reset = completed;
    if (++nvme->resets_in_row > NVME_RESETS_MAX) {
        nvme_set_register(nvme, NVME_REG_CC, nvme_register(nvme, NVME_REG_CC) & ~NVME_CC_EN);
        die(nvme, why);
        return;
    }
    disable(nvme, now_ns);
}

/* Whether no port's thread is at its queue, so that queues may be made anew. */
static bool ports_are_quiet(struct nvme *nvme)
{
    for (uint32_t i = 0; i < nvme->port_count; i++) {
        struct nvme_port *port = nvme->ports[i];
        if (port->own_thread && __atomic_load_n(&port->epoch, __ATOMIC_SEQ_CST) != 0 &&
            !port->parked) {
            return false;
        }
    }
    return true;
}

static void enable(struct nvme *nvme, time_ns_t now_ns)
{
    const struct dma_region *dma = &nvme->config.dma;
    uint64_t submissions = dma_device_address(dma, (size_t)NVME_PAGE_ADMIN_SQ * PAGE_BYTES);
    uint64_t completions = dma_device_address(dma, (size_t)NVME_PAGE_ADMIN_CQ * PAGE_BYTES);
    volatile uint8_t *registers = nvme->config.registers;
    uint32_t configuration = NVME_CC_ENTRY_SIZES | NVME_CC_EN;

    if ((nvme->capabilities & NVME_CAP_CSS_IO_SETS) != 0) {
        configuration |= NVME_CC_CSS_IO_SETS;
    }
    for (uint32_t i = 0; i < NVME_QUEUE_ENTRIES; i++) {
        nvme->admin.slots[i].key &= ~NVME_IN_FLIGHT;
    }
    nvme_queue_init(nvme, &nvme->admin, 0, dma->base + (size_t)NVME_PAGE_ADMIN_SQ * PAGE_BYTES,
                    dma->base + (size_t)NVME_PAGE_ADMIN_CQ * PAGE_BYTES);
    nvme_set_register(nvme, NVME_REG_AQA,
                      (nvme->admin.cq_entries - 1u) << 16 | (nvme->admin.sq_entries - 1u));
    mmio_write32(registers + NVME_REG_ASQ, (uint32_t)submissions);
    mmio_write32(registers + NVME_REG_ASQ + 4, (uint32_t)(submissions >> 32));
    mmio_write32(registers + NVME_REG_ACQ, (uint32_t)completions);
    mmio_write32(registers + NVME_REG_ACQ + 4, (uint32_t)(completions >> 32));
    nvme_set_register(nvme, NVME_REG_CC, configuration);
    enter(nvme, NVME_ENABLING, now_ns);
}

/* Prepares a port; everything else of it is zero. */
static void add_port(struct nvme *nvme, const struct nvme_port_config *config)
{
    struct nvme_port *port = config->port;

    port->block.ops = &nvme_block_ops;
    port->nvme = nvme;
    port->command_ns = nvme->config.deadline_ns;
    port->data = nvme->config.data;
    port->dma = config->dma;
    port->prp_lists = port->dma.base + (size_t)NVME_PAGE_PRP_LISTS * PAGE_BYTES;
    port->wanted_namespace = config->namespace_id;
    port->own_thread = config->own_thread;
    port->own_vector = config->vector.entry != NULL && nvme->port_count != 0;
    port->vector = port->own_vector || nvme->port_count == 0 ? config->vector : nvme->config.vector;
    if (port->own_thread && !port->own_vector) {
        port->vector.entry = NULL; /* its thread cannot share the other's interrupt: it polls */
    }
    nvme->ports[nvme->port_count++] = port;
    port->submissions = port->dma.base + (size_t)NVME_PAGE_IO_SQ * PAGE_BYTES;
    port->submissions_address = dma_device_address(&port->dma, NVME_PAGE_IO_SQ * PAGE_BYTES);
    nvme_queue_init(nvme, &port->queue, (uint16_t)nvme->port_count, port->submissions,
                    port->dma.base + (size_t)NVME_PAGE_IO_CQ * PAGE_BYTES);
}

static void add_ports(struct nvme *nvme)
{
    const struct nvme_config *config = &nvme->config;
    struct nvme_port_config first = {.port = &nvme->port,
                                     .namespace_id = config->namespace_id,
                                     .vector = config->vector,
                                     .dma = dma_part(&config->dma, 0, NVME_PORT_MEMORY_BYTES)};

    add_port(nvme, &first);
    for (uint32_t i = 0; i < config->more_count; i++) {
        memset(config->more_ports[i].port, 0, sizeof *config->more_ports[i].port);
        add_port(nvme, &config->more_ports[i]);
    }
    for (uint32_t i = 0; i < nvme->port_count; i++) {
        struct nvme_port *port = nvme->ports[i];
        for (uint32_t k = 0; k < nvme->port_count; k++) {
            port->shares = port->shares || (!port->own_thread && nvme->ports[k]->own_thread);
        }
        if (port->own_vector) {
            nvme_fill_vector(port);
        }
    }
}

static bool ports_are_right(const struct nvme_config *config)
{
    for (uint32_t i = 0; i < config->more_count && i < NVME_PORTS_MAX; i++) {
        const struct nvme_port_config *port = &config->more_ports[i];
        if (port->port == NULL || port->dma.bytes < NVME_PORT_MEMORY_BYTES ||
            (port->vector.entry != NULL && port->vector.index == 0)) {
            return false;
        }
    }
    return config->more_count < NVME_PORTS_MAX;
}

status_t nvme_start(struct nvme *nvme, const struct nvme_config *config, time_ns_t now_ns)
{
    const volatile uint8_t *registers = config->registers;

    if (registers == NULL || config->register_bytes < NVME_REG_DOORBELLS + PAGE_BYTES ||
        config->dma.bytes < NVME_QUEUE_MEMORY_BYTES || config->data.bytes == 0 ||
        !ports_are_right(config)) {
        return STATUS_INVALID_ARGUMENT;
    }
    uint64_t low = mmio_read32(registers + NVME_REG_CAP);
    uint64_t capabilities = (uint64_t)mmio_read32(registers + NVME_REG_CAP + 4) << 32 | low;
    uint64_t queues = 2u + config->more_count; /* with the admin queue, two doorbells each */
    uint64_t doorbell_end =
        NVME_REG_DOORBELLS + queues * (2u * 4ull << NVME_CAP_DSTRD(capabilities));
    if (NVME_CAP_MPSMIN(capabilities) != 0 || NVME_CAP_MQES(capabilities) == 0 ||
        (capabilities & (NVME_CAP_CSS_NVM | NVME_CAP_CSS_IO_SETS)) == 0) {
        return STATUS_UNSUPPORTED;
    }
    if (doorbell_end > config->register_bytes) {
        return STATUS_INVALID_ARGUMENT;
    }
    memset(nvme, 0, sizeof *nvme);
    nvme->config = *config;
    if (nvme->config.deadline_ns == 0) {
        nvme->config.deadline_ns = NVME_DEFAULT_DEADLINE_NS;
    }
    nvme->capabilities = capabilities;
    nvme->version = nvme_register(nvme, NVME_REG_VS);
    nvme->identify = nvme->config.dma.base + (size_t)NVME_PAGE_IDENTIFY * PAGE_BYTES;
    add_ports(nvme);
    nvme_take_controller_memory(nvme);
    nvme->config.more_ports = NULL;
    disable(nvme, now_ns);
    return STATUS_OK;
}

/* Has the ports of this thread polled again at once: there is something to do. */
static void attend(struct nvme *nvme)
{
    for (uint32_t i = 0; i < nvme->port_count; i++) {
        if (!nvme->ports[i]->own_thread) {
            nvme->ports[i]->next_check_ns = 0;
        }
    }
}

void nvme_admin_submit(struct nvme *nvme, struct nvme_command *command, uint8_t purpose,
                       time_ns_t now_ns)
{
    struct nvme_command_slot *slot = nvme_queue_push(&nvme->admin, command);

    slot->operation = purpose;
    slot->deadline_ns = now_ns + nvme->config.deadline_ns;
    nvme->state_deadline_ns = slot->deadline_ns;
    nvme_queue_ring(&nvme->admin, &nvme->counters);
    attend(nvme);
}

/* Aborts what the ports ask for. What finds no room waits until one of those before it is done. */
static void abort_commands(struct nvme *nvme, time_ns_t now_ns)
{
    for (uint32_t i = 0; i < nvme->port_count && nvme->admin.free_count != 0; i++) {
        struct nvme_port *port = nvme->ports[i];
        struct nvme_command command = {0};
        uint32_t key = __atomic_load_n(&port->abort_key, __ATOMIC_ACQUIRE);
        if (key == 0) {
            continue;
        }
        command.word[0] = NVME_ADMIN_ABORT;
        command.word[10] = key << 16 | port->queue.id;
        port->abort_key = 0;
        nvme_admin_submit(nvme, &command, NVME_FOR_ABORT, now_ns);
    }
}

/* Looks at what the ports ask for, and whether the controller still lives. False: it does not. */
static bool check(struct nvme *nvme, time_ns_t now_ns)
{
    status_t why = nvme->reset_wanted ? STATUS_CORRUPT : STATUS_OK;
    bool late = false;

    for (uint32_t i = 0; i < nvme->port_count; i++) {
        late = late || nvme->ports[i]->abort_key != 0;
        why = why == STATUS_OK ? nvme->ports[i]->reset_status : why;
    }
    if (late || why != STATUS_OK) {
        uint32_t status = nvme_register(nvme, NVME_REG_CSTS);
        if (status == NVME_REGISTER_GONE) {
            die(nvme, STATUS_DEVICE_ERROR);
            return false;
        }
        why = (status & NVME_CSTS_CFS) != 0 ? STATUS_DEVICE_ERROR : why;
    }
    if (why != STATUS_OK) {
        reset(nvme, why, now_ns);
        return false;
    }
    abort_commands(nvme, now_ns);
    return true;
}

/* Admin completions while the I/O queues are in use: of aborts and of questions. */
static void reap_admin(struct nvme *nvme, time_ns_t now_ns)
{
    struct nvme_result result;
    uint8_t purpose;

    while (nvme->admin.free_count != nvme->admin.depth &&
           nvme_reap_one(nvme, &nvme->admin, &result, &purpose)) {
        if (purpose == NVME_FOR_QUESTION) {
            nvme_take_answer(nvme, &result, now_ns);
        }
    }
    if (nvme->admin.free_count != nvme->admin.depth && now_ns >= nvme->state_deadline_ns) {
        nvme->counters.timeouts++;
        reset(nvme, STATUS_DEVICE_TIMEOUT, now_ns);
    }
}

/* Every port may use its queue from now on. Those of this thread were renewed already. */
static void lend_queues(struct nvme *nvme)
{
    uint32_t grant = nvme->grants + 1u < NVME_GRANT_DEAD ? nvme->grants + 1u : 1u;

    nvme->grants = grant;
    for (uint32_t i = 0; i < nvme->port_count; i++) {
        struct nvme_port *port = nvme->ports[i];
        port->geometry_known = true;
        if (!port->own_thread) {
            port->epoch = grant;
        }
        __atomic_store_n(&port->grant, grant, __ATOMIC_RELEASE);
    }
}

static void begin_stopping(struct nvme *nvme, time_ns_t now_ns)
{
    for (uint32_t i = 0; i < nvme->port_count; i++) {
        nvme->ports[i]->grant |= NVME_GRANT_CLOSED;
    }
    enter(nvme, NVME_STOPPING, now_ns);
    attend(nvme);
}

/* Commands come back first, or time out. */
static bool ports_are_idle(const struct nvme *nvme)
{
    for (uint32_t i = 0; i < nvme->port_count; i++) {
        const struct nvme_port *port = nvme->ports[i];
        if (port->queue.free_count + port->local_count != port->queue.depth) {
            return false;
        }
    }
    return true;
}

static void set_up(struct nvme *nvme, time_ns_t now_ns)
{
    struct nvme_result result;
    uint8_t purpose;
    bool first = nvme->setup_queue == NULL;

    if (!first && !nvme_reap_one(nvme, nvme->setup_queue, &result, &purpose)) {
        if (nvme->reset_wanted) {
            reset(nvme, STATUS_CORRUPT, now_ns);
        } else if (now_ns >= nvme->state_deadline_ns) {
            nvme->counters.timeouts++;
            reset(nvme, STATUS_DEVICE_TIMEOUT, now_ns);
        }
        return;
    }
    status_t status = nvme_setup_step(nvme, first ? NULL : &result, now_ns);
    if (status == STATUS_OK) {
        nvme->state = NVME_READY;
        lend_queues(nvme);
        if (nvme->stop_wanted) {
            begin_stopping(nvme, now_ns);
        }
    } else if (status != STATUS_AGAIN) {
        nvme->counters.errors++;
        nvme_set_register(nvme, NVME_REG_CC, nvme_register(nvme, NVME_REG_CC) & ~NVME_CC_EN);
        die(nvme, status);
    }
}

/* Queues deleted, CC.SHN written, CSTS.SHST awaited (Base 7.6.2). */
static void stop_step(struct nvme *nvme, time_ns_t now_ns)
{
    struct nvme_result result;
    uint8_t purpose;

    if (!ports_are_idle(nvme)) {
        return;
    }
    if (!nvme->shut_down) {
        bool first = nvme->step == 0 && nvme->admin.free_count == nvme->admin.depth;
        if (!first && !nvme_reap_one(nvme, &nvme->admin, &result, &purpose)) {
            if (now_ns >= nvme->state_deadline_ns) {
                die(nvme, STATUS_DEVICE_TIMEOUT);
            }
            return;
        }
        if (!first && purpose != NVME_FOR_SETUP) {
            return;
        }
        if (nvme_teardown_step(nvme, first ? NULL : &result, now_ns) == STATUS_OK) {
            nvme_set_register(nvme, NVME_REG_CC,
                              nvme_register(nvme, NVME_REG_CC) | NVME_CC_SHN_NORMAL);
            nvme->shut_down = true;
            nvme->state_deadline_ns = state_deadline(nvme, now_ns);
        }
        return;
    }
    uint32_t status = nvme_register(nvme, NVME_REG_CSTS);
    if (NVME_CSTS_SHST(status) == NVME_SHST_COMPLETE) {
        nvme_set_register(nvme, NVME_REG_CC, nvme_register(nvme, NVME_REG_CC) & ~NVME_CC_EN);
        nvme->state = NVME_STOPPED;
        set_grants(nvme, 0);
    } else if (now_ns >= nvme->state_deadline_ns || status == NVME_REGISTER_GONE) {
        die(nvme, STATUS_DEVICE_TIMEOUT);
    }
}

/* The controller is disabled: what was outstanding on this thread's ports goes back, and once no
 * other thread is at its queue it is brought up again. */
static void go_on_disabled(struct nvme *nvme, time_ns_t now_ns)
{
    nvme_enable_controller_memory(nvme); /* queues may lie there */
    for (uint32_t i = 0; i < nvme->port_count; i++) {
        if (!nvme->ports[i]->own_thread) {
            nvme_port_renew(nvme->ports[i]);
        }
    }
    if (nvme->stop_wanted) {
        nvme->state = NVME_STOPPED;
    } else if (ports_are_quiet(nvme)) {
        enable(nvme, now_ns);
    } else if (now_ns >= nvme->state_deadline_ns) {
        die(nvme,
            STATUS_TIMED_OUT); /* a thread neither polls nor sleeps: its queue stays its own */
    }
}

static void wait_for_ready(struct nvme *nvme, bool ready, time_ns_t now_ns)
{
    uint32_t status = nvme_register(nvme, NVME_REG_CSTS);

    if (status == NVME_REGISTER_GONE) {
        die(nvme, STATUS_DEVICE_ERROR);
    } else if (((status & NVME_CSTS_RDY) != 0) == ready) {
        if (ready) {
            enter(nvme, NVME_SETTING_UP, now_ns);
        } else {
            go_on_disabled(nvme, now_ns);
        }
    } else if (ready && (status & NVME_CSTS_CFS) != 0) {
        reset(nvme, STATUS_DEVICE_ERROR, now_ns);
    } else if (now_ns >= nvme->state_deadline_ns) {
        nvme->counters.timeouts++;
        die(nvme, STATUS_DEVICE_TIMEOUT);
    }
}

static void advance(struct nvme *nvme, time_ns_t now_ns)
{
    switch (nvme->state) {
    case NVME_DISABLING:
        wait_for_ready(nvme, false, now_ns);
        break;
    case NVME_ENABLING:
        wait_for_ready(nvme, true, now_ns);
        break;
    case NVME_SETTING_UP:
        set_up(nvme, now_ns);
        break;
    case NVME_STOPPING:
        stop_step(nvme, now_ns);
        break;
    default:
        break;
    }
}

/* The controller's part of polling. */
static void manage(struct nvme *nvme, time_ns_t now_ns)
{
    bool running = nvme->state == NVME_READY || nvme->state == NVME_STOPPING;

    if (running && !check(nvme, now_ns)) {
        attend(nvme);
        return;
    }
    if (nvme->state == NVME_READY) {
        reap_admin(nvme, now_ns);
    } else {
        advance(nvme, now_ns);
    }
    if (nvme->state == NVME_READY ? nvme->admin.free_count != nvme->admin.depth
                                  : nvme->state != NVME_DEAD && nvme->state != NVME_STOPPED) {
        attend(nvme);
    }
}

void nvme_poll_slowly(struct nvme_port *port, time_ns_t now_ns)
{
    struct nvme *nvme = port->nvme;

    nvme_port_check(port, now_ns);
    if (port->own_thread) {
        return;
    }
    if (port->shares && port->next_check_ns > now_ns + NVME_OWNER_CHECK_NS) {
        port->next_check_ns = now_ns + NVME_OWNER_CHECK_NS;
    }
    manage(nvme, now_ns);
}

void nvme_stop(struct nvme *nvme, time_ns_t now_ns)
{
    nvme->stop_wanted = true;
    if (nvme->state == NVME_READY) {
        for (uint32_t i = 0; i < nvme->port_count; i++) {
            nvme_disarm(nvme->ports[i]);
        }
        begin_stopping(nvme, now_ns);
    } else if (nvme->state == NVME_DEAD) {
        nvme->state = NVME_STOPPED;
    }
}

void nvme_count_all(const struct nvme *nvme, struct nvme_counters *sum)
{
    *sum = nvme->counters;
    for (uint32_t i = 0; i < nvme->port_count; i++) {
        const struct nvme_counters *of = &nvme->ports[i]->counters;
        sum->submitted += of->submitted;
        sum->completed += of->completed;
        sum->errors += of->errors;
        sum->doorbells += of->doorbells;
        sum->shadowed += of->shadowed;
        sum->timeouts += of->timeouts;
        sum->aborts += of->aborts;
        sum->violations += of->violations;
    }
}
