// SPDX-License-Identifier: MIT OR Apache-2.0
/* What a CPU holds of a thread (AVX registers, FS and GS base) goes along when the thread moves to
 * another CPU while it runs. */
#include "lib/base/bytes.h"
#include "tests/kernel/harness.h"

#define MOVES 300u
#define THREADS 3u
#define WAIT_NS 10000000000u

void fpu_fill(const uint8_t pattern[32]);
uint64_t fpu_differs(const uint8_t pattern[32]);

static volatile bool stop;
static volatile uint64_t wrong, finished, rounds[THREADS];

static bool cpuid_has(uint32_t leaf, bool ebx, uint32_t bit)
{
    uint32_t a = leaf, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return ((ebx ? b : c) >> bit & 1) != 0;
}

static bool has_avx(void)
{
    uint32_t a, d;
    if (!cpuid_has(1, false, 27)) /* OSXSAVE */
        return false;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return (a & 4) != 0;
}

static void bases_set(uint64_t fs, uint64_t gs)
{
    __asm__ volatile("wrfsbase %0\n\twrgsbase %1" : : "r"(fs), "r"(gs));
}

static bool bases_are(uint64_t fs, uint64_t gs)
{
    uint64_t f, g;
    __asm__ volatile("rdfsbase %0\n\trdgsbase %1" : "=r"(f), "=r"(g));
    return f == fs && g == gs;
}

static void keep(uint64_t number)
{
    uint8_t pattern[32];
    bool bases = cpuid_has(7, true, 0), avx = has_avx();
    uint64_t fs = 0x10000 * (number + 1), gs = 0x777000 + number;
    memset(pattern, (int)(0x11 * (number + 1)), sizeof pattern);
    if (avx)
        fpu_fill(pattern);
    if (bases)
        bases_set(fs, gs);
    while (!stop) {
        if (avx && fpu_differs(pattern))
            wrong |= 1;
        if (bases && !bases_are(fs, gs))
            wrong |= 2;
        rounds[number] = rounds[number] + 1;
    }
    if (bases)
        bases_set(0, 0);
    __atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
}

static void wait_rounds(uint32_t number)
{
    uint64_t first = rounds[number];
    time_ns_t end = now_ns() + WAIT_NS;

    while (rounds[number] == first && now_ns() < end)
        pause_ns(500000); /* long enough for whoever shares this CPU to run */
    EXPECT(rounds[number] != first);
}

KERNEL_TEST(registers_go_along_to_another_cpu)
{
    struct helper helpers[THREADS];
    uint32_t cpus = boot->cpus_used;
    if (cpus < 2)
        return test_skip("one CPU");
    stop = false;
    wrong = finished = 0;
    for (uint32_t i = 0; i < THREADS; i++)
        helpers[i] = helper_start(keep, i, PRIORITY_LOW);
    for (uint32_t n = 0; n < MOVES; n++) {
        uint32_t i = n % THREADS;
        EXPECT_OK(thread_set_cpu(helpers[i].thread, BOOT_SLOT_SCHED_CONTROL,
                                 (n / THREADS + (n % 2) * i) % cpus));
        if (n % 8 == 0)
            wait_rounds(i);
    }
    stop = true;
    for (time_ns_t end = now_ns() + WAIT_NS; finished < THREADS && now_ns() < end;)
        pause_ns(100000);
    EXPECT_EQ(finished, THREADS);
    EXPECT_EQ(wrong, 0);
}
