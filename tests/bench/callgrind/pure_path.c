/* The pure path of a message, without system calls: PUBLISH bytes through the
 * MQTT session, the hub and the queue into a worker's DELIVER frames, the acks
 * back, and PUBACK bytes out. The store keeps nothing: a batch is "written" some
 * turns later. Time is virtual, so that two runs do the same.
 *
 *   pure_path [MESSAGES]
 *
 * Run under callgrind with --toggle-collect=measured: what goes before it
 * (connecting, growing tables to their size) does not count. */
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "hub/hub.h"
#include "wire/wire.h"

#define CLIENTS  50u
#define WINDOW   20u
#define WORKERS  2u
#define PREFETCH 256u
#define PAYLOAD  256u
#define TURN_US  300u
#define COMMIT_TURNS                                                                               \
    3u /* a commit takes so many turns: what is settled meanwhile is never written */

struct worker {
    uint64_t handle;
    uint64_t held[PREFETCH];
    uint32_t n;
    struct sl_buf out;
};

struct client {
    struct hub_client *hub;
    struct sl_buf in;
    uint32_t unanswered;
    uint16_t id;
};

struct world {
    struct hub *hub;
    struct hub_listener listener;
    struct batch *pending;
    struct client clients[CLIENTS];
    struct worker workers[WORKERS];
    uint64_t us, answered, turn;
};

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "pure_path: %s\n", what);
    exit(1);
}

/* ---- the world around the hub ---- */

static void on_submit(void *arg, struct batch *b)
{
    struct world *w = arg;
    must(w->pending == NULL, "two batches are under way");
    w->pending = b;
}

static void on_fetch(void *arg, struct batch_fetch *f)
{
    (void)arg;
    (void)f;
    must(false, "nothing was evicted, and yet it is fetched");
}

static void on_volatile(void *arg, struct batch *b)
{
    (void)arg;
    (void)b;
}

static void on_deliver(void *arg, const struct hub_delivery *d)
{
    struct worker *k = arg;
    struct wire_deliver f = { .tag = d->d->lease,
                              .attempt = d->d->attempt,
                              .max_attempts = d->max_attempts,
                              .record = message_record(d->d->msg) };
    must(k->n < PREFETCH && wire_encode_deliver(&k->out, &f) == SL_OK, "a worker gets too much");
    k->held[k->n++] = d->d->lease;
}

static void on_overdue(void *arg)
{
    (void)arg;
    must(false, "a worker is overdue");
}

static void begin(struct world *w)
{
    w->us += TURN_US;
    struct sl_now now = { .mono_us = w->us,
                          .mono_ms = w->us / 1000,
                          .wall_ms = w->us / 1000,
                          .steady_ms = w->us / 1000 };
    hub_begin(w->hub, &now);
}

/* PUBACKs: four bytes each. */
static void read_answers(struct world *w)
{
    struct hub_client *dirty;
    while ((dirty = hub_next_dirty(w->hub)) != NULL) {
        struct client *c = hub_client_arg(dirty);
        struct sl_buf *out = hub_client_output(dirty);
        uint32_t n = (uint32_t)(sl_buf_len(out) / 4);
        must(n <= c->unanswered && !hub_client_closing(dirty),
             "the gateway answers what was not asked");
        c->unanswered -= n;
        w->answered += n;
        sl_buf_consume(out, sl_buf_len(out));
    }
}

static void end(struct world *w)
{
    hub_lease(w->hub);
    hub_end(w->hub);
    read_answers(w);
    for (uint32_t i = 0; i < WORKERS; i++)
        sl_buf_clear(&w->workers[i].out);
}

/* ---- what happens in a turn ---- */

static void publish(struct client *c, uint32_t count)
{
    static const uint8_t head[] = { 0x32, 0x92, 0x02, 0,   14,  't', 'e', 'l', 'e', 'm',
                                    'e',  't',  'r',  'y', '/', 'l', 'o', 'a', 'd' };
    sl_buf_clear(&c->in);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *p = sl_buf_reserve(&c->in, sizeof head + 2 + PAYLOAD);
        c->id = c->id == UINT16_MAX ? 1 : (uint16_t)(c->id + 1);
        p = sl_wr_bytes(p, sl_bytes_of(head, sizeof head));
        p = sl_wr_u16be(p, c->id);
        memset(p, 'x', PAYLOAD);
        sl_buf_commit(&c->in, sizeof head + 2 + PAYLOAD);
    }
    c->unanswered += count;
    hub_client_feed(c->hub, sl_buf_view(&c->in));
}

