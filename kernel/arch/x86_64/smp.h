// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Several CPUs: the kernel lock, what one CPU asks of another, and starting them.
 *
 * The lock. One ticket lock guards all of the kernel's state. Entry code takes it as soon as the
 * user's registers are saved, exit code gives it back before they are loaded again; so each entry
 * is one atomic step, and lock order has nothing to order. CPUs get it first come, first served. In
 * a checked kernel every accessor of an object asserts that it is taken (state_is_locked). User
 * code, and with it every data plane, runs without it.
 *
 * Asking. What only a CPU itself can do (write back the registers of a thread that runs there, drop
 * translations) the holder of the lock asks of it: it stores a request and sends VECTOR_KICK. The
 * other CPU then comes for the lock, if it was not waiting already, and serves the request *while
 * it waits*; the holder waits for that, with a deadline. Nothing else runs meanwhile, so a request
 * is as good as a local call. It cannot deadlock: whoever waits for the lock serves, and whoever is
 * in user mode, idle, or on its way in or out needs no lock to get to where it waits.
 *
 * A thread that is taken off a CPU which waits for the lock had a system call or an exception that
 * nobody has looked at. It has not happened: the system call starts again when the thread goes on,
 * a fault occurs again; a breakpoint trap is lost, as a suspended thread's message is.
 *
 * A thread's state is in no CPU but the one of its `cpu` field.
 */
#ifndef KERNEL_ARCH_X86_64_SMP_H
#define KERNEL_ARCH_X86_64_SMP_H

#include "kernel/arch/x86_64/paging.h"
#include "kernel/boot/acpi.h"
#include "kernel/state.h"

struct kernel_lock {
    uint32_t next;    /* [atomic] ticket for who comes next */
    uint32_t serving; /* [atomic] ticket of who has it; written by it alone */
};
extern struct kernel_lock kernel_lock; /* the first CPU has it from the start */

/* Waits until `ticket` is served; serves requests meanwhile. Stops if nobody gives the lock back.
 */
void lock_wait(uint32_t ticket);

/* Gives a CPU, zeroed, its stacks and descriptors. False: no memory. Context: start only.
 * Where page tables are isolated, its `arch` is the end of a page. */
bool smp_prepare(struct cpu *cpu, uint32_t index, uint32_t apic_id, page_source pages);

/* Starts the CPUs of `facts` one after the other, as cpus[1..]: zeroed, with room for all; cpus[0]
 * is this one. Returns how many CPUs there are now; those that do not come up are named and left
 * out. They idle. Context: start only; the first CPU has the lock. */
uint32_t smp_start(struct cpu *cpus, const struct acpi_facts *facts,
                   const struct memory_map *memory, page_source pages);

#endif
