// SPDX-License-Identifier: MIT OR Apache-2.0
/* Multiboot2 boot information: Multiboot2 specification 2.0, section 3.6. */
#include "kernel/boot/parameters.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"

#define INFORMATION_BYTES_MAX 0x100000u
#define TAGS_MAX 256u
#define TAG_HEADER_BYTES 8u
#define MEMORY_ENTRIES_MAX 1024u
#define MEMORY_ENTRY_BYTES_MIN 24u
#define MEMORY_ENTRY_BYTES_MAX 256u
#define MEMORY_AVAILABLE 1u

enum tag_type {
    TAG_END = 0,
    TAG_COMMAND_LINE = 1,
    TAG_MODULE = 3,
    TAG_MEMORY_MAP = 6,
    TAG_RSDP_OLD = 14,
    TAG_RSDP_NEW = 15
};

static status_t read_memory_map(const uint8_t *tag, uint32_t bytes, struct boot_parameters *out)
{
    if (bytes < 16)
        return boot_refuse(out, "the Multiboot2 memory map is cut off");
    uint32_t entry_bytes = load_le32(tag + 8);
    if (entry_bytes < MEMORY_ENTRY_BYTES_MIN || entry_bytes > MEMORY_ENTRY_BYTES_MAX)
        return boot_refuse(out,
                           "the Multiboot2 memory map has entries of a size that makes no sense");
    uint32_t at = 16;
    for (uint32_t i = 0; i < MEMORY_ENTRIES_MAX && bytes - at >= entry_bytes; i++) {
        if (load_le32(tag + at + 16) == MEMORY_AVAILABLE &&
            memory_map_add(&out->memory, load_le64(tag + at), load_le64(tag + at + 8)) != STATUS_OK)
            return boot_refuse(out, "the Multiboot2 memory map has too many ranges");
        at += entry_bytes;
    }
    return STATUS_OK;
}

static void read_rsdp(const uint8_t *tag, uint32_t bytes, struct boot_parameters *out)
{
    uint32_t length = bytes - TAG_HEADER_BYTES;
    if (length < 20)
        return;
    memset(out->rsdp_copy, 0, sizeof out->rsdp_copy);
    memcpy(out->rsdp_copy, tag + TAG_HEADER_BYTES,
           length < BOOT_RSDP_BYTES ? length : BOOT_RSDP_BYTES);
    out->has_rsdp_copy = true;
}

static status_t read_tag(const uint8_t *tag, uint32_t bytes, struct boot_parameters *out)
{
    switch (load_le32(tag)) {
    case TAG_COMMAND_LINE:
        for (uint32_t i = 0; i < bytes - TAG_HEADER_BYTES && i < BOOT_COMMAND_LINE_BYTES - 1; i++) {
            char c = (char)tag[TAG_HEADER_BYTES + i];
            if (c == 0)
                break;
            out->command_line[i] = c;
        }
        return STATUS_OK;
    case TAG_MODULE:
        if (bytes < 16)
            return boot_refuse(out, "a Multiboot2 module tag is cut off");
        if (out->bundle_bytes == 0 && load_le32(tag + 12) > load_le32(tag + 8)) {
            out->bundle_address = load_le32(tag + 8);
            out->bundle_bytes = load_le32(tag + 12) - load_le32(tag + 8);
        }
        return STATUS_OK;
    case TAG_MEMORY_MAP:
        return read_memory_map(tag, bytes, out);
    case TAG_RSDP_OLD:
        if (!out->has_rsdp_copy)
            read_rsdp(tag, bytes, out);
        return STATUS_OK;
    case TAG_RSDP_NEW:
        read_rsdp(tag, bytes, out);
        return STATUS_OK;
    default:
        return STATUS_OK;
    }
}

status_t multiboot2_read(uint64_t address, physical_view view, struct boot_parameters *out)
{
    memset(out, 0, sizeof *out);
    const uint8_t *head = view(address, 8);
    if (head == NULL)
        return boot_refuse(out, "the Multiboot2 information lies outside memory");
    uint32_t total = load_le32(head);
    if (total < 16 || total > INFORMATION_BYTES_MAX)
        return boot_refuse(out, "the Multiboot2 information has a length that makes no sense");
    const uint8_t *info = view(address, total);
    if (info == NULL)
        return boot_refuse(out, "the Multiboot2 information lies outside memory");

    uint32_t at = 8;
    for (uint32_t i = 0; i < TAGS_MAX && total - at >= TAG_HEADER_BYTES; i++) {
        uint32_t bytes = load_le32(info + at + 4);
        if (load_le32(info + at) == TAG_END)
            return STATUS_OK;
        if (bytes < TAG_HEADER_BYTES || bytes > total - at)
            return boot_refuse(out, "a Multiboot2 tag reaches beyond the information");
        status_t status = read_tag(info + at, bytes, out);
        if (status != STATUS_OK)
            return status;
        uint32_t step = (bytes + 7u) & ~7u;
        if (step > total - at)
            return boot_refuse(out, "a Multiboot2 tag reaches beyond the information");
        at += step;
    }
    return boot_refuse(out, "the Multiboot2 information has no end tag");
}
