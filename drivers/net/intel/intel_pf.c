// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 *   init ---> RESETTING --settled, RST = 0, address read--> STARTING --PHY told--> RUNNING
 *                ^  |                                          |                     |
 *   restart.at_ns|  v deadline passed                          v                     v all ones
 *               BROKEN <---------------------------------------+---------------------+
 */
#include "drivers/net/intel/intel_pf.h"

#include "drivers/mmio.h"
#include "drivers/pci/pci.h"
#include "lib/base/bytes.h"

#define RESET_TIMEOUT_NS 10000000000ull
#define SETTLE_NS 20000000ull
#define POLL_NS 1000000ull
#define WATCH_NS 1000000000ull
#define FRAME_BYTES_MAX 1522u

static uint32_t read(const struct intel_pf *pf, uint32_t at)
{
    return mmio_read32(pf->registers + at);
}

static void write(const struct intel_pf *pf, uint32_t at, uint32_t value)
{
    mmio_write32(pf->registers + at, value);
}

static void start_reset(struct intel_pf *pf, time_ns_t now_ns)
{
    pf->state = INTEL_PF_RESETTING;
    pf->link = false;
    pf->pools_on = 0;
    pf->settled_ns = now_ns + SETTLE_NS;
    pf->deadline_ns = now_ns + RESET_TIMEOUT_NS;
    write(pf, INTEL_82576_EIMC, 0xffffffffu);
    write(pf, INTEL_82576_IMC, 0xffffffffu);
    write(pf, INTEL_RCTL, 0);
    write(pf, INTEL_TCTL, 0);
    write(pf, INTEL_CTRL, read(pf, INTEL_CTRL) | INTEL_CTRL_RST);
}

static bool read_mac(struct intel_pf *pf)
{
    uint32_t low = read(pf, INTEL_RAL0);
    uint32_t high = read(pf, INTEL_RAH0);

    if ((high & INTEL_RAH_VALID) == 0 || (low & 1u) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < 6; i++) {
        pf->mac[i] = (uint8_t)(i < 4 ? low >> (8u * i) : high >> (8u * (i - 4u)));
    }
    return true;
}

void intel_pf_address(const struct intel_pf *pf, uint32_t number, uint8_t mac[6])
{
    memcpy(mac, pf->mac, 6);
    mac[0] = 0x02; /* locally administered */
    mac[1] = 'V';
    mac[2] = (uint8_t)number;
}

/* ---- Start ----------------------------------------------------------------------------------- */

static void setup_pools(struct intel_pf *pf)
{
    for (uint32_t i = 0; i < INTEL_POOLS; i++) {
        write(pf, INTEL_82576_POOL + 4u * i,
              FRAME_BYTES_MAX | INTEL_82576_POOL_UNTAGGED | INTEL_82576_POOL_HASHED |
                  INTEL_82576_POOL_BROADCAST | INTEL_82576_POOL_STRIP_CRC);
    }
    for (uint32_t i = 0; i < INTEL_MTA_WORDS; i++) {
        write(pf, INTEL_MTA + 4u * i, 0xffffffffu); /* stacks know their groups */
    }
    write(pf, INTEL_82576_POOL_RX, 0);
    write(pf, INTEL_82576_POOL_TX, 0);
    write(pf, INTEL_82576_DROP_ENABLE, 0xffffffffu);
    write(pf, INTEL_82576_SWITCH,
          INTEL_82576_SWITCH_CHECK_MAC | (pf->loopback ? INTEL_82576_SWITCH_LOOPBACK : 0u));
    write(pf, INTEL_82576_VT_CTL, INTEL_82576_VT_NO_DEFAULT | INTEL_82576_VT_REPLICATE);
    write(pf, INTEL_82576_MRQC, INTEL_82576_MRQC_POOLS);
}

