/* The room net over real sockets of loopback, with a protocol that echoes: what
 * comes in goes out, a 'P' is also published, and a 'Q' is the last byte that is
 * read. Both ends live in this thread, so that the order of things is the test's
 * own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/log.h"
#include "net/net.h"

#define MANY (1u << 20)
#define ENOUGH_TURNS 1000 /* to see that nothing happens */
#define PATIENCE_MS 10000

/* ---- the protocol ---- */

struct echo {
    const struct protocol *protocol;
    struct sl_buf out;
    uint32_t unpublished;
    bool quit, over;
};

static uint64_t bytes_in;
static struct echo *latest; /* session */
static bool held_back;      /* its silence is not held against it */

static struct echo *echo_of(struct proto_session *p)
{
    return (struct echo *)(void *)p;
}

static struct proto_session *echo_new(const struct proto_config *cfg, uint64_t now_ms)
{
    (void)cfg;
    (void)now_ms;
    latest = SL_NEW(struct echo);
    return (struct proto_session *)latest;
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
    e->quit = memchr(in.p, 'Q', in.n) != NULL;
    for (size_t i = 0; i < in.n; i++)
        e->unpublished += in.p[i] == 'P';
    assert_int_equal(sl_buf_append_bytes(&e->out, in), SL_OK);
}

static bool echo_next(struct proto_session *p, struct proto_event *ev)
{
    struct echo *e = echo_of(p);
    if (e->unpublished > 0) {
        e->unpublished--;
        *ev = (struct proto_event){ .kind = PROTO_PUBLISH };
        ev->u.publish.topic = sl_str("t");
        return true;
    }
    if (!e->quit || e->over)
        return false;
    e->over = true;
    *ev = (struct proto_event){ .kind = PROTO_CLOSE };
    ev->u.reason = "disconnect";
    return true;
}

/* Nothing of the input is needed after feed(). */
static void echo_hold(struct proto_session *p)
{
    (void)p;
}

static void echo_pause(struct proto_session *p, bool paused, uint64_t now_ms)
{
    (void)p;
    (void)now_ms;
    held_back = paused;
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
    .hold = echo_hold,
    .pause = echo_pause,
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
    uint64_t worker, lease; /* what it holds; 0: nothing */
};

/* A queue that is not durable needs no store. */
static void apply_volatile(void *arg, struct batch *b)
{
    (void)arg;
    (void)b;
}

static void begin(void *arg)
{
    struct world *w = arg;
    if (w->in_turn)
        return;
    w->in_turn = true;
    struct sl_now now = sl_clock_advance(&w->clock, 1, 1);
    hub_begin(w->hub, &now);
}

static void end_turn(struct world *w)
{
    while (w->in_turn) {
        hub_lease(w->hub);
        hub_end(w->hub);
        w->in_turn = false;
        net_flush(w->net);
    }
}

static void turn(struct world *w)
{
    uv_run(&w->loop, UV_RUN_NOWAIT);
    end_turn(w);
}

/* A queue with room for one message, and one more may wait for it. */
static struct world *world_with(const struct net_bind *bind, const struct net_config *limits)
{
    static const struct queue_config queue = { .name = "q", .number = 1, .max_messages = 1, .max_bytes = MANY, .max_attempts = 1 };
    struct world *w = SL_NEW(struct world);
    struct sl_buf why = { 0 };
    struct net_config cfg = *limits;
    struct net_bind b = *bind;
    uv_loop_init(&w->loop);
    w->hub = hub_new(&(struct hub_config){
        .boot = 1, .memory_bytes = UINT64_MAX, .max_sessions = 100, .max_connections = 100, .store.apply_volatile = apply_volatile });
    assert_int_equal(hub_add_route(w->hub, "t", hub_add_queue(w->hub, &queue)), SL_OK);
    cfg.loop = &w->loop;
    cfg.hub = w->hub;
    cfg.turn = (struct net_turn){ begin, w };
    w->net = net_new(&cfg);
    w->listener = (struct hub_listener){ .protocol = &echo, .park_max = 1, .park_bytes = MANY };
    b.name = "test";
    b.listener = &w->listener;
    assert_int_equal(net_listen(w->net, &b, &why), SL_OK);
    bytes_in = 0;
    return w;
}

static struct world *world_new(const char *path)
{
    return world_with(&(struct net_bind){ .host = path == NULL ? "127.0.0.1" : NULL, .path = path }, &(struct net_config){ .max_connections = 100 });
}

