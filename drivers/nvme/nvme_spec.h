// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Registers, commands and data structures of the controller, as far as the driver and its fake use
 * them. "Base" is the NVM Express Base Specification 1.4c, "ZNS" the Zoned Namespace Command Set
 * Specification 1.1.
 */
#ifndef DRIVERS_NVME_SPEC_H
#define DRIVERS_NVME_SPEC_H

/* Controller registers (Base 3.1). */
#define NVME_REG_CAP 0x00u    /* 64 bits */
#define NVME_REG_VS 0x08u     /* version */
#define NVME_REG_CC 0x14u     /* configuration */
#define NVME_REG_CSTS 0x1cu   /* status */
#define NVME_REG_AQA 0x24u    /* admin queue sizes */
#define NVME_REG_ASQ 0x28u    /* 64 bits */
#define NVME_REG_ACQ 0x30u    /* 64 bits */
#define NVME_REG_CMBLOC 0x38u /* controller memory buffer: where */
#define NVME_REG_CMBSZ 0x3cu  /* and how large, for what */
#define NVME_REG_CMBMSC 0x50u /* 64 bits: its memory space control */
#define NVME_REG_DOORBELLS 0x1000u

/* CAP fields (Base 3.1.1). */
#define NVME_CAP_MQES(cap) ((uint32_t)((cap)&0xffffu))     /* entries - 1 */
#define NVME_CAP_TO(cap) ((uint32_t)((cap) >> 24 & 0xffu)) /* units of 500 ms */
#define NVME_CAP_DSTRD(cap) ((uint32_t)((cap) >> 32 & 0xfu))
#define NVME_CAP_CSS_NVM (1ull << 37)
#define NVME_CAP_CSS_IO_SETS (1ull << 43) /* one or more I/O command sets, CC.CSS = 110b */
#define NVME_CAP_MPSMIN(cap) ((uint32_t)((cap) >> 48 & 0xfu))

/* Controller memory buffer (Base 3.1.11, 3.1.12, 3.1.17). */
#define NVME_CAP_CMBS (1ull << 57)
#define NVME_CMBLOC_BAR(location) ((location)&7u)
#define NVME_CMBLOC_OFFSET(location) ((location) >> 12)
#define NVME_CMBSZ_QUEUES 1u      /* submission queues may lie there */
#define NVME_CMBSZ_DATA (3u << 3) /* data that the controller reads, and that it writes */
#define NVME_CMBSZ_UNIT_SHIFT(size) (12u + 4u * ((size) >> 8 & 0xfu))
#define NVME_CMBSZ_COUNT(size) ((size) >> 12)
#define NVME_CMBMSC_ENABLE 3u /* registers and memory space; the base address above them */

/* CC and CSTS (Base 3.1.5, 3.1.6). */
#define NVME_CC_EN 1u
#define NVME_CC_CSS_IO_SETS (6u << 4)
#define NVME_CC_SHN_NORMAL (1u << 14)
#define NVME_CC_ENTRY_SIZES (6u << 16 | 4u << 20) /* 64-byte and 16-byte entries */
#define NVME_CSTS_RDY 1u
#define NVME_CSTS_CFS 2u
#define NVME_CSTS_SHST(csts) ((csts) >> 2 & 3u)
#define NVME_SHST_COMPLETE 2u
#define NVME_REGISTER_GONE 0xffffffffu /* what a removed device reads as */

#define NVME_SQE_BYTES 64u
#define NVME_CQE_BYTES 16u

