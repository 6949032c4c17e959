// SPDX-License-Identifier: MIT OR Apache-2.0
/* Compiled system descriptions, as a bundle of doubtful origin may hold them. */
#include "lib/system/system.h"
#include "tests/fuzz.h"

/* The header's fixed fields, and where its tables lie: one after the other. */
static void repair(uint8_t *data, size_t bytes)
{
    struct system_header header;

    if (bytes < sizeof(header) || data[0] % 4u == 0) {
        return;
    }
    memcpy(&header, data, sizeof(header));
    header.magic = SYSTEM_MAGIC;
    header.version = SYSTEM_VERSION;
    header.total_bytes = (uint32_t)bytes;
    header.name[SYSTEM_NAME_BYTES - 1u] = 0;
    header.cell_count %= 8u;
    header.device_count %= 8u;
    header.ring_count %= 4u;
    header.window_count %= 8u;
    header.cells_offset = sizeof(header);
    header.devices_offset =
        header.cells_offset + header.cell_count * (uint32_t)sizeof(struct system_cell);
    header.rings_offset =
        header.devices_offset + header.device_count * (uint32_t)sizeof(struct system_device);
    header.windows_offset =
        header.rings_offset + header.ring_count * (uint32_t)sizeof(struct system_ring);
    memcpy(data, &header, sizeof(header));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = fuzz_copy(data, bytes, 0);
    struct system_view view;
    struct system_problem problem = {0};

    repair(copy, bytes);
    if (system_open(&view, copy, bytes, &problem) == STATUS_OK) {
        for (uint32_t n = 0; n < view.header->cell_count; n++) {
            const struct system_cell *cell = &view.cells[n];
            VERIFY(fuzz_within(cell, sizeof(*cell), copy, bytes));
            VERIFY(fuzz_within(system_cell_config(&view, cell), cell->config_bytes, copy, bytes));
            VERIFY(cell->device_count <= CELL_DEVICES_MAX && cell->domain < SYSTEM_DOMAINS_MAX);
            for (uint32_t d = 0; d < cell->device_count; d++) {
                VERIFY(cell->devices[d] < view.header->device_count);
            }
        }
    } else {
        VERIFY(problem.what != NULL && system_part_text(problem.part) != NULL);
    }
    free(copy);
    return 0;
}
