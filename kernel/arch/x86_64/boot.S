// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * To long mode in the upper half: from the loader's 32-bit protected mode, and at the end of this file
 * other CPUs from real mode.
 *
 * Two doors: the PVH note (Xen's "x86/HVM direct boot ABI": EBX = start_info) and the Multiboot2
 * header (Multiboot2 specification 2.0, 3.1 and 3.3: EAX = magic, EBX = information). Both come
 * with paging off, interrupts off, flat segments and no stack. The early tables map the first
 * 4 GiB at 0 and at PHYSICAL_WINDOW, and the kernel where it was linked, later also where slide.c
 * moves it; paging.c replaces them.
 */
#include "kernel/arch/x86_64/layout.h"

#define PHYSICAL(symbol) ((symbol) - KERNEL_VIRTUAL)
#define PTE_PRESENT_WRITE 0x3
#define PTE_LARGE_PRESENT_WRITE 0x83

/* Long mode, but for the jump, with the top table at eax. Changes eax, ecx, edx. */
    .macro paging_on
    movl $0xa0, %ecx                       # CR4: PAE, PGE
    movl %ecx, %cr4
    movl %eax, %cr3
    movl $0xc0000080, %ecx                 # EFER: system calls, long mode, execute-disable
    rdmsr
    orl $0x901, %eax
    wrmsr
    movl $0x80010033, %eax                 # CR0: paging, write protect, NE, ET, MP, PE
    movl %eax, %cr0
    .endm

    .macro kernel_segments
    movl $SELECTOR_KERNEL_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    .endm

    .section .boot.header, "a"
    .balign 8
multiboot2_header:
    .long 0xe85250d6                       # magic
    .long 0                                # i386, protected mode
    .long multiboot2_end - multiboot2_header
    .long -(0xe85250d6 + 0 + (multiboot2_end - multiboot2_header))
    .balign 8
    .word 3, 0                             # entry address
    .long 12
    .long multiboot2_start
    .balign 8
    .word 6, 0                             # modules are aligned to pages
    .long 8
    .balign 8
    .word 0, 0
    .long 8
multiboot2_end:

    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18                         # name bytes, descriptor bytes, PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start

    .section .boot.text, "ax"
    .code32
    .global pvh_start
pvh_start:
    movl $PVH_START_MAGIC, %eax
    .global multiboot2_start
multiboot2_start:
    cli
    cld
    movl %eax, %edi                        # argument 0 of x86_64_start: which loader
    movl %ebx, %esi                        # argument 1: its information
    movl $PHYSICAL(kernel_stack_top), %esp

    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    andl $0x20100000, %edx                 # long mode (29) and execute-disable (20)
    cmpl $0x20100000, %edx
    jne no_long_mode

    movl $PHYSICAL(early_pml4), %eax
    movl $(PHYSICAL(early_pdpt) + PTE_PRESENT_WRITE), %ecx
    movl %ecx, (%eax)
    movl %ecx, (256 * 8)(%eax)
    movl $(PHYSICAL(early_kernel_pdpt) + PTE_PRESENT_WRITE), 511 * 8(%eax)
    movl $(PHYSICAL(early_image_directory) + PTE_PRESENT_WRITE), PHYSICAL(early_kernel_pdpt) + 510 * 8
    movl $(KERNEL_PHYSICAL + PTE_LARGE_PRESENT_WRITE), PHYSICAL(early_image_directory) + 8
    movl $(PHYSICAL(early_directories) + PTE_PRESENT_WRITE), %ecx
    movl $PHYSICAL(early_pdpt), %eax
1:  movl %ecx, (%eax)
    addl $8, %eax
    addl $4096, %ecx
    cmpl $(PHYSICAL(early_pdpt) + 4 * 8), %eax
    jne 1b

    movl $PHYSICAL(early_directories), %eax
    movl $PTE_LARGE_PRESENT_WRITE, %ecx
1:  movl %ecx, (%eax)
    addl $8, %eax
    addl $0x200000, %ecx
    cmpl $(PHYSICAL(early_directories) + 4 * 4096), %eax
    jne 1b

    movl $PHYSICAL(early_pml4), %eax
    paging_on
    lgdt early_gdt_pointer
    ljmp $SELECTOR_KERNEL_CODE, $long_mode

no_long_mode:
    hlt
    jmp no_long_mode

    .balign 8
early_gdt:
    .quad 0
    .quad 0x00af9b000000ffff               # 64-bit code
    .quad 0x00cf93000000ffff               # data
early_gdt_pointer:
    .word early_gdt_pointer - early_gdt - 1
    .long early_gdt

    .code64
long_mode:
    kernel_segments
    movq $kernel_stack_top, %rsp
    pushq %rdi
    pushq %rsi
    movq $x86_64_place, %rax
    call *%rax                             # changes the addresses in what follows
    popq %rsi
    popq %rdi
    movq $kernel_stack_top, %rsp
    xorl %ebp, %ebp
    pushq $0                               # a backtrace ends here
    movq $x86_64_start, %rax
    jmp *%rax

/* ---- The stack of the start, above a page that is not mapped later -------------------------- */
    .section .stacks, "aw", @nobits
    .balign 4096
    .global stack_guard, kernel_stack_top
stack_guard:
    .skip STACK_GUARD_BYTES
    .skip KERNEL_STACK_BYTES
kernel_stack_top:

    .section .bss.early, "aw", @nobits
    .balign 4096
early_pml4:
    .skip 4096
early_pdpt:
    .skip 4096
early_kernel_pdpt:
    .skip 4096
early_directories:
    .skip 4 * 4096
    .global early_image_directory, early_image_table
early_image_directory:
    .skip 4096
early_image_table:
    .skip 4096

/* ---- Where another CPU starts after its start-up IPI (SDM vol. 3, 9.4) -------------------------
 * Real mode, at a copy of this page at TRAMPOLINE_PHYSICAL. Straight to long mode, with page tables
 * that show this page and the kernel. */
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
    lgdtl trampoline_gdt_pointer - trampoline
    movl trampoline_root - trampoline, %eax
    paging_on
    ljmpl $SELECTOR_KERNEL_CODE, $AT(trampoline_long_mode)

    .code64
trampoline_long_mode:
    kernel_segments
    movq trampoline_stack(%rip), %rsp
    movq trampoline_cpu(%rip), %rdi
    xorl %ebp, %ebp
    pushq $0                               # a backtrace ends here
    jmp *trampoline_entry(%rip)

    .balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00af9b000000ffff               # 64-bit code
    .quad 0x00cf93000000ffff               # data
trampoline_gdt_pointer:
    .word trampoline_gdt_pointer - trampoline_gdt - 1
    .long AT(trampoline_gdt)
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
