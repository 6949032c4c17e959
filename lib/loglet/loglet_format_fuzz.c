// SPDX-License-Identifier: MIT OR Apache-2.0
/* Superblocks and frame headers of a drive that holds anything, with their checksums repaired: what
 * is believed lies in its ranges and is written again as it was. */
#include "lib/base/crc32c.h"
#include "lib/base/endian.h"
#include "lib/loglet/loglet_format.h"
#include "tests/fuzz.h"

static void fuzz_super(const uint8_t *data, size_t bytes)
{
    static struct super super;
    static struct super again;
    static uint8_t block[SUPER_BYTES];

    memset(block, 0, sizeof(block));
    memcpy(block, data, bytes < SUPER_BYTES - 4u ? bytes : SUPER_BYTES - 4u);
    store_le32(block + SUPER_BYTES - 4u, crc32c(0, block, SUPER_BYTES - 4u));
    if (super_decode(block, &super) == SUPER_VALID) {
        uint64_t end = super.data_block + super.extent_count * super.extent_distance;
        VERIFY(end > super.data_block && end <= super.device_blocks);
        super_encode(&super, block);
        VERIFY(super_decode(block, &again) == SUPER_VALID);
        VERIFY(memcmp(&super, &again, sizeof(super)) == 0);
    }
}

static void fuzz_frame(const uint8_t *data, size_t bytes)
{
    struct frame_header header = {0};
    struct frame_header again = {0};
    uint8_t block[FRAME_HEADER_BYTES] = {0};

    memcpy(block, data, bytes < FRAME_HEADER_BYTES - 4u ? bytes : FRAME_HEADER_BYTES - 4u);
    store_le32(block + FRAME_HEADER_BYTES - 4u, crc32c(0, block, FRAME_HEADER_BYTES - 4u));
    if (frame_decode(block, &header)) {
        VERIFY((uint64_t)FRAME_HEADER_BYTES + header.body_bytes + header.page_bytes <=
               FRAME_BYTES_MAX);
        frame_encode(&header, block);
        VERIFY(frame_decode(block, &again));
        VERIFY(memcmp(&header, &again, sizeof(header)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    fuzz_super(data, bytes);
    fuzz_frame(data, bytes);
    (void)format_recognise(data, bytes);
    return 0;
}
