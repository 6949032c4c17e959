// SPDX-License-Identifier: MIT OR Apache-2.0
/* The whole supervisor on a fake kernel: start order, contracts, the pci service's work, shutdown,
 * refused calls at every point, and cells that say anything. */
#include "services/supervisor/supervisor.h"

#include <elf.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "lib/base/crc32c.h"
#include "services/supervisor/kernel_fake.h"
#include "tests/check.h"

#define FIRST_FREE 32u
#define VIEW_BYTES (1ull << 30)
#define CELLS 3u
#define PCI 0u
#define NIC 1u
#define KV 2u

struct description {
    struct system_header header;
    struct system_cell cells[CELLS];
    struct system_device devices[1];
    struct system_ring rings[1];
    struct system_window windows[2];
};

struct image {
    union {
        struct {
            struct bundle_header header;
            struct bundle_entry entries[2];
        };
        uint8_t page[PAGE_BYTES];
    };
    union {
        struct description description;
        uint8_t description_page[PAGE_BYTES];
    };
    uint8_t program[PAGE_BYTES];
};

static struct image image;
static struct boot_info boot;
static struct supervisor s;
static void *view;

/* ---- Set-up ---------------------------------------------------------------------------------- */

static void program_make(void)
{
    Elf64_Ehdr *h = (Elf64_Ehdr *)image.program;
    Elf64_Phdr *p = (Elf64_Phdr *)(h + 1);

    memcpy(h->e_ident, ELFMAG "\2\1\1", 7);
    h->e_type = ET_EXEC;
    h->e_machine = EM_X86_64;
    h->e_entry = CELL_PROGRAM_ADDRESS;
    h->e_phoff = sizeof(*h);
    h->e_phentsize = sizeof(*p);
    h->e_phnum = 1;
    *p = (Elf64_Phdr){PT_LOAD, PF_R | PF_X, 512, CELL_PROGRAM_ADDRESS, 0, 64, 64, PAGE_BYTES};
}

static void description_make(void)
{
    static const char *const names[CELLS] = {"pci", "nic", "kvstore"};
    struct description *d = &image.description;

    d->header = (struct system_header){.magic = SYSTEM_MAGIC,
                                       .version = SYSTEM_VERSION,
                                       .total_bytes = sizeof(*d),
                                       .name = "test",
                                       .cell_count = CELLS,
                                       .cells_offset = offsetof(struct description, cells),
                                       .device_count = 1,
                                       .devices_offset = offsetof(struct description, devices),
                                       .ring_count = 1,
                                       .rings_offset = offsetof(struct description, rings),
                                       .window_count = 2,
                                       .windows_offset = offsetof(struct description, windows)};
    d->windows[0] = (struct system_window){0, 0, 3000, 0};
    d->windows[1] = (struct system_window){0, 1, 2000, 0};
    for (uint32_t i = 0; i < CELLS; i++) {
        struct system_cell *c = &d->cells[i];
        strcpy(c->name, names[i]);
        strcpy(c->program, "program");
        c->heap_bytes = SEGMENT_BYTES;
        c->stack_bytes = 0x10000;
        c->priority = 100;
        c->restart = SYSTEM_RESTART_ON_FAULT;
        c->restarts_max = 2;
        c->restart_window_s = 1000;
    }
    d->cells[PCI].flags = CELL_FLAG_PCI;
    d->cells[PCI].restart = SYSTEM_RESTART_NEVER;
    d->cells[NIC].flags = CELL_FLAG_START_READY;
    d->cells[NIC].dma_bytes = SEGMENT_BYTES;
    d->cells[NIC].device_count = 1;
    d->cells[NIC].domain = 1;
    d->cells[KV].flags = CELL_FLAG_MANAGE;
    d->cells[KV].worker_count = 2;
    d->cells[KV].worker_cpus[0] = 1;
    d->cells[KV].worker_cpus[1] = 2;
    d->devices[0] = (struct system_device){"net0", SYSTEM_DEVICE_NET, 0, 0, 0, 2, 0, 0};
    d->rings[0] = (struct system_ring){"net", KV, NIC, 256, 512, 2048, 0};
}

