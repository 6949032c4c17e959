// SPDX-License-Identifier: MIT OR Apache-2.0
/* Addresses as people write them: what is read, written and read again is the same. */
#include "lib/net/stack.h"
#include "tests/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text = (char *)fuzz_copy(data, bytes, 1);
    struct ipv6_address address;
    struct ipv6_address again;
    char written[IPV6_TEXT_BYTES];
    uint32_t prefix_bits;

    if (ipv6_parse(text, &address, NULL) == STATUS_OK) {
        ipv6_format(&address, written);
        VERIFY(ipv6_parse(written, &again, NULL) == STATUS_OK);
        VERIFY(memcmp(&address, &again, sizeof(address)) == 0);
    }
    if (ipv6_parse(text, &address, &prefix_bits) == STATUS_OK) {
        VERIFY(prefix_bits >= 1u && prefix_bits <= 128u);
    }
    free(text);
    return 0;
}
