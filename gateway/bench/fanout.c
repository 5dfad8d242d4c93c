/* The fan-out's command line, loop, phases and findings. */
#include "fanout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "bench/args.h"
#include "bench/stamp.h"
#include "clock.h"
#include "core/alloc.h"
#include "modes.h"

#define EVENTS     256
#define SECOND_NS  UINT64_C(1000000000)
#define STALLED_NS (2 * SECOND_NS) /* without any delivery: what is outstanding was lost */
#define SETUP_NS   (60 * SECOND_NS)
#define CONNECTING 128u

static const char help[] =
    "usage: sluice bench fanout [OPTION]...\n"
    "\n"
    "Publishers and subscribers of one topic, over MQTT or STOMP. A publisher has at most a\n"
    "window of messages that are not delivered to everybody and answered yet, so that\n"
    "what is counted are deliveries that the server kept up with.\n"
    "\n"
    "  --protocol NAME      mqtt (3.1.1), mqtt5 or stomp\n"
    "  --connect ADDRESS    HOST:PORT, PORT or unix:PATH (the protocol's port on loopback)\n"
    "  --user NAME --password TEXT\n"
    "  --publishers N --subscribers N   (1, 1000)\n"
    "  --group NAME         subscribers share: each message goes to one of them\n"
    "  --window N           messages under way per publisher (20)\n"
    "  --qos N              of publishing (0); STOMP: 1 is with receipts and ACKs\n"
    "  --subscribe-qos N    granted at most (as --qos)\n"
    "  --payload SIZE       bytes, at least 32 (256)\n"
    "  --topic NAME         (telemetry/fanout)\n"
    "  --seconds S --warmup S   (10, 1)\n"
    "  --json               findings as one line of JSON\n"
    "\n"
    "exit status: 0 done; 1 a connection broke or a delivery is missing; 2 wrong use\n";

#define FIELD(member) offsetof(struct fanout_options, member)
static const struct arg args[] = {
    { "protocol", ARG_TEXT, FIELD(protocol) },
    { "connect", ARG_TEXT, FIELD(target.address) },
    { "user", ARG_TEXT, FIELD(target.user) },
    { "password", ARG_TEXT, FIELD(target.password) },
    { "publishers", ARG_U32, FIELD(publishers) },
    { "subscribers", ARG_U32, FIELD(subscribers) },
    { "group", ARG_TEXT, FIELD(target.group) },
    { "window", ARG_U32, FIELD(window) },
    { "qos", ARG_U32, FIELD(target.qos) },
    { "subscribe-qos", ARG_U32, FIELD(subscribe_qos) },
    { "payload", ARG_SIZE, FIELD(target.payload_bytes) },
    { "topic", ARG_TEXT, FIELD(target.topic) },
    { "client", ARG_TEXT, FIELD(target.client) },
    { "seconds", ARG_SECONDS, FIELD(seconds_ns) },
    { "warmup", ARG_SECONDS, FIELD(warmup_ns) },
    { "json", ARG_FLAG, FIELD(json) },
};

static const struct fanout_options defaults = {
    .target = { .topic = "telemetry/fanout", .n_topics = 1, .payload_bytes = 256, .client = "fanout" },
    .protocol = "mqtt",
    .publishers = 1,
    .subscribers = 1000,
    .window = 20,
    .subscribe_qos = UINT32_MAX,
    .seconds_ns = 10 * SECOND_NS,
    .warmup_ns = SECOND_NS,
};

static int wrong(const char *what)
{
    fprintf(stderr, "sluice bench fanout: %s; see sluice bench fanout --help\n", what);
    return 2;
}

static int check(struct fanout_options *o)
{
    static const struct fanout_protocol *const known[] = { &fanout_mqtt, &fanout_mqtt5, &fanout_stomp };
    for (size_t i = 0; i < SL_COUNT(known); i++) {
        if (strcmp(o->protocol, known[i]->name) == 0)
            o->speaks = known[i];
    }
    if (o->speaks == NULL)
        return wrong("the protocol is mqtt, mqtt5 or stomp");
    if (o->speaks == &fanout_stomp && (o->target.group != NULL || o->target.qos > 1))
        return wrong("STOMP has no groups, and a receipt or none");
    if (o->subscribe_qos == UINT32_MAX)
        o->subscribe_qos = o->target.qos;
    if (o->target.qos > 2 || o->subscribe_qos > 2 || o->target.payload_bytes < STAMP_BYTES)
        return wrong("qos is 0 to 2, a payload has at least 32 bytes");
    if (o->publishers == 0 || o->subscribers == 0 || o->window == 0 || o->window > UINT16_MAX)
        return wrong("publishers, subscribers and window are at least 1, the window at most 65535");
    return -1;
}

