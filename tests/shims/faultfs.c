/* faultfs: makes the nth call on the store's files fail, or the process die
 * there. LD_PRELOAD library; README.md has the words.
 *
 *   FAULTFS=op:nth:action[:count]   op      write sync grow name any
 *                                   action  EIO ENOSPC EDQUOT EROFS kill killafter
 *   FAULTFS_CONTROL=file            the same text, read again at every call
 *   FAULTFS_MATCH=text              part of the path; default "data.mdb"
 *
 * `any` counts all steps that change a file or a name: what a power cut may
 * come between. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real_of(#name))

enum op { OP_WRITE = 1, OP_SYNC = 2, OP_GROW = 4, OP_NAME = 8, OP_ANY = 15 };
enum action { ACT_NONE, ACT_ERRNO, ACT_KILL, ACT_KILL_AFTER };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char current[128]; /* the text that the plan was made from */
static struct {
    unsigned ops;
    long nth, count, seen;
    enum action action;
    int error;
} plan;

static void *real_of(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (f == NULL)
        abort();
    return f;
}

static bool path_matches(const char *path)
{
    const char *match = getenv("FAULTFS_MATCH");
    return strstr(path, match == NULL ? "data.mdb" : match) != NULL;
}

static bool fd_matches(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0)
        return false;
    path[n] = '\0';
    return path_matches(path);
}

static unsigned op_named(const char *s)
{
    static const struct { const char *name; unsigned op; } names[] = {
        { "write", OP_WRITE }, { "sync", OP_SYNC }, { "grow", OP_GROW }, { "name", OP_NAME }, { "any", OP_ANY } };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].name, s) == 0)
            return names[i].op;
    }
    return 0;
}

static void action_named(const char *s)
{
    static const struct { const char *name; enum action action; int error; } names[] = {
        { "EIO", ACT_ERRNO, EIO }, { "ENOSPC", ACT_ERRNO, ENOSPC }, { "EDQUOT", ACT_ERRNO, EDQUOT }, { "EROFS", ACT_ERRNO, EROFS },
        { "kill", ACT_KILL, 0 }, { "killafter", ACT_KILL_AFTER, 0 } };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].name, s) == 0) {
            plan.action = names[i].action;
            plan.error = names[i].error;
        }
    }
}

static void plan_make(const char *text)
{
    char op[16] = "", action[16] = "";
    memset(&plan, 0, sizeof plan);
    plan.count = 1;
    snprintf(current, sizeof current, "%s", text);
    if (sscanf(text, "%15[a-z]:%ld:%15[A-Za-z]:%ld", op, &plan.nth, action, &plan.count) < 3)
        return;
    plan.ops = op_named(op);
    action_named(action);
}

static void plan_refresh(void)
{
    char text[128] = "";
    const char *control = getenv("FAULTFS_CONTROL"), *fixed = getenv("FAULTFS");
    if (control != NULL) {
        FILE *f = fopen(control, "re");
        if (f != NULL) {
            if (fgets(text, sizeof text, f) == NULL)
                text[0] = '\0';
            fclose(f);
        }
        text[strcspn(text, "\n")] = '\0';
    } else if (fixed != NULL) {
        snprintf(text, sizeof text, "%s", fixed);
    }
    if (strcmp(text, current) != 0)
        plan_make(text);
}

/* What to do at this call of `op`. */
static enum action step(enum op op)
{
    sigset_t all, before; /* a signal handler may write: not while this thread holds the mutex */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_mutex_lock(&mutex);
    plan_refresh();
    enum action action = ACT_NONE;
    if ((plan.ops & op) != 0) {
        plan.seen++;
        if (plan.seen >= plan.nth && (plan.count == 0 || plan.seen < plan.nth + plan.count))
            action = plan.action;
    }
    pthread_mutex_unlock(&mutex);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (action == ACT_KILL)
        raise(SIGKILL);
    return action;
}

/* Runs `call` unless this step fails; dies after it when asked to. */
#define STEP(op, matches, call)                                                                    \
    do {                                                                                           \
        enum action action_ = (matches) ? step(op) : ACT_NONE;                                     \
        if (action_ == ACT_ERRNO) {                                                                \
            errno = plan.error;                                                                    \
            return -1;                                                                             \
        }                                                                                          \
        __typeof__(call) result_ = (call);                                                         \
        if (action_ == ACT_KILL_AFTER)                                                             \
            raise(SIGKILL);                                                                        \
        return result_;                                                                            \
    } while (0)

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    STEP(OP_WRITE, fd_matches(fd), REAL(pwrite)(fd, p, n, at));
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
    STEP(OP_WRITE, fd_matches(fd), REAL(pwritev)(fd, v, n, at));
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
    STEP(OP_WRITE, fd_matches(fd), REAL(writev)(fd, v, n));
}

int fdatasync(int fd)
{
    STEP(OP_SYNC, fd_matches(fd), REAL(fdatasync)(fd));
}

int fsync(int fd)
{
    STEP(OP_SYNC, fd_matches(fd), REAL(fsync)(fd));
}

int ftruncate(int fd, off_t n)
{
    STEP(OP_GROW, fd_matches(fd), REAL(ftruncate)(fd, n));
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
    STEP(OP_GROW, fd_matches(fd), REAL(fallocate)(fd, mode, at, n));
}

int rename(const char *from, const char *to)
{
    STEP(OP_NAME, path_matches(from), REAL(rename)(from, to));
}

int mkdir(const char *path, mode_t mode)
{
    STEP(OP_NAME, path_matches(path), REAL(mkdir)(path, mode));
}
