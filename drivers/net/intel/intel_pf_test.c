// SPDX-License-Identifier: MIT OR Apache-2.0
/* The physical function against a chip of a few registers: resets, mailboxes, pools. */
#include "drivers/net/intel/intel_pf.h"

#include <stdlib.h>

#include "drivers/net/intel/intel_fake.h"
#include "lib/base/bytes.h"
#include "lib/base/endian.h"
#include "tests/check.h"

#define SECOND_NS 1000000000ull

/* The fake of an 82576 without its queues; behind it the registers of virtual functions. */
struct chip {
    struct intel_fake fake;
    struct mmio_fake window;
    struct intel_pf pf;
    time_ns_t now_ns;
    bool held[INTEL_POOLS]; /* the virtual function does not let go of its mailbox */
    unsigned sent[INTEL_POOLS];
};

static uint32_t *reg(struct chip *chip, uint32_t at)
{
    return &chip->fake.registers[at / 4u];
}

static uint64_t chip_read(void *context, size_t offset, unsigned width)
{
    struct chip *chip = context;
    return chip->fake.window.read(&chip->fake, offset, width);
}

static void chip_write(void *context, size_t offset, unsigned width, uint64_t value)
{
    struct chip *chip = context;
    size_t pool = (offset - INTEL_82576_MAILBOX) / 4u;

    if (offset == INTEL_82576_MAILBOX_CAUSE || offset == INTEL_82576_RESET_CAUSE ||
        offset == INTEL_82576_ICR) {
        *reg(chip, (uint32_t)offset) &= ~(uint32_t)value;
    } else if (pool < INTEL_POOLS) {
        if ((value & INTEL_MAILBOX_REVOKE) != 0) {
            chip->held[pool] = false;
        }
        chip->sent[pool] += (value & INTEL_MAILBOX_SEND) != 0;
        *reg(chip, (uint32_t)offset) =
            (value & INTEL_MAILBOX_PHYSICAL_OWNS) != 0 && !chip->held[pool]
                ? INTEL_MAILBOX_PHYSICAL_OWNS
                : 0;
    } else {
        chip->fake.window.write(&chip->fake, offset, width, value);
    }
}

static void chip_open(struct chip *chip)
{
    memset(chip, 0, sizeof *chip);
    intel_fake_init(&chip->fake, INTEL_PCI_82576);
    mmio_fake_remove(&chip->fake.window);
    chip->window = chip->fake.window;
    chip->window.read = chip_read;
    chip->window.write = chip_write;
    chip->window.context = chip;
    mmio_fake_add(&chip->window);
    chip->now_ns = 5 * SECOND_NS;
}

static void chip_close(struct chip *chip)
{
    mmio_fake_remove(&chip->window);
    mmio_fake_add(&chip->fake.window);
    intel_fake_destroy(&chip->fake);
}

static void work(struct chip *chip, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        chip->now_ns = intel_pf_work(&chip->pf, chip->now_ns);
    }
}

static void start(struct chip *chip)
{
    CHECK_EQ(intel_pf_init(&chip->pf, &chip->fake.device, false, chip->now_ns), STATUS_OK);
    work(chip, 100);
    CHECK(intel_pf_running(&chip->pf));
}

static void ask(struct chip *chip, unsigned number, uint32_t message)
{
    *reg(chip, INTEL_82576_MESSAGE + 64u * number) = message;
    *reg(chip, INTEL_82576_MAILBOX_CAUSE) |= 1u << number;
}

