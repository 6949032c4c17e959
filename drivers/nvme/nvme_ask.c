// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What a controller in use tells when it is asked, one question after the other:
 *
 *   health -> error log -> for each namespace: [descriptors ->] namespace [-> its zones]
 *
 * The answers come into the page that setup uses, so there is one question at a time and none while
 * the controller is set up.
 */
#include "drivers/nvme/nvme_internal.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"

enum question {
    QUESTION_HEALTH,
    QUESTION_ERRORS,
    QUESTION_DESCRIPTORS, /* from here on of one namespace */
    QUESTION_NAMESPACE,
    QUESTION_ZONES
};

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

/* Error Information (Base 5.14.1.1): the newest first, entries without a number are not used. */
static void read_errors(struct nvme *nvme)
{
    nvme->error_count = 0;
    for (uint32_t i = 0; i < NVME_ERRORS_KEPT && i < nvme->error_log_entries; i++) {
        const uint8_t *data = nvme->identify + (size_t)i * NVME_LOG_ERROR_BYTES;
        if (load_le64(data) == 0) {
            break;
        }
        nvme->errors[nvme->error_count++] = (struct nvme_error){
            .number = load_le64(data),
            .queue = load_le16(data + 8),
            .device_status = (uint16_t)(load_le16(data + 12) >> 1 & NVME_STATUS_MASK),
            .block = load_le64(data + 16),
            .namespace_id = load_le32(data + 24),
        };
    }
}

static void ask_log(struct nvme *nvme, uint32_t log, uint32_t bytes, time_ns_t now_ns)
{
    struct nvme_command command = {0};
    uint64_t address =
        dma_device_address(&nvme->config.dma, (size_t)NVME_PAGE_IDENTIFY * PAGE_BYTES);

    memset(nvme->identify, 0, bytes);
    command.word[0] = NVME_ADMIN_GET_LOG;
    command.word[1] = NVME_ALL_NAMESPACES;
    command.word[6] = (uint32_t)address;
    command.word[7] = (uint32_t)(address >> 32);
    command.word[10] = (bytes / 4u - 1u) << 16 | log;
    nvme_admin_submit(nvme, &command, NVME_FOR_QUESTION, now_ns);
}

bool nvme_ask(struct nvme *nvme, time_ns_t now_ns)
{
    if (nvme->state != NVME_READY || nvme->admin.free_count != nvme->admin.depth) {
        return false;
    }
    nvme->asking = true;
    nvme->question = QUESTION_HEALTH;
    ask_log(nvme, NVME_LOG_HEALTH, NVME_LOG_HEALTH_BYTES, now_ns);
    return true;
}

static void ask_next(struct nvme *nvme, time_ns_t now_ns)
{
    static const uint32_t structures[] = {
        [QUESTION_DESCRIPTORS] = NVME_CNS_DESCRIPTORS,
        [QUESTION_NAMESPACE] = NVME_CNS_NAMESPACE,
        [QUESTION_ZONES] = NVME_CNS_SET_NAMESPACE,
    };

    if (nvme->question == QUESTION_ERRORS) {
        uint32_t entries = nvme->error_log_entries;
        entries = entries < NVME_ERRORS_KEPT ? entries : NVME_ERRORS_KEPT;
        ask_log(nvme, NVME_LOG_ERRORS, entries * NVME_LOG_ERROR_BYTES, now_ns);
        return;
    }
    if (nvme->asked_namespace == nvme->namespace_count) {
        nvme->asking = false;
        nvme->answers++;
        return;
    }
    nvme_identify(nvme, structures[nvme->question], nvme->namespaces[nvme->asked_namespace].id,
                  nvme->question == QUESTION_ZONES ? nvme->asked_command_set : 0, NVME_FOR_QUESTION,
                  now_ns);
}

static void begin_namespace(struct nvme *nvme, uint32_t index)
{
    bool sets = (nvme->capabilities & NVME_CAP_CSS_IO_SETS) != 0;

    nvme->asked_namespace = index;
    nvme->asked_command_set = NVME_CSI_NVM;
    nvme->question = sets ? QUESTION_DESCRIPTORS : QUESTION_NAMESPACE;
}

/* The namespace as Identify Namespace tells it. True: what its zones are is to be asked. */
static bool take_namespace(struct nvme *nvme, struct nvme_namespace *namespace)
{
    struct nvme_geometry geometry;
    bool usable = nvme_read_geometry(nvme, &geometry) == STATUS_OK;

    *namespace = (struct nvme_namespace){.id = namespace->id, .known = true, .usable = usable};
    if (!usable) {
        return false;
    }
    namespace->block_bytes = 1u << geometry.block_shift;
    namespace->blocks = geometry.blocks;
    namespace->used_blocks = geometry.used_blocks;
    nvme->asked_format_index = geometry.format_index;
    return nvme->asked_command_set == NVME_CSI_ZNS;
}

static void take_zones(const struct nvme *nvme, struct nvme_namespace *namespace)
{
    struct nvme_zones zones;

    namespace->usable =
        nvme_read_zones(nvme, namespace->blocks, nvme->asked_format_index, &zones) == STATUS_OK;
    if (namespace->usable) {
        namespace->zone_blocks = zones.blocks;
        namespace->max_active_zones = zones.max_active;
        namespace->max_open_zones = zones.max_open;
    }
}

void nvme_take_answer(struct nvme *nvme, const struct nvme_result *result, time_ns_t now_ns)
{
    struct nvme_namespace *namespace = &nvme->namespaces[nvme->asked_namespace];
    bool told = result->status == NVME_SC_SUCCESS;

    if (nvme->question == QUESTION_HEALTH) {
        if (told) {
            read_health(nvme);
        }
        nvme->question = QUESTION_ERRORS;
    } else if (nvme->question == QUESTION_ERRORS) {
        if (told) {
            read_errors(nvme);
        }
        begin_namespace(nvme, 0);
    } else if (told && nvme->question == QUESTION_DESCRIPTORS) {
        if (nvme_read_command_set(nvme, &nvme->asked_command_set) == STATUS_OK) {
            nvme->question = QUESTION_NAMESPACE;
        } else {
            *namespace = (struct nvme_namespace){.id = namespace->id, .known = true};
            begin_namespace(nvme, nvme->asked_namespace + 1u);
        }
    } else if (told && nvme->question == QUESTION_NAMESPACE && take_namespace(nvme, namespace)) {
        nvme->question = QUESTION_ZONES;
    } else {
        if (told && nvme->question == QUESTION_ZONES) {
            take_zones(nvme, namespace);
        }
        begin_namespace(nvme, nvme->asked_namespace + 1u);
    }
    ask_next(nvme, now_ns);
}
