/* Turns, the store, and what STOMP clients read. */
#include "stomp_model_world.h"

#include <stdio.h>

#include "core/log.h"

uint32_t draw(struct sworld *w, uint32_t n)
{
    return (uint32_t)sl_rng_below(&w->rng, n);
}

struct sconn *link_conn(struct link *l)
{
    return l->k;
}

/* ---- the store ---- */

static void on_submit(void *arg, struct batch *b)
{
    struct sworld *w = arg;
    assert_null(w->pending);
    w->pending = b;
    w->m.pending = b;
}

static void on_fetch(void *arg, struct batch_fetch *f)
{
    struct sworld *w = arg;
    assert_null(w->fetches[f->queue]);
    w->fetches[f->queue] = f;
}

static void on_volatile(void *arg, struct batch *b)
{
    (void)arg;
    (void)b;
}

static bool give_bodies(struct sworld *w)
{
    bool any = false;
    for (uint32_t q = 0; q < QUEUES; q++) {
        struct batch_fetch *f = w->fetches[q];
        w->fetches[q] = NULL;
        for (uint32_t i = 0; f != NULL && i < f->n; i++)
            f->msgs[i] = model_store_body(&w->store, f->ids[i]);
        if (f != NULL)
            hub_fetched(w->h, f);
        any |= f != NULL;
    }
    return any;
}

static bool takes_in(const struct batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->ops[i].kind == BATCH_BODY || b->ops[i].kind == BATCH_RETAIN)
            return true;
    }
    return false;
}

static bool flushed(const struct sworld *w)
{
    return w->pending == NULL && hub_flushed(w->h);
}

void sworld_commit(struct sworld *w)
{
    struct batch *b = w->pending;
    if (b == NULL)
        return;
    w->pending = NULL;
    b->took_us = 1000;
    bool fits = w->space || !takes_in(b);
    smodel_say(&w->m, "commit of %u records%s", b->live, fits ? "" : ": no space");
    for (uint32_t i = 0; w->m.verbose && i < b->n; i++) {
        const struct batch_op *op = &b->ops[i];
        if (op->kind != BATCH_NONE)
            smodel_say(&w->m, "  kind %u %016llx q%d state %u attempts %u%s", op->kind, (unsigned long long)op->id, (int)op->queue - 1, op->state, op->attempts,
                       op->bound && op->kind != BATCH_ENTRY ? " bound" : "");
    }
    const char *fault = fits ? model_store_apply(&w->store, b) : NULL;
    if (fault != NULL)
        smodel_fail(&w->m, "%s", fault);
    if (fits)
        smodel_stored(&w->m, &w->store, false);
    w->m.pending = NULL;
    hub_committed(w->h, b, fits ? SL_OK : SL_ENOSPC);
    sworld_turn(w);
}

/* ---- reading ---- */

static void own(struct sl_bytes *to, struct sl_bytes from)
{
    uint8_t *p = sl_alloc(from.n);
    (void)sl_wr_bytes(p, from);
    *to = sl_bytes_of(p, from.n);
}

/* A header's value without its escapes. */
static struct text plain(struct sl_bytes v, uint32_t version)
{
    struct text t = { 0 };
    for (size_t i = 0; i < v.n && t.n < sizeof t.p; i++) {
        uint8_t c = v.p[i];
        if (version > 0 && c == '\\' && i + 1 < v.n) {
            c = v.p[++i];
            c = c == 'n' ? '\n' : c == 'c' ? ':' : c == 'r' ? '\r' : c;
        }
        t.p[t.n++] = c;
    }
    return t;
}

/* By its id; in 1.0 a connection has one subscription without at most. */
static struct consumer *subscription_of(struct smodel *m, struct sconn *k, const struct frame_view *f)
{
    struct sl_bytes v;
    bool named = frame_header(f, "subscription", &v);
    struct text id = named ? plain(v, k->version) : (struct text){ 0 };
    for (struct consumer *c = k->consumers; c != NULL; c = c->next) {
        if (c->has_id == named && (c->on || k->doom != FINE) && (!named || text_eq(&c->id, &id)))
            return c;
    }
    smodel_fail(m, "c%u gets a MESSAGE for no subscription of its own:\n%.*s", k->number, (int)f->head.n, (const char *)f->head.p);
}

