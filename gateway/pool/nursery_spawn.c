/* From an order to a running program. Everything between fork and exec happens
 * here, in this order for these reasons:
 *
 *   descriptors             all become close-on-exec, then the wanted ones are
 *                           put in place, which takes the mark off
 *   limits, nice, OOM score while the rights to raise them are still there, and
 *                           after the descriptors, which use high numbers
 *   group, user             initgroups needs the old user
 *   no_new_privs, PDEATHSIG a change of credentials clears the death signal,
 *                           so it is set after; then the parent is checked once
 *                           more, because it may have died before
 *   cwd, signals, exec      as the worker's own user */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "nursery_child.h"

#define FIRST_FREE_NUMBER (NURSERY_NUMBER_MAX + 1)
#define EXEC_FAILED 127

/* Tells what failed and ends the child. */
SL_NORETURN static void fail(int stage_fd, const char *name)
{
    struct nursery_stage s = { .error = errno };
    memcpy(s.name, name, strlen(name)); /* our own short words */
    ssize_t n = write(stage_fd, &s, sizeof s);
    (void)n; /* the nursery sees EOF and exit 127 instead */
    _exit(EXEC_FAILED);
}

static int set_limit(int resource, uint64_t value)
{
    struct rlimit l = { (rlim_t)value, (rlim_t)value };
    return setrlimit((__rlimit_resource_t)resource, &l);
}

static int set_oom_score_adj(int score)
{
    char text[16];
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int n = snprintf(text, sizeof text, "%d", score);
    ssize_t written = write(fd, text, (size_t)n);
    int saved = errno;
    (void)close(fd);
    errno = saved;
    return written == n ? 0 : -1;
}

static void apply_limits(const struct nursery_start *s, int stage_fd)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && s->worker_nofile > 0) {
        l.rlim_cur = s->worker_nofile < l.rlim_max ? (rlim_t)s->worker_nofile : l.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &l) != 0)
            fail(stage_fd, "rlimit nofile");
    }
    for (size_t i = 0; i < s->order->n_rlimits; i++)
        if (set_limit(s->order->rlimits[i].resource, s->order->rlimits[i].value) != 0)
            fail(stage_fd, "rlimits");
    errno = 0;
    if (s->order->nice != 0 && nice(s->order->nice) == -1 && errno != 0)
        fail(stage_fd, "nice");
    if (s->order->has_oom_score_adj && set_oom_score_adj(s->order->oom_score_adj) != 0)
        fail(stage_fd, "oom_score_adj");
}

static bool has_number(const struct nursery_spawn_order *o, int number)
{
    for (size_t i = 0; i < o->n_fds; i++)
        if (o->numbers[i] == number)
            return true;
    return false;
}

/* First out of the way of every number, then into place. */
static void place_descriptors(const struct nursery_start *s, int stage_fd)
{
    int high[NURSERY_FDS_MAX];
    for (size_t i = 0; i < s->order->n_fds; i++) {
        high[i] = fcntl(s->fds[i], F_DUPFD_CLOEXEC, FIRST_FREE_NUMBER);
        if (high[i] < 0)
            fail(stage_fd, "descriptors");
    }
    for (int number = 0; number <= 2; number++) {
        if (has_number(s->order, number))
            continue;
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0)
            fail(stage_fd, "/dev/null");
        if (null == number)
            (void)fcntl(null, F_SETFD, 0);
        else if (dup2(null, number) < 0)
            fail(stage_fd, "/dev/null");
    }
    for (size_t i = 0; i < s->order->n_fds; i++)
        if (dup2(high[i], s->order->numbers[i]) < 0)
            fail(stage_fd, "descriptors");
}

