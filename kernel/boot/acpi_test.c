// SPDX-License-Identifier: MIT OR Apache-2.0
/* ACPI tables, right, wrong and random. */
#include <stdlib.h>

#include "kernel/boot/acpi.h"
#include "lib/base/endian.h"
#include "tests/check.h"

#define MEMORY_BYTES 0x4000u
#define RSDP 0x100u
#define XSDT 0x200u
#define MADT 0x400u
#define MCFG 0x600u
#define FADT 0x800u
#define DSDT 0xa00u

static uint8_t memory[MEMORY_BYTES];

static const void *view(uint64_t address, uint64_t bytes)
{
    if (address >= MEMORY_BYTES || bytes > MEMORY_BYTES - address)
        return NULL;
    return memory + address;
}

static void seal(uint32_t at, uint32_t bytes, uint32_t checksum_at)
{
    uint8_t sum = 0;
    memory[at + checksum_at] = 0;
    for (uint32_t i = 0; i < bytes; i++)
        sum = (uint8_t)(sum + memory[at + i]);
    memory[at + checksum_at] = (uint8_t)-sum;
}

static void make_table(uint32_t at, const char *signature, uint32_t bytes)
{
    memcpy(memory + at, signature, 4);
    store_le32(memory + at + 4, bytes);
    seal(at, bytes, 9);
}

static void make_madt(void)
{
    static const uint8_t entries[] = {
        0, 8,  0, 0, 1, 0, 0,    0,                   /* CPU 0, enabled */
        0, 8,  1, 1, 1, 0, 0,    0,                   /* CPU 1, enabled */
        0, 8,  2, 2, 0, 0, 0,    0,                   /* CPU 2, disabled */
        1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0,    0, 0, 0, /* I/O APIC */
        2, 10, 0, 9, 9, 0, 0,    0,    0x0d, 0        /* IRQ 9: level, active high */
    };
    store_le32(memory + MADT + 36, 0xfee00000u);
    memcpy(memory + MADT + 44, entries, sizeof entries);
    make_table(MADT, "APIC", 44 + sizeof entries);
}

static void make_fadt(void)
{
    static const uint8_t aml[] = {0x10, 0x20, 0x08, '_',  'S', '5', '_', 0x12,
                                  0x06, 0x04, 0x0a, 0x05, 0,   0,   0,   0};
    memcpy(memory + DSDT + 36, aml, sizeof aml);
    make_table(DSDT, "DSDT", 36 + sizeof aml);
    store_le32(memory + FADT + 40, DSDT);
    store_le16(memory + FADT + 46, 9);
    store_le32(memory + FADT + 56, 0x600);
    store_le32(memory + FADT + 64, 0x604);
    store_le32(memory + FADT + 76, 0x608);
    memory[FADT + 91] = 4;
    make_table(FADT, "FACP", 244);
}

static void make_all(void)
{
    memset(memory, 0, sizeof memory);
    memcpy(memory + RSDP, "RSD PTR ", 8);
    memory[RSDP + 15] = 2;
    store_le32(memory + RSDP + 20, 36);
    store_le64(memory + RSDP + 24, XSDT);
    seal(RSDP, 20, 8);
    seal(RSDP, 36, 32);
    store_le64(memory + XSDT + 36, MADT);
    store_le64(memory + XSDT + 44, MCFG);
    store_le64(memory + XSDT + 52, FADT);
    make_table(XSDT, "XSDT", 36 + 3 * 8);
    make_madt();
    store_le64(memory + MCFG + 44, 0xb0000000u);
    memory[MCFG + 55] = 255;
    make_table(MCFG, "MCFG", 44 + 16);
    make_fadt();
}

static struct boot_parameters parameters = {.rsdp_address = RSDP};
static struct acpi_facts facts;

