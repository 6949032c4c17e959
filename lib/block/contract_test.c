// SPDX-License-Identifier: MIT OR Apache-2.0
#include "lib/block/contract.h"
#include "tests/check.h"

#define CONFIG(text) (text), sizeof(text)

static const char good[] = "port=1\0contracts=log  scan\0contract.log.iops=2000\0"
                           "contract.log.class=latency\0contract.log.capacity=100\0"
                           "contract.scan.mb_s=50\0drive.units=8\0drive.read_ns=70000\0"
                           "drive.write_ns=20000\0drive.read_byte_ps=500\0"
                           "drive.write_byte_ps=2000";

TEST(contracts_are_read)
{
    struct block_device plain = {.block_count = 1000, .block_bytes = 64, .queue_depth = 63};
    struct block_device zoned = plain;
    struct contract contract;

    zoned.flags = BLOCK_DEVICE_ZONED;
    zoned.zone_blocks = 100;
    CHECK_EQ(contract_count(CONFIG(good)), 2);
    CHECK_EQ(contract_count(CONFIG("a=b")), 0);
    CHECK_EQ(contract_read(CONFIG(good), 0, &plain, 1000, &contract), STATUS_OK);
    CHECK_TEXT(contract.name, "log");
    CHECK_EQ(contract.share.iops, 2000);
    CHECK_EQ(contract.share.service, SHARE_LATENCY);
    CHECK_EQ(contract.share.blocks, 2);
    CHECK_EQ(contract_read(CONFIG(good), 0, &zoned, 1000, &contract), STATUS_OK);
    CHECK_EQ(contract.share.blocks, 100);
    CHECK_EQ(contract_read(CONFIG(good), 1, &zoned, 850, &contract), STATUS_OK);
    CHECK_TEXT(contract.name, "scan");
    CHECK_EQ(contract.share.bytes_per_second, 50000000);
    CHECK_EQ(contract.share.service, SHARE_NORMAL);
    CHECK_EQ(contract.share.blocks, 800);
    CHECK_EQ(contract_read(CONFIG(good), 2, &zoned, 850, &contract), STATUS_NOT_FOUND);
    CHECK_EQ(contract_read(CONFIG("contracts=a\0contract.a.iops=x"), 0, &plain, 9, &contract),
             STATUS_INVALID_ARGUMENT);
    CHECK_EQ(contract_read(CONFIG("contracts=a\0contract.a.class=fast"), 0, &plain, 9, &contract),
             STATUS_INVALID_ARGUMENT);
}

TEST(drives_are_declared_whole_or_not)
{
    struct share_drive drive = {0};

    CHECK_EQ(contract_drive(CONFIG("a=b"), &drive), STATUS_NOT_FOUND);
    CHECK_EQ(contract_drive(CONFIG("drive.units=4"), &drive), STATUS_INVALID_ARGUMENT);
    CHECK_EQ(contract_drive(CONFIG(good), &drive), STATUS_OK);
    CHECK_EQ(drive.units, 8);
    CHECK_EQ(drive.write_byte_ps, 2000);
}

TEST(refusals_are_explained)
{
    static struct share share;
    struct block_device plain = {.block_count = 1000, .block_bytes = 512, .queue_depth = 63};
    struct share_drive drive = {.block = &plain};
    struct share_tenant *tenant;
    struct contract contract = {.name = "log", .share = {.blocks = 1, .iops = 100000}};
    char line[CONTRACT_LINE_BYTES];

    CHECK_EQ(contract_drive(CONFIG(good), &drive), STATUS_OK);
    CHECK_EQ(share_init(&share, &drive), STATUS_OK);
    CHECK_EQ(share_admit(&share, &contract.share, &tenant), STATUS_OK);
    CHECK_EQ(share_admit(&share, &contract.share, &tenant), STATUS_FULL);
    contract_explain(&share, &contract, STATUS_FULL, line);
    CHECK_TEXT(line, "contract log: needs 7000 ms of drive time a second, 200 of 7200 are left; "
                     "lower iops or mb_s");
    contract.share = (struct share_contract){.blocks = 2000};
    CHECK_EQ(share_admit(&share, &contract.share, &tenant), STATUS_TOO_LARGE);
    contract_explain(&share, &contract, STATUS_TOO_LARGE, line);
    CHECK_TEXT(line, "contract log: needs 2000 blocks of 512 bytes, 999 are left; lower capacity");
}