TEST(virtual_functions_run_once_they_asked)
{
    struct chip chip;
    uint8_t mac[6];

    chip_open(&chip);
    chip.fake.reset_reads = 3;
    start(&chip);
    CHECK_EQ(*reg(&chip, INTEL_82576_POOL_RX), 0);
    CHECK_EQ(*reg(&chip, INTEL_82576_POOL_TX), 0);
    CHECK_EQ(*reg(&chip, INTEL_82576_MRQC), INTEL_82576_MRQC_POOLS);
    CHECK((*reg(&chip, INTEL_CTRL_EXT) & INTEL_CTRL_EXT_RESET_DONE) != 0);
    ask(&chip, 2, INTEL_MESSAGE_RESET);
    ask(&chip, 5, INTEL_MESSAGE_RESET);
    work(&chip, 1);
    CHECK_EQ(*reg(&chip, INTEL_82576_POOL_RX), 1u << 2 | 1u << 5);
    CHECK_EQ(*reg(&chip, INTEL_82576_POOL_TX), 1u << 2 | 1u << 5);
    CHECK_EQ(*reg(&chip, INTEL_82576_MAILBOX_CAUSE), 0);
    intel_pf_address(&chip.pf, 5, mac);
    CHECK_EQ(mac[0] & 3u, 2);
    CHECK_EQ(mac[5], chip.fake.mac[5]);
    const uint32_t *message = reg(&chip, INTEL_82576_MESSAGE + 64u * 5u);
    CHECK_EQ(message[0], INTEL_MESSAGE_RESET | INTEL_MESSAGE_GOOD);
    CHECK_EQ(message[1], load_le32(mac));
    CHECK_EQ(message[2], load_le16(mac + 4));
    CHECK_EQ(*reg(&chip, INTEL_RAL0 + 8u * 6u), load_le32(mac));
    CHECK_EQ(*reg(&chip, INTEL_RAH0 + 8u * 6u),
             INTEL_RAH_VALID | 1u << (18u + 5u) | load_le16(mac + 4));
    CHECK_EQ(chip.sent[5], 1);
    CHECK_EQ(chip.pf.counters.given, 2);

    /* One resets: it is off until it asks again; the other goes on. */
    *reg(&chip, INTEL_82576_RESET_CAUSE) = 1u << 2;
    work(&chip, 1);
    CHECK_EQ(*reg(&chip, INTEL_82576_POOL_RX), 1u << 5);
    *reg(&chip, INTEL_82576_RESET_CAUSE) = 1u << 2;
    ask(&chip, 2, INTEL_MESSAGE_RESET);
    work(&chip, 1);
    CHECK_EQ(*reg(&chip, INTEL_82576_POOL_RX), 1u << 2 | 1u << 5);
    intel_pf_stop(&chip.pf);
    CHECK_EQ(intel_pf_work(&chip.pf, chip.now_ns), DEADLINE_NEVER);
    CHECK_EQ(*reg(&chip, INTEL_RCTL), 0);
    chip_close(&chip);
}

TEST(hostile_mailboxes_get_nothing)
{
    struct chip chip;

    chip_open(&chip);
    start(&chip);
    srand(7);
    for (unsigned i = 0; i < 2000; i++) {
        unsigned number = (unsigned)rand() % INTEL_POOLS;
        uint32_t message = (uint32_t)rand() << 4 ^ (uint32_t)rand();
        chip.held[number] = rand() % 2 == 0;
        message = message == INTEL_MESSAGE_RESET ? 0 : message;
        ask(&chip, number, message);
        work(&chip, 1);
        CHECK_EQ(*reg(&chip, INTEL_82576_MESSAGE + 64u * number),
                 (message & 0xffffu) | INTEL_MESSAGE_REFUSED);
        CHECK_EQ(*reg(&chip, INTEL_82576_POOL_RX), 0);
    }
    CHECK_EQ(chip.pf.counters.refused, 2000);
    CHECK_EQ(chip.pf.counters.given, 0);
    chip_close(&chip);
}

TEST(a_chip_that_goes_is_started_again)
{
    struct chip chip;

    chip_open(&chip);
    start(&chip);
    ask(&chip, 0, INTEL_MESSAGE_RESET);
    work(&chip, 1);
    unsigned resets = chip.fake.resets;
    chip.fake.gone = true;
    work(&chip, 3);
    CHECK(!intel_pf_running(&chip.pf));
    chip.fake.gone = false;
    work(&chip, 300);
    CHECK(intel_pf_running(&chip.pf));
    CHECK(chip.fake.resets > resets);
    CHECK_EQ(*reg(&chip, INTEL_82576_POOL_RX), 0); /* until it asks again */
    chip.fake.mdic_error = true;
    chip.fake.gone = true;
    work(&chip, 1);
    chip.fake.gone = false;
    work(&chip, 300);
    CHECK(!intel_pf_running(&chip.pf));
    chip_close(&chip);
}

TEST(only_an_82576_has_them)
{
    struct chip chip;

    chip_open(&chip);
    chip.fake.device.pci_device = INTEL_PCI_82574L;
    CHECK_EQ(intel_pf_init(&chip.pf, &chip.fake.device, false, 0), STATUS_UNSUPPORTED);
    chip.fake.device.pci_device = INTEL_PCI_82576;
    chip.fake.device.bar_bytes[0] = 4096;
    CHECK_EQ(intel_pf_init(&chip.pf, &chip.fake.device, false, 0), STATUS_INVALID_ARGUMENT);
    chip_close(&chip);
}
