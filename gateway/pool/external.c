/* A pool's worker_socket: the file, who may connect to it, and how many. */
#include "external.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/alloc.h"
#include "wire/wire.h"

#define BACKLOG        256
#define ACCEPTS_MAX    64u  /* in one go: others have their turn */
#define GUESTS_MAX     1024u
#define SILENT_MAX     256u /* that have not said HELLO */
#define REFUSALS_S     5u   /* logged per pool and second */
#define RETRY_MS       100u /* when there was no descriptor for one that waits */
#define NOBODY         UINT32_MAX

struct external {
    struct pool *pool; /* outlives it */
    int fd;
    dev_t dev; /* of the socket's file: what is removed is our own */
    ino_t ino;
    uint32_t uid, gid; /* of the pool's user and group, who may connect too; NOBODY */
    uint64_t next_number;
    struct sl_log_limit refusals;
    uv_poll_t poll;
    uv_timer_t retry;
    unsigned n_handles;
};

/* ---- the file ---- */

static int fail(const struct pool *pool, const char *why)
{
    sl_log(SL_ERROR, "worker_socket_failed", "pool=%s path=\"%s\" reason=\"%s\"", pool->cfg->name, pool->cfg->worker_socket, why);
    return SL_ESYS;
}

/* Does anybody answer there? A gateway that died leaves a file that nobody listens to. */
static bool is_alive(const struct sockaddr_un *at)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return true;
    bool alive = connect(fd, (const struct sockaddr *)at, sizeof *at) == 0 || errno == EAGAIN;
    (void)close(fd);
    return alive;
}

