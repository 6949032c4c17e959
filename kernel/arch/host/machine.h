// SPDX-License-Identifier: MIT OR Apache-2.0
/* The host's machine: what a test sets up and looks at. */
#ifndef KERNEL_ARCH_HOST_MACHINE_H
#define KERNEL_ARCH_HOST_MACHINE_H

#include <stdint.h>

#include "kernel/state.h"

struct host_machine {
    uint64_t now_ns;          /* what arch_time_ns says; a test moves it */
    uint64_t timer_ns;        /* what the timer is set to */
    uint64_t pin_masked;      /* bit per gsi */
    uint32_t pin_vector[64];  /* 0: not routed */
    uint32_t port_value;      /* what port_in reads; port_out writes it */
    uint32_t kicked;          /* bit per CPU: kernel_reschedule is due there */
    uint32_t stopped;         /* CPUs whose thread another one took from them: bit n: CPU n */
    uint64_t flushes;         /* calls of arch_tlb_flush */
    uint64_t faults_reported; /* calls of arch_report_fault */
    bool traced;
    bool no_iommu; /* a test sets it to have none */
    bool no_remapping;
    uint32_t io_domain[256];  /* per function: its domain, 0: none */
    uint64_t io_root[256];    /* and its space's top table */
    bool io_quiet[256];       /* its faults are not reported */
    uint32_t irq_cpu[256];    /* per vector: where it goes + 1; 0: nowhere */
    bool message_masked[256]; /* per vector */
    uint32_t irq_source[256]; /* per vector: the function that may raise it + 1; 0: any */
    char console[256];        /* what was printed last */
    uint32_t console_bytes;
};

extern struct host_machine host_machine;

/* The IOMMU: walks the space of a function and remembers what it found until it is flushed. The
 * physical address, or 0 for a fault. */
uint64_t host_io_access(uint32_t function, uint64_t address, bool write);
/* True if it remembers nothing that the tables do not say any more. */
bool host_io_fresh(void);

/* The CPUs remember what the tables of the address spaces say now (some of it, if it is much). */
void host_tlb_fill(struct kernel *k);
/* True if they remember nothing that the tables do not say any more. */
bool host_tlb_fresh(void);

/* All zero, with `bytes` of zeroed memory; ends a machine made before. */
void host_machine_start(uint64_t bytes);
void host_machine_stop(void);

#endif
