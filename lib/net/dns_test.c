// SPDX-License-Identifier: MIT OR Apache-2.0
/* The resolver against a server played by hand, and its decoder against bad messages. */
#include "lib/net/sim_fake.h"
#include "tests/check.h"

#include <stdlib.h>

static struct {
    struct sim *sim;
    struct udp_socket *server;
    struct dns_answer answer;
    unsigned answers;
    unsigned asked;
    uint16_t ids[4], ports[4];
    uint8_t reply[512];
    uint32_t reply_bytes; /* behind the question; 0: no answer */
    uint16_t flags, records;
} s;

static void on_done(void *user, const struct dns_answer *answer)
{
    (void)user;
    s.answers++;
    s.answer = *answer;
}

static void serve(struct udp_socket *socket, void *user, const struct udp_datagram *datagram)
{
    uint8_t message[1024];
    uint32_t length = datagram->length;

    (void)user;
    s.ids[s.asked & 3u] = load_be16(datagram->data);
    s.ports[s.asked++ & 3u] = datagram->source_port;
    if (s.reply_bytes == 0) {
        return;
    }
    memcpy(message, datagram->data, length);
    store_be16(message + 2, s.flags);
    store_be16(message + 6, s.records);
    memcpy(message + length, s.reply, s.reply_bytes);
    CHECK_EQ(
        udp_send(socket, datagram->source, datagram->source_port, message, length + s.reply_bytes),
        STATUS_OK);
}

static void start(void)
{
    struct sim_config config = {.seed = 12};

    memset(&s, 0, sizeof s);
    s.sim = sim_create(&config);
    s.flags = 0x8180;
    CHECK_EQ(udp_bind(s.sim->stack[1], 53, serve, NULL, &s.server), STATUS_OK);
}

static void ask(const char *name, enum dns_type type)
{
    struct dns_request request = {
        .name = name, .type = type, .server = SIM_ADDRESS(1), .done = on_done};

    s.answers = 0;
    CHECK_EQ(dns_query(s.sim->stack[0], &request), STATUS_OK);
    sim_run(s.sim, 20u * NS_PER_S);
    CHECK_EQ(s.answers, 1);
}

static void stop(void)
{
    sim_run(s.sim, 300u * NS_PER_S);
    sim_settle(s.sim);
    CHECK_EQ(sim_buffers_used(s.sim, 0), 0);
    sim_destroy(s.sim);
}

static void add(const void *bytes, uint32_t length)
{
    memcpy(s.reply + s.reply_bytes, bytes, length);
    s.reply_bytes += length;
}

TEST(an_address_and_an_alias)
{
    start();
    /* The question's name stands at 12, "example.org" behind "www" at 16. */
    add("\xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x00\x00\x06\x03web\xc0\x10", 18);
    add("\x03WEB\xc0\x10\x00\x01\x00\x01\x00\x00\x00\x10\x00\x04\x0a\x01\x02\x03", 20);
    add("\xc0\x10\x00\x01\x00\x01\x00\x00\x00\x10\x00\x04\x0a\x09\x09\x09", 16); /* of another */
    s.records = 3;
    ask("www.example.org", DNS_A);
    CHECK_EQ(s.answer.status, STATUS_OK);
    CHECK_EQ(s.answer.count, 1);
    CHECK_EQ(s.answer.address[0], IPV4(10, 1, 2, 3));
    CHECK_EQ(s.answer.ttl_s, 16);
    s.reply_bytes = 0;
    add("\xc0\x0c\x00\x1c\x00\x01\x00\x00\x01\x00\x00\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05", 28);
    s.records = 1;
    ask("www.example.org.", DNS_AAAA);
    CHECK_EQ(s.answer.status, STATUS_OK);
    CHECK_EQ(s.answer.address6[0].byte[0], 0xfd);
    CHECK_EQ(s.answer.address6[0].byte[15], 5);
    stop();
}

