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
#define ABORT_GRACE_SHIFT 2u /* an abort gets a quarter of the command's time */

static void set_interrupt_mask(struct nvme *nvme, bool masked)
{
    volatile uint8_t *entry = nvme->config.msix_table;

    if (entry != NULL) {
        mmio_write32(entry + NVME_MSIX_CONTROL, masked ? NVME_MSIX_MASKED : 0);
    }
}

static void fill_interrupt(struct nvme *nvme)
{
    volatile uint8_t *entry = nvme->config.msix_table;

    if (entry != NULL) {
        mmio_write32(entry + NVME_MSIX_CONTROL, NVME_MSIX_MASKED);
        mmio_write32(entry + NVME_MSIX_ADDRESS_LOW, (uint32_t)nvme->config.msix_address);
        mmio_write32(entry + NVME_MSIX_ADDRESS_HIGH, (uint32_t)(nvme->config.msix_address >> 32));
        mmio_write32(entry + NVME_MSIX_DATA, nvme->config.msix_data);
    }
}

static time_ns_t state_deadline(const struct nvme *nvme, time_ns_t now_ns)
{
    uint64_t told_ns = (uint64_t)NVME_CAP_TO(nvme->capabilities) * 500u * 1000 * 1000;

    return now_ns + (told_ns > STATE_DEADLINE_MIN_NS ? told_ns : STATE_DEADLINE_MIN_NS);
}

static void enter(struct nvme *nvme, enum nvme_state state, time_ns_t now_ns)
{
    nvme->state = state;
    nvme->step = 0;
    nvme->state_deadline_ns = state_deadline(nvme, now_ns);
}

static void die(struct nvme *nvme, status_t why)
{
    nvme->last_error = why;
    nvme->state = nvme->stop_wanted ? NVME_STOPPED : NVME_DEAD;
    nvme_fail_outstanding(nvme, why);
}

/* Disables the controller. What was outstanding is given back once it says that it is disabled. */
static void disable(struct nvme *nvme, time_ns_t now_ns)
{
    uint32_t configuration = nvme_register(nvme, NVME_REG_CC);

    nvme->reset_wanted = false;
    nvme->armed = false;
    fill_interrupt(nvme);
    nvme_set_register(nvme, NVME_REG_CC, configuration & ~NVME_CC_EN);
    enter(nvme, NVME_DISABLING, now_ns);
}

static void reset(struct nvme *nvme, status_t why, time_ns_t now_ns)
{
    nvme->last_error = why;
    nvme->counters.resets++;
    if (++nvme->resets_in_row > NVME_RESETS_MAX) {
        nvme_set_register(nvme, NVME_REG_CC, nvme_register(nvme, NVME_REG_CC) & ~NVME_CC_EN);
        die(nvme, why);
        return;
    }
    disable(nvme, now_ns);
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
    nvme_queue_init(nvme, &nvme->admin, 0);
    nvme_queue_init(nvme, &nvme->io, 1);
    nvme_set_register(nvme, NVME_REG_AQA,
                      (nvme->admin.cq_entries - 1u) << 16 | (nvme->admin.sq_entries - 1u));
    mmio_write32(registers + NVME_REG_ASQ, (uint32_t)submissions);
    mmio_write32(registers + NVME_REG_ASQ + 4, (uint32_t)(submissions >> 32));
    mmio_write32(registers + NVME_REG_ACQ, (uint32_t)completions);
    mmio_write32(registers + NVME_REG_ACQ + 4, (uint32_t)(completions >> 32));
    nvme_set_register(nvme, NVME_REG_CC, configuration);
    enter(nvme, NVME_ENABLING, now_ns);
}

status_t nvme_start(struct nvme *nvme, const struct nvme_config *config, time_ns_t now_ns)
{
    const volatile uint8_t *registers = config->registers;

    if (registers == NULL || config->register_bytes < NVME_REG_DOORBELLS + PAGE_BYTES ||
        config->dma.bytes < NVME_QUEUE_MEMORY_BYTES || config->data.bytes == 0) {
        return STATUS_INVALID_ARGUMENT;
    }
    uint64_t low = mmio_read32(registers + NVME_REG_CAP);
    uint64_t capabilities = (uint64_t)mmio_read32(registers + NVME_REG_CAP + 4) << 32 | low;
    uint32_t doorbell_end = NVME_REG_DOORBELLS + (4u * 4u << NVME_CAP_DSTRD(capabilities));
    if (NVME_CAP_MPSMIN(capabilities) != 0 || NVME_CAP_MQES(capabilities) == 0 ||
        (capabilities & (NVME_CAP_CSS_NVM | NVME_CAP_CSS_IO_SETS)) == 0) {
        return STATUS_UNSUPPORTED;
    }
    if (doorbell_end > config->register_bytes) {
        return STATUS_INVALID_ARGUMENT;
    }
    memset(nvme, 0, sizeof *nvme);
    nvme->block.ops = &nvme_block_ops;
    nvme->config = *config;
    if (nvme->config.deadline_ns == 0) {
        nvme->config.deadline_ns = NVME_DEFAULT_DEADLINE_NS;
    }
    nvme->capabilities = capabilities;
    nvme->version = nvme_register(nvme, NVME_REG_VS);
    nvme->identify = nvme->config.dma.base + (size_t)NVME_PAGE_IDENTIFY * PAGE_BYTES;
    nvme->prp_lists = nvme->config.dma.base + (size_t)NVME_PAGE_PRP_LISTS * PAGE_BYTES;
    disable(nvme, now_ns);
    return STATUS_OK;
}

