// SPDX-License-Identifier: MIT OR Apache-2.0
/* PVH and Multiboot2 information, right, wrong and random. */
#include <stdlib.h>

#include "kernel/boot/parameters.h"
#include "lib/base/endian.h"
#include "tests/check.h"

#define MEMORY_BYTES 0x4000u

static uint8_t memory[MEMORY_BYTES];

static const void *view(uint64_t address, uint64_t bytes)
{
    if (address >= MEMORY_BYTES || bytes > MEMORY_BYTES - address)
        return NULL;
    return memory + address;
}

static void make_pvh(void)
{
    memset(memory, 0, sizeof memory);
    uint8_t *info = memory + 0x100;
    store_le32(info, 0x336ec578);
    store_le32(info + 4, 1);
    store_le32(info + 12, 1);      /* modules */
    store_le64(info + 16, 0x200);  /* their list */
    store_le64(info + 24, 0x400);  /* command line */
    store_le64(info + 32, 0xf5a0); /* RSDP */
    store_le64(info + 40, 0x300);  /* memory map */
    store_le32(info + 48, 3);
    store_le64(memory + 0x200, 0x1000000);
    store_le64(memory + 0x208, 0x12345);
    static const uint64_t map[3][3] = {
        {0, 0x9fc00, 1}, {0x9fc00, 0x60400, 2}, {0x100000, 0x1ff00000, 1}};
    for (uint32_t i = 0; i < 3; i++) {
        store_le64(memory + 0x300 + 24 * i, map[i][0]);
        store_le64(memory + 0x308 + 24 * i, map[i][1]);
        store_le32(memory + 0x310 + 24 * i, (uint32_t)map[i][2]);
    }
    strcpy((char *)memory + 0x400, "one two");
}

TEST(pvh_is_read)
{
    struct boot_parameters p;
    make_pvh();
    CHECK_EQ(pvh_read(0x100, view, &p), STATUS_OK);
    CHECK_EQ(p.memory.count, 2);
    CHECK_EQ(p.memory.range[0].bytes, 0x9f000);
    CHECK_EQ(p.bundle_address, 0x1000000);
    CHECK_EQ(p.bundle_bytes, 0x12345);
    CHECK_EQ(p.rsdp_address, 0xf5a0);
    CHECK_TEXT(p.command_line, "one two");
}

TEST(pvh_refuses_what_is_wrong)
{
    struct boot_parameters p;
    make_pvh();
    CHECK_EQ(pvh_read(MEMORY_BYTES - 8, view, &p), STATUS_CORRUPT);
    CHECK(p.problem != NULL);
    CHECK_EQ(pvh_read(UINT64_MAX, view, &p), STATUS_CORRUPT);
    store_le32(memory + 0x104, 0); /* version 0: no memory map */
    CHECK_EQ(pvh_read(0x100, view, &p), STATUS_CORRUPT);
    make_pvh();
    store_le32(memory + 0x100, 1);
    CHECK_EQ(pvh_read(0x100, view, &p), STATUS_CORRUPT);
    make_pvh();
    store_le32(memory + 0x130, 5000); /* map entries */
    CHECK_EQ(pvh_read(0x100, view, &p), STATUS_CORRUPT);
    make_pvh();
    store_le64(memory + 0x128, MEMORY_BYTES - 30);
    CHECK_EQ(pvh_read(0x100, view, &p), STATUS_CORRUPT);
    make_pvh();
    store_le64(memory + 0x110, 1ull << 40); /* module list */
    CHECK_EQ(pvh_read(0x100, view, &p), STATUS_CORRUPT);
}

TEST(pvh_command_line_is_cut)
{
    struct boot_parameters p;
    make_pvh();
    memset(memory + 0x400, 'x', MEMORY_BYTES - 0x400);
    CHECK_EQ(pvh_read(0x100, view, &p), STATUS_OK);
    CHECK_EQ(strlen(p.command_line), BOOT_COMMAND_LINE_BYTES - 1);
    store_le64(memory + 0x118, MEMORY_BYTES - 10); /* runs out of memory before it ends */
    CHECK_EQ(pvh_read(0x100, view, &p), STATUS_OK);
    CHECK_EQ(strlen(p.command_line), 10);
}

