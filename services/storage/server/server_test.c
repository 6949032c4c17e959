// SPDX-License-Identifier: MIT OR Apache-2.0
/* The storage service and its clients over a fake drive. */
#include "lib/logport/accounts.h"
#include "services/storage/server/server_rig_test.h"

TEST(what_is_appended_can_be_read_and_trimmed)
{
    struct rig rig;
    uint64_t position, first = 0, middle = 0, before = 0;

    for (uint32_t zoned = 0; zoned < 2u; zoned++) {
        rig_open(&rig, zoned != 0);
        for (uint32_t n = 0; n < 200; n++) {
            CHECK_EQ(append(&rig, GOOD, n, &position), STATUS_OK);
            CHECK(n == 0 || position > before);
            before = position;
            first = n == 0 ? position : first;
            middle = n == 120 ? position : middle;
        }
        CHECK(rig.server.ports[GOOD].counters.pages != 0);
        CHECK_EQ(read_back(&rig, GOOD, first, 0), 200);
        CHECK_EQ(read_back(&rig, READER, middle, 120), 200);
        CHECK_EQ(ask(&rig, GOOD,
                     (struct ring_submission){.operation = RING_LOG_TRIM, .argument = middle})
                     .result,
                 STATUS_OK);
        CHECK_EQ(ask(&rig, GOOD,
                     (struct ring_submission){.operation = RING_LOG_READ,
                                              .flags = RING_LOG_FIRST,
                                              .argument = first,
                                              .length = 4096})
                     .result,
                 STATUS_INVALID_ARGUMENT);
        CHECK_EQ(read_back(&rig, GOOD, middle, 120), 200);
        rig_close(&rig);
    }
}

TEST(a_loglet_is_reached_with_its_rights_only)
{
    static const uint16_t denied[] = {RING_LOG_APPEND,     RING_LOG_TRIM,  RING_LOG_FLUSH,
                                      RING_LOG_CHECKPOINT, RING_LOG_RELAX, RING_LOG_ACCOUNT};
    struct rig rig;
    uint64_t position;

    rig_open(&rig, false);
    CHECK_EQ(append(&rig, GOOD, 0, &position), STATUS_OK);
    for (uint32_t i = 0; i < sizeof denied / sizeof denied[0]; i++) {
        CHECK_EQ(
            ask(&rig, READER, (struct ring_submission){.operation = denied[i], .length = 8}).result,
            STATUS_NO_RIGHTS);
    }
    CHECK_EQ(read_back(&rig, READER, position, 0), 1);
    /* The good one's position is none of the other's log. */
    struct ring_log_status *told = (struct ring_log_status *)(void *)rig.clients[OTHER].pool;
    CHECK_EQ(ask(&rig, OTHER, (struct ring_submission){.operation = RING_LOG_STATUS, .length = 64})
                 .result,
             STATUS_OK);
    CHECK_EQ(told->tail, told->durable);
    CHECK_EQ(told->rights, 7);
    CHECK_EQ(told->capacity_bytes, 6u << 20);
    CHECK_EQ(ask(&rig, OTHER,
                 (struct ring_submission){.operation = RING_LOG_READ,
                                          .flags = RING_LOG_FIRST,
                                          .argument = told->tail,
                                          .length = 4096})
                 .result,
             0);
    rig_close(&rig);
}

