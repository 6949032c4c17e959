// SPDX-License-Identifier: MIT OR Apache-2.0
/* Timer 2 of the HPET as a source of interrupts (IA-PC HPET specification 1.0a, 2.3). */
#ifndef TESTS_KERNEL_HPET_H
#define TESTS_KERNEL_HPET_H

#include <stdint.h>

/* 64-bit registers */
#define HPET_CONFIGURATION (0x10 / 8)
#define HPET_STATUS (0x20 / 8)
#define HPET_COUNTER (0xf0 / 8)
#define HPET_TIMER2 (0x140 / 8)
#define HPET_TIMER2_COMPARE (0x148 / 8)
#define HPET_TIMER2_FSB (0x150 / 8)
/* Timer configuration */
#define HPET_LEVEL (1u << 1)
#define HPET_ENABLE (1u << 2)
#define HPET_ROUTE_SHIFT 9u
#define HPET_FSB_ENABLE (1u << 14)
#define HPET_FSB_POSSIBLE (1u << 15)

/* Maps it; NULL if there is none. */
volatile uint64_t *hpet_map(void);
/* A pin above 15 that timer 2 can be routed to; 0 if there is none. */
uint32_t hpet_pin(volatile uint64_t *hpet);
/* Timer 2 fires once, some 20,000 ticks from now (0.2 ms at QEMU's 100 MHz). */
void hpet_fire_soon(volatile uint64_t *hpet, uint64_t timer_configuration);
void hpet_stop(volatile uint64_t *hpet);

#endif
