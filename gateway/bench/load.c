/* The generator's loop and its phases. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "load.h"
#include "modes.h"

#define EVENTS         256
#define SECOND_NS      UINT64_C(1000000000)
#define PACE_STEP_NS   UINT64_C(50000) /* the open loop looks up at most this often */
#define SETTLE_POLL_NS UINT64_C(5000000)

static volatile sig_atomic_t stopped;

static void on_signal(int signal)
{
    (void)signal;
    stopped = stopped == 0 ? 1 : 2;
}

/* ---- templates ---- */

static int make_template(const struct load_options *o, uint32_t i, struct sl_bytes payload,
                         struct bench_template *out)
{
    struct sl_buf topic = { 0 };
    int err = o->target.n_topics == 1 ? sl_buf_printf(&topic, "%s", o->target.topic)
                                      : sl_buf_printf(&topic, "%s/%u", o->target.topic, i);
    if (err == SL_OK)
        err = o->driver->message(&o->target, sl_buf_view(&topic), payload, out);
    sl_buf_fini(&topic);
    return err;
}

/* Filled with letters: a text protocol may look at it. */
static int make_templates(struct load *l)
{
    uint8_t *payload = sl_alloc(l->o.target.payload_bytes);
    for (uint32_t i = 0; i < l->o.target.payload_bytes; i++)
        payload[i] = (uint8_t)('a' + i % 26);
    l->templates = sl_calloc(l->o.target.n_topics, sizeof *l->templates);
    int err = SL_OK;
    for (uint32_t i = 0; i < l->o.target.n_topics && err == SL_OK; i++)
        err = make_template(&l->o, i, sl_bytes_of(payload, l->o.target.payload_bytes),
                            &l->templates[i]);
    sl_free(payload);
    return err;
}

/* ---- life ---- */

static int load_init(struct load *l)
{
    if (getrandom(&l->run, sizeof l->run, 0) != sizeof l->run)
        return SL_ESYS;
    l->run |= 1; /* 0 means none */
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->to_send = l->o.messages > 0 ? l->o.messages : UINT64_MAX;
    l->ns_per_message = l->o.rate > 0 ? 1e9 / (double)l->o.rate : 0.0;
    l->links = sl_calloc(l->o.connections, sizeof *l->links);
    for (uint32_t i = 0; i < l->o.connections; i++) {
        l->links[i].number = i;
        l->links[i].fd = -1;
    }
    dial_raise_limit();
    int err = dial_resolve(l->o.target.address, l->o.driver->port, &l->dial);
    if (err == SL_OK)
        err = make_templates(l);
    if (err == SL_OK && l->o.ledger != NULL)
        err = ledger_create(l->o.ledger, l->run, l->o.connections, &l->ledger);
    return err;
}

static void load_fini(struct load *l)
{
    for (uint32_t i = 0; l->links != NULL && i < l->o.connections; i++) {
        link_close(l, &l->links[i]);
        sl_free(l->links[i].slots);
    }
    for (uint32_t i = 0; l->templates != NULL && i < l->o.target.n_topics; i++)
        sl_buf_fini(&l->templates[i].bytes);
    sl_free(l->templates);
    sl_free(l->links);
    ledger_free(l->ledger);
    close(l->epoll);
}

/* ---- phases ---- */

static void enter(struct load *l, enum load_phase phase, uint64_t now)
{
    if (phase == MEASURING)
        result_begin(l, now);
    if (l->phase == MEASURING)
        result_end(l, now);
    l->phase = phase;
    l->phase_ns = now;
}

static void fill_all(struct load *l, uint64_t now)
{
    for (uint32_t i = 0; i < l->o.connections; i++)
        link_fill(l, &l->links[i], now);
}

static void open_more(struct load *l)
{
    while (l->opened < l->o.connections && l->connecting < l->o.connecting) {
        struct link *k = &l->links[l->opened++];
        if (link_open(l, k) != SL_OK) {
            l->counts.faults++;
            l->last_fault = strerror(errno);
            l->gone++;
            link_close(l, k);
        }
    }
}

static void connecting(struct load *l, uint64_t now)
{
    open_more(l);
    if (l->ready + l->gone < l->o.connections)
        return;
    l->connected_ns = now;
    if (!l->o.quiet)
        fprintf(stderr, "%u connected in %.3f s, %u failed\n", l->ready,
                (double)(now - l->began_ns) / 1e9, l->gone);
    if (l->ready == 0) {
        enter(l, OVER, now);
        return;
    }
    l->pace_start_ns = now;
    enter(l, l->o.idle_ns > 0 ? FINISHING : l->o.warmup_ns > 0 ? WARMING : MEASURING, now);
    fill_all(l, now);
}

