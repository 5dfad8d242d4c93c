/* `sluice bench subscriber`: one consumer as a client, for servers that do not
 * start workers. One connection, read and answered in batches. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/args.h"
#include "bench/witness.h"
#include "core/alloc.h"
#include "dial.h"
#include "modes.h"

#define READ_BYTES (256u << 10)

struct subscriber {
    struct bench_target target;
    const char *protocol;
    const struct bench_consumer *driver;
    struct witness_options seen;
    struct witness *witness;
    struct dial dial;
    int fd;
    struct sl_buf in, out;
    char latest[64]; /* name of the latest delivery, where one ack() stands for all before it */
    size_t latest_bytes;
};

static const char help[] =
    "usage: sluice bench subscriber [OPTION]...\n"
    "\n"
    "Takes what sluice bench sends from any server, acknowledges and checks it.\n"
    "\n"
    "  --protocol NAME      %s\n"
    "  --connect ADDRESS    HOST:PORT, PORT or unix:PATH\n"
    "  --user NAME --password TEXT\n"
    "  --topic NAME --topics N   as the generator has them\n"
    "  --group NAME         who share the messages ($share/NAME/…; consumer group)\n"
    "  --prefetch N         messages asked for ahead, where the protocol has it (256)\n"
    "  --ack MODE           STOMP: auto, client-individual (each), or client: one ACK for\n"
    "                       all that was read at once\n"
    "  --header NAME:VALUE  STOMP: one more header of SUBSCRIBE\n";

#define FIELD(member) offsetof(struct subscriber, member)
static const struct arg args[] = {
    { "protocol", ARG_TEXT, FIELD(protocol) },    { "connect", ARG_TEXT, FIELD(target.address) },
    { "user", ARG_TEXT, FIELD(target.user) },     { "password", ARG_TEXT, FIELD(target.password) },
    { "topic", ARG_TEXT, FIELD(target.topic) },   { "topics", ARG_U32, FIELD(target.n_topics) },
    { "group", ARG_TEXT, FIELD(target.group) },   { "prefetch", ARG_U32, FIELD(target.prefetch) },
    { "client", ARG_TEXT, FIELD(target.client) }, { "ack", ARG_TEXT, FIELD(target.ack) },
    { "header", ARG_TEXT, FIELD(target.header) },
};

static volatile sig_atomic_t stopped;

static void on_signal(int signal)
{
    (void)signal;
    stopped = 1;
}

static void print_help(const struct bench_drivers *d)
{
    struct sl_buf names = { 0 };
    for (size_t i = 0; i < d->n_consumers; i++)
        (void)!sl_buf_printf(&names, "%s%s", i > 0 ? ", " : "", d->consumers[i]->name);
    (void)!sl_buf_append(&names, "", 1);
    printf(help, (const char *)names.p);
    fputs(witness_help, stdout);
    sl_buf_fini(&names);
}

/* Exit status, or -1: go on. */
static int options(const struct bench_drivers *d, int argc, char **argv, struct subscriber *s)
{
    static const struct arg_table table = { args, SL_COUNT(args) };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(d);
            return 0;
        }
        int err = args_take(&table, s, argc, argv, &i);
        if (err == SL_ENOENT)
            err = witness_option(&s->seen, argc, argv, &i);
        if (err != SL_OK) {
            fprintf(stderr, "sluice bench subscriber: unknown or incomplete option \"%s\"\n",
                    argv[i]);
            return 2;
        }
    }
    for (size_t i = 0; i < d->n_consumers; i++) {
        if (strcmp(d->consumers[i]->name, s->protocol) == 0)
            s->driver = d->consumers[i];
    }
    if (s->driver != NULL && dial_resolve(s->target.address, s->driver->port, &s->dial) == SL_OK)
        return -1;
    fputs("sluice bench subscriber: unknown protocol or address\n", stderr);
    return 2;
}

