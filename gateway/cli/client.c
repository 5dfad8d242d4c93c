#include "client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LEAVE_MS 5000 /* for DISCONNECT to be sent */

/* ---- words ---- */

const char *cli_reason(const struct cli_client *c, enum cli_event_kind kind, uint32_t reason)
{
    static const char *const connack[] = { "accepted",
                                           "unacceptable protocol version",
                                           "identifier rejected",
                                           "server unavailable",
                                           "bad user name or password",
                                           "not authorized" };
    if (!c->link.v5 && kind == CLI_EV_REFUSED && reason < SL_COUNT(connack))
        return connack[reason];
    const char *text = c->link.paho->reason_text((enum MQTTReasonCodes)reason);
    return text != NULL ? text : "a reason without a name";
}

void cli_client_debug(const struct cli_client *c, const char *fmt, ...)
{
    va_list ap;
    if (!c->args.debug)
        return;
    fprintf(stderr, "sluice %s: ", c->command);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

void cli_client_fail(struct cli_client *c, const char *fmt, ...)
{
    va_list ap;
    if (c->stage < CLI_LEAVING) {
        fprintf(stderr, "sluice %s: ", c->command);
        va_start(ap, fmt);
        vfprintf(stderr, fmt, ap);
        va_end(ap);
        fputc('\n', stderr);
    }
    cli_client_leave(c, 1);
}

void cli_client_fail_event(struct cli_client *c, const char *what, const struct cli_event *e)
{
    const char *own = e->text[0] != '\0' ? e->text : NULL;
    if (e->told)
        cli_client_fail(c, "%s: %s (0x%02X)%s%s", what, cli_reason(c, e->kind, e->reason), e->reason, own ? ": " : "",
                        own ? own : "");
    else if (own != NULL)
        cli_client_fail(c, "%s: %s", what, own);
    else if (e->code != 0 && e->code != MQTTASYNC_FAILURE)
        cli_client_fail(c, "%s: %s", what, c->link.paho->error_text(e->code));
    else
        cli_client_fail(c, "%s", what);
}

/* ---- life ---- */

static void over(struct cli_client *c)
{
    c->connected = false;
    c->stage = CLI_LEAVING;
    c->waits.deadline_ms = CLI_NO_DEADLINE; /* what is left is output */
}

void cli_client_leave(struct cli_client *c, int status)
{
    int code;
    if (c->stage >= CLI_LEAVING)
        return;
    c->status = status;
    c->stage = CLI_LEAVING;
    c->waits.input = -1;
    c->waits.deadline_ms = cli_now_ms() + LEAVE_MS;
    cli_events_close(&c->link.events); /* Paho's thread must not wait for us while we wait for it */
    if (!c->connected || cli_link_disconnect(&c->link, &code) != SL_OK)
        over(c);
}

int cli_client_open(struct cli_client *c)
{
    int code;
    c->waits = (struct cli_waits){ -1, -1, -1, -1, false, CLI_NO_DEADLINE };
    if (c->shows)
        c->waits.output = STDOUT_FILENO;
    cli_output_init(&c->output, STDOUT_FILENO);
    int err = cli_address_of(c->command, &c->args, &c->address);
    if (err != SL_OK)
        return err == SL_EINVAL ? 2 : 1;
    c->link.args = &c->args;
    c->link.address = &c->address;
    c->link.paho = cli_paho_load(c->command);
    if (c->link.paho == NULL)
        return 1;
    c->waits.signals = cli_signals_open(); /* before Paho makes threads, which inherit what is blocked */
    if (c->waits.signals < 0 || cli_link_open(&c->link, c->command, &code) != SL_OK) {
        fprintf(stderr, "sluice %s: cannot begin: %s\n", c->command, strerror(errno));
        return 1;
    }
    c->waits.events = c->link.events.fd;
    return 0;
}

static void connect_now(struct cli_client *c)
{
    int code;
    cli_client_debug(c, "connecting to %s with MQTT %s as \"%s\"", c->address.shown, c->link.v5 ? "5" : "3.1.1", c->link.id);
    c->waits.deadline_ms = cli_now_ms() + c->args.connect_timeout * 1000;
    if (cli_link_connect(&c->link, &code) != SL_OK)
        cli_client_fail(c, "cannot connect to %s: %s", c->address.shown, c->link.paho->error_text(code));
}

/* ---- events ---- */

static void on_connected(struct cli_client *c, const struct cli_event *e, const struct cli_command_verbs *verbs)
{
    c->connected = true;
    if (c->stage != CLI_CONNECTING)
        return;
    c->connack = e->connack;
    c->stage = CLI_RUNNING;
    c->waits.deadline_ms = CLI_NO_DEADLINE;
    cli_client_debug(c, "connected; session %s%s%s", e->connack.session_present ? "resumed" : "new",
                     e->connack.assigned_id[0] != '\0' ? ", assigned id " : "", e->connack.assigned_id);
    verbs->connected(c);
}

static void on_refused(struct cli_client *c, const struct cli_event *e)
{
    char what[700];
    bool tls = !e->told && c->link.tls_error[0] != '\0';
    snprintf(what, sizeof what, "%s %s%s%s", c->address.shown, e->told ? "refused the connection" : "cannot be reached",
             tls ? ": " : "", tls ? c->link.tls_error : "");
    cli_client_fail_event(c, what, e);
}

static void on_lost(struct cli_client *c, const struct cli_event *e)
{
    if (c->stage < CLI_LEAVING)
        cli_client_fail_event(c, e->told ? "the server ended the connection" : "the connection was lost", e);
    over(c);
}

static void dispatch(struct cli_client *c, const struct cli_event *e, const struct cli_command_verbs *verbs)
{
    if (e->kind == CLI_EV_CONNECTED)
        on_connected(c, e, verbs);
    else if (e->kind == CLI_EV_REFUSED)
        on_refused(c, e);
    else if (e->kind == CLI_EV_LOST)
        on_lost(c, e);
    else if (e->kind == CLI_EV_GONE)
        over(c);
    else
        verbs->event(c, e);
}

/* Takes no more than fits into the output; the rest waits, and with it Paho's thread. */
static void drain(struct cli_client *c, const struct cli_command_verbs *verbs)
{
    struct cli_event *e;
    cli_events_clear(&c->link.events);
    while (sl_buf_len(&c->output.buf) < CLI_OUTPUT_ENOUGH && (e = cli_events_take(&c->link.events)) != NULL) {
        dispatch(c, e, verbs);
        cli_event_free(c->link.paho, e);
    }
}

static void on_signal(struct cli_client *c, const struct cli_command_verbs *verbs)
{
    cli_signals_take(c->waits.signals);
    if (c->stage == CLI_RUNNING)
        verbs->interrupted(c);
    else if (c->stage == CLI_CONNECTING)
        cli_client_fail(c, "interrupted while connecting");
    else
        c->stage = CLI_OVER;
}

static void on_timeout(struct cli_client *c, const struct cli_command_verbs *verbs)
{
    if (c->stage == CLI_RUNNING)
        verbs->timeout(c);
    else if (c->stage == CLI_CONNECTING)
        cli_client_fail(c, "%s cannot be reached: no answer within %lld s", c->address.shown,
                        (long long)c->args.connect_timeout);
    else
        over(c);
}

/* A reader that has seen enough, as `head` has, is no failure. */
static void output_gone(struct cli_client *c)
{
    sl_buf_clear(&c->output.buf);
    c->waits.output = -1;
    cli_client_leave(c, 0);
}

static void write_out(struct cli_client *c)
{
    int err = cli_output_write(&c->output);
    if (err == SL_ECLOSED) {
        output_gone(c);
    } else if (err != SL_OK) {
        cli_client_fail(c, "stdout: %s", strerror(errno));
        output_gone(c);
    }
}

static void serve(struct cli_client *c, unsigned ready, const struct cli_command_verbs *verbs)
{
    if (ready & CLI_READY_SIGNAL)
        on_signal(c, verbs);
    if (ready & CLI_READY_OUTPUT_GONE)
        output_gone(c);
    if ((ready & CLI_READY_OUTPUT) && c->waits.write)
        write_out(c);
    if (ready & CLI_READY_INPUT)
        verbs->input(c);
    drain(c, verbs); /* also what waited for room in the output */
    if (ready & CLI_READY_TIMEOUT)
        on_timeout(c, verbs);
}

static bool ended(const struct cli_client *c)
{
    return c->stage == CLI_OVER || (c->stage == CLI_LEAVING && !c->connected && sl_buf_len(&c->output.buf) == 0);
}

int cli_client_run(struct cli_client *c, const struct cli_command_verbs *verbs)
{
    connect_now(c);
    for (;;) {
        if (c->stage == CLI_RUNNING)
            verbs->step(c);
        if (ended(c))
            return c->status;
        size_t waiting = sl_buf_len(&c->output.buf);
        c->waits.write = waiting > 0;
        c->waits.events = waiting < CLI_OUTPUT_ENOUGH ? c->link.events.fd : -1;
        serve(c, cli_wait(&c->waits), verbs);
    }
}

void cli_client_close(struct cli_client *c)
{
    cli_output_fini(&c->output);
    cli_address_fini(&c->address);
    cli_args_fini(&c->args);
}
