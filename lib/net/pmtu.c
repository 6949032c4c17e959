// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Path MTUs that routers reported (RFC 1191, RFC 8201), for a few destinations. Only reports that
 * quote data of ours that is on its way get here (RFC 5927, 7).
 */
#include "lib/net/internal.h"

#define PMTU_LIFE_NS (600u * NS_PER_S) /* RFC 1191, 6.3 */
#define IPV4_PMTU_MIN 552u             /* less is an attack or a mistake; as Linux has it */

static uint32_t link_mtu(const struct net_stack *stack, ipv4_t address)
{
    return is_ipv6_tag(address) ? stack->v6.mtu_bytes : stack->dev->mtu_bytes;
}

uint32_t pmtu_of(const struct net_stack *stack, ipv4_t address)
{
    uint32_t mtu = link_mtu(stack, address);

    for (uint32_t i = 0; i < PMTU_ENTRIES; i++) {
        const struct pmtu_entry *entry = &stack->pmtu[i];
        if (entry->address == address && stack->now < entry->until && entry->mtu_bytes < mtu) {
            mtu = entry->mtu_bytes;
        }
    }
    return mtu;
}

uint32_t pmtu_learn(struct net_stack *stack, ipv4_t address, uint32_t mtu)
{
    struct pmtu_entry *entry = &stack->pmtu[0];
    uint32_t least = is_ipv6_tag(address) ? IPV6_MTU_MIN : IPV4_PMTU_MIN;

    mtu = mtu > least ? mtu : least;
    if (mtu >= pmtu_of(stack, address)) {
        return pmtu_of(stack, address);
    }
    for (uint32_t i = 0; i < PMTU_ENTRIES; i++) {
        struct pmtu_entry *other = &stack->pmtu[i];
        if (other->address == address) {
            entry = other;
            break;
        }
        entry = other->until < entry->until ? other : entry;
    }
    *entry = (struct pmtu_entry){address, (uint16_t)mtu, stack->now + PMTU_LIFE_NS};
    stack->counters.path_mtu_reduced++;
    return mtu;
}

uint32_t pmtu_plateau(uint32_t packet_bytes)
{
    static const uint16_t plateaus[] = {1492, 1006, 576}; /* RFC 1191, 7 */

    for (uint32_t i = 0; i < sizeof plateaus / sizeof plateaus[0]; i++) {
        if (plateaus[i] < packet_bytes) {
            return plateaus[i];
        }
    }
    return IPV4_PMTU_MIN;
}
