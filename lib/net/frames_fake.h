// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Whole sequences of frames from bytes that a fuzzer chose, against one stack with an application,
 * in virtual time. Host tests only.
 *
 * Input: records of one length byte, one action byte, and up to 255 bytes of frame behind a valid
 * Ethernet header. The action's low bits say which protocol's checksums are repaired and whether
 * addresses are filled in, so that the fuzzer needs to guess none of them; its high bits let time
 * pass or the application act.
 */
#ifndef LIB_NET_FRAMES_FAKE_H
#define LIB_NET_FRAMES_FAKE_H

#include <stddef.h>
#include <stdint.h>

struct frames_result {
    uint64_t frames;       /* given to the stack */
    uint64_t accepted;     /* connections */
    uint64_t worst_frames; /* most frames sent for one that no connection had vouched for */
    uint64_t worst_bytes;  /* most bytes sent for one such beyond its own length */
};

/* Runs one input and checks that every buffer comes back; aborts when something is wrong. */
void frames_run(const uint8_t *data, size_t bytes, struct frames_result *result);

#endif
