// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The pci service: finds all functions, places their BARs, reports both to the supervisor, then
 * switches functions on and off as it asks (hallows/supervisor.h).
 */
#include "runtime/cell.h"
#include "runtime/syscall.h"
#include "services/pci/tree.h"

#define BUS_SHIFT 20u
#define FUNCTION_SHIFT 12u

static struct pci_tree tree;

/* ---- Configuration space --------------------------------------------------------------------- */

static status_t supervisor_tell(enum supervisor_label label, uint32_t words, uint64_t a, uint64_t b)
{
    struct message m = {.info = message_info(label, words), .words = {a, b}};
    status_t status = ipc_call(CELL_SLOT_SUPERVISOR, &m);

    return status == STATUS_OK ? (status_t)m.words[0] : status;
}

static status_t config_map_bus(void *context, uint32_t bus)
{
    (void)context;
    return supervisor_tell(SUPERVISOR_PCI_MAP_BUS, 1, bus, 0);
}

static volatile uint32_t *config_at(void *context, uint32_t address, uint32_t offset)
{
    const struct cell_info *info = context;
    uint64_t first = (uint64_t)info->ecam_first_bus << BUS_SHIFT;

    return (volatile uint32_t *)((volatile uint8_t *)info->ecam +
                                 (((uint64_t)address << FUNCTION_SHIFT) - first + offset));
}

static uint32_t config_read(void *context, uint32_t address, uint32_t offset)
{
    return *config_at(context, address, offset);
}

static void config_write(void *context, uint32_t address, uint32_t offset, uint32_t value)
{
    *config_at(context, address, offset) = value;
}

static void config_wait(void *context, uint64_t ns)
{
    const struct cell_info *info = context;
    uint64_t end = clock_ns(&info->time) + ns;
    uint64_t word;

    while (clock_ns(&info->time) < end) {
        (void)notification_wait(CELL_SLOT_NOTIFICATION, end, &word);
    }
}

/* ---- Reports --------------------------------------------------------------------------------- */

static void report_bar(const struct pci_node *node, uint32_t index)
{
    const struct pci_bar *bar = &node->bars[index];
    struct message m = {
        .info = message_info(SUPERVISOR_PCI_BAR, 4),
        .words = {node->address, index, bar->base, bar->bytes},
    };
    status_t status = ipc_call(CELL_SLOT_SUPERVISOR, &m);

    status = status == STATUS_OK ? (status_t)m.words[0] : status;
    if (status != STATUS_OK) {
        log_line("%02x:%02x.%u BAR %u at 0x%lx: %s", node->address >> 8, node->address >> 3 & 0x1fu,
                 node->address & 7u, index, bar->base, status_text(status));
    }
}

/* Tells of a function; returns how many virtual ones are to be made of it. */
static uint32_t report_function(const struct pci_node *node)
{
    struct message m = {
        .info = message_info(SUPERVISOR_PCI_FUNCTION, 3),
        .words = {node->address, (uint64_t)node->class_code << 32 | node->ids, node->msix_vectors},
    };
    if (node->is_virtual) {
        m.info = message_info(SUPERVISOR_PCI_VIRTUAL, 4);
        m.words[3] = tree.nodes[node->physical].address | (uint64_t)node->number << 16;
    }
    status_t status = ipc_call(CELL_SLOT_SUPERVISOR, &m);

    status = status == STATUS_OK ? (status_t)m.words[0] : status;
    if (status != STATUS_OK) {
        log_line("%02x:%02x.%u is not taken: %s", node->address >> 8, node->address >> 3 & 0x1fu,
                 node->address & 7u, status_text(status));
        return 0;
    }
    for (uint32_t i = 0; i < node->bar_count; i++) {
        if (node->bars[i].placed && node->bars[i].bytes != 0) {
            report_bar(node, i);
        }
    }
    return node->is_virtual ? 0 : (uint32_t)m.words[1];
}

static void make_virtual(uint32_t parent, uint32_t count)
{
    const struct pci_node *node = &tree.nodes[parent];
    uint32_t first = tree.count;
    status_t status = virtual_make(&tree, parent, count);

    log_line("%02x:%02x.%u: %u virtual functions: %s", node->address >> 8,
             node->address >> 3 & 0x1fu, node->address & 7u, count, status_text(status));
    for (uint32_t i = first; i < tree.count; i++) {
        (void)report_function(&tree.nodes[i]);
    }
}

static void report_all(void)
{
    uint32_t found = tree.count;

    for (uint32_t i = 0; i < found; i++) {
        uint32_t wanted = tree.nodes[i].is_bridge ? 0 : report_function(&tree.nodes[i]);
        if (wanted != 0) {
            make_virtual(i, wanted);
        }
    }
    log_line("%u functions on %u buses, %u BARs placed", tree.count, tree.buses, tree.moved);
    if (tree.unnumbered > 0) {
        log_line("%u bridges without bus numbers; what is behind them is not used",
                 tree.unnumbered);
    }
    if (tree.unplaced > 0 || tree.too_many > 0) {
        log_line("%u BARs fit nowhere, %u functions are too many", tree.unplaced, tree.too_many);
    }
}

/* ---- Work ------------------------------------------------------------------------------------ */

static const struct pci_node *node_find(uint64_t address)
{
    for (uint32_t i = 0; i < tree.count; i++) {
        if (tree.nodes[i].address == address) {
            return &tree.nodes[i];
        }
    }
    return NULL;
}

static status_t work(uint64_t request, uint64_t address)
{
    const struct pci_node *node = node_find(address);

    if (node == NULL) {
        return STATUS_NOT_FOUND;
    }
    switch (request) {
    case PCI_REQUEST_ENABLE:
        return function_enable(tree.config, node);
    case PCI_REQUEST_QUIESCE:
        return function_quiesce(tree.config, node);
    default:
        return STATUS_INVALID_ARGUMENT;
    }
}

static status_t serve(void)
{
    status_t result = STATUS_OK;

    for (;;) {
        struct message m = {
            .info = message_info(SUPERVISOR_PCI_NEXT, 1),
            .words = {(uint64_t)(int64_t)result},
        };
        status_t status = ipc_call(CELL_SLOT_SUPERVISOR, &m);
        status = status == STATUS_OK ? (status_t)m.words[0] : status;
        if (status != STATUS_OK) {
            return status;
        }
        if (m.words[1] == PCI_REQUEST_SHUTDOWN) {
            supervisor_shutdown_done();
        }
        result = work(m.words[1], m.words[2]);
    }
}

status_t cell_main(const struct cell_info *info)
{
    const struct pci_config config = {
        .map_bus = config_map_bus,
        .read = config_read,
        .write = config_write,
        .wait_ns = config_wait,
        .context = (void *)(uintptr_t)info,
    };

    if (info->ecam == NULL) {
        log_line("the firmware names no PCI Express configuration space (ACPI MCFG)");
    } else {
        tree.config = &config;
        tree.first_bus = info->ecam_first_bus;
        tree.last_bus = info->ecam_last_bus;
        for (uint32_t i = 0; i < PCI_WINDOWS; i++) {
            tree.windows[i] =
                (struct pci_range){info->pci_window_base[i], info->pci_window_bytes[i]};
        }
        tree_find(&tree);
        tree_assign(&tree);
        report_all();
    }
    status_t status = supervisor_ready();
    return status == STATUS_OK ? serve() : status;
}