static int make_way(const struct pool *pool, const struct sockaddr_un *at)
{
    struct stat st;
    if (lstat(at->sun_path, &st) != 0)
        return errno == ENOENT ? SL_OK : fail(pool, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return fail(pool, "a file that is not a socket is in the way");
    if (is_alive(at))
        return fail(pool, "in use: another process listens there");
    sl_log(SL_INFO, "worker_socket_stale", "pool=%s path=\"%s\" action=\"replaced\"", pool->cfg->name, at->sun_path);
    return unlink(at->sun_path) == 0 ? SL_OK : fail(pool, strerror(errno));
}

/* Whom the rights of the file are for: with a root gateway the workers' own account. */
static int give_file(const struct external *x, const char *path)
{
    const struct pool_config *cfg = x->pool->cfg;
    bool give = geteuid() == 0 && (x->uid != NOBODY || x->gid != NOBODY);
    if (give && chown(path, x->uid == NOBODY ? (uid_t)-1 : x->uid, x->gid == NOBODY ? (gid_t)-1 : x->gid) != 0)
        return fail(x->pool, strerror(errno));
    if (chmod(path, cfg->worker_socket_mode != 0 ? cfg->worker_socket_mode : 0600) != 0)
        return fail(x->pool, strerror(errno));
    return SL_OK;
}

static int bind_file(struct external *x, const struct sockaddr_un *at)
{
    struct stat st;
    x->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t before = umask(0177); /* nobody else may connect before its rights are set */
    int err = x->fd < 0 ? -1 : bind(x->fd, (const struct sockaddr *)at, sizeof *at);
    int saved = errno;
    (void)umask(before);
    if (err != 0)
        return fail(x->pool, strerror(saved));
    if (lstat(at->sun_path, &st) != 0)
        return fail(x->pool, strerror(errno));
    x->dev = st.st_dev;
    x->ino = st.st_ino;
    err = give_file(x, at->sun_path);
    if (err == SL_OK && listen(x->fd, BACKLOG) != 0)
        err = fail(x->pool, strerror(errno));
    return err;
}

/* A path that another one has taken since is left alone. */
static void remove_file(const struct external *x)
{
    struct stat st;
    const char *path = x->pool->cfg->worker_socket;
    if (x->ino != 0 && lstat(path, &st) == 0 && st.st_dev == x->dev && st.st_ino == x->ino)
        (void)unlink(path);
}

/* ---- who ---- */

/* A number, or an account's; NOBODY when there is no such account: it could not run workers either. */
static uint32_t uid_of(const char *user)
{
    uint64_t number;
    if (user == NULL)
        return NOBODY;
    if (sl_bytes_u64(sl_str(user), NOBODY - 1, &number) == SL_OK)
        return (uint32_t)number;
    const struct passwd *pw = getpwnam(user);
    return pw != NULL ? pw->pw_uid : NOBODY;
}

static uint32_t gid_of(const char *group)
{
    uint64_t number;
    if (group == NULL)
        return NOBODY;
    if (sl_bytes_u64(sl_str(group), NOBODY - 1, &number) == SL_OK)
        return (uint32_t)number;
    const struct group *g = getgrnam(group);
    return g != NULL ? g->gr_gid : NOBODY;
}

static bool may_join(const struct external *x, const struct ucred *who)
{
    return who->uid == geteuid() || who->uid == 0 || (x->uid != NOBODY && who->uid == x->uid) || (x->gid != NOBODY && who->gid == x->gid);
}

/* The time it takes says nothing about how much was right. */
bool external_token_is(const struct pool *pool, struct sl_bytes token)
{
    if (pool->cfg->worker_token == NULL)
        return true;
    struct sl_bytes want = sl_str(pool->cfg->worker_token);
    size_t differ = want.n ^ token.n;
    for (size_t i = 0; i < token.n; i++)
        differ |= (size_t)(token.p[i] ^ want.p[i % want.n]);
    return differ == 0;
}

/* ---- coming ---- */

struct refusal {
    uint16_t code;
    const char *text;
};

/* An ERROR fits into any socket that is new. */
static void refuse(struct external *x, int fd, const struct ucred *who, const struct refusal *why)
{
    struct sl_buf out = { 0 };
    x->pool->refused++;
    if (sl_log_allow(&x->refusals, pools_now(x->pool->pools), REFUSALS_S))
        sl_log(SL_WARN, "external_refused", "pool=%s pid=%d uid=%d reason=%s", x->pool->cfg->name, (int)who->pid, (int)who->uid, why->text);
    x->pool->ops->error(&(struct mode_error){ why->code, why->text }, &out);
    ssize_t n = send(fd, out.p + out.start, sl_buf_len(&out), MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)n; /* who does not hear it sees the end */
    sl_buf_fini(&out);
    (void)close(fd);
}

static const struct refusal *objection(const struct external *x, const struct ucred *who)
{
    static const struct refusal stranger = { WIRE_ERROR_DENIED, "user-not-allowed" }, many = { WIRE_ERROR_LIMIT, "too-many-workers" },
                                silent = { WIRE_ERROR_LIMIT, "too-many-without-hello" };
    uint32_t max = x->pool->cfg->worker_socket_max > 0 ? x->pool->cfg->worker_socket_max : GUESTS_MAX;
    if (!may_join(x, who))
        return &stranger;
    if (x->pool->n_guests >= max)
        return &many;
    return x->pool->n_silent >= SILENT_MAX ? &silent : NULL;
}

static void enter(struct external *x, int fd, const struct ucred *who)
{
    struct guest *g = SL_NEW(struct guest);
    struct pool *pool = x->pool;
    g->slot.pools = pool->pools;
    g->slot.pool = pool;
    g->slot.number = (uint32_t)++x->next_number;
    g->uid = who->uid;
    g->silent = true;
    g->next = pool->guests;
    if (g->next != NULL)
        g->next->prev = g;
    pool->guests = g;
    pool->n_guests++;
    pool->n_silent++;
    guest_enter(g, fd, who->pid);
}

static void on_connections(uv_poll_t *poll, int status, int events);

static void on_retry(uv_timer_t *timer)
{
    struct external *x = timer->data;
    (void)uv_poll_start(&x->poll, UV_READABLE, on_connections);
}

/* None is left, or there is no descriptor for it: it stays in the backlog, and is
 * not asked for again at once. */
static void not_accepted(struct external *x)
{
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
        return;
    if (sl_log_allow(&x->refusals, pools_now(x->pool->pools), REFUSALS_S))
        sl_log(SL_WARN, "accept_failed", "pool=%s error=%s", x->pool->cfg->name, uv_err_name(-errno));
    (void)uv_poll_stop(&x->poll);
    (void)uv_timer_start(&x->retry, on_retry, RETRY_MS, 0);
}

static void on_connections(uv_poll_t *poll, int status, int events)
{
    struct external *x = poll->data;
    (void)events;
    for (unsigned i = 0; status == 0 && i < ACCEPTS_MAX; i++) {
        struct ucred who = { 0 };
        socklen_t n = sizeof who;
        int fd = accept4(x->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            not_accepted(x);
            return;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) != 0)
            who = (struct ucred){ .uid = NOBODY, .gid = NOBODY };
        const struct refusal *why = objection(x, &who);
        if (why != NULL)
            refuse(x, fd, &who, why);
        else
            enter(x, fd, &who);
    }
}

