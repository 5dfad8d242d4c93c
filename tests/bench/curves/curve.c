/* What a message costs the gateway when there is much of something:
 *
 *   curve DIR depth|queues|routes|keys|delayed N [ROUNDS]
 *
 * The real hub over the real store, one thread, no sockets. First N of it are
 * made: messages that wait, queues, routes, order keys that have one message
 * each, messages that wait for their time (beside them those of the rounds
 * wait for a moment). Then rounds of BATCH messages: they
 * are accepted and stored, the oldest that may go are leased (their bodies read
 * back where memory was short) and settled, each step by itself, so that nothing
 * is finished with before it is written. One line of JSON tells the median CPU
 * time of each step per message. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "hub/hub.h"
#include "mqtt/packet.h"
#include "store/store.h"

#define BATCH        1000u
#define FILL_BATCH   1000u
#define PAYLOAD      256u
#define ROUNDS       100u
#define WARM_ROUNDS  10u
#define QUEUES_TOUCHED 100u /* in one round, of many */
#define MEMORY_BYTES (1u << 30)
#define TOPICS       5000u  /* for routes: more than are remembered */

struct world;

struct consumer {
    struct world *w;
    uint64_t handle;
};

struct held {
    uint64_t consumer, lease;
};

struct world {
    struct hub *hub;
    struct store *store;
    struct hub_listener listener;
    struct hub_client *client;
    struct batch *pending;
    struct batch_fetch *fetched[64];
    uint32_t n_fetched;
    struct consumer *consumers;
    uint32_t n_queues;
    struct held held[BATCH];
    uint32_t n_held;
    struct sl_buf in;
    uint16_t packet_id;
    uint64_t us, sent;
    const struct curve *curve;
    uint64_t n;
};

/* How a curve differs from the plain flow through one queue. */
struct curve {
    const char *name;
    void (*queues)(struct world *w);               /* and their routes */
    void (*topic)(struct world *w, uint64_t i, char *out, size_t cap);
    bool fills;                                    /* n messages are there before */
    const char *fill_delay, *delay;                /* they wait for so long, those of the rounds for so long; NULL: they do not */
};

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "curve: %s\n", what);
    exit(1);
}

/* ---- the store ---- */

static void on_submit(void *arg, struct batch *b)
{
    struct world *w = arg;
    must(w->pending == NULL, "two batches are under way");
    w->pending = b;
}

static void on_fetch(void *arg, struct batch_fetch *f)
{
    struct world *w = arg;
    must(w->n_fetched < SL_COUNT(w->fetched), "too many fetches at once");
    store_fetch(w->store, f);
    w->fetched[w->n_fetched++] = f;
}

static void on_volatile(void *arg, struct batch *b)
{
    (void)arg;
    must(b->live == 0, "nothing here is volatile");
}

static void begin(struct world *w)
{
    w->us += 300;
    struct sl_now now = { .mono_us = w->us, .mono_ms = w->us / 1000, .wall_ms = w->us / 1000, .steady_ms = w->us / 1000 };
    hub_begin(w->hub, &now);
}

static void read_answers(struct world *w)
{
    struct hub_client *dirty;
    while ((dirty = hub_next_dirty(w->hub)) != NULL) {
        must(!hub_client_closing(dirty), "the gateway says goodbye");
        struct sl_buf *out = hub_client_output(dirty);
        sl_buf_consume(out, sl_buf_len(out));
        (void)hub_client_written(dirty, false);
    }
}

/* Ends the turn, and goes on until nothing is under way. */
static void finish(struct world *w)
{
    hub_lease(w->hub);
    hub_end(w->hub);
    read_answers(w);
    while (w->pending != NULL || w->n_fetched > 0) {
        begin(w);
        struct batch *b = w->pending;
        w->pending = NULL;
        if (b != NULL)
            hub_committed(w->hub, b, store_apply(w->store, b));
        uint32_t n = w->n_fetched;
        w->n_fetched = 0;
        for (uint32_t i = 0; i < n; i++)
            hub_fetched(w->hub, w->fetched[i]);
        hub_lease(w->hub);
        hub_end(w->hub);
        read_answers(w);
    }
    must(hub_health(w->hub) == HUB_OK, "the store has trouble");
}

