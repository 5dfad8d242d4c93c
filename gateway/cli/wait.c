#include "wait.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

int cli_signals_open(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void cli_signals_take(int fd)
{
    struct signalfd_siginfo info;
    (void)!read(fd, &info, sizeof info);
}

int64_t cli_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

uint64_t cli_clock_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int patience(int64_t deadline_ms)
{
    if (deadline_ms == CLI_NO_DEADLINE)
        return -1;
    int64_t left = deadline_ms - cli_now_ms();
    return left <= 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
}

static short wanted(const struct cli_waits *w)
{
    return (short)((w->receive ? POLLIN : 0) | (w->send ? POLLOUT : 0));
}

unsigned cli_wait(const struct cli_waits *w)
{
    int64_t until = w->wake_ms < w->deadline_ms ? w->wake_ms : w->deadline_ms;
    struct pollfd fds[] = {
        { w->signals, POLLIN, 0 },
        { wanted(w) != 0 ? w->events : -1, wanted(w), 0 },
        { w->input, POLLIN, 0 },
        { w->output, w->write ? POLLOUT : 0, 0 }, /* POLLERR comes unasked */
    };
    unsigned ready = 0;
    if (poll(fds, 4, patience(until)) < 0)
        return 0; /* EINTR: a debugger, or SIGCONT */
    if (fds[0].revents != 0)
        ready |= CLI_READY_SIGNAL;
    if (fds[1].revents != 0)
        ready |= CLI_READY_EVENTS;
    if (fds[2].revents != 0)
        ready |= CLI_READY_INPUT;
    if ((fds[3].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
        ready |= CLI_READY_OUTPUT_GONE;
    else if (fds[3].revents != 0)
        ready |= CLI_READY_OUTPUT;
    if (w->deadline_ms != CLI_NO_DEADLINE && cli_now_ms() >= w->deadline_ms)
        ready |= CLI_READY_TIMEOUT;
    return ready;
}
