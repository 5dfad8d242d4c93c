/* A worker that behaves as its argument says: well, or in one of the ways in
 * which workers go wrong. The pool's tests run it as a real process.
 *
 * What it wants to tell a test it prints to stderr, which becomes a log line. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "wire/wire.h"

static int sock = -1;
static char *volatile kept;
static struct sl_buf in, out;

static void tell(const char *what)
{
    (void)dprintf(STDERR_FILENO, "%s\n", what);
}

static void must(int err)
{
    if (err != SL_OK)
        _exit(99);
}

static void write_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0)
            _exit(98);
        p += done;
        n -= (size_t)done;
    }
}

static void flush(void)
{
    write_all(sock, out.p + out.start, sl_buf_len(&out));
    sl_buf_clear(&out);
}

/* False: the gateway has closed. The frame lives until the next call. */
static bool receive(struct wire_frame *f)
{
    static size_t used;
    sl_buf_consume(&in, used);
    used = 0;
    for (;;) {
        struct wire_reader r = { .from = WIRE_FROM_GATEWAY, .max_frame = WIRE_FRAME_MAX };
        int err = wire_decode(sl_buf_view(&in), &r, f, &used);
        if (err == SL_OK)
            return true;
        if (err != SL_EMORE)
            _exit(97);
        uint8_t *to = sl_buf_reserve(&in, 65536);
        ssize_t n = read(sock, to, 65536);
        if (n <= 0)
            return false;
        sl_buf_commit(&in, (size_t)n);
    }
}

static void hello_as(uint32_t prefetch, uint8_t flags)
{
    must(wire_encode_hello(&out, &(struct wire_hello){ WIRE_VERSION, flags, prefetch, sl_str("behave"), SL_BYTES_NONE }));
    flush();
}

static void hello(void)
{
    hello_as(0, 0);
}

static void put_ack(uint64_t tag)
{
    must(wire_encode_ack(&out, &(struct wire_ack){ .tag = tag }));
}

/* Waits for the next delivery; ends when told to. */
static uint64_t next_tag(void)
{
    struct wire_frame f;
    while (receive(&f)) {
        if (f.type == WIRE_DELIVER)
            return f.u.deliver.tag;
        if (f.type == WIRE_DRAIN)
            break;
    }
    _exit(0);
}

static void raw(const char *bytes, size_t n)
{
    write_all(sock, (const uint8_t *)bytes, n);
}

SL_NORETURN static void rest_for_ever(void)
{
    for (;;)
        (void)pause();
}

/* ---- the well-behaved ---- */

static void say_bye(void)
{
    must(wire_encode_empty(&out, WIRE_BYE));
    flush();
}

static void do_ack(void)
{
    struct wire_frame f;
    hello();
    while (receive(&f)) {
        if (f.type == WIRE_DELIVER) {
            put_ack(f.u.deliver.tag);
            flush();
        } else if (f.type == WIRE_DRAIN) {
            tell("drain seen");
            say_bye();
            return;
        }
    }
}

/* Ten milliseconds of work for each message. */
static void do_slow(void)
{
    struct wire_frame f;
    hello();
    while (receive(&f)) {
        if (f.type == WIRE_DELIVER) {
            (void)usleep(10000);
            put_ack(f.u.deliver.tag);
            flush();
        } else if (f.type == WIRE_DRAIN) {
            say_bye();
            return;
        }
    }
}

/* 8 MiB more with each message. */
static void do_swell(void)
{
    struct wire_frame f;
    hello();
    while (receive(&f)) {
        if (f.type == WIRE_DELIVER) {
            char *more = malloc(8u << 20);
            must(more != NULL ? SL_OK : SL_ESYS);
            for (size_t i = 0; i < 8u << 20; i += 1024)
                more[i] = (char)i;
            kept = more;
            put_ack(f.u.deliver.tag);
            flush();
        } else if (f.type == WIRE_DRAIN) {
            say_bye();
            return;
        }
    }
}