TEST(what_cannot_be_done_is_refused)
{
    static const struct {
        struct ring_submission submission;
        status_t status;
    } cases[] = {
        {{.operation = 15}, STATUS_INVALID_CALL},
        {{.operation = 24}, STATUS_INVALID_CALL},
        {{.operation = 0xffff}, STATUS_INVALID_CALL},
        {{.operation = RING_LOG_APPEND, .buffer = BUFFERS, .length = 1}, STATUS_INVALID_ARGUMENT},
        {{.operation = RING_LOG_APPEND, .buffer = 0xffffffff, .offset = 0xffffffff, .length = 1},
         STATUS_INVALID_ARGUMENT},
        {{.operation = RING_LOG_APPEND, .length = POOL_BYTES + 1}, STATUS_INVALID_ARGUMENT},
        {{.operation = RING_LOG_APPEND, .offset = 1, .length = 0xffffffff},
         STATUS_INVALID_ARGUMENT},
        {{.operation = RING_LOG_READ, .length = 4096}, STATUS_INVALID_ARGUMENT},
        {{.operation = RING_LOG_READ, .flags = RING_LOG_FIRST, .argument = 1, .length = 4096},
         STATUS_INVALID_ARGUMENT},
        {{.operation = RING_LOG_READ, .flags = RING_LOG_FIRST, .length = 31},
         STATUS_INVALID_ARGUMENT},
        {{.operation = RING_LOG_READ, .flags = RING_LOG_FIRST, .offset = 4, .length = 4096},
         STATUS_INVALID_ARGUMENT},
        {{.operation = RING_LOG_TRIM, .argument = UINT64_MAX}, STATUS_INVALID_ARGUMENT},
        {{.operation = RING_LOG_STATUS, .length = 63}, STATUS_INVALID_ARGUMENT},
        {{.operation = RING_LOG_STATUS, .buffer = BUFFERS, .length = 64}, STATUS_INVALID_ARGUMENT},
        {{.operation = RING_LOG_ACCOUNT, .length = POOL_BYTES}, STATUS_NO_RIGHTS},
        {{.operation = RING_LOG_APPEND, .flags = RING_LINK, .length = 8}, STATUS_UNSUPPORTED},
        {{.operation = RING_NOP}, STATUS_OK},
    };
    struct rig rig;

    rig_open(&rig, false);
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_EQ(ask(&rig, GOOD, cases[i].submission).result, cases[i].status);
    }
    /* Who only reads the same log does not mind; who appends does. */
    for (uint32_t appends = 0; appends < 2u; appends++) {
        rig.grants[READER].rights = RING_LOG_MAY_READ | (appends != 0 ? RING_LOG_MAY_APPEND : 0);
        struct ring_submission relax = {.operation = RING_LOG_RELAX, .argument = 1};
        CHECK_EQ(ask(&rig, GOOD, relax).result, appends != 0 ? STATUS_BUSY : STATUS_OK);
    }
    CHECK_EQ(rig.server.ports[GOOD].counters.violations, 0);
    rig_close(&rig);
}

TEST(relaxed_appends_are_durable_after_a_flush)
{
    struct rig rig;
    uint64_t position;

    rig_open(&rig, false);
    CHECK_EQ(ask(&rig, OTHER, (struct ring_submission){.operation = RING_LOG_RELAX, .argument = 1})
                 .result,
             STATUS_OK);
    for (uint32_t n = 0; n < 50; n++) {
        CHECK_EQ(append(&rig, OTHER, n, &position), STATUS_OK);
    }
    CHECK(loglet_durable(rig.server.ports[OTHER].log) <= position);
    CHECK_EQ(ask(&rig, OTHER, (struct ring_submission){.operation = RING_LOG_FLUSH}).result,
             STATUS_OK);
    CHECK(loglet_durable(rig.server.ports[OTHER].log) > position);
    rig_close(&rig);
}

/* The service is ended at any moment, with the power or without, and starts anew: what had
 * completed is there, whole and in order, and nothing else but what was appended behind it. */
