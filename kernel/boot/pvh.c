// SPDX-License-Identifier: MIT OR Apache-2.0
/* PVH start information: Xen's public/arch-x86/hvm/start_info.h, version 1. */
#include "kernel/boot/parameters.h"
#include "lib/base/bytes.h"

#define PVH_MAGIC 0x336ec578u
#define PVH_MODULES_MAX 32u
#define PVH_MEMORY_ENTRIES_MAX 256u
#define PVH_MEMORY_RAM 1u

struct pvh_start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules_address, command_line_address, rsdp_address, memory_map_address;
    uint32_t memory_map_entries, reserved;
};

struct pvh_module {
    uint64_t address, bytes, command_line_address, reserved;
};

struct pvh_memory {
    uint64_t base, bytes;
    uint32_t type, reserved;
};

static void copy_command_line(uint64_t address, physical_view view, struct boot_parameters *out)
{
    for (uint32_t i = 0; address != 0 && i < BOOT_COMMAND_LINE_BYTES - 1; i++) {
        const char *c = view(address + i, 1);
        if (c == NULL || *c == 0)
            return;
        out->command_line[i] = *c;
    }
}

status_t pvh_read(uint64_t address, physical_view view, struct boot_parameters *out)
{
    memset(out, 0, sizeof *out);
    struct pvh_start_info info;
    const void *at = view(address, sizeof info);
    if (at == NULL)
        return boot_refuse(out, "the PVH start information lies outside memory");
    memcpy(&info, at, sizeof info);
    if (info.magic != PVH_MAGIC || info.version < 1)
        return boot_refuse(out,
                           "the PVH start information has no memory map (version 1 is needed)");
    if (info.memory_map_entries > PVH_MEMORY_ENTRIES_MAX || info.module_count > PVH_MODULES_MAX)
        return boot_refuse(out, "the PVH start information lists too many ranges or modules");

    for (uint32_t i = 0; i < info.memory_map_entries; i++) {
        struct pvh_memory memory;
        at = view(info.memory_map_address + i * sizeof memory, sizeof memory);
        if (at == NULL)
            return boot_refuse(out, "the PVH memory map lies outside memory");
        memcpy(&memory, at, sizeof memory);
        if (memory.type == PVH_MEMORY_RAM &&
            memory_map_add(&out->memory, memory.base, memory.bytes) != STATUS_OK)
            return boot_refuse(out, "the PVH memory map has too many ranges");
    }
    if (info.module_count > 0) {
        struct pvh_module module;
        at = view(info.modules_address, sizeof module);
        if (at == NULL)
            return boot_refuse(out, "the PVH module list lies outside memory");
        memcpy(&module, at, sizeof module);
        out->bundle_address = module.address;
        out->bundle_bytes = module.bytes;
    }
    out->rsdp_address = info.rsdp_address;
    copy_command_line(info.command_line_address, view, out);
    return STATUS_OK;
}
