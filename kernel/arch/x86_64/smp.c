// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/arch/x86_64/smp.h"

#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/clock.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/offsets.h"
#include "kernel/arch/x86_64/serial.h"
#include "kernel/arch/x86_64/traps.h"
#include "lib/base/bytes.h"

/* Longest wait for the lock or an answer. Both take microseconds; a CPU of a virtual machine may
 * be off its host's CPU for long. */
#define WAIT_SECONDS 20u
#define SYSCALL_BYTES 2u

/* Requests, one bit each. */
#define ASK_FORGET 1u /* the thread of `request_thread` */
#define ASK_FLUSH 2u  /* all translations of user addresses */
#define ASK_LEAVE 4u  /* the page tables in use, which are about to go */

struct kernel_lock kernel_lock = {.next = 1, .serving = 0};

_Static_assert(offsetof(struct kernel_lock, next) == LOCK_NEXT, "");
_Static_assert(offsetof(struct kernel_lock, serving) == LOCK_SERVING, "");

/* ---- The lock and requests ------------------------------------------------------------------- */

static uint64_t wait_end(uint64_t divisor)
{
    return rdtsc() + clock_calibration()->tsc_hz * WAIT_SECONDS / divisor;
}

/* Whatever its loaded thread came for has not happened. */
static void undo_entry(struct cpu *c, struct thread *t)
{
    bool entered = c->arch.loaded == t && c->arch.loaded_index == c->current.n;
    if (entered && (t->registers.entry & ENTRY_FULL) == 0)
        t->registers.ip -= SYSCALL_BYTES;
}

static void leave_space(struct arch_cpu *cpu)
{
    cpu->root = paging_kernel_root;
    paging_use(cpu->root);
    if (cpu->loaded != NULL)
        thread_unload(cpu->loaded); /* whoever runs next loads its own root */
}

/* The holder of the lock waits for this CPU, which waits for the lock. */
static void serve(struct cpu *c)
{
    uint32_t what = __atomic_load_n(&c->arch.request, __ATOMIC_ACQUIRE);
    if ((what & ASK_FORGET) != 0) {
        undo_entry(c, c->arch.request_thread);
        thread_unload(c->arch.request_thread);
    }
    if ((what & ASK_FLUSH) != 0)
        paging_use(c->arch.root);
    if ((what & ASK_LEAVE) != 0)
        leave_space(&c->arch);
    __atomic_store_n(&c->arch.request, 0, __ATOMIC_RELEASE);
}

void lock_wait(uint32_t ticket)
{
    struct cpu *c = arch_cpu_self();
    uint64_t end = wait_end(1);
    while (__atomic_load_n(&kernel_lock.serving, __ATOMIC_ACQUIRE) != ticket) {
        if (__atomic_load_n(&c->arch.request, __ATOMIC_RELAXED) != 0)
            serve(c);
        if (rdtsc() > end)
            panic("CPU %u waits for the kernel lock for %u s", c->index, WAIT_SECONDS);
        cpu_pause();
    }
}

static void ask(struct cpu *c, uint32_t what, struct thread *thread)
{
    c->arch.request_thread = thread;
    __atomic_store_n(&c->arch.request, what, __ATOMIC_RELEASE);
    apic_send(c->arch.apic_id, APIC_FIXED | VECTOR_KICK);
}

static void await(const struct cpu *c)
{
    uint64_t end = wait_end(2); /* before the other gives up, to name it */
    while (__atomic_load_n(&c->arch.request, __ATOMIC_ACQUIRE) != 0) {
        if (rdtsc() > end)
            panic("CPU %u (APIC id %u) does not answer", c->index, c->arch.apic_id);
        cpu_pause();
    }
}

/* Asks every other CPU whose root is `root` (0: any), all at once. */
static void ask_users(uint64_t root, uint32_t what)
{
    const struct cpu *me = arch_cpu_self();
    struct kernel *k = &kernel_state;
    if (k->cpu_count == 1)
        return;
    for (uint32_t i = 0; i < k->cpu_count; i++)
        if (&k->cpus[i] != me && (root == 0 || k->cpus[i].arch.root == root))
            ask(&k->cpus[i], what, NULL);
    for (uint32_t i = 0; i < k->cpu_count; i++)
        if (&k->cpus[i] != me)
            await(&k->cpus[i]);
}

void arch_thread_forget(struct thread *thread)
{
    struct cpu *c = &kernel_state.cpus[thread->cpu];
    if (c == arch_cpu_self()) {
        thread_unload(thread);
    } else if (c->arch.loaded == thread || c->arch.fpu_owner == thread) {
        ask(c, ASK_FORGET, thread);
        await(c);
    }
    thread->registers.entry |= ENTRY_FULL; /* bases may be written: the slow way looks at them */
}

void arch_tlb_flush(uint64_t root)
{
    struct arch_cpu *cpu = &arch_cpu_self()->arch;
    if (root == 0 || root == cpu->root)
        paging_use(cpu->root);
    ask_users(root, ASK_FLUSH);
}

void arch_aspace_forget(uint64_t root)
{
    if (arch_cpu_self()->arch.root == root)
        leave_space(&arch_cpu_self()->arch);
    ask_users(root, ASK_LEAVE);
}

void arch_cpu_kick(const struct cpu *c)
{
    apic_send(c->arch.apic_id, APIC_FIXED | VECTOR_KICK);
}

/* ---- Start (SDM vol. 3, 9.4; the page that a CPU starts in: boot.S) -------------------- */

#define INIT_WAIT_DIVISOR 100u /* of a second: 10 ms */
#define SIPI_WAIT_DIVISOR 5000u
#define UP_WAIT_SECONDS 5u