/* Exit status, or -1: go on. */
static int options(int argc, char **argv, struct fanout_options *o)
{
    static const struct arg_table table = { args, SL_COUNT(args) };
    *o = defaults;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return 0;
        }
        if (args_take(&table, o, argc, argv, &i) != SL_OK)
            return wrong("an option is unknown, or its value is missing or bad");
    }
    return check(o);
}

/* ---- life ---- */

static int make_message(struct fanout *f)
{
    uint8_t *payload = sl_alloc(f->o.target.payload_bytes);
    memset(payload, 'a', f->o.target.payload_bytes);
    int err = f->o.speaks->message(f, sl_bytes_of(payload, f->o.target.payload_bytes));
    sl_free(payload);
    return err;
}

static void make_peers(struct fanout *f)
{
    f->n_peers = f->o.subscribers + f->o.publishers;
    f->peers = sl_calloc(f->n_peers, sizeof *f->peers);
    for (uint32_t i = 0; i < f->n_peers; i++) {
        struct peer *p = &f->peers[i];
        p->fd = -1;
        p->publishes = i >= f->o.subscribers;
        p->number = p->publishes ? i - f->o.subscribers : i;
        if (p->publishes)
            p->missing = sl_calloc(f->o.window, sizeof *p->missing);
        else
            p->latest = sl_calloc(f->o.publishers, sizeof *p->latest);
    }
}

static int fanout_init(struct fanout *f)
{
    if (getrandom(&f->run, sizeof f->run, 0) != sizeof f->run)
        return SL_ESYS;
    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    f->read_buffer = sl_alloc(FANOUT_READ_BYTES);
    f->now_ns = f->phase_ns = clock_ns();
    dial_raise_limit();
    make_peers(f);
    int err = dial_resolve(f->o.target.address, f->o.speaks->port, &f->dial);
    return err == SL_OK ? make_message(f) : err;
}

static void fanout_fini(struct fanout *f)
{
    for (uint32_t i = 0; i < f->n_peers; i++) {
        peer_close(f, &f->peers[i]);
        sl_free(f->peers[i].missing);
        sl_free(f->peers[i].latest);
    }
    sl_free(f->peers);
    sl_free(f->read_buffer);
    sl_buf_fini(&f->message.bytes);
    close(f->epoll);
}

/* ---- phases ---- */

static void begin_measuring(struct fanout *f)
{
    f->base = f->counts;
    f->from_ns = f->now_ns;
    f->cpu_from_us = cpu_us();
}

static void end_measuring(struct fanout *f)
{
    f->measured = f->counts.delivered - f->base.delivered;
    f->to_ns = f->now_ns;
    f->cpu_to_us = cpu_us();
}

static void enter(struct fanout *f, enum fanout_phase phase)
{
    if (f->phase == FANOUT_MEASURING)
        end_measuring(f);
    if (phase == FANOUT_MEASURING)
        begin_measuring(f);
    f->phase = phase;
    f->phase_ns = f->progress_ns = f->now_ns;
}

static void open_more(struct fanout *f)
{
    while (f->opened < f->n_peers && f->opened - f->ready < CONNECTING && f->counts.faults == 0) {
        if (peer_open(f, &f->peers[f->opened++]) == SL_OK)
            continue;
        f->counts.faults++;
        f->last_fault = strerror(errno);
    }
}

static void publish_all(struct fanout *f)
{
    for (uint32_t i = f->o.subscribers; i < f->n_peers; i++)
        peer_publish(f, &f->peers[i]);
}

static void give_up_all(struct fanout *f)
{
    for (uint32_t i = f->o.subscribers; i < f->n_peers; i++)
        peer_give_up(f, &f->peers[i]);
}

static bool all_arrived(const struct fanout *f)
{
    for (uint32_t i = f->o.subscribers; i < f->n_peers; i++) {
        if (f->peers[i].oldest < f->peers[i].sent)
            return false;
    }
    return true;
}

