// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/net/script_fake.h"

/* The stack learns the peer's address from a request for its own. */
static void introduce(struct script *script)
{
    const uint8_t *mac = script->sim->wire.end[1].dev.mac;
    uint8_t frame[60] = {0};

    ethernet_write(frame, script->sim->wire.end[0].dev.mac, mac, ETHERTYPE_ARP);
    memcpy(frame + 14, "\x00\x01\x08\x00\x06\x04\x00\x01", 8);
    memcpy(frame + 22, mac, 6);
    store_be32(frame + 28, SIM_ADDRESS(1));
    store_be32(frame + 38, SIM_ADDRESS(0));
    wire_inject(&script->sim->wire, 0, frame, sizeof frame);
}

static bool capture(void *user, unsigned from, uint8_t *data, uint32_t length)
{
    struct script *script = user;

    if (from == 0 && load_be16(data + 12) == ETHERTYPE_IPV4 && script->count < SCRIPT_FRAMES) {
        struct script_frame *frame =
            &script->frames[(script->first + script->count++) % SCRIPT_FRAMES];
        frame->length = length;
        memcpy(frame->data, data, length);
    }
    if (from == 0 && load_be16(data + 12) == ETHERTYPE_ARP && load_be16(data + 20) == ARP_REQUEST &&
        load_be32(data + 38) == SIM_ADDRESS(1)) {
        introduce(script);
    }
    return false;
}

static bool on_accept(struct tcp_connection *c, void *user)
{
    struct script *script = user;

    script->accepted++;
    if (script->refuse) {
        return false;
    }
    script->c = c;
    tcp_set_user(c, script);
    return true;
}

static void on_connected(struct tcp_connection *c, void *user)
{
    (void)c;
    ((struct script *)user)->connected++;
}

static uint32_t on_receive(struct tcp_connection *c, void *user, const uint8_t *data,
                           uint32_t length)
{
    struct script *script = user;
    uint32_t take = length < script->consume ? length : script->consume;

    (void)data;
    script->consume -= take;
    script->received += take;
    if (script->answer != NULL) {
        (void)tcp_send(c, script->answer, (uint32_t)strlen(script->answer));
    }
    return take;
}

static void on_end(struct tcp_connection *c, void *user)
{
    (void)c;
    ((struct script *)user)->ended++;
}

static void on_sendable(struct tcp_connection *c, void *user)
{
    (void)c;
    ((struct script *)user)->sendable++;
}

static void on_closed(struct tcp_connection *c, void *user, status_t reason)
{
    struct script *script = user;

    (void)c;
    script->closed++;
    script->reason = reason;
    script->c = NULL;
}

const struct tcp_ops script_ops = {.on_accept = on_accept,
                                   .on_connected = on_connected,
                                   .on_receive = on_receive,
                                   .on_end = on_end,
                                   .on_sendable = on_sendable,
                                   .on_closed = on_closed};

void script_start(struct script *script, const struct stack_config *config)
{
    struct sim_config sim = {.seed = 9};

    memset(script, 0, sizeof *script);
    if (config != NULL) {
        sim.stack[0] = *config;
    }
    script->sim = sim_create(&sim);
    script->stack = script->sim->stack[0];
    script->peer_port = 40000;
    script->stack_port = SCRIPT_PORT;
    script->seq = 1000;
    script->window = 0xffff;
    script->consume = 0xffffffffu;
    script->sim->wire.tap = capture;
    script->sim->wire.tap_user = script;
    introduce(script);
    sim_settle(script->sim);
    status_t status = tcp_listen(script->stack, SCRIPT_PORT, 4, &script_ops, script);
    VERIFY(status == STATUS_OK);
}

void script_stop(struct script *script)
{
    sim_destroy(script->sim);
}

void script_send_ipv4(struct script *script, uint8_t protocol, const void *payload, uint32_t length)
{
    uint8_t frame[WIRE_FRAME_BYTES];
    struct ipv4_header header = {.source = SIM_ADDRESS(1),
                                 .destination = SIM_ADDRESS(0),
                                 .total_length = length + IPV4_BYTES,
                                 .protocol = protocol};

    ethernet_write(frame, script->sim->wire.end[0].dev.mac, script->sim->wire.end[1].dev.mac,
                   ETHERTYPE_IPV4);
    ipv4_write(frame + ETHERNET_BYTES, &header);
    memcpy(frame + ETHERNET_BYTES + IPV4_BYTES, payload, length);
    wire_inject(&script->sim->wire, 0, frame, length + ETHERNET_BYTES + IPV4_BYTES);
    sim_settle(script->sim);
}

void script_send(struct script *script, uint8_t flags, uint32_t length)
{
    uint8_t at[WIRE_FRAME_BYTES];
    uint32_t header = TCP_BYTES + script->option_bytes;
    uint32_t total = header + length;

    store_be16(at, script->peer_port);
    store_be16(at + 2, script->stack_port);
    store_be32(at + 4, script->seq);
    store_be32(at + 8, (flags & TCP_ACK) != 0 ? script->ack : 0);
    store_be16(at + 12, (uint16_t)(header << 10 | flags));
    store_be16(at + 14, script->window);
    store_be32(at + 16, 0);
    for (uint32_t i = 0; i < script->option_bytes; i++) {
        at[TCP_BYTES + i] = script->options[i];
    }
    memset(at + header, 'x', length);
    uint64_t sum = pseudo_header_sum(SIM_ADDRESS(1), SIM_ADDRESS(0), PROTOCOL_TCP, total);
    store_native16(at + 16, checksum_finish(checksum_add(sum, at, total)));
    script_send_ipv4(script, PROTOCOL_TCP, at, total);
}

bool script_expect(struct script *script, struct tcp_segment *segment)
{
    static struct ipv4_packet ip;

    if (script->count == 0) {
        return false;
    }
    struct script_frame *frame = &script->frames[script->first];
    script->first = (script->first + 1u) % SCRIPT_FRAMES;
    script->count--;
    return ipv4_decode(frame->data + ETHERNET_BYTES, frame->length - ETHERNET_BYTES, &ip) ==
               WIRE_OK &&
           ip.protocol == PROTOCOL_TCP && tcp_decode(&ip, segment) == WIRE_OK;
}

bool script_quiet(const struct script *script)
{
    return script->count == 0;
}

void script_handshake(struct script *script)
{
    struct tcp_segment segment;

    script_send(script, TCP_SYN, 0);
    bool answered = script_expect(script, &segment);
    VERIFY(answered && (segment.flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK));
    script->seq++;
    script->ack = segment.sequence + 1u;
    script_send(script, TCP_ACK, 0);
}
