// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Registers and descriptors of Intel's 82574L (e1000e) and 82576 (igb), as far as the driver uses
 * them. Sources: Intel 82574 GbE Controller Family Datasheet (chapters 7 and 10), Intel 82576EB
 * Gigabit Ethernet Controller Datasheet (chapters 7 and 8).
 */
#ifndef DRIVERS_NET_INTEL_INTEL_REGS_H
#define DRIVERS_NET_INTEL_INTEL_REGS_H

#include <hallows/types.h>

#define INTEL_PCI_VENDOR 0x8086u
#define INTEL_PCI_82574L 0x10d3u
#define INTEL_PCI_82576 0x10c9u
#define INTEL_PCI_82576_VIRTUAL 0x10cau

enum intel_register {
    INTEL_CTRL = 0x0000,
    INTEL_STATUS = 0x0008,
    INTEL_CTRL_EXT = 0x0018,
    INTEL_MDIC = 0x0020,
    INTEL_RCTL = 0x0100,
    INTEL_TCTL = 0x0400,
    INTEL_RXCSUM = 0x5000,
    INTEL_RFCTL = 0x5008,
    INTEL_MTA = 0x5200, /* 128 words */
    INTEL_82576_PSRTYPE = 0x5480,
    INTEL_RAL0 = 0x5400,
    INTEL_RAH0 = 0x5404,
    /* 82574L interrupts */
    INTEL_82574_ICR = 0x00c0,
    INTEL_82574_IMS = 0x00d0,
    INTEL_82574_IMC = 0x00d8,
    INTEL_82574_EIAC = 0x00dc,
    INTEL_82574_IVAR = 0x00e4,
    INTEL_82574_EITR0 = 0x00e8,
    /* 82576 interrupts */
    INTEL_82576_IMC = 0x150c,
    INTEL_82576_GPIE = 0x1514,
    INTEL_82576_EIMS = 0x1524,
    INTEL_82576_EIMC = 0x1528,
    INTEL_82576_EIAC = 0x152c,
    INTEL_82576_EICR = 0x1580,
    INTEL_82576_EITR0 = 0x1680,
    INTEL_82576_IVAR0 = 0x1700, /* queue q below 8: word q, receive in byte 0, transmit in 1 */
    INTEL_82576_IVAR_MISC = 0x1740,
    /* 82576, virtual functions: seen by the physical one (chapter 7.10, 8.14) */
    INTEL_82576_ICR = 0x1500,
    INTEL_82576_IMS = 0x1508,
    INTEL_82576_DROP_ENABLE = 0x2408,
    INTEL_82576_SWITCH = 0x3500, /* DTXSWC */
    INTEL_82576_MRQC = 0x5818,
    INTEL_82576_VT_CTL = 0x581c,
    INTEL_82576_RETA = 0x5c00,          /* 32 words, a byte for each of 128 hash values */
    INTEL_82576_RSSRK = 0x5c80,         /* 10 words, the key's bytes in order */
    INTEL_82576_POOL = 0x5ad0,          /* VMOLR, a word for each pool */
    INTEL_82576_MAILBOX = 0x0c00,       /* P2VMAILBOX, likewise */
    INTEL_82576_MAILBOX_CAUSE = 0x0c80, /* MBVFICR */
    INTEL_82576_RESET_CAUSE = 0x0c88,   /* VFLRE */
    INTEL_82576_POOL_RX = 0x0c8c,       /* VFRE */
    INTEL_82576_POOL_TX = 0x0c90,       /* VFTE */
    INTEL_82576_MESSAGE = 0x0800,       /* VMBMEM, 64 bytes for each */
    /* seen by a virtual one, whose other registers lie where the 82574's do (8.28) */
    INTEL_VIRTUAL_MAILBOX = 0x0c40,
    INTEL_VIRTUAL_MESSAGE = 0x0800,
    /* Offsets in a queue's block, whose base differs by chip and direction. */
    INTEL_QUEUE_BASE_LOW = 0x00,
    INTEL_QUEUE_BASE_HIGH = 0x04,
    INTEL_QUEUE_BYTES = 0x08,
    INTEL_QUEUE_SPLIT = 0x0c, /* 82576 receive: SRRCTL */
    INTEL_QUEUE_HEAD = 0x10,
    INTEL_QUEUE_TAIL = 0x18,
    INTEL_QUEUE_CONTROL = 0x28, /* RXDCTL, TXDCTL */
    INTEL_82574_RX = 0x2800,
    INTEL_82574_TX = 0x3800,
    INTEL_82576_RX = 0xc000,
    INTEL_82576_TX = 0xe000,
};
#define INTEL_82576_QUEUE_STEP 0x40u /* from one queue's block to the next one's */
#define INTEL_REGISTER_BYTES 0x20000u
#define INTEL_VIRTUAL_REGISTER_BYTES 0x4000u
#define INTEL_MTA_WORDS 128u
#define INTEL_POOLS 8u

