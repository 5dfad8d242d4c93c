/* The data directory and its lock. */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine.h"

int store_sync_dir(const char *path, struct sl_buf *why)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return store_because(why, SL_ESYS, "cannot open %s: %s", path, strerror(errno));
    int rc = fsync(fd);
    int saved = errno;
    close(fd);
    /* Some file systems cannot sync a directory and say so; nothing is lost by asking. */
    if (rc != 0 && saved != EINVAL)
        return store_because(why, SL_EIO, "cannot sync %s: %s", path, strerror(saved));
    return SL_OK;
}

static int directory_make(const char *dir, struct sl_buf *why)
{
    struct stat st;
    if (mkdir(dir, 0700) == 0) {
        char parent[PATH_MAX];
        int n = snprintf(parent, sizeof parent, "%s/..", dir);
        if (n < 0 || (size_t)n >= sizeof parent)
            return store_because(why, SL_ESYS, "the data directory's path is too long");
        return store_sync_dir(parent, why);
    }
    if (errno != EEXIST)
        return store_because(why, SL_ESYS, "cannot create the data directory %s: %s", dir, strerror(errno));
    if (stat(dir, &st) != 0)
        return store_because(why, SL_ESYS, "cannot look at the data directory %s: %s", dir, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return store_because(why, SL_EFORMAT, "%s is not a directory, so it cannot be the data directory", dir);
    return SL_OK;
}

static int locked_by_other(int fd, const char *dir, struct sl_buf *why)
{
    char pid[24] = "";
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    pid[n > 0 ? n : 0] = '\0';
    pid[strspn(pid, "0123456789")] = '\0';
    return store_because(why, SL_ELOCKED, "the data directory %s is in use by process %s", dir, pid[0] == '\0' ? "?" : pid);
}

static int write_pid(int fd, const char *path, struct sl_buf *why)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) {
        /* A full disk must not keep a gateway from starting that could drain it. */
        if (errno == ENOSPC || errno == EDQUOT)
            return SL_OK;
        return store_because(why, SL_ESYS, "cannot write %s: %s", path, strerror(errno));
    }
    return SL_OK;
}

int store_lock(const char *dir, int *fd, struct sl_buf *why)
{
    int err = directory_make(dir, why);
    if (err != SL_OK)
        return err;
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/lock", dir);
    if (n < 0 || (size_t)n >= sizeof path)
        return store_because(why, SL_ESYS, "the data directory's path is too long");
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0)
        return store_because(why, SL_ESYS, "cannot open %s: %s", path, strerror(errno));
    if (flock(lock, LOCK_EX | LOCK_NB) != 0)
        err = errno == EWOULDBLOCK ? locked_by_other(lock, dir, why)
                                   : store_because(why, SL_ESYS, "cannot lock %s: %s", path, strerror(errno));
    else
        err = write_pid(lock, path, why);
    if (err != SL_OK) {
        close(lock);
        return err;
    }
    *fd = lock;
    return SL_OK;
}