TEST(errors_and_silence)
{
    start();
    add("x", 1);
    s.flags = 0x8183;
    ask("nobody.example", DNS_A);
    CHECK_EQ(s.answer.status, STATUS_NOT_FOUND);
    s.flags = 0x8182;
    ask("nobody.example", DNS_A);
    CHECK_EQ(s.answer.status, STATUS_UNREACHABLE);
    s.flags = 0x8380;
    ask("nobody.example", DNS_A);
    CHECK_EQ(s.answer.status, STATUS_TOO_LARGE);
    s.flags = 0x8180; /* no record of that type */
    ask("nobody.example", DNS_A);
    CHECK_EQ(s.answer.status, STATUS_NOT_FOUND);
    s.reply_bytes = 0;
    s.asked = 0;
    ask("nobody.example", DNS_A);
    CHECK_EQ(s.answer.status, STATUS_TIMED_OUT);
    CHECK_EQ(s.asked, 3);
    CHECK(s.ids[0] != s.ids[1] && s.ids[1] != s.ids[2]);
    CHECK(s.ports[0] != s.ports[1] && s.ports[1] != s.ports[2]);
    stop();
}

TEST(queries_are_bounded)
{
    struct dns_request request = {.name = "a.example", .type = DNS_A, .done = on_done};

    start();
    CHECK_EQ(dns_query(s.sim->stack[0], &request), STATUS_UNREACHABLE); /* no server is known */
    request.server = SIM_ADDRESS(1);
    for (unsigned i = 0; i < DNS_QUERIES_MAX; i++) {
        CHECK_EQ(dns_query(s.sim->stack[0], &request), STATUS_OK);
    }
    CHECK_EQ(dns_query(s.sim->stack[0], &request), STATUS_NO_MEMORY);
    static const char *const bad[] = {"",
                                      ".",
                                      "a..b",
                                      "a b",
                                      "a/b",
                                      "\xc3\xa4.org",
                                      "a123456789012345678901234567890123456789012345678901234567"
                                      "890123456.org"};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        request.name = bad[i];
        CHECK_EQ(dns_query(s.sim->stack[0], &request), STATUS_INVALID_ARGUMENT);
    }
    sim_run(s.sim, 20u * NS_PER_S);
    CHECK_EQ(s.answers, DNS_QUERIES_MAX);
    stop();
}

TEST(bad_messages_end)
{
    uint8_t name[DNS_NAME_BYTES];
    struct dns_question question = {name, dns_encode_name("a.bc", name), 77, DNS_A};
    struct dns_answer answer;
    uint8_t good[] = {0, 77, 0x81, 0x80, 0,    1,  0, 2, 0, 0, 0, 0, 1, 'a', 2,  'b', 'c', 0,
                      0, 1,  0,    1,    0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9,   0,  4,   10,  0,
                      0, 1,  0xc0, 14,   0,    1,  0, 1, 0, 0, 0, 9, 0, 4,   10, 0,   0,   2};
    uint64_t random = 5;

    CHECK(dns_decode(good, sizeof good, &question, &answer));
    CHECK_EQ(answer.count, 1); /* the second record is of another name */
    for (uint32_t cut = 0; cut < sizeof good; cut++) {
        uint8_t *exact = malloc(cut + 1u);
        memcpy(exact, good, cut);
        CHECK(!dns_decode(exact, cut, &question, &answer));
        free(exact);
    }
    good[23] = 22; /* a name that points at itself */
    CHECK(!dns_decode(good, sizeof good, &question, &answer));
    good[23] = 12;
    good[1] = 78; /* the answer to something else */
    CHECK(!dns_decode(good, sizeof good, &question, &answer));
    good[1] = 77;
    for (unsigned i = 0; i < 200000; i++) {
        uint8_t bad[sizeof good];
        memcpy(bad, good, sizeof good);
        for (unsigned k = 0; k < 3; k++) {
            random = random * 6364136223846793005ull + 1442695040888963407ull;
            bad[2u + (random >> 33) % (sizeof good - 2u)] = (uint8_t)(random >> 56);
        }
        if (dns_decode(bad, sizeof bad, &question, &answer)) {
            CHECK(answer.count <= 2u);
        }
    }
}
