// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/arch/x86_64/slide.h"

#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/entries.h"
#include "kernel/arch/x86_64/paging.h"
#include "lib/base/bytes.h"

#define RANDOM_TRIES 10u                 /* SDM vol. 1, 7.3.17: ten failures mean a broken one */
#define MIX_FACTOR 0x9e3779b97f4a7c15ull /* 2^64 by the golden ratio, odd */
#define WORD_64 (1u << 31)               /* of a relocation: 64 bits there, not 32 */
#define OPTION "nokaslr"

extern const uint32_t relocations[], relocations_end[]; /* tools/kernel_relocations.py */
extern const char image_physical_end[];
extern uint64_t early_image_directory[], early_image_table[]; /* boot.S */

static uint64_t mix(uint64_t state, uint64_t word)
{
    state = (state ^ word) * MIX_FACTOR;
    return state ^ state >> 32;
}

static uint64_t machine_random(uint64_t state)
{
    bool random = cpuid(1, 0).ecx >> 30 & 1;
    bool seed = cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx >> 18 & 1) != 0;
    uint64_t word = 0;
    bool done = false;
    for (uint32_t i = 0; seed && i < RANDOM_TRIES && !done; i++)
        __asm__ volatile("rdseed %0" : "=r"(word), "=@ccc"(done));
    for (uint32_t i = 0; random && i < RANDOM_TRIES && !done; i++)
        __asm__ volatile("rdrand %0" : "=r"(word), "=@ccc"(done));
    return mix(mix(state, word), rdtsc());
}

static bool refused(const char *command_line)
{
    for (uint32_t i = 0; i + sizeof OPTION <= BOOT_COMMAND_LINE_BYTES; i++)
        if (memcmp(command_line + i, OPTION, sizeof OPTION - 1) == 0)
            return true;
    return false;
}

void slide_image(const struct boot_parameters *parameters)
{
    const uint64_t *words = (const uint64_t *)parameters;
    uint64_t state = 0;
    for (uint32_t i = 0; i < sizeof *parameters / sizeof *words; i++)
        state = mix(state, words[i]);
    state = machine_random(state);
    uint64_t pages = ((uint64_t)image_physical_end - KERNEL_PHYSICAL) / PAGE_BYTES;
    uint64_t window = ((state >> 32) * SLIDE_WINDOWS >> 32) + 1;
    uint64_t page = (uint32_t)state * (513 - pages) >> 32;
    if (refused(parameters->command_line))
        return;
    for (uint64_t i = 0; i < pages; i++)
        early_image_table[page + i] = (KERNEL_PHYSICAL + i * PAGE_BYTES) | PTE_PRESENT | PTE_WRITE;
    early_image_directory[1 + window] =
        ((uint64_t)early_image_table - (uint64_t)image_base) | PTE_PRESENT | PTE_WRITE;
    uint64_t slide = window * SEGMENT_BYTES + page * PAGE_BYTES;
    /* Whatever this runs into meanwhile, changed or not, shows the same memory. */
    char *image = physical_pointer(KERNEL_PHYSICAL);
    const uint32_t *r = relocations, *end = relocations_end;
    __asm__("" : "+r"(r), "+r"(end)); /* held in registers: this loop's code changes, too */
    for (; r < end; r++) {
        void *at = image + (*r & ~WORD_64);
        if ((*r & WORD_64) != 0)
            *(uint64_t *)at += slide;
        else
            *(uint32_t *)at += (uint32_t)slide;
    }
    write_cr3(read_cr3()); /* serialises: what was fetched before the change is fetched again */
}
