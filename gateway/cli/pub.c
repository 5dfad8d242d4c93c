/* `sluice pub`: messages out, a window of them unanswered at a time; with --wait the result back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "cli/pubsub.h"
#include "client.h"
#include "format.h"

#define WAIT_MS 60000
#define OWN_QUEUES "/temp-queue/"

struct pub {
    struct cli_client c;
    struct cli_input input;
    uint64_t sent, answered, refused;
    bool ready;  /* to publish */
    bool finished; /* no further payloads */
    int64_t due_ms, deadline_ms;
    char answer_topic[700], correlation[33];
};

static struct pub *pub_of(struct cli_client *c)
{
    return SL_CONTAINER(c, struct pub, c);
}

/* ---- before the first message ---- */

/* What the server said it cannot do is not tried: it would cost the connection. */
static bool possible(struct cli_client *c)
{
    const struct cli_args *a = &c->args;
    if (a->qos > c->connack.maximum_qos)
        cli_client_fail(c, "the server takes QoS %u at most", c->connack.maximum_qos);
    else if (a->retain && c->connack.no_retain)
        cli_client_fail(c, "the server keeps no retained messages");
    else if (a->topic_alias != CLI_NOT_GIVEN && a->topic_alias > c->connack.topic_alias_maximum)
        cli_client_fail(c, "the server takes topic aliases up to %u", c->connack.topic_alias_maximum);
    return c->stage == CLI_RUNNING;
}

static void name_answer_topic(struct pub *p, uint64_t dice)
{
    const char *under = p->c.connack.response_information;
    if (p->c.args.stomp)
        snprintf(p->answer_topic, sizeof p->answer_topic, OWN_QUEUES "result");
    else
        snprintf(p->answer_topic, sizeof p->answer_topic, "%s%s%016" PRIx64, under[0] != '\0' ? under : "answers",
                 under[0] != '\0' && under[strlen(under) - 1] == '/' ? "" : "/", dice);
}

static void choose_answer(struct pub *p)
{
    struct cli_args *a = &p->c.args;
    uint64_t dice[2] = { 0, 0 };
    (void)!getrandom(dice, sizeof dice, 0);
    snprintf(p->correlation, sizeof p->correlation, "%016" PRIx64, dice[0]);
    name_answer_topic(p, dice[1]);
    if (a->response_topic == NULL)
        a->response_topic = p->answer_topic;
    if (a->correlation == NULL)
        a->correlation = p->correlation;
}

/* STOMP's servers subscribe the sender of a message to its own reply destination. */
static bool comes_unasked(const struct cli_args *a)
{
    return a->stomp && strncmp(a->response_topic, OWN_QUEUES, strlen(OWN_QUEUES)) == 0;
}

static void connected(struct cli_client *c)
{
    struct pub *p = pub_of(c);
    if (!possible(c))
        return;
    if (c->args.timeout_ms != CLI_NOT_GIVEN)
        p->deadline_ms = cli_now_ms() + c->args.timeout_ms;
    p->ready = !c->args.wait;
    if (!c->args.wait)
        return;
    choose_answer(p);
    if (c->args.timeout_ms == CLI_NOT_GIVEN)
        p->deadline_ms = cli_now_ms() + WAIT_MS;
    p->ready = comes_unasked(&c->args);
    struct cli_texts filter = { &c->args.response_topic, 1 };
    if (!p->ready && c->link.verbs->subscribe(&c->link, &filter) != SL_OK)
        cli_client_fail(c, "cannot subscribe to the result: %s", c->link.why);
}

/* ---- publishing ---- */

/* A topic that the server knows by its alias is not sent again. */
static const char *topic_of(const struct pub *p)
{
    return p->c.args.topic_alias != CLI_NOT_GIVEN && p->sent > 0 ? "" : p->c.args.topic;
}

static void publish(struct pub *p, struct sl_bytes payload)
{
    if (p->c.link.verbs->publish(&p->c.link, topic_of(p), payload) != SL_OK)
        cli_client_fail(&p->c, "cannot publish: %s", p->c.link.why);
    else
        p->sent++;
    if (p->c.args.interval_ms > 0)
        p->due_ms = cli_now_ms() + p->c.args.interval_ms;
}

static uint64_t unanswered(const struct pub *p)
{
    return p->sent - p->answered - p->refused;
}

static bool may_publish(const struct pub *p)
{
    return p->ready && !p->finished && p->c.stage == CLI_RUNNING && unanswered(p) < (uint64_t)p->c.args.window &&
           (p->due_ms == 0 || cli_now_ms() >= p->due_ms);
}

/* Fills the window. True when only more input helps. */
static bool publish_more(struct pub *p)
{
    while (may_publish(p)) {
        struct sl_bytes payload;
        int err = cli_input_next(&p->input, &payload);
        if (err == SL_EMORE)
            return true;
        if (err == SL_OK)
            publish(p, payload);
        else
            p->finished = true;
    }
    return false;
}

/* ---- the end ---- */

static void look_for_end(struct pub *p)
{
    if (!p->ready || !p->finished || unanswered(p) > 0 || p->c.stage != CLI_RUNNING)
        return;
    if (p->c.args.wait && p->refused == 0)
        return; /* for the result */
    cli_client_debug(&p->c, "%" PRIu64 " published", p->answered);
    cli_client_leave(&p->c, p->refused > 0);
}