extern const char trampoline[], trampoline_end[], trampoline_root[], trampoline_stack[],
    trampoline_cpu[], trampoline_entry[];

static uint64_t arrived_tsc; /* [atomic] of the CPU that is being started; 0: not yet */

static void store_at(const char *symbol, const void *value, size_t bytes)
{
    size_t offset = (size_t)(symbol - trampoline);
    __asm__("" : "+r"(offset)); /* no sums of addresses: slide.h */
    memcpy((char *)physical_pointer(TRAMPOLINE_PHYSICAL) + offset, value, bytes);
}

/* Where boot.S goes: long mode, first page tables, the CPU's own stack. */
static _Noreturn void cpu_enter(struct cpu *cpu)
{
    paging_load();
    descriptors_load(&cpu->arch);
    cpu_features_enable();
    syscall_init(cpu);
    apic_join();
    __atomic_store_n(&arrived_tsc, rdtsc(), __ATOMIC_RELEASE);
    cpu_idle();
}

/* Waits for the CPU that is being started. */
static bool arrives(uint64_t ticks)
{
    uint64_t end = rdtsc() + ticks;
    while (__atomic_load_n(&arrived_tsc, __ATOMIC_ACQUIRE) == 0 && rdtsc() < end)
        cpu_pause();
    return __atomic_load_n(&arrived_tsc, __ATOMIC_ACQUIRE) != 0;
}

/* Sends the CPU on its way. Returns why it is not there, or NULL. */
static const char *start_one(struct cpu *cpu)
{
    uint64_t hz = clock_calibration()->tsc_hz;
    store_at(trampoline_stack, &cpu->arch.stack_top, 8);
    store_at(trampoline_cpu, &cpu, 8);
    __atomic_store_n(&arrived_tsc, 0, __ATOMIC_RELEASE);
    uint64_t before = rdtsc();
    apic_send(cpu->arch.apic_id, APIC_INIT);
    (void)arrives(hz / INIT_WAIT_DIVISOR); /* not before STARTUP: it takes all that time */
    apic_send(cpu->arch.apic_id, APIC_STARTUP | TRAMPOLINE_PHYSICAL >> 12);
    if (!arrives(hz / SIPI_WAIT_DIVISOR))
        apic_send(cpu->arch.apic_id, APIC_STARTUP | TRAMPOLINE_PHYSICAL >> 12);
    if (!arrives(hz * UP_WAIT_SECONDS))
        return "does not start";
    /* One clock for all: deadlines and times are compared across CPUs. */
    return arrived_tsc < before || arrived_tsc > rdtsc() ? "counts time on its own" : NULL;
}

bool smp_prepare(struct cpu *cpu, uint32_t index, uint32_t apic_id, page_source pages)
{
    cpu->index = (uint8_t)index;
    cpu->arch.self = cpu;
    cpu->arch.apic_id = apic_id;
    if (cpu->arch.descriptors == NULL) { /* the stacks of one that did not come up serve again */
        uint64_t page = pages();
        cpu->arch.descriptors = page == 0 ? NULL : physical_pointer(page);
        cpu->arch.stack_top = paging_map_stack(index, pages);
        cpu->arch.frame_top = cpu->arch.stack_top;
        if (cpu_features.isolate) {
            /* What precedes `arch` in its page is a stack of nearly 4 KiB, for a frame or two. */
            cpu->arch.frame_top = (uint64_t)cpu & ~15ull;
            return page != 0 && cpu->arch.stack_top != 0 &&
                   paging_show((uint64_t)cpu - PHYSICAL_WINDOW, pages) && paging_show(page, pages);
        }
    }
    return cpu->arch.descriptors != NULL && cpu->arch.stack_top != 0;
}

static bool prepare_trampoline(const struct memory_map *memory, page_source pages)
{
    bool found = memory_map_holds(memory, TRAMPOLINE_PHYSICAL, PAGE_BYTES);
    uint32_t root = found ? (uint32_t)paging_start_root(TRAMPOLINE_PHYSICAL, pages) : 0;
    if (root == 0)
        return false;
    uint64_t entry = (uint64_t)cpu_enter;
    memcpy(physical_pointer(TRAMPOLINE_PHYSICAL), trampoline,
           (size_t)(trampoline_end - trampoline));
    store_at(trampoline_root, &root, 4);
    store_at(trampoline_entry, &entry, 8);
    return true;
}

uint32_t smp_start(struct cpu *cpus, const struct acpi_facts *facts,
                   const struct memory_map *memory, page_source pages)
{
    uint32_t used = 1, me = apic_id();
    if (facts->cpu_count > 1 && !prepare_trampoline(memory, pages)) {
        print("hallows: no memory below 1 MiB to start the other CPUs in\n");
        return used;
    }
    for (uint32_t i = 0; i < facts->cpu_id_count && used < CPU_COUNT_MAX; i++) {
        uint32_t id = facts->cpu_ids[i];
        if (id == me)
            continue;
        if (!cpu_features.x2apic && id > XAPIC_ID_MAX) {
            print("hallows: the CPU with APIC id %u cannot be reached without x2APIC\n", id);
            continue;
        }
        if (!smp_prepare(&cpus[used], used, id, pages)) {
            print("hallows: no memory for more CPUs\n");
            break;
        }
        const char *problem = start_one(&cpus[used]);
        if (problem == NULL) {
            used++;
            continue;
        }
        apic_send(id, APIC_INIT); /* it must not come late */
        print("hallows: the CPU with APIC id %u %s; going on without it\n", id, problem);
    }
    return used;
}
