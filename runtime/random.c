// SPDX-License-Identifier: MIT OR Apache-2.0
/* Source: Intel SDM vol. 1, 7.3.17 (RDRAND; ten tries suffice for a sound generator). */
#include "runtime/random.h"

#include "lib/base/bytes.h"
#include "runtime/cell.h"

#define CPUID_FEATURES 1u
#define CPUID_ECX_RDRAND (1u << 30)
#define RDRAND_TRIES 10u

static bool has_rdrand(void)
{
    uint32_t eax = CPUID_FEATURES;
    uint32_t ebx;
    uint32_t ecx = 0;
    uint32_t edx;

    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return (ecx & CPUID_ECX_RDRAND) != 0;
}

static bool read_rdrand(uint64_t *value)
{
    for (uint32_t tries = 0; tries < RDRAND_TRIES; tries++) {
        bool good;
        __asm__ volatile("rdrand %0" : "=r"(*value), "=@ccc"(good));
        if (good) {
            return true;
        }
    }
    return false;
}

/* The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
 * generators", OOPSLA 2014). */
static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ value >> 27) * 0x94d049bb133111ebull;
    return value ^ value >> 31;
}

bool random_bytes(void *to, size_t bytes)
{
    static uint64_t state;
    bool sound = has_rdrand();

    for (size_t done = 0; done < bytes;) {
        uint64_t value = 0;
        size_t left = bytes - done;
        sound = sound && read_rdrand(&value);
        state = mix(state + 0x9e3779b97f4a7c15ull + clock_ticks());
        value ^= state;
        memcpy((uint8_t *)to + done, &value, left < sizeof value ? left : sizeof value);
        done += left < sizeof value ? left : sizeof value;
    }
    return sound;
}