/* ---- consumers ---- */

static void on_deliver(void *arg, const struct hub_delivery *d)
{
    struct consumer *c = arg;
    must(c->w->n_held < BATCH, "a consumer gets too much");
    c->w->held[c->w->n_held++] = (struct held){ c->handle, d->d->lease };
    if (c->w->n_held == BATCH && c->w->n_queues == 1)
        hub_consumer_pause(c->w->hub, c->handle, true); /* more may be there */
}

static void on_overdue(void *arg)
{
    (void)arg;
    must(false, "a consumer is overdue");
}

/* ---- curves ---- */

static uint32_t add_queue(struct world *w, const char *name, bool by_topic)
{
    uint32_t number;
    must(store_queue_number(w->store, name, &number) == SL_OK, "no number for a queue");
    struct queue_config cfg = {
        .name = sl_strdup(name), .number = number, .durable = true, .max_messages = UINT64_MAX, .max_bytes = UINT64_MAX,
        .max_attempts = 5, .retry_initial_ms = 1000, .retry_max_ms = 300000, .retry_factor = 2, .dead_max_messages = 1000,
        .order = { .on = by_topic, .key = QUEUE_KEY_TOPIC, .hash = store_hash_key(w->store) },
    };
    w->n_queues++;
    return hub_add_queue(w->hub, &cfg);
}

static void add_route(struct world *w, const char *filter, uint32_t queue)
{
    must(hub_add_route(w->hub, filter, queue) == SL_OK, "a route is refused");
}

static void one_queue(struct world *w)
{
    add_route(w, "t/#", add_queue(w, "q", false));
}

static void ordered_queue(struct world *w)
{
    add_route(w, "t/#", add_queue(w, "q", true));
}

static void many_queues(struct world *w)
{
    char name[32], filter[32];
    for (uint64_t i = 0; i < w->n; i++) {
        (void)snprintf(name, sizeof name, "q%" PRIu64, i);
        (void)snprintf(filter, sizeof filter, "t/%" PRIu64 "/#", i);
        add_route(w, filter, add_queue(w, name, false));
    }
}

/* Of all routes one takes each topic; half of them have a wildcard in the middle. */
static void many_routes(struct world *w)
{
    char filter[48];
    uint32_t queue = add_queue(w, "q", false);
    add_route(w, "t/#", queue);
    for (uint64_t i = 1; i < w->n; i++) {
        (void)snprintf(filter, sizeof filter, i % 2 == 0 ? "s/%" PRIu64 "/+/up" : "s/+/%" PRIu64 "/up", i);
        add_route(w, filter, queue);
    }
}

static void plain_topic(struct world *w, uint64_t i, char *out, size_t cap)
{
    (void)w;
    (void)i;
    (void)snprintf(out, cap, "t/0/up");
}

static uint64_t touched(const struct world *w)
{
    return w->n_queues < QUEUES_TOUCHED ? w->n_queues : QUEUES_TOUCHED;
}

/* A number of them in each round, then the next ones. */
static void queues_topic(struct world *w, uint64_t i, char *out, size_t cap)
{
    uint64_t n = touched(w);
    (void)snprintf(out, cap, "t/%" PRIu64 "/up", (i / BATCH * n + i % n) % w->n_queues);
}

static void routes_topic(struct world *w, uint64_t i, char *out, size_t cap)
{
    uint64_t topics = (w->n - 1) / 2 < TOPICS ? (w->n - 1) / 2 : TOPICS;
    if (topics == 0)
        (void)snprintf(out, cap, "t/%" PRIu64 "/x/up", i % TOPICS);
    else
        (void)snprintf(out, cap, "s/%" PRIu64 "/x/up", 2 + 2 * (i % topics));
}

static void keys_topic(struct world *w, uint64_t i, char *out, size_t cap)
{
    (void)snprintf(out, cap, "t/%" PRIu64 "/up", i % w->n);
}

static const struct curve curves[] = {
    { "depth", one_queue, plain_topic, true, NULL, NULL },
    { "queues", many_queues, queues_topic, false, NULL, NULL },
    { "routes", many_routes, routes_topic, false, NULL, NULL },
    { "keys", ordered_queue, keys_topic, true, NULL, NULL },
    { "delayed", one_queue, plain_topic, true, "365d", "2ms" },
};

/* ---- the steps ---- */

static void put_publish(struct world *w, const char *delay)
{
    static uint8_t payload[PAYLOAD];
    char topic[48];
    w->curve->topic(w, w->sent++, topic, sizeof topic);
    w->packet_id = w->packet_id == UINT16_MAX ? 1 : (uint16_t)(w->packet_id + 1);
    struct mqtt_publish p = { .qos = 1, .packet_id = w->packet_id, .topic = sl_str(topic), .payload = sl_bytes_of(payload, sizeof payload) };
    mqtt_props_init(&p.props);
    const struct message_header later = { sl_str("delay"), sl_str(delay == NULL ? "" : delay) };
    if (delay != NULL)
        mqtt_props_set_user(&p.props, &later, 1);
    must(mqtt_encode_publish(&w->in, MQTT_V5, &p) == SL_OK, "a publish cannot be encoded");
}

static void accept_some(struct world *w)
{
    begin(w);
    hub_client_feed(w->client, sl_buf_view(&w->in));
    finish(w);
}

/* Of the queues that this round has to do with. */
static void pause(struct world *w, bool paused)
{
    uint64_t n = touched(w), first = (w->sent - 1) / BATCH * n;
    for (uint64_t i = 0; i < n; i++)
        hub_consumer_pause(w->hub, w->consumers[(first + i) % w->n_queues].handle, paused);
}

static void lease_some(struct world *w)
{
    w->us += 10000; /* what is delayed comes due */
    begin(w);
    pause(w, false);
    finish(w);
    begin(w);
    pause(w, true);
    finish(w);
}

static void settle_all(struct world *w)
{
    static const struct queue_answer ack = { .verb = QUEUE_ACK };
    begin(w);
    for (uint32_t i = 0; i < w->n_held; i++)
        must(hub_answer(w->hub, w->held[i].consumer, &(struct hub_answer){ .lease = w->held[i].lease, .verb = ack }) == SL_OK, "an ack is refused");
    w->n_held = 0;
    finish(w);
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t timed(struct world *w, void (*step)(struct world *w))
{
    uint64_t before = cpu_ns();
    step(w);
    return cpu_ns() - before;
}

struct round {
    uint64_t accept_ns, lease_ns, settle_ns;
};

static struct round one_round(struct world *w)
{
    struct round r;
    sl_buf_clear(&w->in);
    for (uint32_t i = 0; i < BATCH; i++)
        put_publish(w, w->curve->delay);
    r.accept_ns = timed(w, accept_some);
    r.lease_ns = timed(w, lease_some);
    must(w->n_held == BATCH, "not all that could be leased was");
    r.settle_ns = timed(w, settle_all);
    return r;
}

/* ---- making ---- */

static void open_store(struct world *w, const char *dir)
{
    struct sl_buf why = { 0 };
    struct store_config cfg = { .engine = "lmdb", .dir = dir, .node = "curve", .map_size_bytes = UINT64_C(64) << 30,
                                .reserve_bytes = 64u << 20, .min_free_disk_bytes = 64u << 20 };
    if (store_open(&cfg, &w->store, &why) != SL_OK) {
        struct sl_bytes text = sl_buf_view(&why);
        fprintf(stderr, "curve: %.*s\n", (int)text.n, (const char *)text.p);
        exit(1);
    }
    sl_buf_fini(&why);
}

static void open_hub(struct world *w)
{
    struct hub_config cfg = {
        .boot = store_boot(w->store), .seed = 1, .memory_bytes = MEMORY_BYTES, .max_sessions = 10, .max_connections = 10,
        .hash = store_hash_key(w->store), .store = { w, on_submit, NULL, on_fetch, on_volatile },
    };
    w->listener = (struct hub_listener){
        .protocol = &mqtt_protocol, .park_max = 1024, .park_bytes = 1u << 20, .meaning = true,
        .session = { .max_message = 1u << 20, .partial_packet = 128u << 10, .receive_maximum = 1024, .topic_alias_max = 16, .max_headers = 100,
                     .max_header_bytes = 8192, .session_expiry_max_s = UINT32_MAX, .output_bytes = 1u << 20, .server_name = "curve" },
    };
    w->hub = hub_new(&cfg);
}

static void connect_client(struct world *w)
{
    struct mqtt_connect hello = { .version = MQTT_V5, .clean_start = true, .client_id = sl_str("curve") };
    mqtt_props_init(&hello.props);
    must(mqtt_encode_connect(&w->in, &hello) == SL_OK, "CONNECT cannot be encoded");
    begin(w);
    w->client = hub_client_open(w->hub, &w->listener, "curve", w);
    hub_client_feed(w->client, sl_buf_view(&w->in));
    finish(w);
}

static void add_consumers(struct world *w)
{
    static const struct hub_consumer_ops ops = { on_deliver, on_overdue };
    w->consumers = sl_calloc(w->n_queues, sizeof *w->consumers);
    begin(w);
    for (uint32_t i = 0; i < w->n_queues; i++) {
        w->consumers[i].w = w;
        struct hub_consumer_config cfg = { .queue = i, .prefetch = BATCH, .concurrency = BATCH, .fixed_credit = true, .ops = &ops, .arg = &w->consumers[i] };
        w->consumers[i].handle = hub_consumer_add(w->hub, &cfg);
        hub_consumer_pause(w->hub, w->consumers[i].handle, true);
    }
    finish(w);
}

static void fill(struct world *w)
{
    for (uint64_t left = w->n; left > 0;) {
        uint64_t now = left < FILL_BATCH ? left : FILL_BATCH;
        sl_buf_clear(&w->in);
        for (uint64_t i = 0; i < now; i++)
            put_publish(w, w->curve->fill_delay);
        accept_some(w);
        left -= now;
    }
}

static void make(struct world *w, const char *dir)
{
    open_store(w, dir);
    open_hub(w);
    w->curve->queues(w);
    add_consumers(w);
    connect_client(w);
    if (w->curve->fills)
        fill(w);
}

/* ---- figures ---- */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double median_us(uint64_t *ns, uint32_t n)
{
    qsort(ns, n, sizeof *ns, by_value);
    return (double)ns[n / 2] / BATCH / 1000.0;
}

/* Without the pages of the store's file. */
static unsigned long anonymous_kib(void)
{
    char line[256];
    unsigned long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        (void)sscanf(line, "RssAnon: %lu", &kib);
    if (f != NULL)
        (void)fclose(f);
    return kib;
}

static void measure(struct world *w, uint32_t rounds)
{
    uint64_t *accept = sl_calloc(rounds, sizeof *accept), *lease = sl_calloc(rounds, sizeof *lease), *settle = sl_calloc(rounds, sizeof *settle);
    for (uint32_t i = 0; i < WARM_ROUNDS; i++)
        (void)one_round(w);
    for (uint32_t i = 0; i < rounds; i++) {
        struct round r = one_round(w);
        accept[i] = r.accept_ns;
        lease[i] = r.lease_ns;
        settle[i] = r.settle_ns;
    }
    printf("{\"curve\":\"%s\",\"n\":%" PRIu64 ",\"accept_us\":%.3f,\"lease_us\":%.3f,\"settle_us\":%.3f,\"hub_memory\":%" PRIu64 ",\"anon_kib\":%lu}\n",
           w->curve->name, w->n, median_us(accept, rounds), median_us(lease, rounds), median_us(settle, rounds), hub_memory_bytes(w->hub), anonymous_kib());
}

static const struct curve *curve_named(const char *name)
{
    for (size_t i = 0; i < SL_COUNT(curves); i++) {
        if (strcmp(curves[i].name, name) == 0)
            return &curves[i];
    }
    must(false, "no such curve");
    return NULL;
}

int main(int argc, char **argv)
{
    must(argc >= 4, "usage: curve DIR depth|queues|routes|keys|delayed N [ROUNDS]");
    struct world *w = SL_NEW(struct world);
    w->curve = curve_named(argv[2]);
    w->n = strtoull(argv[3], NULL, 10);
    w->us = UINT64_C(1000000000000);
    must(w->n > 0, "N is at least 1");
    make(w, argv[1]);
    measure(w, argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : ROUNDS);
    return 0; /* what is held ends with the process */
}
