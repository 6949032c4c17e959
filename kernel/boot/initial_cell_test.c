// SPDX-License-Identifier: MIT OR Apache-2.0
/* The initial cell on the host's machine: what it gets, and bundles that are refused. */
#include "kernel/boot/initial_cell.h"

#include <elf.h>
#include <hallows/cell.h>
#include <stdlib.h>

#include "kernel/arch/host/harness.h"
#include "lib/base/crc32c.h"
#include "tests/check.h"

#define MEMORY_BYTES 0x1000000u
#define BUNDLE_AT 0x800000u
#define PROGRAM_OFFSET PAGE_BYTES
#define PROGRAM_BYTES 0x2000u
#define BUNDLE_SIZE (PROGRAM_OFFSET + PROGRAM_BYTES)
#define START_MEMORY_AT 0x100000u
#define FREE_AT 0xa00000u
#define FREE_BYTES 0x400000u

static struct cpu cpus[1];
static struct page page_table[MEMORY_BYTES / PAGE_BYTES];
static struct boot_parameters parameters;
static struct acpi_facts facts = {.cpu_count = 3, .ecam_base = 0xb0000000u, .s5_sleep_type = 5};
static const struct time_calibration calibration = {1, 2, 3};
static struct initial_cell_request request;

static void make_program(uint8_t *file)
{
    Elf64_Ehdr *h = (Elf64_Ehdr *)file;
    Elf64_Phdr *p = (Elf64_Phdr *)(file + sizeof *h);
    memset(file, 0, PROGRAM_BYTES);
    memcpy(h->e_ident, ELFMAG, SELFMAG);
    h->e_ident[EI_CLASS] = ELFCLASS64;
    h->e_ident[EI_DATA] = ELFDATA2LSB;
    h->e_ident[EI_VERSION] = EV_CURRENT;
    h->e_type = ET_EXEC;
    h->e_machine = EM_X86_64;
    h->e_entry = CELL_PROGRAM_ADDRESS + 0x20;
    h->e_phoff = sizeof *h;
    h->e_phentsize = sizeof *p;
    h->e_phnum = 2;
    p[0] =
        (Elf64_Phdr){PT_LOAD, PF_R | PF_X, 0x1000, CELL_PROGRAM_ADDRESS, 0, 0x100, 0x100, 0x1000};
    p[1] = (Elf64_Phdr){PT_LOAD, PF_R | PF_W, 0x1800, CELL_PROGRAM_ADDRESS + 0x1000,
                        0,       0x10,        0x3000, 0x1000};
    memset(file + 0x1000, 0x90, 0x100);
    memset(file + 0x1800, 0x33, 0x10);
}

static struct bundle_entry *entry_of(void)
{
    return (struct bundle_entry *)(host_memory + BUNDLE_AT + sizeof(struct bundle_header));
}

/* Makes both checksums right again. */
static void seal(void)
{
    struct bundle_header *header = (struct bundle_header *)(host_memory + BUNDLE_AT);
    struct bundle_entry *entry = entry_of();
    if (entry->offset <= BUNDLE_SIZE && entry->bytes <= BUNDLE_SIZE - entry->offset)
        entry->crc32c = crc32c(0, host_memory + BUNDLE_AT + entry->offset, entry->bytes);
    header->entries_crc32c = crc32c(0, entry, sizeof *entry);
}

static void prepare(void)
{
    if (kernel_under_test == NULL)
        kernel_under_test = malloc(sizeof *kernel_under_test);
    memset(kernel_under_test, 0, sizeof *kernel_under_test);
    memset(page_table, 0, sizeof page_table);
    memset(cpus, 0, sizeof cpus);
    host_cpu = cpus;
    host_machine_start(MEMORY_BYTES);
    kernel_init(kernel_under_test, cpus, 1, page_table, MEMORY_BYTES / PAGE_BYTES);

    struct bundle_header *header = (struct bundle_header *)(host_memory + BUNDLE_AT);
    *header = (struct bundle_header){BUNDLE_MAGIC, BUNDLE_VERSION, 1, BUNDLE_SIZE, 0, 0};
    *entry_of() =
        (struct bundle_entry){"test", BUNDLE_INITIAL_CELL, 0, PROGRAM_OFFSET, PROGRAM_BYTES};
    make_program(host_memory + BUNDLE_AT + PROGRAM_OFFSET);
    seal();

    parameters = (struct boot_parameters){.bundle_address = BUNDLE_AT, .bundle_bytes = BUNDLE_SIZE};
    strcpy(parameters.command_line, "words");
    request = (struct initial_cell_request){.parameters = &parameters,
                                            .facts = &facts,
                                            .time = &calibration,
                                            .start_memory_base = START_MEMORY_AT,
                                            .ram_bytes = MEMORY_BYTES};
    request.start_memory_bytes = initial_cell_memory(&parameters);
    CHECK(START_MEMORY_AT + request.start_memory_bytes <= BUNDLE_AT);
    CHECK_EQ(memory_map_add(&request.free, FREE_AT, FREE_BYTES), STATUS_OK);
    CHECK_EQ(memory_map_add(&request.device, 0xfe000000u, 0x10000), STATUS_OK);
}

static status_t start(void)
{
    return initial_cell_start(kernel_under_test, &request);
}

