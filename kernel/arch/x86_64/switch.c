// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What the CPU holds of a thread, and changing it: page-table root, FS and GS base, FPU.
 *
 * The FPU is switched lazily: a thread that does not own its registers runs with CR0.TS set, and
 * its first FPU instruction (#NM) brings its state in. FS and GS base are switched only from and to
 * threads that use them. `live` and a thread's registers.entry say what there is to do; when both
 * say nothing, traps.S switches by itself.
 */
#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/offsets.h"
#include "kernel/arch/x86_64/paging.h"
#include "kernel/arch/x86_64/traps.h"
#include "kernel/arch/x86_64/vtd.h"
#include "kernel/invariants.h"

#define VECTOR_INVALID_OPCODE 6u
#define VECTOR_NO_FPU 7u
#define VECTOR_GENERAL_PROTECTION 13u
#define VECTOR_PAGE_FAULT 14u

#define FLAGS_FIXED 0x202ull /* bit 1, IF */
/* CF PF AF ZF SF TF DF OF AC ID (SDM vol. 1, 3.4.3) */
#define FLAGS_USER 0x240dd5ull
#define FLAGS_SYSCALL_CLEARS 0x47700ull /* TF IF DF IOPL NT AC */

#define FPU_CONTROL_DEFAULT 0x37fu /* FXSAVE image: SDM vol. 1, table 10-2 */
#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_OFFSET 24u

struct kernel kernel_state;

#define LIES(type, field, at) (offsetof(struct type, field) == (at))
_Static_assert(LIES(thread, registers.word, THREAD_REGISTERS) &&
                   LIES(thread, registers.result, T_RAX) && LIES(thread, registers.arg0, T_RDI) &&
                   LIES(thread, registers.arg1, T_RSI) && LIES(thread, registers.rbp, T_RSI + 16) &&
                   LIES(thread, registers.rcx, T_RCX) && LIES(thread, registers.r11, T_R11) &&
                   LIES(thread, registers.ip, T_IP) && LIES(thread, registers.flags, T_FLAGS) &&
                   LIES(thread, registers.sp, T_SP) && LIES(thread, registers.entry, T_ENTRY) &&
                   LIES(thread, root, THREAD_ROOT) && LIES(cpu, current, CPU_CURRENT) &&
                   LIES(cpu, arch.self, CPU_SELF) && LIES(cpu, arch.stack_top, CPU_STACK_TOP) &&
                   LIES(cpu, arch.user_sp, CPU_USER_SP) && LIES(cpu, arch.loaded, CPU_LOADED) &&
                   LIES(cpu, arch.frame_top, CPU_FRAME_TOP) && LIES(cpu, arch.root, CPU_ROOT) &&
                   LIES(cpu, arch.live, CPU_LIVE) &&
                   LIES(cpu, arch.loaded_index, CPU_LOADED_INDEX) &&
                   LIES(cpu, arch.cr0_fpu_off, CPU_CR0_FPU_OFF),
               "traps.S knows these offsets");
_Static_assert(CALL_ipc_call == CALL_IPC_CALL, "");
_Static_assert(CALL_ipc_reply_recv == CALL_IPC_REPLY_RECV, "");
_Static_assert(GRANULE_SHIFT == 6, "traps.S shifts by it");
_Static_assert(REGISTERS_FULL == ENTRY_FULL, "the core sets and clears it");
_Static_assert(offsetof(struct thread, arch) % 64 == 0, "XSAVE wants 64 bytes");

void syscall_entry(void);
void syscall_entry_traced(void);

void arch_trace(bool on)
{
    wrmsr(MSR_LSTAR, on ? (uint64_t)syscall_entry_traced : (uint64_t)syscall_entry);
}

/* This CPU's part of what the machine keeps. */
static struct arch_cpu *self(void)
{
    return &arch_cpu_self()->arch;
}

void syscall_init(struct cpu *cpu)
{
    wrmsr(MSR_STAR, (uint64_t)SELECTOR_USER_BASE << 48 | (uint64_t)SELECTOR_KERNEL_CODE << 32);
    wrmsr(MSR_LSTAR, (uint64_t)syscall_entry);
    wrmsr(MSR_FMASK, FLAGS_SYSCALL_CLEARS);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SYSCALL);
    wrmsr(MSR_GS_BASE, (uint64_t)cpu);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
    wrmsr(MSR_FS_BASE, 0);
    cpu->arch.self = cpu;
    cpu->arch.root = paging_kernel_root;
    cpu->arch.live = 0; /* cpu_features_enable set CR0.TS */
    cpu->arch.cr0_fpu_off = read_cr0();
    cpu->arch.loaded_index = LOADED_NOBODY;
}

