// SPDX-License-Identifier: MIT OR Apache-2.0
/* Which PCI function is which device, their interrupts, and the work for the pci service. */
#include "runtime/syscall_partition.h"
#include "services/supervisor/supervisor.h"

#define ADDRESS_LIMIT 0x10000u /* bus << 8 | device << 3 | function */
#define BUS_SHIFT 20u
#define BUS_PAGES (1u << (BUS_SHIFT - PAGE_SHIFT))

/* PCI Code and ID Assignment 1.15: base class, subclass, programming interface. */
#define CLASS_NET 0x020000u /* with any programming interface */
#define CLASS_NVME 0x010802u

/* ---- Reports of the pci service -------------------------------------------------------------- */

static status_t bus_map(struct supervisor *s, const struct message *m)
{
    struct cell *cell = s->pci_cell;
    uint64_t bus = m->words[0];

    if (s->boot->ecam_base == 0 || bus < s->boot->ecam_first_bus || bus > s->boot->ecam_last_bus ||
        bus > 255u) {
        return STATUS_INVALID_ARGUMENT;
    }
    if ((s->pci_buses[bus / 64u] >> bus % 64u & 1u) != 0) {
        return STATUS_OK;
    }
    uint64_t offset = (bus - s->boot->ecam_first_bus) << BUS_SHIFT;
    uint32_t window = (uint32_t)(offset >> SEGMENT_SHIFT);
    struct window_range range = {cell->slots.untyped,
                                 cell->slots.windows + plan_extra_window(&cell->plan) + window, 1};
    uint64_t values[2];
    if (cap_identify(range.first, values) == STATUS_EMPTY_SLOT) {
        status_t status = windows_make(&range);
        if (status == STATUS_OK) {
            status =
                windows_attach(cell, &range, CELL_ECAM_ADDRESS + (uint64_t)window * SEGMENT_BYTES,
                               RIGHT_READ | RIGHT_WRITE);
        }
        if (status != STATUS_OK) {
            return status;
        }
    }
    struct boot_range physical = {.base = s->boot->ecam_base + offset, .bytes = 1u << BUS_SHIFT};
    status_t status =
        windows_populate_device(s, &range, (offset & (SEGMENT_BYTES - 1u)) >> PAGE_SHIFT, &physical,
                                RIGHT_READ | RIGHT_WRITE);
    if (status == STATUS_OK) {
        s->pci_buses[bus / 64u] |= 1ull << bus % 64u;
    }
    return status;
}

static struct pci_function *function_find(struct supervisor *s, uint64_t address)
{
    for (uint32_t i = 0; i < s->function_count; i++) {
        if (s->functions[i].address == address) {
            return &s->functions[i];
        }
    }
    return NULL;
}

static status_t function_add(struct supervisor *s, const struct message *m,
                             struct pci_function **added)
{
    uint64_t address = m->words[0];
    uint64_t ids = m->words[1];

    if (address >= ADDRESS_LIMIT || m->words[2] > 2048u) {
        return STATUS_INVALID_ARGUMENT;
    }
    *added = function_find(s, address);
    if (*added != NULL) {
        return STATUS_OK; /* a restarted pci service tells again what is known */
    }
    if (s->function_count == PCI_FUNCTIONS_MAX) {
        return STATUS_FULL;
    }
    *added = &s->functions[s->function_count++];
    **added = (struct pci_function){
        .address = (uint32_t)address,
        .vendor = (uint16_t)ids,
        .device = (uint16_t)(ids >> 16),
        .class_code = (uint32_t)(ids >> 32) & 0xffffffu,
        .msix_vectors = (uint32_t)m->words[2],
    };
    return STATUS_OK;
}

/* Whether [base, base + bytes) meets the configuration space or another function's BAR. */
static bool bar_conflicts(const struct supervisor *s, const struct pci_function *function,
                          uint64_t base, uint64_t bytes)
{
    uint64_t ecam_bytes = (s->boot->ecam_last_bus - s->boot->ecam_first_bus + 1ull) << BUS_SHIFT;

    if (base < s->boot->ecam_base + ecam_bytes && s->boot->ecam_base < base + bytes) {
        return true;
    }
    for (uint32_t i = 0; i < s->function_count; i++) {
        const struct pci_function *f = &s->functions[i];
        for (uint32_t bar = 0; bar < 6u && f != function; bar++) {
            if (f->bar_bytes[bar] != 0 && base < f->bar_base[bar] + f->bar_bytes[bar] &&
                f->bar_base[bar] < base + bytes) {
                return true;
            }
        }
    }
    return false;
}

