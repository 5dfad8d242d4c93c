/* Nobody survives the nursery: the workers' groups first, then whoever is left
 * among its children. It is a subreaper, so a descendant whose parent died is
 * its child; killing children until there are none therefore reaches them all,
 * also those that left their group. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "nursery_child.h"

#define END_PAUSE_NS 2000000L

/* The parent of process `pid`, or 0. Its name stands in parentheses and may
 * hold anything, so the numbers are looked for behind the last one. */
static pid_t parent_of(const char *pid)
{
    char path[64], text[512];
    (void)snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    size_t n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n] = '\0';
    const char *after = strrchr(text, ')');
    if (after == NULL || strlen(after) < 5)
        return 0;
    return (pid_t)strtol(after + 4, NULL, 10); /* ") S 123" */
}

static void kill_children(void)
{
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return;
    pid_t self = getpid();
    for (const struct dirent *e = readdir(proc); e != NULL; e = readdir(proc)) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9' || parent_of(e->d_name) != self)
            continue;
        (void)kill((pid_t)strtol(e->d_name, NULL, 10), SIGKILL);
    }
    (void)closedir(proc);
}

/* False when there is no child left. */
static bool reap(void)
{
    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0 && errno == ECHILD)
            return false;
        if (pid <= 0)
            return true;
    }
}

void nursery_end_all(const struct nursery_worker *workers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void)kill(-workers[i].pid, SIGKILL);
        (void)kill(workers[i].pid, SIGKILL); /* it may not have its own session yet */
    }
    while (reap()) {
        kill_children();
        struct timespec pause = { 0, END_PAUSE_NS };
        (void)nanosleep(&pause, NULL); /* it has nothing else to do */
    }
}