/* Admin commands (Base 5). */
enum nvme_admin_opcode {
    NVME_ADMIN_DELETE_SQ = 0x00,
    NVME_ADMIN_GET_LOG = 0x02,
    NVME_ADMIN_CREATE_SQ = 0x01,
    NVME_ADMIN_DELETE_CQ = 0x04,
    NVME_ADMIN_CREATE_CQ = 0x05,
    NVME_ADMIN_IDENTIFY = 0x06,
    NVME_ADMIN_ABORT = 0x08,
    NVME_ADMIN_SET_FEATURES = 0x09,
    NVME_ADMIN_VIRTUALIZATION = 0x1c,  /* Base 5.22 */
    NVME_ADMIN_SHADOW_DOORBELLS = 0x7c /* Doorbell Buffer Config (Base 5.7) */
};
#define NVME_OACS_SHADOW_DOORBELLS (1u << 8) /* Identify Controller, bytes 257:256 */
#define NVME_LOG_ERRORS 0x01u                /* Base 5.14.1.1 */
#define NVME_LOG_ERROR_BYTES 64u             /* an entry */
#define NVME_LOG_HEALTH 0x02u                /* Base 5.14.1.2 */
#define NVME_LOG_HEALTH_BYTES 512u
#define NVME_ALL_NAMESPACES 0xffffffffu
#define NVME_CTRATT_PLACEMENT                                                                      \
    (1u << 19)                       /* Identify Controller, bytes 99:96; Base 2.0c, TP 4146       \
                                      */
#define NVME_NSFEAT_ATOMIC (1u << 1) /* Identify Namespace, byte 24: it has limits of its own */
#define NVME_FEATURE_QUEUES 0x07u    /* Base 5.21.1.7 */

/* CNS values of Identify (Base 5.15.1). */
enum nvme_cns {
    NVME_CNS_NAMESPACE = 0x00,
    NVME_CNS_CONTROLLER = 0x01,
    NVME_CNS_ACTIVE_NAMESPACES = 0x02,
    NVME_CNS_DESCRIPTORS = 0x03,
    NVME_CNS_SET_NAMESPACE = 0x05, /* of the command set in CDW11 */
    NVME_CNS_SET_CONTROLLER = 0x06,
    NVME_CNS_SECONDARIES = 0x15 /* Secondary Controller List, from the identifier in CDW10 on */
};

/* Virtualization Management, CDW10: action, resource << 8, controller << 16; CDW11: how many. */
enum nvme_virtual_action {
    NVME_VIRTUAL_OFFLINE = 7,
    NVME_VIRTUAL_ASSIGN = 8,
    NVME_VIRTUAL_ONLINE = 9
};
#define NVME_VIRTUAL_QUEUES (0u << 8)
#define NVME_VIRTUAL_INTERRUPTS (1u << 8)
#define NVME_SECONDARY_BYTES                                                                       \
    32u /* an entry of the list; the number of entries lies before them                            \
         */
#define NVME_SECONDARIES_MAX 127u
#define NVME_OACS_VIRTUALIZATION (1u << 7)

/* Scatter gather lists (Base 4.4). */
#define NVME_SGL_BYTES 16u
#define NVME_SGL_DATA_BLOCK 0x00u   /* type in the descriptor's last byte */
#define NVME_SGL_LAST_SEGMENT 0x30u /* the descriptors lie elsewhere */
#define NVME_PSDT_SGL (1u << 14)    /* CDW0 */
#define NVME_SGLS_SUPPORT 3u        /* Identify Controller, bytes 539:536: 1 any, 2 dwords only */

/* I/O commands (Base 6, ZNS 4). */
enum nvme_io_opcode {
    NVME_IO_FLUSH = 0x00,
    NVME_IO_WRITE = 0x01,
    NVME_IO_READ = 0x02,
    NVME_IO_COMPARE = 0x05,
    NVME_IO_WRITE_ZEROES = 0x08,
    NVME_IO_DATASET = 0x09,
    NVME_IO_MANAGEMENT_RECEIVE = 0x12, /* TP 4146 */
    NVME_IO_COPY = 0x19,
    NVME_IO_ZONE_SEND = 0x79,
    NVME_IO_ZONE_RECEIVE = 0x7a,
    NVME_IO_ZONE_APPEND = 0x7d
};
#define NVME_PHASE_SHIFT 16u                /* completion, DW3 */
#define NVME_FUA (1u << 30)                 /* CDW12 */
#define NVME_DATASET_DEALLOCATE (1u << 2)   /* CDW11 */
#define NVME_ZONE_REPORT_PARTIAL (1u << 16) /* CDW13 */
#define NVME_DIRECTIVE_MASK (0xfu << 20)
#define NVME_DIRECTIVE_PLACEMENT                                                                   \
    (2u << 20)                    /* CDW12; the identifier is in CDW13, 31:16 (TP 4146)            \
                                   */