static void image_make(void)
{
    memset(&image, 0, sizeof(image));
    description_make();
    program_make();
    image.header = (struct bundle_header){BUNDLE_MAGIC, BUNDLE_VERSION, 2, sizeof(image), 0, 0};
    image.entries[0] = (struct bundle_entry){
        "test", BUNDLE_SYSTEM, crc32c(0, &image.description, sizeof(struct description)),
        PAGE_BYTES, sizeof(struct description)};
    image.entries[1] = (struct bundle_entry){
        "program", BUNDLE_CELL, crc32c(0, image.program, PAGE_BYTES), 2u * PAGE_BYTES, PAGE_BYTES};
    image.header.entries_crc32c = crc32c(0, image.entries, sizeof(image.entries));
}

static void boot_make(void)
{
    if (view != NULL) {
        munmap(view, VIEW_BYTES);
    }
    view = mmap(NULL, VIEW_BYTES, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    boot = (struct boot_info){
        .magic = BOOT_INFO_MAGIC,
        .version = BOOT_INFO_VERSION,
        .time = {0, 1, 1}, /* so slow that no deadline passes by itself */
        .table_slots = FAKE_SLOTS,
        .first_free_slot = FIRST_FREE,
        .bundle_address = (uint64_t)&image,
        .bundle_bytes = sizeof(image),
        .free_address = (uint64_t)view,
        .cpu_count = 3,
        .cpus_used = 3,
        .ecam_base = 0xb0000000,
        .ecam_last_bus = 255,
        .acpi_pm1a_event_port = 0x600,
        .acpi_pm1a_control_port = 0x604,
        .acpi_sci_gsi = 9,
        .untyped_count = 1,
        .device_memory_count = 1,
    };
    boot.untyped[0].slot = 16;
    boot.device_memory[0] = (struct boot_range){0x80000000, 0x7ec00000, 17, 0};
}

static uint32_t boot_flags; /* of the next start */

/* Everything up to the first receive. */
static const char *start(uint64_t fail_at)
{
    memset(&s, 0, sizeof(s));
    image_make();
    boot_make();
    boot.flags = boot_flags;
    kernel_fake_reset(FIRST_FREE);
    kernel_fake.fail_at = fail_at;
    const char *problem = supervisor_prepare(&s, &boot);
    if (problem == NULL) {
        cells_advance(&s);
    }
    return problem;
}

/* ---- What cells say -------------------------------------------------------------------------- */

struct words {
    uint64_t w[MESSAGE_WORDS_MAX];
};

static status_t say(uint32_t cell, uint64_t label, uint32_t count, struct words words)
{
    struct message m = {.info = message_info(label, count), .badge = cell + 1u};
    uint32_t replies = kernel_fake.replies;

    memcpy(m.words, words.w, sizeof(m.words));
    message_handle(&s, &m);
    status_t status =
        kernel_fake.replies == replies ? STATUS_WOULD_BLOCK : (status_t)kernel_fake.reply.words[0];
    cells_advance(&s);
    return status;
}

static void thread_fault(uint32_t cell, uint32_t thread)
{
    struct message m = {.info = message_info(LABEL_FAULT, FAULT_WORD_COUNT),
                        .badge = FAULT_BADGE + thread * FAULT_BADGE_THREAD + cell + 1u,
                        .words = {14, 6, 0x10}};

    message_handle(&s, &m);
    cells_advance(&s);
}

static void fault(uint32_t cell)
{
    thread_fault(cell, 0);
}

static bool log_has(const char *text)
{
    return strstr(kernel_fake.log, text) != NULL;
}

static status_t pci_next_say(void)
{
    return say(PCI, SUPERVISOR_PCI_NEXT, 1, (struct words){{STATUS_OK}});
}

/* The pci service finds one network card and becomes ready. */
static void pci_serve(void)
{
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_MAP_BUS, 1, (struct words){{0}}), STATUS_OK);
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_FUNCTION, 3,
                 (struct words){{0x10, 0x020000ull << 32 | 0x10411af4, 4}}),
             STATUS_OK);
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_BAR, 4, (struct words){{0x10, 4, 0xc0000000, 0x4000}}),
             STATUS_OK);
    CHECK_EQ(say(PCI, SUPERVISOR_READY, 0, (struct words){{0}}), STATUS_OK);
    (void)pci_next_say();
}

static void all_ready(void)
{
    CHECK(start(0) == NULL);
    pci_serve();
    (void)pci_next_say(); /* net0 is on */
    CHECK_EQ(say(NIC, SUPERVISOR_READY, 0, (struct words){{0}}), STATUS_OK);
    CHECK_EQ(say(KV, SUPERVISOR_READY, 0, (struct words){{0}}), STATUS_OK);
}

