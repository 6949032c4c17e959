// SPDX-License-Identifier: MIT OR Apache-2.0
/* A virtual function's side of the mailbox (82576 datasheet 7.10.2.9). Reading the mailbox register
 * clears what it tells. */
#include "drivers/net/intel/intel_nic.h"

/* The physical function's cell may be restarting: ask again. */
#define ASK_AGAIN_NS 100000000ull

static uint32_t mailbox_read(const struct intel_nic *nic)
{
    return intel_read(nic, INTEL_VIRTUAL_MAILBOX);
}

static void ask(struct intel_nic *nic, time_ns_t now_ns)
{
    intel_write(nic, INTEL_VIRTUAL_MAILBOX, INTEL_MAILBOX_VIRTUAL_OWNS);
    if ((mailbox_read(nic) & INTEL_MAILBOX_VIRTUAL_OWNS) == 0) {
        return; /* the physical function is writing */
    }
    intel_write(nic, INTEL_VIRTUAL_MESSAGE, INTEL_MESSAGE_RESET);
    intel_write(nic, INTEL_VIRTUAL_MAILBOX, INTEL_MAILBOX_SEND);
    nic->asked_ns = now_ns;
}

static bool take_answer(struct intel_nic *nic)
{
    uint32_t answer = intel_read(nic, INTEL_VIRTUAL_MESSAGE);
    uint32_t low = intel_read(nic, INTEL_VIRTUAL_MESSAGE + 4u);
    uint32_t high = intel_read(nic, INTEL_VIRTUAL_MESSAGE + 8u);

    intel_write(nic, INTEL_VIRTUAL_MAILBOX, INTEL_MAILBOX_ACK);
    if (answer != (INTEL_MESSAGE_RESET | INTEL_MESSAGE_GOOD) || (low & 1u) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < 4; i++) {
        nic->netdev.mac[i] = (uint8_t)(low >> (8u * i));
    }
    nic->netdev.mac[4] = (uint8_t)high;
    nic->netdev.mac[5] = (uint8_t)(high >> 8);
    return true;
}

bool intel_virtual_address(struct intel_nic *nic, time_ns_t now_ns)
{
    bool answered = (mailbox_read(nic) & INTEL_MAILBOX_SENT) != 0;

    if (nic->asked_ns != 0 && answered && take_answer(nic)) {
        return true;
    }
    if (nic->asked_ns == 0 || now_ns - nic->asked_ns >= ASK_AGAIN_NS) {
        ask(nic, now_ns);
    }
    return false;
}

bool intel_virtual_was_reset(const struct intel_nic *nic)
{
    return (mailbox_read(nic) & INTEL_MAILBOX_RESETTING) != 0;
}
