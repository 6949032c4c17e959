/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Marks for bench/plugin/events_host.c: no-ops that tell it where a measurement begins and ends
 * (outside of what is timed) and that a figure is reported. One instruction, no effect.
 */
#ifndef TESTS_KERNEL_BENCH_MARKS_H
#define TESTS_KERNEL_BENCH_MARKS_H

#define BENCH_MARK_BASE 0x48420000
#define BENCH_MARK_BEGIN 1
#define BENCH_MARK_END 2
#define BENCH_MARK_REPORT 3
#define BENCH_MARK_BYTES 7 /* NOP with a 32-bit displacement */

#ifdef __ASSEMBLER__
#define BENCH_MARK(number) nopl BENCH_MARK_BASE + number(% rax)
#else
#define BENCH_MARK(number)                                                                         \
    __asm__ volatile("nopl %c0(%%rax)" : : "i"(BENCH_MARK_BASE + (number)) : "memory")
#endif

#endif