/* ---- Tests ----------------------------------------------------------------------------------- */

TEST(cells_start_in_order)
{
    CHECK(start(0) == NULL);
    CHECK_EQ(s.cells[PCI].stage, STAGE_STARTING);
    CHECK_EQ(s.cells[NIC].stage, STAGE_WAITING);
    pci_serve();
    CHECK_EQ(s.cells[NIC].stage, STAGE_ENABLING);
    CHECK_EQ(kernel_fake.reply.words[1], PCI_REQUEST_ENABLE);
    CHECK_EQ(kernel_fake.reply.words[2], 0x10);
    CHECK_EQ(pci_next_say(), STATUS_WOULD_BLOCK);
    CHECK_EQ(s.cells[NIC].stage, STAGE_STARTING);
    CHECK_EQ(s.cells[KV].stage, STAGE_WAITING);
    CHECK_EQ(say(NIC, SUPERVISOR_READY, 0, (struct words){{0}}), STATUS_OK);
    CHECK_EQ(s.cells[KV].stage, STAGE_STARTING);
    CHECK(!log_has("hallows: system ready"));
    CHECK_EQ(say(KV, SUPERVISOR_READY, 0, (struct words){{0}}), STATUS_OK);
    CHECK(log_has("hallows: system ready\n"));
}

TEST(a_cell_is_told_what_it_has)
{
    all_ready();
    const struct cell_info *nic = (const struct cell_info *)s.cells[NIC].info;
    CHECK_EQ(nic->device_count, 1);
    CHECK_EQ(nic->devices[0].irq_count, 2);
    CHECK_EQ(nic->devices[0].bar_bytes[4], 0x4000);
    CHECK(nic->devices[0].bar[4] == (void *)(CELL_DEVICE_ADDRESS + PAGE_BYTES));
    CHECK(nic->devices[0].bar[0] == NULL);
    CHECK_EQ(nic->ring_count, 1);
    CHECK_EQ(nic->rings[0].role, CELL_RING_SERVER);
    CHECK(nic->rings[0].pool_page_device_address != NULL);
    const struct cell_info *kv = (const struct cell_info *)s.cells[KV].info;
    CHECK_EQ(kv->rings[0].role, CELL_RING_CLIENT);
    CHECK(kv->rings[0].pool_page_device_address == NULL);
    CHECK_EQ(kv->device_count, 0);
}

TEST(a_driver_restarts_only_when_its_device_is_quiet)
{
    all_ready();
    uint32_t used = kernel_fake_used();
    uint32_t rung = kernel_fake.slots[s.rings[0].client_doorbell].signals;
    fault(NIC);
    CHECK_EQ(s.cells[NIC].stage, STAGE_QUIESCING);
    CHECK(s.cells[NIC].made);
    CHECK(kernel_fake.slots[s.cells[NIC].slots.threads[0].thread].suspended);
    CHECK_EQ(s.rings[0].shared->server_state, RING_STATE_CLOSED);
    CHECK_EQ(kernel_fake.slots[s.rings[0].client_doorbell].signals, rung + 1u);
    CHECK_EQ(kernel_fake.reply.words[1], PCI_REQUEST_QUIESCE);
    (void)pci_next_say();
    CHECK_EQ(s.cells[NIC].stage, STAGE_ENABLING);
    CHECK_EQ(kernel_fake.reply.words[1], PCI_REQUEST_ENABLE);
    (void)pci_next_say();
    CHECK_EQ(s.cells[NIC].stage, STAGE_STARTING);
    CHECK_EQ(((const struct cell_info *)s.cells[NIC].info)->generation, 1);
    CHECK_EQ(s.cells[KV].stage, STAGE_READY);
    CHECK_EQ(kernel_fake_used(), used);
    CHECK(log_has("nic faulted: write to address 0x10"));
}

