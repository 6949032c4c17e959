// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/logport/accounts.h"

#include "lib/base/bytes.h"

status_t accounts_init(struct accounts *accounts, const struct cell_info *cell,
                       void (*doorbell)(void *context, cap_slot_t slot))
{
    memset(accounts, 0, sizeof *accounts);
    for (uint32_t i = 0; i < cell->ring_count && i < CELL_RINGS_MAX; i++) {
        const struct cell_ring *ring = &cell->rings[i];
        if (ring->kind != SYSTEM_RING_LOG || ring->role != CELL_RING_CLIENT) {
            continue;
        }
        if (accounts->count == ACCOUNTS_MAX) {
            return STATUS_TOO_LARGE;
        }
        struct accounts_service *service = &accounts->services[accounts->count];
        status_t status = logport_init(&service->port, ring, doorbell, NULL);
        if (status != STATUS_OK) {
            return status;
        }
        service->wanted = true;
        accounts->count++;
    }
    return STATUS_OK;
}

void accounts_ask(struct accounts *accounts)
{
    for (uint32_t i = 0; i < accounts->count; i++) {
        accounts->services[i].wanted = true;
    }
}

/* Where half of the pool begins: at a buffer. */
static uint32_t half_buffers(const struct accounts_service *service)
{
    return service->port.where->buffer_count / 2u;
}

static uint32_t half_bytes(const struct accounts_service *service)
{
    uint64_t bytes = (uint64_t)half_buffers(service) * service->port.where->buffer_bytes;

    return bytes < INT32_MAX ? (uint32_t)bytes : INT32_MAX;
}

void accounts_told(const struct accounts *accounts, const struct account *account)
{
    bool any = false;

    for (uint32_t i = 0; i < accounts->count; i++) {
        const struct accounts_service *service = &accounts->services[i];
        if (service->bytes != 0) {
            account_print(account, any ? "," : "");
            account_bytes(account, service->port.pool + (service->upper ? half_bytes(service) : 0),
                          service->bytes);
            any = true;
        }
    }
}

static bool poll_service(struct accounts_service *service, time_ns_t now_ns)
{
    struct logport *port = &service->port;
    struct ring_completion done;
    bool open = logport_poll(port, now_ns);
    if (service->asked && (!open || service->session != port->sessions)) {
        service->asked = false; /* that session ended without an answer */
        service->wanted = true;
    }
    if (!open) {
        return false;
    }
    if (service->asked && logport_take(port, &done, 1) == 1) {
        service->asked = false;
        if (done.result > 0 && (uint32_t)done.result <= half_bytes(service)) {
            service->bytes = (uint32_t)done.result;
            service->upper = !service->upper;
        }
        return true;
    }
    if (!service->wanted || service->asked || logport_room(port) == 0) {
        return false;
    }
    service->wanted = false;
    service->asked = true;
    service->session = port->sessions;
    logport_submit(port, &(struct ring_submission){
                             .operation = RING_LOG_ACCOUNT,
                             .buffer = service->upper ? 0 : half_buffers(service),
                             .length = half_bytes(service),
                         });
    logport_publish(port);
    return true;
}

bool accounts_poll(struct accounts *accounts, time_ns_t now_ns)
{
    bool worked = false;

    for (uint32_t i = 0; i < accounts->count; i++) {
        worked = poll_service(&accounts->services[i], now_ns) || worked;
    }
    return worked;
}

bool accounts_arm(struct accounts *accounts)
{
    for (uint32_t i = 0; i < accounts->count; i++) {
        if (!logport_arm(&accounts->services[i].port)) {
            while (i-- > 0) {
                logport_disarm(&accounts->services[i].port);
            }
            return false;
        }
    }
    return true;
}

void accounts_disarm(struct accounts *accounts)
{
    for (uint32_t i = 0; i < accounts->count; i++) {
        logport_disarm(&accounts->services[i].port);
    }
}

time_ns_t accounts_deadline(const struct accounts *accounts)
{
    time_ns_t due = DEADLINE_NEVER;

    for (uint32_t i = 0; i < accounts->count; i++) {
        time_ns_t one = logport_deadline(&accounts->services[i].port);
        due = one < due ? one : due;
    }
    return due;
}
