// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/boot/acpi.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"

#define SDT_HEADER_BYTES 36u
#define SDT_BYTES_MAX 0x400000u
#define ROOT_ENTRIES_MAX 256u
#define MADT_ENTRIES_MAX 4096u
#define LAPIC_ADDRESS_DEFAULT 0xfee00000u

static bool checksum_ok(const uint8_t *data, uint32_t bytes)
{
    uint8_t sum = 0;
    for (uint32_t i = 0; i < bytes; i++)
        sum = (uint8_t)(sum + data[i]);
    return sum == 0;
}

/* The whole table at `address`, its length in *bytes, or NULL with out->problem set. */
static const uint8_t *table_at(uint64_t address, physical_view view, uint32_t *bytes,
                               struct acpi_facts *out)
{
    const uint8_t *head = view(address, SDT_HEADER_BYTES);
    if (head == NULL) {
        out->problem = "an ACPI table lies where the kernel cannot read it";
        return NULL;
    }
    *bytes = load_le32(head + 4);
    if (*bytes < SDT_HEADER_BYTES || *bytes > SDT_BYTES_MAX) {
        out->problem = "an ACPI table has a length that makes no sense";
        return NULL;
    }
    const uint8_t *table = view(address, *bytes);
    if (table == NULL || !checksum_ok(table, *bytes)) {
        out->problem = "an ACPI table has a wrong checksum";
        return NULL;
    }
    return table;
}

/* A firmware may list a CPU as both kinds. */
static void add_cpu(uint32_t id, struct acpi_facts *out)
{
    for (uint32_t i = 0; i < out->cpu_id_count; i++)
        if (out->cpu_ids[i] == id)
            return;
    out->cpu_count++;
    if (out->cpu_id_count < ACPI_CPUS_MAX)
        out->cpu_ids[out->cpu_id_count++] = id;
}

static void read_madt_entry(const uint8_t *entry, uint32_t bytes, struct acpi_facts *out)
{
    switch (entry[0]) {
    case 0: /* processor local APIC (5.2.12.2) */
        if (bytes >= 8 && (load_le32(entry + 4) & 1))
            add_cpu(entry[3], out);
        break;
    case 9: /* processor local x2APIC (5.2.12.12) */
        if (bytes >= 16 && (load_le32(entry + 8) & 1))
            add_cpu(load_le32(entry + 4), out);
        break;
    case 1: /* I/O APIC (5.2.12.3) */
        if (bytes >= 12 && out->ioapic_count < ACPI_IOAPICS_MAX)
            out->ioapics[out->ioapic_count++] = (struct acpi_ioapic){
                .id = entry[2], .address = load_le32(entry + 4), .gsi_base = load_le32(entry + 8)};
        break;
    case 2: /* interrupt source override (5.2.12.5): polarity bits 0..1, trigger bits 2..3 */
        if (bytes >= 10 && out->override_count < ACPI_OVERRIDES_MAX) {
            uint16_t flags = load_le16(entry + 8);
            out->overrides[out->override_count++] =
                (struct acpi_override){.isa_irq = entry[3],
                                       .level = (flags >> 2 & 3) == 3,
                                       .active_low = (flags & 3) == 3,
                                       .gsi = load_le32(entry + 4)};
        }
        break;
    case 5: /* local APIC address override (5.2.12.8) */
        if (bytes >= 12)
            out->lapic_address = load_le64(entry + 4);
        break;
    default:
        break;
    }
}

static void read_madt(const uint8_t *table, uint32_t bytes, struct acpi_facts *out)
{
    out->have_madt = true;
    out->cpu_count = 0;
    out->cpu_id_count = 0;
    out->lapic_address = load_le32(table + 36);
    uint32_t at = 44;
    for (uint32_t i = 0; i < MADT_ENTRIES_MAX && bytes - at >= 2; i++) {
        uint32_t length = table[at + 1];
        if (length < 2 || length > bytes - at) {
            out->problem = "the MADT has an entry that reaches beyond it";
            break;
        }
        read_madt_entry(table + at, length, out);
        at += length;
    }
    if (out->cpu_count == 0)
        out->cpu_count = 1;
}