static void on_topic_message(struct smodel *m, struct consumer *c, uint32_t msg, const struct frame_view *f)
{
    struct sl_bytes retain;
    bool fed = frame_header(f, "retain", &retain);
    (void)smodel_topic_message(m, c, msg, fed);
    uint64_t number = c->mode == AUTO ? 0 : ++c->last;
    message_check(m, &(struct shown){ .c = c, .msg = msg, .attempt = 1, .delivery = number, .retain = fed }, f->head, f->body);
    c->came++;
    m->deliveries++;
    if (c->mode == AUTO)
        return;
    if (c->n_d == c->cap_d) {
        c->cap_d = c->cap_d == 0 ? 8 : c->cap_d * 2;
        c->d = sl_realloc(c->d, c->cap_d * sizeof *c->d);
    }
    c->d[c->n_d++] = (struct delivery){ .number = number, .msg = msg, .entry = NONE };
    c->unanswered++;
}

static void on_message(struct smodel *m, struct sconn *k, const struct frame_view *f)
{
    struct consumer *c = subscription_of(m, k, f);
    uint32_t msg = message_named(m, f);
    smodel_say(m, "  c%u/%u gets m%u", k->number, c->number, msg);
    if (c->queue == NONE) {
        on_topic_message(m, c, msg, f);
        return;
    }
    if (m->n_seen == m->cap_seen) {
        m->cap_seen = m->cap_seen == 0 ? 32 : m->cap_seen * 2;
        m->seen = sl_realloc(m->seen, m->cap_seen * sizeof *m->seen);
    }
    struct seen *s = &m->seen[m->n_seen++];
    *s = (struct seen){ .c = c, .msg = msg };
    own(&s->head, f->head);
    own(&s->body, f->body);
}

static void on_error(struct smodel *m, struct sconn *k, const struct frame_view *f)
{
    struct sl_bytes message = SL_BYTES_NONE, id;
    (void)frame_header(f, "message", &message);
    smodel_say(m, "  c%u gets ERROR %.*s", k->number, (int)message.n, (const char *)message.p);
    if (k->may_be_slow && sl_bytes_is(message, "slow consumer"))
        smodel_conn_doom(m, k, SLOW, "slow consumer");
    if (k->error == NULL || k->error_seen || !sl_bytes_is(message, k->error))
        smodel_fail(m, "c%u: ERROR %.*s, %s%s was to be expected\n%.*s", k->number, (int)message.n, (const char *)message.p, k->error_seen ? "a second after " : "",
                    k->error == NULL ? "none" : k->error, (int)f->body.n, (const char *)f->body.p);
    bool has = frame_header(f, "receipt-id", &id);
    struct text got = has ? plain(id, k->version) : (struct text){ 0 };
    if (has != k->error_receipt || (has && !text_eq(&got, &k->error_id)))
        smodel_fail(m, "c%u: ERROR with receipt-id \"%.*s\", not \"%.*s\"", k->number, got.n, (const char *)got.p, k->error_id.n, (const char *)k->error_id.p);
    char quote[40];
    int n = snprintf(quote, sizeof quote, "\n> %s\n", k->error_command == NULL ? "" : k->error_command);
    bool quoted = false;
    for (size_t i = 0; k->error_command != NULL && i + (size_t)n <= f->body.n; i++)
        quoted |= memcmp(f->body.p + i, quote, (size_t)n) == 0;
    if (k->error_command != NULL && !quoted)
        smodel_fail(m, "c%u: ERROR does not quote %s:\n%.*s", k->number, k->error_command, (int)f->body.n, (const char *)f->body.p);
    k->error_seen = true;
    m->errors++;
}

static void on_frame(struct link *l, const struct frame_view *f)
{
    struct smodel *m = &l->w->m;
    struct sl_bytes v = SL_BYTES_NONE;
    if (l->k->error_seen)
        smodel_fail(m, "c%u gets %.*s after ERROR", l->k->number, (int)f->command.n, (const char *)f->command.p);
    if (sl_bytes_is(f->command, "CONNECTED") && !l->connected)
        l->connected = true;
    else if (sl_bytes_is(f->command, "MESSAGE"))
        on_message(m, l->k, f);
    else if (sl_bytes_is(f->command, "RECEIPT") && frame_header(f, "receipt-id", &v)) {
        struct text id = plain(v, l->k->version);
        smodel_say(m, "  c%u gets RECEIPT %.*s", l->k->number, id.n, (const char *)id.p);
        smodel_got(m, l->k->number, &id);
    } else if (sl_bytes_is(f->command, "ERROR"))
        on_error(m, l->k, f);
    else
        smodel_fail(m, "c%u gets %.*s", l->k->number, (int)f->command.n, (const char *)f->command.p);
}

