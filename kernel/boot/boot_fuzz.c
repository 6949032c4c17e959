// SPDX-License-Identifier: MIT OR Apache-2.0
/* What a loader and the firmware left in memory: PVH and Multiboot2 information, ACPI tables. */
#include "kernel/boot/acpi.h"
#include "kernel/boot/parameters.h"
#include "lib/base/endian.h"
#include "tests/fuzz.h"

#define INFORMATION 0x40u /* where the loader's information lies */

static const uint8_t *memory;
static size_t memory_bytes;

static const void *view(uint64_t address, uint64_t bytes)
{
    if (address >= memory_bytes || bytes > memory_bytes - address) {
        return NULL;
    }
    return memory + address;
}

static void check_parameters(const struct boot_parameters *p)
{
    uint64_t end = 0;

    VERIFY(p->memory.count <= BOOT_MEMORY_RANGES_MAX);
    for (uint32_t n = 0; n < p->memory.count; n++) {
        VERIFY(p->memory.range[n].base >= end && p->memory.range[n].bytes != 0);
        VERIFY(p->memory.range[n].bytes <= UINT64_MAX - p->memory.range[n].base);
        VERIFY(((p->memory.range[n].base | p->memory.range[n].bytes) & 4095u) == 0);
        end = p->memory.range[n].base + p->memory.range[n].bytes;
    }
    VERIFY(memchr(p->command_line, 0, sizeof(p->command_line)) != NULL);
}

static void check_acpi(const struct acpi_facts *facts)
{
    VERIFY(facts->cpu_count >= 1u && facts->cpu_id_count <= ACPI_CPUS_MAX);
    VERIFY(facts->ioapic_count <= ACPI_IOAPICS_MAX);
    VERIFY(facts->override_count <= ACPI_OVERRIDES_MAX);
    VERIFY(facts->iommu_count <= ACPI_IOMMUS_MAX);
    VERIFY(facts->iommu_ioapic_count <= ACPI_IOAPICS_MAX);
    VERIFY(facts->ecam_base == 0 || facts->ecam_first_bus <= facts->ecam_last_bus);
}

/* The byte at `at` that makes the sum of `bytes` bytes 0. */
static void seal(uint8_t *data, size_t bytes, size_t at)
{
    uint8_t sum = 0;

    data[at] = 0;
    for (size_t n = 0; n < bytes; n++) {
        sum = (uint8_t)(sum + data[n]);
    }
    data[at] = (uint8_t)-sum;
}

/* What the fuzzer need not guess: magic numbers, and checksums of tables that are in order. */
static void repair(uint8_t *data, size_t bytes, uint32_t kind)
{
    if (bytes < INFORMATION + 64u) {
        return;
    }
    if (kind == 0) {
        store_le32(data + INFORMATION, 0x336ec578u);
    } else if (kind == 1) {
        store_le32(data + INFORMATION, (uint32_t)(bytes - INFORMATION));
    } else {
        memcpy(data + INFORMATION, "RSD PTR ", 8);
        data[INFORMATION + 15u] = 0;
        store_le32(data + INFORMATION + 16u, INFORMATION + 40u);
        seal(data + INFORMATION, 20, 8);
        for (size_t at = INFORMATION + 40u; at + 36u <= bytes && load_le32(data + at + 4) >= 36u &&
                                            load_le32(data + at + 4) <= bytes - at;) {
            uint32_t length = load_le32(data + at + 4);
            seal(data + at, length, 9);
            at += length;
        }
    }
}

/* The first byte says what the rest is: memory from physical address 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct boot_parameters parameters;
    static struct acpi_facts facts;
    status_t status = STATUS_CORRUPT;

    if (bytes < 1u) {
        return -1;
    }
    uint8_t *copy = fuzz_copy(data + 1, bytes - 1u, 0);
    memory = copy;
    memory_bytes = bytes - 1u;
    memset(&parameters, 0, sizeof(parameters));
    repair(copy, memory_bytes, data[0] % 3u);
    switch (data[0] % 3u) {
    case 0:
        status = pvh_read(INFORMATION, view, &parameters);
        break;
    case 1:
        status = multiboot2_read(INFORMATION, view, &parameters);
        break;
    default:
        parameters.rsdp_address = INFORMATION;
        status = acpi_read(&parameters, view, &facts);
        check_acpi(&facts);
        free(copy);
        return 0;
    }
    if (status == STATUS_OK) {
        check_parameters(&parameters);
    } else {
        VERIFY(parameters.problem != NULL);
    }
    free(copy);
    return 0;
}