#define INTEL_CTRL_SLU (1u << 6)  /* set link up */
#define INTEL_CTRL_RST (1u << 26) /* clears itself */
#define INTEL_STATUS_LU (1u << 1) /* link up */
#define INTEL_CTRL_EXT_PBA_CLEAR (1u << 31)
#define INTEL_CTRL_EXT_DRIVER_LOADED (1u << 28)

#define INTEL_MDIC_REGISTER_SHIFT 16u
#define INTEL_MDIC_PHY_1 (1u << 21)
#define INTEL_MDIC_WRITE (1u << 26)
#define INTEL_MDIC_READY (1u << 28)
#define INTEL_MDIC_ERROR (1u << 30)
/* PHY register 0 (IEEE 802.3, 22.2.4.1). */
#define PHY_CONTROL 0u
#define PHY_CONTROL_RESTART_NEGOTIATION (1u << 9)
#define PHY_CONTROL_NEGOTIATE (1u << 12)

#define INTEL_RCTL_EN (1u << 1)
#define INTEL_RCTL_MULTICAST (1u << 4) /* all of them: the stack knows its groups */
#define INTEL_RCTL_BROADCAST (1u << 15)
#define INTEL_RCTL_STRIP_CRC (1u << 26) /* buffers of 2048 bytes: bits 16, 17 and 25 zero */
#define INTEL_TCTL_EN (1u << 1)
#define INTEL_TCTL_PAD (1u << 3)
#define INTEL_TCTL_COLLISIONS (0x0fu << 4)
#define INTEL_TCTL_DISTANCE (0x3fu << 12)
#define INTEL_RXCSUM_SUMS ((1u << 8) | (1u << 9)) /* IPv4's; TCP's and UDP's */
#define INTEL_RFCTL_EXTENDED (1u << 15)
#define INTEL_RAH_VALID (1u << 31) /* the address has been read from the NVM */
#define INTEL_QUEUE_ENABLE (1u << 25)
#define INTEL_82576_SRRCTL_2048 2u
#define INTEL_82576_SRRCTL_ADVANCED (1u << 25)
#define INTEL_82576_SRRCTL_DROP (1u << 31)
/* Header split (82576 7.1.10): two addresses in each descriptor, headers of up to so many bytes (in
 * units of 64 from bit 8) into the second's. */
#define INTEL_82576_SRRCTL_SPLIT (2u << 25)
#define INTEL_HEADER_BYTES 256u
#define INTEL_82576_SRRCTL_HEADER (INTEL_HEADER_BYTES / 64u << 8)
#define INTEL_82576_PSRTYPE_TCP ((1u << 2) | (1u << 8)) /* over IPv4, over IPv6 */

#define INTEL_82574_CAUSE_RXQ0 (1u << 20)
#define INTEL_82574_CAUSE_TXQ0 (1u << 22)
/* Vector 0 for receive queue 0 and transmit queue 0, valid bits 3 and 11. */
#define INTEL_82574_IVAR_VECTOR_0 ((1u << 3) | (1u << 11))
#define INTEL_82576_GPIE_MSIX ((1u << 4) | (1u << 31)) /* multiple MSI-X, PBA support */
#define INTEL_82576_IVAR_VALID 0x80u

/* Receive-side scaling (82576 7.1.2.10, 8.10.13 to 8.10.16). TCP and UDP by addresses and ports,
 * what else there is goes to queue 0: no field for addresses alone is set. */
#define INTEL_82576_MRQC_RSS 2u
#define INTEL_82576_MRQC_FIELDS                                                                    \
    ((1u << 16) | (1u << 18) | (1u << 21) | (1u << 22) | (1u << 23)) /* TCP 4, 6EX, 6; UDP 4, 6 */
#define INTEL_82576_RXCSUM_NO_SUM (1u << 13) /* PCSD: the hash stands where the sum would */
#define INTEL_82576_RETA_WORDS 32u

