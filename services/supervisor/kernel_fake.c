// SPDX-License-Identifier: MIT OR Apache-2.0
#include "services/supervisor/kernel_fake.h"

#include <stdarg.h>

#include "lib/base/bytes.h"
#include "lib/base/format.h"
#include "runtime/cell.h"

#define ACPI_CONTROL_PORT 0x604u
#define SLEEP_ENABLE (1u << 13)

struct kernel_fake kernel_fake;

void kernel_fake_reset(cap_slot_t first_free)
{
    memset(&kernel_fake, 0, sizeof(kernel_fake));
    for (cap_slot_t i = 1; i < first_free; i++) {
        kernel_fake.slots[i].used = true;
    }
}

uint32_t kernel_fake_used(void)
{
    uint32_t used = 0;

    for (uint32_t i = 0; i < FAKE_SLOTS; i++) {
        used += kernel_fake.slots[i].used ? 1u : 0u;
    }
    return used;
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static bool refuse_now(void)
{
    return ++kernel_fake.calls == kernel_fake.fail_at;
}

static bool again_now(void)
{
    return ++kernel_fake.again % 3u == 0;
}

static bool is_used(uint64_t slot)
{
    return slot < FAKE_SLOTS && kernel_fake.slots[slot].used;
}

/* Puts something into the slot that `to` names; counts what goes into other tables. */
static status_t put(cap_ref_t to, cap_slot_t parent)
{
    uint64_t slot = to & 0xffffffffu;

    if (to >> 32 != 0) {
        kernel_fake.cell_tables++;
        return is_used(to >> 32) ? STATUS_OK : STATUS_EMPTY_SLOT;
    }
    if (slot == 0 || slot >= FAKE_SLOTS) {
        return STATUS_INVALID_SLOT;
    }
    if (kernel_fake.slots[slot].used) {
        return STATUS_OCCUPIED_SLOT;
    }
    kernel_fake.slots[slot].used = true;
    kernel_fake.slots[slot].parent = parent;
    kernel_fake.slots[slot].suspended = false;
    return STATUS_OK;
}

static status_t derive(cap_ref_t to, cap_ref_t from)
{
    return is_used(from) ? put(to, (cap_slot_t)from) : STATUS_EMPTY_SLOT;
}

static status_t revoke(uint64_t slot)
{
    if (again_now()) {
        return STATUS_AGAIN;
    }
    for (uint32_t i = 1; i < FAKE_SLOTS; i++) {
        if (kernel_fake.slots[i].used && kernel_fake.slots[i].parent == slot) {
            kernel_fake.slots[i].used = false;
            while (revoke(i) == STATUS_AGAIN) {
            }
        }
    }
    return is_used(slot) || slot != 0 ? STATUS_OK : STATUS_EMPTY_SLOT;
}

static status_t retype_slots(uint64_t untyped, struct call_arguments a)
{
    status_t status = STATUS_OK;

    if (!is_used(untyped)) {
        return STATUS_EMPTY_SLOT;
    }
    if (again_now()) {
        return STATUS_AGAIN;
    }
    for (uint64_t i = 0; i < a.r8 && status == STATUS_OK; i++) {
        status = put(a.r10 + i, (cap_slot_t)untyped);
    }
    return status;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

status_t call_2(uint64_t call, uint64_t rdi, uint64_t rsi)
{
    (void)rsi;
    switch (call) {
    case CALL_cap_revoke:
        return revoke(rdi);
    case CALL_cap_delete:
        if (!is_used(rdi)) {
            return STATUS_EMPTY_SLOT;
        }
        kernel_fake.slots[rdi].used = false;
        return STATUS_OK;
    case CALL_thread_suspend:
        kernel_fake.slots[rdi % FAKE_SLOTS].suspended = true;
        return is_used(rdi) ? STATUS_OK : STATUS_EMPTY_SLOT;
    case CALL_notification_signal:
        kernel_fake.slots[rdi % FAKE_SLOTS].signals++;
        return is_used(rdi) ? STATUS_OK : STATUS_EMPTY_SLOT;
    case CALL_irq_bind:
    case CALL_thread_resume:
        if (refuse_now()) {
            return STATUS_NO_MEMORY;
        }
        return is_used(rdi) ? STATUS_OK : STATUS_EMPTY_SLOT;
    default:
        return STATUS_OK;
    }
}

status_t call_6(uint64_t call, uint64_t rdi, uint64_t rsi, struct call_arguments a)
{
    if (call == CALL_port_out) {
        kernel_fake.switched_off +=
            rsi == ACPI_CONTROL_PORT && (a.r10 & SLEEP_ENABLE) != 0 ? 1u : 0u;
        return STATUS_OK;
    }
    if (refuse_now()) {
        return STATUS_NO_MEMORY;
    }
    switch (call) {
    case CALL_cap_copy:
    case CALL_cap_mint:
        return derive(rdi, rsi);
    case CALL_untyped_retype:
        return retype_slots(rdi, a);
    case CALL_irq_create_ioapic:
        return put(rsi, (cap_slot_t)rdi);
    default:
        return is_used(rdi) ? STATUS_OK : STATUS_EMPTY_SLOT;
    }
}

status_t call_values(uint64_t call, uint64_t rdi, uint64_t rsi, struct call_arguments a,
                     uint64_t values[2])
{
    (void)a;
    values[0] = rsi << PAGE_SHIFT;
    values[1] = 0;
    switch (call) {
    case CALL_cap_identify:
        return is_used(rdi) ? STATUS_OK : STATUS_EMPTY_SLOT;
    case CALL_notification_wait:
        return STATUS_TIMED_OUT;
    case CALL_port_in:
        values[0] = kernel_fake.port_status;
        return STATUS_OK;
    case CALL_irq_create_msi:
        return refuse_now() ? STATUS_NO_MEMORY : put(rsi, (cap_slot_t)rdi);
    case CALL_segment_device_address:
        return is_used(rdi) ? STATUS_OK : STATUS_EMPTY_SLOT;
    default:
        return STATUS_OK;
    }
}

status_t call_message(uint64_t call, uint64_t object, struct message *m)
{
    if ((call & 0xffffu) == CALL_ipc_reply) {
        kernel_fake.replies++;
        kernel_fake.reply_slot = (cap_slot_t)object;
        kernel_fake.reply = *m;
        return STATUS_OK;
    }
    if (call == CALL_segment_populate_device && refuse_now()) {
        return STATUS_NO_MEMORY;
    }
    return is_used(object) ? STATUS_OK : STATUS_EMPTY_SLOT;
}

status_t call_message_4(uint64_t call, uint64_t *object, uint64_t *info, uint64_t words[4])
{
    (void)call;
    (void)object;
    (void)info;
    (void)words;
    return STATUS_UNSUPPORTED;
}

/* ---- Console --------------------------------------------------------------------------------- */

void log_open(cap_slot_t console, const char *name)
{
    (void)console;
    (void)name;
}

void log_text(const char *text, size_t bytes)
{
    if (bytes > FAKE_LOG_BYTES - 1u - kernel_fake.log_bytes) {
        kernel_fake.log_bytes = 0; /* keep the latest */
    }
    memcpy(kernel_fake.log + kernel_fake.log_bytes, text, bytes);
    kernel_fake.log_bytes += (uint32_t)bytes;
    kernel_fake.log[kernel_fake.log_bytes] = '\0';
}

void log_line(const char *format, ...)
{
    char line[LOG_LINE_BYTES];
    va_list arguments;

    va_start(arguments, format);
    size_t length = format_text_va(line, sizeof(line) - 1u, format, arguments);
    va_end(arguments);
    length = length < sizeof(line) - 2u ? length : sizeof(line) - 2u;
    line[length] = '\n';
    log_text(line, length + 1u);
}