/* PCI Firmware Specification 3.3, 4.1.2. */
static void read_mcfg(const uint8_t *table, uint32_t bytes, struct acpi_facts *out)
{
    for (uint32_t at = 44; at <= bytes && bytes - at >= 16; at += 16) {
        if (load_le16(table + at + 8) != 0)
            continue;
        uint64_t base = load_le64(table + at);
        uint32_t first = table[at + 10], last = table[at + 11];
        if (base == 0 || (base & 0xfffff) || first > last) {
            out->problem = "the MCFG entry of segment 0 makes no sense";
            return;
        }
        out->ecam_base = base;
        out->ecam_first_bus = first;
        out->ecam_last_bus = last;
        return;
    }
}

/* The I/O APICs among the devices of a unit (VT-d 5.0, 8.3.1): start bus, then device and function.
 * One behind a bridge has a longer path and is left out: its interrupts are not checked by source.
 */
static void read_dmar_scopes(const uint8_t *scope, uint32_t bytes, struct acpi_facts *out)
{
    while (bytes >= 8 && scope[1] >= 8 && scope[1] <= bytes) {
        if (scope[0] == 3 && scope[1] == 8 && out->iommu_ioapic_count < ACPI_IOAPICS_MAX)
            out->iommu_ioapics[out->iommu_ioapic_count++] = (struct acpi_iommu_ioapic){
                .id = scope[4],
                .function = (uint16_t)(scope[5] << 8 | (scope[6] & 0x1f) << 3 | (scope[7] & 7))};
        bytes -= scope[1];
        scope += scope[1];
    }
}

/* VT-d 5.0, 8.1 to 8.3. */
static void read_dmar(const uint8_t *table, uint32_t bytes, struct acpi_facts *out)
{
    out->iommu_remaps_interrupts = (table[37] & 1) != 0;
    uint32_t at = 48;
    while (bytes - at >= 4) {
        uint32_t length = load_le16(table + at + 2);
        if (length < 4 || length > bytes - at) {
            out->problem = "the DMAR table has an entry that reaches beyond it";
            return;
        }
        bool unit = load_le16(table + at) == 0 && length >= 16 && load_le16(table + at + 6) == 0;
        if (unit && out->iommu_count < ACPI_IOMMUS_MAX) {
            out->iommus[out->iommu_count++] = load_le64(table + at + 8);
            read_dmar_scopes(table + at + 16, length - 16, out);
        }
        at += length;
    }
}

/* The value of SLP_TYPa in `Name (_S5, Package { ... })` (ACPI 7.4.2.6; encodings 20.2). */
static uint32_t find_s5(const uint8_t *aml, uint32_t bytes)
{
    for (uint32_t i = 2; i + 12 <= bytes; i++) {
        if (memcmp(aml + i, "_S5_", 4) != 0)
            continue;
        if (aml[i - 1] != 0x08 && !(aml[i - 1] == '\\' && aml[i - 2] == 0x08))
            continue; /* not a NameOp */
        if (aml[i + 4] != 0x12)
            continue;                                      /* not a package */
        uint32_t at = i + 5 + 1u + (aml[i + 5] >> 6) + 1u; /* package length, element count */
        if (at + 2 > bytes)
            return 0xffffffffu;
        if (aml[at] == 0x0a)
            return aml[at + 1];
        if (aml[at] == 0x00 || aml[at] == 0x01)
            return aml[at];
        return 0xffffffffu;
    }
    return 0xffffffffu;
}

static void read_fadt(const uint8_t *table, uint32_t bytes, struct acpi_facts *out)
{
    out->sci_gsi = load_le16(table + 46);
    out->pm1a_event_port = load_le32(table + 56) & 0xffff;
    out->pm1a_control_port = load_le32(table + 64) & 0xffff;
    out->pm_timer_port = table[91] == 4 ? load_le32(table + 76) & 0xffff : 0;
    out->dsdt_address = load_le32(table + 40);
    if (bytes >= 148 && load_le64(table + 140) != 0)
        out->dsdt_address = load_le64(table + 140);
}

