// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * From an enabled controller to usable namespaces, one command at a time (Base 7.6.1):
 *
 *   controller -> [shadow doorbells] -> namespaces -> queue count
 *     -> for each port: [descriptors -> [set controller]] -> namespace -> [set namespace]
 *                       -> completion queue -> submission queue
 *     -> [for each port: placement handles, asked through the first port's queue]
 *     -> [secondary controllers: for the first that is offline: queues -> interrupt -> online ->
 *         secondary controllers again] -> done
 *
 * and back again for a shutdown: for each port submission queue -> completion queue -> done.
 */
#include "drivers/nvme/nvme_internal.h"
#include "lib/base/bytes.h"

enum setup_step {
    SETUP_CONTROLLER,
    SETUP_SHADOW,
    SETUP_NAMESPACES,
    SETUP_QUEUE_COUNT,
    SETUP_DESCRIPTORS, /* from here on of one port */
    SETUP_SET_CONTROLLER,
    SETUP_NAMESPACE,
    SETUP_SET_NAMESPACE,
    SETUP_COMPLETION_QUEUE,
    SETUP_SUBMISSION_QUEUE,
    SETUP_PLACEMENTS,
    SETUP_SECONDARIES,
    SETUP_SECONDARY_QUEUES,
    SETUP_SECONDARY_INTERRUPT,
    SETUP_SECONDARY_ONLINE,
    SETUP_DONE
};

static void submit_step(struct nvme *nvme, struct nvme_command *command, time_ns_t now_ns)
{
    nvme->setup_queue = &nvme->admin;
    nvme_admin_submit(nvme, command, NVME_FOR_SETUP, now_ns);
}

static void identify(struct nvme *nvme, uint32_t cns, uint32_t namespace_id, time_ns_t now_ns)
{
    bool of_set = cns == NVME_CNS_SET_CONTROLLER || cns == NVME_CNS_SET_NAMESPACE;

    nvme->setup_queue = &nvme->admin;
    nvme_identify(nvme, cns, namespace_id, of_set ? nvme->ports[nvme->port_index]->command_set : 0,
                  NVME_FOR_SETUP, now_ns);
}

static void create_queue(struct nvme *nvme, uint32_t opcode, time_ns_t now_ns)
{
    const struct nvme_port *port = nvme->ports[nvme->port_index];
    struct nvme_command command = {0};
    bool completion = opcode == NVME_ADMIN_CREATE_CQ;
    uint64_t address = completion ? dma_device_address(&port->dma, NVME_PAGE_IO_CQ * PAGE_BYTES)
                                  : port->submissions_address;
    uint32_t entries = completion ? port->queue.cq_entries : port->queue.sq_entries;
    uint32_t id = port->queue.id;
    uint32_t interrupt = port->vector.entry != NULL ? port->vector.index << 16 | 2u : 0u;

    command.word[0] = opcode;
    command.word[6] = (uint32_t)address;
    command.word[7] = (uint32_t)(address >> 32);
    command.word[10] = (entries - 1u) << 16 | id;
    command.word[11] = completion ? interrupt | 1u : id << 16 | 1u; /* contiguous */
    submit_step(nvme, &command, now_ns);
}

static void delete_queue(struct nvme *nvme, uint32_t opcode, time_ns_t now_ns)
{
    struct nvme_command command = {0};

    command.word[0] = opcode;
    command.word[10] = nvme->ports[nvme->step / 2u]->queue.id;
    submit_step(nvme, &command, now_ns);
}

/* I/O Management Receive is an I/O command, so the first port's queue carries it. */
static void ask_placements(struct nvme *nvme, time_ns_t now_ns)
{
    struct nvme_command command = {0};
    struct nvme_port *first = nvme->ports[0];
    uint32_t bytes = NVME_PLACEMENT_HEADER_BYTES + NVME_PLACEMENTS_MAX * NVME_PLACEMENT_BYTES;
    uint64_t address =
        dma_device_address(&nvme->config.dma, (size_t)NVME_PAGE_IDENTIFY * PAGE_BYTES);

    memset(nvme->identify, 0, PAGE_BYTES);
    command.word[0] = NVME_IO_MANAGEMENT_RECEIVE;
    command.word[1] = nvme->ports[nvme->port_index]->namespace_id;
    command.word[6] = (uint32_t)address;
    command.word[7] = (uint32_t)(address >> 32);
    command.word[10] = NVME_PLACEMENT_STATUS;
    command.word[11] = bytes / 4u - 1u;
    nvme->setup_queue = &first->queue;
    nvme->state_deadline_ns = now_ns + nvme->config.deadline_ns;
    (void)nvme_queue_push(&first->queue, &command);
    nvme_queue_ring(&first->queue, &first->counters);
}

/* Doorbell Buffer Config (Base 5.7): where the shadows and the events lie. */
static void configure_shadows(struct nvme *nvme, time_ns_t now_ns)
{
    const struct dma_region *dma = &nvme->config.dma;
    uint64_t shadow = dma_device_address(dma, (size_t)NVME_PAGE_SHADOW * PAGE_BYTES);
    uint64_t events = dma_device_address(dma, (size_t)NVME_PAGE_EVENTS * PAGE_BYTES);
    struct nvme_command command = {0};

    memset(dma->base + (size_t)NVME_PAGE_SHADOW * PAGE_BYTES, 0, 2u * PAGE_BYTES);
    command.word[0] = NVME_ADMIN_SHADOW_DOORBELLS;
    command.word[6] = (uint32_t)shadow;
    command.word[7] = (uint32_t)(shadow >> 32);
    command.word[8] = (uint32_t)events;
    command.word[9] = (uint32_t)(events >> 32);
    submit_step(nvme, &command, now_ns);
}

/* Virtualization Management (Base 5.22) of the secondary controller at hand. */
static void manage_secondary(struct nvme *nvme, uint32_t action, uint32_t number, time_ns_t now_ns)
{
    struct nvme_command command = {0};

    command.word[0] = NVME_ADMIN_VIRTUALIZATION;
    command.word[10] = nvme->secondary << 16 | action;
    command.word[11] = number;
    submit_step(nvme, &command, now_ns);
}

static void start_step(struct nvme *nvme, time_ns_t now_ns)
{
    struct nvme_command command = {0};
    const struct nvme_port *port = nvme->ports[nvme->port_index];

    switch (nvme->step) {
    case SETUP_CONTROLLER:
        identify(nvme, NVME_CNS_CONTROLLER, 0, now_ns);
        break;
    case SETUP_SHADOW:
        configure_shadows(nvme, now_ns);
        break;
    case SETUP_NAMESPACES:
        identify(nvme, NVME_CNS_ACTIVE_NAMESPACES, 0, now_ns);
        break;
    case SETUP_DESCRIPTORS:
        identify(nvme, NVME_CNS_DESCRIPTORS, port->namespace_id, now_ns);
        break;
    case SETUP_SET_CONTROLLER:
        identify(nvme, NVME_CNS_SET_CONTROLLER, 0, now_ns);
        break;
    case SETUP_NAMESPACE:
        identify(nvme, NVME_CNS_NAMESPACE, port->namespace_id, now_ns);
        break;
    case SETUP_SET_NAMESPACE:
        identify(nvme, NVME_CNS_SET_NAMESPACE, port->namespace_id, now_ns);
        break;
    case SETUP_QUEUE_COUNT:
        command.word[0] = NVME_ADMIN_SET_FEATURES;
        command.word[10] = NVME_FEATURE_QUEUES; /* word 11: 0-based counts, as many of each */
        command.word[11] = (nvme->port_count - 1u) << 16 | (nvme->port_count - 1u);
        submit_step(nvme, &command, now_ns);
        break;
    case SETUP_COMPLETION_QUEUE:
        create_queue(nvme, NVME_ADMIN_CREATE_CQ, now_ns);
        break;
    case SETUP_SUBMISSION_QUEUE:
        create_queue(nvme, NVME_ADMIN_CREATE_SQ, now_ns);
        break;
    case SETUP_PLACEMENTS:
        ask_placements(nvme, now_ns);
        break;
    case SETUP_SECONDARIES:
        identify(nvme, NVME_CNS_SECONDARIES, 0, now_ns);
        break;
    case SETUP_SECONDARY_QUEUES: /* the admin queue and one more */
        manage_secondary(nvme, NVME_VIRTUAL_ASSIGN | NVME_VIRTUAL_QUEUES, 2, now_ns);
        break;
    case SETUP_SECONDARY_INTERRUPT:
        manage_secondary(nvme, NVME_VIRTUAL_ASSIGN | NVME_VIRTUAL_INTERRUPTS, 1, now_ns);
        break;
    default:
        manage_secondary(nvme, NVME_VIRTUAL_ONLINE, 0, now_ns);
        break;
    }
}

/* The namespace that the port wants. */
static status_t choose_namespace(struct nvme *nvme)
{
    struct nvme_port *port = nvme->ports[nvme->port_index];
    uint32_t wanted = port->wanted_namespace;

    for (uint32_t i = 0; i < nvme->namespace_count; i++) {
        if (wanted == 0 || nvme->namespaces[i].id == wanted) {
            port->namespace_id = nvme->namespaces[i].id;
            return STATUS_OK;
        }
    }
    return STATUS_NOT_FOUND;
}

/* The first question about the port that comes next. */
static status_t begin_port(struct nvme *nvme)
{
    bool sets = (nvme->capabilities & NVME_CAP_CSS_IO_SETS) != 0;

    nvme->ports[nvme->port_index]->command_set = NVME_CSI_NVM;
    nvme->step = sets ? SETUP_DESCRIPTORS : SETUP_NAMESPACE;
    return choose_namespace(nvme);
}

/* Number of Queues (Base 5.21.1.7): how many there are to be had, 0-based. */
static status_t read_queue_count(struct nvme *nvme, uint32_t value)
{
    uint32_t submission = (value & 0xffffu) + 1u;
    uint32_t completion = (value >> 16) + 1u;

    return submission >= nvme->port_count && completion >= nvme->port_count ? STATUS_OK
                                                                            : STATUS_TOO_LARGE;
}

static status_t begin_secondaries(struct nvme *nvme)
{
    nvme->step = nvme->config.virtual_functions != 0 ? SETUP_SECONDARIES : SETUP_DONE;
    return nvme->config.virtual_functions == 0 || nvme->virtual_offered ? STATUS_OK
                                                                        : STATUS_TOO_LARGE;
}

/* The list was read: goes on with the next one, if one more is wanted. */
static status_t choose_secondary(struct nvme *nvme)
{
    bool offline = nvme_read_secondaries(nvme);

    if (nvme->secondaries_online >= nvme->config.virtual_functions) {
        nvme->step = SETUP_DONE;
        return STATUS_OK;
    }
    return offline ? STATUS_OK : STATUS_TOO_LARGE;
}

static status_t finish_port(struct nvme *nvme)
{
    if (++nvme->port_index < nvme->port_count) {
        return begin_port(nvme);
    }
    nvme->port_index = 0;
    nvme->step = SETUP_PLACEMENTS;
    return nvme->placement_offered ? STATUS_OK : begin_secondaries(nvme);
}

static status_t finish_placements(struct nvme *nvme, const struct nvme_result *result)
{
    struct nvme_port *port = nvme->ports[nvme->port_index];

    port->block.placements = 0;
    if (result->status == NVME_SC_SUCCESS) { /* else the namespace has none */
        nvme_read_placements(nvme, port);
    }
    if (++nvme->port_index < nvme->port_count) {
        return STATUS_OK;
    }
    nvme->port_index = 0;
    return begin_secondaries(nvme);
}

static status_t finish_step(struct nvme *nvme, const struct nvme_result *result)
{
    struct nvme_port *port = nvme->ports[nvme->port_index];
    status_t status = STATUS_OK;

    if (nvme->step == SETUP_PLACEMENTS) {
        return finish_placements(nvme, result);
    }
    if (result->status != NVME_SC_SUCCESS && nvme->step == SETUP_SHADOW) {
        nvme->step++; /* then without */
        return STATUS_OK;
    }
    if (result->status != NVME_SC_SUCCESS) {
        return STATUS_DEVICE_ERROR;
    }
    switch (nvme->step++) {
    case SETUP_CONTROLLER:
        status = nvme_read_controller(nvme);
        nvme->step =
            nvme->shadow_offered && nvme->config.shadow_doorbells ? SETUP_SHADOW : SETUP_NAMESPACES;
        return status;
    case SETUP_SHADOW:
        nvme_use_shadows(nvme);
        return STATUS_OK;
    case SETUP_NAMESPACES:
        nvme_read_namespaces(nvme);
        return STATUS_OK;
    case SETUP_QUEUE_COUNT:
        status = read_queue_count(nvme, result->value);
        return status == STATUS_OK ? begin_port(nvme) : status;
    case SETUP_DESCRIPTORS:
        status = nvme_read_command_set(nvme, &port->command_set);
        nvme->step = port->command_set == NVME_CSI_ZNS ? SETUP_SET_CONTROLLER : SETUP_NAMESPACE;
        return status;
    case SETUP_SET_CONTROLLER:
        nvme_read_zoned_controller(nvme, port);
        return STATUS_OK;
    case SETUP_NAMESPACE:
        nvme->step =
            port->command_set == NVME_CSI_ZNS ? SETUP_SET_NAMESPACE : SETUP_COMPLETION_QUEUE;
        return nvme_read_namespace(nvme, port);
    case SETUP_SET_NAMESPACE:
        return nvme_read_zoned_namespace(nvme, port);
    case SETUP_SUBMISSION_QUEUE:
        return finish_port(nvme);
    case SETUP_SECONDARIES:
        return choose_secondary(nvme);
    case SETUP_SECONDARY_ONLINE: /* the list tells whether it is, and the next */
        nvme->step = SETUP_SECONDARIES;
        return ++nvme->secondary_rounds <= NVME_SECONDARIES_MAX ? STATUS_OK : STATUS_CORRUPT;
    default:
        return STATUS_OK;
    }
}

status_t nvme_setup_step(struct nvme *nvme, const struct nvme_result *result, time_ns_t now_ns)
{
    if (result != NULL) {
        status_t status = finish_step(nvme, result);
        if (status != STATUS_OK) {
            return status;
        }
        if (nvme->step == SETUP_DONE) {
            return STATUS_OK;
        }
    }
    start_step(nvme, now_ns);
    return STATUS_AGAIN;
}

status_t nvme_teardown_step(struct nvme *nvme, const struct nvme_result *result, time_ns_t now_ns)
{
    if (result != NULL) {
        nvme->step++; /* a refused deletion does not keep the drive from shutting down */
    }
    if (nvme->step == 2u * nvme->port_count) {
        return STATUS_OK;
    }
    delete_queue(nvme, nvme->step % 2u == 0 ? NVME_ADMIN_DELETE_SQ : NVME_ADMIN_DELETE_CQ, now_ns);
    return STATUS_AGAIN;
}
