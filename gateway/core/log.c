#include "core/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "core/times.h"

/* The one place of this room that reads a clock: a line's time is for people,
 * and nothing decides by it. */

#define LINE_MAX_BYTES 4096u
#define HEAD_MAX_BYTES 128u

static void to_stderr(void *arg, const char *line, size_t n)
{
    (void)arg;
    /* One call, so that lines of several threads and processes do not mix. What
     * stderr does not take is lost: there is nowhere to report it. */
    ssize_t written = write(STDERR_FILENO, line, n);
    (void)written;
}

/* Set before other threads start. */
static sl_log_sink log_sink = to_stderr;
static void *log_arg;
static enum sl_log_level log_least = SL_INFO;

void sl_log_to(sl_log_sink sink, void *arg, enum sl_log_level least)
{
    log_sink = sink;
    log_arg = arg;
    log_least = least;
}

static const char *level_name(enum sl_log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    return names[level];
}

static uint64_t wall_now_ms(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_REALTIME, &t) != 0 || t.tv_sec < 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* A line stays one line, whatever the caller was given. */
static void flatten(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c < 0x20 || c == 0x7f)
            p[i] = ' ';
    }
}

static size_t printed(int n, size_t room)
{
    return n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

static size_t write_head(char *line, size_t cap, enum sl_log_level level, const char *event)
{
    char stamp[32];
    int n = snprintf(line, cap, "%s %s %s", sl_time_format(wall_now_ms(), stamp, sizeof stamp),
                     level_name(level), event);
    return printed(n, cap);
}

void sl_log(enum sl_log_level level, const char *event, const char *fmt, ...)
{
    if (log_sink == NULL || level < log_least)
        return;
    char line[LINE_MAX_BYTES];
    size_t n = write_head(line, HEAD_MAX_BYTES, level, event);
    size_t room =
        sizeof line - n - 1; /* between the space and the newline, which takes the NUL's place */
    va_list args;
    va_start(args, fmt);
    int wanted = vsnprintf(line + n + 1, room, fmt, args);
    va_end(args);
    if (wanted > 0) {
        size_t took = printed(wanted, room);
        line[n] = ' ';
        n += 1 + took;
        if ((size_t)wanted > took && took >= 3)
            memcpy(line + n - 3, "...", 3);
    }
    flatten(line, n);
    line[n] = '\n';
    log_sink(log_arg, line, n + 1);
}

bool sl_log_allow(struct sl_log_limit *l, uint64_t mono_ms, uint32_t per_s)
{
    uint64_t second = mono_ms / 1000;
    if (second != l->second) {
        if (l->held > 0)
            sl_log(SL_WARN, "lines_held_back", "count=%" PRIu32, l->held);
        *l = (struct sl_log_limit){.second = second};
    }
    if (l->count < per_s) {
        l->count++;
        return true;
    }
    l->held++;
    return false;
}
