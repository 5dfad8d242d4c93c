/* The room net over real sockets of loopback, with a protocol that echoes: what
 * comes in goes out, and a 'Q' is the last byte that is read. Both ends live in
 * this thread, so that the order of things is the test's own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/alloc.h"
#include "net/net.h"

#define MANY (1u << 20)

/* ---- the protocol ---- */

struct echo {
    const struct protocol *protocol;
    struct sl_buf out;
    bool quit, over;
};

static uint64_t bytes_in;

static struct echo *echo_of(struct proto_session *p)
{
    return (struct echo *)(void *)p;
}

static struct proto_session *echo_new(const struct proto_config *cfg, uint64_t now_ms)
{
    (void)cfg;
    (void)now_ms;
    return (struct proto_session *)SL_NEW(struct echo);
}

static void echo_free(struct proto_session *p)
{
    sl_buf_fini(&echo_of(p)->out);
    sl_free(p);
}

static void echo_feed(struct proto_session *p, struct sl_bytes in, uint64_t now_ms)
{
    struct echo *e = echo_of(p);
    (void)now_ms;
    bytes_in += in.n;
    const uint8_t *quit = memchr(in.p, 'Q', in.n);
    e->quit = quit != NULL;
    assert_int_equal(sl_buf_append_bytes(&e->out, in), SL_OK);
}

static bool echo_next(struct proto_session *p, struct proto_event *ev)
{
    struct echo *e = echo_of(p);
    if (!e->quit || e->over)
        return false;
    e->over = true;
    *ev = (struct proto_event){ .kind = PROTO_CLOSE };
    ev->u.reason = "disconnect";
    return true;
}

static bool echo_over(const struct proto_session *p)
{
    return ((const struct echo *)(const void *)p)->quit;
}

static struct sl_buf *echo_output(struct proto_session *p)
{
    return &echo_of(p)->out;
}

static uint64_t echo_deadline(const struct proto_session *p)
{
    (void)p;
    return UINT64_MAX;
}

static size_t echo_buffered(const struct proto_session *p)
{
    (void)p;
    return 0;
}

static const struct protocol echo = {
    .name = "echo",
    .session_new = echo_new,
    .session_free = echo_free,
    .feed = echo_feed,
    .next = echo_next,
    .over = echo_over,
    .output = echo_output,
    .deadline = echo_deadline,
    .buffered = echo_buffered,
};

/* ---- the world ---- */

struct world {
    uv_loop_t loop;
    struct hub *hub;
    struct net *net;
    struct hub_listener listener;
    struct sl_clock clock;
    bool in_turn;
};

static void begin(void *arg)
{
    struct world *w = arg;
    if (w->in_turn)
        return;
    w->in_turn = true;
    struct sl_now now = sl_clock_advance(&w->clock, 1, 1);
    hub_begin(w->hub, &now);
}

static void turn(struct world *w)
{
    uv_run(&w->loop, UV_RUN_NOWAIT);
    while (w->in_turn) {
        hub_end(w->hub);
        w->in_turn = false;
        net_flush(w->net);
    }
}

static struct world *world_new(const char *path)
{
    struct world *w = SL_NEW(struct world);
    struct sl_buf why = { 0 };
    uv_loop_init(&w->loop);
    w->hub = hub_new(&(struct hub_config){ .boot = 1, .memory_bytes = UINT64_MAX, .max_sessions = 100, .max_connections = 100 });
    w->net = net_new(&(struct net_config){ .loop = &w->loop, .hub = w->hub, .turn = { begin, w }, .max_connections = 100 });
    w->listener = (struct hub_listener){ .protocol = &echo, .park_max = 1, .park_bytes = 1 };
    struct net_bind b = { .name = "test", .host = path == NULL ? "127.0.0.1" : NULL, .path = path, .listener = &w->listener };
    assert_int_equal(net_listen(w->net, &b, &why), SL_OK);
    bytes_in = 0;
    return w;
}

static void world_free(struct world *w)
{
    net_close(w->net);
    turn(w);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    net_free(w->net);
    hub_free(w->hub);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    sl_free(w);
}

static int connected(struct world *w, const struct sockaddr *to, socklen_t len)
{
    int fd = socket(to->sa_family, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, to, len), 0);
    while (net_connections(w->net) == 0)
        turn(w);
    return fd;
}

