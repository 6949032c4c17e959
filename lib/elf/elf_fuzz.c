// SPDX-License-Identifier: MIT OR Apache-2.0
/* Programs of cells, as a bundle of doubtful origin may hold them. */
#include "lib/base/endian.h"
#include "lib/elf/elf.h"
#include "tests/fuzz.h"

#define LOW 0x1000u
#define HIGH 0x800000000000ull

/* What every program has in its header, so that the fuzzer need not guess it. */
static void repair(uint8_t *file, size_t bytes)
{
    static const uint8_t start[24] = {0x7f, 'E', 'L', 'F', 2, 1, 1,  0, 0, 0, 0, 0,
                                      0,    0,   0,   0,   2, 0, 62, 0, 1, 0, 0, 0};

    if (bytes < 64u || file[0] == 0) {
        return;
    }
    memcpy(file, start, sizeof(start));
    store_le64(file + 32, 64); /* the program headers follow */
    store_le16(file + 52, 64);
    store_le16(file + 54, 56);
    store_le16(file + 56, file[56] % 10u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint8_t *file = fuzz_copy(data, bytes, 0);
    struct elf_program program;
    struct elf_limits limits = {.low = LOW, .high = HIGH};

    repair(file, bytes);
    if (elf_open(&program, file, bytes, &limits) == STATUS_OK) {
        uint64_t end = LOW;
        bool entered = false;
        VERIFY(program.segment_count >= 1u && program.segment_count <= ELF_SEGMENTS_MAX);
        for (uint32_t n = 0; n < program.segment_count; n++) {
            const struct elf_segment *s = &program.segments[n];
            VERIFY(s->memory_bytes > 0 && s->file_bytes <= s->memory_bytes);
            VERIFY(fuzz_within(s->data, s->file_bytes, file, bytes));
            VERIFY((s->rights & (ELF_WRITE | ELF_EXECUTE)) != (ELF_WRITE | ELF_EXECUTE));
            VERIFY(s->address % 4096u == 0 && s->address >= end && s->address < HIGH);
            VERIFY(s->memory_bytes <= HIGH - s->address);
            end = s->address + s->memory_bytes;
            entered |= (s->rights & ELF_EXECUTE) != 0 && program.entry >= s->address &&
                       program.entry < end;
        }
        VERIFY(entered);
    } else {
        VERIFY(limits.what != NULL);
    }
    free(file);
    return 0;
}