/* Whatever the nursery inherited or forgot. */
static void mark_all_close_on_exec(void)
{
    if (close_range(0, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    long max = sysconf(_SC_OPEN_MAX);
    for (int fd = 0; fd < (max > 65536 ? 65536 : (int)max); fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Digits only: the number itself, also when no such account exists. */
static bool as_number(const char *s, uint32_t *out)
{
    uint64_t v;
    if (sl_bytes_u64(sl_str(s), UINT32_MAX - 1, &v) != SL_OK)
        return false;
    *out = (uint32_t)v;
    return true;
}

static void become_group(const char *name, gid_t *gid, int stage_fd)
{
    uint32_t number;
    if (as_number(name, &number)) {
        *gid = number;
        return;
    }
    errno = 0;
    const struct group *g = getgrnam(name);
    if (g == NULL) {
        errno = errno != 0 ? errno : ENOENT;
        fail(stage_fd, "group");
    }
    *gid = g->gr_gid;
}

static void become_user(const struct nursery_spawn_order *o, int stage_fd)
{
    const struct passwd *pw = NULL;
    uid_t uid = getuid();
    gid_t gid = getgid();
    if (o->user != NULL) {
        uint32_t number;
        bool numeric = as_number(o->user, &number);
        errno = 0;
        pw = numeric ? getpwuid(number) : getpwnam(o->user);
        if (pw == NULL && !numeric) {
            errno = errno != 0 ? errno : ENOENT;
            fail(stage_fd, "user");
        }
        uid = pw != NULL ? pw->pw_uid : number;
        gid = pw != NULL ? pw->pw_gid : gid;
    }
    if (o->group != NULL)
        become_group(o->group, &gid, stage_fd);
    if (uid == getuid() && gid == getgid())
        return; /* nothing to change, and no right needed */
    if (o->user != NULL && pw != NULL ? initgroups(pw->pw_name, gid) != 0 : setgroups(1, &gid) != 0)
        fail(stage_fd, "initgroups");
    if (setgid(gid) != 0)
        fail(stage_fd, "setgid");
    if (setuid(uid) != 0)
        fail(stage_fd, "setuid");
}

static void reset_signals(void)
{
    for (int sig = 1; sig < NSIG; sig++)
        (void)signal(sig, SIG_DFL); /* SIGKILL and SIGSTOP refuse, rightly */
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void apply_env(char **env, int stage_fd)
{
    for (size_t i = 0; env[i] != NULL; i++)
        if (strchr(env[i], '=') == NULL || putenv(env[i]) != 0)
            fail(stage_fd, "environment");
}

SL_NORETURN static void become(const struct nursery_start *s, int stage_fd, pid_t nursery)
{
    const struct nursery_spawn_order *o = s->order;
    if (setsid() < 0)
        fail(stage_fd, "setsid");
    mark_all_close_on_exec();
    place_descriptors(s, stage_fd);
    apply_limits(s, stage_fd);
    if (o->user != NULL || o->group != NULL)
        become_user(o, stage_fd);
    if (o->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        fail(stage_fd, "no_new_privs");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        fail(stage_fd, "pdeathsig");
    if (getppid() != nursery)
        _exit(EXEC_FAILED);
    if (o->cwd != NULL && chdir(o->cwd) != 0)
        fail(stage_fd, "chdir");
    apply_env(o->env, stage_fd);
    reset_signals();
    (void)execvp(o->argv[0], o->argv);
    fail(stage_fd, "exec");
}

/* The child's end stands above the numbers of orders, so that placing them
 * cannot hit it. */
static int stage_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC) != 0)
        return SL_ESYS;
    int high = fcntl(ends[1], F_DUPFD_CLOEXEC, FIRST_FREE_NUMBER);
    int saved = errno;
    (void)close(ends[1]);
    if (high < 0) {
        (void)close(ends[0]);
        errno = saved;
        return SL_ESYS;
    }
    ends[1] = high;
    return SL_OK;
}

int nursery_start(const struct nursery_start *s, struct nursery_worker *out)
{
    int ends[2];
    if (stage_pipe(ends) != SL_OK)
        return SL_ESYS;
    pid_t nursery = getpid();
    pid_t pid = _Fork(); /* no atfork handlers: libuv's would close what is no longer its own */
    if (pid == 0)
        become(s, ends[1], nursery);
    int saved = errno;
    (void)close(ends[1]);
    if (pid < 0) {
        (void)close(ends[0]);
        errno = saved;
        return SL_ESYS;
    }
    *out = (struct nursery_worker){ .pid = pid, .token = s->order->token, .stage_fd = ends[0] };
    return SL_OK;
}