static void start(struct intel_pf *pf)
{
    write(pf, INTEL_82576_GPIE, INTEL_82576_GPIE_MSIX);
    write(pf, INTEL_82576_EIAC, 1);
    write(pf, INTEL_82576_IVAR_MISC, INTEL_82576_IVAR_VALID << 8);
    write(pf, INTEL_82576_EITR0, 0);
    setup_pools(pf);
    write(pf, INTEL_TCTL,
          INTEL_TCTL_EN | INTEL_TCTL_PAD | INTEL_TCTL_COLLISIONS | INTEL_TCTL_DISTANCE);
    write(pf, INTEL_RXCSUM, INTEL_RXCSUM_SUMS);
    write(pf, INTEL_RCTL, INTEL_RCTL_EN | INTEL_RCTL_BROADCAST | INTEL_RCTL_STRIP_CRC);
    write(pf, INTEL_CTRL, read(pf, INTEL_CTRL) | INTEL_CTRL_SLU);
    write(pf, INTEL_MDIC,
          INTEL_MDIC_WRITE | INTEL_MDIC_PHY_1 | PHY_CONTROL << INTEL_MDIC_REGISTER_SHIFT |
              PHY_CONTROL_NEGOTIATE | PHY_CONTROL_RESTART_NEGOTIATION);
    pf->state = INTEL_PF_STARTING;
}

static void run(struct intel_pf *pf, time_ns_t now_ns)
{
    pf->state = INTEL_PF_RUNNING;
    restart_running(&pf->restart, now_ns);
    write(pf, INTEL_82576_IMS, INTEL_82576_CAUSE_MAILBOX);
    write(pf, INTEL_82576_EIMS, 1);
    write(pf, INTEL_CTRL_EXT,
          read(pf, INTEL_CTRL_EXT) | INTEL_CTRL_EXT_DRIVER_LOADED | INTEL_CTRL_EXT_RESET_DONE);
}

/* ---- Mailboxes ------------------------------------------------------------------------------- */

static void set_pool(struct intel_pf *pf, uint32_t number, bool on)
{
    pf->pools_on = on ? pf->pools_on | 1u << number : pf->pools_on & ~(1u << number);
    write(pf, INTEL_82576_POOL_RX, pf->pools_on);
    write(pf, INTEL_82576_POOL_TX, pf->pools_on);
}

/* Gives its address and lets its queues run. */
static void give(struct intel_pf *pf, uint32_t number)
{
    uint32_t at = INTEL_82576_MESSAGE + 64u * number;
    uint32_t filter = INTEL_RAL0 + 8u * (1u + number);
    uint8_t mac[6];

    intel_pf_address(pf, number, mac);
    uint32_t low =
        (uint32_t)mac[0] | (uint32_t)mac[1] << 8 | (uint32_t)mac[2] << 16 | (uint32_t)mac[3] << 24;
    uint32_t high = (uint32_t)mac[4] | (uint32_t)mac[5] << 8;
    write(pf, filter, low);
    write(pf, filter + 4u, high | INTEL_RAH_VALID | 1u << (INTEL_82576_RAH_POOL_SHIFT + number));
    set_pool(pf, number, true);
    write(pf, at, INTEL_MESSAGE_RESET | INTEL_MESSAGE_GOOD);
    write(pf, at + 4u, low);
    write(pf, at + 8u, high);
    pf->counters.given++;
}

static void answer(struct intel_pf *pf, uint32_t number)
{
    uint32_t mailbox = INTEL_82576_MAILBOX + 4u * number;
    uint32_t message = INTEL_82576_MESSAGE + 64u * number;

    write(pf, mailbox, INTEL_MAILBOX_PHYSICAL_OWNS);
    if ((read(pf, mailbox) & INTEL_MAILBOX_PHYSICAL_OWNS) == 0) {
        /* It asked and holds on to the buffer. */
        write(pf, mailbox, INTEL_MAILBOX_REVOKE);
        write(pf, mailbox, INTEL_MAILBOX_PHYSICAL_OWNS);
    }
    uint32_t asked = read(pf, message);
    if (asked == INTEL_MESSAGE_RESET) {
        give(pf, number);
    } else {
        write(pf, message, (asked & 0xffffu) | INTEL_MESSAGE_REFUSED);
        pf->counters.refused++;
    }
    write(pf, mailbox, INTEL_MAILBOX_SEND | INTEL_MAILBOX_ACK);
}

