/* A turn: what one iteration of the loop read becomes one round of leases, one
 * batch and one write per peer.
 *
 * Callbacks begin the turn when they have something for the hub; it ends before
 * the loop would wait (prepare) and after it has polled (check). A timerfd
 * wakes the loop for the hub's deadlines, which are finer than milliseconds. */
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "gateway.h"

static uint64_t clock_us(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

struct sl_now gateway_now(struct gateway *g)
{
    return sl_clock_advance(&g->clock, clock_us(CLOCK_MONOTONIC), clock_us(CLOCK_REALTIME) / 1000);
}

void gateway_begin(void *arg)
{
    struct gateway *g = arg;
    g->touched = true;
    if (g->in_turn)
        return;
    g->in_turn = true;
    struct sl_now now = gateway_now(g);
    g->turn_began_us = now.mono_us;
    hub_begin(g->hub, &now);
}

/* An armed timer that fires early is harmless; only an earlier deadline needs
 * the system call. */
static void arm_deadline(struct gateway *g)
{
    uint64_t at = hub_deadline_us(g->hub);
    if (at == UINT64_MAX || (g->deadline_us != 0 && g->deadline_us <= at))
        return;
    g->deadline_us = at == 0 ? 1 : at;
    struct itimerspec when = {
        .it_value = { .tv_sec = (time_t)(g->deadline_us / 1000000u), .tv_nsec = (long)(g->deadline_us % 1000000u) * 1000 },
    };
    timerfd_settime(g->deadline_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void end_turn(struct gateway *g)
{
    if (!g->in_turn)
        return;
    do {
        g->touched = false;
        hub_lease(g->hub);
        pools_flush(g->pools); /* first: workers work while the loop syncs */
        hub_end(g->hub);
        net_flush(g->net);
        pools_flush(g->pools);
    } while (g->touched); /* a write that failed told the hub of its peer's end */
    g->in_turn = false;
    sl_histogram_add(&g->turn_us, clock_us(CLOCK_MONOTONIC) - g->turn_began_us);
    arm_deadline(g);
    stop_step(g);
}

static void on_prepare(uv_prepare_t *handle)
{
    end_turn(handle->data);
}

static void on_check(uv_check_t *handle)
{
    end_turn(handle->data);
}

static void on_deadline(uv_poll_t *handle, int status, int events)
{
    struct gateway *g = handle->data;
    uint64_t expired;
    (void)status;
    (void)events;
    if (read(g->deadline_fd, &expired, sizeof expired) == (ssize_t)sizeof expired)
        g->deadline_us = 0;
    gateway_begin(g);
}

int gateway_turns_start(struct gateway *g)
{
    g->deadline_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (g->deadline_fd < 0)
        return SL_ESYS;
    uv_prepare_init(&g->loop, &g->prepare);
    uv_check_init(&g->loop, &g->check);
    uv_poll_init(&g->loop, &g->deadline, g->deadline_fd);
    g->prepare.data = g->check.data = g->deadline.data = g;
    uv_prepare_start(&g->prepare, on_prepare);
    uv_check_start(&g->check, on_check);
    uv_poll_start(&g->deadline, UV_READABLE, on_deadline);
    return SL_OK;
}

void gateway_turns_stop(struct gateway *g)
{
    uv_close((uv_handle_t *)&g->prepare, NULL);
    uv_close((uv_handle_t *)&g->check, NULL);
    uv_close((uv_handle_t *)&g->deadline, NULL);
}
