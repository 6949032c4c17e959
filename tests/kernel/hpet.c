// SPDX-License-Identifier: MIT OR Apache-2.0
#include "tests/kernel/hpet.h"

#include "tests/kernel/harness.h"

#define HPET_ADDRESS 0xfed00000ull
#define RW (RIGHT_READ | RIGHT_WRITE)

volatile uint64_t *hpet_map(void)
{
    cap_slot_t segment = object_new(OBJECT_SEGMENT, 0);
    uint64_t address = test_address();
    for (uint32_t i = 0; i < boot->device_memory_count; i++) {
        const struct boot_range *range = &boot->device_memory[i];
        if (range->base > HPET_ADDRESS || HPET_ADDRESS - range->base >= range->bytes)
            continue;
        struct device_pages pages = {0, 1, range->slot, HPET_ADDRESS - range->base,
                                     RW | PAGE_UNCACHED};
        EXPECT_OK(segment_populate_device(segment, pages));
        EXPECT_OK(attach(segment, BOOT_SLOT_ASPACE, address, RW));
        volatile uint64_t *hpet = (volatile uint64_t *)address;
        return hpet[0] != 0 && hpet[0] != UINT64_MAX ? hpet : NULL;
    }
    return NULL;
}

void hpet_fire_soon(volatile uint64_t *hpet, uint64_t configuration)
{
    hpet[HPET_CONFIGURATION] = 0;
    hpet[HPET_COUNTER] = 0;
    hpet[HPET_STATUS] = UINT32_MAX;
    hpet[HPET_TIMER2] = configuration | HPET_ENABLE;
    hpet[HPET_TIMER2_COMPARE] = 20000;
    hpet[HPET_CONFIGURATION] = 1;
}

void hpet_stop(volatile uint64_t *hpet)
{
    hpet[HPET_CONFIGURATION] = 0;
    hpet[HPET_TIMER2] = 0;
    hpet[HPET_STATUS] = UINT32_MAX;
}

uint32_t hpet_pin(volatile uint64_t *hpet)
{
    uint32_t routes = (uint32_t)(hpet[HPET_TIMER2] >> 32);
    for (uint32_t gsi = 16; gsi < 24; gsi++)
        if (routes >> gsi & 1)
            return gsi;
    return 0;
}