static void read_frames(struct link *l)
{
    struct frame_view f;
    size_t n;
    while ((n = frame_read(&l->w->m, sl_buf_view(&l->rx), &f)) > 0) {
        on_frame(l, &f);
        sl_buf_consume(&l->rx, n);
    }
}

/* True: more comes after a further turn. */
static bool read_link(struct link *l)
{
    struct sl_buf *out = hub_client_output(l->hc);
    struct sl_bytes v = sl_buf_view(out);
    bool closing = hub_client_closing(l->hc), more = false;
    assert_int_equal(sl_buf_append(&l->rx, v.p + l->peeked, v.n - l->peeked), SL_OK);
    if (l->k->stalled && !closing) {
        l->peeked = v.n;
        (void)hub_client_written(l->hc, true);
    } else {
        sl_buf_consume(out, v.n);
        l->peeked = 0;
        more = hub_client_written(l->hc, false);
    }
    read_frames(l);
    if (closing) {
        hub_client_closed(l->hc);
        l->hc = NULL;
        l->over = true;
    }
    return more || closing;
}

static bool read_dirty(struct sworld *w)
{
    struct hub_client *hc;
    bool more = false;
    while ((hc = hub_next_dirty(w->h)) != NULL) {
        void *arg = hub_client_arg(hc);
        if (arg == &w->publisher || arg == &w->subscriber)
            more |= mqtt_read(w, arg);
        else
            more |= read_link(arg);
    }
    return more;
}

/* What was to be said before the end has been said. */
static void check_end(struct smodel *m, const struct sconn *k)
{
    if (k->doom == FINE)
        smodel_fail(m, "c%u: the server closes", k->number);
    if (k->error != NULL && !k->error_seen)
        smodel_fail(m, "c%u: closed without ERROR %s", k->number, k->error);
    for (uint32_t i = 0; k->doom == GOODBYE && i < k->n_owed; i++) {
        if (k->owed[i].has_receipt)
            smodel_fail(m, "c%u: closed without RECEIPT %.*s", k->number, k->owed[i].receipt.n, (const char *)k->owed[i].receipt.p);
    }
}

static void link_fini(struct link *l)
{
    sl_buf_fini(&l->rx);
    sl_buf_fini(&l->tx);
    *l = (struct link){ .w = l->w, .k = l->k };
}

static void close_links(struct sworld *w)
{
    for (uint32_t i = 0; i < CONNS; i++) {
        struct link *l = &w->links[i];
        if (!l->over)
            continue;
        check_end(&w->m, l->k);
        smodel_say(&w->m, "  c%u is closed", i);
        smodel_conn_lost(&w->m, l->k, GOODBYE);
        link_fini(l);
    }
}

/* Of all that came it is known now what it was. */
static void turn_is_clear(struct sworld *w)
{
    smodel_match(&w->m);
    smodel_receipts(&w->m);
    mqtt_pubacks(w);
    close_links(w);
}

/* ---- turns ---- */

static void begin(struct sworld *w)
{
    w->now = sl_clock_advance(&w->clock, w->mono_us, w->wall_ms);
    w->m.now_ms = w->wall_ms;
    hub_begin(w->h, &w->now);
}

static void receipts_rest(struct sworld *w)
{
    for (uint32_t i = 0; i < CONNS; i++) {
        struct sconn *k = &w->m.conns[i];
        uint32_t n = 0;
        for (; k->up && n < k->n_owed && !k->owed[n].waits; n++) {
            if (k->owed[n].has_receipt)
                smodel_fail(&w->m, "c%u: RECEIPT %.*s does not come, and all is stored", i, k->owed[n].receipt.n, (const char *)k->owed[n].receipt.p);
            sl_free(k->owed[n].needs.v);
        }
        k->n_owed -= n;
        if (n > 0)
            memmove(k->owed, k->owed + n, k->n_owed * sizeof *k->owed);
        if (k->up && k->doom != FINE && k->n_owed == 0)
            smodel_fail(&w->m, "c%u is not closed", i);
    }
    if (w->publisher.hc != NULL && w->publisher.n_owed > 0)
        smodel_fail(&w->m, "PUBACK %u does not come, and all is stored", w->publisher.owed[0].packet_id);
}

