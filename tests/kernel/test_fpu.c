// SPDX-License-Identifier: MIT OR Apache-2.0
/* AVX registers across switches, lazily: users of the FPU keep theirs, and see nobody else's. */
#include "lib/base/bytes.h"
#include "runtime/upcall.h"
#include "tests/kernel/harness.h"

#define CPUID_OSXSAVE (1u << 27)
#define XSTATE_AVX 4u
#define THREADS 3u
#define ROUNDS 50u

void fpu_fill(const uint8_t pattern[32]);
uint64_t fpu_differs(const uint8_t pattern[32]);
void fpu_clean(void);

static const uint8_t zeros[32];
static volatile uint64_t wrong, dirty, finished;

static bool avx(void)
{
    uint32_t eax = 1, ebx, ecx = 0, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    if (!(ecx & CPUID_OSXSAVE))
        return false;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax & XSTATE_AVX;
}

static void keep(uint64_t number)
{
    uint8_t pattern[32];
    dirty += fpu_differs(zeros); /* a new thread's are clean */
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < sizeof pattern; i++)
            pattern[i] = (uint8_t)(number * 64 + i + round);
        fpu_fill(pattern);
        yield();
        wrong += fpu_differs(pattern);
    }
    finished++;
}

KERNEL_TEST(avx_registers_survive_switches)
{
    if (!avx())
        return test_skip("this CPU has no AVX");
    wrong = dirty = finished = 0;
    for (uint64_t i = 0; i < THREADS; i++)
        (void)helper_start(keep, i + 1, PRIORITY_LOW);
    for (uint32_t i = 0; i < 1000 && finished < THREADS; i++)
        pause_ns(2000000); /* long for a checked kernel, too */
    EXPECT_EQ(finished, THREADS);
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(dirty, 0);
}

static void look(uint64_t unused)
{
    (void)unused;
    dirty += fpu_differs(zeros);
    finished++;
}

KERNEL_TEST(a_new_thread_has_clean_registers)
{
    if (!avx())
        return test_skip("this CPU has no AVX");
    uint8_t secret[32];
    memset(secret, 0x77, sizeof secret);
    dirty = finished = 0;
    for (uint32_t round = 0; round < 3; round++) {
        fpu_fill(secret);
        (void)helper_start(look, 0, PRIORITY_HIGH);
    }
    EXPECT_EQ(finished, 3);
    EXPECT_EQ(dirty, 0);
    fpu_clean();
}

static uint8_t stack[8192] __attribute__((aligned(16)));
static volatile uint64_t came;

static void overwrite(struct upcall_area *area, uint64_t events)
{
    (void)events;
    uint8_t other[32];
    memset(other, 0xee, sizeof other);
    fpu_fill(other);
    came++;
    area->frame.ip += 2;
}

KERNEL_TEST(an_upcall_handler_may_use_avx)
{
    if (!avx())
        return test_skip("this CPU has no AVX");
    uint8_t mine[32];
    uint64_t address = test_address();
    cap_slot_t segment = segment_new(1, RIGHT_READ | RIGHT_WRITE);
    EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RIGHT_READ | RIGHT_WRITE));
    upcall_open((struct upcall_area *)address, overwrite, stack + sizeof stack);
    EXPECT_OK(thread_set_upcall(BOOT_SLOT_THREAD, segment, 0, UPCALL_FAULT));
    memset(mine, 0x33, sizeof mine);
    came = 0;
    fpu_fill(mine);
    __asm__ volatile("ud2" : : : "memory");
    EXPECT_EQ(fpu_differs(mine), 0);
    EXPECT_EQ(came, 1);
    fpu_clean();
    EXPECT_OK(thread_set_upcall(BOOT_SLOT_THREAD, 0, 0, 0));
}
