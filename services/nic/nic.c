// SPDX-License-Identifier: MIT OR Apache-2.0
/* The driver cell: one NIC, one ring, one client. */
#include "runtime/cell.h"
#include "runtime/dma.h"
#include "runtime/event_loop.h"
#include "runtime/syscall.h"
#include "services/nic/server/server.h"

static time_ns_t now_ns(void *context)
{
    const struct cell_info *info = context;
    return clock_ns(&info->time);
}

static void relax(void *context)
{
    (void)context;
    (void)yield();
}

static void doorbell(void *context, cap_slot_t slot)
{
    (void)context;
    (void)notification_signal(slot);
}

static bool poll_server(void *context, time_ns_t now)
{
    return nic_server_poll(context, now);
}

static bool arm_server(void *context)
{
    return nic_server_arm(context);
}

static void disarm_server(void *context)
{
    nic_server_disarm(context);
}

static time_ns_t server_deadline(void *context)
{
    return nic_server_deadline(context);
}

static status_t start_server(const struct cell_info *info, struct nic_server *server)
{
    struct dma_pool dma;
    struct nic_server_config config = {
        .memory = info->heap,
        .memory_bytes = info->heap_bytes,
        .environment = {now_ns, relax, doorbell, (void *)(uintptr_t)info},
    };

    for (uint32_t i = 0; i < info->device_count && config.device == NULL; i++) {
        if (info->devices[i].kind == SYSTEM_DEVICE_NET) {
            config.device = &info->devices[i];
        }
    }
    for (uint32_t i = 0; i < info->ring_count && config.ring == NULL; i++) {
        if (info->rings[i].role == CELL_RING_SERVER) {
            config.ring = &info->rings[i];
        }
    }
    if (config.device == NULL || config.ring == NULL) {
        log_line("the manifest gives this cell no %s", config.device == NULL ? "NIC" : "ring");
        return STATUS_NOT_FOUND;
    }
    dma_pool_init(&dma, info);
    status_t status = dma_take(&dma, NETDEV_DMA_BYTES, &config.dma);
    if (status != STATUS_OK) {
        return status;
    }
    status = nic_server_init(server, &config);
    if (status == STATUS_OK) {
        log_line("%s %04x:%04x serves ring %s", config.device->name, config.device->pci_vendor,
                 config.device->pci_device, config.ring->name);
    }
    return status;
}

status_t cell_main(const struct cell_info *info)
{
    static struct nic_server server;
    struct event_loop loop;
    status_t status = start_server(info, &server);

    if (status != STATUS_OK) {
        log_line("cannot start: %s", status_text(status));
        return status;
    }
    event_loop_init(&loop, &info->time, CELL_SLOT_NOTIFICATION, 0);
    status = event_loop_add(&loop, &(struct event_source){
                                       .poll = poll_server,
                                       .arm = arm_server,
                                       .disarm = disarm_server,
                                       .deadline = server_deadline,
                                       .context = &server,
                                   });
    if (status != STATUS_OK || (status = supervisor_ready()) != STATUS_OK) {
        return status;
    }
    while ((event_loop_take_events(&loop) & CELL_EVENT_SHUTDOWN) == 0) {
        event_loop_round(&loop);
    }
    time_ns_t give_up_ns = clock_ns(&info->time) + NETDEV_ATTACH_TIMEOUT_NS;
    while (nic_server_stop(&server) == STATUS_AGAIN && clock_ns(&info->time) < give_up_ns) {
        (void)yield();
    }
    supervisor_shutdown_done();
}
