// SPDX-License-Identifier: MIT OR Apache-2.0
/* The answer to a DNS question, from a server that writes anything behind the question. */
#include "lib/base/endian.h"
#include "lib/net/dns.h"
#include "tests/fuzz.h"

#define HEADER_BYTES 12u

/* A header and the question, if the fuzzer's first byte is odd. */
static size_t begin_message(uint8_t *to, const struct dns_question *question, uint8_t choice)
{
    if ((choice & 1u) == 0) {
        return 0;
    }
    memset(to, 0, HEADER_BYTES);
    store_be16(to, question->id);
    store_be16(to + 2, 0x8180u | (choice >> 5)); /* a response, recursion, an error */
    store_be16(to + 4, 1);
    store_be16(to + 6, choice >> 1 & 15u);
    memcpy(to + HEADER_BYTES, question->name, question->name_bytes);
    store_be16(to + HEADER_BYTES + question->name_bytes, question->type);
    store_be16(to + HEADER_BYTES + question->name_bytes + 2u, 1);
    return HEADER_BYTES + question->name_bytes + 4u;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    uint8_t name[DNS_NAME_BYTES];
    struct dns_question question = {
        .name = name, .name_bytes = dns_encode_name("www.example.org", name), .id = 0x1234};
    struct dns_answer answer = {0};

    if (bytes < 1u) {
        return -1;
    }
    VERIFY(question.name_bytes == 17u);
    for (uint32_t n = 0; n < 2; n++) {
        question.type = n == 0 ? DNS_A : DNS_AAAA;
        uint8_t *message = malloc(HEADER_BYTES + DNS_NAME_BYTES + 4u + bytes);
        VERIFY(message != NULL);
        size_t length = begin_message(message, &question, data[0]);
        memcpy(message + length, data + 1, bytes - 1u);
        uint8_t *exact = fuzz_copy(message, length + bytes - 1u, 0);
        free(message);
        if (dns_decode(exact, (uint32_t)(length + bytes - 1u), &question, &answer)) {
            VERIFY(answer.count <= DNS_ADDRESSES_MAX);
            VERIFY(answer.status != STATUS_OK || answer.count != 0);
        }
        free(exact);
    }
    return 0;
}