static void publish_all(struct world *w)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (w->clients[i].unanswered < WINDOW)
            publish(&w->clients[i], WINDOW - w->clients[i].unanswered);
    }
}

static void ack_all(struct world *w)
{
    static const struct queue_answer ack = { .verb = QUEUE_ACK };
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct worker *k = &w->workers[i];
        for (uint32_t n = 0; n < k->n; n++)
            must(hub_answer(w->hub, k->handle,
                            &(struct hub_answer){ k->held[n], ack, SL_BYTES_NONE }) == SL_OK,
                 "an ack is refused");
        k->n = 0;
    }
}

static void commit(struct world *w)
{
    struct batch *b = w->pending;
    if (b == NULL)
        return;
    w->pending = NULL;
    b->took_us = COMMIT_TURNS * TURN_US;
    hub_committed(w->hub, b, SL_OK);
}

static void turns(struct world *w, uint64_t messages)
{
    uint64_t until = w->answered + messages;
    while (w->answered < until) {
        begin(w);
        if (++w->turn % COMMIT_TURNS == 0)
            commit(w);
        ack_all(w);
        publish_all(w);
        end(w);
    }
}

/* Not inlined, so that callgrind finds it by name: counting starts and stops here. */
void measured(struct world *w, uint64_t messages) __attribute__((noinline));
void measured(struct world *w, uint64_t messages)
{
    turns(w, messages);
}

/* ---- making ---- */

static void connect_client(struct world *w, uint32_t i)
{
    uint8_t hello[] = { 0x10,
                        15,
                        0,
                        4,
                        'M',
                        'Q',
                        'T',
                        'T',
                        4,
                        2,
                        0,
                        0,
                        0,
                        3,
                        'c',
                        (uint8_t)('0' + i / 10),
                        (uint8_t)('0' + i % 10) };
    struct client *c = &w->clients[i];
    c->hub = hub_client_open(w->hub, &w->listener, "pure", c);
    hub_client_feed(c->hub, sl_bytes_of(hello, sizeof hello));
    c->unanswered = 1; /* CONNACK has four bytes too */
}

static void make(struct world *w)
{
    static const struct queue_config queue = {
        .name = "telemetry",
        .number = 1,
        .durable = true,
        .max_messages = 1000000,
        .max_bytes = 1u << 30,
        .max_attempts = 5,
        .retry_initial_ms = 1000,
        .retry_max_ms = 300000,
        .retry_factor = 2,
        .dead_max_messages = 100000,
    };
    static const struct hub_consumer_ops ops = { on_deliver, on_overdue };
    struct hub_config cfg = { .boot = 1,
                              .seed = 1,
                              .memory_bytes = 1u << 30,
                              .commit_delay_us = 200,
                              .max_sessions = 1000,
                              .max_connections = 1000,
                              .store = { w, on_submit, NULL, on_fetch, on_volatile } };
    w->listener = (struct hub_listener){
        .protocol = &mqtt_protocol,
        .park_max = 1024,
        .park_bytes = 1u << 20,
        .meaning = true,
        .session = { .max_message = 1u << 20,
                     .partial_packet = 128u << 10,
                     .receive_maximum = 1024,
                     .topic_alias_max = 16,
                     .session_expiry_max_s = UINT32_MAX,
                     .retain_available = true,
                     .server_name = "pure" },
    };
    w->hub = hub_new(&cfg);
    must(hub_add_route(w->hub, "telemetry/#", hub_add_queue(w->hub, &queue)) == SL_OK,
         "the route is refused");
    begin(w);
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct hub_consumer_config consumer = { 0, PREFETCH, 1, 0, &ops, &w->workers[i] };
        w->workers[i].handle = hub_consumer_add(w->hub, &consumer);
    }
    for (uint32_t i = 0; i < CLIENTS; i++)
        connect_client(w, i);
    end(w);
}

int main(int argc, char **argv)
{
    struct world *w = SL_NEW(struct world);
    uint64_t messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
    make(w);
    turns(w, 5000);
    uint64_t before = w->answered;
    measured(w, messages);
    struct queue_counters *counters = queue_counters(hub_queue(w->hub, 0));
    printf("%llu messages, %llu never written of %llu\n",
           (unsigned long long)(w->answered - before), (unsigned long long)counters->never_written,
           (unsigned long long)counters->accepted);
    return 0;
}
