/* The life that pub and sub share:
 *
 *   CONNECTING ──▶ RUNNING ──▶ LEAVING ──▶ over
 *       │             │           ▲
 *       └──── failed ─┴───────────┘
 *
 * One thread, one wait. Leaving is DISCONNECT, its completion, and what is still
 * to be written to stdout; a second signal ends it at once. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "input.h"
#include "link.h"
#include "output.h"
#include "wait.h"

enum cli_stage { CLI_CONNECTING, CLI_RUNNING, CLI_LEAVING, CLI_OVER };

struct cli_client {
    const char *command;
    struct cli_args args;
    struct cli_address address;
    struct cli_link link;
    struct cli_output output;
    struct cli_waits waits;
    struct cli_connack connack;
    enum cli_stage stage;
    bool connected;
    bool shows; /* something on stdout: without a reader there is no point in going on */
    int status; /* exit status */
};

/* What makes a command of it. Each is called on the main thread. */
struct cli_command_verbs {
    void (*connected)(struct cli_client *c);
    /* Borrows the event: not those of the connection, which the client handles. */
    void (*event)(struct cli_client *c, const struct cli_event *e);
    /* Before each wait while running: does what can be done, sets waits.input and
     * waits.deadline_ms. */
    void (*step)(struct cli_client *c);
    void (*input)(struct cli_client *c);
    void (*timeout)(struct cli_client *c);
    void (*interrupted)(struct cli_client *c);
};

/* Takes the command line, runs, cleans up; the exit status. `c` is embedded in the
 * command's own struct and zeroed. */
SL_CHECK int cli_client_open(struct cli_client *c);
int cli_client_run(struct cli_client *c, const struct cli_command_verbs *verbs);
void cli_client_close(struct cli_client *c);

/* Ends in order, with that exit status; the first call counts. */
void cli_client_leave(struct cli_client *c, int status);
/* One line on stderr, then leaves with status 1. */
void cli_client_fail(struct cli_client *c, const char *fmt, ...) SL_PRINTF(2, 3);
/* "what: the reason's words (0x87): the server's own words", then leaves. */
void cli_client_fail_event(struct cli_client *c, const char *what, const struct cli_event *e);
/* A line on stderr, with --debug only. */
void cli_client_debug(const struct cli_client *c, const char *fmt, ...) SL_PRINTF(2, 3);
/* The words of a reason code, or of a return code of MQTT 3.1.1's CONNACK; never NULL. */
const char *cli_reason(const struct cli_client *c, enum cli_event_kind kind, uint32_t reason);

#endif