static void do_show(void)
{
    struct wire_frame f;
    hello();
    while (receive(&f)) {
        if (f.type == WIRE_WELCOME)
            (void)dprintf(2, "welcome prefetch=%u concurrency=%u limit=%u queue=%.*s pool=%.*s\n", (unsigned)f.u.welcome.prefetch,
                          (unsigned)f.u.welcome.concurrency, (unsigned)f.u.welcome.time_limit_ms, (int)f.u.welcome.queue.n,
                          (const char *)f.u.welcome.queue.p, (int)f.u.welcome.pool.n, (const char *)f.u.welcome.pool.p);
        if (f.type == WIRE_DELIVER) {
            struct message_parts m;
            message_view(f.u.deliver.record, &m);
            (void)dprintf(2, "deliver attempt=%u of=%u topic=%.*s bytes=%zu\n", (unsigned)f.u.deliver.attempt,
                          (unsigned)f.u.deliver.max_attempts, (int)m.topic.n, (const char *)m.topic.p, m.payload.n);
            put_ack(f.u.deliver.tag);
            flush();
        }
    }
}

static void do_retry(void)
{
    hello();
    for (;;) {
        must(wire_encode_retry(&out, &(struct wire_retry){ next_tag(), 1, sl_str("not now") }));
        flush();
    }
}

static void do_dead(void)
{
    hello();
    for (;;) {
        must(wire_encode_dead(&out, &(struct wire_dead){ next_tag(), sl_str("poison") }));
        flush();
    }
}

static void do_publish(void)
{
    struct wire_frame f;
    hello();
    uint64_t tag = next_tag();
    struct wire_publish p = { .ref = 7, .topic = sl_str("out/1"), .payload = sl_str("x") };
    must(wire_encode_publish(&out, &p));
    p = (struct wire_publish){ .ref = 8, .tag = tag, .topic = sl_str("out/2"), .payload = sl_str("y") };
    must(wire_encode_publish(&out, &p));
    p = (struct wire_publish){ .ref = 9, .topic = sl_str("bad/#"), .payload = sl_str("z") };
    must(wire_encode_publish(&out, &p));
    put_ack(tag);
    flush();
    while (receive(&f)) {
        if (f.type == WIRE_PUBLISHED)
            (void)dprintf(2, "published ref=%u code=%u\n", (unsigned)f.u.published.ref, (unsigned)f.u.published.code);
        if (f.type == WIRE_DELIVER) {
            put_ack(f.u.deliver.tag);
            flush();
        }
    }
}

static void do_soft(void)
{
    struct wire_frame f;
    hello_as(0, WIRE_WANTS_SOFT_LIMIT);
    while (receive(&f))
        if (f.type == WIRE_SOFT_LIMIT) {
            tell("soft limit seen");
            put_ack(f.u.tag);
            flush();
        }
}

static void do_prefetch_one(void)
{
    hello_as(1, 0);
    uint64_t tag = next_tag();
    tell("one");
    (void)tag;
    rest_for_ever();
}

/* ---- the broken ---- */

static void do_garbage(void)
{
    raw("GET / HTTP/1.1\r\n\r\n", 18);
    rest_for_ever();
}

static void do_bad_type(void)
{
    hello();
    raw("\x02\0\0\0\x7f\x01", 6);
    rest_for_ever();
}

static void do_oversize(void)
{
    hello();
    raw("\xff\xff\xff\x0f\x02", 5);
    rest_for_ever();
}

static void do_before_hello(void)
{
    put_ack(1u << 20);
    flush();
    rest_for_ever();
}

static void do_hello_twice(void)
{
    hello();
    hello();
    rest_for_ever();
}

static void do_unknown_tag(void)
{
    hello();
    put_ack(next_tag() + 1);
    flush();
    rest_for_ever();
}

static void do_twice(void)
{
    struct wire_frame f;
    hello();
    uint64_t tag = next_tag();
    put_ack(tag);
    put_ack(tag);
    flush();
    while (receive(&f))
        if (f.type == WIRE_STALE)
            tell(f.u.tag == tag ? "stale seen" : "stale of another tag");
}