TEST(a_cells_threads_end_together)
{
    all_ready();
    uint32_t used = kernel_fake_used();
    const struct cell *kv = &s.cells[KV];
    CHECK_EQ(((const struct cell_info *)kv->info)->thread_count, 3);
    thread_fault(KV, 3); /* there is none */
    CHECK_EQ(kernel_fake.reply.words[0], (uint64_t)(int64_t)STATUS_INVALID_ARGUMENT);
    CHECK_EQ(kv->stage, STAGE_READY);
    thread_fault(KV, 2);
    CHECK(log_has("kvstore (worker on CPU 2) faulted: write to address 0x10"));
    CHECK_EQ(kv->stage, STAGE_STARTING); /* anew */
    CHECK_EQ(kernel_fake_used(), used);
    CHECK_EQ(say(KV, SUPERVISOR_EXIT, 1, (struct words){{STATUS_OK}}), STATUS_WOULD_BLOCK);
    CHECK_EQ(kv->stage, STAGE_STOPPED);
    boot.cpus_used = 2;
    memset(&s, 0, sizeof(s));
    image_make();
    kernel_fake_reset(FIRST_FREE);
    CHECK(supervisor_prepare(&s, &boot) == NULL);
    cells_advance(&s);
    pci_serve();
    (void)pci_next_say();
    CHECK_EQ(say(NIC, SUPERVISOR_READY, 0, (struct words){{0}}), STATUS_OK);
    CHECK_EQ(kv->stage, STAGE_FAILED);
    CHECK(log_has("kvstore wants CPU 2, and the machine runs 2"));
}

TEST(a_device_that_stays_loud_keeps_its_memory)
{
    all_ready();
    fault(NIC);
    (void)say(PCI, SUPERVISOR_PCI_NEXT, 1,
              (struct words){{(uint64_t)(int64_t)STATUS_DEVICE_TIMEOUT}});
    CHECK_EQ(s.cells[NIC].stage, STAGE_FAILED);
    CHECK(s.cells[NIC].made);
    CHECK(log_has("cannot be made quiet"));
}

TEST(the_contract_ends_and_the_rest_runs_on)
{
    all_ready();
    for (uint32_t i = 0; i < 2u; i++) {
        fault(KV);
        CHECK_EQ(s.cells[KV].stage, STAGE_STARTING);
    }
    fault(KV);
    CHECK_EQ(s.cells[KV].stage, STAGE_FAILED);
    CHECK_EQ(s.cells[NIC].stage, STAGE_READY);
    CHECK(log_has("has used up its restarts (2 in 1000 s)"));
    CHECK_EQ(say(NIC, SUPERVISOR_CELL_STATUS, 1, (struct words){{KV}}), STATUS_OK);
    CHECK_EQ(kernel_fake.reply.words[1], CELL_STATE_FAILED);
    CHECK_EQ(kernel_fake.reply.words[2], 2);
    CHECK_EQ(kernel_fake.reply.words[4], 3);
    CHECK(memcmp(&kernel_fake.reply.words[5], "kvstore", 8) == 0);
}

TEST(virtual_functions_are_asked_for_and_found)
{
    CHECK(start(0) == NULL);
    ((struct system_device *)(uintptr_t)s.devices[0].description)->virtual_functions = 2;
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_VIRTUAL, 4,
                 (struct words){{0x90, 0x020000ull << 32 | 0x10ca8086, 3, 0x10}}),
             STATUS_INVALID_ARGUMENT); /* nobody knows its physical function */
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_FUNCTION, 3,
                 (struct words){{0x10, 0x020000ull << 32 | 0x10c98086, 10}}),
             STATUS_OK);
    CHECK_EQ(kernel_fake.reply.words[1], 2);
    for (uint64_t i = 0; i < 2u; i++) {
        CHECK_EQ(
            say(PCI, SUPERVISOR_PCI_VIRTUAL, 4,
                (struct words){{0x90 + 2u * i, 0x020000ull << 32 | 0x10ca8086, 3, 0x10 | i << 16}}),
            STATUS_OK);
    }
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_VIRTUAL, 4,
                 (struct words){{0x10, 0x020000ull << 32 | 0x10ca8086, 3, 0x90}}),
             STATUS_INVALID_ARGUMENT); /* a virtual one has none of its own */
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_FUNCTION, 3,
                 (struct words){{0x18, 0x020000ull << 32 | 0x10411af4, 4}}),
             STATUS_OK);
    CHECK_EQ(kernel_fake.reply.words[1], 0);
    /* Number 1 of the kind is the second card, not a virtual function of the first. */
    struct system_device *d = (struct system_device *)(uintptr_t)s.devices[0].description;
    d->index = 1;
    CHECK_EQ(devices_match(&s, &s.cells[NIC]), STATUS_OK);
    CHECK_EQ(s.devices[0].function->address, 0x18);
    d->index = 0;
    d->virtual_functions = 0;
    CHECK_EQ(devices_match(&s, &s.cells[NIC]), STATUS_OK);
    CHECK_EQ(s.devices[0].function->address, 0x10);
}