/* Physical function. */
#define INTEL_CTRL_EXT_RESET_DONE (1u << 14) /* PFRSTD */
#define INTEL_82576_CAUSE_MAILBOX (1u << 8)
#define INTEL_82576_MRQC_POOLS 3u /* by destination address, no RSS */
#define INTEL_82576_VT_NO_DEFAULT (1u << 29)
#define INTEL_82576_VT_REPLICATE (1u << 30)
#define INTEL_82576_POOL_UNTAGGED (1u << 24)
#define INTEL_82576_POOL_HASHED (1u << 25) /* group addresses of the table */
#define INTEL_82576_POOL_BROADCAST (1u << 27)
#define INTEL_82576_POOL_STRIP_CRC (1u << 31)
#define INTEL_82576_SWITCH_LOOPBACK (1u << 31)
#define INTEL_82576_SWITCH_CHECK_MAC 0xffu /* of every pool: no other sender's address */
#define INTEL_82576_RAH_POOL_SHIFT 18u
#define INTEL_82576_MAILBOX_REQUESTS 0xffu
#define INTEL_MAILBOX_SEND (1u << 0)
#define INTEL_MAILBOX_ACK (1u << 1)
#define INTEL_MAILBOX_VIRTUAL_OWNS (1u << 2)
#define INTEL_MAILBOX_PHYSICAL_OWNS (1u << 3)
#define INTEL_MAILBOX_REVOKE (1u << 4)    /* physical's: takes the virtual one's hold away */
#define INTEL_MAILBOX_SENT (1u << 4)      /* virtual's: the physical one has written a message */
#define INTEL_MAILBOX_RESETTING (3u << 6) /* virtual's: the physical one resets, or has */
/* Messages, as Intel's own drivers have them: the reset of a virtual function is answered with its
 * station address in the next two words. */
#define INTEL_MESSAGE_RESET 1u
#define INTEL_MESSAGE_GOOD (1u << 31)
#define INTEL_MESSAGE_REFUSED (1u << 30)

/* Receive: read format {buffer address, 0}; in the second word the chip writes status (bits 0 to
 * 31), length (32 to 47) and VLAN tag, in the 82574's extended and the 82576's advanced one-buffer
 * format alike. */
struct intel_rx_descriptor {
    uint64_t address;
    uint64_t written; /* [dma] */
};
#define INTEL_RX_DONE (1u << 0)
#define INTEL_RX_END_OF_PACKET (1u << 1)
#define INTEL_82574_RX_ERRORS ((1u << 24) | (1u << 25) | (1u << 26) | (1u << 28) | (1u << 31))
#define INTEL_82576_RX_ERRORS (1u << 31)
/* In the written-back address' lower word: the headers' length, and that they were set apart,
 * unless the status says that they were too long. */
#define INTEL_82576_RX_HEADER_SHIFT 21u
#define INTEL_82576_RX_HEADER_MASK 0x3ffu
#define INTEL_82576_RX_SPLIT (1u << 31)
#define INTEL_82576_RX_HEADER_TOO_LONG (1u << 23)
/* The chip has looked at TCP's or UDP's checksum, and found it or IPv4's wrong. */
#define INTEL_RX_SUMMED ((1u << 4) | (1u << 5))
#define INTEL_RX_SUM_WRONG ((1u << 29) | (1u << 30))

/* Transmit: the 82574's legacy and the 82576's advanced data descriptor. */
struct intel_tx_descriptor {
    uint64_t address;
    uint32_t command; /* bits 0..15 length */
    uint32_t status;  /* [dma] bit 0: done */
};
#define INTEL_TX_END_OF_PACKET (1u << 24)
#define INTEL_TX_INSERT_CRC (1u << 25)
#define INTEL_TX_REPORT (1u << 27)
#define INTEL_82576_TX_ADVANCED ((1u << 29) | (3u << 20))
#define INTEL_82576_TX_CUT (1u << 31)     /* command: TSE */
#define INTEL_82576_TX_SUM_IPV4 (1u << 8) /* status */
#define INTEL_82576_TX_SUM_TCP (1u << 9)  /* status */
/* Context descriptor (82576 7.2.2.2): header lengths in the address' lower word, then command and
 * status. */
#define INTEL_82576_CONTEXT_ETHERNET_SHIFT 9u
#define INTEL_82576_CONTEXT_TCP_IPV4 ((1u << 29) | (2u << 20) | (1u << 11) | (1u << 10))
#define INTEL_82576_CONTEXT_TCP_SHIFT 8u
#define INTEL_82576_CONTEXT_SEGMENT_SHIFT 16u
#define INTEL_82576_TX_PAYLOAD_SHIFT 14u
#define INTEL_TX_DONE (1u << 0)

_Static_assert(sizeof(struct intel_rx_descriptor) == 16, "82574 7.1, 82576 7.1");
_Static_assert(sizeof(struct intel_tx_descriptor) == 16, "82574 7.2, 82576 7.2");

#endif
