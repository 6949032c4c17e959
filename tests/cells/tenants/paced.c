// SPDX-License-Identifier: MIT OR Apache-2.0
#include "tests/cells/tenants/paced.h"

#include "drivers/mmio.h"
#include "drivers/nvme/nvme_spec.h"
#include "lib/base/bytes.h"
#include "runtime/cell.h"

/* Does the request on the drive below, whose driver ends what takes too long. */
static struct block_completion do_now(struct paced *paced, const struct block_request *request,
                                      time_ns_t now_ns)
{
    struct nvme *nvme = paced->nvme;
    struct block_completion done = {.status = STATUS_DEVICE_ERROR};

    if (nvme_submit(&nvme->port, request, 1, now_ns) == 1) {
        while (nvme_poll(&nvme->port, &done, 1, clock_ns(&paced->cell->time)) == 0) {
            (void)mmio_read32((const volatile uint8_t *)nvme->config.registers + NVME_REG_CSTS);
        }
    }
    done.cookie = request->cookie;
    time_ns_t took_ns = clock_ns(&paced->cell->time) - now_ns;
    paced->longest_ns = took_ns > paced->longest_ns ? took_ns : paced->longest_ns;
    return done;
}

/* What the description says, give or take a twentieth, so that nothing stays in step. */
static uint64_t service_ns(struct paced *paced, const struct block_request *request)
{
    const struct share_drive *drive = &paced->drive;
    uint64_t bytes = (uint64_t)request->blocks << paced->block.block_shift;
    bool reads = request->operation == BLOCK_READ;
    uint64_t ns = (reads ? drive->read_ns : drive->write_ns) +
                  bytes * (reads ? drive->read_byte_ps : drive->write_byte_ps) / 1000u;

    paced->random ^= paced->random << 13; /* xorshift64, Marsaglia 2003 */
    paced->random ^= paced->random >> 7;
    paced->random ^= paced->random << 17;
    return ns * (950u + paced->random % 100u) / 1000u;
}

static uint32_t paced_submit(struct block_device *block, const struct block_request *requests,
                             uint32_t count, time_ns_t now_ns)
{
    struct paced *paced = (struct paced *)block;
    uint32_t taken = 0;

    for (; taken < count && paced->queued < PACED_DEPTH; taken++) {
        uint32_t first = 0;
        for (uint32_t i = 1; i < paced->drive.units; i++) {
            first = paced->free_ns[i] < paced->free_ns[first] ? i : first;
        }
        time_ns_t begin_ns = paced->free_ns[first] > now_ns ? paced->free_ns[first] : now_ns;
        paced->free_ns[first] = begin_ns + service_ns(paced, &requests[taken]);
        paced->queue[paced->queued].due_ns = paced->free_ns[first];
        paced->queue[paced->queued++].completion = do_now(paced, &requests[taken], now_ns);
    }
    return taken;
}

static uint32_t paced_poll(struct block_device *block, struct block_completion *completions,
                           uint32_t max, time_ns_t now_ns)
{
    struct paced *paced = (struct paced *)block;
    uint32_t done = 0;

    for (uint32_t i = 0; i < paced->queued && done < max;) {
        if (paced->queue[i].due_ns > now_ns) {
            i++;
            continue;
        }
        completions[done++] = paced->queue[i].completion;
        paced->queue[i] = paced->queue[--paced->queued];
    }
    return done;
}

static bool paced_arm(struct block_device *block)
{
    (void)block;
    return false; /* who waits looks at next_due */
}

static void paced_disarm(struct block_device *block)
{
    (void)block;
}

static time_ns_t paced_next_due(struct block_device *block)
{
    const struct paced *paced = (const struct paced *)block;
    time_ns_t due_ns = DEADLINE_NEVER;

    for (uint32_t i = 0; i < paced->queued; i++) {
        due_ns = paced->queue[i].due_ns < due_ns ? paced->queue[i].due_ns : due_ns;
    }
    return due_ns;
}

static const struct block_device_ops paced_ops = {paced_submit, paced_poll, paced_arm, paced_disarm,
                                                  paced_next_due};

void paced_init(struct paced *paced, struct nvme *nvme, const struct cell_info *cell,
                const struct share_drive *drive)
{
    memset(paced, 0, sizeof *paced);
    paced->block = nvme->port.block;
    paced->block.ops = &paced_ops;
    paced->nvme = nvme;
    paced->cell = cell;
    paced->drive = *drive;
    paced->drive.units = drive->units < PACED_UNITS_MAX ? drive->units : PACED_UNITS_MAX;
    paced->random = 88172645463325252ull;
}
