// SPDX-License-Identifier: MIT OR Apache-2.0
/* Entry and main loop of the supervisor. */
#include "services/supervisor/supervisor.h"

#include "runtime/entry.h"

static struct supervisor supervisor;

/* Nothing more can be done: say so and sleep for ever. */
static _Noreturn void halt(const char *what)
{
    struct message m;

    log_line("%s; the system does not start", what);
    for (;;) {
        m = (struct message){0};
        (void)ipc_recv(supervisor.endpoint, supervisor.replies[0], &m);
        yield(); /* without an endpoint the call returns at once */
    }
}

static _Noreturn void serve(struct supervisor *s)
{
    for (;;) {
        cells_advance(s);
        struct message m = {.info = 0};
        if (s->shutting_down && s->shutdown_deadline_ns != DEADLINE_NEVER) {
            m.info = MESSAGE_DEADLINE;
            m.words[MESSAGE_WORDS_MAX - 1u] = s->shutdown_deadline_ns;
        }
        status_t status = ipc_recv(s->endpoint, s->replies[s->reply_in_use], &m);
        if (status == STATUS_OK) {
            message_handle(s, &m);
        }
    }
}

_Noreturn void program_entry(const void *page, uint64_t thread)
{
    const char *problem;

    (void)thread; /* it has one */
    log_open(BOOT_SLOT_CONSOLE, "supervisor");
    problem = supervisor_prepare(&supervisor, page);
    if (problem != NULL) {
        halt(problem);
    }
    serve(&supervisor);
}