void sworld_turn(struct sworld *w)
{
    bool more = true;
    for (uint32_t i = 0; more; i++) {
        if (i == 200)
            smodel_fail(&w->m, "the hub does not come to rest");
        w->m.no_space = hub_health(w->h) == HUB_NO_SPACE;
        smodel_unpark(&w->m);
        hub_lease(w->h);
        hub_end(w->h);
        hub_check(w->h);
        more = give_bodies(w);
        more |= read_dirty(w);
        turn_is_clear(w);
        more |= hub_deadline_us(w->h) <= w->now.mono_us;
        begin(w);
    }
    w->m.no_space = hub_health(w->h) == HUB_NO_SPACE;
    smodel_rest(&w->m);
    for (uint32_t i = 0; i < CONNS; i++) {
        struct sconn *k = &w->m.conns[i];
        if (k->up && k->doom > GOODBYE)
            smodel_fail(&w->m, "c%u: ERROR %s does not come", i, k->error == NULL ? "" : k->error);
    }
    if (!flushed(w))
        return;
    smodel_stored(&w->m, &w->store, true);
    receipts_rest(w);
}

void sworld_pass(struct sworld *w, uint64_t ms)
{
    w->mono_us += ms * 1000;
    w->wall_ms += ms;
    smodel_say(&w->m, "%llu ms pass", (unsigned long long)ms);
    begin(w);
    smodel_overdue(&w->m);
    sworld_turn(w);
}

void sworld_settle(struct sworld *w)
{
    w->space = true;
    for (int i = 0; i < 100; i++) {
        if (flushed(w))
            return;
        if (w->pending != NULL)
            sworld_commit(w);
        else
            sworld_pass(w, hub_health(w->h) == HUB_OK ? 1 : 250);
    }
    smodel_fail(&w->m, "not all is stored in the end");
}

/* ---- connections ---- */

void link_open(struct sworld *w, uint32_t i, uint32_t version)
{
    static const char *const versions[] = { "1.0", "1.1", "1.2" };
    struct link *l = &w->links[i];
    struct sconn *k = l->k;
    k->up = true;
    k->version = (uint8_t)version;
    w->m.keys = sl_realloc(w->m.keys, (w->m.n_keys + 1) * sizeof *w->m.keys);
    w->m.keys[w->m.n_keys++].text[0] = '\0';
    k->gen = w->m.n_keys;
    memset(w->m.keys[k->gen - 1].text, 0, sizeof w->m.keys[0].text);
    smodel_say(&w->m, "c%u CONNECT %s", i, versions[version]);
    l->hc = hub_client_open(w->h, &w->stomp, "model", l);
    frame_begin(&l->tx, draw(w, 4) == 0 && version > 0 ? "STOMP" : "CONNECT");
    if (version > 0 || draw(w, 2) == 0)
        frame_put_text(&l->tx, 0, "accept-version", versions[version]);
    frame_put_text(&l->tx, 0, "host", "model");
    frame_end(&l->tx, SL_BYTES_NONE);
    link_flush(w, l);
    if (!l->connected)
        smodel_fail(&w->m, "c%u: no CONNECTED", i);
}

/* In pieces of any size. */
void link_flush(struct sworld *w, struct link *l)
{
    struct sl_bytes v = sl_buf_view(&l->tx);
    if (v.n == 0)
        return;
    uint32_t pieces = draw(w, 3) == 0 ? 1 + draw(w, 5) : 1;
    while (v.n > 0 && l->hc != NULL && hub_client_reading(l->hc)) {
        size_t n = pieces <= 1 ? v.n : 1 + draw(w, (uint32_t)v.n);
        pieces--;
        hub_client_feed(l->hc, sl_bytes_of(v.p, n));
        v = sl_bytes_of(v.p + n, v.n - n);
    }
    sl_buf_clear(&l->tx);
    sworld_turn(w);
}

void link_lose(struct sworld *w, struct link *l)
{
    smodel_say(&w->m, "c%u is lost", l->k->number);
    enum doom doom = l->k->doom == FINE ? LOST : GOODBYE;
    hub_client_closed(l->hc);
    smodel_conn_lost(&w->m, l->k, doom);
    link_fini(l);
    sworld_turn(w);
}

void link_read_on(struct sworld *w, struct link *l)
{
    l->k->stalled = false;
    (void)read_link(l);
    turn_is_clear(w);
    sworld_turn(w);
}

/* ---- births and crashes ---- */