static void step_setup(struct fanout *f)
{
    if (f->counts.faults == 0 && f->now_ns - f->phase_ns > SETUP_NS) {
        f->counts.faults++;
        f->last_fault = "not all connections were ready within 60 s";
    }
    if (f->counts.faults > 0) {
        enter(f, FANOUT_OVER);
    } else if (f->phase == FANOUT_CONNECTING) {
        open_more(f);
        if (f->ready < f->n_peers)
            return;
        enter(f, FANOUT_SUBSCRIBING);
        for (uint32_t i = 0; i < f->o.subscribers; i++)
            peer_subscribe(f, &f->peers[i]);
    } else if (f->subscribed == f->o.subscribers) {
        enter(f, FANOUT_WARMING);
    }
}

static void step_running(struct fanout *f)
{
    uint64_t passed = f->now_ns - f->phase_ns;
    if (f->counts.faults > 0)
        enter(f, FANOUT_OVER);
    else if (f->phase == FANOUT_WARMING && passed >= f->o.warmup_ns)
        enter(f, FANOUT_MEASURING);
    else if (f->phase == FANOUT_MEASURING && passed >= f->o.seconds_ns)
        enter(f, FANOUT_DRAINING);
    else if (f->phase == FANOUT_DRAINING && all_arrived(f))
        enter(f, FANOUT_OVER);
    if (f->now_ns - f->progress_ns > STALLED_NS) {
        give_up_all(f);
        f->progress_ns = f->now_ns;
    }
    publish_all(f);
}

static void run(struct fanout *f)
{
    struct epoll_event events[EVENTS];
    while (f->phase != FANOUT_OVER) {
        if (f->phase <= FANOUT_SUBSCRIBING)
            step_setup(f);
        else
            step_running(f);
        int n = epoll_wait(f->epoll, events, EVENTS, 100);
        f->now_ns = clock_ns();
        for (int i = 0; i < n; i++)
            peer_on_events(f, events[i].data.ptr, events[i].events);
    }
}

/* ---- findings ---- */

static double per(double amount, double of)
{
    return of > 0 ? amount / of : 0.0;
}

static void print_json(const struct fanout *f)
{
    struct sl_buf latency = { 0 };
    if (histogram_print_json(&f->latency, &latency) != SL_OK)
        return;
    double seconds = (double)(f->to_ns - f->from_ns) / 1e9;
    printf("{\"deliveries_per_second\":%.0f,\"published\":%llu,\"deliveries_in_all\":%llu,\"lost\":%llu,\"repeated\":%llu,"
           "\"out_of_order\":%llu,\"faults\":%llu,\"generator_us_per_delivery\":%.3f,\"latency_us\":%.*s}\n",
           per((double)f->measured, seconds), (unsigned long long)f->counts.published,
           (unsigned long long)f->counts.delivered, (unsigned long long)f->counts.lost,
           (unsigned long long)f->counts.repeated, (unsigned long long)f->counts.out_of_order,
           (unsigned long long)f->counts.faults, per((double)(f->cpu_to_us - f->cpu_from_us), (double)f->measured),
           (int)sl_buf_len(&latency), (const char *)sl_buf_view(&latency).p);
    sl_buf_fini(&latency);
}

static void print_text(const struct fanout *f)
{
    double seconds = (double)(f->to_ns - f->from_ns) / 1e9;
    printf("%u publishers, %u subscribers%s: %.0f deliveries/s, p50 %.0f us, p99 %.0f us, %.2f us of this program each\n",
           f->o.publishers, f->o.subscribers, f->o.target.group != NULL ? " that share" : "",
           per((double)f->measured, seconds), (double)histogram_quantile(&f->latency, 0.5) / 1e3,
           (double)histogram_quantile(&f->latency, 0.99) / 1e3,
           per((double)(f->cpu_to_us - f->cpu_from_us), (double)f->measured));
    printf("lost %llu, repeated %llu, out of order %llu\n", (unsigned long long)f->counts.lost,
           (unsigned long long)f->counts.repeated, (unsigned long long)f->counts.out_of_order);
}

int mode_fanout(int argc, char **argv)
{
    struct fanout *f = SL_NEW(struct fanout);
    int status = options(argc, argv, &f->o);
    if (status < 0) {
        int err = fanout_init(f);
        if (err == SL_OK)
            run(f);
        status = err != SL_OK || f->counts.faults > 0 || f->counts.lost > 0 ? 1 : 0;
        if (f->o.json)
            print_json(f);
        else
            print_text(f);
        if (f->last_fault != NULL || err != SL_OK)
            fprintf(stderr, "sluice bench fanout: %s\n", f->last_fault != NULL ? f->last_fault : sl_err_text(err));
        fanout_fini(f);
    }
    sl_free(f);
    return status;
}