static void world_free(struct world *w)
{
    net_close(w->net);
    turn(w);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    if (w->worker != 0)
        hub_consumer_lost(w->hub, w->worker, &(struct hub_loss){ .charge_none = true });
    net_free(w->net);
    hub_free(w->hub);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    sl_free(w);
}

/* ---- a worker that takes one message at a time ---- */

static void on_deliver(void *arg, const struct hub_delivery *hd)
{
    struct world *w = arg;
    w->lease = hd->d->lease;
}

static void on_overdue(void *arg)
{
    (void)arg;
}

static void work(struct world *w)
{
    static const struct hub_consumer_ops ops = { on_deliver, on_overdue };
    begin(w);
    w->worker = hub_consumer_add(w->hub, &(struct hub_consumer_config){ .prefetch = 1, .concurrency = 1, .ops = &ops, .arg = w });
    end_turn(w);
}

/* In the turn that is under way. */
static void finish_one(struct world *w)
{
    struct hub_answer a = { .lease = w->lease, .verb = { .verb = QUEUE_ACK } };
    assert_true(w->lease != 0);
    w->lease = 0;
    begin(w);
    assert_int_equal(hub_answer(w->hub, w->worker, &a), SL_OK);
}

/* ---- clients ---- */

/* What it sends is there at once, and does not wait for an answer to what it sent before. */
static int connected_now(const struct sockaddr *to, socklen_t len)
{
    int fd = socket(to->sa_family, SOCK_STREAM, 0), on = 1;
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, to, len), 0);
    if (to->sa_family != AF_UNIX)
        assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    return fd;
}

static int connected(struct world *w, const struct sockaddr *to, socklen_t len)
{
    int fd = connected_now(to, len);
    while (net_connections(w->net) == 0)
        turn(w);
    return fd;
}

