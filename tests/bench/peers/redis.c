/* Redis streams over RESP: XADD; XREADGROUP and one XACK for each batch read.
 * A consumer process has one connection, so its place in the reply is static. */
#include "peers.h"

#include <stdio.h>
#include <unistd.h>

#define BLOCK_MS 1000u

static int put_bulk(struct sl_buf *out, struct sl_bytes v)
{
    int err = sl_buf_printf(out, "$%zu\r\n", v.n);
    if (err == SL_OK)
        err = sl_buf_append_bytes(out, v);
    return err == SL_OK ? sl_buf_append(out, "\r\n", 2) : err;
}

static int put_command(struct sl_buf *out, const char *const *words, size_t n)
{
    int err = sl_buf_printf(out, "*%zu\r\n", n);
    for (size_t i = 0; i < n && err == SL_OK; i++)
        err = put_bulk(out, sl_str(words[i]));
    return err;
}

/* ---- producer ---- */

static int hello(const struct bench_target *t, uint32_t connection, struct sl_buf *out)
{
    (void)t;
    (void)connection;
    return sl_buf_printf(out, "PING\r\n");
}

static int message(const struct bench_target *t, struct sl_bytes topic, struct sl_bytes payload,
                   struct bench_template *out)
{
    struct sl_buf *b = &out->bytes;
    (void)t;
    int err = sl_buf_printf(b, "*5\r\n$4\r\nXADD\r\n");
    if (err == SL_OK)
        err = put_bulk(b, topic);
    if (err == SL_OK)
        err = sl_buf_printf(b, "$1\r\n*\r\n$1\r\np\r\n$%zu\r\n", payload.n);
    out->stamp_at = sl_buf_len(b);
    if (err == SL_OK)
        err = sl_buf_append_bytes(b, payload);
    return err == SL_OK ? sl_buf_append(b, "\r\n", 2) : err;
}

/* "$15\r\n1700000000000-0\r\n": the new entry's id. */
static int answer(const struct bench_target *t, struct sl_bytes in, struct bench_answer *a,
                  struct sl_buf *reply)
{
    struct sl_bytes line, id;
    (void)t;
    (void)reply;
    size_t used = peer_line(in, &line);
    if (used == 0)
        return SL_EMORE;
    if (sl_bytes_is(line, "+PONG")) {
        *a = (struct bench_answer){ .kind = BENCH_READY, .bytes = used };
        return SL_OK;
    }
    if (line.n < 2 || line.p[0] != '$')
        return SL_EPEER;
    size_t rest = peer_line(sl_bytes_of(in.p + used, in.n - used), &id);
    *a = (struct bench_answer){ .kind = BENCH_OLDEST, .bytes = used + rest };
    return rest == 0 ? SL_EMORE : SL_OK;
}

const struct bench_driver peer_redis = {
    "redis", "Redis, XADD", 6379, BENCH_NUMBER_NONE, 1000000, hello, message, NULL, answer,
};

/* ---- consumer ---- */

static struct {
    uint64_t left;     /* entries of the reply that is being read */
    struct sl_buf ids; /* theirs, as bulk strings */
    size_t n_ids;
} reading;

static const char *group(const struct bench_target *t)
{
    return t->group == NULL ? "g" : t->group;
}

static int put_read(const struct bench_target *t, struct sl_buf *out)
{
    char name[32], count[16], block[16];
    (void)snprintf(name, sizeof name, "c%ld", (long)getpid());
    (void)snprintf(count, sizeof count, "%u", t->prefetch);
    (void)snprintf(block, sizeof block, "%u", BLOCK_MS);
    const char *const words[] = { "XREADGROUP", "GROUP", group(t),  name,     "COUNT", count,
                                  "BLOCK",      block,   "STREAMS", t->topic, ">" };
    return put_command(out, words, SL_COUNT(words));
}

static int consumer_hello(const struct bench_target *t, uint32_t consumer, struct sl_buf *out)
{
    const char *const create[] = { "XGROUP", "CREATE", t->topic, group(t), "0", "MKSTREAM" };
    (void)consumer;
    int err = put_command(out, create, SL_COUNT(create));
    return err == SL_OK ? put_read(t, out) : err;
}

