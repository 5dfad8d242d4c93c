/* Workers that somebody else started: how they find the gateway, and find it again. The gateway is a thread
 * of the test that takes one connection after the other and plays its part. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/un.h>

#include "../workers/sdk_world.h"
#include "core/alloc.h"

#define PARTS_MAX 4

/* What is said on one connection after HELLO, names of recorded frames; then the gateway reads until `until`
 * was received (NULL: not at all) and closes. */
struct part {
    const char *frames[4];
    const char *until;
};

struct server {
    char dir[32], path[64];
    int listener;
    pthread_t thread;
    size_t n_parts;
    struct part parts[PARTS_MAX];
    char logs[PARTS_MAX][512];
};

static void server_init(struct server *s)
{
    *s = (struct server){ .dir = "/tmp/sluice-worker-XXXXXX" };
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(s->path, sizeof s->path, "%s/s", s->dir);
}

static void server_listen(struct server *s)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    memcpy(at.sun_path, s->path, strlen(s->path));
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    SL_ASSERT(bind(s->listener, (struct sockaddr *)&at, sizeof at) == 0);
    SL_ASSERT(listen(s->listener, 4) == 0);
}

/* The log has this frame, or the worker has gone. */
static void read_until(int fd, const char *until, struct sl_buf *log)
{
    struct sl_buf in;
    sl_buf_init(&in, 0);
    struct wire_reader reader = { WIRE_FROM_WORKER, WIRE_FRAME_MAX, NULL };
    bool seen = false;
    while (!seen) {
        struct wire_frame f;
        size_t used;
        if (wire_decode(sl_buf_view(&in), &reader, &f, &used) == SL_OK) {
            describe(log, &f);
            seen = strcmp(wire_type_name(f.type), until) == 0;
            sl_buf_consume(&in, used);
            continue;
        }
        uint8_t *p = sl_buf_reserve(&in, 4096);
        ssize_t n = recv(fd, p, 4096, 0);
        if (n <= 0)
            break;
        sl_buf_commit(&in, (size_t)n);
    }
    sl_buf_fini(&in);
}

static void play(struct server *s, size_t i)
{
    int fd = accept(s->listener, NULL, NULL);
    SL_ASSERT(fd >= 0);
    struct sl_buf log;
    sl_buf_init(&log, 0);
    read_until(fd, "HELLO", &log);
    for (size_t k = 0; k < SL_COUNT(s->parts[i].frames) && s->parts[i].frames[k] != NULL; k++) {
        const struct frame_row *row = frames_find(&frames, s->parts[i].frames[k]);
        SL_ASSERT(send(fd, row->bytes, row->n, MSG_NOSIGNAL) == (ssize_t)row->n);
    }
    if (s->parts[i].until != NULL)
        read_until(fd, s->parts[i].until, &log);
    (void)snprintf(s->logs[i], sizeof s->logs[i], "%.*s", (int)sl_buf_len(&log), (const char *)sl_buf_view(&log).p);
    sl_buf_fini(&log);
    (void)close(fd);
}

static void *serve(void *arg)
{
    struct server *s = arg;
    for (size_t i = 0; i < s->n_parts; i++)
        play(s, i);
    return NULL;
}