#define NVME_COPY_RANGE_BYTES 32u /* Copy, descriptor format 0 (TP 4065) */

/* I/O Management Receive: status of the namespace's reclaim unit handles (TP 4146). */
#define NVME_PLACEMENT_STATUS 1u
#define NVME_PLACEMENT_HEADER_BYTES 16u
#define NVME_PLACEMENT_BYTES 32u

/* Zone send actions (ZNS 4.3). */
enum nvme_zone_action {
    NVME_ZONE_CLOSE = 1,
    NVME_ZONE_FINISH = 2,
    NVME_ZONE_OPEN = 3,
    NVME_ZONE_RESET = 4
};

/* Zone states in a zone descriptor (ZNS 2.3.2). */
enum nvme_zone_state {
    NVME_ZS_EMPTY = 1,
    NVME_ZS_IMPLICITLY_OPEN = 2,
    NVME_ZS_EXPLICITLY_OPEN = 3,
    NVME_ZS_CLOSED = 4,
    NVME_ZS_READ_ONLY = 13,
    NVME_ZS_FULL = 14,
    NVME_ZS_OFFLINE = 15
};
#define NVME_ZONE_REPORT_HEADER_BYTES 64u
#define NVME_ZONE_DESCRIPTOR_BYTES 64u

/* Command set identifiers (TP 4056; ZNS 3.1), and where Identify CNS 03h tells them. */
#define NVME_CSI_NVM 0u
#define NVME_CSI_ZNS 2u
#define NVME_DESCRIPTOR_CSI 4u

/* Status field without the phase bit: SCT << 8 | SC (Base 4.6.1). */
enum nvme_status {
    NVME_SC_SUCCESS = 0x000,
    NVME_SC_INVALID_OPCODE = 0x001,
    NVME_SC_INVALID_FIELD = 0x002,
    NVME_SC_INTERNAL = 0x006,
    NVME_SC_ABORTED = 0x007,
    NVME_SC_ABORTED_SQ_DELETED = 0x008,
    NVME_SC_INVALID_NAMESPACE = 0x00b,
    NVME_SC_PLACEMENT_DISABLED = 0x029,
    NVME_SC_LBA_RANGE = 0x080,
    NVME_SC_CAPACITY = 0x081,
    NVME_SC_COPY_LIMIT = 0x183,
    NVME_SC_ZONE_BOUNDARY = 0x1b8,
    NVME_SC_ZONE_FULL = 0x1b9,
    NVME_SC_ZONE_READ_ONLY = 0x1ba,
    NVME_SC_ZONE_OFFLINE = 0x1bb,
    NVME_SC_ZONE_INVALID_WRITE = 0x1bc,
    NVME_SC_TOO_MANY_ACTIVE = 0x1bd,
    NVME_SC_TOO_MANY_OPEN = 0x1be,
    NVME_SC_ZONE_TRANSITION = 0x1bf,
    NVME_SC_WRITE_FAULT = 0x280,
    NVME_SC_UNRECOVERED_READ = 0x281,
    NVME_SC_COMPARE_FAILURE = 0x285
};
#define NVME_STATUS_MASK 0x7ffu /* of the status field shifted right by one */

/* MSI-X table entry (PCI Local Bus 3.0, 6.8.2.9). */
#define NVME_MSIX_ADDRESS_LOW 0u
#define NVME_MSIX_ADDRESS_HIGH 4u
#define NVME_MSIX_DATA 8u
#define NVME_MSIX_CONTROL 12u
#define NVME_MSIX_MASKED 1u

#endif
