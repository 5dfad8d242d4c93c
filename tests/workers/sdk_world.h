/* What the tests of the C SDK share: a worker that is joined to the test's own gateway, and short
 * words for its verbs. Include after cmocka.h. */
#ifndef TESTS_WORKERS_SDK_WORLD_H
#define TESTS_WORKERS_SDK_WORLD_H

#include "fake_gateway.h"
#include "sluice_worker.h"

#define HELLO_LINE "HELLO version=1 flags=0 prefetch=0 name=demo\n"

static inline struct sluice_worker *open_with(struct gateway *g, const char *welcome)
{
    struct sluice_worker_options o = { .name = "demo", .use_fd = true, .fd = g->worker_fd };
    struct sluice_worker *w = NULL;
    gateway_send(g, welcome);
    assert_int_equal(sluice_worker_open(&o, &w), SLUICE_WORKER_OK);
    assert_string_equal(gateway_log(g), HELLO_LINE);
    return w;
}

static inline struct sluice_worker *open_worker(struct gateway *g)
{
    return open_with(g, "welcome");
}

static inline struct sluice_worker_message *next(struct sluice_worker *w)
{
    struct sluice_worker_message *m = NULL;
    assert_int_equal(sluice_worker_next_within(w, 0, &m), SLUICE_WORKER_OK);
    return m;
}

static inline int next_error(struct sluice_worker *w)
{
    struct sluice_worker_message *m = NULL;
    int err = sluice_worker_next_within(w, 0, &m);
    assert_null(m);
    return err;
}

static inline bool view_is(struct sluice_worker_view v, const char *s)
{
    return sl_bytes_is(sl_bytes_of(v.data, v.size), s);
}

static inline int load_frames(void **state)
{
    (void)state;
    frames_load(&frames);
    return 0;
}

#endif
