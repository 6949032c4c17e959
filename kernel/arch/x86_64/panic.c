// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The end: reason, registers, backtrace with names, then stop. Uses nothing but the console port,
 * and stops at once if it fails itself.
 */
#include "kernel/arch/x86_64/apic.h"
#include "kernel/arch/x86_64/cpu.h"
#include "kernel/arch/x86_64/layout.h"
#include "kernel/arch/x86_64/serial.h"
#include "kernel/arch/x86_64/slide.h"
#include "kernel/arch/x86_64/traps.h"
#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/format.h"
#include "lib/bundle/bundle.h"

#define BACKTRACE_FRAMES_MAX 32u
#define EXCEPTIONS_NAMED 22u

extern const char kernel_symbols[], kernel_symbols_end[];
extern const char text_start[], text_end[];
extern const char stack_guard[], kernel_stack_top[];

static bool panicking;

static void begin(void)
{
    __asm__ volatile("cli");
    if (__atomic_exchange_n(&panicking, true, __ATOMIC_ACQ_REL))
        cpu_stop(); /* this CPU again, or another: the first one's NMI */
    if (kernel_state.cpu_count > 1)
        apic_send(0, APIC_NMI_OTHERS);
    print("\nhallows: PANIC: ");
}

static void print_named(const struct symbols *symbols, uint64_t address, uint64_t slide)
{
    uint64_t offset = 0;
    const char *name = symbols == NULL ? NULL : symbols_find(symbols, address - slide, &offset);
    if (name != NULL)
        print("  %016lx %s+0x%lx\n", address, name, offset);
    else
        print("  %016lx\n", address);
}

static void print_place(uint64_t address)
{
    struct symbols symbols;
    uint64_t bytes = (uint64_t)(kernel_symbols_end - kernel_symbols);
    bool usable = symbols_open(&symbols, kernel_symbols, bytes) == STATUS_OK;
    print_named(usable ? &symbols : NULL, address, image_slide());
}

/* End of the kernel stack with that stack pointer: layout.h, paging_map_stack; 0: it is in none. */
static uint64_t stack_end(uint64_t pointer)
{
    uint64_t address = pointer - 1; /* an empty stack's points at its end */
    uint64_t first = STACK_GUARD_BYTES + KERNEL_STACK_BYTES;
    uint64_t other = STACK_GUARD_BYTES + IST_STACK_BYTES;
    uint64_t base = (uint64_t)stack_guard;
    if (address - STACK_WINDOW < (uint64_t)CPU_COUNT_MAX * STACK_WINDOW_BYTES)
        base = address & ~(STACK_WINDOW_BYTES - 1ull);
    else if (address < base || address >= (uint64_t)kernel_stack_top)
        return 0;
    uint64_t offset = address - base;
    return base + first + (offset < first ? 0 : ((offset - first) / other + 1) * other);
}

/* The address after a CALL (SDM vol. 2): E8 with 32 bits, or FF /2 through a register. */
static bool return_address(uint64_t address)
{
    if (address < (uint64_t)text_start + 5 || address >= (uint64_t)text_end)
        return false;
    const uint8_t *end = (const uint8_t *)address;
    return end[-5] == 0xe8 || (end[-2] == 0xff && (end[-1] & 0xf8) == 0xd0);
}

/* The kernel keeps no frame pointers: what looks like a return address is printed, now and then one
 * that an earlier call left behind. */
static void print_backtrace(uint64_t stack)
{
    uint32_t frames = 0;
    uint64_t end = stack_end(stack);
    for (stack &= ~7ull; stack < end && frames < BACKTRACE_FRAMES_MAX; stack += 8) {
        uint64_t word = *(const uint64_t *)stack;
        if (return_address(word)) {
            print_place(word);
            frames++;
        }
    }
}

static _Noreturn void end(void)
{
    print("hallows: the image lies %lx higher than linked\nhallows: stopped\n", image_slide());
    cpu_stop();
}

void panic(const char *format, ...)
{
    char text[200];
    va_list arguments;
    begin();
    va_start(arguments, format);
    format_text_va(text, sizeof text, format, arguments);
    va_end(arguments);
    print("%s\nbacktrace:\n", text);
    print_backtrace((uint64_t)__builtin_frame_address(0));
    end();
}

void assertion_failed(const char *expression, const char *file, int line)
{
    panic("assertion failed: %s (%s:%d)", expression, file, line);
}

/* In the order of vectors, ends of strings between them; the last stands for all that follow. */
static const char exception_names[] =
    "divide error\0debug\0NMI\0breakpoint\0overflow\0bound\0invalid opcode\0no FPU\0double fault\0"
    "9\0invalid TSS\0segment not present\0stack fault\0general protection\0page fault\0"
    "15\0x87 error\0alignment check\0machine check\0SIMD error\0virtualization\0"
    "control protection\0unknown";

static const char *exception_name(uint64_t vector)
{
    const char *name = exception_names;
    for (uint64_t i = 0; i < vector && i < EXCEPTIONS_NAMED; i++)
        name += strlen(name) + 1;
    return name;
}

void panic_trap(const struct trap_frame *f)
{
    begin();
    print("%s (vector %lu, error %lx) at\n", exception_name(f->vector), f->vector, f->error);
    print_place(f->ip);
    print("rax %016lx rbx %016lx rcx %016lx rdx %016lx\n", f->rax, f->rbx, f->rcx, f->rdx);
    print("rsi %016lx rdi %016lx rbp %016lx rsp %016lx\n", f->rsi, f->rdi, f->rbp, f->sp);
    print("r8  %016lx r9  %016lx r10 %016lx r11 %016lx\n", f->r8, f->r9, f->r10, f->r11);
    print("r12 %016lx r13 %016lx r14 %016lx r15 %016lx\n", f->r12, f->r13, f->r14, f->r15);
    print("cs %lx ss %lx flags %lx cr2 %016lx cr3 %016lx\nbacktrace:\n", f->cs, f->ss, f->flags,
          read_cr2(), read_cr3());
    if ((f->cs & 3) == 0)
        print_backtrace(f->sp);
    end();
}

/* The initial thread, whose faults nobody else reports, and the names of its functions. */
static thread_ix initial_thread;
static struct symbols initial_symbols;

void report_symbols_set(const struct symbols *symbols)
{
    initial_thread = current_thread(&kernel_state);
    initial_symbols = *symbols;
}

void arch_report_fault(struct kernel *k, thread_ix thread, const struct fault *fault)
{
    const struct registers *r = &thread_at(k, thread)->registers;
    print("hallows: thread %x stopped: %s (vector %lu, error %lx, address %lx), no fault handler\n",
          thread.n, exception_name(fault->vector), fault->vector, fault->error, fault->address);
    bool initial = thread.n == initial_thread.n;
    print_named(initial ? &initial_symbols : NULL, r->ip, 0);
    print("  ip %016lx sp %016lx flags %lx rax %016lx\n", r->ip, r->sp, r->flags, r->result);
    print("  rbx %016lx rcx %016lx rdx %016lx rsi %016lx\n", r->caps, r->rcx, r->word[0], r->arg1);
    print("  rdi %016lx rbp %016lx r8  %016lx r9  %016lx\n", r->arg0, r->rbp, r->word[2],
          r->word[3]);
    if (initial)
        print("hallows: that was the initial cell: nothing starts or restarts cells any more\n");
}