/* It repeats an answer and reads nothing. */
static void do_stale_for_ever(void)
{
    hello();
    uint64_t tag = next_tag();
    put_ack(tag);
    flush();
    (void)next_tag();
    for (int i = 0; i < 400; i++) {
        for (int k = 0; k < 1000; k++)
            put_ack(tag);
        flush();
    }
    tell("all written");
    rest_for_ever();
}

static void do_wrong_side(void)
{
    hello();
    must(wire_encode_empty(&out, WIRE_DRAIN));
    flush();
    rest_for_ever();
}

static void do_close_early(void)
{
    hello();
    (void)next_tag();
    (void)close(sock);
    rest_for_ever();
}

static void do_no_hello(void)
{
    rest_for_ever();
}

static void do_exit_mid(void)
{
    hello();
    (void)next_tag();
    tell("first words");
    tell("last words");
    _exit(3);
}

static void do_exit_zero_holding(void)
{
    hello();
    (void)next_tag();
    _exit(0);
}

static void do_kill_self(void)
{
    hello();
    (void)next_tag();
    (void)raise(SIGKILL);
}

static void do_hang(void)
{
    hello();
    (void)next_tag();
    rest_for_ever();
}

static void do_ack_and_die(void)
{
    hello();
    put_ack(next_tag());
    flush();
    (void)raise(SIGKILL);
}

static void do_half_frame(void)
{
    hello();
    put_ack(next_tag());
    write_all(sock, out.p, 7);
    _exit(0);
}

static void do_deaf(void)
{
    (void)signal(SIGTERM, SIG_IGN);
    hello();
    (void)next_tag();
    rest_for_ever();
}

static void do_see_error(void)
{
    struct wire_frame f;
    (void)signal(SIGTERM, SIG_IGN);
    hello();
    raw("\x01\0\0\0\x09\x01\0\0\0\x63", 10); /* BYE, then a type that is none */
    while (receive(&f))
        if (f.type == WIRE_ERROR)
            (void)dprintf(2, "error code=%u text=%.*s\n", (unsigned)f.u.error.code, (int)f.u.error.text.n, (const char *)f.u.error.text.p);
}

static void do_grandchild(void)
{
    hello();
    (void)next_tag();
    pid_t pid = fork();
    if (pid == 0)
        rest_for_ever();
    (void)dprintf(2, "grandchild %d\n", (int)pid);
    _exit(1);
}

static void do_crash_at_once(void)
{
    _exit(1);
}

static void do_noisy(void)
{
    static char line[5000];
    memset(line, 'n', sizeof line - 1);
    tell(line);
    (void)dprintf(STDOUT_FILENO, "quote\" and \x01 byte\n");
    do_ack();
}

static void do_flood(void)
{
    for (int i = 0; i < 1000; i++)
        tell("again and again");
    do_ack();
}

/* ---- lines ---- */

static bool read_id(char id[17])
{
    static char line[1 << 20];
    if (fgets(line, (int)sizeof line, stdin) == NULL)
        return false;
    const char *at = strstr(line, "\"id\":\"");
    if (at == NULL)
        _exit(96);
    memcpy(id, at + 6, 16);
    id[16] = '\0';
    return true;
}

static void do_lines_ack(void)
{
    char id[17];
    while (read_id(id)) {
        (void)printf("{\"id\":\"%s\",\"ack\":true}\n", id);
        (void)fflush(stdout);
    }
    tell("end of stdin seen");
}

static void do_lines_twice(void)
{
    char id[17];
    while (read_id(id)) {
        (void)printf("{\"id\":\"%s\",\"ack\":true}\n{\"id\":\"%s\",\"ack\":true}\n", id, id);
        (void)fflush(stdout);
    }
}

static void say_line(const char *line)
{
    char id[17];
    (void)read_id(id);
    (void)puts(line);
    (void)fflush(stdout);
    rest_for_ever();
}

