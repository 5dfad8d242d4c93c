/* powercut: keeps, beside the store's files, a shadow of what a power cut
 * would leave of them. LD_PRELOAD library; README.md tells how to use it.
 *
 * A write is remembered and reaches the shadow only when a sync of its file
 * has returned, or at its own return when the descriptor is O_DSYNC or O_SYNC
 * (LMDB writes its meta page so). A rename reaches the shadow when a directory
 * was synced after it. Killed at any moment, the process leaves in the shadow
 * exactly what was promised to be durable; POWERCUT_TORN adds a random part of
 * what was not. POWERCUT_NOSYNC makes syncs lie, which a test must notice.
 *
 * With POWERCUT_LOG, each completed sync (after it) and each write to a socket
 * (before it) becomes a numbered line, so that a test can see that no answer
 * leaves before the sync that covers it. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MAX_FDS 65536
#define MAX_FILES 64
#define MAX_RENAMES 16
#define PAGE 4096
#define PATH_BYTES 4096
#define HEX_BYTES_DEFAULT 4096
#define WATCH_MAX 64
#define SEEN_SLOTS 65536

#define REAL(name) ((__typeof__(&name))real_of(#name))

/* One change that is not durable yet: bytes at a place, or (p NULL) a new length. */
struct pending {
    struct pending *next;
    uint8_t *p;
    size_t n;
    off_t at;
    bool grow_only;
};

struct file {
    bool used;
    dev_t dev;
    ino_t ino;
    char path[PATH_BYTES]; /* below the root: its place in the shadow */
    struct pending *first, **last;
    char *tokens; /* watched words in pending writes, space before each */
};

