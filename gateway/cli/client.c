#include "client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "format.h"

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
    if (c->link.paho == NULL)
        return "accepted"; /* STOMP says otherwise in words alone */
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

/* What a server wrote into an ERROR, line by line. */
static void tell_body(const struct cli_event *e)
{
    struct sl_buf out = { 0 };
    cli_format_tame(&out, e->body);
    struct sl_bytes v = sl_buf_view(&out);
    if (v.n > 0)
        fprintf(stderr, "%.*s%s", (int)v.n, (const char *)v.p, v.p[v.n - 1] == '\n' ? "" : "\n");
    sl_buf_fini(&out);
}

void cli_client_fail_event(struct cli_client *c, const char *what, const struct cli_event *e)
{
    const char *own = e->text[0] != '\0' ? e->text : NULL;
    bool tells = c->stage < CLI_LEAVING;
    if (e->told && e->reason == CLI_NO_REASON)
        cli_client_fail(c, "%s: %s", what, own ? own : "an ERROR without a message");
    else if (e->told)
        cli_client_fail(c, "%s: %s (0x%02X)%s%s", what, cli_reason(c, e->kind, e->reason), e->reason, own ? ": " : "",
                        own ? own : "");
    else if (own != NULL)
        cli_client_fail(c, "%s: %s", what, own);
    else if (e->code != 0 && e->code != MQTTASYNC_FAILURE)
        cli_client_fail(c, "%s: %s", what, c->link.paho->error_text(e->code));
    else
        cli_client_fail(c, "%s", what);
    if (tells)
        tell_body(e);
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
    if (c->stage >= CLI_LEAVING)
        return;
    c->status = status;
    c->stage = CLI_LEAVING;
    c->waits.input = -1;
    c->waits.deadline_ms = cli_now_ms() + LEAVE_MS;
    if (!c->connected || c->link.verbs->disconnect(&c->link) != SL_OK)
        over(c);
}

static void choose_id(struct cli_client *c)
{
    uint32_t dice = 0;
    (void)!getrandom(&dice, sizeof dice, 0);
    if (c->args.id != NULL)
        snprintf(c->link.id, sizeof c->link.id, "%s", c->args.id);
    else
        snprintf(c->link.id, sizeof c->link.id, "sluice-%s-%08x", c->command, dice);
}

/* SL_ENOENT: what speaks the protocol is not on this machine, and that was told. */
static int choose_link(struct cli_client *c)
{
    c->link = (struct cli_link){ .verbs = c->args.stomp ? &cli_stomp_link : &cli_mqtt_link,
                                 .args = &c->args,
                                 .address = &c->address,
                                 .fd = -1,
                                 .wake_ms = CLI_NO_DEADLINE };
    choose_id(c);
    if (c->args.stomp)
        return SL_OK;
    c->link.paho = cli_paho_load(c->command);
    return c->link.paho != NULL ? SL_OK : SL_ENOENT;
}

int cli_client_open(struct cli_client *c)
{
    c->waits = (struct cli_waits){ .signals = -1, .events = -1, .input = -1, .output = -1, .deadline_ms = CLI_NO_DEADLINE };
    if (c->shows)
        c->waits.output = STDOUT_FILENO;
    cli_output_init(&c->output, STDOUT_FILENO);
    int err = cli_address_of(c->command, &c->args, &c->address);
    if (err != SL_OK)
        return err == SL_EINVAL ? 2 : 1;
    if (choose_link(c) != SL_OK)
        return 1;
    c->waits.signals = cli_signals_open(); /* before Paho makes threads, which inherit what is blocked */
    if (c->waits.signals < 0)
        c->link.why = strerror(errno);
    if (c->waits.signals < 0 || c->link.verbs->open(&c->link) != SL_OK) {
        fprintf(stderr, "sluice %s: cannot begin: %s\n", c->command, c->link.why);
        return 1;
    }
    return 0;
}

static void connect_now(struct cli_client *c)
{
    cli_client_debug(c, "connecting to %s with %s as \"%s\"", c->address.shown, c->link.speaks, c->link.id);
    c->waits.deadline_ms = cli_now_ms() + c->args.connect_timeout * 1000;
    if (c->link.verbs->connect(&c->link) != SL_OK)
        cli_client_fail(c, "cannot connect to %s: %s", c->address.shown, c->link.why);
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
    bool late = c->stage == CLI_LEAVING && e->told && e->reason == CLI_NO_REASON; /* an ERROR of what we sent before */
    if (late)
        c->stage = CLI_RUNNING;
    c->connected = false;
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

/* Takes no more than fits into the output; the rest waits, and with it the server. */
static void drain(struct cli_client *c, const struct cli_command_verbs *verbs)
{
    struct cli_event *e;
    c->link.verbs->begin(&c->link);
    while (sl_buf_len(&c->output.buf) < CLI_OUTPUT_ENOUGH && (e = c->link.verbs->take(&c->link)) != NULL) {
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

static void prepare_wait(struct cli_client *c)
{
    size_t waiting = sl_buf_len(&c->output.buf);
    c->link.verbs->flush(&c->link);
    c->waits.write = waiting > 0;
    c->waits.events = c->link.fd;
    c->waits.receive = waiting < CLI_OUTPUT_ENOUGH;
    c->waits.send = c->link.wants_write;
    c->waits.wake_ms = c->link.wake_ms;
}

int cli_client_run(struct cli_client *c, const struct cli_command_verbs *verbs)
{
    connect_now(c);
    for (;;) {
        if (c->stage == CLI_RUNNING)
            verbs->step(c);
        if (ended(c))
            return c->status;
        prepare_wait(c);
        serve(c, cli_wait(&c->waits), verbs);
    }
}

void cli_client_close(struct cli_client *c)
{
    if (c->link.verbs != NULL && (c->link.paho != NULL || c->args.stomp))
        c->link.verbs->close(&c->link);
    cli_output_fini(&c->output);
    cli_address_fini(&c->address);
    cli_args_fini(&c->args);
}
