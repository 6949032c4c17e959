// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Device registers, as every driver sees them (DMA memory: lib/base/dma.h).
 *
 * A register is read and written by exactly one access of its width, in program order with other
 * registers (they are mapped uncached). In a cell these are single moves. On the host each access
 * goes to the fake device whose window holds the address (drivers/mmio_fake.h).
 *
 * What a register or DMA memory holds was written by a device and is untrusted.
 */
#ifndef DRIVERS_MMIO_H
#define DRIVERS_MMIO_H

#include <hallows/status.h>
#include <hallows/types.h>

#include "lib/base/dma.h"

#ifdef HALLOWS_HOST

uint8_t mmio_read8(const volatile void *at);
uint16_t mmio_read16(const volatile void *at);
uint32_t mmio_read32(const volatile void *at);
uint64_t mmio_read64(const volatile void *at);
void mmio_write8(volatile void *at, uint8_t value);
void mmio_write16(volatile void *at, uint16_t value);
void mmio_write32(volatile void *at, uint32_t value);
void mmio_write64(volatile void *at, uint64_t value);

#else

static inline uint8_t mmio_read8(const volatile void *at)
{
    return *(const volatile uint8_t *)at;
}

static inline uint16_t mmio_read16(const volatile void *at)
{
    return *(const volatile uint16_t *)at;
}

static inline uint32_t mmio_read32(const volatile void *at)
{
    return *(const volatile uint32_t *)at;
}

static inline uint64_t mmio_read64(const volatile void *at)
{
    return *(const volatile uint64_t *)at;
}

static inline void mmio_write8(volatile void *at, uint8_t value)
{
    *(volatile uint8_t *)at = value;
}

static inline void mmio_write16(volatile void *at, uint16_t value)
{
    *(volatile uint16_t *)at = value;
}

static inline void mmio_write32(volatile void *at, uint32_t value)
{
    *(volatile uint32_t *)at = value;
}

static inline void mmio_write64(volatile void *at, uint64_t value)
{
    *(volatile uint64_t *)at = value;
}

#endif

/* Orders all earlier loads and stores, to memory and registers, before all later ones. */
static inline void mmio_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif
