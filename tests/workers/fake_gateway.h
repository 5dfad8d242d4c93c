/* A gateway that lives in a test: one end of a socketpair, frames written before
 * the worker reads, the worker's frames read back as lines or bytes. Include
 * after cmocka.h. */
#ifndef TESTS_WORKERS_FAKE_GATEWAY_H
#define TESTS_WORKERS_FAKE_GATEWAY_H

#include <sys/socket.h>
#include <unistd.h>

#include "describe.h"
#include "frames.h"

static struct frame_rows frames;

struct gateway {
    int fd, worker_fd;
    struct sl_buf in, log;
};

static inline void gateway_init(struct gateway *g)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    *g = (struct gateway){.fd = fds[0], .worker_fd = fds[1]};
    sl_buf_init(&g->in, 0);
    sl_buf_init(&g->log, 0);
}

static inline void gateway_close(struct gateway *g)
{
    if (g->fd >= 0)
        (void)close(g->fd);
    g->fd = -1;
}

static inline void gateway_fini(struct gateway *g)
{
    gateway_close(g);
    sl_buf_fini(&g->in);
    sl_buf_fini(&g->log);
}

static inline void gateway_write(struct gateway *g, const void *p, size_t n)
{
    assert_int_equal(send(g->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT), (ssize_t)n);
}

static inline void gateway_send(struct gateway *g, const char *name)
{
    const struct frame_row *row = frames_find(&frames, name);
    gateway_write(g, row->bytes, row->n);
}

static inline void gateway_deliver(struct gateway *g, uint64_t tag, uint32_t attempt,
                                   const char *topic)
{
    struct message_parts parts = {.id = tag,
                                  .protocol = MESSAGE_MQTT5,
                                  .priority = MESSAGE_PRIORITY_DEFAULT,
                                  .topic = sl_str(topic),
                                  .payload = sl_str("21.5")};
    struct message *m = message_new(&parts);
    struct wire_deliver d = {tag, attempt, 5, 0, message_record(m)};
    struct sl_buf out;
    sl_buf_init(&out, 0);
    assert_int_equal(wire_encode_deliver(&out, &d), SL_OK);
    gateway_write(g, sl_buf_view(&out).p, sl_buf_len(&out));
    sl_buf_fini(&out);
    message_unref(m);
}

static inline void gateway_tag(struct gateway *g, enum wire_type type, uint64_t tag)
{
    struct sl_buf out;
    sl_buf_init(&out, 0);
    assert_int_equal(wire_encode_tag(&out, type, tag), SL_OK);
    gateway_write(g, sl_buf_view(&out).p, sl_buf_len(&out));
    sl_buf_fini(&out);
}

static inline void gateway_receive(struct gateway *g)
{
    for (;;) {
        uint8_t *p = sl_buf_reserve(&g->in, 65536);
        ssize_t n = recv(g->fd, p, 65536, MSG_DONTWAIT);
        if (n <= 0)
            return;
        sl_buf_commit(&g->in, (size_t)n);
    }
}

/* All that the worker has written since the last call, one line per frame. */
static inline const char *gateway_log(struct gateway *g)
{
    gateway_receive(g);
    sl_buf_clear(&g->log);
    struct wire_reader reader = {WIRE_FROM_WORKER, WIRE_FRAME_MAX, NULL};
    struct wire_frame f;
    size_t consumed;
    while (wire_decode(sl_buf_view(&g->in), &reader, &f, &consumed) == SL_OK) {
        describe(&g->log, &f);
        sl_buf_consume(&g->in, consumed);
    }
    assert_null(reader.fault);
    assert_int_equal(sl_buf_append(&g->log, "", 1), SL_OK);
    return (const char *)sl_buf_view(&g->log).p;
}

/* The worker's bytes are exactly the recorded frame of that name. */
static inline void gateway_expect_bytes(struct gateway *g, const char *name)
{
    const struct frame_row *row = frames_find(&frames, name);
    gateway_receive(g);
    assert_int_equal(sl_buf_len(&g->in), row->n);
    assert_memory_equal(sl_buf_view(&g->in).p, row->bytes, row->n);
    sl_buf_clear(&g->in);
}

#endif
