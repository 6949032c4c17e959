// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Tests only: an NVMe controller with plain or zoned namespaces, seen through registers,
 * doorbells and DMA as the driver sees a real one. It checks what the driver does against the
 * specification
 * (`faults` counts, `fault` says) and can be slow, faulty or hostile on request.
 */
#ifndef DRIVERS_NVME_FAKE_H
#define DRIVERS_NVME_FAKE_H

#include "drivers/mmio.h"
#include "drivers/mmio_fake.h"
#include "lib/block/media_fake.h"

#define NVME_FAKE_PENDING 128u
#define NVME_FAKE_QUEUES 5u /* with the admin queue */
#define NVME_FAKE_NAMESPACES 4u
#define NVME_FAKE_PLACEMENTS 4u
#define NVME_FAKE_SECONDARY 9u
#define NVME_FAKE_ERRORS 4u /* entries of its error log */
#define NVME_FAKE_REGISTER_BYTES 0x2000u
#define NVME_FAKE_MSIX_OFFSET 0x3000u
#define NVME_FAKE_WINDOW_BYTES 0x4000u

enum nvme_fake_hostility {
    HOSTILE_NONE,
    HOSTILE_BAD_CID,     /* completes a command that was never given */
    HOSTILE_DOUBLE,      /* completes a command twice */
    HOSTILE_BAD_SQ_HEAD, /* names a queue position outside the queue */
    HOSTILE_APPEND_PLACE /* says an append went outside its zone */
};

struct nvme_fake_queue {
    uint64_t sq_address, cq_address;
    uint32_t sq_entries, cq_entries;
    uint32_t sq_head, sq_tail, cq_head, cq_tail;
    uint32_t phase;
    bool sq_live, cq_live, interrupts;
    uint32_t vector;
};

struct nvme_fake_command {
    uint32_t queue;
    uint32_t word[16];
};

struct nvme_fake {
    struct mmio_fake window;
    uint8_t *space;                  /* what the window's addresses are of; never read or written */
    const struct dma_region *memory; /* all that it may reach */
    struct media_fake media;         /* of namespace 1 */
    struct {
        uint32_t id; /* 0: none */
        struct media_fake media;
    } more[NVME_FAKE_NAMESPACES - 1u];
    uint32_t max_active, max_open; /* zones of a zoned namespace; 0: no limit */
    uint32_t mdts;                 /* as in Identify Controller */
    uint32_t zasl;
    uint32_t mqes; /* entries - 1 */

    uint32_t cc, csts, aqa;
    uint64_t asq, acq;
    bool no_sgl;
    uint8_t *own_memory;  /* controller memory buffer, of a test; NULL: it has none */
    uint32_t own_pages;   /* of it */
    uint64_t own_control; /* CMBMSC */
    uint32_t secondaries; /* secondary controllers; identifiers from NVME_FAKE_SECONDARY on */
    struct {
        uint32_t queues, interrupts;
        bool online;
    } secondary[4];
    bool secondary_stuck;    /* going online has no effect */
    bool placement;          /* it has flexible data placement */
    uint16_t nawupf, nabspf; /* of every namespace; not 0: it has limits of its own */
    uint64_t placed_blocks[NVME_FAKE_PLACEMENTS]; /* written with each handle */
    bool no_shadow_doorbells;                     /* Identify does not offer them */
    uint64_t shadow_address, event_address;       /* 0: not configured */
    uint32_t awake;                               /* bits of queues whose shadows it looks at */
    uint32_t msix[NVME_FAKE_QUEUES][4];
    uint32_t queues_offered; /* in Set Features: I/O queue pairs */
    struct nvme_fake_queue queues[NVME_FAKE_QUEUES];
    struct nvme_fake_command pending[NVME_FAKE_PENDING];
    uint32_t pending_count;

    bool any_order;
    bool never_ready;   /* CSTS.RDY stays as it is */
    uint32_t swallow;   /* so many I/O commands are never answered */
    bool ignore_abort;  /* an abort does not bring a swallowed command back */
    uint32_t fail_next; /* so many I/O commands end with fail_status */
    uint32_t fail_status;
    enum nvme_fake_hostility hostility; /* for the next I/O completion */
    uint8_t (*corrupt_identify)(void *context, uint32_t cns, uint32_t offset, uint8_t byte);
    void *corrupt_context;

    uint32_t faults; /* what the driver did wrong */
    const char *fault;
    uint32_t doorbell_writes, interrupts, commands, flushes, resets, shutdowns;
    uint32_t interrupt_pending; /* bits of vectors */
    uint32_t copies;
    uint32_t errors;   /* so many have been, and are in its error log */
    bool no_error_log; /* it refuses to tell it */
    uint32_t swallowed_count;
    struct nvme_fake_command swallowed[NVME_FAKE_PENDING];
};

void nvme_fake_init(struct nvme_fake *fake, const struct dma_region *memory);
/* Before use: the namespace. zone_blocks 0: plain. */
void nvme_fake_namespace(struct nvme_fake *fake, uint64_t block_count, uint32_t block_bytes,
                         uint32_t zone_blocks, uint32_t zone_capacity);
/* Another one, with an identifier above 1. */
void nvme_fake_add_namespace(struct nvme_fake *fake, uint32_t id, uint64_t block_count,
                             uint32_t block_bytes, uint32_t zone_blocks, uint32_t zone_capacity);
/* The media of a namespace; NULL: there is no such. */
struct media_fake *nvme_fake_media(struct nvme_fake *fake, uint32_t id);
void nvme_fake_free(struct nvme_fake *fake);
/* Executes up to `most` fetched commands and posts their completions. */
void nvme_fake_run(struct nvme_fake *fake, uint32_t most);
/* A fatal controller error (CSTS.CFS). */
void nvme_fake_break(struct nvme_fake *fake);

/* nvme_fake_command.c: executes one; returns the status field, fills the completion's DW0 and DW1.
 */
uint32_t nvme_fake_execute(struct nvme_fake *fake, const struct nvme_fake_command *command,
                           uint64_t *result);
/* Memory that the device reaches at `address`, `bytes` within one page; NULL and a fault if none.
 */
void *nvme_fake_memory(struct nvme_fake *fake, uint64_t address, size_t bytes);
/* nvme_log_fake.c: `bytes` of that log page; false: there is no such, or not so much of it. */
bool nvme_fake_log(const struct nvme_fake *fake, uint32_t page, uint8_t *data, uint32_t bytes);
/* Secondary controllers: their list, and what Virtualization Management does with one. */
void nvme_fake_list_secondaries(const struct nvme_fake *fake, uint8_t *data);
uint32_t nvme_fake_manage_secondary(struct nvme_fake *fake,
                                    const struct nvme_fake_command *command);
void nvme_fake_fault(struct nvme_fake *fake, const char *what);

#endif