void external_not_silent(struct guest *g)
{
    g->slot.pool->n_silent -= g->silent;
    g->silent = false;
}

void external_leave(struct guest *g)
{
    struct pool *pool = g->slot.pool;
    external_not_silent(g);
    if (g->prev != NULL)
        g->prev->next = g->next;
    else
        pool->guests = g->next;
    if (g->next != NULL)
        g->next->prev = g->prev;
    g->prev = g->next = NULL;
    pool->n_guests--;
}

void external_each(struct pool *pool, void (*fn)(struct slot *s))
{
    for (struct guest *g = pool->guests, *next; g != NULL; g = next) {
        next = g->next;
        fn(&g->slot);
    }
}

/* ---- opening and closing ---- */

static void on_closed(uv_handle_t *handle)
{
    struct external *x = handle->data;
    if (--x->n_handles == 0)
        sl_free(x);
}

static void discard(struct external *x)
{
    remove_file(x);
    if (x->fd >= 0)
        (void)close(x->fd);
    sl_free(x);
}

int external_open(struct pool *pool)
{
    const char *path = pool->cfg->worker_socket;
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    if (path == NULL)
        return SL_OK;
    if (strlen(path) >= sizeof at.sun_path)
        return fail(pool, "the path is too long for a Unix socket");
    memcpy(at.sun_path, path, strlen(path) + 1);
    struct external *x = SL_NEW(struct external);
    *x = (struct external){ .pool = pool, .fd = -1, .uid = uid_of(pool->cfg->user), .gid = gid_of(pool->cfg->group) };
    int err = make_way(pool, &at);
    if (err == SL_OK)
        err = bind_file(x, &at);
    if (err == SL_OK && uv_poll_init(pool->pools->io.loop, &x->poll, x->fd) != 0)
        err = fail(pool, "it cannot be watched");
    if (err != SL_OK) {
        discard(x);
        return err;
    }
    (void)uv_timer_init(pool->pools->io.loop, &x->retry);
    x->poll.data = x->retry.data = x;
    x->n_handles = 2;
    pool->external = x;
    sl_log(SL_INFO, "worker_socket_open", "pool=%s path=\"%s\" token=%s", pool->cfg->name, path, pool->cfg->worker_token != NULL ? "yes" : "no");
    return SL_OK;
}

void external_start(struct pool *pool)
{
    if (pool->external != NULL)
        (void)uv_poll_start(&pool->external->poll, UV_READABLE, on_connections);
}

void external_close(struct pool *pool)
{
    struct external *x = pool->external;
    if (x == NULL)
        return;
    pool->external = NULL;
    remove_file(x);
    uv_close((uv_handle_t *)&x->poll, on_closed);
    uv_close((uv_handle_t *)&x->retry, on_closed);
    (void)close(x->fd);
}
