// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Test cell: a driver whose drive is told wrong addresses. It gives the drive `targets` addresses
 * that are not its own, physical ones of the kernel and of other cells among them, first as the
 * place of its queues, then as the place for data. Behind an IOMMU nothing may come of it.
 */
#include "drivers/mmio.h"
#include "drivers/nvme/nvme_spec.h"
#include "lib/base/bytes.h"
#include "runtime/cell.h"
#include "runtime/syscall.h"

#define QUEUE_ENTRIES 2u
#define WAIT_STEP_NS 1000000ull
#define WAIT_STEPS 5000u
#define FIRST_TARGET 0x200000ull /* the kernel's first page; then all over the machine's RAM */
#define TARGET_STEP 0x2345000ull

static volatile uint8_t *registers;
static const struct cell_info *cell;

static void pause_a_little(void)
{
    uint64_t word;

    (void)notification_wait(CELL_SLOT_NOTIFICATION, clock_ns(&cell->time) + WAIT_STEP_NS, &word);
}

static bool wait_ready(uint32_t wanted)
{
    for (uint32_t i = 0; i < WAIT_STEPS; i++) {
        if ((mmio_read32(registers + NVME_REG_CSTS) & NVME_CSTS_RDY) == wanted) {
            return true;
        }
        pause_a_little();
    }
    return false;
}

/* Starts the controller with its admin queues there and makes it look at one command. */
static bool drive_start(uint64_t submissions, uint64_t completions)
{
    mmio_write32(registers + NVME_REG_CC, 0);
    if (!wait_ready(0)) {
        return false;
    }
    mmio_write32(registers + NVME_REG_AQA, (QUEUE_ENTRIES - 1u) << 16 | (QUEUE_ENTRIES - 1u));
    mmio_write64(registers + NVME_REG_ASQ, submissions);
    mmio_write64(registers + NVME_REG_ACQ, completions);
    mmio_write32(registers + NVME_REG_CC, NVME_CC_EN | NVME_CC_ENTRY_SIZES);
    if (!wait_ready(NVME_CSTS_RDY)) {
        return false;
    }
    mmio_write32(registers + NVME_REG_DOORBELLS, 1);
    for (uint32_t i = 0; i < 20u; i++) {
        pause_a_little();
    }
    return true;
}

/* Identify, 4 KiB, to an address. */
static void command_make(uint32_t *command, uint64_t target)
{
    memset(command, 0, NVME_SQE_BYTES);
    command[0] = NVME_ADMIN_IDENTIFY;
    command[6] = (uint32_t)target;
    command[7] = (uint32_t)(target >> 32);
    command[10] = NVME_CNS_CONTROLLER;
}

status_t cell_main(const struct cell_info *info)
{
    uint64_t targets = config_u64(info, "targets", 10);
    uint64_t own = info->dma_page_device_address[0];
    uint64_t word = 0;

    cell = info;
    registers = info->devices[0].bar[0];
    status_t status = supervisor_ready();
    for (uint64_t i = 0; i < targets && status == STATUS_OK; i++) {
        uint64_t target = FIRST_TARGET + i * TARGET_STEP;
        bool queue = i % 2u == 0;
        command_make(info->dma, target);
        if (!drive_start(queue ? target : own, queue ? target : own + PAGE_BYTES)) {
            log_line("the drive does not start");
        }
    }
    log_line("%lu wrong addresses given", targets);
    while ((word & CELL_EVENT_SHUTDOWN) == 0 && status == STATUS_OK) {
        status = notification_wait(CELL_SLOT_NOTIFICATION, DEADLINE_NEVER, &word);
    }
    supervisor_shutdown_done();
}
