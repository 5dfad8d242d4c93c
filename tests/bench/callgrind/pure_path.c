/* The pure path of a message, without system calls: PUBLISH bytes through the
 * MQTT session, the hub and the queue into a worker's DELIVER frames, the acks
 * back, and PUBACK bytes out.
 *
 *   pure_path [MESSAGES]
 *
 * Run under callgrind with --toggle-collect=measured: what goes before it
 * (connecting, growing tables to their size) does not count. */
#include <stdlib.h>

#include "core/alloc.h"
#include "wire/wire.h"
#include "world.h"

#define WORKERS 2u

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

struct path {
    struct world world;
    struct client clients[CLIENTS];
    struct worker workers[WORKERS];
    uint64_t answered;
};

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

/* PUBACKs: four bytes each. */
static void read_answers(struct path *w)
{
    struct hub_client *dirty;
    while ((dirty = hub_next_dirty(w->world.hub)) != NULL) {
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

static void end(struct path *w)
{
    hub_lease(w->world.hub);
    hub_end(w->world.hub);
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

static void publish_all(struct path *w)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (w->clients[i].unanswered < WINDOW)
            publish(&w->clients[i], WINDOW - w->clients[i].unanswered);
    }
}

static void ack_all(struct path *w)
{
    static const struct queue_answer ack = { .verb = QUEUE_ACK };
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct worker *k = &w->workers[i];
        for (uint32_t n = 0; n < k->n; n++)
            must(hub_answer(w->world.hub, k->handle,
                            &(struct hub_answer){ k->held[n], ack, SL_BYTES_NONE }) == SL_OK,
                 "an ack is refused");
        k->n = 0;
    }
}

static void turns(struct path *w, uint64_t messages)
{
    uint64_t until = w->answered + messages;
    while (w->answered < until) {
        world_begin(&w->world);
        ack_all(w);
        publish_all(w);
        end(w);
    }
}

/* Not inlined, so that callgrind finds it by name: counting starts and stops here. */
void measured(struct path *w, uint64_t messages) __attribute__((noinline));
void measured(struct path *w, uint64_t messages)
{
    turns(w, messages);
}

/* ---- making ---- */

static void connect_client(struct path *w, uint32_t i)
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
    c->hub = hub_client_open(w->world.hub, &w->world.listener, "pure", c);
    hub_client_feed(c->hub, sl_bytes_of(hello, sizeof hello));
    c->unanswered = 1; /* CONNACK has four bytes too */
}

static void make(struct path *w)
{
    static const struct hub_consumer_ops ops = { on_deliver, on_overdue };
    world_make(&w->world, &mqtt_protocol);
    world_begin(&w->world);
    for (uint32_t i = 0; i < WORKERS; i++) {
        struct hub_consumer_config consumer = { .prefetch = PREFETCH, .concurrency = 1, .ops = &ops, .arg = &w->workers[i] };
        w->workers[i].handle = hub_consumer_add(w->world.hub, &consumer);
    }
    for (uint32_t i = 0; i < CLIENTS; i++)
        connect_client(w, i);
    end(w);
}

int main(int argc, char **argv)
{
    struct path *w = SL_NEW(struct path);
    uint64_t messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
    make(w);
    turns(w, 5000);
    uint64_t before = w->answered;
    measured(w, messages);
    world_print(&w->world, w->answered - before);
    return 0;
}
