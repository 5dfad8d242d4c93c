/* The nursery with real processes, up to the death of a gateway. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <uv.h>

#include "claims.h"
#include "nursery_child.h"
#include "nursery_wire.h"
#include "pool/nursery.h"

#define LATE_MS 20000

struct nest {
    uv_loop_t loop;
    uv_timer_t late_timer;
    struct nursery *n;
    bool late, locked, closed;
    int lock_error;
    unsigned spawned, failed, exited;
    pid_t pid;
    int error;
    char stage[64];
    struct nursery_exit exit;
};

static void on_locked(void *arg, int err)
{
    struct nest *x = arg;
    x->locked = true;
    x->lock_error = err;
}

static void on_dead(void *arg)
{
    (void)arg;
    fail_msg("the nursery died");
}

static void on_spawned(void *arg, uint64_t token, pid_t pid)
{
    struct nest *x = arg;
    assert_int_equal(token, 42);
    x->pid = pid;
    x->spawned++;
}

static void on_failed(void *arg, uint64_t token, int error, const char *stage)
{
    struct nest *x = arg;
    assert_int_equal(token, 42);
    x->error = error;
    (void)snprintf(x->stage, sizeof x->stage, "%s", stage);
    x->failed++;
}

static void on_exited(void *arg, const struct nursery_exit *e)
{
    struct nest *x = arg;
    x->exit = *e;
    x->exited++;
}

static void on_late(uv_timer_t *t)
{
    struct nest *x = t->data;
    x->late = true;
}

static void nest_open_with(struct nest *x, const struct nursery_config *cfg)
{
    *x = (struct nest){ 0 };
    assert_int_equal(nursery_fork(cfg, &x->n), SL_OK);
    assert_int_equal(uv_loop_init(&x->loop), 0);
    struct nursery_events events = { x, on_locked, on_dead };
    assert_int_equal(nursery_attach(x->n, &x->loop, &events), SL_OK);
    struct nursery_reports reports = { x, on_spawned, on_failed, on_exited, NULL };
    nursery_listen(x->n, &reports);
    uv_timer_init(&x->loop, &x->late_timer);
    x->late_timer.data = x;
    uv_timer_start(&x->late_timer, on_late, LATE_MS, 0);
}

static void nest_open(struct nest *x)
{
    nest_open_with(x, &(struct nursery_config){ 0 });
}

static void on_closed(void *arg)
{
    struct nest *x = arg;
    x->closed = true;
}

static void nest_close(struct nest *x)
{
    nursery_close(x->n, on_closed, x);
    uv_close((uv_handle_t *)&x->late_timer, NULL);
    assert_int_equal(uv_run(&x->loop, UV_RUN_DEFAULT), 0);
    assert_true(x->closed);
    assert_int_equal(uv_loop_close(&x->loop), 0);
}

/* Until one of the counters has moved, or the lock is there. */
static void wait_for(struct nest *x, const unsigned *counter, unsigned value)
{
    while (*counter < value && !x->late)
        (void)uv_run(&x->loop, UV_RUN_ONCE);
    if (x->late)
        fail_msg("no report came");
}

/* Spawns with its stdout in a pipe, of which the reading end is returned. */
static int spawn(struct nest *x, struct nursery_spawn *s)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    s->token = 42;
    s->fds[0] = (struct nursery_fd){ ends[1], 1 };
    s->n_fds = 1;
    nursery_spawn(x->n, s);
    return ends[0];
}

