/* The generator's command line. */
#include <stdio.h>

#include "bench/args.h"
#include "bench/stamp.h"
#include "load.h"
#include "modes.h"

static const char help[] =
    "usage: sluice bench [OPTION]...\n"
    "       sluice bench worker [OPTION]...      the command of a pool to be measured\n"
    "       sluice bench subscriber [OPTION]...  the same as a client, for any server\n"
    "       sluice bench fanout [OPTION]...      publishers and subscribers of one topic\n"
    "\n"
    "Publishes as fast as answers come (closed loop), or at a given rate (open loop:\n"
    "a message's time counts from when it was due, whether or not it could be sent).\n"
    "Progress goes to stderr once a second, the findings to stdout.\n"
    "\n"
    "  --protocol NAME      %s\n"
    "  --connect ADDRESS    HOST:PORT, PORT or unix:PATH (the protocol's port on loopback)\n"
    "  --user NAME --password TEXT\n"
    "  --connections N      (50)\n"
    "  --window N           unanswered messages per connection (20; open loop: 10000)\n"
    "  --rate N             messages a second over all connections: open loop\n"
    "  --qos N              MQTT: 0, 1 or 2 (1); 0 is paced by PINGREQ behind each window\n"
    "  --payload SIZE       bytes, at least 32 (256)\n"
    "  --topic NAME         (telemetry/load); STOMP takes a whole destination too\n"
    "  --topics N           NAME/0 … NAME/N-1 in turn (1)\n"
    "  --seconds S          of measuring (10)\n"
    "  --messages N         instead: so many messages\n"
    "  --warmup S           before measuring (1; with --messages 0)\n"
    "  --answers S          wait for the last answers (10)\n"
    "  --idle S             open the connections, keep them for so long, publish nothing\n"
    "  --subscribed         with --idle, MQTT: each connection subscribes to NAME/N\n"
    "  --connecting N       connections being opened at once (128)\n"
    "  --ledger FILE        check for loss, repetition and order together with the\n"
    "                       consumers that have the same --ledger; keep it in /dev/shm\n"
    "  --settle S           wait for consumers that still make progress (10)\n"
    "  --json               findings as one line of JSON\n"
    "  --quiet              no progress\n"
    "\n"
    "exit status: 0 done; 1 a connection broke, an answer is missing or a message was\n"
    "lost; 2 wrong use\n";

#define FIELD(member) offsetof(struct load_options, member)

static const struct arg args[] = {
    { "protocol", ARG_TEXT, FIELD(protocol) },
    { "connect", ARG_TEXT, FIELD(target.address) },
    { "user", ARG_TEXT, FIELD(target.user) },
    { "password", ARG_TEXT, FIELD(target.password) },
    { "connections", ARG_U32, FIELD(connections) },
    { "window", ARG_U32, FIELD(window) },
    { "rate", ARG_U64, FIELD(rate) },
    { "qos", ARG_U32, FIELD(target.qos) },
    { "payload", ARG_SIZE, FIELD(target.payload_bytes) },
    { "topic", ARG_TEXT, FIELD(target.topic) },
    { "topics", ARG_U32, FIELD(target.n_topics) },
    { "client", ARG_TEXT, FIELD(target.client) },
    { "transient", ARG_FLAG, FIELD(target.transient) },
    { "seconds", ARG_SECONDS, FIELD(seconds_ns) },
    { "messages", ARG_U64, FIELD(messages) },
    { "warmup", ARG_SECONDS, FIELD(warmup_ns) },
    { "answers", ARG_SECONDS, FIELD(answers_ns) },
    { "idle", ARG_SECONDS, FIELD(idle_ns) },
    { "subscribed", ARG_FLAG, FIELD(target.subscribed) },
    { "connecting", ARG_U32, FIELD(connecting) },
    { "ledger", ARG_TEXT, FIELD(ledger) },
    { "settle", ARG_SECONDS, FIELD(settle_ns) },
    { "json", ARG_FLAG, FIELD(json) },
    { "quiet", ARG_FLAG, FIELD(quiet) },
};

static const struct load_options defaults = {
    .target = { .topic = "telemetry/load",
                .n_topics = 1,
                .qos = 1,
                .payload_bytes = 256,
                .client = "bench" },
    .protocol = "mqtt",
    .connections = 50,
    .connecting = 128,
    .seconds_ns = UINT64_C(10000000000),
    .warmup_ns = UINT64_MAX, /* not given */
    .answers_ns = UINT64_C(10000000000),
    .settle_ns = UINT64_C(10000000000),
};

static void print_help(const struct bench_drivers *d)
{
    struct sl_buf names = { 0 };
    for (size_t i = 0; i < d->n_producers; i++)
        (void)!sl_buf_printf(&names, "%s%s", i > 0 ? ", " : "", d->producers[i]->name);
    (void)!sl_buf_append(&names, "", 1);
    printf(help, (const char *)names.p);
    sl_buf_fini(&names);
}

static int wrong(const char *what)
{
    fprintf(stderr, "sluice bench: %s; see sluice bench --help\n", what);
    return 2;
}

static void complete(struct load_options *o)
{
    if (o->window == 0)
        o->window = o->rate > 0 ? 10000 : 20;
    if (o->warmup_ns == UINT64_MAX)
        o->warmup_ns = o->messages > 0 ? 0 : UINT64_C(1000000000);
    if (o->driver->barrier == NULL)
        o->target.qos = 1; /* every message has its answer */
}

static int check(const struct bench_drivers *d, struct load_options *o)
{
    for (size_t i = 0; i < d->n_producers; i++) {
        if (strcmp(d->producers[i]->name, o->protocol) == 0)
            o->driver = d->producers[i];
    }
    if (o->driver == NULL)
        return wrong("unknown protocol");
    complete(o);
    if (o->target.qos > 2 || o->target.payload_bytes < STAMP_BYTES || o->target.n_topics == 0)
        return wrong("qos is 0 to 2, a payload has at least 32 bytes, topics are at least 1");
    if (o->connections == 0 || o->connections > LEDGER_MAX_CONNECTIONS || o->connecting == 0)
        return wrong("connections are 1 to 100000");
    if (o->window > o->driver->max_window)
        return wrong("the window is larger than the protocol's numbers");
    return -1;
}

int load_options_take(const struct bench_drivers *drivers, int argc, char **argv,
                      struct load_options *o)
{
    static const struct arg_table table = { args, SL_COUNT(args) };
    *o = defaults;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(drivers);
            return 0;
        }
        int at = i;
        if (args_take(&table, o, argc, argv, &i) != SL_OK) {
            fprintf(stderr, "sluice bench: \"%s\": ", argv[at]);
            return wrong("unknown option, or its value is missing or bad");
        }
    }
    return check(drivers, o);
}
