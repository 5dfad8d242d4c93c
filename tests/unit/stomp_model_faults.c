/* The few things that a client must not do: each is answered by ERROR, and ends the
 * connection; of the frame nothing is done. */
#include <stdio.h>

#include "stomp_model_world.h"

static struct consumer *taking(const struct link *l)
{
    struct consumer *c = l->k->consumers;
    while (c != NULL && (!c->on || c->mode == AUTO))
        c = c->next;
    return c;
}

static const char *ack_of_never(struct sworld *w, struct link *l)
{
    const struct consumer *c = taking(l);
    if (c == NULL || w->m.n_msgs == 0)
        return NULL;
    answer_frame(w, l, c, &(struct delivery){ .number = c->last + 1 + draw(w, 3), .msg = 0 }, "ACK");
    return "unknown delivery";
}

static const char *ack_of_nobody(struct sworld *w, struct link *l)
{
    struct consumer none = { .number = l->k->n_consumers + 1, .id = text_of("x") };
    if (w->m.n_msgs == 0)
        return NULL;
    answer_frame(w, l, &none, &(struct delivery){ .number = 1 }, "ACK");
    return "unknown delivery";
}

static const char *ack_of_what(struct sworld *w, struct link *l)
{
    (void)w;
    frame_begin(&l->tx, "ACK");
    frame_put_text(&l->tx, 0, l->k->version == 2 ? "id" : "message-id", "what");
    if (l->k->version == 1)
        frame_put_text(&l->tx, 0, "subscription", "x");
    return "unknown delivery";
}

static const char *subscribe_twice(struct sworld *w, struct link *l)
{
    (void)w;
    const struct consumer *c = l->k->consumers;
    while (c != NULL && !(c->on && c->has_id))
        c = c->next;
    if (c == NULL)
        return NULL;
    frame_begin(&l->tx, "SUBSCRIBE");
    frame_put(&l->tx, l->k->version, sl_str("id"), text_view(&c->id));
    frame_put_text(&l->tx, 0, "destination", "/topic/elsewhere");
    return "duplicate subscription";
}

static const char *subscribe_to(struct link *l, const char *destination, const char *error)
{
    frame_begin(&l->tx, "SUBSCRIBE");
    frame_put_text(&l->tx, 0, "id", "fault");
    frame_put_text(&l->tx, 0, "destination", destination);
    return error;
}

static const char *subscribe_nowhere(struct sworld *w, struct link *l)
{
    static const char *const places[] = { "/queue/none", "/topic/a#/b", "/topic/#/b", "/elsewhere/x", "/queue/", "/topic/" };
    return subscribe_to(l, places[draw(w, SL_COUNT(places))], "invalid destination");
}

static const char *subscribe_to_anothers(struct sworld *w, struct link *l)
{
    static const char *const places[] = { "/reply-queue/0000000000000000/one", "/topic/$temp/#", "/topic/$temp/0000000000000000/one" };
    return subscribe_to(l, places[draw(w, SL_COUNT(places))], "not authorized");
}

static const char *subscribe_with(struct link *l, const char *name, const char *value, const char *error)
{
    (void)subscribe_to(l, "/topic/news", NULL);
    frame_put_text(&l->tx, 0, name, value);
    return error;
}

static const char *subscribe_oddly(struct sworld *w, struct link *l)
{
    static const struct { const char *name, *value, *error; } odd[] = {
        { "prefetch-count", "0", "invalid header" }, { "prefetch-count", "65536", "invalid header" }, { "prefetch-count", "x", "invalid header" },
        { "ack", "sometimes", "invalid header" }, { "selector", "a = 1", "not supported" }, { "durable", "true", "not supported" }, { "persistent", "true", "not supported" },
    };
    uint32_t i = draw(w, SL_COUNT(odd));
    return subscribe_with(l, odd[i].name, odd[i].value, odd[i].error);
}

static const char *subscribe_nameless(struct sworld *w, struct link *l)
{
    (void)w;
    if (l->k->version == 0)
        return NULL;
    frame_begin(&l->tx, "SUBSCRIBE");
    frame_put_text(&l->tx, 0, "destination", "/topic/news");
    return "missing header";
}

