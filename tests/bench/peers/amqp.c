/* Consumer of a RabbitMQ queue over AMQP 0-9-1 (librabbitmq), with manual
 * acknowledgements: one for all that arrived together (multiple). */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "bench/args.h"
#include "bench/witness.h"
#include "peers.h"

struct consumer {
    const char *host, *user, *password, *queue;
    const char *declare; /* a durable queue of this type: "quorum", "classic"; NULL: it is there */
    const char *bind;    /* routing key from amq.topic; NULL: none */
    uint32_t port, prefetch;
    struct witness_options seen;
    struct witness *witness;
    amqp_connection_state_t conn;
    uint64_t unacked; /* the latest tag that is not acknowledged; 0: none */
    uint32_t n_unacked;
};

static volatile sig_atomic_t stopped;

static void on_signal(int signal)
{
    (void)signal;
    stopped = 1;
}

static bool failed(struct consumer *c, const char *what)
{
    amqp_rpc_reply_t r = amqp_get_rpc_reply(c->conn);
    if (r.reply_type == AMQP_RESPONSE_NORMAL)
        return false;
    fprintf(stderr, "bench_peers amqp: %s failed (%s)\n", what,
            amqp_error_string2(r.library_error));
    return true;
}

static bool declare(struct consumer *c)
{
    amqp_table_entry_t type = { amqp_cstring_bytes("x-queue-type"),
                                { .kind = AMQP_FIELD_KIND_UTF8 } };
    amqp_bytes_t queue = amqp_cstring_bytes(c->queue);
    if (c->declare == NULL)
        return true;
    type.value.value.bytes = amqp_cstring_bytes(c->declare);
    amqp_queue_declare(c->conn, 1, queue, 0, 1, 0, 0, (amqp_table_t){ 1, &type });
    if (failed(c, "declare"))
        return false;
    if (c->bind == NULL)
        return true;
    amqp_queue_bind(c->conn, 1, queue, amqp_cstring_bytes("amq.topic"), amqp_cstring_bytes(c->bind),
                    amqp_empty_table);
    return !failed(c, "bind");
}

static bool subscribe(struct consumer *c)
{
    amqp_socket_t *socket = amqp_tcp_socket_new(c->conn);
    if (socket == NULL || amqp_socket_open(socket, c->host, (int)c->port) != AMQP_STATUS_OK) {
        fprintf(stderr, "bench_peers amqp: no connection to %s:%u\n", c->host, c->port);
        return false;
    }
    amqp_rpc_reply_t r =
        amqp_login(c->conn, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, c->user, c->password);
    if (r.reply_type != AMQP_RESPONSE_NORMAL) {
        fputs("bench_peers amqp: login refused\n", stderr);
        return false;
    }
    amqp_channel_open(c->conn, 1);
    if (failed(c, "channel") || !declare(c))
        return false;
    amqp_basic_qos(c->conn, 1, 0, (uint16_t)c->prefetch, 0);
    if (failed(c, "qos"))
        return false;
    amqp_basic_consume(c->conn, 1, amqp_cstring_bytes(c->queue), amqp_empty_bytes, 0, 0, 0,
                       amqp_empty_table);
    return !failed(c, "consume");
}

static bool ack_all(struct consumer *c)
{
    uint64_t tag = c->unacked;
    c->unacked = 0;
    c->n_unacked = 0;
    return tag == 0 || amqp_basic_ack(c->conn, 1, tag, 1) == 0;
}

/* A failure is told by itself, after what came before it. */
static bool take(struct consumer *c, const amqp_envelope_t *e)
{
    struct sl_bytes payload = sl_bytes_of(e->message.body.bytes, e->message.body.len);
    if (witness_see(c->witness, payload, e->redelivered ? 2 : 1) == WITNESS_FAIL)
        return ack_all(c) && amqp_basic_nack(c->conn, 1, e->delivery_tag, 0, 1) == 0;
    c->unacked = e->delivery_tag;
    c->n_unacked++;
    bool at_once = c->seen.work_us > 0 || c->n_unacked >= c->prefetch / 4 + 1;
    return at_once ? ack_all(c) : true;
}

static bool serve_once(struct consumer *c)
{
    amqp_envelope_t e;
    struct timeval at_once = { 0, 0 }, second = { 1, 0 };
    amqp_maybe_release_buffers(c->conn);
    amqp_rpc_reply_t r = amqp_consume_message(c->conn, &e, c->unacked != 0 ? &at_once : &second, 0);
    if (r.reply_type == AMQP_RESPONSE_NORMAL) {
        bool good = take(c, &e);
        amqp_destroy_envelope(&e);
        return good;
    }
    if (r.reply_type != AMQP_RESPONSE_LIBRARY_EXCEPTION || r.library_error != AMQP_STATUS_TIMEOUT)
        return false;
    witness_tick(c->witness);
    return ack_all(c);
}

static int options(int argc, char **argv, struct consumer *c)
{
    static const struct arg args[] = {
        { "host", ARG_TEXT, offsetof(struct consumer, host) },
        { "port", ARG_U32, offsetof(struct consumer, port) },
        { "user", ARG_TEXT, offsetof(struct consumer, user) },
        { "password", ARG_TEXT, offsetof(struct consumer, password) },
        { "queue", ARG_TEXT, offsetof(struct consumer, queue) },
        { "declare", ARG_TEXT, offsetof(struct consumer, declare) },
        { "bind", ARG_TEXT, offsetof(struct consumer, bind) },
        { "prefetch", ARG_U32, offsetof(struct consumer, prefetch) },
    };
    for (int i = 1; i < argc; i++) {
        int err = args_take(&(struct arg_table){ args, SL_COUNT(args) }, c, argc, argv, &i);
        if (err == SL_ENOENT)
            err = witness_option(&c->seen, argc, argv, &i);
        if (err != SL_OK) {
            fprintf(stderr, "bench_peers amqp: unknown or incomplete option \"%s\"\n", argv[i]);
            return 2;
        }
    }
    return -1;
}

int amqp_main(int argc, char **argv)
{
    struct consumer c = {
        .host = "127.0.0.1",
        .port = 5672,
        .user = "guest",
        .password = "guest",
        .queue = "telemetry",
        .prefetch = 256,
    };
    int status = options(argc, argv, &c);
    if (status >= 0)
        return status;
    struct sigaction stop = { .sa_handler = on_signal };
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    c.conn = amqp_new_connection();
    c.witness = witness_new(&c.seen);
    bool good = subscribe(&c);
    while (good && !stopped)
        good = serve_once(&c);
    witness_free(c.witness);
    (void)amqp_destroy_connection(c.conn);
    return good || stopped ? 0 : 1;
}