TEST(tables_are_read)
{
    make_all();
    CHECK_EQ(acpi_read(&parameters, view, &facts), STATUS_OK);
    CHECK(facts.problem == NULL);
    CHECK_EQ(facts.cpu_count, 2);
    CHECK_EQ(facts.lapic_address, 0xfee00000u);
    CHECK_EQ(facts.ioapic_count, 1);
    CHECK_EQ(facts.ioapics[0].address, 0xfec00000u);
    CHECK_EQ(facts.override_count, 1);
    CHECK(facts.overrides[0].level);
    CHECK(!facts.overrides[0].active_low);
    CHECK_EQ(facts.ecam_base, 0xb0000000u);
    CHECK_EQ(facts.ecam_last_bus, 255);
    CHECK_EQ(facts.sci_gsi, 9);
    CHECK_EQ(facts.pm1a_event_port, 0x600);
    CHECK_EQ(facts.pm1a_control_port, 0x604);
    CHECK_EQ(facts.pm_timer_port, 0x608);
    CHECK_EQ(facts.s5_sleep_type, 5);
}

TEST(the_root_pointer_may_be_a_copy)
{
    make_all();
    struct boot_parameters copied = {.has_rsdp_copy = true};
    memcpy(copied.rsdp_copy, memory + RSDP, BOOT_RSDP_BYTES);
    CHECK_EQ(acpi_read(&copied, view, &facts), STATUS_OK);
    CHECK_EQ(facts.cpu_count, 2);
    copied.rsdp_copy[3]++;
    CHECK_EQ(acpi_read(&copied, view, &facts), STATUS_NOT_FOUND);
    CHECK_EQ(facts.cpu_count, 1);
}

TEST(a_wrong_checksum_leaves_the_table_out)
{
    make_all();
    memory[MADT + 40]++;
    CHECK_EQ(acpi_read(&parameters, view, &facts), STATUS_OK);
    CHECK(!facts.have_madt);
    CHECK(facts.problem != NULL);
    CHECK_EQ(facts.cpu_count, 1);
    CHECK_EQ(facts.ecam_base, 0xb0000000u);
    make_all();
    memory[XSDT + 36]++;
    CHECK_EQ(acpi_read(&parameters, view, &facts), STATUS_NOT_FOUND);
}

TEST(entries_of_length_zero_end_the_table)
{
    make_all();
    memory[MADT + 45] = 0;
    seal(MADT, load_le32(memory + MADT + 4), 9);
    CHECK_EQ(acpi_read(&parameters, view, &facts), STATUS_OK);
    CHECK_EQ(facts.cpu_count, 1);
    CHECK(facts.problem != NULL);
}

TEST(tables_outside_memory_are_left_out)
{
    make_all();
    store_le64(memory + XSDT + 36, UINT64_MAX - 10);
    store_le64(memory + XSDT + 44, MEMORY_BYTES - 20);
    seal(XSDT, 36 + 3 * 8, 9);
    CHECK_EQ(acpi_read(&parameters, view, &facts), STATUS_OK);
    CHECK(!facts.have_madt);
    CHECK_EQ(facts.ecam_base, 0);
    CHECK_EQ(facts.sci_gsi, 9);
}

TEST(random_damage_does_no_harm)
{
    static const uint32_t tables[] = {RSDP, XSDT, MADT, MCFG, FADT, DSDT};
    srand(11);
    for (uint32_t round = 0; round < 20000; round++) {
        make_all();
        for (int damage = rand() % 4; damage >= 0; damage--) {
            uint32_t at = tables[rand() % 6];
            uint32_t bytes = at == RSDP ? 36 : load_le32(memory + at + 4);
            if (bytes == 0 || bytes > 0x400)
                continue;
            memory[at + (uint32_t)rand() % bytes] = (uint8_t)(rand() % 2 ? rand() : 0xff);
            uint32_t now = at == RSDP ? 36 : load_le32(memory + at + 4);
            if (at == RSDP)
                seal(RSDP, 20, 8);
            if (now <= 0x400)
                seal(at, now, at == RSDP ? 32 : 9); /* so that the damage gets past the checksum */
        }
        (void)!acpi_read(&parameters, view, &facts);
        CHECK(facts.cpu_count >= 1);
        CHECK(facts.ioapic_count <= ACPI_IOAPICS_MAX);
        CHECK(facts.override_count <= ACPI_OVERRIDES_MAX);
    }
}
