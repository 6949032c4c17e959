// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/elf/elf.h"

#include "lib/base/bytes.h"

/* gABI, "ELF Header". */
struct elf_header {
    uint8_t ident[16];
    uint16_t type;
    uint16_t machine;
    uint32_t version;
    uint64_t entry;
    uint64_t program_offset;
    uint64_t section_offset;
    uint32_t flags;
    uint16_t header_bytes;
    uint16_t program_entry_bytes;
    uint16_t program_count;
    uint16_t section_entry_bytes;
    uint16_t section_count;
    uint16_t names_section;
};

/* gABI, "Program Header". */
struct elf_program_header {
    uint32_t type;
    uint32_t flags;
    uint64_t offset;
    uint64_t address;
    uint64_t physical_address;
    uint64_t file_bytes;
    uint64_t memory_bytes;
    uint64_t alignment;
};

_Static_assert(sizeof(struct elf_header) == 64, "file format");
_Static_assert(sizeof(struct elf_program_header) == 56, "file format");

#define TYPE_EXECUTABLE 2u     /* ET_EXEC */
#define MACHINE_X86_64 62u     /* EM_X86_64 */
#define PROGRAM_LOAD 1u        /* PT_LOAD */
#define PROGRAM_DYNAMIC 2u     /* PT_DYNAMIC */
#define PROGRAM_INTERPRETER 3u /* PT_INTERP */
#define PROGRAM_COUNT_MAX 64u

static status_t refuse(struct elf_limits *limits, status_t status, const char *what)
{
    limits->what = what;
    return status;
}

static status_t header_check(const struct elf_header *header, uint64_t bytes,
                             struct elf_limits *limits)
{
    /* Magic, 64-bit class, little-endian, version 1. */
    static const uint8_t ident[7] = {0x7f, 'E', 'L', 'F', 2, 1, 1};

    if (bytes < sizeof(*header) || memcmp(header->ident, ident, sizeof(ident)) != 0) {
        return refuse(limits, STATUS_CORRUPT, "it is no 64-bit little-endian ELF file");
    }
    if (header->type != TYPE_EXECUTABLE || header->machine != MACHINE_X86_64) {
        return refuse(limits, STATUS_CORRUPT, "it is no static x86-64 executable");
    }
    if (header->program_entry_bytes != sizeof(struct elf_program_header) ||
        header->program_count == 0 || header->program_count > PROGRAM_COUNT_MAX) {
        return refuse(limits, STATUS_CORRUPT, "its program headers have a wrong size or number");
    }
    uint64_t table = header->program_count * sizeof(struct elf_program_header);
    if (header->program_offset % 8u != 0 || header->program_offset > bytes ||
        table > bytes - header->program_offset) {
        return refuse(limits, STATUS_CORRUPT, "its program headers lie outside the file");
    }
    return STATUS_OK;
}

static status_t load_check(const struct elf_program_header *h, uint64_t bytes, uint64_t lowest,
                           struct elf_limits *limits)
{
    if (h->file_bytes > h->memory_bytes || h->offset > bytes || h->file_bytes > bytes - h->offset) {
        return refuse(limits, STATUS_CORRUPT, "a segment's data lies outside the file");
    }
    if (h->address % PAGE_BYTES != 0) {
        return refuse(limits, STATUS_CORRUPT, "a segment does not start on a page");
    }
    if (h->address < limits->low || h->address >= limits->high ||
        h->memory_bytes > limits->high - h->address) {
        return refuse(limits, STATUS_TOO_LARGE, "a segment lies outside the program's addresses");
    }
    if (h->address < lowest) {
        return refuse(limits, STATUS_CORRUPT, "segments overlap or share a page");
    }
    if ((h->flags & ELF_WRITE) != 0 && (h->flags & ELF_EXECUTE) != 0) {
        return refuse(limits, STATUS_CORRUPT, "a segment is both writable and executable");
    }
    if ((h->flags & ELF_READ) == 0) {
        return refuse(limits, STATUS_CORRUPT, "a segment is not readable");
    }
    return STATUS_OK;
}

static bool entry_is_executable(const struct elf_program *program)
{
    for (uint32_t i = 0; i < program->segment_count; i++) {
        const struct elf_segment *s = &program->segments[i];
        if ((s->rights & ELF_EXECUTE) != 0 && program->entry >= s->address &&
            program->entry - s->address < s->file_bytes) {
            return true;
        }
    }
    return false;
}

static status_t segments_read(struct elf_program *program, const uint8_t *file, uint64_t bytes,
                              struct elf_limits *limits)
{
    const struct elf_header *header = (const struct elf_header *)file;
    const struct elf_program_header *table =
        (const struct elf_program_header *)(file + header->program_offset);
    uint64_t lowest = 0;

    for (uint32_t i = 0; i < header->program_count; i++) {
        const struct elf_program_header *h = &table[i];
        if (h->type == PROGRAM_DYNAMIC || h->type == PROGRAM_INTERPRETER) {
            return refuse(limits, STATUS_CORRUPT, "it is dynamically linked");
        }
        if (h->type != PROGRAM_LOAD || h->memory_bytes == 0) {
            continue;
        }
        if (program->segment_count == ELF_SEGMENTS_MAX) {
            return refuse(limits, STATUS_TOO_LARGE, "it has too many segments");
        }
        status_t status = load_check(h, bytes, lowest, limits);
        if (status != STATUS_OK) {
            return status;
        }
        program->segments[program->segment_count++] = (struct elf_segment){
            .address = h->address,
            .data = file + h->offset,
            .file_bytes = h->file_bytes,
            .memory_bytes = h->memory_bytes,
            .rights = h->flags & (ELF_READ | ELF_WRITE | ELF_EXECUTE),
        };
        lowest = (h->address + h->memory_bytes + PAGE_BYTES - 1u) & ~(uint64_t)(PAGE_BYTES - 1u);
    }
    return STATUS_OK;
}

status_t elf_open(struct elf_program *program, const void *file, uint64_t bytes,
                  struct elf_limits *limits)
{
    const struct elf_header *header = file;
    status_t status = header_check(header, bytes, limits);

    if (status != STATUS_OK) {
        return status;
    }
    *program = (struct elf_program){.entry = header->entry};
    status = segments_read(program, file, bytes, limits);
    if (status != STATUS_OK) {
        return status;
    }
    if (!entry_is_executable(program)) {
        return refuse(limits, STATUS_CORRUPT, "its entry lies in no executable segment");
    }
    return STATUS_OK;
}