static void serve(struct intel_pf *pf)
{
    /* The causes first: what comes after them interrupts again. */
    write(pf, INTEL_82576_ICR, INTEL_82576_CAUSE_MAILBOX);
    write(pf, INTEL_82576_EICR, 1);
    uint32_t were_reset = read(pf, INTEL_82576_RESET_CAUSE) & INTEL_82576_MAILBOX_REQUESTS;
    uint32_t asked = read(pf, INTEL_82576_MAILBOX_CAUSE);
    write(pf, INTEL_82576_RESET_CAUSE, were_reset);
    write(pf, INTEL_82576_MAILBOX_CAUSE, asked); /* acknowledgements too */
    for (uint32_t i = 0; i < INTEL_POOLS; i++) {
        if ((were_reset >> i & 1u) != 0) {
            set_pool(pf, i, false);
        }
        if ((asked >> i & 1u) != 0) {
            answer(pf, i);
        }
    }
}

/* ---- Life ------------------------------------------------------------------------------------ */

static time_ns_t fail(struct intel_pf *pf, time_ns_t now_ns)
{
    pf->state = INTEL_PF_BROKEN;
    pf->link = false;
    pf->counters.resets++;
    restart_choose(&pf->restart, now_ns);
    return pf->restart.at_ns;
}

static time_ns_t look_after(struct intel_pf *pf, time_ns_t now_ns)
{
    uint32_t status = read(pf, INTEL_STATUS);

    if (status == 0xffffffffu) {
        return fail(pf, now_ns);
    }
    pf->link = (status & INTEL_STATUS_LU) != 0;
    serve(pf);
    return now_ns + WATCH_NS;
}

time_ns_t intel_pf_work(struct intel_pf *pf, time_ns_t now_ns)
{
    if (pf->state == INTEL_PF_STOPPED) {
        return DEADLINE_NEVER;
    }
    if (pf->state == INTEL_PF_RUNNING) {
        return look_after(pf, now_ns);
    }
    if (pf->state == INTEL_PF_BROKEN) {
        if (now_ns < pf->restart.at_ns) {
            return pf->restart.at_ns;
        }
        start_reset(pf, now_ns);
    }
    if (pf->state == INTEL_PF_RESETTING && now_ns >= pf->settled_ns &&
        (read(pf, INTEL_CTRL) & INTEL_CTRL_RST) == 0 && read_mac(pf)) {
        start(pf);
    }
    if (pf->state == INTEL_PF_STARTING && (read(pf, INTEL_MDIC) & INTEL_MDIC_READY) != 0) {
        if ((read(pf, INTEL_MDIC) & INTEL_MDIC_ERROR) != 0) {
            return fail(pf, now_ns);
        }
        run(pf, now_ns);
        return now_ns;
    }
    return now_ns < pf->deadline_ns ? now_ns + POLL_NS : fail(pf, now_ns);
}

status_t intel_pf_init(struct intel_pf *pf, const struct cell_device *device, bool loopback,
                       time_ns_t now_ns)
{
    struct pci_window registers;

    if (device->pci_vendor != INTEL_PCI_VENDOR || device->pci_device != INTEL_PCI_82576) {
        return STATUS_UNSUPPORTED;
    }
    status_t status = pci_bar_window(device, 0, 0, INTEL_REGISTER_BYTES, &registers);
    if (status != STATUS_OK || (status = pci_msix_fill(device)) != STATUS_OK) {
        return status;
    }
    *pf = (struct intel_pf){
        .device = device,
        .registers = registers.base,
        .loopback = loopback,
    };
    restart_init(&pf->restart);
    start_reset(pf, now_ns);
    return STATUS_OK;
}

void intel_pf_stop(struct intel_pf *pf)
{
    start_reset(pf, 0);
    pf->state = INTEL_PF_STOPPED;
}
