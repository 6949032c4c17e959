// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/elf/elf.h"

#include <elf.h>
#include <stdlib.h>

#include "tests/check.h"

#define LOW 0x400000u
#define HIGH 0x1000000u
#define FILE_BYTES 0x2000u

static uint8_t *file_new(Elf64_Ehdr **header, Elf64_Phdr **segments)
{
    uint8_t *file = calloc(1, FILE_BYTES);
    Elf64_Ehdr *h = (Elf64_Ehdr *)file;
    Elf64_Phdr *p = (Elf64_Phdr *)(file + sizeof(*h));

    memcpy(h->e_ident, ELFMAG, SELFMAG);
    h->e_ident[EI_CLASS] = ELFCLASS64;
    h->e_ident[EI_DATA] = ELFDATA2LSB;
    h->e_ident[EI_VERSION] = EV_CURRENT;
    h->e_type = ET_EXEC;
    h->e_machine = EM_X86_64;
    h->e_entry = LOW + 0x10u;
    h->e_phoff = sizeof(*h);
    h->e_phentsize = sizeof(*p);
    h->e_phnum = 2;
    p[0] = (Elf64_Phdr){PT_LOAD, PF_R | PF_X, 0x1000, LOW, 0, 0x100, 0x100, 0x1000};
    p[1] = (Elf64_Phdr){PT_LOAD, PF_R | PF_W, 0x1800, LOW + 0x1000u, 0, 0x10, 0x3000, 0x1000};
    *header = h;
    *segments = p;
    return file;
}

static status_t try_open(const uint8_t *file, uint64_t bytes, struct elf_program *program)
{
    struct elf_limits limits = {LOW, HIGH, NULL};
    status_t status = elf_open(program, file, bytes, &limits);

    CHECK((status == STATUS_OK) == (limits.what == NULL));
    return status;
}

TEST(a_good_program_lists_its_segments)
{
    Elf64_Ehdr *h;
    Elf64_Phdr *p;
    uint8_t *file = file_new(&h, &p);
    struct elf_program program;

    CHECK_EQ(try_open(file, FILE_BYTES, &program), STATUS_OK);
    CHECK_EQ(program.entry, LOW + 0x10u);
    CHECK_EQ(program.segment_count, 2);
    CHECK_EQ(program.segments[1].memory_bytes, 0x3000);
    CHECK(program.segments[1].data == file + 0x1800);
    CHECK_EQ(program.segments[0].rights, ELF_READ | ELF_EXECUTE);
    free(file);
}

TEST(each_broken_rule_is_refused)
{
    for (uint32_t fault = 0; fault < 18u; fault++) {
        Elf64_Ehdr *h;
        Elf64_Phdr *p;
        uint8_t *file = file_new(&h, &p);
        struct elf_program program;
        status_t expected = STATUS_CORRUPT;
        uint64_t bytes = FILE_BYTES;
        switch (fault) {
        case 0:
            h->e_ident[0] = 0;
            break;
        case 1:
            h->e_ident[EI_CLASS] = ELFCLASS32;
            break;
        case 2:
            h->e_type = ET_DYN;
            break;
        case 3:
            h->e_machine = EM_386;
            break;
        case 4:
            h->e_phentsize = 32;
            break;
        case 5:
            h->e_phnum = 0;
            break;
        case 6:
            h->e_phoff = UINT64_MAX - 7u;
            break;
        case 7:
            h->e_phoff = FILE_BYTES - 8u;
            break;
        case 8:
            p[1].p_filesz = 0x4000;
            break;
        case 9:
            p[1].p_offset = UINT64_MAX;
            break;
        case 10:
            p[1].p_vaddr += 8;
            break;
        case 11:
            p[1].p_vaddr = LOW - 0x1000u;
            expected = STATUS_TOO_LARGE;
            break;
        case 12:
            p[1].p_memsz = UINT64_MAX;
            expected = STATUS_TOO_LARGE;
            break;
        case 13:
            p[1].p_vaddr = LOW;
            break;
        case 14:
            p[1].p_flags = PF_R | PF_W | PF_X;
            break;
        case 15:
            p[1].p_type = PT_DYNAMIC;
            break;
        case 16:
            h->e_entry = LOW + 0x1000u;
            break;
        default:
            bytes = 63;
            break;
        }
        CHECK_EQ(try_open(file, bytes, &program), expected);
        free(file);
    }
}

TEST(random_damage_never_reads_outside)
{
    srand(2);
    for (uint32_t round = 0; round < 50000u; round++) {
        Elf64_Ehdr *h;
        Elf64_Phdr *p;
        uint8_t *file = file_new(&h, &p);
        struct elf_program program;
        uint32_t changes = 1u + (uint32_t)rand() % 4u;
        for (uint32_t i = 0; i < changes; i++) {
            file[(size_t)rand() % (sizeof(*h) + 2u * sizeof(*p))] = (uint8_t)rand();
        }
        if (try_open(file, FILE_BYTES, &program) == STATUS_OK) {
            uint64_t end = LOW;
            for (uint32_t i = 0; i < program.segment_count; i++) {
                const struct elf_segment *s = &program.segments[i];
                CHECK(s->address >= end && s->address + s->memory_bytes <= HIGH);
                CHECK(s->file_bytes == 0 ||
                      (s->data >= file && s->data + s->file_bytes <= file + FILE_BYTES));
                end = s->address + s->memory_bytes;
            }
        }
        free(file);
    }
}
