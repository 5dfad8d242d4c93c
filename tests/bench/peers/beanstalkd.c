/* beanstalkd: put; reserve and delete, in rounds.
 *
 * A connection that waits in `reserve` reads no further command, so a round is
 * one reserve that waits and many that do not (reserve-with-timeout 0); when
 * all have been answered, the deletes go out with the next round. A consumer
 * process has one connection, so the round is static. */
#include "peers.h"

#define ROUND_MAX 64u

/* ---- producer ---- */

static int hello(const struct bench_target *t, uint32_t connection, struct sl_buf *out)
{
    (void)connection;
    return sl_buf_printf(out, "use %s\r\n", t->topic);
}

static int message(const struct bench_target *t, struct sl_bytes topic, struct sl_bytes payload,
                   struct bench_template *out)
{
    struct sl_buf *b = &out->bytes;
    (void)t;
    (void)topic;
    int err = sl_buf_printf(b, "put 0 0 60 %zu\r\n", payload.n);
    out->stamp_at = sl_buf_len(b);
    if (err == SL_OK)
        err = sl_buf_append_bytes(b, payload);
    return err == SL_OK ? sl_buf_append(b, "\r\n", 2) : err;
}

static bool begins(struct sl_bytes line, const char *word)
{
    size_t n = strlen(word);
    return line.n >= n && memcmp(line.p, word, n) == 0;
}

static int answer(const struct bench_target *t, struct sl_bytes in, struct bench_answer *a,
                  struct sl_buf *reply)
{
    struct sl_bytes line;
    (void)t;
    (void)reply;
    *a = (struct bench_answer){ .bytes = peer_line(in, &line) };
    if (a->bytes == 0)
        return SL_EMORE;
    if (begins(line, "INSERTED "))
        a->kind = BENCH_OLDEST;
    else if (begins(line, "USING "))
        a->kind = BENCH_READY;
    else
        return SL_EPEER;
    return SL_OK;
}

const struct bench_driver peer_beanstalkd = {
    "beanstalkd", "beanstalkd, put", 11300, BENCH_NUMBER_NONE, 1000000, hello, message, NULL,
    answer,
};

/* ---- consumer ---- */

static struct {
    uint32_t left;         /* reserves without an answer */
    struct sl_buf settled; /* deletes and releases that wait for the round's end */
} turn;

static uint32_t round_of(const struct bench_target *t)
{
    return t->prefetch < ROUND_MAX ? t->prefetch : ROUND_MAX;
}

static int begin_round(const struct bench_target *t, struct sl_buf *out)
{
    int err = sl_buf_append_bytes(out, sl_buf_view(&turn.settled));
    sl_buf_clear(&turn.settled);
    if (err == SL_OK)
        err = sl_buf_printf(out, "reserve\r\n");
    turn.left = 1;
    while (err == SL_OK && turn.left < round_of(t)) {
        err = sl_buf_printf(out, "reserve-with-timeout 0\r\n");
        turn.left++;
    }
    return err;
}

static int consumer_hello(const struct bench_target *t, uint32_t consumer, struct sl_buf *out)
{
    (void)consumer;
    int err = sl_buf_printf(out, "watch %s\r\nignore default\r\n", t->topic);
    return err == SL_OK ? begin_round(t, out) : err;
}

/* RESERVED <id> <bytes> */
static int take_reserved(struct sl_bytes in, struct sl_bytes line, struct bench_delivery *d)
{
    const uint8_t *space = memchr(line.p + 9, ' ', line.n - 9);
    uint64_t bytes;
    if (space == NULL ||
        sl_bytes_u64(sl_bytes_of(line.p + 9, (size_t)(space - line.p) - 9), UINT64_MAX,
                     &d->number) != SL_OK ||
        peer_number(line, (size_t)(space - line.p) + 1, &bytes) != SL_OK)
        return SL_EPEER;
    if (in.n < d->bytes + bytes + 2)
        return SL_EMORE;
    d->payload = sl_bytes_of(in.p + d->bytes, (size_t)bytes);
    d->bytes += (size_t)bytes + 2;
    d->message = true;
    return SL_OK;
}

static int consumer_next(const struct bench_target *t, struct sl_bytes in, struct bench_delivery *d,
                         struct sl_buf *out)
{
    struct sl_bytes line;
    *d = (struct bench_delivery){ .bytes = peer_line(in, &line) };
    if (d->bytes == 0)
        return SL_EMORE;
    if (begins(line, "RESERVED "))
        return take_reserved(in, line, d);
    if (begins(line, "TIMED_OUT"))
        return --turn.left == 0 ? begin_round(t, out) : SL_OK;
    bool expected = begins(line, "DELETED") || begins(line, "RELEASED") ||
                    begins(line, "WATCHING") || begins(line, "DEADLINE_SOON");
    return expected ? SL_OK : SL_EPEER;
}

static int consumer_ack(const struct bench_target *t, const struct bench_delivery *d, bool good,
                        struct sl_buf *out)
{
    unsigned long long id = d->number;
    int err = good ? sl_buf_printf(&turn.settled, "delete %llu\r\n", id)
                   : sl_buf_printf(&turn.settled, "release %llu 0 1\r\n", id);
    if (err != SL_OK || --turn.left > 0)
        return err;
    return begin_round(t, out);
}

const struct bench_consumer peer_beanstalkd_consumer = {
    "beanstalkd", 11300, consumer_hello, consumer_next, consumer_ack, NULL,
};