void nvme_admin_submit(struct nvme *nvme, struct nvme_command *command, uint8_t purpose,
                       time_ns_t now_ns)
{
    struct nvme_command_slot *slot = nvme_queue_push(&nvme->admin, command);

    slot->operation = purpose;
    slot->deadline_ns = now_ns + nvme->config.deadline_ns;
    nvme->state_deadline_ns = slot->deadline_ns;
    nvme_queue_ring(nvme, &nvme->admin);
}

static void abort_command(struct nvme *nvme, struct nvme_command_slot *slot, time_ns_t now_ns)
{
    struct nvme_command command = {0};

    slot->operation |= NVME_OPERATION_ABORTING;
    slot->deadline_ns = now_ns + (nvme->config.deadline_ns >> ABORT_GRACE_SHIFT);
    nvme->counters.aborts++;
    if (nvme->admin.free_count == 0) {
        return; /* the grace time still runs, then comes the reset */
    }
    command.word[0] = NVME_ADMIN_ABORT;
    command.word[10] = slot->key << 16 | nvme->io.id;
    nvme_admin_submit(nvme, &command, NVME_FOR_ABORT, now_ns);
}

/* Looks for late commands and a controller that has failed; sets the next time to look. */
static void check(struct nvme *nvme, time_ns_t now_ns)
{
    uint32_t status = nvme_register(nvme, NVME_REG_CSTS);
    time_ns_t next_ns = DEADLINE_NEVER;

    if (status == NVME_REGISTER_GONE) {
        die(nvme, STATUS_DEVICE_ERROR);
        return;
    }
    if ((status & NVME_CSTS_CFS) != 0) {
        reset(nvme, STATUS_DEVICE_ERROR, now_ns);
        return;
    }
    for (uint32_t i = 0; i < nvme->io.depth; i++) {
        struct nvme_command_slot *slot = &nvme->io.slots[i];
        if ((slot->key & NVME_IN_FLIGHT) == 0) {
            continue;
        }
        if (now_ns >= slot->deadline_ns) {
            nvme->counters.timeouts++;
            if ((slot->operation & NVME_OPERATION_ABORTING) != 0) {
                reset(nvme, STATUS_DEVICE_TIMEOUT, now_ns);
                return;
            }
            abort_command(nvme, slot, now_ns);
        }
        next_ns = slot->deadline_ns < next_ns ? slot->deadline_ns : next_ns;
    }
    nvme->next_check_ns = next_ns;
}

/* SMART / Health Information (Base 5.14.1.2); of 128-bit counts the low half. */
static void read_health(struct nvme *nvme)
{
    const uint8_t *data = nvme->identify;

    nvme->health = (struct nvme_health){
        .valid = true,
        .critical_warning = data[0],
        .temperature_kelvin = load_le16(data + 1),
        .spare_percent = data[3],
        .spare_threshold_percent = data[4],
        .used_percent = data[5],
        .read_units = load_le64(data + 32),
        .written_units = load_le64(data + 48),
        .power_cycles = load_le64(data + 112),
        .power_on_hours = load_le64(data + 128),
        .unsafe_shutdowns = load_le64(data + 144),
        .media_errors = load_le64(data + 160),
        .error_log_entries = load_le64(data + 176),
    };
}

bool nvme_ask_health(struct nvme *nvme, time_ns_t now_ns)
{
    struct nvme_command command = {0};
    uint64_t address =
        dma_device_address(&nvme->config.dma, (size_t)NVME_PAGE_IDENTIFY * PAGE_BYTES);

    if (nvme->state != NVME_READY || nvme->admin.free_count != nvme->admin.depth) {
        return false;
    }
    memset(nvme->identify, 0, NVME_LOG_HEALTH_BYTES);
    command.word[0] = NVME_ADMIN_GET_LOG;
    command.word[1] = NVME_ALL_NAMESPACES;
    command.word[6] = (uint32_t)address;
    command.word[7] = (uint32_t)(address >> 32);
    command.word[10] = (NVME_LOG_HEALTH_BYTES / 4u - 1u) << 16 | NVME_LOG_HEALTH;
    nvme_admin_submit(nvme, &command, NVME_FOR_HEALTH, now_ns);
    return true;
}

