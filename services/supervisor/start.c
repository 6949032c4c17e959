// SPDX-License-Identifier: MIT OR Apache-2.0
/* Everything that the supervisor does once, before its loop. */
#include "services/supervisor/supervisor.h"

/* ---- Parts ----------------------------------------------------------------------------------- */

static status_t objects_prepare(struct supervisor *s)
{
    cap_slot_t first;
    status_t status = slots_take(s, 5, &first);

    if (status != STATUS_OK) {
        return status;
    }
    s->endpoint = first;
    s->replies[0] = first + 1u;
    s->replies[1] = first + 2u;
    s->events = first + 3u;
    s->notification = first + 4u;
    status = retype_own(s, (struct retype_request){OBJECT_ENDPOINT, 0, s->endpoint, 1});
    if (status == STATUS_OK) {
        status = retype_own(s, (struct retype_request){OBJECT_REPLY, 0, s->replies[0], 2});
    }
    if (status == STATUS_OK) {
        status = retype_own(s, (struct retype_request){OBJECT_NOTIFICATION, 0, s->events, 1});
    }
    if (status == STATUS_OK) {
        status = cap_mint(s->notification, s->events, RIGHT_SEND, EVENT_POWER_BUTTON);
    }
    if (status == STATUS_OK) {
        status = thread_bind_notification(BOOT_SLOT_THREAD, s->events);
    }
    return status;
}

static bool bundle_prepare(struct supervisor *s)
{
    struct bundle_problem problem;
    struct system_problem wrong;
    const struct bundle_entry *entry;
    const void *data;
    status_t status = bundle_open(&s->bundle, (const void *)s->boot->bundle_address,
                                  s->boot->bundle_bytes, &problem);

    if (status != STATUS_OK) {
        if (problem.entry < BUNDLE_ENTRIES_MAX) {
            log_line("bundle: entry %u: %s; make the image anew", problem.entry, problem.what);
        } else {
            log_line("bundle: %s; make the image anew", problem.what);
        }
        return false;
    }
    entry = bundle_find(&s->bundle, BUNDLE_SYSTEM, NULL);
    if (entry == NULL) {
        log_line("bundle: there is no system description in it; make the image anew");
        return false;
    }
    status = bundle_read(&s->bundle, entry, &data);
    if (status != STATUS_OK) {
        log_line("bundle: the system description fails its checksum; make the image anew");
        return false;
    }
    status = system_open(&s->system, data, entry->bytes, &wrong);
    if (status != STATUS_OK) {
        log_line("system description: %s %u: %s; make the image anew", system_part_text(wrong.part),
                 wrong.index, wrong.what);
        return false;
    }
    return true;
}

static status_t cells_prepare(struct supervisor *s)
{
    s->cell_count = s->system.header->cell_count;
    s->device_count = s->system.header->device_count;
    s->ring_count = s->system.header->ring_count;
    for (uint32_t i = 0; i < s->device_count; i++) {
        s->devices[i].description = &s->system.devices[i];
    }
    for (uint32_t i = 0; i < s->cell_count; i++) {
        status_t status = cell_prepare(s, i);
        if (status != STATUS_OK) {
            return status;
        }
        if ((s->cells[i].description->flags & CELL_FLAG_PCI) != 0) {
            s->pci_cell = &s->cells[i];
        }
    }
    return rings_prepare(s);
}

/* ---- All ------------------------------------------------------------------------------------- */

const char *supervisor_prepare(struct supervisor *s, const struct boot_info *boot)
{
    if (boot->magic != BOOT_INFO_MAGIC || boot->version != BOOT_INFO_VERSION) {
        return "the kernel's boot information is of another version";
    }
    s->boot = boot;
    s->next_slot = boot->first_free_slot;
    s->next_address = boot->free_address;
    if (objects_prepare(s) != STATUS_OK) {
        return "there is too little memory for the supervisor";
    }
    log_line(
        "%lu MiB RAM, %u of %u CPUs%s", boot->ram_bytes >> 20, boot->cpus_used, boot->cpu_count,
        (boot->flags & BOOT_FLAG_IOMMU) != 0 ? ""
                                             : "; no IOMMU: cells that drive devices are trusted");
    if (!bundle_prepare(s)) {
        return "without a system description there is nothing to run";
    }
    log_line("system \"%s\": %u cells", s->system.header->name, s->system.header->cell_count);
    if (cells_prepare(s) != STATUS_OK) {
        return "there is too little memory for the cells' rings and wake-ups";
    }
    calendar_read(s);
    power_prepare(s);
    if (schedules_prepare(s) != STATUS_OK) {
        return "the CPUs' schedules cannot be made";
    }
    return NULL;
}
