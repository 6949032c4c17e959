// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Where a CPU starts after its start-up IPI (SDM vol. 3, 9.4): real mode, at a copy of this page at
 * TRAMPOLINE_PHYSICAL. Straight to long mode, with page tables that show this page and the kernel.
 */
#include "kernel/arch/x86_64/layout.h"

#define AT(symbol) (TRAMPOLINE_PHYSICAL + (symbol) - trampoline)

    .section .rodata, "a"
    .code16
    .balign 16
    .global trampoline, trampoline_end, trampoline_root, trampoline_stack, trampoline_cpu
    .global trampoline_entry
trampoline:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    lgdtl gdt_pointer - trampoline
    movl trampoline_root - trampoline, %eax
    movl $0xa0, %ecx                       # CR4: PAE, PGE
    movl %ecx, %cr4
    movl %eax, %cr3
    movl $0xc0000080, %ecx                 # EFER: system calls, long mode, execute-disable
    rdmsr
    orl $0x901, %eax
    wrmsr
    movl $0x80010033, %eax                 # CR0: paging, write protect, NE, ET, MP, PE
    movl %eax, %cr0
    ljmpl $SELECTOR_KERNEL_CODE, $AT(long_mode)

    .code64
long_mode:
    movl $SELECTOR_KERNEL_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movq trampoline_stack(%rip), %rsp
    movq trampoline_cpu(%rip), %rdi
    xorl %ebp, %ebp
    pushq $0                               # a backtrace ends here
    jmp *trampoline_entry(%rip)

    .balign 8
gdt:
    .quad 0
    .quad 0x00af9b000000ffff               # 64-bit code
    .quad 0x00cf93000000ffff               # data
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long AT(gdt)
    .balign 8
trampoline_root:
    .quad 0
trampoline_stack:
    .quad 0
trampoline_cpu:
    .quad 0
trampoline_entry:
    .quad 0
trampoline_end:

    .section .note.GNU-stack, "", @progbits