static int write_out(struct subscriber *s)
{
    while (sl_buf_len(&s->out) > 0) {
        struct sl_bytes v = sl_buf_view(&s->out);
        ssize_t n = send(s->fd, v.p, v.n, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return SL_ECLOSED;
        if (n > 0)
            sl_buf_consume(&s->out, (size_t)n);
    }
    return SL_OK;
}

/* false: it has to be acknowledged by itself. */
static bool acknowledged_later(struct subscriber *s, const struct bench_delivery *d, bool good)
{
    if (!good || s->driver->cumulative == NULL || !s->driver->cumulative(&s->target) || d->name.n > sizeof s->latest)
        return false;
    s->latest_bytes = d->name.n;
    memcpy(s->latest, d->name.p, d->name.n);
    return true;
}

static int acknowledge_all(struct subscriber *s)
{
    struct bench_delivery latest = { .name = sl_bytes_of(s->latest, s->latest_bytes) };
    s->latest_bytes = 0;
    return latest.name.n == 0 ? SL_OK : s->driver->ack(&s->target, &latest, true, &s->out);
}

/* Work that takes time is acknowledged one by one, as a worker would. */
static int take(struct subscriber *s, const struct bench_delivery *d)
{
    if (!d->message)
        return SL_OK;
    bool good = witness_see(s->witness, d->payload, d->redelivered ? 2 : 1) == WITNESS_ACK;
    if (acknowledged_later(s, d, good))
        return SL_OK;
    int err = s->driver->ack(&s->target, d, good, &s->out);
    return err == SL_OK && s->seen.work_us > 0 ? write_out(s) : err;
}

static int take_all(struct subscriber *s)
{
    int err = SL_OK;
    while (err == SL_OK && sl_buf_len(&s->in) > 0) {
        struct bench_delivery d;
        err = s->driver->next(&s->target, sl_buf_view(&s->in), &d, &s->out);
        if (err != SL_OK)
            break;
        err = take(s, &d);
        sl_buf_consume(&s->in, d.bytes);
    }
    return err == SL_EMORE || err == SL_OK ? acknowledge_all(s) : err;
}

/* One read, all in it, one write. Also returns once a second. */
static int serve_once(struct subscriber *s)
{
    struct pollfd p = { .fd = s->fd, .events = POLLIN };
    int err = write_out(s);
    if (err != SL_OK)
        return err;
    int n = poll(&p, 1, 1000);
    if (n <= 0) {
        witness_tick(s->witness);
        return SL_OK;
    }
    uint8_t *room = sl_buf_reserve(&s->in, READ_BYTES);
    SL_ASSERT(room != NULL);
    ssize_t got = recv(s->fd, room, READ_BYTES, 0);
    if (got <= 0)
        return got < 0 && errno == EINTR ? SL_OK : SL_ECLOSED;
    sl_buf_commit(&s->in, (size_t)got);
    return take_all(s);
}

static int run(struct subscriber *s)
{
    s->fd = dial_open(&s->dial, false);
    int err = s->fd < 0 ? SL_ECLOSED : s->driver->hello(&s->target, (uint32_t)getpid(), &s->out);
    while (err == SL_OK && !stopped)
        err = serve_once(s);
    if (s->fd >= 0)
        close(s->fd);
    return err;
}

int mode_subscriber(const struct bench_drivers *drivers, int argc, char **argv)
{
    struct subscriber s = {
        .target = { .topic = "telemetry/load",
                    .n_topics = 1,
                    .client = "benchsub",
                    .prefetch = 256,
                    .ack = "client-individual" },
        .protocol = "mqtt",
    };
    int status = options(drivers, argc, argv, &s);
    if (status >= 0)
        return status;
    struct sigaction stop = { .sa_handler = on_signal };
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    s.witness = witness_new(&s.seen);
    int err = run(&s);
    witness_free(s.witness);
    sl_buf_fini(&s.in);
    sl_buf_fini(&s.out);
    if (err == SL_OK)
        return 0;
    fprintf(stderr, "sluice bench subscriber: %s\n", sl_err_text(err));
    return 1;
}
