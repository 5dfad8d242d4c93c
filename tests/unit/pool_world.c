#include "pool_world.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "claims.h"
#include "core/log.h"
#include "hub/batch.h"

#define LATE_MS 20000u
#define TICK_MS 5u

static void keep_line(void *arg, const char *line, size_t n)
{
    struct pool_world *w = arg;
    assert_int_equal(sl_buf_append(&w->log, line, n), SL_OK);
}

/* ---- a store that keeps nothing but the history of failures ---- */

static void read_note(struct pool_world *w, const struct batch_note *note)
{
    size_t pos = 0;
    struct batch_failure f;
    while (batch_failure_next(sl_bytes_of(note->bytes, note->n), &pos, &f) == SL_OK)
        assert_int_equal(sl_buf_printf(&w->failures, "attempt=%u cause=%s detail=%.*s tail=%.*s\n", (unsigned)f.attempt,
                                       queue_cause_name(f.cause), (int)f.detail.n, (const char *)f.detail.p, (int)f.tail.n,
                                       (const char *)f.tail.p),
                         SL_OK);
}

static int apply(void *arg, struct batch *b)
{
    struct pool_world *w = arg;
    for (uint32_t i = 0; i < b->n; i++)
        if (b->ops[i].kind == BATCH_UPDATE && b->ops[i].note != NULL)
            read_note(w, b->ops[i].note);
    return SL_OK;
}

/* What the hub does not want at once it hands over: done by the next turn. */
static struct batch *submitted;

static void submit(void *arg, struct batch *b)
{
    (void)apply(arg, b);
    submitted = b;
}

static void apply_volatile(void *arg, struct batch *b)
{
    (void)apply(arg, b);
}

static void fetch(void *arg, struct batch_fetch *f)
{
    (void)arg;
    (void)f;
    fail_msg("nothing is evicted here");
}

/* ---- turns ---- */

static void turn_begin(void *arg)
{
    struct pool_world *w = arg;
    w->touched = true;
    if (w->in_turn)
        return;
    w->in_turn = true;
    struct sl_now now = sl_clock_advance(&w->clock, uv_hrtime() / 1000, uv_hrtime() / 1000000 + 1700000000000u);
    hub_begin(w->hub, &now);
}

static void end_turn(struct pool_world *w)
{
    while (w->in_turn && w->touched) {
        w->touched = false;
        if (submitted != NULL) {
            struct batch *b = submitted;
            submitted = NULL;
            hub_committed(w->hub, b, SL_OK);
        }
        hub_lease(w->hub);
        hub_end(w->hub);
        if (w->pools != NULL)
            pools_flush(w->pools);
        w->touched |= submitted != NULL;
    }
    w->in_turn = false;
}

static void on_prepare(uv_prepare_t *handle)
{
    end_turn(handle->data);
}

static void on_tick(uv_timer_t *timer)
{
    turn_begin(timer->data); /* due retries and limits */
}

/* ---- the nursery ---- */

static void on_locked(void *arg, int err)
{
    (void)arg;
    (void)err;
}

static void on_dead(void *arg)
{
    struct pool_world *w = arg;
    w->nursery_died = true;
}

/* ---- opening and closing ---- */

static void open_hub(struct pool_world *w)
{
    struct hub_config cfg = {
        .boot = 1,
        .seed = 1,
        .memory_bytes = 1u << 30,
        .max_sessions = 10,
        .store = { .arg = w, .submit = submit, .apply_here = apply, .fetch = fetch, .apply_volatile = apply_volatile },
    };
    static const struct queue_config queue = {
        .name = "q",
        .number = 1,
        .durable = true,
        .max_messages = 100000,
        .max_bytes = 1u << 30,
        .max_attempts = 2,
        .retry_initial_ms = 1,
        .retry_max_ms = 1,
        .retry_factor = 1,
        .dead_max_messages = 1000,
    };
    w->hub = hub_new(&cfg);
    w->queue = hub_add_queue(w->hub, &queue);
    assert_int_equal(hub_add_route(w->hub, "in/#", w->queue), SL_OK);
}

void world_open(struct pool_world *w)
{
    *w = (struct pool_world){ 0 };
    sl_log_to(keep_line, w, SL_INFO);
    assert_int_equal(nursery_fork(&(struct nursery_config){ 0 }, &w->nursery), SL_OK);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    struct nursery_events events = { w, on_locked, on_dead };
    assert_int_equal(nursery_attach(w->nursery, &w->loop, &events), SL_OK);
    open_hub(w);
    w->pools = pools_new(&(struct pools_setup){ &w->loop, w->hub, w->nursery, { w, turn_begin, turn_begin } });
    uv_prepare_init(&w->loop, &w->prepare);
    uv_timer_init(&w->loop, &w->tick);
    w->prepare.data = w->tick.data = w;
    uv_prepare_start(&w->prepare, on_prepare);
    uv_timer_start(&w->tick, on_tick, TICK_MS, TICK_MS);
}

static void on_drained(void *arg)
{
    struct pool_world *w = arg;
    w->drained = true;
}