TEST(only_managers_restart_and_only_pci_reports)
{
    all_ready();
    CHECK_EQ(say(NIC, SUPERVISOR_CELL_RESTART, 1, (struct words){{KV}}), STATUS_NO_RIGHTS);
    CHECK_EQ(say(KV, SUPERVISOR_CELL_RESTART, 1, (struct words){{9}}), STATUS_NOT_FOUND);
    CHECK_EQ(say(KV, SUPERVISOR_CELL_RESTART, 1, (struct words){{NIC}}), STATUS_OK);
    CHECK_EQ(s.cells[NIC].stage, STAGE_QUIESCING);
    CHECK_EQ(say(KV, SUPERVISOR_CELL_RESTART, 1, (struct words){{NIC}}), STATUS_BUSY);
    CHECK_EQ(say(KV, SUPERVISOR_PCI_NEXT, 1, (struct words){{0}}), STATUS_NO_RIGHTS);
    CHECK_EQ(say(KV, SUPERVISOR_PCI_BAR, 4, (struct words){{0x10, 0, 0xc0000000, 0x1000}}),
             STATUS_NO_RIGHTS);
    CHECK_EQ(say(NIC, SUPERVISOR_READY, 0, (struct words){{0}}), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(say(KV, SUPERVISOR_SHUTDOWN_DONE, 0, (struct words){{0}}), STATUS_INVALID_ARGUMENT);
}

TEST(wrong_reports_of_functions_are_refused)
{
    CHECK(start(0) == NULL);
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_MAP_BUS, 1, (struct words){{256}}), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_FUNCTION, 3, (struct words){{0x10000, 0, 0}}),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_BAR, 4, (struct words){{0x10, 0, 0xc0000000, 0x1000}}),
             STATUS_INVALID_ARGUMENT);
    pci_serve();
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_BAR, 4, (struct words){{0x10, 6, 0xd0000000, 0x1000}}),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_BAR, 4, (struct words){{0x10, 0, 0xd0000010, 0x1000}}),
             STATUS_MISALIGNED);
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_BAR, 4, (struct words){{0x10, 0, 0xb0001000, 0x1000}}),
             STATUS_IN_USE);
    CHECK_EQ(say(PCI, SUPERVISOR_PCI_BAR, 4, (struct words){{0x10, 0, UINT64_MAX - 4095u, 0x2000}}),
             STATUS_INVALID_ARGUMENT);
}

TEST(an_exit_with_ok_is_an_end)
{
    all_ready();
    (void)say(KV, SUPERVISOR_EXIT, 1, (struct words){{STATUS_OK}});
    CHECK_EQ(s.cells[KV].stage, STAGE_STOPPED);
    CHECK(log_has("kvstore has ended"));
    (void)say(NIC, SUPERVISOR_EXIT, 1, (struct words){{(uint64_t)(int64_t)STATUS_DEVICE_ERROR}});
    CHECK_EQ(s.cells[NIC].stage, STAGE_QUIESCING);
    CHECK(log_has("nic gave up"));
}

TEST(a_cell_that_would_fail_the_same_way_again_is_not_restarted)
{
    all_ready();
    (void)say(KV, SUPERVISOR_EXIT, 1, (struct words){{(uint64_t)(int64_t)STATUS_FOREIGN}});
    CHECK(s.cells[KV].hopeless);
    CHECK_EQ(s.cells[KV].stage, STAGE_FAILED);
    CHECK_EQ(s.cells[KV].history.total, 0);
    CHECK(log_has("kvstore is not restarted"));
}

TEST(a_driver_cell_has_an_io_space)
{
    boot_flags = BOOT_FLAG_IOMMU;
    all_ready();
    boot_flags = 0;
    const struct cell *nic = &s.cells[NIC];
    CHECK(kernel_fake.slots[nic->slots.iospace].used);
    CHECK(!kernel_fake.slots[s.cells[KV].slots.iospace].used); /* it drives nothing */
    const struct cell_info *info = (const struct cell_info *)nic->info;
    const uint64_t *addresses =
        (const uint64_t *)(nic->info +
                           ((uint64_t)info->dma_page_device_address - CELL_INFO_ADDRESS));
    CHECK_EQ(addresses[3], CELL_DMA_ADDRESS + 3 * PAGE_BYTES); /* not a physical one */
    for (uint32_t i = 0; i < 20; i++) {
        struct message m = {.info = message_info(LABEL_NOTIFICATION, 1),
                            .words = {EVENT_IO_FAULT(NIC)}};
        message_handle(&s, &m);
        cells_advance(&s);
    }
    CHECK(log_has("its device"));
    CHECK(log_has("no more are reported"));
    CHECK_EQ(nic->io_faults, 8);
    CHECK_EQ(nic->stage, STAGE_READY);
}