/* What the initial cell sees at an address, through its tables. */
static const void *seen(uint64_t address)
{
    struct kernel *k = kernel_under_test;
    uint64_t table = aspace_at(k, thread_at(k, current_thread(k))->aspace)->paging.physical;
    for (uint32_t level = PAGING_LEVEL_TOP; level > 0; level--) {
        uint64_t entry = ((const uint64_t *)arch_memory(table))[paging_index(address, level)];
        if (entry == 0)
            return NULL;
        table = arch_leaf_physical(entry);
    }
    uint64_t leaf = ((const uint64_t *)arch_memory(table))[paging_index(address, 0)];
    return arch_leaf_rights(leaf) == 0
               ? NULL
               : (const uint8_t *)arch_memory(arch_leaf_physical(leaf)) + address % PAGE_BYTES;
}

TEST(the_cell_gets_its_program_stack_bundle_and_page)
{
    prepare();
    CHECK_EQ(start(), STATUS_OK);
    harness_check("initial cell");
    const struct registers *r =
        &thread_at(kernel_under_test, current_thread(kernel_under_test))->registers;
    CHECK_EQ(r->ip, CELL_PROGRAM_ADDRESS + 0x20);
    CHECK_EQ(r->sp, CELL_STACK_TOP);
    CHECK_EQ(r->arg0, CELL_INFO_ADDRESS);
    const uint8_t *code = seen(CELL_PROGRAM_ADDRESS);
    const uint8_t *data = seen(CELL_PROGRAM_ADDRESS + 0x1000);
    CHECK(code != NULL && code[0] == 0x90 && code[0xff] == 0x90 && code[0x100] == 0);
    CHECK(data != NULL && data[0xf] == 0x33 && data[0x10] == 0);
    CHECK(seen(CELL_PROGRAM_ADDRESS + 0x3000) != NULL);
    CHECK(seen(CELL_PROGRAM_ADDRESS + 0x4000) == NULL);
    CHECK(seen(CELL_STACK_TOP - 8) != NULL);
    CHECK(seen(CELL_STACK_TOP - INITIAL_CELL_STACK_BYTES - 8) == NULL);
    CHECK(seen(INITIAL_CELL_BUNDLE_ADDRESS + BUNDLE_SIZE - 1) ==
          host_memory + BUNDLE_AT + BUNDLE_SIZE - 1);

    const struct boot_info *info = seen(CELL_INFO_ADDRESS);
    CHECK(info != NULL);
    if (info == NULL)
        return;
    CHECK_EQ(info->magic, (int64_t)BOOT_INFO_MAGIC);
    CHECK_EQ(info->untyped_count, 1);
    CHECK_EQ(info->untyped[0].base, FREE_AT);
    CHECK_EQ(info->untyped[0].bytes, FREE_BYTES);
    CHECK_EQ(info->device_memory_count, 1);
    CHECK_EQ(info->first_free_slot, info->device_memory[0].slot + 1);
    CHECK_EQ(info->cpu_count, 3);
    CHECK_TEXT(info->command_line, "words");
}

TEST(the_largest_of_too_many_ranges_are_kept)
{
    prepare();
    request.free.count = 0;
    for (uint32_t i = 0; i < BOOT_UNTYPED_MAX + 10; i++)
        CHECK_EQ(
            memory_map_add(&request.free, FREE_AT + i * 0x10000ull, (i % 2 ? 3 : 1) * PAGE_BYTES),
            STATUS_OK);
    CHECK_EQ(start(), STATUS_OK);
    harness_check("initial cell");
    const struct boot_info *info = seen(CELL_INFO_ADDRESS);
    uint32_t large = 0;
    for (uint32_t i = 0; i < info->untyped_count; i++)
        large += info->untyped[i].bytes == 3 * PAGE_BYTES;
    CHECK_EQ(info->untyped_count, BOOT_UNTYPED_MAX);
    CHECK_EQ(large, (BOOT_UNTYPED_MAX + 10) / 2);
}

TEST(wrong_bundles_are_refused_with_a_reason)
{
    prepare();
    entry_of()->kind = BUNDLE_CELL;
    seal();
    CHECK_EQ(start(), STATUS_NOT_FOUND);
    CHECK_TEXT(request.problem, "it holds no initial cell");
    prepare();
    host_memory[BUNDLE_AT + PROGRAM_OFFSET + 0x1000] ^= 1;
    CHECK_EQ(start(), STATUS_CORRUPT);
    prepare();
    parameters.bundle_bytes = 10;
    CHECK_EQ(start(), STATUS_CORRUPT);
    CHECK(request.problem != NULL);
    prepare();
    ((Elf64_Phdr *)(host_memory + BUNDLE_AT + PROGRAM_OFFSET + sizeof(Elf64_Ehdr)))[1].p_memsz =
        0x8000000;
    seal();
    CHECK_EQ(start(), STATUS_NO_MEMORY);
}

/* Damage that gets past the checksums: refused with a reason, or started with sound state. */
TEST(random_damage_does_no_harm)
{
    srand(5);
    for (uint32_t round = 0; round < 120; round++) {
        prepare();
        for (int damage = rand() % 3; damage >= 0; damage--) {
            uint32_t at = rand() % 4 == 0
                              ? (uint32_t)sizeof(struct bundle_header) + 40 + (uint32_t)rand() % 24
                              : PROGRAM_OFFSET + (uint32_t)rand() % 0xb0;
            host_memory[BUNDLE_AT + at] = (uint8_t)(rand() % 2 ? rand() : 0xff);
        }
        seal();
        status_t status = start();
        CHECK(status == STATUS_OK || request.problem != NULL);
        if (status == STATUS_OK)
            harness_check("damaged program");
    }
}
