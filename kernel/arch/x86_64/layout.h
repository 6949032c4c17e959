// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Where things lie in the kernel's half of the address space, for C, assembly and the linker
 * script. The user's half is 0 .. USER_ADDRESS_END.
 *
 *   PHYSICAL_WINDOW  all RAM, read-write, never executable, 2 MiB or 1 GiB pages
 *   DEVICE_WINDOW    the kernel's own device pages (local APIC, I/O APIC, HPET), uncached
 *   STACK_WINDOW     stacks of the CPUs, each above a page that is never mapped
 *   KERNEL_VIRTUAL   the kernel image, physical address 0 upwards; sections by their own rights
 */
#ifndef KERNEL_ARCH_X86_64_LAYOUT_H
#define KERNEL_ARCH_X86_64_LAYOUT_H

#define PHYSICAL_WINDOW 0xffff800000000000
#define DEVICE_WINDOW 0xffffffffc0000000
#define STACK_WINDOW 0xffffffffd0000000
#define KERNEL_VIRTUAL 0xffffffff80000000
#define KERNEL_PHYSICAL 0x200000
/* Where other CPUs start; below 1 MiB, which nobody else has. */
#define TRAMPOLINE_PHYSICAL 0x8000

/* Selectors of the kernel's descriptor table, in the order that SYSCALL and SYSRET want
 * (Intel SDM vol. 2, SYSRET): user data before user code. */
#define SELECTOR_KERNEL_CODE 0x08
#define SELECTOR_KERNEL_DATA 0x10
#define SELECTOR_USER_BASE 0x18
#define SELECTOR_USER_DATA 0x23
#define SELECTOR_USER_CODE 0x2b
#define SELECTOR_TSS 0x30

#define KERNEL_STACK_BYTES 16384
#define IST_STACK_BYTES 8192
#define STACK_GUARD_BYTES 4096
#define STACK_WINDOW_BYTES 0x10000 /* of one CPU */

#define MULTIBOOT2_LOADER_MAGIC 0x36d76289
#define PVH_START_MAGIC 0x336ec578

#endif