TEST(nothing_is_lost_when_the_service_starts_anew)
{
    struct rig rig;

    for (uint32_t round = 0; round < 40; round++) {
        struct load load = {0};
        rig_open(&rig, round % 2u != 0);
        rig.drive.any_order = true;
        for (uint32_t life = 0; life < 4; life++) {
            uint32_t turns = 20 + random_below(100);
            for (uint32_t i = 0; i < turns && load.next < 400; i++) {
                turn(&rig);
                push_load(&rig, GOOD, &load, 400);
            }
            if (round % 4u < 2u) {
                block_fake_power_cycle(&rig.drive);
            } else { /* the drive goes on with what it was asked; the answers go nowhere */
                block_fake_run(&rig.drive, BLOCK_FAKE_DEPTH);
                rig.drive.done_count = 0;
            }
            CHECK_EQ(start_server(&rig, 0), STATUS_OK);
            for (uint32_t i = 0; i < 50; i++) {
                turn(&rig);
            }
            if (load.confirmed != 0) {
                uint32_t found = read_back(&rig, GOOD, load.first, 0);
                CHECK(found >= load.confirmed && found <= load.next);
                load.confirmed = found;
                load.next = found;
            } else if (load.next != 0) {
                break; /* what of it is there is not known by position */
            }
            load.sessions = rig.clients[GOOD].sessions;
        }
        CHECK(rig.clients[GOOD].sessions >= 2);
        rig_close(&rig);
    }
}

struct told {
    char text[65536];
    size_t bytes;
};

static void put(void *context, const void *data, size_t bytes)
{
    struct told *told = context;

    CHECK(bytes < sizeof told->text - told->bytes);
    memcpy(told->text + told->bytes, data, bytes);
    told->bytes += bytes;
    told->text[told->bytes] = '\0';
}

/* Polls the account's client beside the service until an answer came. */
static void await_account(struct rig *rig, struct accounts *accounts)
{
    accounts_ask(accounts);
    for (uint32_t i = 0; i < 200; i++) {
        (void)accounts_poll(accounts, rig->now_ns);
        turn(rig);
    }
}

/* The client that may asks for the service's account, and again after the service's restart; what
 * it keeps and passes on is a text in which nothing of the service's ends a string. */
TEST(accounts_are_told)
{
    static struct cell_info cell;
    static struct told told;
    struct accounts accounts;
    const struct account to = {put, &told};
    struct rig rig;
    uint64_t position;

    rig_open(&rig, false);
    CHECK_EQ(append(&rig, GOOD, 1, &position), STATUS_OK);
    cell.ring_count = 2;
    cell.rings[0] = rig.client_rings[READER];
    cell.rings[1] = rig.server_rings[OTHER]; /* not its end */
    CHECK_EQ(accounts_init(&accounts, &cell, doorbell), STATUS_OK);
    CHECK_EQ(accounts.count, 1);
    await_account(&rig, &accounts);
    accounts_told(&accounts, &to);
    CHECK_TEXT(told.text, ""); /* it has not the right */
    rig.grants[READER].rights |= RING_LOG_MAY_ACCOUNT;
    await_account(&rig, &accounts);
    accounts_told(&accounts, &to);
    CHECK(strstr(told.text, "\"{\\\"cell\\\":\\\"rig\\\",\\\"promises\\\":{") == told.text);
    CHECK(strstr(told.text,
                 "{\\\"name\\\":\\\"other\\\",\\\"log\\\":\\\"other\\\",\\\"iops\\\":1000,") !=
          NULL);
    CHECK(strstr(told.text, "\\\"appends\\\":1,\\\"append_bytes\\\":100,") != NULL);
    /* Into less memory than it takes, nothing is said to be there but how much it would be. */
    start_client(&rig, READER);
    memset(rig.clients[READER].pool, 0x5a, 4096);
    struct ring_completion done =
        ask(&rig, READER, (struct ring_submission){.operation = RING_LOG_ACCOUNT, .length = 100});
    CHECK_EQ(done.result, STATUS_TOO_LARGE);
    CHECK(done.value > 1000 && rig.clients[READER].pool[99] != 0x5a);
    CHECK_EQ(rig.clients[READER].pool[100], 0x5a);
    rig_close(&rig);
}

