/* `sluice sub`: what was subscribed to, shown as it comes. */
#include <stdio.h>

#include "cli/pubsub.h"
#include "client.h"
#include "core/alloc.h"
#include "format.h"

/* A message whose ACK waits until it is written. */
struct unwritten {
    struct unwritten *next;
    uint64_t end; /* of its text, in bytes of output */
    uint32_t subscription;
    size_t n;
    char token[]; /* n bytes */
};

struct sub {
    struct cli_client c;
    struct unwritten *first, **last;
    bool full; /* --count is reached; nothing more is shown */
    int64_t shown, deadline_ms;
    struct sl_buf line; /* for a terminal, before it is made harmless */
};

static struct sub *sub_of(struct cli_client *c)
{
    return SL_CONTAINER(c, struct sub, c);
}

static void subscribe(struct cli_client *c)
{
    if (c->args.topics.n == 0)
        cli_client_leave(c, 0); /* it was for --unsubscribe alone */
    else if (c->link.verbs->subscribe(&c->link, &c->args.topics) != SL_OK)
        cli_client_fail(c, "cannot subscribe: %s", c->link.why);
}

static void connected(struct cli_client *c)
{
    if (c->args.timeout_ms != CLI_NOT_GIVEN)
        sub_of(c)->deadline_ms = cli_now_ms() + c->args.timeout_ms;
    if (c->args.unsubscribe.n == 0)
        subscribe(c);
    else if (c->link.verbs->unsubscribe(&c->link, &c->args.unsubscribe) != SL_OK)
        cli_client_fail(c, "cannot unsubscribe: %s", c->link.why);
}

/* ---- messages ---- */

static void show(struct sub *s, const struct cli_message *m)
{
    const struct cli_args *a = &s->c.args;
    struct sl_buf *out = &s->c.output.buf;
    struct sl_buf *to = s->c.output.terminal && !a->json ? &s->line : out;
    uint64_t now = cli_clock_us();
    if (a->json)
        cli_format_json(to, m, now);
    else
        cli_format_line(to, a->format != NULL ? a->format : CLI_FORMAT_DEFAULT, m, now);
    if (to == &s->line) {
        cli_format_tame(out, sl_buf_view(to));
        sl_buf_clear(to);
    }
    if (!a->no_newline)
        (void)!sl_buf_append(out, "\n", 1);
}

/* ---- acknowledging what was written ---- */

static void keep_token(struct sub *s, const struct cli_message *m)
{
    if (m->token.n == 0)
        return;
    struct unwritten *u = sl_alloc(sizeof *u + m->token.n);
    *u = (struct unwritten){ .end = s->c.output.written + sl_buf_len(&s->c.output.buf),
                             .subscription = m->subscription,
                             .n = m->token.n };
    memcpy(u->token, m->token.p, m->token.n);
    *s->last = u;
    s->last = &u->next;
}

static struct unwritten *pop(struct sub *s)
{
    struct unwritten *u = s->first;
    s->first = u->next;
    if (s->first == NULL)
        s->last = &s->first;
    return u;
}

static void acknowledge_written(struct sub *s)
{
    while (s->first != NULL && s->first->end <= s->c.output.written) {
        struct unwritten *u = pop(s);
        s->c.link.verbs->acknowledge(&s->c.link, sl_bytes_of(u->token, u->n), u->subscription);
        sl_free(u);
    }
}

/* ---- what comes ---- */

static void on_message(struct sub *s, const struct cli_event *e)
{
    const struct cli_args *a = &s->c.args;
    struct cli_message m = e->message;
    if (s->c.stage != CLI_RUNNING || s->full || (a->no_retained && m.retain))
        return;
    if (a->retained_only && !m.retain) {
        cli_client_leave(&s->c, 0); /* what was retained has come before it */
        return;
    }
    show(s, &m);
    keep_token(s, &m);
    s->full = ++s->shown == a->count;
}

/* ---- answers ---- */

static void on_subscribed(struct cli_client *c, const struct cli_event *e)
{
    for (uint32_t i = 0; i < e->n_granted && i < c->args.topics.n; i++) {
        if (e->granted[i] >= 0x80)
            cli_client_fail(c, "the subscription to \"%s\" was refused: %s (0x%02X)", c->args.topics.v[i],
                            cli_reason(c, e->kind, e->granted[i]), e->granted[i]);
        else
            cli_client_debug(c, "subscribed to \"%s\" with QoS %u", c->args.topics.v[i], e->granted[i]);
    }
}

static void on_unsubscribed(struct cli_client *c, const struct cli_event *e)
{
    for (uint32_t i = 0; i < e->n_granted && i < c->args.unsubscribe.n; i++) {
        if (e->granted[i] >= 0x80)
            cli_client_fail(c, "unsubscribing from \"%s\" was refused: %s (0x%02X)", c->args.unsubscribe.v[i],
                            cli_reason(c, e->kind, e->granted[i]), e->granted[i]);
        else
            cli_client_debug(c, "unsubscribed from \"%s\": %s", c->args.unsubscribe.v[i],
                             cli_reason(c, e->kind, e->granted[i]));
    }
    if (c->stage == CLI_RUNNING)
        subscribe(c);
}

static void on_event(struct cli_client *c, const struct cli_event *e)
{
    if (e->kind == CLI_EV_MESSAGE)
        on_message(sub_of(c), e);
    else if (e->kind == CLI_EV_SUBSCRIBED)
        on_subscribed(c, e);
    else if (e->kind == CLI_EV_UNSUBSCRIBED)
        on_unsubscribed(c, e);
    else if (e->kind == CLI_EV_SUBSCRIBE_FAILED)
        cli_client_fail_event(c, "the subscription was refused", e);
    else if (e->kind == CLI_EV_UNSUBSCRIBE_FAILED)
        cli_client_fail_event(c, "unsubscribing was refused", e);
}

static void step(struct cli_client *c)
{
    struct sub *s = sub_of(c);
    acknowledge_written(s);
    if (s->full && s->first == NULL)
        cli_client_leave(c, 0);
    else
        c->waits.deadline_ms = s->deadline_ms;
}

static void no_input(struct cli_client *c)
{
    (void)c;
}

static void on_timeout(struct cli_client *c)
{
    const struct sub *s = sub_of(c);
    if (c->args.count != CLI_NOT_GIVEN && !s->full)
        cli_client_fail(c, "%lld of %lld messages within --timeout", (long long)s->shown, (long long)c->args.count);
    else
        cli_client_leave(c, 0);
}

static void interrupted(struct cli_client *c)
{
    cli_client_leave(c, c->args.count != CLI_NOT_GIVEN && !sub_of(c)->full);
}

int cli_sub_main(int argc, char **argv)
{
    static const struct cli_command_verbs verbs = { connected, on_event, step, no_input, on_timeout, interrupted };
    struct sub s = { .c = { .command = "sub", .shows = true }, .deadline_ms = CLI_NO_DEADLINE };
    s.last = &s.first;
    int err = cli_args_sub(argc, argv, &s.c.args);
    int status = err == SL_OK ? cli_client_open(&s.c) : err == SL_ENOENT ? 0 : 2;
    if (err == SL_ENOENT)
        fputs(cli_sub_help, stdout);
    if (err == SL_OK && status == 0)
        status = cli_client_run(&s.c, &verbs);
    while (s.first != NULL)
        sl_free(pop(&s));
    sl_buf_fini(&s.line);
    cli_client_close(&s.c);
    return status;
}