static struct sockaddr_in here(const struct world *w)
{
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(net_port(w->net, 0)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int client(struct world *w)
{
    struct sockaddr_in to = here(w);
    return connected(w, (struct sockaddr *)&to, sizeof to);
}

static void turns_until_bytes_in(struct world *w, uint64_t n)
{
    uint64_t end = uv_now(&w->loop) + PATIENCE_MS;
    while (bytes_in < n && uv_now(&w->loop) < end)
        turn(w);
    assert_int_equal(bytes_in, n);
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

/* Its socket is full, and a little waits here. */
static uint64_t fill_a_little(struct world *w, int fd)
{
    uint64_t sent = 0;
    while (sl_buf_len(&latest->out) == 0) {
        sent += send_now(fd, 10000);
        for (int i = 0; i < 10; i++)
            turn(w);
    }
    return sent;
}

/* Its acknowledgements and pings are among what it sends. */
static void who_does_not_read_is_read_on_until_much_waits_and_then_owes_no_sign_of_life(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    int fd = client(w);
    held_back = false;
    uint64_t sent = fill_a_little(w, fd);
    assert_int_equal(send_now(fd, 1000), 1000);
    sent += 1000;
    turns_until_bytes_in(w, sent);
    assert_in_range(sl_buf_len(&latest->out), 1001, 100000);
    assert_false(held_back);
    while (!held_back) {
        sent += send_now(fd, 10000);
        turn(w);
    }
    uint64_t seen = bytes_in;
    sent += send_now(fd, 1000);
    for (int i = 0; i < ENOUGH_TURNS; i++)
        turn(w);
    assert_int_equal(bytes_in, seen);
    assert_int_equal(receive(w, fd, sent), sent);
    assert_false(held_back);
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

/* ---- paused by the hub ---- */

/* Its two publishes have taken both places: the queue's and the parking's. */
static int paused_client(struct world *w)
{
    int fd = client(w);
    assert_int_equal(send(fd, "PP", 2, 0), 2);
    turns_until_bytes_in(w, 2);
    return fd;
}

static void who_is_paused_is_read_on_when_there_is_room_without_another_event(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    int fd = paused_client(w);
    assert_int_equal(send_now(fd, 1000), 1000);
    for (int i = 0; i < ENOUGH_TURNS; i++)
        turn(w);
    assert_int_equal(bytes_in, 2);
    work(w);
    finish_one(w);
    end_turn(w);
    turns_until_bytes_in(w, 1002);
    close(fd);
    world_free(w);
}

static void what_a_paused_client_sent_before_it_left_is_read(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    int fd = paused_client(w);
    assert_int_equal(send_now(fd, 1000), 1000);
    close(fd);
    for (int i = 0; i < ENOUGH_TURNS; i++)
        turn(w);
    assert_int_equal(net_connections(w->net), 1);
    work(w);
    finish_one(w);
    end_turn(w);
    turns_until_bytes_in(w, 1002);
    while (net_connections(w->net) > 0)
        turn(w);
    world_free(w);
}

static void who_is_paused_and_resumed_in_one_turn_is_read_on(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    int fd = client(w);
    work(w);
    assert_int_equal(send(fd, "P", 1, 0), 1);
    turns_until_bytes_in(w, 1);
    turn(w);
    assert_int_equal(send(fd, "P", 1, 0), 1);
    while (bytes_in < 2)
        uv_run(&w->loop, UV_RUN_NOWAIT); /* paused, and the turn goes on */
    assert_int_equal(send_now(fd, 1000), 1000);
    for (int i = 0; i < ENOUGH_TURNS; i++)
        uv_run(&w->loop, UV_RUN_NOWAIT);
    assert_int_equal(bytes_in, 2);
    finish_one(w);
    end_turn(w);
    turns_until_bytes_in(w, 1002);
    close(fd);
    world_free(w);
}

/* ---- reads that come short though there is more ---- */

static void what_follows_urgent_data_is_read(void **state)
{
    (void)state;
    struct world *w = world_new(NULL);
    int fd = client(w);
    assert_int_equal(send(fd, "abc", 3, 0), 3);
    assert_int_equal(send(fd, "!", 1, MSG_OOB), 1); /* out of line: nobody reads it */
    assert_int_equal(send(fd, "def", 3, 0), 3);
    turns_until_bytes_in(w, 6);
    close(fd);
    world_free(w);
}

static void send_descriptor(int fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec one = { (char[]){ 'a' }, 1 };
    struct msghdr m = { .msg_iov = &one, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
    (void)memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    assert_int_equal(sendmsg(fd, &m, 0), 1);
}

static void what_follows_a_descriptor_is_read(void **state)
{
    (void)state;
    char dir[] = "/tmp/test_net_XXXXXX";
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    assert_non_null(mkdtemp(dir));
    (void)snprintf(to.sun_path, sizeof to.sun_path, "%s/s", dir);
    struct world *w = world_new(to.sun_path);
    int fd = connected(w, (struct sockaddr *)&to, sizeof to);
    send_descriptor(fd);
    assert_int_equal(send(fd, "bcd", 3, 0), 3);
    turns_until_bytes_in(w, 4);
    close(fd);
    world_free(w);
    assert_int_equal(rmdir(dir), 0);
}

/* ---- accepting ---- */

/* As many descriptors as the system allows. */
static void many_descriptors(void)
{
    struct rlimit l;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &l), 0);
    l.rlim_cur = l.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
}

static uint64_t taken(struct world *w)
{
    return hub_counters(w->hub)->connections_opened + hub_counters(w->hub)->connections_refused;
}

/* `n` come at once: how many of them are taken within one second of the loop, at most. */
static uint64_t most_in_a_second(struct world *w, uint32_t n)
{
    struct sockaddr_in to = here(w);
    int *fds = sl_calloc(n, sizeof *fds);
    uint64_t most = 0, before = 0, second = 0;
    for (uint32_t i = 0; i < n; i++)
        fds[i] = connected_now((struct sockaddr *)&to, sizeof to);
    while (taken(w) < n) {
        uint64_t already = taken(w);
        turn(w);
        if (uv_now(&w->loop) / 1000 != second)
            before = already;
        second = uv_now(&w->loop) / 1000;
        most = taken(w) - before > most ? taken(w) - before : most;
    }
    for (uint32_t i = 0; i < n; i++)
        close(fds[i]);
    sl_free(fds);
    return most;
}

static void no_more_are_accepted_in_a_second_than_the_rate(void **state)
{
    (void)state;
    struct world *w = world_with(&(struct net_bind){ .host = "127.0.0.1" }, &(struct net_config){ .max_connections = 100, .accept_rate = 2 });
    assert_int_equal(most_in_a_second(w, 5), 2);
    world_free(w);
}

/* Beyond the limit and the 1,024 that are told so in their protocol's words. */
static void those_refused_at_once_count_in_the_rate(void **state)
{
    (void)state;
    many_descriptors();
    struct world *w = world_with(&(struct net_bind){ .host = "127.0.0.1" }, &(struct net_config){ .max_connections = 1, .accept_rate = 1030 });
    assert_in_range(most_in_a_second(w, 1100), 1, 1030 + 1030 / 20 + 1); /* a twentieth of it may come at once */
    assert_int_equal(hub_counters(w->hub)->connections_refused, 1100 - 1025);
    world_free(w);
}

static uint32_t accepts_failed, v6_peers, v4_in_v6_peers;

static void count_lines(void *arg, const char *line, size_t n)
{
    (void)arg;
    accepts_failed += memmem(line, n, "accept_failed", 13) != NULL;
    v6_peers += memmem(line, n, "peer=[::1]:", 11) != NULL;
    v4_in_v6_peers += memmem(line, n, "peer=[::ffff:127.0.0.1]:", 24) != NULL;
}

static void who_finds_no_descriptor_is_accepted_when_there_is_one(void **state)
{
    (void)state;
    struct rlimit l, none;
    struct world *w = world_new(NULL);
    struct sockaddr_in to = here(w);
    int fd = connected_now((struct sockaddr *)&to, sizeof to);
    int next = dup(fd);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &l), 0);
    none = l;
    none.rlim_cur = (rlim_t)next;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    accepts_failed = 0;
    sl_log_to(count_lines, NULL, SL_WARN);
    for (int i = 0; i < ENOUGH_TURNS; i++)
        turn(w);
    assert_int_equal(net_connections(w->net), 0);
    assert_in_range(accepts_failed, 1, ENOUGH_TURNS / 10); /* it is not tried in each turn */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &l), 0);
    sl_log_to(NULL, NULL, SL_ERROR);
    while (net_connections(w->net) == 0)
        turn(w);
    close(fd);
    world_free(w);
}