/* ---- FPU ------------------------------------------------------------------------------------- */

static void fpu_switch_on(struct arch_cpu *cpu)
{
    __asm__ volatile("clts" : : : "memory");
    cpu->live |= LIVE_FPU;
}

static void fpu_switch_off(struct arch_cpu *cpu)
{
    write_cr0(cpu->cr0_fpu_off);
    cpu->live &= ~(uint32_t)LIVE_FPU;
}

/* SDM vol. 1, 13.7 to 13.9. A header of zeros gives every component its initial state; MXCSR is
 * taken from the area in any case. XSAVEOPT writes only what changed since that area was restored.
 */
static void state_save(struct arch_thread *area)
{
    uint32_t components = cpu_features.xcr0;
    if (cpu_features.xsaveopt)
        __asm__ volatile("xsaveopt64 %0" : "+m"(area->fpu) : "a"(components), "d"(0));
    else if (cpu_features.xsave)
        __asm__ volatile("xsave64 %0" : "+m"(area->fpu) : "a"(components), "d"(0));
    else
        __asm__ volatile("fxsave64 %0" : "=m"(area->fpu));
}

static void state_restore(const struct arch_thread *area)
{
    if (cpu_features.xsave)
        __asm__ volatile("xrstor64 %0" : : "m"(area->fpu), "a"(cpu_features.xcr0), "d"(0));
    else
        __asm__ volatile("fxrstor64 %0" : : "m"(area->fpu));
}

/* Writes back what the FPU holds. Context: it is on. */
static void fpu_save(struct arch_cpu *cpu)
{
    state_save(&cpu->fpu_owner->arch);
    cpu->fpu_owner->registers.entry &= ~(uint64_t)ENTRY_FPU;
    cpu->fpu_owner = NULL;
}

static void fpu_take(struct arch_cpu *cpu, struct thread *thread)
{
    fpu_switch_on(cpu);
    if (cpu->fpu_owner == thread)
        return;
    if (cpu->fpu_owner != NULL)
        fpu_save(cpu);
    state_restore(&thread->arch);
    thread->registers.entry |= ENTRY_FPU;
    cpu->fpu_owner = thread;
}

/* ---- FS and GS base --------------------------------------------------------------------------
 * They are 0 and the instructions that change them are off, so that a switch has nothing to do with
 * them, until a thread executes the first one (#UD) or was given bases that are not 0. */

static void bases_write(uint64_t fs, uint64_t gs)
{
    if (cpu_features.fsgsbase) {
        __asm__ volatile("wrfsbase %0" : : "r"(fs));
        __asm__ volatile("swapgs\n\twrgsbase %0\n\tswapgs" : : "r"(gs));
    } else {
        wrmsr(MSR_FS_BASE, fs);
        wrmsr(MSR_KERNEL_GS_BASE, gs);
    }
}

static void bases_save(struct arch_cpu *cpu)
{
    struct registers *r = &cpu->loaded->registers;
    if ((cpu->live & LIVE_BASES) == 0 || !cpu_features.fsgsbase)
        return; /* user code cannot have changed them */
    __asm__ volatile("rdfsbase %0" : "=r"(r->fs_base));
    __asm__ volatile("swapgs\n\trdgsbase %0\n\tswapgs" : "=r"(r->gs_base));
}

static void bases_on(struct arch_cpu *cpu, struct registers *r)
{
    if ((cpu->live & LIVE_BASES) == 0 && cpu_features.fsgsbase)
        write_cr4(read_cr4() | CR4_FSGSBASE);
    cpu->live |= LIVE_BASES;
    r->entry |= ENTRY_BASES;
    bases_write(r->fs_base, r->gs_base);
}