/* Admin completions while the I/O queues are in use: aborts, and questions about the health. */
static void reap_admin(struct nvme *nvme)
{
    struct nvme_result result;
    uint8_t purpose;

    while (nvme->admin.free_count != nvme->admin.depth &&
           nvme_admin_reap(nvme, &result, &purpose)) {
        if (purpose == NVME_FOR_HEALTH && result.status == NVME_SC_SUCCESS) {
            read_health(nvme);
        }
    }
}

static void set_up(struct nvme *nvme, time_ns_t now_ns)
{
    struct nvme_result result;
    uint8_t purpose;
    bool first = nvme->admin.free_count == nvme->admin.depth;

    if (!first && !nvme_admin_reap(nvme, &result, &purpose)) {
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
        nvme->geometry_known = true;
        nvme->state = NVME_READY;
        if (nvme->stop_wanted) {
            enter(nvme, NVME_STOPPING, now_ns);
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

    if (nvme->io.free_count + nvme->local_count != nvme->io.depth) {
        return; /* commands come back first, or time out */
    }
    if (!nvme->shut_down) {
        bool first = nvme->step == 0 && nvme->admin.free_count == nvme->admin.depth;
        if (!first && !nvme_admin_reap(nvme, &result, &purpose)) {
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
    } else if (now_ns >= nvme->state_deadline_ns || status == NVME_REGISTER_GONE) {
        die(nvme, STATUS_DEVICE_TIMEOUT);
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
            return;
        }
        nvme_fail_outstanding(nvme, nvme->last_error == STATUS_DEVICE_TIMEOUT
                                        ? STATUS_DEVICE_TIMEOUT
                                        : STATUS_DEVICE_ERROR);
        if (nvme->stop_wanted) {
            nvme->state = NVME_STOPPED;
        } else {
            enable(nvme, now_ns);
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

void nvme_poll_slowly(struct nvme *nvme, time_ns_t now_ns)
{
    if (nvme->state == NVME_READY || nvme->state == NVME_STOPPING) {
        if (nvme->reset_wanted) {
            reset(nvme, STATUS_CORRUPT, now_ns);
        } else if (now_ns >= nvme->next_check_ns && nvme->io.free_count != nvme->io.depth) {
            check(nvme, now_ns);
        }
    }
    if (nvme->state == NVME_READY) {
        reap_admin(nvme);
    } else {
        advance(nvme, now_ns);
    }
}

bool nvme_arm(struct nvme *nvme)
{
    if (nvme->local_count != 0) {
        return false;
    }
    if (nvme->state == NVME_DEAD || nvme->state == NVME_STOPPED) {
        return true; /* nothing will come */
    }
    if (nvme->state != NVME_READY || nvme->config.msix_table == NULL) {
        return false;
    }
    nvme_tell_head(nvme);
    set_interrupt_mask(nvme, false);
    nvme->armed = true;
    mmio_fence();
    if (nvme_completion_waits(&nvme->io)) {
        nvme_disarm(nvme);
        return false;
    }
    return true;
}

void nvme_disarm(struct nvme *nvme)
{
    if (nvme->armed) {
        nvme->armed = false;
        set_interrupt_mask(nvme, true);
    }
}

time_ns_t nvme_next_due(const struct nvme *nvme)
{
    if (nvme->local_count != 0) {
        return DEADLINE_NOW;
    }
    switch (nvme->state) {
    case NVME_READY:
        return nvme->io.free_count == nvme->io.depth ? DEADLINE_NEVER : nvme->next_check_ns;
    case NVME_DEAD:
    case NVME_STOPPED:
        return DEADLINE_NEVER;
    default:
        return DEADLINE_NOW;
    }
}

void nvme_stop(struct nvme *nvme, time_ns_t now_ns)
{
    nvme->stop_wanted = true;
    if (nvme->state == NVME_READY) {
        nvme_disarm(nvme);
        enter(nvme, NVME_STOPPING, now_ns);
    } else if (nvme->state == NVME_DEAD) {
        nvme->state = NVME_STOPPED;
    }
}

/* ---- The same as a block device; `block` is the first member ---- */

static uint32_t block_submit(struct block_device *dev, const struct block_request *requests,
                             uint32_t count, time_ns_t now_ns)
{
    return nvme_submit((struct nvme *)dev, requests, count, now_ns);
}

static uint32_t block_poll(struct block_device *dev, struct block_completion *completions,
                           uint32_t max, time_ns_t now_ns)
{
    return nvme_poll((struct nvme *)dev, completions, max, now_ns);
}

static bool block_arm(struct block_device *dev)
{
    return nvme_arm((struct nvme *)dev);
}

static void block_disarm(struct block_device *dev)
{
    nvme_disarm((struct nvme *)dev);
}

static time_ns_t block_next_due(struct block_device *dev)
{
    return nvme_next_due((struct nvme *)dev);
}

_Static_assert(offsetof(struct nvme, block) == 0, "a block device is an nvme");

const struct block_device_ops nvme_block_ops = {block_submit, block_poll, block_arm, block_disarm,
                                                block_next_due};