static bool is_drained(struct pool_world *w, uint64_t arg)
{
    (void)arg;
    return w->drained;
}

static void on_closed(void *arg)
{
    struct pool_world *w = arg;
    w->closed = true;
}

void world_drain(struct pool_world *w, uint64_t timeout_ms)
{
    pools_drain(w->pools, timeout_ms, on_drained, w);
    world_wait(w, is_drained, 0);
}

void world_close(struct pool_world *w)
{
    if (!w->drained)
        world_drain(w, 0);
    end_turn(w);
    assert_true(pools_idle(w->pools));
    pools_free(w->pools);
    nursery_close(w->nursery, on_closed, w);
    uv_close((uv_handle_t *)&w->prepare, NULL);
    uv_close((uv_handle_t *)&w->tick, NULL);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_true(w->closed);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    hub_free(w->hub);
    sl_log_to(NULL, NULL, SL_INFO);
    sl_buf_fini(&w->log);
    sl_buf_fini(&w->failures);
}

/* ---- use ---- */

struct pool_config world_pool(const struct pool_world *w, const char *const *command)
{
    return (struct pool_config){
        .name = "p",
        .queue = w->queue,
        .queue_name = "q",
        .node = "n",
        .command = command,
        .workers = 1,
        .prefetch = 8,
        .concurrency = 1,
        .time_limit_ms = 60000,
        .grace_ms = 100,
        .restart_initial_ms = 1,
        .restart_factor = 2,
        .restart_max_ms = 50,
        .max_message = 1u << 20,
        .max_result = 1u << 20,
    };
}

void world_start(struct pool_world *w, const struct pool_config *cfg)
{
    assert_int_equal(pools_add(w->pools, cfg), SL_OK);
    pools_start(w->pools);
}

void world_publish(struct pool_world *w, const char *topic, struct sl_bytes payload)
{
    turn_begin(w);
    struct message_parts m = { .protocol = MESSAGE_MQTT3, .qos = 1, .priority = 4, .topic = sl_str(topic), .payload = payload };
    assert_int_equal(hub_publish(w->hub, &m), SL_OK);
}

static void on_late(uv_timer_t *timer)
{
    struct pool_world *w = timer->data;
    w->late = true;
}

void world_wait(struct pool_world *w, bool (*until)(struct pool_world *w, uint64_t arg), uint64_t arg)
{
    uv_timer_t late;
    uv_timer_init(&w->loop, &late);
    late.data = w;
    w->late = false;
    uv_timer_start(&late, on_late, w->patience_ms > 0 ? w->patience_ms : LATE_MS, 0);
    while (!until(w, arg) && !w->late)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    bool was_late = w->late;
    uv_close((uv_handle_t *)&late, NULL);
    (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    if (was_late)
        fail_msg("it did not happen; the log says:\n%.*s", (int)sl_buf_len(&w->log), (const char *)w->log.p);
}

struct wanted {
    const char *text;
    size_t times;
};

static bool was_logged(struct pool_world *w, uint64_t arg)
{
    const struct wanted *want = (const struct wanted *)(uintptr_t)arg;
    return world_logged(w, want->text) >= want->times;
}

void world_wait_log(struct pool_world *w, const char *text, size_t times)
{
    struct wanted want = { text, times };
    world_wait(w, was_logged, (uint64_t)(uintptr_t)&want);
}

static size_t count(const struct sl_buf *b, const char *text)
{
    size_t n = strlen(text), found = 0;
    struct sl_bytes in = sl_buf_view(b);
    for (size_t i = 0; i + n <= in.n; i++)
        found += memcmp(in.p + i, text, n) == 0;
    return found;
}

size_t world_logged(const struct pool_world *w, const char *text)
{
    return count(&w->log, text);
}

bool world_failed_with(const struct pool_world *w, const char *text)
{
    return count(&w->failures, text) > 0;
}

bool world_delivered(struct pool_world *w, uint64_t n)
{
    return world_counters(w)->delivered >= n;
}

bool world_nursery_died(struct pool_world *w, uint64_t unused)
{
    (void)unused;
    return w->nursery_died;
}

const struct queue_counters *world_counters(struct pool_world *w)
{
    return queue_counters(hub_queue(w->hub, w->queue));
}

bool world_acked(struct pool_world *w, uint64_t n)
{
    return world_counters(w)->acked >= n;
}

bool world_dead(struct pool_world *w, uint64_t n)
{
    return world_counters(w)->dead >= n;
}

size_t world_open_fds(pid_t pid)
{
    char path[40];
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    size_t n = 0;
    while (readdir(dir) != NULL)
        n++;
    (void)closedir(dir);
    return n;
}

size_t world_children(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = 0;
    int child;
    while (fscanf(f, "%d", &child) == 1)
        n++;
    (void)fclose(f);
    return n;
}

size_t world_rss(pid_t pid)
{
    char path[40];
    size_t size, resident = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%zu %zu", &size, &resident), 2);
    (void)fclose(f);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}
