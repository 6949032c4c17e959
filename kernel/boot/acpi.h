// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The few facts that the kernel and the initial cell need from the firmware's ACPI tables (ACPI
 * specification 6.5, chapter 5). Every table is bounded and checksummed before it is used; one that
 * fails is left out and named. No AML is run.
 */
#ifndef KERNEL_BOOT_ACPI_H
#define KERNEL_BOOT_ACPI_H

#include "kernel/boot/parameters.h"

#define ACPI_CPUS_MAX 64u
#define ACPI_IOAPICS_MAX 16u
#define ACPI_OVERRIDES_MAX 16u

#define ACPI_IOMMUS_MAX 8u

struct acpi_ioapic {
    uint8_t id;
    uint64_t address;
    uint32_t gsi_base;
};

/* An ISA interrupt that is wired differently from "GSI = number, edge, active high". */
struct acpi_override {
    uint8_t isa_irq;
    bool level, active_low;
    uint32_t gsi;
};

/* Which requester id an I/O APIC has for the IOMMU. */
struct acpi_iommu_ioapic {
    uint8_t id;
    uint16_t function;
};

struct acpi_facts {
    bool have_madt;
    uint64_t lapic_address;
    uint32_t cpu_count; /* enabled CPUs; at least 1 */
    uint32_t cpu_id_count;
    uint32_t cpu_ids[ACPI_CPUS_MAX]; /* APIC ids of the first of them */
    uint32_t ioapic_count;
    struct acpi_ioapic ioapics[ACPI_IOAPICS_MAX];
    uint32_t override_count;
    struct acpi_override overrides[ACPI_OVERRIDES_MAX];
    uint64_t ecam_base; /* 0: no MCFG for segment 0 */
    uint32_t ecam_first_bus, ecam_last_bus;
    uint32_t pm1a_event_port; /* 0: no FADT */
    uint32_t pm1a_control_port;
    uint32_t pm_timer_port; /* 0: none in I/O space */
    uint32_t sci_gsi;
    uint64_t dsdt_address;
    uint32_t s5_sleep_type; /* 0xffffffff: not found */
    uint32_t iommu_count;   /* VT-d units; 0: none */
    uint64_t iommus[ACPI_IOMMUS_MAX];
    bool iommu_remaps_interrupts;
    uint32_t iommu_ioapic_count;
    struct acpi_iommu_ioapic iommu_ioapics[ACPI_IOAPICS_MAX];
    const char *iommu_unsupported; /* an IOMMU of a kind that the kernel does not drive, or NULL */
    const char *problem;           /* the last table that was left out and why, or NULL */
};

/* Fills *out from the tables that the RSDP of `parameters` leads to. Returns NOT_FOUND when there
 * is no root table to be believed; *out then describes a machine with one CPU and nothing else. */
HALLOWS_MUST_CHECK status_t acpi_read(const struct boot_parameters *parameters, physical_view view,
                                      struct acpi_facts *out);

#endif
