// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The driver cell of a physical function whose virtual functions other cells drive. Its [config]:
 *     loopback = false   whether frames between virtual functions stay in the chip; without it they
 *                        go out, and the switch there has to send them back
 */
#include "drivers/net/intel/intel_pf.h"
#include "runtime/cell.h"
#include "runtime/syscall.h"

/* Until the chip runs; then virtual functions may start. */
#define START_TIMEOUT_NS 30000000000ull

static const struct cell_device *find_device(const struct cell_info *info)
{
    for (uint32_t i = 0; i < info->device_count; i++) {
        if (info->devices[i].kind == SYSTEM_DEVICE_NET) {
            return &info->devices[i];
        }
    }
    return NULL;
}

static void say_changes(const struct intel_pf *pf, uint32_t pools_on, bool link)
{
    uint8_t mac[6];

    if (pf->link != link) {
        log_line("link %s", pf->link ? "up" : "down");
    }
    for (uint32_t i = 0; i < INTEL_POOLS; i++) {
        if ((pf->pools_on >> i & 1u) != 0 && (pools_on >> i & 1u) == 0) {
            intel_pf_address(pf, i, mac);
            log_line("virtual function %u runs as %02x:%02x:%02x:%02x:%02x:%02x", i, mac[0], mac[1],
                     mac[2], mac[3], mac[4], mac[5]);
        }
    }
}

status_t cell_main(const struct cell_info *info)
{
    static struct intel_pf pf;
    const struct cell_device *device = find_device(info);
    bool loopback = config_bool(info, "loopback", false);
    time_ns_t start_ns = clock_ns(&info->time);
    status_t status =
        device == NULL ? STATUS_NOT_FOUND : intel_pf_init(&pf, device, loopback, start_ns);
    uint64_t events = 0;
    bool ready = false;

    if (status != STATUS_OK) {
        log_line("cannot start: %s", status_text(status));
        return status;
    }
    while ((events & CELL_EVENT_SHUTDOWN) == 0) {
        uint32_t pools_on = pf.pools_on;
        bool link = pf.link;
        time_ns_t now_ns = clock_ns(&info->time);
        time_ns_t due_ns = intel_pf_work(&pf, now_ns);
        say_changes(&pf, pools_on, link);
        if (!ready && now_ns - start_ns > START_TIMEOUT_NS) {
            return STATUS_DEVICE_TIMEOUT;
        }
        if (!ready && intel_pf_running(&pf)) {
            ready = true;
            log_line("%s %04x:%04x hands out virtual functions", device->name, device->pci_vendor,
                     device->pci_device);
            if ((status = supervisor_ready()) != STATUS_OK) {
                return status;
            }
        }
        (void)notification_wait(CELL_SLOT_NOTIFICATION, due_ns, &events);
    }
    intel_pf_stop(&pf);
    supervisor_shutdown_done();
}
