// SPDX-License-Identifier: MIT OR Apache-2.0
// The kernel's own symbol table (struct symbol_table). The Makefile links the kernel twice: the
// table is made from the first link, whose own is empty.
#ifndef SYMBOL_FILE
#error "SYMBOL_FILE names the table"
#endif
    .section .symbols, "a"
    .balign 8
    .global kernel_symbols, kernel_symbols_end
kernel_symbols:
    .incbin SYMBOL_FILE
kernel_symbols_end:
    .section .note.GNU-stack, "", @progbits
