// SPDX-License-Identifier: MIT OR Apache-2.0
/* DNS messages (RFC 1035, 4): names with compression, questions, answers with aliases. */
#include "lib/net/internal.h"

#define HEADER_BYTES 12u
#define LABEL_BYTES_MAX 63u
#define JUMPS_MAX 16u   /* compression pointers in one name */
#define RECORDS_MAX 64u /* looked at in one answer */
#define TYPE_CNAME 5u
#define CLASS_IN 1u
#define FLAG_RESPONSE 0x8000u
#define FLAG_TRUNCATED 0x0200u
#define OPCODE_MASK 0x7800u
#define RCODE_NAME_ERROR 3u

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32u) : c;
}

static bool is_host_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

uint32_t dns_encode_name(const char *text, uint8_t name[DNS_NAME_BYTES])
{
    uint32_t used = 0;

    while (*text != '\0') {
        uint32_t length = 0;
        while (is_host_character(text[length])) {
            length++;
        }
        if (length == 0 || length > LABEL_BYTES_MAX || used + 1u + length >= DNS_NAME_BYTES ||
            (text[length] != '.' && text[length] != '\0')) {
            return 0;
        }
        name[used++] = (uint8_t)length;
        memcpy(name + used, text, length);
        used += length;
        text += length + (text[length] == '.');
    }
    if (used == 0) {
        return 0;
    }
    name[used++] = 0;
    return used;
}

/* Reads the name at *at into `name`, in lower case; *at is behind it then. 0: malformed. */
static uint32_t take_name(const uint8_t *message, uint32_t length, uint32_t *at,
                          uint8_t name[DNS_NAME_BYTES])
{
    uint32_t from = *at;
    uint32_t used = 0;
    bool jumped = false;

    for (uint32_t jumps = 0; from < length;) {
        uint32_t label = message[from];
        if (label >= 0xc0u) {
            uint32_t to = length - from >= 2u ? load_be16(message + from) & 0x3fffu : from;
            if (!jumped) {
                *at = from + 2u;
            }
            if (to >= from || ++jumps > JUMPS_MAX) { /* only backwards, so that it ends */
                return 0;
            }
            jumped = true;
            from = to;
            continue;
        }
        if (label > LABEL_BYTES_MAX || label >= length - from ||
            used + 1u + label > DNS_NAME_BYTES) {
            return 0;
        }
        for (uint32_t i = 0; i <= label; i++) {
            name[used++] = i == 0 ? (uint8_t)label : lower(message[from + i]);
        }
        from += 1u + label;
        if (label == 0) {
            *at = jumped ? *at : from;
            return used;
        }
    }
    return 0;
}

static bool same_name(const uint8_t *a, uint32_t a_bytes, const uint8_t *b, uint32_t b_bytes)
{
    if (a_bytes != b_bytes) {
        return false;
    }
    for (uint32_t i = 0; i < a_bytes; i++) {
        if (lower(a[i]) != lower(b[i])) {
            return false;
        }
    }
    return true;
}

static void take_address(struct dns_answer *answer, const uint8_t *data)
{
    if (answer->count == DNS_ADDRESSES_MAX) {
        return;
    }
    if (answer->type == DNS_A) {
        answer->address[answer->count++] = load_be32(data);
    } else {
        memcpy(&answer->address6[answer->count++], data, 16);
    }
}

struct reader {
    const uint8_t *message;
    uint32_t length;
    uint32_t at;
    uint8_t wanted[DNS_NAME_BYTES]; /* the name, or what it is an alias for */
    uint32_t wanted_bytes;
};

/* One record of the answer. False: malformed. */
static bool take_record(struct reader *r, struct dns_answer *answer)
{
    uint8_t name[DNS_NAME_BYTES];
    uint32_t bytes = take_name(r->message, r->length, &r->at, name);

    if (bytes == 0 || r->at + 10u > r->length) {
        return false;
    }
    const uint8_t *fields = r->message + r->at;
    uint32_t size = load_be16(fields + 8);
    uint32_t ttl = load_be32(fields + 4);
    uint32_t data = r->at + 10u;
    if (size > r->length - data) {
        return false;
    }
    r->at = data + size;
    if (load_be16(fields + 2) != CLASS_IN || !same_name(name, bytes, r->wanted, r->wanted_bytes)) {
        return true;
    }
    uint32_t address_bytes = answer->type == DNS_A ? 4u : 16u;
    if (load_be16(fields) == (uint32_t)answer->type && size == address_bytes) {
        take_address(answer, r->message + data);
    } else if (load_be16(fields) == TYPE_CNAME) {
        bytes = take_name(r->message, r->length, &data, name);
        if (bytes == 0) {
            return false;
        }
        memcpy(r->wanted, name, bytes);
        r->wanted_bytes = bytes;
    } else {
        return true;
    }
    answer->ttl_s = ttl < answer->ttl_s ? ttl : answer->ttl_s;
    return true;
}

static status_t status_of(uint32_t flags)
{
    uint32_t code = flags & 15u;

    if ((flags & FLAG_TRUNCATED) != 0) {
        return STATUS_TOO_LARGE;
    }
    return code == 0 ? STATUS_OK : code == RCODE_NAME_ERROR ? STATUS_NOT_FOUND : STATUS_UNREACHABLE;
}

bool dns_decode(const uint8_t *message, uint32_t length, const struct dns_question *question,
                struct dns_answer *answer)
{
    struct reader r = {.message = message, .length = length, .at = HEADER_BYTES};

    if (length < HEADER_BYTES || load_be16(message) != question->id) {
        return false;
    }
    uint32_t flags = load_be16(message + 2);
    if ((flags & (FLAG_RESPONSE | OPCODE_MASK)) != FLAG_RESPONSE || load_be16(message + 4) != 1u) {
        return false;
    }
    r.wanted_bytes = take_name(message, length, &r.at, r.wanted);
    if (!same_name(r.wanted, r.wanted_bytes, question->name, question->name_bytes) ||
        r.at + 4u > length || load_be16(message + r.at) != question->type ||
        load_be16(message + r.at + 2u) != CLASS_IN) {
        return false;
    }
    r.at += 4u;
    *answer = (struct dns_answer){
        .status = status_of(flags), .type = (enum dns_type)question->type, .ttl_s = 0xffffffffu};
    uint32_t records = load_be16(message + 6);
    records = records < RECORDS_MAX ? records : RECORDS_MAX;
    for (uint32_t i = 0; i < records && answer->status == STATUS_OK; i++) {
        if (!take_record(&r, answer)) {
            return false;
        }
    }
    if (answer->status == STATUS_OK && answer->count == 0) {
        answer->status = STATUS_NOT_FOUND;
    }
    return true;
}
