/* The pure path of a message between STOMP clients, without system calls: SEND
 * bytes with a receipt through session, hub and queue into a consumer's MESSAGE
 * bytes, its ACK (client-individual) back, and RECEIPT bytes out.
 *
 *   stomp_path [MESSAGES]
 *
 * Counted like pure_path. The driver finds frames by their NUL: payloads have none. */
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "world.h"

#define CONSUMERS 2u
#define FRAME     512u

struct client {
    struct hub_client *hub;
    bool consumes;
    uint32_t unanswered;
    struct sl_buf in;
};

struct path {
    struct world world;
    struct client clients[CLIENTS + CONSUMERS];
    uint64_t answered, delivered;
    char send[FRAME]; /* one SEND; its receipt is not looked at */
    size_t send_bytes;
};

static void put(struct client *c, const void *p, size_t n)
{
    must(sl_buf_append(&c->in, p, n) == SL_OK, "a client has too much to say");
}

static void feed(struct client *c)
{
    hub_client_feed(c->hub, sl_buf_view(&c->in));
    sl_buf_clear(&c->in);
}

/* ---- what comes out ---- */

static void acknowledge(struct client *c, const uint8_t *frame, size_t n)
{
    static const char name[] = "\nack:", head[] = "ACK\nid:";
    const uint8_t *at = memmem(frame, n, name, sizeof name - 1);
    must(at != NULL, "a message cannot be acknowledged");
    at += sizeof name - 1;
    const uint8_t *end = memchr(at, '\n', n - (size_t)(at - frame));
    put(c, head, sizeof head - 1);
    put(c, at, (size_t)(end - at));
    put(c, "\n\n", 3); /* with its NUL */
}

static void on_frame(struct path *w, struct client *c, const uint8_t *frame, size_t n)
{
    if (c->consumes && frame[0] == 'M') {
        acknowledge(c, frame, n);
        w->delivered++;
    } else {
        must(c->unanswered > 0 && (frame[0] == 'R' || frame[0] == 'C'), (const char *)frame);
        c->unanswered--;
        w->answered += !c->consumes;
    }
}

static void read_output(struct path *w, struct client *c)
{
    struct sl_buf *out = hub_client_output(c->hub);
    struct sl_bytes v = sl_buf_view(out);
    while (v.n > 0) {
        const uint8_t *end = memchr(v.p, 0, v.n);
        must(end != NULL, "half a frame");
        on_frame(w, c, v.p, (size_t)(end - v.p) + 1);
        v = sl_bytes_of(end + 1, v.n - (size_t)(end - v.p) - 1);
    }
    sl_buf_consume(out, sl_buf_len(out));
    (void)hub_client_written(c->hub, false);
}

static void end(struct path *w)
{
    struct hub_client *dirty;
    hub_lease(w->world.hub);
    hub_end(w->world.hub);
    while ((dirty = hub_next_dirty(w->world.hub)) != NULL) {
        must(!hub_client_closing(dirty), "the gateway closes a connection");
        read_output(w, hub_client_arg(dirty));
    }
}

/* ---- what happens in a turn ---- */

static void publish(struct path *w, struct client *c)
{
    for (; c->unanswered < WINDOW; c->unanswered++)
        put(c, w->send, w->send_bytes);
    feed(c);
}

static void turns(struct path *w, uint64_t messages)
{
    uint64_t until = w->answered + messages;
    while (w->answered < until) {
        world_begin(&w->world);
        for (uint32_t i = CLIENTS; i < CLIENTS + CONSUMERS; i++)
            feed(&w->clients[i]);
        for (uint32_t i = 0; i < CLIENTS; i++)
            publish(w, &w->clients[i]);
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

static void connect_client(struct path *w, struct client *c)
{
    static const char hello[] = "CONNECT\naccept-version:1.2\nhost:pure\n\n";
    static const char subscribe[] = "SUBSCRIBE\nid:0\ndestination:/queue/telemetry\nack:client-individual\n"
                                    "prefetch-count:256\n\n";
    c->hub = hub_client_open(w->world.hub, &w->world.listener, "pure", c);
    c->unanswered = 1;
    put(c, hello, sizeof hello);
    if (c->consumes)
        put(c, subscribe, sizeof subscribe);
    feed(c);
}

static void make_send(struct path *w)
{
    char payload[PAYLOAD + 1];
    memset(payload, 'x', PAYLOAD);
    payload[PAYLOAD] = '\0';
    int n = snprintf(w->send, sizeof w->send,
                     "SEND\ndestination:/queue/telemetry\ncontent-length:%u\npersistent:true\nreceipt:00000017\n\n%s", PAYLOAD,
                     payload);
    w->send_bytes = (size_t)n + 1;
}

int main(int argc, char **argv)
{
    struct path *w = SL_NEW(struct path);
    uint64_t messages = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000;
    world_make(&w->world, &stomp_protocol);
    make_send(w);
    world_begin(&w->world);
    for (uint32_t i = 0; i < CLIENTS + CONSUMERS; i++) {
        w->clients[i].consumes = i >= CLIENTS;
        connect_client(w, &w->clients[i]);
    }
    end(w);
    turns(w, 5000);
    uint64_t before = w->answered, delivered = w->delivered;
    measured(w, messages);
    world_print(&w->world, w->answered - before);
    must(w->delivered - delivered + 2 * PREFETCH > messages, "messages are not delivered");
    return 0;
}