static void server_start(struct server *s)
{
    while (s->n_parts < PARTS_MAX && s->parts[s->n_parts].frames[0] != NULL)
        s->n_parts++;
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_end(struct server *s)
{
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    (void)close(s->listener);
    (void)unlink(s->path);
    (void)rmdir(s->dir);
}

static struct sluice_worker_options quick(const struct server *s)
{
    return (struct sluice_worker_options){ .name = "demo", .socket = s->path, .reconnect_min_ms = 1, .reconnect_max_ms = 2 };
}

static void the_environment_names_the_socket_and_the_token(void **state)
{
    (void)state;
    struct server s;
    server_init(&s);
    server_listen(&s);
    s.parts[0] = (struct part){ { "welcome-external" }, "BYE" };
    server_start(&s);
    assert_int_equal(setenv("SLUICE_SOCKET", s.path, 1), 0);
    assert_int_equal(setenv("SLUICE_TOKEN", "s3cret", 1), 0);
    struct sluice_worker *w;
    assert_int_equal(sluice_worker_open(NULL, &w), SLUICE_WORKER_OK);
    assert_true(sluice_worker_is_external(w));
    assert_int_equal(sluice_worker_time_limit_ms(w), 30000);
    sluice_worker_close(w);
    (void)unsetenv("SLUICE_SOCKET");
    (void)unsetenv("SLUICE_TOKEN");
    server_end(&s);
    assert_string_equal(s.logs[0], "HELLO version=1 flags=0 prefetch=0 name=c token=s3cret\nBYE\n");
}

static void the_wrong_token_is_denied_and_not_tried_again(void **state)
{
    (void)state;
    struct server s;
    server_init(&s);
    server_listen(&s);
    s.parts[0] = (struct part){ { "error-denied" }, NULL };
    server_start(&s);
    struct sluice_worker *w = NULL;
    struct sluice_worker_options o = quick(&s);
    o.patient = true;
    o.token = "wrong";
    assert_int_equal(sluice_worker_open(&o, &w), SLUICE_WORKER_EDENIED);
    assert_string_equal(sluice_worker_detail(), "token");
    assert_null(w);
    server_end(&s);
}

static void without_a_gateway_it_says_so_unless_it_is_patient(void **state)
{
    (void)state;
    struct server s;
    server_init(&s);
    struct sluice_worker *w = NULL;
    struct sluice_worker_options o = quick(&s);
    assert_int_equal(sluice_worker_open(&o, &w), SLUICE_WORKER_EGONE);
    assert_non_null(strstr(sluice_worker_detail(), s.path));
    char too_long[200];
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    assert_int_equal(sluice_worker_connect(too_long, NULL, &w), SLUICE_WORKER_EINVAL);
    assert_int_equal(sluice_worker_connect(NULL, NULL, &w), SLUICE_WORKER_EINVAL);
    assert_null(w);
    server_listen(&s);
    s.parts[0] = (struct part){ { "error" }, NULL };
    s.parts[1] = (struct part){ { "welcome-external" }, "BYE" };
    server_start(&s);
    assert_int_equal(sluice_worker_connect(s.path, NULL, &w), SLUICE_WORKER_EREFUSED);
    assert_int_equal(sluice_worker_connect(s.path, NULL, &w), SLUICE_WORKER_OK);
    sluice_worker_close(w);
    server_end(&s);
}

/* The first message is kept when its connection goes; the second one ends the worker. */
struct keeper {
    struct sluice_worker *w;
    struct sluice_worker_message *kept;
    int count;
};

static enum sluice_worker_verdict keep_first(struct sluice_worker_message *m, void *arg)
{
    struct keeper *k = arg;
    k->count++;
    if (k->kept == NULL) {
        k->kept = sluice_worker_message_copy(m);
        return SLUICE_WORKER_ANSWERED;
    }
    unsigned seen = 0;
    assert_int_equal(sluice_worker_check(k->kept, &seen), SLUICE_WORKER_OK);
    assert_true(seen & SLUICE_WORKER_STALE);
    struct sluice_worker_publish p = { .topic = "a", .with = k->kept };
    assert_int_equal(sluice_worker_publish(k->w, &p), SLUICE_WORKER_ELOST);
    assert_int_equal(sluice_worker_progress(k->kept, 0.5), SLUICE_WORKER_ELOST);
    assert_int_equal(sluice_worker_ack(k->kept), SLUICE_WORKER_ELOST);
    assert_int_equal(sluice_worker_ack(k->kept), SLUICE_WORKER_EANSWERED);
    sluice_worker_stop(k->w);
    return SLUICE_WORKER_ACK;
}

static void a_lost_connection_is_made_again_and_its_messages_are_stale(void **state)
{
    (void)state;
    struct server s;
    server_init(&s);
    server_listen(&s);
    s.parts[0] = (struct part){ { "welcome-external", "deliver-bare" }, NULL };
    s.parts[1] = (struct part){ { "welcome-external", "deliver-bare" }, "BYE" };
    server_start(&s);
    struct sluice_worker_options o = quick(&s);
    struct keeper k = { 0 };
    assert_int_equal(sluice_worker_open(&o, &k.w), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_run(k.w, keep_first, &k), SLUICE_WORKER_DRAINED);
    assert_int_equal(k.count, 2);
    assert_int_equal(sluice_worker_stale_answers(k.w), 1);
    sluice_worker_close(k.w);
    sluice_worker_message_free(k.kept);
    server_end(&s);
    assert_string_equal(s.logs[1], HELLO_LINE "ACK tag=7\nBYE\n");
}

static enum sluice_worker_verdict stop_at_second(struct sluice_worker_message *m, void *arg)
{
    struct keeper *k = arg;
    (void)m;
    if (++k->count == 2)
        sluice_worker_stop(k->w);
    return SLUICE_WORKER_ACK;
}

static void drain_is_finished_and_then_it_joins_again(void **state)
{
    (void)state;
    struct server s;
    server_init(&s);
    server_listen(&s);
    s.parts[0] = (struct part){ { "welcome-external", "deliver-bare", "drain" }, "BYE" };
    s.parts[1] = (struct part){ { "welcome-external", "deliver-bare" }, "BYE" };
    server_start(&s);
    struct sluice_worker_options o = quick(&s);
    struct keeper k = { 0 };
    assert_int_equal(sluice_worker_open(&o, &k.w), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_run(k.w, stop_at_second, &k), SLUICE_WORKER_DRAINED);
    sluice_worker_close(k.w);
    server_end(&s);
    assert_string_equal(s.logs[0], HELLO_LINE "ACK tag=7\nBYE\n");
    assert_string_equal(s.logs[1], HELLO_LINE "ACK tag=7\nBYE\n");
}

static void a_loop_of_ones_own_reconnects_where_it_wants(void **state)
{
    (void)state;
    struct server s;
    server_init(&s);
    server_listen(&s);
    s.parts[0] = (struct part){ { "welcome-external" }, NULL };
    s.parts[1] = (struct part){ { "welcome-external", "deliver-bare" }, "BYE" };
    server_start(&s);
    struct sluice_worker_options o = quick(&s);
    struct sluice_worker *w;
    struct sluice_worker_message *m;
    assert_int_equal(sluice_worker_open(&o, &w), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_next(w, &m), SLUICE_WORKER_EGONE);
    assert_int_equal(sluice_worker_reconnect(w), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_next(w, &m), SLUICE_WORKER_OK);
    assert_int_equal(sluice_worker_ack(m), SLUICE_WORKER_OK);
    sluice_worker_stop(w);
    assert_int_equal(sluice_worker_reconnect(w), SLUICE_WORKER_DRAINED);
    sluice_worker_close(w);
    server_end(&s);
    assert_string_equal(s.logs[1], HELLO_LINE "ACK tag=7\nBYE\n");
}

static void a_worker_of_a_pool_does_not_reconnect(void **state)
{
    (void)state;
    struct gateway g;
    gateway_init(&g);
    struct sluice_worker *w = open_worker(&g);
    assert_int_equal(sluice_worker_reconnect(w), SLUICE_WORKER_EINVAL);
    gateway_close(&g);
    struct keeper k = { .w = w };
    assert_int_equal(sluice_worker_run(w, stop_at_second, &k), SLUICE_WORKER_EGONE);
    sluice_worker_close(w);
    gateway_fini(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_names_the_socket_and_the_token),
        cmocka_unit_test(the_wrong_token_is_denied_and_not_tried_again),
        cmocka_unit_test(without_a_gateway_it_says_so_unless_it_is_patient),
        cmocka_unit_test(a_lost_connection_is_made_again_and_its_messages_are_stale),
        cmocka_unit_test(drain_is_finished_and_then_it_joins_again),
        cmocka_unit_test(a_loop_of_ones_own_reconnects_where_it_wants),
        cmocka_unit_test(a_worker_of_a_pool_does_not_reconnect),
    };
    return cmocka_run_group_tests(tests, load_frames, NULL);
}
