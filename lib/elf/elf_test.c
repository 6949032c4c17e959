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

/* Breaks the header's rule `fault`; false past the last. */
static bool break_header(Elf64_Ehdr *h, uint32_t fault)
{
    uint16_t small = fault == 5u ? 0 : 2;

    h->e_ident[0] = (uint8_t)(fault == 0 ? 0 : h->e_ident[0]);
    h->e_ident[EI_CLASS] = fault == 1u ? ELFCLASS32 : ELFCLASS64;
    h->e_type = fault == 2u ? ET_DYN : ET_EXEC;
    h->e_machine = fault == 3u ? EM_386 : EM_X86_64;
    h->e_phentsize = fault == 4u ? 32 : h->e_phentsize;
    h->e_phnum = small;
    h->e_phoff = fault == 6u ? UINT64_MAX - 7u : fault == 7u ? FILE_BYTES - 8u : h->e_phoff;
    h->e_entry = fault == 8u ? LOW + 0x1000u : h->e_entry;
    return fault < 9u;
}

TEST(each_broken_header_rule_is_refused)
{
    Elf64_Ehdr *h;
    Elf64_Phdr *p;
    struct elf_program program;

    for (uint32_t fault = 0;; fault++) {
        uint8_t *file = file_new(&h, &p);
        bool broken = break_header(h, fault);
        CHECK_EQ(try_open(file, FILE_BYTES, &program), broken ? STATUS_CORRUPT : STATUS_OK);
        CHECK_EQ(try_open(file, 63, &program), STATUS_CORRUPT);
        free(file);
        if (!broken) {
            break;
        }
    }
}

TEST(each_broken_segment_rule_is_refused)
{
    static const struct {
        Elf64_Phdr segment;
        status_t status;
    } faults[] = {
        {{PT_LOAD, 6, 0x1800, LOW + 0x1000u, 0, 0x4000, 0x3000, 0}, STATUS_CORRUPT},
        {{PT_LOAD, 6, UINT64_MAX, LOW + 0x1000u, 0, 0x10, 0x3000, 0}, STATUS_CORRUPT},
        {{PT_LOAD, 6, 0x1800, LOW + 0x1008u, 0, 0x10, 0x3000, 0}, STATUS_CORRUPT},
        {{PT_LOAD, 6, 0x1800, LOW - 0x1000u, 0, 0x10, 0x3000, 0}, STATUS_TOO_LARGE},
        {{PT_LOAD, 6, 0x1800, LOW + 0x1000u, 0, 0x10, UINT64_MAX, 0}, STATUS_TOO_LARGE},
        {{PT_LOAD, 6, 0x1800, LOW, 0, 0x10, 0x3000, 0}, STATUS_CORRUPT},
        {{PT_LOAD, 7, 0x1800, LOW + 0x1000u, 0, 0x10, 0x3000, 0}, STATUS_CORRUPT},
        {{PT_LOAD, 2, 0x1800, LOW + 0x1000u, 0, 0x10, 0x3000, 0}, STATUS_CORRUPT},
        {{PT_DYNAMIC, 6, 0x1800, LOW + 0x1000u, 0, 0x10, 0x3000, 0}, STATUS_CORRUPT},
    };
    Elf64_Ehdr *h;
    Elf64_Phdr *p;
    struct elf_program program;

    for (uint32_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        uint8_t *file = file_new(&h, &p);
        p[1] = faults[i].segment;
        CHECK_EQ(try_open(file, FILE_BYTES, &program), faults[i].status);
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