/* One bulk string off *in. */
static int take_bulk(struct sl_bytes *in, struct sl_bytes *out)
{
    struct sl_bytes line;
    uint64_t n;
    size_t used = peer_line(*in, &line);
    if (used == 0)
        return SL_EMORE;
    if (line.p[0] != '$' || peer_number(line, 1, &n) != SL_OK)
        return SL_EPEER;
    if (in->n < used + n + 2)
        return SL_EMORE;
    *out = sl_bytes_of(in->p + used, (size_t)n);
    *in = sl_bytes_of(in->p + used + n + 2, in->n - used - (size_t)n - 2);
    return SL_OK;
}

static int take_array(struct sl_bytes *in, uint64_t *n)
{
    struct sl_bytes line;
    size_t used = peer_line(*in, &line);
    if (used == 0)
        return SL_EMORE;
    if (line.p[0] != '*' || peer_number(line, 1, n) != SL_OK)
        return SL_EPEER;
    *in = sl_bytes_of(in->p + used, in->n - used);
    return SL_OK;
}

/* *1 *2 $stream *N: what a reply begins with. */
static int take_reply_head(struct sl_bytes *rest)
{
    uint64_t n, entries;
    struct sl_bytes stream;
    int err = take_array(rest, &n);
    if (err == SL_OK)
        err = take_array(rest, &n);
    if (err == SL_OK)
        err = take_bulk(rest, &stream);
    if (err == SL_OK)
        err = take_array(rest, &entries);
    if (err == SL_OK)
        reading.left = entries;
    return err;
}

/* *2 $id *2 $p $payload */
static int take_entry(struct sl_bytes *rest, struct bench_delivery *d)
{
    uint64_t n;
    struct sl_bytes field;
    int err = take_array(rest, &n);
    if (err == SL_OK)
        err = take_bulk(rest, &d->name);
    if (err == SL_OK)
        err = take_array(rest, &n);
    if (err == SL_OK)
        err = take_bulk(rest, &field);
    if (err == SL_OK)
        err = take_bulk(rest, &d->payload);
    d->message = err == SL_OK;
    return err;
}

static int consumer_next(const struct bench_target *t, struct sl_bytes in, struct bench_delivery *d,
                         struct sl_buf *out)
{
    struct sl_bytes rest = in, line;
    *d = (struct bench_delivery){ 0 };
    size_t used = peer_line(in, &line);
    int err = SL_OK;
    if (used == 0)
        return SL_EMORE;
    if (reading.left > 0)
        err = take_entry(&rest, d);
    else if (sl_bytes_is(line, "*-1")) {
        d->bytes = used;
        return put_read(t, out);
    } else if (line.p[0] == '*')
        err = take_reply_head(&rest);
    else if (line.p[0] == '-' && !(line.n > 10 && memcmp(line.p, "-BUSYGROUP", 10) == 0))
        err = SL_EPEER;
    else
        rest = sl_bytes_of(in.p + used, in.n - used); /* +OK, :count of an XACK */
    d->bytes = in.n - rest.n;
    return err;
}

/* Acknowledged together, then the next batch is asked for. */
static int consumer_ack(const struct bench_target *t, const struct bench_delivery *d, bool good,
                        struct sl_buf *out)
{
    (void)good; /* Redis has no failed attempt */
    int err = put_bulk(&reading.ids, d->name);
    reading.n_ids++;
    if (err != SL_OK || --reading.left > 0)
        return err;
    err = sl_buf_printf(out, "*%zu\r\n$4\r\nXACK\r\n", 3 + reading.n_ids);
    if (err == SL_OK)
        err = put_bulk(out, sl_str(t->topic));
    if (err == SL_OK)
        err = put_bulk(out, sl_str(group(t)));
    if (err == SL_OK)
        err = sl_buf_append_bytes(out, sl_buf_view(&reading.ids));
    sl_buf_clear(&reading.ids);
    reading.n_ids = 0;
    return err == SL_OK ? put_read(t, out) : err;
}

const struct bench_consumer peer_redis_consumer = { "redis", 6379, consumer_hello, consumer_next,
                                                    consumer_ack, NULL };