/* The log knows the peer's name. */
static void say_quit(struct world *w, const struct sockaddr *to, socklen_t len)
{
    int fd = connected(w, to, len);
    sl_log_to(count_lines, NULL, SL_DEBUG);
    assert_int_equal(send(fd, "Q", 1, 0), 1);
    assert_int_equal(receive(w, fd, SIZE_MAX), 1);
    sl_log_to(NULL, NULL, SL_ERROR);
    close(fd);
    while (net_connections(w->net) > 0)
        turn(w);
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

static void a_listener_of_all_ipv6_takes_ipv4_too(void **state)
{
    (void)state;
    if (!has_ipv6())
        skip();
    struct world *w = world_with(&(struct net_bind){ .host = "::" }, &(struct net_config){ .max_connections = 100 });
    struct sockaddr_in to = here(w);
    struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = to.sin_port, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    v6_peers = v4_in_v6_peers = 0;
    say_quit(w, (struct sockaddr *)&to6, sizeof to6);
    say_quit(w, (struct sockaddr *)&to, sizeof to);
    assert_int_equal(v6_peers, 1);
    assert_int_equal(v4_in_v6_peers, 1);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_read_leaves_is_read_without_another_event),
        cmocka_unit_test(who_does_not_read_is_not_read_and_then_gets_everything),
        cmocka_unit_test(who_does_not_read_is_read_on_until_much_waits_and_then_owes_no_sign_of_life),
        cmocka_unit_test(what_comes_with_the_end_is_read_before_it),
        cmocka_unit_test(the_last_answer_arrives_though_the_client_goes_on_sending),
        cmocka_unit_test(a_unix_socket_goes_with_its_listener),
        cmocka_unit_test(who_is_paused_is_read_on_when_there_is_room_without_another_event),
        cmocka_unit_test(what_a_paused_client_sent_before_it_left_is_read),
        cmocka_unit_test(who_is_paused_and_resumed_in_one_turn_is_read_on),
        cmocka_unit_test(what_follows_urgent_data_is_read),
        cmocka_unit_test(what_follows_a_descriptor_is_read),
        cmocka_unit_test(no_more_are_accepted_in_a_second_than_the_rate),
        cmocka_unit_test(those_refused_at_once_count_in_the_rate),
        cmocka_unit_test(who_finds_no_descriptor_is_accepted_when_there_is_one),
        cmocka_unit_test(a_listener_of_all_ipv6_takes_ipv4_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