TEST(contracts_divide_the_drive)
{
    struct rig rig;
    struct load loads[2] = {{0}, {0}};

    rig_open(&rig, false);
    rig.server.tenants[GOOD]->weight =
        3u * rig.server.tenants[OTHER]->weight; /* as if it had paid */
    rig.server.share->drive.units = 2;
    rig.per_turn = 1;
    loads[0].sessions = rig.clients[GOOD].sessions;
    loads[1].sessions = rig.clients[OTHER].sessions;
    for (uint32_t i = 0; i < 1500; i++) {
        turn(&rig);
        push_load(&rig, GOOD, &loads[0], 600);
        push_load(&rig, OTHER, &loads[1], 600);
        if (loads[0].confirmed == 600) {
            break;
        }
    }
    /* What the two wanted at the same time was given three to one, but for what a frame takes. */
    uint64_t ratio =
        rig.server.tenants[GOOD]->drive_ns * 100u / rig.server.tenants[OTHER]->drive_ns;
    printf("contracts 3 to 1: drive time %lu to 100, %u and %u records\n", (unsigned long)ratio,
           loads[0].confirmed, loads[1].confirmed);
    CHECK(ratio >= 200 && ratio <= 400);
    rig_close(&rig);
}

static uint64_t capacity(struct rig *rig, uint32_t index)
{
    struct ring_log_status *told = (struct ring_log_status *)(void *)rig->clients[index].pool;

    CHECK_EQ(ask(rig, index, (struct ring_submission){.operation = RING_LOG_STATUS, .length = 64})
                 .result,
             STATUS_OK);
    return told->capacity_bytes;
}

static void restart(struct rig *rig)
{
    storage_server_close(&rig->server);
    for (uint32_t i = 0; i < 20000 && rig->server.state == STORAGE_CLOSING; i++) {
        turn(rig);
    }
    CHECK_EQ(start_server(rig, 0), STATUS_OK);
    rig->now_ns += 300000000; /* a client that was refused rests for a while */
}

/* Contracts say another capacity than the logs were made with; one that holds more than that keeps
 * what it has, and one that cannot get it is refused. */
TEST(contracts_change_what_logs_have)
{
    struct rig rig;
    uint64_t position;

    rig_open(&rig, false);
    for (uint32_t n = 0; n < 400; n++) {
        CHECK_EQ(append(&rig, GOOD, n, &position), STATUS_OK);
    }
    rig.grants[GOOD].capacity_bytes = 8u << 20;
    rig.grants[OTHER].capacity_bytes = 3u << 20;
    restart(&rig);
    CHECK_EQ(capacity(&rig, GOOD), 8u << 20);
    CHECK_EQ(capacity(&rig, OTHER), 3u << 20);
    rig.grants[GOOD].capacity_bytes = 1u << 20;
    rig.grants[OTHER].capacity_bytes = 1u << 30;
    restart(&rig);
    CHECK_EQ(capacity(&rig, GOOD), 8u << 20);
    CHECK_EQ(append(&rig, OTHER, 0, &position), STATUS_FULL);
    rig.grants[OTHER].capacity_bytes = 5u << 20;
    restart(&rig);
    CHECK_EQ(capacity(&rig, OTHER), 5u << 20);
    CHECK_EQ(append(&rig, OTHER, 0, &position), STATUS_OK);
    rig_close(&rig);
}

TEST(a_loglet_that_cannot_be_had_is_refused_by_itself)
{
    struct rig rig;
    uint64_t position;

    rig_open(&rig, false);
    storage_server_close(&rig.server);
    for (uint32_t i = 0; i < 20000 && rig.server.state == STORAGE_CLOSING; i++) {
        turn(&rig);
    }
    block_fake_free(&rig.drive);
    block_fake_init(&rig.drive, (24u << 20) / 512u, 512, 0, 0);
    rig.grants[OTHER].capacity_bytes = 1u << 30;
    CHECK_EQ(start_server(&rig, 0), STATUS_OK);
    rig.now_ns += 300000000; /* a client that was refused rests for a while */
    CHECK_EQ(append(&rig, GOOD, 0, &position), STATUS_OK);
    CHECK_EQ(append(&rig, OTHER, 0, &position), STATUS_FULL);
    CHECK_EQ(ask(&rig, OTHER, (struct ring_submission){.operation = RING_LOG_STATUS, .length = 64})
                 .result,
             STATUS_FULL);
    rig_close(&rig);
}