static const char *unsubscribe_nothing(struct sworld *w, struct link *l)
{
    (void)w;
    frame_begin(&l->tx, "UNSUBSCRIBE");
    frame_put_text(&l->tx, 0, "id", "none");
    return "unknown subscription";
}

static const char *send_nowhere(struct sworld *w, struct link *l)
{
    static const char *const places[] = { "/queue/none", "/topic/a/+", "/topic/", "/temp-queue/one", "nowhere" };
    frame_begin(&l->tx, "SEND");
    frame_put_text(&l->tx, 0, "destination", places[draw(w, SL_COUNT(places))]);
    return "invalid destination";
}

static const char *in_no_transaction(struct sworld *w, struct link *l)
{
    static const char *const commands[] = { "COMMIT", "ABORT", "SEND" };
    uint32_t i = draw(w, SL_COUNT(commands));
    frame_begin(&l->tx, commands[i]);
    if (i == 2)
        frame_put_text(&l->tx, 0, "destination", "/queue/jobs");
    frame_put_text(&l->tx, 0, "transaction", "none");
    return "unknown transaction";
}

static const char *begin_twice(struct sworld *w, struct link *l)
{
    struct open_txn *t = &l->k->txns[draw(w, OPEN_TXN)];
    if (!t->on)
        return NULL;
    frame_begin(&l->tx, "BEGIN");
    frame_put(&l->tx, l->k->version, sl_str("transaction"), text_view(&t->name));
    return "transaction already begun";
}

static const char *extend_oddly(struct sworld *w, struct link *l)
{
    const struct consumer *c = taking(l);
    struct open_txn *t = &l->k->txns[draw(w, OPEN_TXN)];
    if (c == NULL || c->n_d == 0 || l->k->version == 0)
        return NULL;
    answer_frame(w, l, c, &c->d[c->n_d - 1], "NACK");
    if (t->on)
        frame_put(&l->tx, l->k->version, sl_str("transaction"), text_view(&t->name));
    frame_put_text(&l->tx, 0, "extend", t->on ? "10s" : "0");
    return "invalid header";
}

static const char *connect_twice(struct sworld *w, struct link *l)
{
    (void)w;
    frame_begin(&l->tx, "CONNECT");
    frame_put_text(&l->tx, 0, "accept-version", "1.2");
    return "already connected";
}

static const char *say_nonsense(struct sworld *w, struct link *l)
{
    (void)w;
    frame_begin(&l->tx, "GIVE");
    return "unknown command";
}

/* The command as it stands at the start of the frame. */
static const char *command_of(const struct sl_buf *b)
{
    static char text[16];
    struct sl_bytes v = sl_buf_view(b);
    size_t n = 0;
    while (n < v.n && n < sizeof text - 1 && v.p[n] != '\n')
        n++;
    memcpy(text, v.p, n);
    text[n] = '\0';
    return text;
}

void act_fault(struct sworld *w)
{
    static const char *(*const faults[])(struct sworld *w, struct link *l) = {
        ack_of_never, ack_of_nobody, ack_of_what, subscribe_twice, subscribe_nowhere, subscribe_to_anothers, subscribe_oddly, subscribe_nameless,
        unsubscribe_nothing, send_nowhere, in_no_transaction, begin_twice, extend_oddly, connect_twice, say_nonsense,
    };
    struct link *l = some_link(w);
    if (l == NULL)
        return;
    link_flush(w, l);
    if (l->hc == NULL)
        return;
    const char *error = faults[draw(w, SL_COUNT(faults))](w, l);
    if (error == NULL)
        return;
    const char *command = command_of(&l->tx);
    bool shaped = strcmp(command, "CONNECT") != 0 && strcmp(command, "GIVE") != 0;
    struct owed o = { 0 };
    if (shaped && may_receipt(w, l, &o)) {
        l->k->error_receipt = true;
        l->k->error_id = o.receipt;
    }
    l->k->error_command = strcmp(command, "GIVE") == 0 ? NULL : command;
    smodel_say(&w->m, "c%u %s, which is wrong", l->k->number, command);
    frame_end(&l->tx, strcmp(command, "SEND") == 0 ? sl_str("lost") : SL_BYTES_NONE);
    smodel_conn_doom(&w->m, l->k, FAULT, error);
    smodel_release(&w->m, l->k);
    link_flush(w, l);
}