/* Root table address and its entry size (8: XSDT, 4: RSDT) from an RSDP (5.2.5.3); 0 if bad. */
static uint64_t root_from_rsdp(const uint8_t *rsdp, uint32_t *entry_bytes)
{
    if (memcmp(rsdp, "RSD PTR ", 8) != 0 || !checksum_ok(rsdp, 20))
        return 0;
    if (rsdp[15] >= 2 && load_le64(rsdp + 24) != 0 && checksum_ok(rsdp, BOOT_RSDP_BYTES)) {
        *entry_bytes = 8;
        return load_le64(rsdp + 24);
    }
    *entry_bytes = 4;
    return load_le32(rsdp + 16);
}

/* BIOS machines: the RSDP stands on a 16-byte boundary below 1 MiB (5.2.5.1). */
static const uint8_t *search_rsdp(physical_view view)
{
    for (uint64_t address = 0xe0000; address < 0x100000; address += 16) {
        const uint8_t *at = view(address, BOOT_RSDP_BYTES);
        if (at != NULL && memcmp(at, "RSD PTR ", 8) == 0 && checksum_ok(at, 20))
            return at;
    }
    return NULL;
}

/* Of tables that are read; shorter ones are left out. */
static const struct {
    char signature[5];
    uint32_t bytes_min;
    void (*read)(const uint8_t *table, uint32_t bytes, struct acpi_facts *out);
} readers[] = {{"APIC", 44, read_madt},
               {"MCFG", 44, read_mcfg},
               {"FACP", 116, read_fadt},
               {"DMAR", 48, read_dmar}};

static void read_table(uint64_t address, physical_view view, struct acpi_facts *out)
{
    const uint8_t *head = view(address, SDT_HEADER_BYTES);
    if (head == NULL)
        return;
    if (memcmp(head, "IVRS", 4) == 0)
        out->iommu_unsupported = "AMD-Vi";
    if (memcmp(head, "VIOT", 4) == 0)
        out->iommu_unsupported = "virtio-iommu";
    for (uint32_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        uint32_t bytes;
        if (memcmp(head, readers[i].signature, 4) != 0)
            continue;
        const uint8_t *table = table_at(address, view, &bytes, out);
        if (table != NULL && bytes >= readers[i].bytes_min)
            readers[i].read(table, bytes, out);
    }
}

status_t acpi_read(const struct boot_parameters *parameters, physical_view view,
                   struct acpi_facts *out)
{
    memset(out, 0, sizeof *out);
    out->lapic_address = LAPIC_ADDRESS_DEFAULT;
    out->cpu_count = 1;
    out->s5_sleep_type = 0xffffffffu;

    const uint8_t *rsdp = parameters->has_rsdp_copy ? parameters->rsdp_copy : NULL;
    if (rsdp == NULL && parameters->rsdp_address != 0)
        rsdp = view(parameters->rsdp_address, BOOT_RSDP_BYTES);
    if (rsdp == NULL)
        rsdp = search_rsdp(view);
    uint32_t entry_bytes = 0;
    uint64_t root_address = rsdp == NULL ? 0 : root_from_rsdp(rsdp, &entry_bytes);
    if (root_address == 0) {
        out->problem = "there is no ACPI root pointer, or its checksum is wrong";
        return STATUS_NOT_FOUND;
    }
    uint32_t bytes;
    const uint8_t *root = table_at(root_address, view, &bytes, out);
    if (root == NULL)
        return STATUS_NOT_FOUND;
    uint32_t count = (bytes - SDT_HEADER_BYTES) / entry_bytes;
    for (uint32_t i = 0; i < count && i < ROOT_ENTRIES_MAX; i++) {
        const uint8_t *entry = root + SDT_HEADER_BYTES + i * entry_bytes;
        read_table(entry_bytes == 8 ? load_le64(entry) : load_le32(entry), view, out);
    }
    const uint8_t *aml = out->dsdt_address ? table_at(out->dsdt_address, view, &bytes, out) : NULL;
    if (aml != NULL)
        out->s5_sleep_type = find_s5(aml + SDT_HEADER_BYTES, bytes - SDT_HEADER_BYTES);
    return STATUS_OK;
}
