// SPDX-License-Identifier: MIT OR Apache-2.0
// The kernel's own symbol table (struct symbol_table), and where it holds addresses of its own
// (slide.c). They are made from an earlier link, whose own are empty.
#if !defined SYMBOL_FILE || !defined RELOCATION_FILE
#error "SYMBOL_FILE and RELOCATION_FILE name the tables"
#endif
    .section .symbols, "a"
    .balign 8
    .global kernel_symbols, kernel_symbols_end
kernel_symbols:
    .incbin SYMBOL_FILE
kernel_symbols_end:
    .section .relocations, "a"
    .balign 8
    .incbin RELOCATION_FILE
    .section .note.GNU-stack, "", @progbits