static uint32_t tag_at;

static uint8_t *add_tag(uint32_t type, uint32_t bytes)
{
    uint8_t *tag = memory + tag_at;
    store_le32(tag, type);
    store_le32(tag + 4, bytes);
    tag_at += (bytes + 7u) & ~7u;
    return tag;
}

static void make_multiboot2(void)
{
    memset(memory, 0, sizeof memory);
    tag_at = 0x108;
    strcpy((char *)add_tag(1, 8 + 6) + 8, "hello");
    uint8_t *module = add_tag(3, 16 + 7);
    store_le32(module + 8, 0x1000000);
    store_le32(module + 12, 0x1008000);
    uint8_t *map = add_tag(6, 16 + 2 * 24);
    store_le32(map + 8, 24);
    store_le64(map + 16 + 8, 0x80000);
    store_le32(map + 16 + 16, 1);
    store_le64(map + 40, 0x100000);
    store_le64(map + 40 + 8, 0x700000);
    store_le32(map + 40 + 16, 1);
    memcpy(add_tag(15, 8 + 36) + 8, "RSD PTR ", 8);
    (void)add_tag(0, 8);
    store_le32(memory + 0x100, tag_at - 0x100);
}

TEST(multiboot2_is_read)
{
    struct boot_parameters p;
    make_multiboot2();
    CHECK_EQ(multiboot2_read(0x100, view, &p), STATUS_OK);
    CHECK_TEXT(p.command_line, "hello");
    CHECK_EQ(p.bundle_address, 0x1000000);
    CHECK_EQ(p.bundle_bytes, 0x8000);
    CHECK_EQ(p.memory.count, 2);
    CHECK(p.has_rsdp_copy);
    CHECK_EQ(memcmp(p.rsdp_copy, "RSD PTR ", 8), 0);
}

TEST(multiboot2_refuses_what_is_wrong)
{
    struct boot_parameters p;
    make_multiboot2();
    store_le32(memory + 0x100, 8);
    CHECK_EQ(multiboot2_read(0x100, view, &p), STATUS_CORRUPT);
    CHECK(p.problem != NULL);
    store_le32(memory + 0x100, 0x7fffffff);
    CHECK_EQ(multiboot2_read(0x100, view, &p), STATUS_CORRUPT);
    make_multiboot2();
    store_le32(memory + 0x100, tag_at - 0x100 - 8); /* the end tag is missing */
    CHECK_EQ(multiboot2_read(0x100, view, &p), STATUS_CORRUPT);
    make_multiboot2();
    store_le32(memory + 0x10c, 4); /* a tag shorter than its head */
    CHECK_EQ(multiboot2_read(0x100, view, &p), STATUS_CORRUPT);
    store_le32(memory + 0x10c, 0xfffffff8u);
    CHECK_EQ(multiboot2_read(0x100, view, &p), STATUS_CORRUPT);
}

/* Nothing but the sanitizers watches here: whatever the bytes say, no read leaves the memory. */
TEST(random_damage_does_no_harm)
{
    struct boot_parameters p;
    srand(3);
    for (uint32_t round = 0; round < 20000; round++) {
        bool pvh = round % 2 == 0;
        if (pvh)
            make_pvh();
        else
            make_multiboot2();
        for (int damage = rand() % 6; damage >= 0; damage--)
            memory[0x100 + rand() % 0x300] = (uint8_t)(rand() % 3 ? rand() : 0xff);
        status_t status = pvh ? pvh_read(0x100, view, &p) : multiboot2_read(0x100, view, &p);
        CHECK(status == STATUS_OK || p.problem != NULL);
        CHECK(p.memory.count <= BOOT_MEMORY_RANGES_MAX);
        CHECK_EQ(p.command_line[BOOT_COMMAND_LINE_BYTES - 1], 0);
    }
}