static int client(struct world *w)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(net_port(w->net, 0)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    return connected(w, (struct sockaddr *)&to, sizeof to);
}

/* Bytes that the socket takes now; the world stands still meanwhile. */
static size_t send_now(int fd, size_t n)
{
    static const char zeros[MANY];
    ssize_t sent = send(fd, zeros, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? 0 : (size_t)sent;
}

/* -1: nothing there yet. */
static ssize_t receive_now(int fd)
{
    static char into[MANY];
    return recv(fd, into, sizeof into, MSG_DONTWAIT);
}

static void send_all(struct world *w, int fd, size_t n)
{
    while (n > 0) {
        n -= send_now(fd, n);
        turn(w);
    }
}

/* To the end of the stream, or `enough`. */
static size_t receive(struct world *w, int fd, size_t enough)
{
    size_t got = 0;
    while (got < enough) {
        ssize_t n = receive_now(fd);
        if (n == 0)
            break;
        got += n > 0 ? (size_t)n : 0;
        turn(w);
    }
    return got;
}

/* ---- claims ---- */

/* As much as a socket takes is more than one read: no edge tells of the rest. */
static void what_one_read_leaves_is_read_without_another_event(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    int fd = client(w);
    int size = 4 * (int)MANY;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    uint64_t sent = 0, came;
    while (sent < MANY) {
        came = send_now(fd, MANY - sent);
        sent += came;
        if (came == 0)
            turn(w);
    }
    while (bytes_in < sent)
        turn(w);
    assert_int_equal(receive(w, fd, sent), sent);
    close(fd);
    world_free(w);
}

/* The echo is cut off at nothing: its buffer has no limit, only the reading stops. */
static void who_does_not_read_is_not_read_and_then_gets_everything(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    int fd = client(w);
    uint64_t sent = 0, seen = 1;
    uint32_t still = 0;
    while (still < 100) { /* until both directions are full, and nothing moves any more */
        uint64_t more = send_now(fd, MANY);
        sent += more;
        turn(w);
        still = more > 0 || seen != bytes_in ? 0 : still + 1;
        seen = bytes_in;
    }
    assert_true(bytes_in < sent);
    assert_int_equal(receive(w, fd, sent), sent);
    assert_int_equal(bytes_in, sent);
    close(fd);
    world_free(w);
}

static void what_comes_with_the_end_is_read_before_it(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    int fd = client(w);
    size_t sent = send_now(fd, 1000);
    close(fd);
    while (net_connections(w->net) > 0)
        turn(w);
    assert_int_equal(bytes_in, sent);
    world_free(w);
}

static void the_last_answer_arrives_though_the_client_goes_on_sending(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    int fd = client(w);
    send_all(w, fd, 10);
    assert_int_equal(send(fd, "Q", 1, 0), 1);
    while (bytes_in < 11)
        turn(w);
    send_all(w, fd, 100000);
    assert_int_equal(receive(w, fd, SIZE_MAX), 11);
    assert_int_equal(bytes_in, 11);
    assert_int_equal(net_connections(w->net), 1);
    close(fd);
    while (net_connections(w->net) > 0)
        turn(w);
    world_free(w);
}

static void a_unix_socket_goes_with_its_listener(void **state)
{
    (void)state;
    char dir[] = "/tmp/test_net_XXXXXX";
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    assert_non_null(mkdtemp(dir));
    (void)snprintf(to.sun_path, sizeof to.sun_path, "%s/s", dir);
    struct world *w = world_new(to.sun_path);
    int fd = connected(w, (struct sockaddr *)&to, sizeof to);
    send_all(w, fd, 100000);
    assert_int_equal(receive(w, fd, 100000), 100000);
    net_stop_accepting(w->net);
    assert_int_equal(access(to.sun_path, F_OK), -1);
    assert_int_equal(net_connections(w->net), 1);
    close(fd);
    world_free(w);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_read_leaves_is_read_without_another_event),
        cmocka_unit_test(who_does_not_read_is_not_read_and_then_gets_everything),
        cmocka_unit_test(what_comes_with_the_end_is_read_before_it),
        cmocka_unit_test(the_last_answer_arrives_though_the_client_goes_on_sending),
        cmocka_unit_test(a_unix_socket_goes_with_its_listener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
