// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Checked reader of statically linked x86-64 ELF executables (System V ABI, gABI chapters 4 and 5).
 * elf_open checks everything and lists the loadable segments. The
 * file's memory stays the caller's, must not change, and lies at a multiple of 8.
 */
#ifndef LIB_ELF_ELF_H
#define LIB_ELF_ELF_H

#include <hallows/status.h>
#include <hallows/types.h>

#define ELF_SEGMENTS_MAX 8u

enum elf_rights { ELF_EXECUTE = 1, ELF_WRITE = 2, ELF_READ = 4 }; /* PF_X, PF_W, PF_R */

/* A loadable segment: `file_bytes` from the file, the rest up to memory_bytes zero. */
struct elf_segment {
    uint64_t address; /* page-aligned */
    const uint8_t *data;
    uint64_t file_bytes;
    uint64_t memory_bytes; /* > 0 */
    uint32_t rights;       /* enum elf_rights; never WRITE together with EXECUTE */
};

struct elf_program {
    uint64_t entry; /* inside an executable segment */
    uint32_t segment_count;
    struct elf_segment segments[ELF_SEGMENTS_MAX]; /* ascending, on pages of their own */
};

/* Where segments may lie, and what is wrong with a file that is refused. */
struct elf_limits {
    uint64_t low;
    uint64_t high;
    const char *what; /* out */
};

/* Reads the program in `bytes` bytes at `file`, whose segments must lie in low <= address < high.
 * CORRUPT: no such file, or it breaks a rule above; TOO_LARGE: outside [low, high) or too many
 * segments. limits->what then says what is wrong. */
status_t elf_open(struct elf_program *program, const void *file, uint64_t bytes,
                  struct elf_limits *limits) HALLOWS_MUST_CHECK;

#endif