static status_t bar_add(struct supervisor *s, const struct message *m)
{
    struct pci_function *function = function_find(s, m->words[0]);
    uint64_t bar = m->words[1];
    uint64_t base = m->words[2];
    uint64_t bytes = m->words[3];

    if (function == NULL || bar > 5u || bytes == 0 || base > UINT64_MAX - bytes) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (base % PAGE_BYTES != 0) {
        return STATUS_MISALIGNED;
    }
    if (bar_conflicts(s, function, base, bytes)) {
        return STATUS_IN_USE;
    }
    function->bar_base[bar] = base;
    function->bar_bytes[bar] = bytes;
    return STATUS_OK;
}

static bool function_is(const struct pci_function *f, const struct system_device *d)
{
    bool kind = d->kind == SYSTEM_DEVICE_NET ? (f->class_code & ~0xffu) == CLASS_NET
                                             : f->class_code == CLASS_NVME;

    return kind && !f->is_virtual && (d->pci_vendor == 0 || d->pci_vendor == f->vendor) &&
           (d->pci_device == 0 || d->pci_device == f->device);
}

/* The index-th function of the description, in the order in which they were reported. */
static struct pci_function *physical_match(struct supervisor *s, const struct system_device *d)
{
    uint32_t index = d->index;

    for (uint32_t i = 0; i < s->function_count; i++) {
        if (function_is(&s->functions[i], d) && index-- == 0) {
            return &s->functions[i];
        }
    }
    return NULL;
}

static struct pci_function *function_match(struct supervisor *s, const struct system_device *d)
{
    if (d->parent == 0) {
        return physical_match(s, d);
    }
    const struct pci_function *physical = physical_match(s, &s->system.devices[d->parent - 1u]);
    for (uint32_t i = 0; i < s->function_count && physical != NULL; i++) {
        struct pci_function *f = &s->functions[i];
        if (f->is_virtual && f->physical == physical->address && f->number == d->index) {
            return f;
        }
    }
    return NULL;
}

/* How many virtual functions the system wants of a function that was just reported. */
static uint32_t virtual_functions_wanted(struct supervisor *s, const struct pci_function *f)
{
    for (uint32_t i = 0; i < s->device_count; i++) {
        const struct system_device *d = s->devices[i].description;
        if (d->virtual_functions != 0 && physical_match(s, d) == f) {
            return d->virtual_functions;
        }
    }
    return 0;
}

static status_t virtual_add(struct supervisor *s, const struct message *m)
{
    struct pci_function *physical = function_find(s, m->words[3] & 0xffffu);
    struct pci_function *function = function_find(s, m->words[0]);

    if (physical == NULL || physical->is_virtual ||
        m->words[3] >> 16 >= SYSTEM_VIRTUAL_FUNCTIONS_MAX ||
        (function != NULL && !function->is_virtual)) {
        return STATUS_INVALID_ARGUMENT;
    }
    status_t status = function_add(s, m, &function);
    if (status == STATUS_OK) {
        function->is_virtual = true;
        function->physical = physical->address;
        function->number = (uint32_t)(m->words[3] >> 16);
    }
    return status;
}

status_t pci_report(struct supervisor *s, const struct message *m, uint64_t *more)
{
    struct pci_function *function = NULL;
    status_t status;

    uint32_t words = message_words(m->info);

    switch (message_label(m->info)) {
    case SUPERVISOR_PCI_MAP_BUS:
        return words == 1u ? bus_map(s, m) : STATUS_INVALID_ARGUMENT;
    case SUPERVISOR_PCI_FUNCTION:
        status = words == 3u ? function_add(s, m, &function) : STATUS_INVALID_ARGUMENT;
        *more = status == STATUS_OK ? virtual_functions_wanted(s, function) : 0;
        return status;
    case SUPERVISOR_PCI_VIRTUAL:
        return words == 4u ? virtual_add(s, m) : STATUS_INVALID_ARGUMENT;
    case SUPERVISOR_PCI_BAR:
        return words == 4u ? bar_add(s, m) : STATUS_INVALID_ARGUMENT;
    default:
        return STATUS_INVALID_ARGUMENT;
    }
}

/* ---- Matching -------------------------------------------------------------------------------- */

static bool function_taken(const struct supervisor *s, const struct pci_function *f,
                           const struct device *by_other_than)
{
    for (uint32_t i = 0; i < s->device_count; i++) {
        if (&s->devices[i] != by_other_than && s->devices[i].function == f) {
            return true;
        }
    }
    return false;
}

status_t devices_match(struct supervisor *s, struct cell *cell)
{
    for (uint32_t i = 0; i < cell->description->device_count; i++) {
        struct device *device = cell->devices[i];
        const struct system_device *d = device->description;
        struct pci_function *function = function_match(s, d);
        if (function == NULL) {
            log_line("%s: device %s: the machine has no %s number %u%s; add one or change "
                     "system.toml",
                     cell->description->name, d->name,
                     d->parent != 0                 ? "virtual function"
                     : d->kind == SYSTEM_DEVICE_NET ? "network card"
                                                    : "NVMe drive",
                     d->index, d->pci_vendor != 0 ? " of that vendor and device id" : "");
            return STATUS_NOT_FOUND;
        }
        if (function_taken(s, function, device)) {
            log_line("%s: device %s is the same function as another device of the system; give "
                     "it another index",
                     cell->description->name, d->name);
            return STATUS_IN_USE;
        }
        if (function->msix_vectors == 0) {
            log_line("%s: device %s (%02x:%02x.%u) has no MSI-X", cell->description->name, d->name,
                     function->address >> 8, function->address >> 3 & 0x1fu,
                     function->address & 7u);
            return STATUS_UNSUPPORTED;
        }
        device->function = function;
    }
    return STATUS_OK;
}

