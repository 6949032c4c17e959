// SPDX-License-Identifier: MIT OR Apache-2.0
#include "kernel/arch/x86_64/serial.h"

#include <stdarg.h>

#include "kernel/arch.h"
#include "kernel/arch/x86_64/cpu.h"
#include "lib/base/format.h"

/* Registers of the 16550 (National PC16550D data sheet, section 8). */
enum {
    SERIAL_DATA = 0,
    SERIAL_INTERRUPT_ENABLE = 1,
    SERIAL_FIFO_CONTROL = 2,
    SERIAL_LINE_CONTROL = 3,
    SERIAL_MODEM_CONTROL = 4,
    SERIAL_LINE_STATUS = 5
};

#define LINE_STATUS_TRANSMIT_READY 0x20u
#define SERIAL_POLLS_MAX 100000u

void serial_init(void)
{
    port_out8(SERIAL_PORT + SERIAL_INTERRUPT_ENABLE, 0);
    port_out8(SERIAL_PORT + SERIAL_LINE_CONTROL, 0x80); /* divisor latch */
    port_out8(SERIAL_PORT + SERIAL_DATA, 1);            /* 115200 / 1 */
    port_out8(SERIAL_PORT + SERIAL_INTERRUPT_ENABLE, 0);
    port_out8(SERIAL_PORT + SERIAL_LINE_CONTROL, 0x03); /* 8N1 */
    port_out8(SERIAL_PORT + SERIAL_FIFO_CONTROL, 0x07); /* FIFO on, cleared */
    port_out8(SERIAL_PORT + SERIAL_MODEM_CONTROL, 0x03);
}

static void put(char c)
{
    for (uint32_t i = 0; i < SERIAL_POLLS_MAX; i++) {
        if (port_in8(SERIAL_PORT + SERIAL_LINE_STATUS) & LINE_STATUS_TRANSMIT_READY) {
            port_out8(SERIAL_PORT + SERIAL_DATA, (uint8_t)c);
            return;
        }
        cpu_pause();
    }
}

void arch_console_write(const char *text, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        if (text[i] == '\n')
            put('\r');
        put(text[i]);
    }
}

void print(const char *format, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    size_t length = format_text_va(line, sizeof line, format, arguments);
    va_end(arguments);
    arch_console_write(line, (uint32_t)(length < sizeof line ? length : sizeof line - 1));
}
