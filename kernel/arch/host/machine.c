// SPDX-License-Identifier: MIT OR Apache-2.0
/* The machine contract on Linux: page tables nobody walks, time that a test moves. */
#include "kernel/arch/host/machine.h"

#include <stdlib.h>
#include <string.h>

#include "kernel/entry.h"

#define HOST_PINS 64u
#define ENTRY_PRESENT ((uint64_t)1 << 63)
#define ENTRY_RIGHTS 0x3ffu
#define ENTRY_WITHHELD ((uint64_t)1 << 0) /* writes trap */
#define ENTRY_OWN ((uint64_t)1 << 1)
#define ENTRY_LARGE ((uint64_t)1 << 2)
#define ENTRY_PHYSICAL 0x000ffffffffff000ull
/* Rights lie in bits 52..61, above the address. */
#define ENTRY_RIGHTS_SHIFT 52u

uint8_t *host_memory;
struct host_machine host_machine;
struct cpu *host_cpu;

void host_machine_start(uint64_t bytes)
{
    static uint64_t have;

    if (host_memory == NULL || bytes != have) {
        host_machine_stop();
        host_memory = aligned_alloc(PAGE_BYTES, bytes);
        have = bytes;
    }
    arch_io_flush(0);
    arch_tlb_flush(0);
    host_machine = (struct host_machine){.now_ns = 1000000, .timer_ns = DEADLINE_NEVER};
    VERIFY(host_memory != NULL);
    memset(host_memory, 0, bytes);
}

void host_machine_stop(void)
{
    free(host_memory);
    host_memory = NULL;
}

void arch_thread_init(struct thread *thread)
{
    thread->registers.flags = 0x202;
}

void arch_cpu_kick(const struct cpu *c)
{
    host_machine.kicked |= 1u << c->index;
}

void arch_thread_forget(struct thread *thread)
{
    thread->registers.entry = 1;
    if (thread->cpu != host_cpu->index) {
        host_machine.stopped |= 1u << thread->cpu;
    }
}

uint64_t arch_flags_sanitize(uint64_t flags)
{
    return (flags & 0xcd5u) | 0x202u;
}

bool arch_user_address_ok(uint64_t address)
{
    return address < USER_ADDRESS_END;
}

uint64_t arch_leaf_encode(uint64_t physical, uint32_t rights)
{
    uint64_t own = (rights & LEAF_OWN) != 0 ? ENTRY_OWN : 0;

    rights &= ~LEAF_OWN;
    VERIFY((physical & ~ENTRY_PHYSICAL) == 0 && (rights & ~ENTRY_RIGHTS) == 0);
    VERIFY((rights & (RIGHT_WRITE | RIGHT_EXECUTE)) != (RIGHT_WRITE | RIGHT_EXECUTE));
    return ENTRY_PRESENT | physical | (uint64_t)rights << ENTRY_RIGHTS_SHIFT | own;
}

uint64_t arch_large_encode(uint64_t physical, uint32_t rights)
{
    return arch_leaf_encode(physical, rights) | ENTRY_LARGE;
}

bool arch_entry_large(uint64_t entry)
{
    return (entry & ENTRY_LARGE) != 0;
}

uint32_t arch_large_level_max(void)
{
    return 2;
}

bool arch_leaf_own(uint64_t entry)
{
    return (entry & ENTRY_OWN) != 0;
}

uint64_t arch_entry_share(uint64_t entry)
{
    return entry == 0 ? 0 : (entry & ~ENTRY_OWN) | ENTRY_WITHHELD;
}

bool arch_entry_writable(uint64_t entry)
{
    return (arch_leaf_rights(entry) & RIGHT_WRITE) != 0 && (entry & ENTRY_WITHHELD) == 0;
}

uint32_t arch_leaf_rights(uint64_t entry)
{
    return (uint32_t)(entry >> ENTRY_RIGHTS_SHIFT) & ENTRY_RIGHTS;
}

uint64_t arch_leaf_physical(uint64_t entry)
{
    return entry & ENTRY_PHYSICAL;
}

uint64_t arch_table_encode(uint64_t physical)
{
    return ENTRY_PRESENT | physical;
}

uint64_t arch_attach_encode(uint64_t physical, uint32_t rights)
{
    return ENTRY_PRESENT | physical | (uint64_t)rights << ENTRY_RIGHTS_SHIFT;
}

uint32_t arch_attach_rights(uint64_t entry)
{
    return arch_leaf_rights(entry);
}

void arch_entry_store(uint64_t *entry, uint64_t value)
{
    *entry = value;
}

void arch_aspace_init(uint64_t root)
{
    uint64_t *top = arch_memory(root);

    for (uint32_t i = USER_TOP_ENTRIES; i < PAGING_ENTRIES; i++) {
        top[i] = ENTRY_PRESENT;
    }
}

void arch_aspace_forget(uint64_t root)
{
    (void)root;
}

uint64_t arch_time_ns(void)
{
    return host_machine.now_ns;
}

void arch_timer_set(uint64_t deadline_ns)
{
    host_machine.timer_ns = deadline_ns;
}

status_t arch_irq_msi(uint32_t vector, const struct cpu *c, uint64_t values[2])
{
    if (host_machine.irq_cpu[vector] == 0) {
        host_machine.message_masked[vector] = true;
    }
    host_machine.irq_cpu[vector] = c->index + 1u;
    values[0] = 0xfee00000u | (uint32_t)c->index << 12;
    values[1] = vector;
    return STATUS_OK;
}

void arch_irq_message_mask(uint32_t vector, bool masked)
{
    host_machine.message_masked[vector] = masked;
}

status_t arch_irq_pin(uint32_t gsi, uint32_t vector, uint32_t flags, const struct cpu *c)
{
    (void)flags;
    if (gsi >= HOST_PINS) {
        return STATUS_NOT_FOUND;
    }
    if (host_machine.pin_vector[gsi] != vector) {
        host_machine.pin_masked |= (uint64_t)1 << gsi;
    }
    host_machine.pin_vector[gsi] = vector;
    host_machine.irq_cpu[vector] = c->index + 1u;
    return STATUS_OK;
}

void arch_irq_pin_mask(uint32_t gsi, bool masked)
{
    uint64_t bit = (uint64_t)1 << gsi;

    host_machine.pin_masked = (host_machine.pin_masked & ~bit) | (masked ? bit : 0);
}

void arch_trace(bool on)
{
    host_machine.traced = on;
}

uint32_t arch_port_in(uint16_t port, uint32_t width)
{
    (void)port;
    (void)width;
    return host_machine.port_value;
}

void arch_port_out(uint16_t port, uint32_t width, uint32_t value)
{
    (void)port;
    (void)width;
    host_machine.port_value = value;
}

void arch_console_write(const char *text, uint32_t bytes)
{
    VERIFY(bytes <= sizeof(host_machine.console));
    memcpy(host_machine.console, text, bytes);
    host_machine.console_bytes = bytes;
}

void arch_report_fault(struct kernel *k, thread_ix thread, const struct fault *fault)
{
    (void)k;
    (void)thread;
    (void)fault;
    host_machine.faults_reported++;
}
