// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/format.h"
#include "runtime/cell.h"
#include "runtime/syscall.h"

#define CONSOLE_BYTES (MESSAGE_WORDS_MAX * sizeof(uint64_t))

static cap_slot_t log_console;
static const char *log_name = "?";

void log_open(cap_slot_t console, const char *name)
{
    log_console = console;
    log_name = name;
}

void log_text(const char *text, size_t bytes)
{
    while (bytes > 0) {
        uint64_t words[MESSAGE_WORDS_MAX] = {0};
        size_t part = bytes < CONSOLE_BYTES ? bytes : CONSOLE_BYTES;
        memcpy(words, text, part);
        if (console_write(log_console, (uint32_t)part, words) != STATUS_OK) {
            return;
        }
        text += part;
        bytes -= part;
    }
}

void log_line(const char *format, ...)
{
    char line[LOG_LINE_BYTES];
    va_list arguments;

    size_t length = format_text(line, sizeof(line), "%.23s: ", log_name);
    va_start(arguments, format);
    length += format_text_va(line + length, sizeof(line) - length, format, arguments);
    va_end(arguments);
    if (length > sizeof(line) - 1u) {
        length = sizeof(line) - 1u;
        memcpy(line + length - 3u, "...", 3);
    }
    line[length] = '\n';
    log_text(line, length + 1u);
}

/* Stops with a fault, so that the supervisor's report shows registers and callers too. */
_Noreturn void assertion_failed(const char *expression, const char *file, int line)
{
    log_line("%s:%d: assertion failed: %s", file, line, expression);
    __builtin_trap();
}