static void step(struct cli_client *c)
{
    struct pub *p = pub_of(c);
    p->answered += c->link.verbs->answered(&c->link);
    bool wants_input = publish_more(p);
    look_for_end(p);
    if (c->stage != CLI_RUNNING)
        return;
    c->waits.input = wants_input ? p->input.fd : -1;
    c->waits.deadline_ms = p->due_ms != 0 && !p->finished && p->due_ms < p->deadline_ms ? p->due_ms : p->deadline_ms;
}

static void on_input(struct cli_client *c)
{
    struct pub *p = pub_of(c);
    if (c->stage != CLI_RUNNING)
        return;
    int err = cli_input_read(&p->input);
    if (err == SL_ETOOBIG)
        cli_client_fail(c, "stdin: larger than a message can be");
    else if (err != SL_OK)
        cli_client_fail(c, "stdin: %s", strerror(errno));
}

/* ---- events ---- */

static void refused(struct pub *p, const struct cli_event *e)
{
    const char *own = e->text[0] != '\0' ? e->text : NULL;
    p->refused++;
    if (!e->told) {
        cli_client_fail_event(&p->c, "a message was not answered", e);
        return;
    }
    if (p->refused == 1) /* the first one speaks for all */
        fprintf(stderr, "sluice pub: the message was refused: %s (0x%02X)%s%s\n", cli_reason(&p->c, e->kind, e->reason),
                e->reason, own ? ": " : "", own ? own : "");
}

static void on_result(struct pub *p, const struct cli_event *e)
{
    struct cli_message m = e->message;
    struct sl_buf *out = &p->c.output.buf;
    struct sl_bytes c = cli_property_bytes(m.properties, MQTTPROPERTY_CODE_CORRELATION_DATA);
    if (p->c.stage != CLI_RUNNING || m.retain || !sl_bytes_is(c, p->c.args.correlation))
        return; /* another one's, or an old one */
    if (p->c.args.json)
        cli_format_json(out, &m, cli_clock_us());
    else if (p->c.output.terminal)
        cli_format_tame(out, m.payload);
    else
        (void)!sl_buf_append_bytes(out, m.payload);
    if (m.payload.n == 0 || m.payload.p[m.payload.n - 1] != '\n' || p->c.args.json)
        (void)!sl_buf_append(out, "\n", 1);
    cli_client_leave(&p->c, 0);
}

static void on_event(struct cli_client *c, const struct cli_event *e)
{
    struct pub *p = pub_of(c);
    if (e->kind == CLI_EV_MESSAGE)
        on_result(p, e);
    else if (e->kind == CLI_EV_PUBLISH_FAILED)
        refused(p, e);
    else if (e->kind == CLI_EV_SUBSCRIBED)
        p->ready = true;
    else if (e->kind == CLI_EV_SUBSCRIBE_FAILED)
        cli_client_fail_event(c, "the subscription to the result was refused", e);
}

static void on_timeout(struct cli_client *c)
{
    struct pub *p = pub_of(c);
    if (cli_now_ms() < p->deadline_ms)
        return; /* it is time for the next message */
    if (c->args.wait && p->finished && unanswered(p) == 0)
        cli_client_fail(c, "no result in time");
    else
        cli_client_fail(c, "%" PRIu64 " messages are not answered in time", unanswered(p));
}

/* Takes nothing more, and gives what is out a moment to be answered. */
static void interrupted(struct cli_client *c)
{
    struct pub *p = pub_of(c);
    if (p->finished || !p->ready || c->args.source != CLI_FROM_LINES) {
        cli_client_fail(c, "interrupted: %" PRIu64 " answered, %" PRIu64 " not", p->answered, unanswered(p));
        return;
    }
    p->finished = true;
    cli_input_stop(&p->input);
    p->deadline_ms = cli_now_ms() + 5000;
}

static int open_input(struct pub *p)
{
    int err = cli_input_open(&p->input, &p->c.args);
    if (err != SL_OK)
        fprintf(stderr, "sluice pub: %s: %s\n", p->c.args.file,
                err == SL_ETOOBIG ? "larger than a message can be" : strerror(errno));
    return err == SL_OK ? 0 : 1;
}

static int run(struct pub *p)
{
    static const struct cli_command_verbs verbs = { connected, on_event, step, on_input, on_timeout, interrupted };
    int status = open_input(p);
    p->c.shows = p->c.args.wait;
    if (status == 0)
        status = cli_client_open(&p->c);
    if (status == 0)
        status = cli_client_run(&p->c, &verbs);
    return status;
}

int cli_pub_main(int argc, char **argv)
{
    struct pub p = { .c = { .command = "pub" }, .deadline_ms = CLI_NO_DEADLINE };
    int err = cli_args_pub(argc, argv, &p.c.args);
    int status = err == SL_OK ? run(&p) : err == SL_ENOENT ? 0 : 2;
    if (err == SL_ENOENT)
        fputs(cli_pub_help, stdout);
    cli_input_fini(&p.input);
    cli_client_close(&p.c);
    return status;
}
