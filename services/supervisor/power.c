// SPDX-License-Identifier: MIT OR Apache-2.0
/* The power button, the shutdown of all cells, and switching off (ACPI 6.5, 4.8.3). */
#include "services/supervisor/supervisor.h"

#define SHUTDOWN_TIMEOUT_NS 15000000000ull /* for each cell */

#define OFF_TIMEOUT_NS 5000000000ull

/* PM1 event block: status, then enable, each 16 bits here. */
#define PM1_ENABLE_OFFSET 2u
#define PM1_POWER_BUTTON (1u << 8)
/* PM1 control. */
#define PM1_SLEEP_TYPE_SHIFT 10u
#define PM1_SLEEP_ENABLE (1u << 13)
#define SLEEP_TYPE_UNKNOWN 0xffffffffu

static status_t button_prepare(struct supervisor *s)
{
    uint32_t port = s->boot->acpi_pm1a_event_port;
    status_t status = slots_take(s, 1, &s->sci);

    if (status == STATUS_OK) {
        status = irq_create_ioapic(BOOT_SLOT_IRQ_CONTROL, s->sci, s->boot->acpi_sci_gsi,
                                   IRQ_LEVEL | IRQ_ACTIVE_LOW);
    }
    if (status == STATUS_OK) {
        status = port_out(BOOT_SLOT_IO_PORTS, port, 2, PM1_POWER_BUTTON);
    }
    if (status == STATUS_OK) {
        status = port_out(BOOT_SLOT_IO_PORTS, port + PM1_ENABLE_OFFSET, 2, PM1_POWER_BUTTON);
    }
    return status == STATUS_OK ? irq_bind(s->sci, s->notification) : status;
}

void power_prepare(struct supervisor *s)
{
    if (s->boot->acpi_pm1a_event_port == 0) {
        log_line("no ACPI power button found; the system cannot be asked to shut down");
        return;
    }
    status_t status = button_prepare(s);
    if (status != STATUS_OK) {
        log_line("the power button cannot be used: %s", status_text(status));
        s->sci = 0;
    }
}

static void shutdown_start(struct supervisor *s)
{
    s->shutting_down = true;
    s->shutdown_left = s->cell_count;
    s->shutdown_deadline_ns = DEADLINE_NEVER;
    log_line("power button: shutting down");
    for (uint32_t i = 0; i < s->cell_count; i++) {
        if (s->cells[i].stage == STAGE_WAITING || s->cells[i].stage == STAGE_ENABLING) {
            s->cells[i].stage = STAGE_STOPPED;
        }
    }
}

void power_event(struct supervisor *s, uint64_t events)
{
    uint32_t status = 0;

    if ((events & EVENT_POWER_BUTTON) == 0 || s->sci == 0) {
        return;
    }
    uint32_t port = s->boot->acpi_pm1a_event_port;
    bool pressed = port_in(BOOT_SLOT_IO_PORTS, port, 2, &status) == STATUS_OK &&
                   (status & PM1_POWER_BUTTON) != 0;
    /* Writing ones clears the events; then the level-triggered pin may fire again. */
    (void)port_out(BOOT_SLOT_IO_PORTS, port, 2, status);
    (void)irq_ack(s->sci);
    if (pressed && !s->shutting_down) {
        shutdown_start(s);
    }
}

/* Asks the machine to switch itself off, which takes it a moment. */
static void switch_off(struct supervisor *s)
{
    uint32_t type = s->boot->acpi_s5_sleep_type;
    uint32_t port = s->boot->acpi_pm1a_control_port;

    s->switched_off = true;
    s->shutdown_deadline_ns = clock_ns(&s->boot->time) + OFF_TIMEOUT_NS;
    if (type != SLEEP_TYPE_UNKNOWN && port != 0) {
        (void)port_out(BOOT_SLOT_IO_PORTS, port, 2,
                       type << PM1_SLEEP_TYPE_SHIFT | PM1_SLEEP_ENABLE);
    }
}

/* Says once that it did not. */
static void off_advance(struct supervisor *s)
{
    if (s->shutdown_deadline_ns != DEADLINE_NEVER &&
        clock_ns(&s->boot->time) >= s->shutdown_deadline_ns) {
        s->shutdown_deadline_ns = DEADLINE_NEVER;
        log_line("the machine cannot be switched off from here; do it by hand");
    }
}

/* The cell whose turn it is has stopped, was told just now, or is late and stopped by force. */
static bool cell_has_stopped(struct supervisor *s, struct cell *cell)
{
    time_ns_t now = clock_ns(&s->boot->time);

    if (cell->stage == STAGE_STOPPED || cell->stage == STAGE_FAILED) {
        return true;
    }
    if (!cell->shutdown_told) {
        cell->shutdown_told = true;
        s->shutdown_deadline_ns = now + SHUTDOWN_TIMEOUT_NS;
        (void)notification_signal(cell->slots.shutdown);
        pci_advance(s); /* the pci service waits for a reply instead */
        return false;
    }
    if (now < s->shutdown_deadline_ns) {
        return false;
    }
    log_line("%s did not shut down in time", cell->description->name);
    cell_stop(cell);
    cell->stage = STAGE_STOPPED;
    s->shutdown_unclean++;
    return true;
}

void power_advance(struct supervisor *s)
{
    static const char clean[] = "hallows: clean shutdown\n";

    if (s->switched_off) {
        off_advance(s);
        return;
    }
    if (!s->shutting_down) {
        return;
    }
    while (s->shutdown_left > 0) {
        if (!cell_has_stopped(s, &s->cells[s->shutdown_left - 1u])) {
            return;
        }
        s->shutdown_left--;
    }
    if (s->shutdown_unclean == 0) {
        log_text(clean, sizeof(clean) - 1u);
    } else {
        log_line("shutdown with %u cells that did not end as they should", s->shutdown_unclean);
    }
    switch_off(s);
}
