/* Workers of ours that are connected and take nothing: stopped, or stuck where
 * they never read. Their messages would wait for the time limit, and then be
 * charged for what they have not done.
 *
 * Who works for long on what it has read is not meant: so it is asked what was
 * read. A worker that holds nothing and gets a delivery has to read it; as long as
 * the end of that delivery lies beyond what it has taken, it has started nothing.
 * How much a process has left unread in its socket is known to the kernel, and
 * told without rights by unix_diag; of a pipe, by FIONREAD at our end. Where
 * neither is known, nobody is killed. */
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool_internal.h"

#define LOOKS      4u /* in the time after which one is killed */
#define PERIOD_MIN 20u

/* ---- what is unread ---- */

struct request {
    struct nlmsghdr head;
    struct unix_diag_req body;
};

struct answer {
    struct nlmsghdr head;
    struct unix_diag_msg body;
    uint8_t attributes[512];
};

/* One socket's attribute; false: it has none, or the system does not tell. */
static bool ask(int netlink, uint32_t inode, uint32_t show, uint16_t attribute, uint32_t *value)
{
    struct request q = {
        .head = { .nlmsg_len = sizeof q, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST },
        .body = { .sdiag_family = AF_UNIX, .udiag_states = UINT32_MAX, .udiag_ino = inode, .udiag_show = show,
                  .udiag_cookie = { UINT32_MAX, UINT32_MAX } },
    };
    struct answer a;
    if (send(netlink, &q, sizeof q, 0) != (ssize_t)sizeof q)
        return false;
    ssize_t n = recv(netlink, &a, sizeof a, MSG_DONTWAIT); /* the kernel has answered within send */
    if (n < (ssize_t)(sizeof a.head + sizeof a.body) || a.head.nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return false;
    size_t left = (size_t)n - sizeof a.head - sizeof a.body, at = 0;
    while (at + sizeof(struct nlattr) + sizeof *value <= left) {
        struct nlattr t;
        memcpy(&t, a.attributes + at, sizeof t);
        if (t.nla_type == attribute && t.nla_len >= sizeof t + sizeof *value) {
            memcpy(value, a.attributes + at + sizeof t, sizeof *value);
            return true;
        }
        at += (size_t)NLA_ALIGN(t.nla_len < sizeof t ? (uint16_t)sizeof t : t.nla_len);
    }
    return false;
}

/* Of the peer's receive queue: the inode of our end leads to that of its own. */
static bool unread_of_socket(int fd, uint64_t *unread)
{
    struct stat st;
    uint32_t peer, bytes;
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (netlink < 0)
        return false;
    bool known = fstat(fd, &st) == 0 && ask(netlink, (uint32_t)st.st_ino, UDIAG_SHOW_PEER, UNIX_DIAG_PEER, &peer) &&
                 ask(netlink, peer, UDIAG_SHOW_RQLEN, UNIX_DIAG_RQLEN, &bytes);
    (void)close(netlink);
    if (known)
        *unread = bytes;
    return known;
}

static bool unread_of(const struct worker *w, uint64_t *unread)
{
    uv_os_fd_t fd;
    enum worker_pipe which = w->mode.ops->socket ? PIPE_MAIN : PIPE_STDIN;
    int bytes;
    if (!w->pipe_open[which] || uv_fileno((const uv_handle_t *)&w->pipes[which], &fd) != 0)
        return false;
    if (which == PIPE_MAIN)
        return unread_of_socket(fd, unread);
    if (ioctl(fd, FIONREAD, &bytes) != 0)
        return false;
    *unread = (uint64_t)bytes;
    return true;
}

/* ---- who takes nothing ---- */

void watchdog_fresh(struct worker *w)
{
    w->fresh_ms = pools_now(w->slot->pools);
    w->fresh_end = w->written + sl_buf_len(&w->sending) + sl_buf_len(&w->out);
}

bool watchdog_takes_nothing(const struct worker *w)
{
    uint64_t unread, sent = io_sent(w);
    if (w->guest != NULL || w->state != WORKER_RUNNING || w->held.n_open == 0 || w->fresh_end == 0 || w->write_dead)
        return false;
    if (!unread_of(w, &unread) || unread > sent)
        return false;
    return sent - unread < w->fresh_end;
}

/* A worker that answered since has read: that is seen without asking anybody. */
static void look(struct slot *s)
{
    struct worker *w = s->worker;
    uint64_t most = s->pool->cfg->watchdog_ms, now = pools_now(s->pools);
    if (w == NULL || most == 0 || w->held.n_open == 0 || now < w->fresh_ms + most || !watchdog_takes_nothing(w))
        return;
    sl_log(SL_WARN, "worker_stuck", "pool=%s slot=%u pid=%d unanswered=%u reason=\"it has not read for %llu ms\"", s->pool->cfg->name,
           (unsigned)s->number, (int)w->pid, (unsigned)w->held.n_open, (unsigned long long)(now - w->fresh_ms));
    s->pool->stuck++;
    worker_kill(w, END_IDLE);
}

static void on_look(uv_timer_t *timer)
{
    pools_each_slot(timer->data, look);
}

void watchdog_init(struct pools *p)
{
    (void)uv_timer_init(p->io.loop, &p->watchdog);
    p->watchdog.data = p;
    p->n_timers++;
}

void watchdog_set(struct pools *p)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < p->n_all; i++) {
        const struct pool_config *cfg = p->v[i]->cfg;
        if (cfg->watchdog_ms > 0 && cfg->watchdog_ms < least && !p->v[i]->ops->per_message)
            least = cfg->watchdog_ms;
    }
    uint64_t period = least == UINT64_MAX ? 0 : least / LOOKS < PERIOD_MIN ? PERIOD_MIN : least / LOOKS;
    if (period == p->watchdog_ms)
        return;
    p->watchdog_ms = period;
    if (period > 0)
        (void)uv_timer_start(&p->watchdog, on_look, period, period);
    else
        (void)uv_timer_stop(&p->watchdog);
}