static void configure_queues(struct sworld *w)
{
    static const char *const names[QUEUES] = { "jobs", "mail", "fast", "once" };
    static const uint64_t timeouts[] = { 500, 2000, 5000, 30000 };
    static const uint64_t initials[] = { 0, 100, 1000 };
    for (uint32_t q = 0; q < QUEUES; q++) {
        w->m.queues[q] = (struct queue_config){
            .name = names[q], .number = q + 1, .durable = q != 2, .max_messages = w->tight ? 2 + draw(w, 6) : 100000, .max_bytes = 1u << 30, .overflow = QUEUE_BLOCK,
            .max_attempts = q == 3 ? 1 : 1 + draw(w, 5), .retry_initial_ms = initials[draw(w, 3)], .retry_max_ms = 1000 + draw(w, 5) * 1000,
            .retry_factor = 1 + draw(w, 3), .dead_max_messages = 100000, .ack_timeout_ms = timeouts[draw(w, 4)],
        };
    }
}

static void configure(struct sworld *w)
{
    bool lossy = w->m.seed % 4 == 3;
    w->one_by_one = lossy;
    w->tight = w->m.seed % 4 == 1;
    w->scarce = w->m.seed % 3 == 2 && !lossy;
    w->m.waiting_max = lossy ? 1 + draw(w, 6) : 100000;
    configure_queues(w);
    w->cfg = (struct hub_config){
        .seed = w->m.seed, .memory_bytes = 64u << 20, .max_sessions = 100, .max_connections = 100, .commit_delay_us = draw(w, 3) == 0 ? 200 : 0,
        .subscribers = { .queue_messages = w->m.waiting_max, .queue_bytes = 64u << 20, .in_flight = 1000, .subscriptions = 100,
                         .output_bytes = draw(w, 2) == 0 ? 300 + draw(w, 1000) : 65536 },
        .retained_messages = 1000, .retained_bytes = 1u << 20,
        .store = { w, on_submit, NULL, on_fetch, on_volatile },
    };
    struct proto_config session = { .max_message = 65536, .partial_packet = 65536, .connect_timeout_ms = 10000, .reject_grace_ms = 1000, .receive_maximum = 100,
                                    .max_headers = 64, .max_header_bytes = 1024, .retain_available = true, .server_name = "model" };
    w->stomp = (struct hub_listener){ .protocol = &stomp_protocol, .park_max = 64, .park_bytes = 1u << 20, .meaning = true, .session = session };
    w->mqtt = w->stomp;
    w->mqtt.protocol = &mqtt_protocol;
}

static void boot(struct sworld *w)
{
    w->cfg.boot = ++w->boot;
    w->cfg.seed = w->cfg.secret = w->m.seed * 1000 + w->boot; /* as main has it: others at each start */
    w->clock = (struct sl_clock){ 0 };
    w->h = hub_new(&w->cfg);
    for (uint32_t q = 0; q < QUEUES; q++) {
        assert_int_equal(hub_add_queue(w->h, &w->m.queues[q]), q);
        assert_int_equal(hub_add_route(w->h, smodel_routes[q], q), SL_OK);
    }
    begin(w);
    model_store_load(&w->store, w->h);
    sworld_turn(w);
    mqtt_open(w, &w->subscriber, true);
    mqtt_open(w, &w->publisher, false);
}

void sworld_open(struct sworld *w, uint64_t seed)
{
    *w = (struct sworld){ .mono_us = 1000000, .wall_ms = 1700000000000u, .space = true };
    smodel_init(&w->m, seed);
    w->m.store = &w->store;
    for (uint32_t i = 0; i < CONNS; i++)
        w->links[i] = (struct link){ .w = w, .k = &w->m.conns[i] };
    sl_rng_seed(&w->rng, seed);
    sl_log_to(NULL, NULL, SL_ERROR);
    configure(w);
    boot(w);
}

static void halt(struct sworld *w)
{
    for (uint32_t i = 0; i < CONNS; i++) {
        struct link *l = &w->links[i];
        if (l->hc != NULL)
            hub_client_closed(l->hc);
        link_fini(l);
    }
    mqtt_drop(&w->publisher);
    mqtt_drop(&w->subscriber);
    if (w->pending != NULL)
        hub_committed(w->h, w->pending, SL_EIO);
    w->pending = NULL;
    w->m.pending = NULL;
    (void)give_bodies(w);
    hub_free(w->h);
}

void sworld_crash(struct sworld *w)
{
    smodel_say(&w->m, "CRASH");
    halt(w);
    smodel_crash(&w->m);
    w->space = true;
    boot(w);
}

void sworld_close(struct sworld *w)
{
    halt(w);
    smodel_fini(&w->m);
    model_store_fini(&w->store);
}
