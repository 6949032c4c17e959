// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/cell.h"
#include "runtime/syscall.h"

#define CPUID_1_ECX_RDRAND (1u << 30)
#define RDRAND_TRIES 32u /* Intel SDM vol. 1, 7.3.17.1 asks for 10 */

static bool has_rdrand(void)
{
    uint32_t eax = 1;
    uint32_t ebx;
    uint32_t ecx = 0;
    uint32_t edx;

    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return (ecx & CPUID_1_ECX_RDRAND) != 0;
}

static bool rdrand(uint64_t *word)
{
    for (uint32_t i = 0; i < RDRAND_TRIES; i++) {
        uint8_t ok;
        __asm__ volatile("rdrand %0; setc %1" : "=r"(*word), "=qm"(ok) : : "cc");
        if (ok != 0) {
            return true;
        }
    }
    return false;
}

/* The low bits of the clock around yields, stirred. */
static uint64_t clock_word(void)
{
    uint64_t word = clock_ticks();

    for (uint32_t i = 0; i < 64; i++) {
        (void)yield();
        word = (word ^ clock_ticks()) * 0x9e3779b97f4a7c15ull;
        word ^= word >> 29;
    }
    return word;
}

bool entropy_fill(uint64_t *words, size_t count)
{
    bool good = has_rdrand();

    for (size_t i = 0; i < count; i++) {
        if (!good || !rdrand(&words[i])) {
            good = false;
            words[i] = clock_word();
        }
    }
    return good;
}
