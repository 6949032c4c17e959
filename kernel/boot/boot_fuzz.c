// SPDX-License-Identifier: MIT OR Apache-2.0
/* What a loader and the firmware left in memory: PVH and Multiboot2 information, ACPI tables. */
#include "kernel/boot/acpi.h"
#include "kernel/boot/parameters.h"
#include "tests/fuzz.h"

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
    switch (data[0] % 3u) {
    case 0:
        status = pvh_read(0x40, view, &parameters);
        break;
    case 1:
        status = multiboot2_read(0x40, view, &parameters);
        break;
    default:
        parameters.rsdp_address = 0x40;
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
