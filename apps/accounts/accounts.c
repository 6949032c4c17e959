// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * GET /storage.json on TCP port 80: what the storage services tell that this cell has rings to (its
 * manifest's loglets with the right `account`), for `./hallows storage`. It sees names and figures
 * and no record. One request a connection.
 */
#include "lib/logport/accounts.h"
#include "drivers/net/cell/network.h"
#include "lib/base/bytes.h"
#include "lib/http/http.h"
#include "runtime/cell.h"
#include "runtime/event_loop.h"
#include "runtime/syscall.h"

#define PORT 80u
#define BACKLOG 16u
#define BUFFERS 512u
#define PAGES 16u
#define ANSWER_BYTES (256u * 1024u)
#define KEEPALIVE_NS 60000000000ull

/* One browser. */
struct page {
    struct tcp_connection *connection; /* NULL: free */
    uint64_t number;                   /* of the connection, since the start */
    bool answered, failed;
    uint32_t head_bytes; /* of the request, so far */
    size_t bytes, sent;
    uint8_t head[HTTP_HEAD_BYTES_MAX];
    uint8_t answer[ANSWER_BYTES];
};

static struct network network;
static struct accounts accounts;
static struct page pages[PAGES];

static void put(void *context, const void *data, size_t bytes)
{
    struct page *page = context;

    if (page->failed || bytes > sizeof page->answer - page->bytes) {
        page->failed = true;
        return;
    }
    memcpy(page->answer + page->bytes, data, bytes);
    page->bytes += bytes;
}

/* Sends what there is room for; the connection is let go behind the last byte. */
static void send_answer(struct page *page)
{
    page->sent +=
        tcp_send(page->connection, page->answer + page->sent, (uint32_t)(page->bytes - page->sent));
    if (page->sent == page->bytes) {
        tcp_close(page->connection);
        page->connection = NULL;
    }
}

/* The body first, behind where the longest head would end, then the head in front of it. */
static void answer(struct page *page, enum http_result status, bool head_only)
{
    struct http_response response = {status, "application/json", 0, true};
    const struct account account = {put, page};
    char head[HTTP_RESPONSE_HEAD_BYTES_MAX];

    page->bytes = sizeof head;
    if (status == HTTP_REQUEST) {
        account_print(&account, "{\"accounts\":[],\"told\":[");
        accounts_told(&accounts, &account);
        account_print(&account, "]}\n");
        accounts_ask(&accounts); /* for whoever asks next */
    }
    if (page->failed) {
        response.status = HTTP_UNAVAILABLE;
        page->bytes = sizeof head;
    }
    response.content_bytes = page->bytes - sizeof head;
    size_t head_bytes = http_format_head(head, &response);
    page->sent = sizeof head - head_bytes;
    memcpy(page->answer + page->sent, head, head_bytes);
    page->bytes = head_only ? sizeof head : page->bytes;
    page->answered = true;
    send_answer(page);
}

/* A page for a new browser: a free one, or that of who has been silent longest. NULL: all are being
 * answered. */
static struct page *find_page(void)
{
    struct page *oldest = NULL;

    for (uint32_t i = 0; i < PAGES; i++) {
        struct page *page = &pages[i];
        if (page->connection == NULL) {
            return page;
        }
        if (!page->answered && (oldest == NULL || page->number < oldest->number)) {
            oldest = page;
        }
    }
    if (oldest != NULL) {
        tcp_abort(oldest->connection);
    }
    return oldest;
}

static bool on_accept(struct tcp_connection *connection, void *user)
{
    static uint64_t accepted;
    struct page *page = find_page();

    (void)user;
    if (page == NULL) {
        return false;
    }
    page->connection = connection;
    page->number = accepted++;
    page->answered = page->failed = false;
    page->head_bytes = 0;
    page->bytes = page->sent = 0;
    tcp_set_user(connection, page);
    tcp_set_keepalive(connection, KEEPALIVE_NS);
    return true;
}

static uint32_t on_receive(struct tcp_connection *connection, void *user, const uint8_t *data,
                           uint32_t length)
{
    struct page *page = user;
    struct http_request request = {0};
    uint32_t room = HTTP_HEAD_BYTES_MAX - page->head_bytes;
    size_t used;

    (void)connection;
    if (page->answered) {
        return length; /* one request is served */
    }
    memcpy(page->head + page->head_bytes, data, length < room ? length : room);
    page->head_bytes += length < room ? length : room;
    enum http_result result = http_parse(page->head, page->head_bytes, &request, &used);
    if (result == HTTP_REQUEST) {
        static const char path[] = "/storage.json";
        bool found = request.path.bytes == sizeof path - 1u &&
                     memcmp(request.path.data, path, sizeof path - 1u) == 0;
        answer(page, found ? HTTP_REQUEST : HTTP_NOT_FOUND, request.head);
    } else if (result != HTTP_MORE) {
        answer(page, result, false);
    }
    return length;
}

static void on_end(struct tcp_connection *connection, void *user)
{
    struct page *page = user;

    if (!page->answered) {
        page->connection = NULL;
        tcp_close(connection);
    }
}

static void on_sendable(struct tcp_connection *connection, void *user)
{
    (void)connection;
    send_answer(user);
}

static void on_closed(struct tcp_connection *connection, void *user, status_t reason)
{
    struct page *page = user;

    (void)connection;
    (void)reason;
    page->connection = NULL;
}

static const struct tcp_ops page_ops = {
    .on_accept = on_accept,
    .on_receive = on_receive,
    .on_end = on_end,
    .on_sendable = on_sendable,
    .on_closed = on_closed,
};

/* ---- The cell ---------------------------------------------------------------------------------
 */

static void doorbell(void *context, cap_slot_t slot)
{
    (void)context;
    (void)notification_signal(slot);
}

static bool poll(void *context, time_ns_t now_ns)
{
    return accounts_poll(context, now_ns);
}

static bool arm(void *context)
{
    return accounts_arm(context);
}

static void disarm(void *context)
{
    accounts_disarm(context);
}

static time_ns_t deadline(void *context)
{
    return accounts_deadline(context);
}

static status_t start(const struct cell_info *info, struct event_loop *loop)
{
    static struct dma_pool dma;
    struct network_request request = {
        .info = info,
        .buffers = BUFFERS,
        .connections = 64,
        .dma = &dma,
        .memory = info->heap,
        .memory_bytes = info->heap_bytes,
    };
    const struct event_source source = {poll, arm, disarm, deadline, &accounts};

    dma_pool_init(&dma, info);
    event_loop_init(loop, &info->time, CELL_SLOT_NOTIFICATION, network_window_ns(info));
    status_t status = accounts_init(&accounts, info, doorbell);
    if (status == STATUS_OK) {
        status = network_open(&network, &request);
    }
    if (status == STATUS_OK) {
        status = tcp_listen(network.stack, PORT, BACKLOG, &page_ops, NULL);
    }
    if (status == STATUS_OK) {
        status = network_add(&network, loop);
    }
    return status == STATUS_OK ? event_loop_add(loop, &source) : status;
}

status_t cell_main(const struct cell_info *info)
{
    struct event_loop loop;
    status_t status = start(info, &loop);

    if (status != STATUS_OK) {
        log_line("cannot start: %s", status_text(status));
        return status;
    }
    if ((status = supervisor_ready()) != STATUS_OK) {
        return status;
    }
    while ((event_loop_take_events(&loop) & CELL_EVENT_SHUTDOWN) == 0) {
        event_loop_round(&loop);
    }
    network_close(&network);
    supervisor_shutdown_done();
}