struct renaming {
    char from[PATH_BYTES], to[PATH_BYTES];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static sigset_t signals_before; /* of who holds the mutex */
static struct file files[MAX_FILES];
static struct {
    struct file *file;
    bool synchronous;
    bool directory;
} fds[MAX_FDS];
static struct renaming renames[MAX_RENAMES];
static unsigned n_renames;
static uint64_t seen_words[SEEN_SLOTS];
static const char *root, *shadow, *match, *watch;
static bool nosync;
static uint64_t torn; /* 0: off; else the generator's state */
static int log_fd = -1;
static uint64_t log_seq;
static size_t hex_bytes = HEX_BYTES_DEFAULT;
static bool ready;
static pid_t owner; /* of the tables: a forked child starts without */

static void *real_of(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (f == NULL)
        abort();
    return f;
}

static void give_up(const char *what)
{
    fprintf(stderr, "powercut: %s: %s\n", what, strerror(errno));
    abort();
}

static void start(void)
{
    ready = true;
    owner = getpid();
    root = getenv("POWERCUT_ROOT");
    shadow = getenv("POWERCUT_SHADOW");
    match = getenv("POWERCUT_MATCH") == NULL ? "data.mdb" : getenv("POWERCUT_MATCH");
    watch = getenv("POWERCUT_WATCH");
    nosync = getenv("POWERCUT_NOSYNC") != NULL;
    torn = getenv("POWERCUT_TORN") == NULL ? 0 : strtoull(getenv("POWERCUT_TORN"), NULL, 10) * 2 + 1;
    if (getenv("POWERCUT_LOG_BYTES") != NULL)
        hex_bytes = strtoul(getenv("POWERCUT_LOG_BYTES"), NULL, 10);
    if (getenv("POWERCUT_LOG") != NULL)
        log_fd = REAL(open)(getenv("POWERCUT_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (root == NULL || shadow == NULL)
        root = NULL; /* nothing is tracked */
}

/* A signal handler may write (libuv's does, to its pipe): it must not run on
 * the thread that holds the mutex. */
static void mutex_take(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_mutex_lock(&mutex);
    signals_before = before;
}

static void mutex_give(void)
{
    sigset_t before = signals_before;
    pthread_mutex_unlock(&mutex);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* A child of fork shares nothing of ours: it neither tracks nor logs. */
static bool lock(void)
{
    mutex_take();
    if (!ready)
        start();
    if (root != NULL && owner == getpid())
        return true;
    mutex_give();
    return false;
}

static void unlock(void)
{
    int saved = errno;
    mutex_give();
    errno = saved;
}

/* ---- the shadow ---- */

static void shadow_path(char out[2 * PATH_BYTES], const char *below)
{
    snprintf(out, 2 * PATH_BYTES, "%s/%s", shadow, below);
}

static void make_parents(const char *path)
{
    char part[2 * PATH_BYTES];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (REAL(mkdir)(part, 0700) != 0 && errno != EEXIST)
            give_up(part);
        *slash = '/';
    }
}

static int shadow_open(const struct file *f)
{
    char path[2 * PATH_BYTES];
    shadow_path(path, f->path);
    make_parents(path);
    int fd = REAL(open)(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        give_up(path);
    return fd;
}

static void shadow_change(int fd, const struct pending *w)
{
    if (w->p != NULL) {
        if (REAL(pwrite)(fd, w->p, w->n, w->at) != (ssize_t)w->n)
            give_up("shadow write");
        return;
    }
    struct stat st;
    if (w->grow_only && fstat(fd, &st) == 0 && st.st_size >= w->at)
        return;
    if (REAL(ftruncate)(fd, w->at) != 0)
        give_up("shadow length");
}

static void shadow_write_one(const struct file *f, const struct pending *w)
{
    int fd = shadow_open(f);
    shadow_change(fd, w);
    REAL(close)(fd);
}

static void shadow_apply(struct file *f)
{
    int fd = shadow_open(f);
    while (f->first != NULL) {
        struct pending *w = f->first;
        shadow_change(fd, w);
        f->first = w->next;
        free(w->p);
        free(w);
    }
    f->last = &f->first;
    REAL(close)(fd);
}

/* A file that was there before us is taken as durable. */
static void shadow_adopt(const struct file *f, int from)
{
    char path[2 * PATH_BYTES];
    shadow_path(path, f->path);
    if (access(path, F_OK) == 0)
        return;
    struct stat st;
    if (fstat(from, &st) != 0 || st.st_size == 0)
        return;
    int to = shadow_open(f);
    char buf[65536];
    ssize_t n;
    int source = from;
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", from);
    if ((source = REAL(open)(name, O_RDONLY | O_CLOEXEC)) < 0)
        give_up("adopt");
    for (off_t at = 0; (n = pread(source, buf, sizeof buf, at)) > 0; at += n) {
        if (REAL(pwrite)(to, buf, (size_t)n, at) != n)
            give_up("adopt");
    }
    REAL(close)(source);
    REAL(close)(to);
}

/* ---- log ---- */

static void log_line(const char *kind, const char *rest)
{
    if (log_fd < 0)
        return;
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    size_t n = strlen(rest) + 128;
    char *line = malloc(n);
    if (line == NULL)
        give_up("log");
    int len = snprintf(line, n, "%" PRIu64 " %lld.%09ld %d %s %s\n", ++log_seq, (long long)ts.tv_sec, ts.tv_nsec, (int)getpid(), kind, rest);
    if (REAL(write)(log_fd, line, (size_t)len) != len)
        give_up("log");
    free(line);
}

static bool word_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

/* True the first time; pages are copied and would repeat their words for ever. */
static bool word_is_new(const uint8_t *p, size_t n)
{
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    h |= 1;
    for (uint64_t i = h % SEEN_SLOTS, tries = 0; tries < SEEN_SLOTS; i = (i + 1) % SEEN_SLOTS, tries++) {
        if (seen_words[i] == h)
            return false;
        if (seen_words[i] == 0) {
            seen_words[i] = h;
            return true;
        }
    }
    return true;
}

static void remember_words(struct file *f, const uint8_t *p, size_t n)
{
    size_t prefix = watch == NULL ? 0 : strlen(watch);
    if (prefix == 0)
        return;
    const uint8_t *end = p + n;
    while ((p = memmem(p, (size_t)(end - p), watch, prefix)) != NULL) {
        size_t len = prefix;
        while (p + len < end && len < WATCH_MAX && word_char(p[len]))
            len++;
        if (word_is_new(p, len)) {
            size_t old = f->tokens == NULL ? 0 : strlen(f->tokens);
            f->tokens = realloc(f->tokens, old + len + 2);
            if (f->tokens == NULL)
                give_up("tokens");
            f->tokens[old] = ' ';
            memcpy(f->tokens + old + 1, p, len);
            f->tokens[old + 1 + len] = '\0';
        }
        p += len;
    }
}

static void log_sync(const char *kind, struct file *f)
{
    size_t n = strlen(f->path) + (f->tokens == NULL ? 0 : strlen(f->tokens)) + 8;
    char *rest = malloc(n);
    if (rest == NULL)
        give_up("log");
    snprintf(rest, n, "%s%s", f->path, f->tokens == NULL ? "" : f->tokens);
    log_line(kind, rest);
    free(rest);
    free(f->tokens);
    f->tokens = NULL;
}

static bool is_socket(int fd)
{
    int type;
    socklen_t n = sizeof type;
    int saved = errno;
    bool yes = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0;
    errno = saved;
    return yes;
}

/* Before the bytes leave, so that a line behind a sync was truly sent behind it. */
static void log_send(int fd, const struct iovec *v, size_t n_v)
{
    if (log_fd < 0 || !is_socket(fd))
        return;
    size_t total = 0, shown = 0;
    for (size_t i = 0; i < n_v; i++)
        total += v[i].iov_len;
    char *rest = malloc(2 * (total < hex_bytes ? total : hex_bytes) + 64);
    if (rest == NULL)
        give_up("log");
    char *at = rest + snprintf(rest, 64, "fd=%d n=%zu ", fd, total);
    for (size_t i = 0; i < n_v; i++) {
        const uint8_t *p = v[i].iov_base;
        for (size_t k = 0; k < v[i].iov_len && shown < hex_bytes; k++, shown++) {
            *at++ = "0123456789abcdef"[p[k] >> 4];
            *at++ = "0123456789abcdef"[p[k] & 15];
        }
    }
    *at = '\0';
    log_line("send", rest);
    free(rest);
}

/* ---- tracking ---- */

static struct file *file_of(int fd)
{
    return fd >= 0 && fd < MAX_FDS ? fds[fd].file : NULL;
}

static bool below_root(const char *path, char out[PATH_BYTES])
{
    char real[PATH_BYTES];
    const char *name = realpath(path, real) == NULL ? path : real;
    char real_root[PATH_BYTES];
    const char *base = realpath(root, real_root) == NULL ? root : real_root;
    size_t n = strlen(base);
    if (strncmp(name, base, n) != 0 || name[n] != '/')
        return false;
    snprintf(out, PATH_BYTES, "%s", name + n + 1);
    return true;
}

static struct file *file_find(const struct stat *st)
{
    struct file *unused = NULL;
    for (size_t i = 0; i < MAX_FILES; i++) {
        if (!files[i].used)
            unused = unused == NULL ? &files[i] : unused;
        else if (files[i].dev == st->st_dev && files[i].ino == st->st_ino)
            return &files[i];
    }
    if (unused == NULL)
        give_up("too many files");
    memset(unused, 0, sizeof *unused);
    unused->dev = st->st_dev;
    unused->ino = st->st_ino;
    unused->last = &unused->first;
    return unused;
}

static void track(int fd, const char *path, int flags)
{
    struct stat st = { 0 };
    char below[PATH_BYTES];
    if (fd < 0 || fd >= MAX_FDS || !lock())
        return;
    fds[fd].file = NULL;
    fds[fd].directory = false;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        fds[fd].directory = true;
    } else if (S_ISREG(st.st_mode) && strstr(path, match) != NULL && below_root(path, below)) {
        struct file *f = file_find(&st);
        if (!f->used) {
            f->used = true;
            snprintf(f->path, sizeof f->path, "%s", below);
            shadow_adopt(f, fd);
        }
        fds[fd].file = f;
        fds[fd].synchronous = (flags & O_DSYNC) != 0;
    }
    unlock();
}

static void untrack(int fd)
{
    if (fd < 0 || fd >= MAX_FDS || !lock())
        return;
    fds[fd].file = NULL;
    fds[fd].directory = false;
    unlock();
}

static bool coin(void)
{
    torn ^= torn << 13;
    torn ^= torn >> 7;
    torn ^= torn << 17;
    return (torn >> 33 & 1) != 0;
}

/* Unsynced pages may reach the disk in any order, or not at all. */
static void tear(const struct file *f, const struct pending *w)
{
    for (size_t done = 0; torn != 0 && done < w->n; done += PAGE) {
        size_t n = w->n - done < PAGE ? w->n - done : PAGE;
        struct pending page = { .p = w->p + done, .n = n, .at = w->at + (off_t)done };
        if (coin())
            shadow_write_one(f, &page);
    }
}

static void remember(struct file *f, const struct pending *change)
{
    struct pending *w = malloc(sizeof *w);
    if (w == NULL)
        give_up("pending");
    *w = *change;
    w->next = NULL;
    if (change->n > 0) {
        w->p = malloc(change->n);
        if (w->p == NULL)
            give_up("pending");
        memcpy(w->p, change->p, change->n);
        remember_words(f, w->p, w->n);
        tear(f, w);
    }
    *f->last = w;
    f->last = &w->next;
}

/* After a write of n bytes at `at` returned. */
static void written(int fd, const void *p, size_t n, off_t at)
{
    if (!lock())
        return;
    struct file *f = file_of(fd);
    if (f != NULL && n > 0) {
        struct pending w = { .p = (uint8_t *)(uintptr_t)p, .n = n, .at = at };
        if (fds[fd].synchronous && !nosync) {
            shadow_write_one(f, &w);
            log_sync("dsync", f);
        } else {
            remember(f, &w);
        }
    }
    unlock();
}

static void written_v(int fd, const struct iovec *v, int n_v, off_t at, size_t n)
{
    for (int i = 0; i < n_v && n > 0; i++) {
        size_t part = v[i].iov_len < n ? v[i].iov_len : n;
        written(fd, v[i].iov_base, part, at);
        at += (off_t)part;
        n -= part;
    }
}

static void resized(int fd, off_t length, bool grow_only)
{
    if (!lock())
        return;
    struct file *f = file_of(fd);
    struct pending w = { .at = length, .grow_only = grow_only };
    if (f != NULL)
        remember(f, &w);
    unlock();
}

static void renames_apply(void)
{
    for (unsigned i = 0; i < n_renames; i++) {
        char from[2 * PATH_BYTES], to[2 * PATH_BYTES];
        shadow_path(from, renames[i].from);
        shadow_path(to, renames[i].to);
        make_parents(to);
        if (REAL(rename)(from, to) != 0 && errno != ENOENT)
            give_up("shadow rename");
        size_t n = strlen(renames[i].from);
        for (size_t k = 0; k < MAX_FILES; k++) {
            if (!files[k].used || strncmp(files[k].path, renames[i].from, n) != 0 || (files[k].path[n] != '/' && files[k].path[n] != '\0'))
                continue;
            char moved[2 * PATH_BYTES];
            snprintf(moved, sizeof moved, "%s%s", renames[i].to, files[k].path + n);
            snprintf(files[k].path, sizeof files[k].path, "%.*s", PATH_BYTES - 1, moved);
        }
    }
    n_renames = 0;
}

static void synced(int fd)
{
    if (!lock())
        return;
    struct file *f = file_of(fd);
    if (f != NULL && !nosync) {
        shadow_apply(f);
        log_sync("sync", f);
    }
    if (fd >= 0 && fd < MAX_FDS && fds[fd].directory && !nosync)
        renames_apply();
    unlock();
}

static bool tracked(int fd)
{
    if (!lock())
        return false;
    bool yes = file_of(fd) != NULL;
    unlock();
    return yes;
}

static void sending(int fd, const struct iovec *v, size_t n)
{
    if (!lock())
        return;
    log_send(fd, v, n);
    unlock();
}

/* ---- interposed calls ---- */

static mode_t mode_of(int flags, va_list ap)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_of(flags, ap);
    va_end(ap);
    int fd = REAL(open)(path, flags, mode);
    track(fd, path, flags);
    return fd;
}

int open64(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_of(flags, ap);
    va_end(ap);
    int fd = REAL(open)(path, flags, mode);
    track(fd, path, flags);
    return fd;
}

int close(int fd)
{
    untrack(fd);
    return REAL(close)(fd);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    ssize_t done = REAL(pwrite)(fd, p, n, at);
    if (done > 0)
        written(fd, p, (size_t)done, at);
    return done;
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t at)
{
    return pwrite(fd, p, n, at);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    ssize_t done = REAL(pwritev)(fd, v, n, at);
    if (done > 0)
        written_v(fd, v, n, at, (size_t)done);
    return done;
}

ssize_t write(int fd, const void *p, size_t n)
{
    bool ours = tracked(fd);
    off_t at = ours ? lseek(fd, 0, SEEK_CUR) : 0;
    if (!ours)
        sending(fd, &(struct iovec){ .iov_base = (void *)(uintptr_t)p, .iov_len = n }, 1);
    ssize_t done = REAL(write)(fd, p, n);
    if (ours && done > 0)
        written(fd, p, (size_t)done, at);
    return done;
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    bool ours = tracked(fd);
    off_t at = ours ? lseek(fd, 0, SEEK_CUR) : 0;
    if (!ours && n > 0)
        sending(fd, v, (size_t)n);
    ssize_t done = REAL(writev)(fd, v, n);
    if (ours && done > 0)
        written_v(fd, v, n, at, (size_t)done);
    return done;
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
    sending(fd, &(struct iovec){ .iov_base = (void *)(uintptr_t)p, .iov_len = n }, 1);
    return REAL(send)(fd, p, n, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    sending(fd, m->msg_iov, m->msg_iovlen);
    return REAL(sendmsg)(fd, m, flags);
}

int ftruncate(int fd, off_t n)
{
    int rc = REAL(ftruncate)(fd, n);
    if (rc == 0)
        resized(fd, n, false);
    return rc;
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
    int rc = REAL(fallocate)(fd, mode, at, n);
    if (rc == 0 && mode == 0)
        resized(fd, at + n, true);
    return rc;
}

int fdatasync(int fd)
{
    int rc = REAL(fdatasync)(fd);
    if (rc == 0)
        synced(fd);
    return rc;
}

int fsync(int fd)
{
    int rc = REAL(fsync)(fd);
    if (rc == 0)
        synced(fd);
    return rc;
}

int rename(const char *from, const char *to)
{
    char old[PATH_BYTES], new[PATH_BYTES];
    bool known = false;
    if (lock()) {
        known = below_root(from, old);
        unlock();
    }
    int rc = REAL(rename)(from, to);
    if (rc != 0 || !known || !lock())
        return rc;
    if (n_renames == MAX_RENAMES)
        give_up("too many renames");
    if (below_root(to, new)) {
        memcpy(renames[n_renames].from, old, sizeof old);
        memcpy(renames[n_renames].to, new, sizeof new);
        n_renames++;
    }
    unlock();
    return rc;
}
