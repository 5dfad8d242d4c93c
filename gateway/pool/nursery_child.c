/* The nursery's loop: orders in, workers reaped, reports out.
 *
 * It waits on the gateway's socket, on SIGCHLD (signalfd) and on the exec pipe
 * of each worker that is being started. Reports are sent blocking: a gateway
 * that does not read them is stopped or dead, and in both cases nothing is lost
 * by waiting here; its death ends the wait. */
#include "nursery_child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"

#define LOCK_POLL_MS 15
#define START_MS     10000u
#define POLL_FIXED 2u /* the socket and the signal */

static void report(const struct nursery_child *c, const struct nursery_report *r)
{
    uint8_t packet[NURSERY_REPORT_BYTES_MAX];
    size_t n = nursery_report_encode(packet, r);
    while (send(c->sock, packet, n, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void report_failed(const struct nursery_child *c, const struct nursery_failure *f)
{
    struct nursery_report r = { .kind = REPORT_FAILED, .token = f->token, .error = f->error };
    size_t n = strnlen(f->stage, sizeof r.stage - 1);
    memcpy(r.stage, f->stage, n);
    report(c, &r);
}

static void report_refused(const struct nursery_child *c, const char *why)
{
    struct nursery_report r = { .kind = REPORT_REFUSED };
    memcpy(r.stage, why, strnlen(why, sizeof r.stage - 1));
    report(c, &r);
}

static uint64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* ---- workers ---- */

static struct nursery_worker *find(struct nursery_child *c, pid_t pid)
{
    for (size_t i = 0; i < c->n_workers; i++)
        if (c->workers[i].pid == pid)
            return &c->workers[i];
    return NULL;
}

static void add(struct nursery_child *c, const struct nursery_worker *w)
{
    if (c->n_workers == c->cap_workers) {
        c->cap_workers = c->cap_workers == 0 ? 16 : c->cap_workers * 2;
        c->workers = sl_realloc(c->workers, c->cap_workers * sizeof *c->workers);
    }
    c->workers[c->n_workers] = *w;
    c->workers[c->n_workers++].start_by_ms = now_ms() + c->start_ms;
}

/* Its exec pipe is readable: EOF says that the program runs. */
static void stage_read(struct nursery_child *c, struct nursery_worker *w)
{
    struct nursery_stage s = { 0 };
    ssize_t n = read(w->stage_fd, &s, sizeof s);
    if (n < 0 && errno == EINTR)
        return;
    (void)close(w->stage_fd);
    w->stage_fd = -1;
    if (n == (ssize_t)sizeof s) {
        s.name[sizeof s.name - 1] = '\0';
        w->failed = true;
        report_failed(c, &(struct nursery_failure){ w->token, s.error, s.name });
        return;
    }
    struct nursery_report r = { .kind = REPORT_SPAWNED, .token = w->token, .exit.pid = w->pid };
    report(c, &r);
}

/* It hangs between fork and exec: its folder or program lies on a file system that does not answer, or
 * somebody stopped it. The gateway has no pid of it to signal, so without this its place would be lost
 * and an orderly end would wait for ever. */
static void start_is_over(struct nursery_child *c, struct nursery_worker *w)
{
    (void)kill(w->pid, SIGKILL);
    (void)close(w->stage_fd);
    w->stage_fd = -1;
    w->failed = true;
    report_failed(c, &(struct nursery_failure){ w->token, ETIMEDOUT, "start" });
}

/* The zombie still reserves the number while its group is killed. */
static void reap_worker(struct nursery_child *c, struct nursery_worker *w)
{
    if (w->stage_fd >= 0)
        stage_read(c, w); /* the writer is gone: this cannot wait */
    (void)kill(-w->pid, SIGKILL);
    struct rusage use;
    struct nursery_report r = { .kind = REPORT_EXITED, .token = w->token, .exit.pid = w->pid };
    if (wait4(w->pid, &r.exit.status, 0, &use) == w->pid) {
        r.exit.user_us = (uint64_t)use.ru_utime.tv_sec * 1000000u + (uint64_t)use.ru_utime.tv_usec;
        r.exit.system_us = (uint64_t)use.ru_stime.tv_sec * 1000000u + (uint64_t)use.ru_stime.tv_usec;
        r.exit.max_rss_bytes = (uint64_t)use.ru_maxrss * 1024u;
    }
    if (!w->failed)
        report(c, &r);
    *w = c->workers[--c->n_workers];
}

static void on_sigchld(struct nursery_child *c)
{
    struct signalfd_siginfo info[8];
    while (read(c->signal_fd, info, sizeof info) > 0)
        ;
    for (;;) {
        siginfo_t who = { 0 };
        if (waitid(P_ALL, 0, &who, WEXITED | WNOHANG | WNOWAIT) != 0 || who.si_pid == 0)
            return;
        struct nursery_worker *w = find(c, who.si_pid);
        if (w != NULL)
            reap_worker(c, w);
        else
            (void)waitpid(who.si_pid, NULL, WNOHANG); /* an orphan of a worker */
    }
}

/* ---- orders ---- */

struct packet {
    struct sl_bytes bytes;
    int fds[NURSERY_FDS_MAX];
    size_t n_fds;
    bool cut; /* more bytes or descriptors than fit */
};

static void order_spawn(struct nursery_child *c, struct sl_reader *r, const struct packet *p)
{
    struct nursery_spawn_order o;
    if (nursery_spawn_decode(r, &o) != SL_OK) {
        report_refused(c, "spawn order malformed");
        return;
    }
    if (o.n_fds != p->n_fds) {
        report_failed(c, &(struct nursery_failure){ o.token, EBADF, "descriptors" });
        nursery_spawn_order_fini(&o);
        return;
    }
    struct nursery_start s = { .order = &o, .fds = p->fds, .worker_nofile = c->worker_nofile };
    struct nursery_worker w;
    if (nursery_start(&s, &w) == SL_OK)
        add(c, &w);
    else
        report_failed(c, &(struct nursery_failure){ o.token, errno, "fork" });
    nursery_spawn_order_fini(&o);
}

static void order_kill(struct nursery_child *c, struct sl_reader *r)
{
    uint32_t pid = sl_rd_u32le(r);
    uint32_t signum = sl_rd_u32le(r);
    uint8_t group = sl_rd_u8(r);
    if (r->bad || signum >= NSIG) {
        report_refused(c, "kill order malformed");
        return;
    }
    const struct nursery_worker *w = find(c, (pid_t)pid);
    if (w != NULL) /* not yet reaped, so the number is still its own */
        (void)kill(group != 0 ? -w->pid : w->pid, (int)signum);
}

static void try_lock(struct nursery_child *c)
{
    if (flock(c->lock_fd, LOCK_EX | LOCK_NB) != 0 && (errno == EWOULDBLOCK || errno == EINTR))
        return;
    struct nursery_report r = { .kind = REPORT_LOCKED, .error = 0 };
    if (flock(c->lock_fd, LOCK_EX | LOCK_NB) != 0)
        r.error = errno;
    c->locked = true;
    report(c, &r);
}

static void order_lock(struct nursery_child *c, struct packet *p)
{
    if (p->n_fds != 1 || c->lock_fd >= 0) {
        report_refused(c, "lock order malformed");
        return;
    }
    c->lock_fd = p->fds[0];
    p->n_fds = 0; /* kept */
    try_lock(c);
}

/* The gateway could not even send it: the answer comes as from a failed start. */
static void order_fail(struct nursery_child *c, struct sl_reader *r)
{
    uint64_t token = sl_rd_u64le(r);
    int error = (int)sl_rd_u32le(r);
    if (r->bad)
        report_refused(c, "fail order malformed");
    else
        report_failed(c, &(struct nursery_failure){ token, error, "order" });
}

static void obey(struct nursery_child *c, struct packet *p)
{
    struct sl_reader r = sl_reader_of(p->bytes);
    uint8_t kind = sl_rd_u8(&r);
    if (p->cut)
        report_refused(c, "order too large");
    else if (kind == ORDER_SPAWN)
        order_spawn(c, &r, p);
    else if (kind == ORDER_KILL)
        order_kill(c, &r);
    else if (kind == ORDER_LOCK)
        order_lock(c, p);
    else if (kind == ORDER_FAIL)
        order_fail(c, &r);
    else
        report_refused(c, "order unknown");
    for (size_t i = 0; i < p->n_fds; i++)
        (void)close(p->fds[i]);
}

static void take_fds(struct msghdr *msg, struct packet *p)
{
    for (struct cmsghdr *h = CMSG_FIRSTHDR(msg); h != NULL; h = CMSG_NXTHDR(msg, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (n > NURSERY_FDS_MAX - p->n_fds)
            n = NURSERY_FDS_MAX - p->n_fds; /* the control buffer has no room for more */
        memcpy(p->fds + p->n_fds, CMSG_DATA(h), n * sizeof(int));
        p->n_fds += n;
    }
}

/* One packet. False: the gateway is gone. */
static bool on_order(struct nursery_child *c, uint8_t *buffer)
{
    union {
        char bytes[CMSG_SPACE(NURSERY_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = { buffer, NURSERY_ORDER_MAX };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
                          .msg_control = &control, .msg_controllen = sizeof control };
    ssize_t n = recvmsg(c->sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (n == 0 && msg.msg_controllen == 0)
        return false;
    struct packet p = { .bytes = sl_bytes_of(buffer, (size_t)n) };
    p.cut = (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    take_fds(&msg, &p);
    obey(c, &p);
    return true;
}

/* ---- the loop ---- */

static size_t fill_polls(const struct nursery_child *c, struct pollfd *polls)
{
    polls[0] = (struct pollfd){ c->sock, POLLIN, 0 };
    polls[1] = (struct pollfd){ c->signal_fd, POLLIN, 0 };
    size_t n = POLL_FIXED;
    for (size_t i = 0; i < c->n_workers; i++)
        if (c->workers[i].stage_fd >= 0)
            polls[n++] = (struct pollfd){ c->workers[i].stage_fd, POLLIN, 0 };
    return n;
}

static void read_stages(struct nursery_child *c, const struct pollfd *polls, size_t n)
{
    for (size_t i = POLL_FIXED; i < n; i++)
        for (size_t k = 0; polls[i].revents != 0 && k < c->n_workers; k++)
            if (c->workers[k].stage_fd == polls[i].fd) {
                stage_read(c, &c->workers[k]);
                break;
            }
}

/* Until when poll may wait, in ms; -1: for ever. Ends those starts that took too long. */
static int watch_starts(struct nursery_child *c)
{
    uint64_t next = UINT64_MAX, now = 0;
    for (size_t i = 0; i < c->n_workers; i++) {
        struct nursery_worker *w = &c->workers[i];
        if (w->stage_fd < 0)
            continue;
        now = now > 0 ? now : now_ms();
        if (w->start_by_ms <= now)
            start_is_over(c, w);
        else if (w->start_by_ms - now < next)
            next = w->start_by_ms - now;
    }
    return next == UINT64_MAX ? -1 : (int)next;
}

static void loop(struct nursery_child *c)
{
    uint8_t *buffer = sl_alloc(NURSERY_ORDER_MAX);
    struct pollfd *polls = NULL;
    bool open = true;
    while (open) {
        polls = sl_realloc(polls, (POLL_FIXED + c->n_workers) * sizeof *polls);
        int patience = watch_starts(c);
        size_t n = fill_polls(c, polls);
        bool waits = c->lock_fd >= 0 && !c->locked;
        if (poll(polls, (nfds_t)n, waits ? LOCK_POLL_MS : patience) < 0)
            continue; /* EINTR */
        if (waits)
            try_lock(c);
        read_stages(c, polls, n);
        if (polls[1].revents != 0)
            on_sigchld(c);
        if (polls[0].revents != 0)
            open = on_order(c, buffer);
    }
    sl_free(polls);
    sl_free(buffer);
}

static void deafen(void)
{
    static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2 };
    for (size_t i = 0; i < SL_COUNT(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL); /* an inherited SIG_IGN would reap on its own */
}

void nursery_child_run(int sock, const struct nursery_config *cfg)
{
    struct nursery_child c = { .sock = sock, .lock_fd = -1, .worker_nofile = cfg->worker_nofile,
                               .start_ms = cfg->start_ms > 0 ? cfg->start_ms : START_MS };
    deafen();
    (void)setsid(); /* the terminal's signals are the gateway's matter */
    (void)prctl(PR_SET_NAME, "sluice-nursery", 0, 0, 0);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_SETMASK, &set, NULL);
    c.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (c.signal_fd < 0)
        return; /* the gateway sees the end of the socket */
    loop(&c);
    nursery_end_all(c.workers, c.n_workers);
    sl_free(c.workers);
}