void devices_want(struct cell *cell, enum device_power power)
{
    for (uint32_t i = 0; i < cell->description->device_count; i++) {
        cell->devices[i]->wanted = power;
    }
}

bool devices_are(const struct cell *cell, enum device_power power)
{
    for (uint32_t i = 0; i < cell->description->device_count; i++) {
        if (cell->devices[i]->function != NULL && cell->devices[i]->power != power) {
            return false;
        }
    }
    return true;
}

/* ---- Interrupts ------------------------------------------------------------------------------ */

/* Nobody else's message may raise it, where the machine can tell. */
static status_t irq_source_set(const struct supervisor *s, const struct device *device, uint32_t i)
{
    if ((s->boot->flags & BOOT_FLAG_IOMMU) == 0) {
        return STATUS_OK;
    }
    status_t status =
        irq_source(device->irqs + i, BOOT_SLOT_PCI_FUNCTIONS, device->function->address);
    return status == STATUS_UNSUPPORTED ? STATUS_OK : status;
}

status_t device_irqs_make(struct supervisor *s, struct cell *cell, uint32_t index)
{
    struct device *device = cell->devices[index];
    uint32_t domain = cell->description->domain;
    uint32_t count = device->description->irq_count;
    status_t status = STATUS_OK;

    if (device->irqs == 0) {
        status = slots_take(s, CELL_IRQS_MAX, &device->irqs);
    }
    if (count > device->function->msix_vectors) {
        count = device->function->msix_vectors;
    }
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        status = irq_create_msi(BOOT_SLOT_IRQ_CONTROL, device->irqs + i, device->msi[i]);
        if (status == STATUS_OK) {
            device->irqs_made = i + 1u;
            status = irq_source_set(s, device, i);
        }
        uint32_t thread = irq_thread(cell, i); /* it arrives where that one runs */
        uint32_t cpu = thread_cpu(cell, thread);
        if (status == STATUS_OK && (cpu != 0 || domain != 0)) {
            status = irq_affinity(device->irqs + i, BOOT_SLOT_SCHED_CONTROL, cpu, domain,
                                  device->msi[i]);
        }
        if (status == STATUS_OK) {
            status = irq_bind(device->irqs + i, cell->slots.threads[thread].device[index]);
        }
    }
    return status;
}

void device_irqs_remove(struct device *device)
{
    for (uint32_t i = 0; i < device->irqs_made; i++) {
        cap_remove(device->irqs + i);
    }
    device->irqs_made = 0;
}

/* ---- Work for the pci service ---------------------------------------------------------------- */

static void pci_answer(struct supervisor *s, enum pci_request request, uint32_t address)
{
    struct message m = {.info = message_info(0, 3),
                        .words = {(uint64_t)STATUS_OK, request, address}};

    s->pci_waits = false;
    (void)ipc_reply(s->replies[1u - s->reply_in_use], &m);
}

void pci_next(struct supervisor *s, status_t result)
{
    struct device *device = s->pci_device;

    if (device != NULL) {
        s->pci_device = NULL;
        device->power = s->pci_request == PCI_REQUEST_ENABLE ? DEVICE_ON : DEVICE_QUIET;
        if (result != STATUS_OK) {
            log_line("pci: device %s: %s", device->description->name, status_text(result));
            device->power = DEVICE_UNKNOWN;
            device->wanted = DEVICE_UNKNOWN;
        }
    }
    /* Keep the caller's reply object for later and receive with the other one. */
    s->reply_in_use = 1u - s->reply_in_use;
    s->pci_waits = true;
}

void pci_advance(struct supervisor *s)
{
    if (!s->pci_waits) {
        return;
    }
    for (uint32_t i = 0; i < s->device_count; i++) {
        struct device *device = &s->devices[i];
        if (device->function != NULL && device->wanted != DEVICE_UNKNOWN &&
            device->power != device->wanted) {
            s->pci_device = device;
            s->pci_request = device->wanted == DEVICE_ON ? PCI_REQUEST_ENABLE : PCI_REQUEST_QUIESCE;
            pci_answer(s, s->pci_request, device->function->address);
            return;
        }
    }
    if (s->pci_cell->shutdown_told) {
        pci_answer(s, PCI_REQUEST_SHUTDOWN, 0);
    }
}