static void bases_off(struct arch_cpu *cpu)
{
    if ((cpu->live & LIVE_BASES) == 0)
        return;
    bases_write(0, 0);
    cpu->live &= ~(uint32_t)LIVE_BASES;
    if (cpu_features.fsgsbase)
        write_cr4(read_cr4() & ~CR4_FSGSBASE);
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* `next` is the current thread. */
FAST void thread_switch(struct thread *next)
{
    struct arch_cpu *cpu = self();
    struct registers *r = &next->registers;
    if (cpu->loaded != NULL)
        bases_save(cpu);
    if (cpu->root != next->root) {
        paging_use(next->root);
        cpu->root = next->root;
    }
    if ((r->entry & ENTRY_BASES) != 0 || (r->fs_base | r->gs_base) != 0)
        bases_on(cpu, r);
    else
        bases_off(cpu);
    if (cpu->fpu_owner == next) {
        if ((cpu->live & LIVE_FPU) == 0)
            fpu_switch_on(cpu);
    } else if ((cpu->live & LIVE_FPU) != 0) {
        fpu_switch_off(cpu);
    }
    cpu->loaded = next;
    cpu->loaded_index = arch_cpu_self()->current.n;
}

void arch_thread_init(struct thread *thread)
{
    uint32_t mxcsr = MXCSR_DEFAULT;
    thread->arch.fpu[0] = FPU_CONTROL_DEFAULT & 0xff;
    thread->arch.fpu[1] = FPU_CONTROL_DEFAULT >> 8;
    for (uint32_t i = 0; i < 4; i++)
        thread->arch.fpu[MXCSR_OFFSET + i] = (uint8_t)(mxcsr >> (8 * i));
    thread->registers.flags = FLAGS_FIXED;
    thread->registers.entry = ENTRY_FULL;
}

void thread_unload(struct thread *thread)
{
    struct arch_cpu *cpu = self();
    if (cpu->loaded == thread) {
        bases_save(cpu);
        cpu->loaded = NULL;
        cpu->loaded_index = LOADED_NOBODY;
    }
    if (cpu->fpu_owner == thread) {
        fpu_switch_on(cpu);
        fpu_save(cpu);
        fpu_switch_off(cpu);
    }
    thread->registers.entry |= ENTRY_FULL;
}

uint64_t arch_flags_sanitize(uint64_t flags)
{
    return (flags & FLAGS_USER) | FLAGS_FIXED;
}

bool arch_user_address_ok(uint64_t address)
{
    return address < USER_ADDRESS_END;
}

/* ---- Events ---------------------------------------------------------------------------------- */

/* An invalid opcode while the FSGSBASE instructions are off may be one of them: the thread tries
 * again with them on, once in its life. */
static bool first_use_of_bases(struct arch_cpu *cpu)
{
    if (!cpu_features.fsgsbase || (cpu->live & LIVE_BASES) != 0)
        return false;
    bases_on(cpu, &cpu->loaded->registers);
    return true;
}

FAST void trap_exception(uint64_t vector, uint64_t error)
{
    if (vector == VECTOR_NO_FPU) {
        fpu_take(self(), self()->loaded);
        return;
    }
    if (vector == VECTOR_INVALID_OPCODE && first_use_of_bases(self()))
        return;
    struct fault fault = {.vector = vector, .error = error};
    if (vector == VECTOR_PAGE_FAULT)
        fault.address = read_cr2();
    kernel_fault(&kernel_state, &fault);
    if (INVARIANTS_AFTER_ENTRIES)
        invariants_after_entry(&kernel_state, NULL);
}

FAST void trap_interrupt(uint8_t vector)
{
    if (vector == VECTOR_TIMER) {
        apic_end_of_interrupt();
        kernel_timer(&kernel_state);
    } else if (vector >= VECTOR_DEVICE_FIRST && vector <= VECTOR_DEVICE_LAST) {
        /* Level-triggered pins are masked in there, so acknowledge only afterwards. */
        kernel_interrupt(&kernel_state, vector);
        apic_end_of_interrupt();
    } else {
        if (vector == VECTOR_IOMMU)
            vtd_interrupt();
        /* Spurious ones, the APIC's and the masked PICs', want no acknowledgement. */
        if (vector == VECTOR_IOMMU || vector == VECTOR_KICK)
            apic_end_of_interrupt();
        kernel_reschedule(&kernel_state);
    }
    if (INVARIANTS_AFTER_ENTRIES)
        invariants_after_entry(&kernel_state, NULL);
}

/* The current thread's next instruction lies beyond the user half: it executed SYSCALL in the last
 * bytes below it. The CPU would take that fault in ring 0; the thread gets it instead. */
void return_address_fault(void)
{
    struct fault fault = {.vector = VECTOR_GENERAL_PROTECTION};
    kernel_fault(&kernel_state, &fault);
}
