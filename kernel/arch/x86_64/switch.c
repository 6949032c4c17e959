// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What the CPU holds of a thread, and changing it: page-table root, FS and GS base, FPU.
 *
 * The FPU is switched lazily: a thread that does not own its registers runs with CR0.TS set, and
 * its first FPU instruction (#NM) brings its state in. FS and GS base are saved when another thread
 * is loaded, since user code may change them itself (FSGSBASE).
 */
#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/offsets.h"
#include "kernel/arch/x86_64/paging.h"
#include "kernel/arch/x86_64/traps.h"

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

struct cpu boot_cpu = {.loaded_index = LOADED_NOBODY};
struct kernel kernel_state;

_Static_assert(offsetof(struct registers, word) == R_RDX, "");
_Static_assert(offsetof(struct registers, word[7]) == R_R15, "");
_Static_assert(offsetof(struct registers, result) == R_RAX, "");
_Static_assert(offsetof(struct registers, arg0) == R_RDI, "");
_Static_assert(offsetof(struct registers, arg1) == R_RSI, "");
_Static_assert(offsetof(struct registers, caps) == R_RBX, "");
_Static_assert(offsetof(struct registers, rbp) == R_RBP, "");
_Static_assert(offsetof(struct registers, rcx) == R_RCX, "");
_Static_assert(offsetof(struct registers, r11) == R_R11, "");
_Static_assert(offsetof(struct registers, ip) == R_IP, "");
_Static_assert(offsetof(struct registers, flags) == R_FLAGS, "");
_Static_assert(offsetof(struct registers, sp) == R_SP, "");
_Static_assert(offsetof(struct registers, entry) == R_ENTRY, "");
_Static_assert(offsetof(struct thread, registers) == THREAD_REGISTERS, "");
_Static_assert(offsetof(struct kernel, current) == KERNEL_CURRENT, "");
_Static_assert(offsetof(struct cpu, user_sp) == CPU_USER_SP, "");
_Static_assert(offsetof(struct cpu, registers) == CPU_REGISTERS, "");
_Static_assert(offsetof(struct cpu, loaded) == CPU_LOADED, "");
_Static_assert(offsetof(struct cpu, fpu_owner) == CPU_FPU_OWNER, "");
_Static_assert(offsetof(struct cpu, root) == CPU_ROOT, "");
_Static_assert(offsetof(struct cpu, fpu_on) == CPU_FPU_ON, "");
_Static_assert(offsetof(struct cpu, no_fsgsbase) == CPU_NO_FSGSBASE, "");
_Static_assert(offsetof(struct cpu, cr0_fpu_off) == CPU_CR0_FPU_OFF, "");
_Static_assert(offsetof(struct cpu, loaded_index) == CPU_LOADED_INDEX, "");
_Static_assert(offsetof(struct registers, fs_base) == R_FS_BASE, "");
_Static_assert(offsetof(struct registers, gs_base) == R_GS_BASE, "");
_Static_assert(offsetof(struct thread, aspace) == THREAD_ASPACE, "");
_Static_assert(offsetof(struct aspace, paging.physical) == ASPACE_ROOT, "");
_Static_assert(GRANULE_SHIFT == 6, "traps.S shifts by it");
_Static_assert(offsetof(struct thread, arch) % 16 == 0, "FXSAVE wants 16 bytes");

void syscall_entry(void);

void syscall_init(void)
{
    wrmsr(MSR_STAR, (uint64_t)SELECTOR_USER_BASE << 48 | (uint64_t)SELECTOR_KERNEL_CODE << 32);
    wrmsr(MSR_LSTAR, (uint64_t)syscall_entry);
    wrmsr(MSR_FMASK, FLAGS_SYSCALL_CLEARS);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SYSCALL);
    wrmsr(MSR_GS_BASE, (uint64_t)&boot_cpu);
    wrmsr(MSR_KERNEL_GS_BASE, 0);
    wrmsr(MSR_FS_BASE, 0);
    boot_cpu.root = paging_kernel_root();
    boot_cpu.no_fsgsbase = !cpu_features.fsgsbase;
    boot_cpu.fpu_on = 0; /* cpu_features_enable set CR0.TS */
    boot_cpu.cr0_fpu_off = read_cr0();
}

/* ---- FPU ------------------------------------------------------------------------------------- */

