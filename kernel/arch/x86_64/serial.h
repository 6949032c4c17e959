// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * COM1 as the kernel's console: 115200 8N1, output only, polled. Context: any; each byte waits at
 * most SERIAL_POLLS_MAX polls for the transmitter, then is dropped (a missing port reads as 0xff,
 * which is "ready", so a machine without one costs nothing). The machine contract's
 * arch_console_write is implemented here: bytes as they are, but a carriage return before each line
 * feed.
 */
#ifndef KERNEL_ARCH_X86_64_SERIAL_H
#define KERNEL_ARCH_X86_64_SERIAL_H

#define SERIAL_PORT 0x3f8u

void serial_init(void);
/* Formats (lib/base/format.h) a line of at most 255 characters and writes it. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