static void read_all(int fd, char *text, size_t cap)
{
    size_t n = 0;
    ssize_t got;
    while (n < cap - 1 && (got = read(fd, text + n, cap - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = '\0';
    (void)close(fd);
}

static const char *const run_true[] = { "true", NULL };
static const char *const run_fds[] = { BEHAVE, "fds", NULL };
static const char *const run_limits[] = { BEHAVE, "limits", NULL };

static const char *const run_hang[] = { "sleep", "1000", NULL };

static void a_worker_is_started_and_its_exit_is_told(void **state)
{
    (void)state;
    static const char *const exit_3[] = { "sh", "-c", "exit 3", NULL };
    struct nest x;
    nest_open(&x);
    struct nursery_spawn s = { .argv = exit_3 };
    (void)close(spawn(&x, &s));
    wait_for(&x, &x.exited, 1);
    assert_int_equal(x.spawned, 1);
    assert_int_equal(x.exit.pid, x.pid);
    assert_true(WIFEXITED(x.exit.status) && WEXITSTATUS(x.exit.status) == 3);
    assert_true(x.exit.max_rss_bytes > 0);
    nest_close(&x);
}

static void what_fails_is_told_with_its_stage_and_errno(void **state)
{
    (void)state;
    static const char *const none[] = { "/nonexistent", NULL };
    static const char *const folder[] = { "/", NULL };
    const struct {
        struct nursery_spawn s;
        const char *stage;
        int error;
    } cases[] = {
        { { .argv = none }, "exec", ENOENT },
        { { .argv = folder }, "exec", EACCES },
        { { .argv = run_true, .cwd = "/nonexistent" }, "chdir", ENOENT },
        { { .argv = run_true, .user = "no-such-user" }, "user", ENOENT },
        { { .argv = run_true, .group = "no-such-group" }, "group", ENOENT },
        { { .argv = run_true, .rlimits = { { 999, 1 } }, .n_rlimits = 1 }, "rlimits", EINVAL },
    };
    struct nest x;
    nest_open(&x);
    for (size_t i = 0; i < SL_COUNT(cases); i++) {
        struct nursery_spawn s = cases[i].s;
        (void)close(spawn(&x, &s));
        wait_for(&x, &x.failed, (unsigned)i + 1);
        assert_string_equal(x.stage, cases[i].stage);
        assert_int_equal(x.error, cases[i].error);
    }
    assert_int_equal(x.spawned + x.exited, 0);
    nest_close(&x);
}

/* The next child of the nursery: held by ptrace where fork has put it. */
static pid_t held_at_fork(pid_t nursery)
{
    unsigned long pid = 0;
    int status;
    assert_int_equal(waitpid(nursery, &status, __WALL), nursery);
    assert_int_equal(status >> 8, SIGTRAP | PTRACE_EVENT_FORK << 8);
    assert_int_equal(ptrace(PTRACE_GETEVENTMSG, nursery, NULL, &pid), 0);
    assert_int_equal(ptrace(PTRACE_DETACH, nursery, NULL, NULL), 0);
    return (pid_t)pid;
}

static void a_start_that_hangs_before_its_program_has_failed(void **state)
{
    (void)state;
    struct nest x;
    nest_open_with(&x, &(struct nursery_config){ .start_ms = 1500 });
    if (ptrace(PTRACE_SEIZE, nursery_pid(x.n), NULL, PTRACE_O_TRACEFORK) != 0) {
        nest_close(&x);
        skip(); /* not allowed here */
    }
    struct nursery_spawn s = { .argv = run_true };
    (void)close(spawn(&x, &s));
    pid_t held = held_at_fork(nursery_pid(x.n));
    wait_for(&x, &x.failed, 1);
    assert_string_equal(x.stage, "start");
    assert_int_equal(x.error, ETIMEDOUT);
    int status = 0;
    while (waitpid(held, &status, __WALL) == held && !WIFSIGNALED(status))
        ;
    assert_int_equal(WTERMSIG(status), SIGKILL);
    (void)close(spawn(&x, &s)); /* the nursery works on */
    wait_for(&x, &x.exited, 1);
    assert_int_equal(x.spawned, 1);
    nest_close(&x);
}

static void an_order_that_is_too_large_fails_and_harms_nothing(void **state)
{
    (void)state;
    struct nest x;
    nest_open(&x);
    char *huge = malloc(300000);
    assert_non_null(huge);
    memset(huge, 'x', 299999);
    huge[1] = '=';
    huge[299999] = '\0';
    const char *const env[] = { huge, NULL };
    struct nursery_spawn s = { .argv = run_true, .env = env };
    (void)close(spawn(&x, &s));
    wait_for(&x, &x.failed, 1);
    assert_int_equal(x.error, E2BIG);
    s.env = NULL;
    (void)close(spawn(&x, &s));
    wait_for(&x, &x.exited, 1);
    free(huge);
    nest_close(&x);
}

static void a_worker_has_its_own_descriptors_and_no_others(void **state)
{
    (void)state;
    struct nest x;
    char text[256];
    int leaked = open("/dev/null", O_RDONLY); /* without CLOEXEC, before the fork */
    nest_open(&x);
    struct nursery_spawn s = { .argv = run_fds };
    read_all(spawn(&x, &s), text, sizeof text);
    assert_string_equal(text, "fds 0 1 2\n");
    (void)close(leaked);
    nest_close(&x);
}

static void limits_niceness_and_session_are_set(void **state)
{
    (void)state;
    struct nest x;
    char text[256];
    struct rlimit old, raised;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    raised = (struct rlimit){ 300, old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &raised), 0);
    nest_open(&x);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0); /* as main raises it afterwards */
    struct nursery_spawn s = { .argv = run_limits, .rlimits = { { RLIMIT_FSIZE, 4096 } }, .n_rlimits = 1, .nice = 3 };
    read_all(spawn(&x, &s), text, sizeof text);
    assert_string_equal(text, "nofile=300 fsize=4096 nice=3 sid=1\n");
    nest_close(&x);
}

static void user_group_folder_and_environment_are_set(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    static const char *const env[] = { "A=1", "B=1", NULL }, *const more[] = { "B=2", NULL };
    static const char *const sh[] = { "sh", "-c", "echo uid=$(id -u) gid=$(id -g) cwd=$PWD A=$A B=$B", NULL };
    struct nest x;
    char text[256];
    nest_open(&x);
    struct nursery_spawn s = { .argv = sh, .env = env, .more_env = more, .cwd = "/tmp", .user = "nobody", .group = "daemon", .no_new_privs = true };
    read_all(spawn(&x, &s), text, sizeof text);
    assert_string_equal(text, "uid=65534 gid=1 cwd=/tmp A=1 B=2\n");
    s = (struct nursery_spawn){ .argv = sh, .cwd = "/", .user = "12345", .group = "54321" };
    read_all(spawn(&x, &s), text, sizeof text);
    assert_string_equal(text, "uid=12345 gid=54321 cwd=/ A= B=\n");

    nest_close(&x);
}

static void killing_reaches_the_whole_group(void **state)
{
    (void)state;
    static const char *const sh[] = { "sh", "-c", "sleep 1000 & echo $!; wait", NULL };
    struct nest x;
    char text[32];
    nest_open(&x);
    struct nursery_spawn s = { .argv = sh };
    int fd = spawn(&x, &s);
    wait_for(&x, &x.spawned, 1);
    ssize_t n = read(fd, text, sizeof text - 1);
    assert_true(n > 0);
    text[n] = '\0';
    nursery_kill(x.n, x.pid, SIGKILL, true);
    wait_for(&x, &x.exited, 1);
    assert_true(WIFSIGNALED(x.exit.status) && WTERMSIG(x.exit.status) == SIGKILL);
    assert_int_equal(read(fd, text, 1), 0); /* EOF: the sleeper has gone too */
    (void)close(fd);
    nursery_kill(x.n, x.pid, SIGKILL, true); /* of a worker that has gone: ignored */
    nest_close(&x);
}

static void a_worker_that_ends_leaves_nobody_of_its_group(void **state)
{
    (void)state;
    static const char *const sh[] = { "sh", "-c", "sleep 1000 & exit 0", NULL };
    struct nest x;
    nest_open(&x);
    int fd = spawn(&x, &(struct nursery_spawn){ .argv = sh });
    wait_for(&x, &x.exited, 1);
    struct pollfd hangup = { fd, POLLIN, 0 };
    assert_int_equal(poll(&hangup, 1, LATE_MS), 1);
    (void)close(fd);
    nest_close(&x);
}

static void the_lock_is_waited_for_and_freed_by_the_old_nurserys_end(void **state)
{
    (void)state;
    struct nest old, next;
    int a = memfd_create("lock", MFD_CLOEXEC);
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", a);
    nest_open(&old);
    nest_open(&next);
    nursery_lock(old.n, open(path, O_RDWR | O_CLOEXEC));
    while (!old.locked)
        (void)uv_run(&old.loop, UV_RUN_ONCE);
    struct nursery_spawn s = { .argv = run_hang };
    int fd = spawn(&old, &s);
    wait_for(&old, &old.spawned, 1);
    nursery_lock(next.n, open(path, O_RDWR | O_CLOEXEC));
    (void)close(spawn(&next, &(struct nursery_spawn){ .argv = run_true }));
    wait_for(&next, &next.exited, 1); /* it works on while it waits */
    assert_false(next.locked);
    nest_close(&old);
    struct pollfd hangup = { fd, POLLIN, 0 };
    assert_int_equal(poll(&hangup, 1, 0), 1); /* its worker is dead before the lock can be had */
    (void)close(fd);
    while (!next.locked && !next.late)
        (void)uv_run(&next.loop, UV_RUN_ONCE);
    assert_true(next.locked);
    assert_int_equal(next.lock_error, SL_OK);
    (void)close(a);
    nest_close(&next);
}

/* A gateway that starts a family, tells its pids, and waits to be killed. */
SL_NORETURN static void play_gateway(int out)
{
    static const char *const family[] = { BEHAVE, "family", NULL };
    struct nursery *n;
    uv_loop_t loop;
    if (nursery_fork(&(struct nursery_config){ 0 }, &n) != SL_OK || uv_loop_init(&loop) != 0 ||
        nursery_attach(n, &loop, &(struct nursery_events){ 0 }) != SL_OK)
        _exit(1);
    struct nursery_spawn s = { .token = 1, .argv = family, .fds = { { out, 1 } }, .n_fds = 1 };
    nursery_spawn(n, &s);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    _exit(1);
}

/* Three pids and "end", in whatever order they came. */
static bool family_is_whole(const char *text)
{
    uint32_t pids = 0;
    for (const char *p = text; (p = strchr(p, ' ')) != NULL; p++)
        pids++;
    return pids == 3 && strstr(text, "end\n") != NULL;
}

static void a_killed_gateway_takes_every_descendant_with_it(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t gateway = fork();
    if (gateway == 0)
        play_gateway(ends[1]);
    (void)close(ends[1]);
    char text[256] = "";
    size_t n = 0;
    while (n < sizeof text - 1 && !family_is_whole(text)) {
        ssize_t got = read(ends[0], text + n, sizeof text - 1 - n);
        assert_true(got > 0);
        n += (size_t)got;
    }
    struct pollfd family[3];
    size_t known = 0;
    for (char *word = strtok(text, " \n"); word != NULL && known < SL_COUNT(family); word = strtok(NULL, " \n")) {
        if (strcmp(word, "end") != 0)
            family[known++] = (struct pollfd){ (int)syscall(SYS_pidfd_open, strtol(word, NULL, 10), 0), POLLIN, 0 };
    }
    assert_int_equal(known, SL_COUNT(family));
    assert_int_equal(kill(gateway, SIGKILL), 0);
    assert_int_equal(waitpid(gateway, NULL, 0), gateway);
    for (size_t i = 0; i < SL_COUNT(family); i++) {
        assert_true(family[i].fd >= 0);
        assert_int_equal(poll(&family[i], 1, LATE_MS), 1); /* its end */
        (void)close(family[i].fd);
    }
    char rest[8];
    assert_int_equal(read(ends[0], rest, sizeof rest), 0); /* EOF: nobody holds its end any more */
    (void)close(ends[0]);
}

static void garbage_orders_are_refused_and_survived(void **state)
{
    (void)state;
    static const char *const bad[] = { "", "\x09", "\x01zzzz", "\x02", "\x03", "\x04" };
    static const char *const why[] = { "order unknown", "order unknown", "spawn order malformed", "kill order malformed", "lock order malformed", "fail order malformed" };
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        nursery_child_run(ends[1], &(struct nursery_config){ 0 });
        _exit(0);
    }
    (void)close(ends[1]);
    for (size_t i = 1; i < SL_COUNT(bad); i++) {
        uint8_t packet[NURSERY_REPORT_BYTES_MAX];
        struct nursery_report r;
        assert_int_equal(send(ends[0], bad[i], strlen(bad[i]), 0), strlen(bad[i]));
        ssize_t n = recv(ends[0], packet, sizeof packet, 0);
        assert_int_equal(nursery_report_decode(sl_bytes_of(packet, (size_t)n), &r), SL_OK);
        assert_int_equal(r.kind, REPORT_REFUSED);
        assert_string_equal(r.stage, why[i]);
    }
    (void)close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_is_started_and_its_exit_is_told),
        cmocka_unit_test(what_fails_is_told_with_its_stage_and_errno),
        cmocka_unit_test(a_start_that_hangs_before_its_program_has_failed),
        cmocka_unit_test(an_order_that_is_too_large_fails_and_harms_nothing),
        cmocka_unit_test(a_worker_has_its_own_descriptors_and_no_others),
        cmocka_unit_test(limits_niceness_and_session_are_set),
        cmocka_unit_test(user_group_folder_and_environment_are_set),
        cmocka_unit_test(killing_reaches_the_whole_group),
        cmocka_unit_test(a_worker_that_ends_leaves_nobody_of_its_group),
        cmocka_unit_test(the_lock_is_waited_for_and_freed_by_the_old_nurserys_end),
        cmocka_unit_test(a_killed_gateway_takes_every_descendant_with_it),
        cmocka_unit_test(garbage_orders_are_refused_and_survived),
    };
    return cmocka_run_group_tests_name("nursery", tests, NULL, NULL);
}
