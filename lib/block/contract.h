// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Contracts as a cell's configuration tells them (tools/image.py writes it from [contract.NAME] of
 * the manifest and from what system.toml declares of the drive), and their admission in words.
 *
 *   contracts=a b                 names, in order
 *   contract.a.iops=N             requests a second, 0 if not there
 *   contract.a.mb_s=N             10^6 bytes a second
 *   contract.a.class=latency      or normal
 *   contract.a.capacity=N         bytes; 0 or not there: what is left of the drive
 *   contract.a.whole=true         sees all blocks of the drive, with others (capacity is not looked
 * at) drive.units, drive.read_ns, drive.write_ns, drive.read_byte_ps, drive.write_byte_ps   as in
 * share.h
 */
#ifndef LIB_BLOCK_CONTRACT_H
#define LIB_BLOCK_CONTRACT_H

#include "lib/block/share.h"

#define CONTRACT_NAME_BYTES 24u
#define CONTRACT_LINE_BYTES 200u

struct contract {
    char name[CONTRACT_NAME_BYTES];
    struct share_contract share;
};

/* How many contracts there are. */
uint32_t contract_count(const char *config, size_t bytes);
/* Contract `index`; its blocks for `drive`, of which `left` blocks are not given away, rounded up
 * to whole zones. NOT_FOUND: there is no such; INVALID_ARGUMENT: a value that is none. */
status_t contract_read(const char *config, size_t bytes, uint32_t index,
                       const struct block_device *drive, uint64_t left,
                       struct contract *contract) HALLOWS_MUST_CHECK;
/* What is declared of the drive; `block` is left alone. NOT_FOUND: nothing, so it has to be
 * measured; INVALID_ARGUMENT: part of it, or no numbers. */
status_t contract_drive(const char *config, size_t bytes,
                        struct share_drive *drive) HALLOWS_MUST_CHECK;
/* Why share_admit refused `contract`, and what would help, as a NUL-terminated line. */
void contract_explain(const struct share *share, const struct contract *contract, status_t refused,
                      char line[CONTRACT_LINE_BYTES]);

/* ---- Measuring a drive -------------------------------------------------------------------------
 * Reads, and writes where nothing is kept: to find read_ns and the rest of struct share_drive. Half
 * of it with one request under way, to see how many the drive works on at a time. */

#define MEASURE_DEPTH 16u
#define MEASURE_BYTES (64u << 10) /* of each large request; also of each of the buffers */

struct measure {
    struct block_device *block;
    uint8_t *buffers;       /* MEASURE_DEPTH times MEASURE_BYTES of the drive's data memory */
    uint64_t scratch_block; /* writes go here: on a zoned drive a zone's first, which is reset */
    uint64_t scratch_blocks;
    uint32_t phase, begun, done;
    bool waits; /* for the zone's reset */
    time_ns_t started_ns;
    uint64_t span_ns[8];
    status_t status;
    struct share_drive result; /* once measure_poll returned OK */
};

/* scratch_blocks 0: nothing is written, and writes are taken to cost what reads cost.
 * INVALID_ARGUMENT: scratch_blocks hold less than MEASURE_BYTES, or are no zone. */
status_t measure_start(struct measure *measure, struct block_device *block, void *buffers,
                       uint64_t scratch_block, uint64_t scratch_blocks,
                       time_ns_t now_ns) HALLOWS_MUST_CHECK;
/* AGAIN until it is done; call it again and again. An error of the drive ends it. */
status_t measure_poll(struct measure *measure, time_ns_t now_ns);

#endif