static void do_lines_bad(void)
{
    say_line("Processing message...");
}

static void do_lines_foreign(void)
{
    say_line("{\"id\":\"00000000000000ff\",\"ack\":true}");
}

static void do_lines_huge(void)
{
    char block[4096];
    memset(block, 'x', sizeof block);
    for (;;)
        write_all(STDOUT_FILENO, (const uint8_t *)block, sizeof block);
}

static void do_lines_half(void)
{
    char id[17];
    (void)read_id(id);
    (void)printf("{\"id\":\"%s\",\"ack\"", id);
    (void)fflush(stdout);
    _exit(0);
}

/* ---- for the nursery ---- */

static void do_fds(void)
{
    char text[256] = "fds";
    size_t n = 3;
    for (int fd = 0; fd < 1024 && n < sizeof text - 8; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            n += (size_t)snprintf(text + n, sizeof text - n, " %d", fd);
    (void)dprintf(1, "%s\n", text);
}

static void do_limits(void)
{
    struct rlimit nofile, fsize;
    (void)getrlimit(RLIMIT_NOFILE, &nofile);
    (void)getrlimit(RLIMIT_FSIZE, &fsize);
    (void)dprintf(1, "nofile=%llu fsize=%llu nice=%d sid=%d\n", (unsigned long long)nofile.rlim_cur, (unsigned long long)fsize.rlim_cur,
                  getpriority(PRIO_PROCESS, 0), getsid(0) == getpid());
}


/* A child in the group, a child that left it, and a grandchild of that. */
static void do_family(void)
{
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        if (pid != 0) {
            (void)dprintf(1, "%d ", (int)pid);
            if (i < 1)
                continue;
            rest_for_ever();
        }
        if (i == 0)
            rest_for_ever();
        (void)setsid();
    }
    (void)dprintf(1, "end\n");
    rest_for_ever();
}

static const struct {
    const char *name;
    void (*run)(void);
} behaviours[] = {
    { "ack", do_ack },
    { "slow", do_slow },
    { "swell", do_swell },
    { "show", do_show },
    { "retry", do_retry },
    { "dead", do_dead },
    { "publish", do_publish },
    { "soft", do_soft },
    { "prefetch-one", do_prefetch_one },
    { "garbage", do_garbage },
    { "bad-type", do_bad_type },
    { "oversize", do_oversize },
    { "before-hello", do_before_hello },
    { "hello-twice", do_hello_twice },
    { "unknown-tag", do_unknown_tag },
    { "twice", do_twice },
    { "stale-for-ever", do_stale_for_ever },
    { "wrong-side", do_wrong_side },
    { "close-early", do_close_early },
    { "no-hello", do_no_hello },
    { "exit-mid", do_exit_mid },
    { "exit-zero-holding", do_exit_zero_holding },
    { "kill-self", do_kill_self },
    { "hang", do_hang },
    { "ack-and-die", do_ack_and_die },
    { "half-frame", do_half_frame },
    { "deaf", do_deaf },
    { "see-error", do_see_error },
    { "grandchild", do_grandchild },
    { "crash-at-once", do_crash_at_once },
    { "noisy", do_noisy },
    { "flood", do_flood },
    { "lines-ack", do_lines_ack },
    { "lines-twice", do_lines_twice },
    { "lines-bad", do_lines_bad },
    { "lines-foreign", do_lines_foreign },
    { "lines-huge", do_lines_huge },
    { "lines-half", do_lines_half },
    { "fds", do_fds },
    { "limits", do_limits },
    { "family", do_family },
};

int main(int argc, char **argv)
{
    const char *fd = getenv("SLUICE_FD");
    if (fd != NULL)
        sock = (int)strtol(fd, NULL, 10);
    for (size_t i = 0; argc > 1 && i < SL_COUNT(behaviours); i++)
        if (strcmp(argv[1], behaviours[i].name) == 0) {
            behaviours[i].run();
            _exit(0);
        }
    return 64;
}
