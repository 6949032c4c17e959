// SPDX-License-Identifier: MIT OR Apache-2.0
/* What the device says of the checksums of received frames. */
#include "drivers/net/virtio/virtio_rig_test.h"

#include "lib/base/bytes.h"
#include "lib/base/endian.h"
#include "lib/net/checksum.h"

#define NEEDS VIRTIO_NET_HEADER_NEEDS_CHECKSUM
#define VALID VIRTIO_NET_HEADER_DATA_VALID
#define FRAME_BYTES 90u

/* An IPv4 or IPv6 packet of that protocol, its header of `header` bytes. */
static void make_packet(uint8_t *frame, uint16_t type, uint8_t header, uint8_t protocol)
{
    make_frame(frame, FRAME_BYTES, 3);
    store_be16(frame + 12, type);
    frame[14] = type == 0x0800u ? (uint8_t)(0x40u | header / 4u) : 0x60u;
    frame[type == 0x0800u ? 23 : 20] = protocol;
}

/* Receives the frame behind that header; its flags. */
static uint32_t receive_with(struct rig *rig, const uint8_t *frame, struct virtio_net_header header,
                             uint8_t *out)
{
    struct netframe got;

    rig->fake.receive_header = header;
    CHECK(virtio_fake_deliver(&rig->fake, frame, FRAME_BYTES));
    CHECK_EQ(rig->dev->ops->receive(rig->dev, &got, 1), 1);
    CHECK_EQ(got.length, FRAME_BYTES);
    CHECK_EQ(got.offset & NETFRAME_OFFSET, VIRTIO_NET_RX_OFFSET);
    memcpy(out, frame_data(&rig->pool, &got), FRAME_BYTES);
    netbuf_drop(&rig->pool, got.buffer);
    return got.offset & NETFRAME_SUM_FLAGS;
}

static void open_rig(struct rig *rig, uint64_t offered, bool wanted)
{
    rig_open(rig, BUFFERS);
    rig->receive_sums = wanted;
    rig->fake.offered |= offered;
    CHECK_EQ(rig_attach(rig), STATUS_OK);
    CHECK_EQ(rig->dev->receives_sums, wanted && (offered & VIRTIO_NET_F_GUEST_CSUM) != 0);
    CHECK_EQ((rig->fake.accepted & VIRTIO_NET_F_GUEST_CSUM) != 0, rig->dev->receives_sums);
}

TEST(the_devices_word_is_passed_on)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        struct rig rig;
        uint8_t frame[FRAME_BYTES], out[FRAME_BYTES];

        open_rig(&rig, VIRTIO_NET_F_GUEST_CSUM | (packed ? VIRTIO_F_RING_PACKED : 0), true);
        make_packet(frame, 0x0800, 20, 6);
        CHECK_EQ(receive_with(&rig, frame, (struct virtio_net_header){0}, out), 0);
        CHECK_EQ(receive_with(&rig, frame, (struct virtio_net_header){.flags = VALID}, out),
                 NETFRAME_SUM_RIGHT);
        CHECK_EQ(receive_with(&rig, frame, (struct virtio_net_header){.flags = 0xfc}, out), 0);
        struct virtio_net_header open = {.flags = NEEDS, .checksum_start = 34};
        open.checksum_offset = 16;
        CHECK_EQ(receive_with(&rig, frame, open, out), NETFRAME_SUM_OPEN);
        CHECK_EQ(memcmp(frame, out, FRAME_BYTES), 0);
        open.flags = NEEDS | VALID; /* the field is open whatever else is said */
        CHECK_EQ(receive_with(&rig, frame, open, out), NETFRAME_SUM_OPEN);
        make_packet(frame, 0x86dd, 40, 17);
        open.checksum_start = 54;
        open.checksum_offset = 6;
        CHECK_EQ(receive_with(&rig, frame, open, out), NETFRAME_SUM_OPEN);
        rig_close(&rig);
    }
}

/* Where the stack would not look for an open sum it is made, as §5.1.6.4.2 asks. */
TEST(unusual_open_sums_are_made)
{
    static const struct {
        uint16_t type;
        uint8_t header, protocol;
        uint16_t start, offset;
    } cases[] = {
        {0x0800, 24, 6, 38, 16}, {0x0800, 20, 132, 34, 8}, {0x86dd, 40, 0, 62, 16},
        {0x0800, 20, 6, 34, 6},  {0x8100, 20, 17, 38, 6},  {0x0800, 20, 17, 70, 6},
        {0x0800, 24, 17, 34, 6}, {0x86dd, 40, 58, 54, 2},  {0x0800, 20, 6, 14, 74},
    };
    struct rig rig;
    uint8_t frame[FRAME_BYTES], out[FRAME_BYTES];

    open_rig(&rig, VIRTIO_NET_F_GUEST_CSUM, true);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t field = cases[i].start + cases[i].offset;
        make_packet(frame, cases[i].type, cases[i].header, cases[i].protocol);
        CHECK_EQ(receive_with(&rig, frame,
                              (struct virtio_net_header){.flags = NEEDS,
                                                         .checksum_start = cases[i].start,
                                                         .checksum_offset = cases[i].offset},
                              out),
                 0);
        /* What stood there was the sum of what a checksum covers beside the bytes. */
        uint64_t sum = checksum_add(0, out + cases[i].start, FRAME_BYTES - cases[i].start);
        CHECK_EQ(checksum_fold(sum + load_le16(frame + field)), 0xffff);
        memcpy(out + field, frame + field, 2);
        CHECK_EQ(memcmp(frame, out, FRAME_BYTES), 0);
    }
    rig_close(&rig);
}

/* A place that is not in the frame changes nothing and spares nothing. */
TEST(places_outside_of_the_frame_are_not_believed)
{
    static const uint16_t places[][2] = {{34, 55},         {34, 0xffff}, {0xffff, 16}, {89, 0},
                                         {0xffff, 0xffff}, {0, 20},      {13, 16}};
    struct rig rig;
    uint8_t frame[FRAME_BYTES], out[FRAME_BYTES];

    open_rig(&rig, VIRTIO_NET_F_GUEST_CSUM, true);
    make_packet(frame, 0x0800, 20, 6);
    for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct virtio_net_header header = {.flags = NEEDS, .checksum_start = places[i][0]};
        header.checksum_offset = places[i][1];
        CHECK_EQ(receive_with(&rig, frame, header, out), 0);
        CHECK_EQ(memcmp(frame, out, FRAME_BYTES), 0);
    }
    rig_close(&rig);
}

/* Who does not look at the flags gets none, whatever the device writes. */
TEST(sums_are_only_for_who_asks)
{
    for (unsigned wanted = 0; wanted < 2; wanted++) {
        struct rig rig;
        uint8_t frame[FRAME_BYTES], out[FRAME_BYTES];

        open_rig(&rig, wanted ? 0 : VIRTIO_NET_F_GUEST_CSUM, wanted);
        make_packet(frame, 0x0800, 20, 6);
        CHECK_EQ(receive_with(&rig, frame, (struct virtio_net_header){.flags = VALID}, out), 0);
        rig_close(&rig);
    }
}