static void fpu_switch_on(void)
{
    __asm__ volatile("clts" : : : "memory");
    boot_cpu.fpu_on = 1;
}

static void fpu_switch_off(void)
{
    write_cr0(boot_cpu.cr0_fpu_off);
    boot_cpu.fpu_on = 0;
}

static void fpu_take(struct thread *thread)
{
    fpu_switch_on();
    if (boot_cpu.fpu_owner == thread)
        return;
    if (boot_cpu.fpu_owner != NULL)
        __asm__ volatile("fxsave64 %0" : "=m"(boot_cpu.fpu_owner->arch.fpu));
    __asm__ volatile("fxrstor64 %0" : : "m"(thread->arch.fpu));
    boot_cpu.fpu_owner = thread;
}

/* ---- FS and GS base -------------------------------------------------------------------------- */

static void bases_save(struct registers *r)
{
    if (!cpu_features.fsgsbase)
        return; /* user code cannot have changed them */
    __asm__ volatile("rdfsbase %0" : "=r"(r->fs_base));
    __asm__ volatile("swapgs\n\trdgsbase %0\n\tswapgs" : "=r"(r->gs_base));
}

static void bases_load(const struct registers *r)
{
    if (cpu_features.fsgsbase) {
        __asm__ volatile("wrfsbase %0" : : "r"(r->fs_base));
        __asm__ volatile("swapgs\n\twrgsbase %0\n\tswapgs" : : "r"(r->gs_base));
    } else {
        wrmsr(MSR_FS_BASE, r->fs_base);
        wrmsr(MSR_KERNEL_GS_BASE, r->gs_base);
    }
}

/* ---- Threads --------------------------------------------------------------------------------- */

/* `next` is the current thread. */
void thread_switch(struct thread *next)
{
    struct cpu *cpu = &boot_cpu;
    if (cpu->loaded != NULL)
        bases_save(&cpu->loaded->registers);
    uint64_t root = aspace_at(&kernel_state, next->aspace)->paging.physical;
    if (cpu->root != root) {
        write_cr3(root);
        cpu->root = root;
    }
    bases_load(&next->registers);
    if (cpu->fpu_owner == next) {
        if (!cpu->fpu_on)
            fpu_switch_on();
    } else if (cpu->fpu_on) {
        fpu_switch_off();
    }
    cpu->registers = &next->registers;
    cpu->loaded = next;
    cpu->loaded_index = kernel_state.current.n;
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

void arch_thread_forget(struct thread *thread)
{
    if (boot_cpu.loaded == thread) {
        bases_save(&thread->registers);
        boot_cpu.loaded = NULL;
        boot_cpu.loaded_index = LOADED_NOBODY;
    }
    if (boot_cpu.fpu_owner == thread) {
        __asm__ volatile("clts" : : : "memory");
        __asm__ volatile("fxsave64 %0" : "=m"(thread->arch.fpu));
        fpu_switch_off();
        boot_cpu.fpu_owner = NULL;
    }
    thread->registers.entry = ENTRY_FULL;
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

void trap_exception(uint64_t vector, uint64_t error)
{
    if (vector == VECTOR_NO_FPU) {
        fpu_take(boot_cpu.loaded);
        return;
    }
    struct fault fault = {.vector = vector, .error = error};
    if (vector == VECTOR_PAGE_FAULT)
        fault.address = read_cr2();
    kernel_fault(&kernel_state, &fault);
}

void trap_interrupt(uint64_t vector)
{
    if (vector == VECTOR_TIMER) {
        apic_end_of_interrupt();
        kernel_timer(&kernel_state);
    } else if (vector >= VECTOR_DEVICE_FIRST && vector <= VECTOR_DEVICE_LAST) {
        /* Level-triggered pins are masked in there, so acknowledge only afterwards. */
        kernel_interrupt(&kernel_state, (uint32_t)vector);
        apic_end_of_interrupt();
    }
    /* Spurious ones, the APIC's and the masked PICs', want no acknowledgement. */
}

/* The current thread's next instruction lies beyond the user half: it executed SYSCALL in the last
 * bytes below it. The CPU would take that fault in ring 0; the thread gets it instead. */
void return_address_fault(void)
{
    struct fault fault = {.vector = VECTOR_GENERAL_PROTECTION};
    kernel_fault(&kernel_state, &fault);
}
