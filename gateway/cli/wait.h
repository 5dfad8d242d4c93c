/* What the main thread waits for: signals, the connection's events, stdin, stdout, a deadline. */
#ifndef CLI_WAIT_H
#define CLI_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

#define CLI_NO_DEADLINE INT64_MAX

enum cli_ready {
    CLI_READY_SIGNAL = 1,
    CLI_READY_EVENTS = 2,
    CLI_READY_INPUT = 4,
    CLI_READY_OUTPUT = 8,
    CLI_READY_OUTPUT_GONE = 16, /* nobody reads our stdout any more */
    CLI_READY_TIMEOUT = 32,
};

struct cli_waits {
    int signals, events, input, output; /* -1: not now */
    bool write;                         /* there is something to write */
    bool receive, send;                 /* what is waited for on `events` */
    int64_t deadline_ms, wake_ms;       /* cli_now_ms()'s time; the second ends the wait and is no timeout */
};

/* SIGINT and SIGTERM come through the descriptor from now on, in every thread that is
 * made later; SIGPIPE is an error of write(). -1 when the system refuses. */
int cli_signals_open(void);
/* Forgets one signal. */
void cli_signals_take(int fd);
/* Bits of cli_ready. */
unsigned cli_wait(const struct cli_waits *w);
int64_t cli_now_ms(void);   /* monotonic */
uint64_t cli_clock_us(void); /* since 1970 */

#endif