static uint64_t unanswered(const struct load *l)
{
    return l->counts.sent - l->counts.answered - l->counts.refused;
}

static void finishing(struct load *l, uint64_t now)
{
    uint64_t wait = l->o.idle_ns > 0 ? l->o.idle_ns : l->o.answers_ns;
    bool all = l->o.idle_ns == 0 && unanswered(l) == 0;
    if (all || l->ready == 0 || now - l->phase_ns >= wait || (stopped && l->o.idle_ns > 0))
        enter(l, l->ledger != NULL && l->o.idle_ns == 0 ? SETTLING : OVER, now);
}

static void measuring(struct load *l, uint64_t now)
{
    if (stopped || l->ready == 0)
        enter(l, FINISHING, now);
    else if (l->o.messages > 0 && l->to_send == 0 && unanswered(l) == 0)
        enter(l, FINISHING, now);
    else if (l->o.messages == 0 && now - l->phase_ns >= l->o.seconds_ns)
        enter(l, FINISHING, now);
}

/* Some of what was seen may never have been answered: then only the bits can tell. */
static bool all_seen(struct load *l, const struct ledger_seat *sum)
{
    struct ledger_verdict v;
    if (result_seen(sum) < l->counts.answered)
        return false;
    result_judge(l, &v);
    return v.lost == 0;
}

/* Over when the consumers have seen all that was answered, or nothing new for a while. */
static void settling(struct load *l, uint64_t now)
{
    struct ledger_seat sum;
    ledger_sum(l->ledger, &sum);
    if (result_seen(&sum) != result_seen(&l->seen_end))
        l->phase_ns = now;
    l->seen_end = sum;
    if (all_seen(l, &sum) || now - l->phase_ns >= l->o.settle_ns || stopped > 1)
        enter(l, OVER, now);
}

static void step(struct load *l, uint64_t now)
{
    switch (l->phase) {
    case CONNECTING:
        connecting(l, now);
        break;
    case WARMING:
        if (now - l->phase_ns >= l->o.warmup_ns || stopped)
            enter(l, MEASURING, now);
        break;
    case MEASURING:
        measuring(l, now);
        break;
    case FINISHING:
        finishing(l, now);
        break;
    case SETTLING:
        settling(l, now);
        break;
    case OVER:
        break;
    }
}

/* ---- loop ---- */

/* The open loop: whoever has a message due sends it, and all that is due goes
 * out in one write per link. */
static void pace(struct load *l, uint64_t now)
{
    if (l->o.rate == 0 || (l->phase != WARMING && l->phase != MEASURING))
        return;
    uint64_t due = pace_due(l->pace_start_ns, now, l->ns_per_message);
    if (due == l->paced)
        return;
    uint64_t first = l->paced, fresh = due - first;
    l->paced = due;
    if (fresh > l->o.connections)
        fresh = l->o.connections;
    for (uint64_t m = first; m < first + fresh; m++) {
        struct link *k = &l->links[m % l->o.connections];
        k->due = (due - 1 - k->number) / l->o.connections + 1;
        link_fill(l, k, now);
    }
}

static uint64_t wait_ns(const struct load *l)
{
    if (l->phase == SETTLING)
        return SETTLE_POLL_NS;
    if (l->o.rate == 0 || l->phase == CONNECTING || l->phase == FINISHING)
        return SECOND_NS / 100;
    return l->ns_per_message > (double)PACE_STEP_NS ? (uint64_t)l->ns_per_message : PACE_STEP_NS;
}

static void turn(struct load *l)
{
    struct epoll_event events[EVENTS];
    uint64_t wait = wait_ns(l);
    struct timespec t = { (time_t)(wait / SECOND_NS), (long)(wait % SECOND_NS) };
    int n = epoll_pwait2(l->epoll, events, EVENTS, &t, NULL);
    for (int i = 0; i < n; i++)
        link_on_events(l, events[i].data.ptr, events[i].events);
    uint64_t now = clock_ns();
    pace(l, now);
    step(l, now);
    result_progress(l, now);
}

int mode_load(const struct bench_drivers *drivers, int argc, char **argv)
{
    struct load *l = SL_NEW(struct load);
    int status = load_options_take(drivers, argc, argv, &l->o);
    if (status >= 0) {
        sl_free(l);
        return status;
    }
    struct sigaction stop = { .sa_handler = on_signal };
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    int err = load_init(l);
    l->began_ns = clock_ns();
    if (err == SL_OK) {
        while (l->phase != OVER)
            turn(l);
        status = result_print(l);
    } else {
        fprintf(stderr, "sluice bench: %s\n", sl_err_text(err));
        status = 2;
    }
    load_fini(l);
    sl_free(l);
    return status;
}
