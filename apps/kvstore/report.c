// SPDX-License-Identifier: MIT OR Apache-2.0
#include "apps/kvstore/cell.h"

typedef unsigned long long ull;

static const char *state_name(enum cell_state state)
{
    switch (state) {
    case CELL_STATE_WAITING:
        return "waiting";
    case CELL_STATE_STARTING:
        return "starting";
    case CELL_STATE_READY:
        return "ready";
    case CELL_STATE_FAILED:
        return "failed";
    case CELL_STATE_STOPPED:
        return "stopped";
    }
    return "unknown";
}

/* X(name, counter) of the network device. */
#define DEVICE_COUNTERS(X)                                                                         \
    X(rx_frames)                                                                                   \
    X(rx_bytes)                                                                                    \
    X(rx_dropped)                                                                                  \
    X(rx_errors)                                                                                   \
    X(tx_frames)                                                                                   \
    X(tx_bytes)                                                                                    \
    X(tx_dropped)                                                                                  \
    X(tx_errors)                                                                                   \
    X(doorbells)                                                                                   \
    X(interrupts)                                                                                  \
    X(resets)

static void json_cells(struct text *text)
{
    struct cell_status cell;

    text_print(text, ",\"cells\":[");
    for (uint32_t i = 0; i < SYSTEM_CELLS_MAX && supervisor_cell_status(i, &cell) == STATUS_OK;
         i++) {
        text_print(text,
                   "%s{\"name\":\"%s\",\"state\":\"%s\",\"memory_bytes\":%llu,\"restarts\":%u,"
                   "\"faults\":%u}",
                   i == 0 ? "" : ",", cell.name, state_name(cell.state), (ull)cell.memory_bytes,
                   cell.restarts, cell.faults);
    }
    text_print(text, "]");
}

static void json_network(const struct kvstore *kvstore, struct text *text)
{
    const struct stack_counters *counters = stack_counters(kvstore->network.stack);
    const struct netdev_counters *device = &kvstore->network.dev->counters;
    struct stack_interface interface;

    stack_interface(kvstore->network.stack, &interface);
    text_print(text, ",\"network\":{\"address\":\"%u.%u.%u.%u\",\"link_up\":%s",
               interface.address >> 24, interface.address >> 16 & 255, interface.address >> 8 & 255,
               interface.address & 255, interface.link_up ? "true" : "false");
    text_print(text, ",\"device\":{\"mtu_bytes\":%u", kvstore->network.dev->mtu_bytes);
#define X(name) text_print(text, ",\"" #name "\":%llu", (ull)device->name);
    DEVICE_COUNTERS(X)
#undef X
    text_print(text, "},\"stack\":{\"connections\":%u", stack_connections(kvstore->network.stack));
#define X(name, meaning) text_print(text, ",\"" #name "\":%llu", (ull)counters->name);
    STACK_COUNTER_TABLE(X)
#undef X
    text_print(text, "},");
    report_mib(kvstore->network.stack, text);
    text_print(text, "}");
}

static void json_drive(const struct kvstore *kvstore, struct text *text)
{
    struct nvme_counters sum;
    const struct nvme_counters *drive = &sum;
    const struct event_counters *loop = &kvstore->loop.counters;

    nvme_count_all(&kvstore->store.nvme, &sum);
    text_print(text,
               ",\"drive\":{\"submitted\":%llu,\"completed\":%llu,\"errors\":%llu,"
               "\"doorbells\":%llu,\"timeouts\":%llu,\"resets\":%llu}",
               (ull)drive->submitted, (ull)drive->completed, (ull)drive->errors,
               (ull)drive->doorbells, (ull)drive->timeouts, (ull)drive->resets);
    text_print(text,
               ",\"loop\":{\"rounds\":%llu,\"empty_rounds\":%llu,\"sleeps\":%llu,"
               "\"busy_ticks\":%llu,\"spin_ticks\":%llu,\"sleep_ticks\":%llu}",
               (ull)loop->rounds, (ull)loop->empty_rounds, (ull)loop->sleeps, (ull)loop->busy_ticks,
               (ull)loop->spin_ticks, (ull)loop->sleep_ticks);
}

void report_json(void *context, struct text *text)
{
    const struct kvstore *kvstore = context;
    struct system_status system;

    if (supervisor_system_status(&system) == STATUS_OK) {
        text_print(text,
                   ",\"system\":{\"ram_bytes\":%llu,\"free_bytes\":%llu,\"uptime_ns\":%llu,"
                   "\"cells\":%u}",
                   (ull)system.ram_bytes, (ull)system.free_bytes, (ull)system.uptime_ns,
                   system.cells);
    }
    json_cells(text);
    json_network(kvstore, text);
    json_drive(kvstore, text);
}

static void html_cells(struct text *text)
{
    struct cell_status cell;

    text_print(text, "<h2>Cells</h2><table><thead><tr><th>name<th>state<th>memory, bytes"
                     "<th>restarts<th>faults<tbody>");
    for (uint32_t i = 0; i < SYSTEM_CELLS_MAX && supervisor_cell_status(i, &cell) == STATUS_OK;
         i++) {
        text_print(text, "<tr><td>%s<td>%s<td>%llu<td>%u<td>%u", cell.name, state_name(cell.state),
                   (ull)cell.memory_bytes, cell.restarts, cell.faults);
    }
    text_print(text, "</table>");
}

void report_html(void *context, struct text *text)
{
    const struct kvstore *kvstore = context;
    const struct stack_counters *counters = stack_counters(kvstore->network.stack);
    const struct netdev_counters *device = &kvstore->network.dev->counters;

    html_cells(text);
    text_print(text, "<h2>Network</h2><table>");
    text_print(text, "<tr><th>connections, all states<td>%u",
               stack_connections(kvstore->network.stack));
#define X(name) text_print(text, "<tr><th>device " #name "<td>%llu", (ull)device->name);
    DEVICE_COUNTERS(X)
#undef X
#define X(name, meaning)                                                                           \
    if (counters->name != 0) {                                                                     \
        text_print(text, "<tr><th>" meaning "<td>%llu", (ull)counters->name);                      \
    }
    STACK_COUNTER_TABLE(X)
#undef X
    text_print(text, "</table>");
}