static void press_button(void)
{
    struct message m = {.info = message_info(LABEL_NOTIFICATION, 1), .words = {EVENT_POWER_BUTTON}};

    kernel_fake.port_status = 1u << 8;
    message_handle(&s, &m);
    cells_advance(&s);
}

TEST(shutdown_goes_from_the_last_cell_to_the_first)
{
    all_ready();
    press_button();
    CHECK_EQ(kernel_fake.slots[s.cells[KV].slots.shutdown].signals, 1);
    CHECK_EQ(kernel_fake.slots[s.cells[NIC].slots.shutdown].signals, 0);
    (void)say(KV, SUPERVISOR_SHUTDOWN_DONE, 0, (struct words){{0}});
    CHECK_EQ(kernel_fake.slots[s.cells[NIC].slots.shutdown].signals, 1);
    CHECK_EQ(kernel_fake.switched_off, 0);
    (void)say(NIC, SUPERVISOR_SHUTDOWN_DONE, 0, (struct words){{0}});
    CHECK_EQ(kernel_fake.reply.words[1], PCI_REQUEST_SHUTDOWN);
    (void)say(PCI, SUPERVISOR_SHUTDOWN_DONE, 0, (struct words){{0}});
    CHECK_EQ(kernel_fake.switched_off, 1);
    CHECK(log_has("hallows: clean shutdown\n"));
}

TEST(a_cell_that_breaks_while_shutting_down_is_told)
{
    all_ready();
    press_button();
    fault(KV);
    CHECK_EQ(s.cells[KV].stage, STAGE_STOPPED);
    (void)say(NIC, SUPERVISOR_SHUTDOWN_DONE, 0, (struct words){{0}});
    (void)say(PCI, SUPERVISOR_SHUTDOWN_DONE, 0, (struct words){{0}});
    CHECK_EQ(kernel_fake.switched_off, 1);
    CHECK(!log_has("hallows: clean shutdown"));
}

/* Each call of the way up refused once: the supervisor says so or goes on, and leaves nothing of
 * the cell that failed. */
TEST(any_refused_call_ends_in_words)
{
    CHECK(start(0) == NULL);
    pci_serve();
    (void)pci_next_say();
    uint64_t calls = kernel_fake.calls;
    CHECK(calls > 100u);
    for (uint64_t n = 1; n <= calls; n += n < 300u ? 1u : 37u) {
        const char *problem = start(n);
        if (problem != NULL) {
            continue;
        }
        bool pci_up = s.cells[PCI].stage == STAGE_STARTING;
        CHECK(pci_up || s.cells[PCI].stage == STAGE_FAILED);
        CHECK(pci_up || !s.cells[PCI].made);
        for (uint32_t i = 0; i < CELLS; i++) {
            CHECK(s.cells[i].stage != STAGE_FAILED || log_has("stays down"));
        }
    }
}

/* Any badge, label, word count and words: ASan and the checks of the fake kernel watch. */
TEST(anything_said_is_survived)
{
    srand(6);
    all_ready();
    for (uint32_t round = 0; round < 20000u; round++) {
        struct message m = {0};
        uint64_t label = (uint64_t)rand() % 24u;
        m.badge = (uint64_t)rand() % 6u;
        if (label == SUPERVISOR_EXIT || rand() % 64 == 0) {
            label = LABEL_KERNEL_FIRST + (uint64_t)rand() % 4u;
        }
        m.info = message_info(label, (uint32_t)rand() % 9u);
        for (uint32_t i = 0; i < MESSAGE_WORDS_MAX; i++) {
            m.words[i] = rand() % 4 == 0 ? (uint64_t)rand() << 33 ^ (uint64_t)rand()
                                         : (uint64_t)rand() % 20u;
        }
        m.words[0] &= label == LABEL_NOTIFICATION ? ~EVENT_POWER_BUTTON : ~0ull;
        message_handle(&s, &m);
        cells_advance(&s);
    }
    CHECK_EQ(s.cells[KV].faults, 0);
    CHECK(!log_has("clean shutdown"));
}
