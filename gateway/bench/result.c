/* What the generator tells: a line a second while it runs, the findings at the end. */
#include <stdio.h>

#include "load.h"

static const char *const phase_names[] = {
    "connecting", "warming", "measuring", "finishing", "settling", "over",
};

uint64_t result_seen(const struct ledger_seat *s)
{
    return s->received - s->repeated - s->failed;
}

void result_progress(struct load *l, uint64_t now)
{
    if (l->told_ns == 0)
        l->told_ns = now;
    if (l->o.quiet || now - l->told_ns < UINT64_C(1000000000))
        return;
    struct ledger_seat seen = { 0 };
    double seconds = (double)(now - l->told_ns) / 1e9;
    if (l->ledger != NULL)
        ledger_sum(l->ledger, &seen);
    fprintf(stderr,
            "%5.0f s %-10s answered %9.0f/s  p50 %.2f p99 %.2f max %.2f ms  unanswered %llu  "
            "refused %llu",
            (double)(now - l->began_ns) / 1e9, phase_names[l->phase],
            (double)(l->counts.answered - l->told_answered) / seconds,
            (double)histogram_quantile(&l->latency, 0.5) / 1e6,
            (double)histogram_quantile(&l->latency, 0.99) / 1e6, (double)l->latency.max / 1e6,
            (unsigned long long)(l->counts.sent - l->counts.answered - l->counts.refused),
            (unsigned long long)l->counts.refused);
    if (l->ledger != NULL)
        fprintf(stderr, "  worked %9.0f/s  behind %lld",
                (double)(result_seen(&seen) - l->told_seen) / seconds,
                (long long)(l->counts.answered - result_seen(&seen)));
    fputc('\n', stderr);
    l->told_ns = now;
    l->told_answered = l->counts.answered;
    l->told_seen = result_seen(&seen);
}

void result_begin(struct load *l, uint64_t now)
{
    memset(&l->latency, 0, sizeof l->latency);
    memset(&l->lateness, 0, sizeof l->lateness);
    if (l->ledger != NULL) {
        ledger_sum(l->ledger, &l->seen_base);
        ledger_measure_from(l->ledger, now);
    }
    l->base = l->counts;
    l->measured_from_ns = now;
    l->cpu_from_us = cpu_us();
}

void result_end(struct load *l, uint64_t now)
{
    l->cpu_to_us = cpu_us();
    l->measured_to_ns = now;
    l->measured_answers = l->counts.answered - l->base.answered;
    struct ledger_seat seen;
    if (l->ledger == NULL)
        return;
    ledger_sum(l->ledger, &seen);
    l->seen_measured = result_seen(&seen) - result_seen(&l->seen_base);
}

void result_judge(struct load *l, struct ledger_verdict *v)
{
    uint64_t *sent = sl_calloc(l->o.connections, sizeof *sent);
    for (uint32_t i = 0; i < l->o.connections; i++)
        sent[i] = l->links[i].sent;
    ledger_judge(l->ledger, sent, v);
    sl_free(sent);
}

struct findings {
    double seconds, per_second, own_us, connect_s, seen_per_second, drain_s;
    uint64_t answered;
    struct histogram seen_latency;
    struct ledger_verdict verdict;
};

/* In a run of so many messages the end is the last answer, else the clock. */
static void find(struct load *l, struct findings *f)
{
    memset(f, 0, sizeof *f);
    f->connect_s = l->connected_ns == 0 ? 0 : (double)(l->connected_ns - l->began_ns) / 1e9;
    f->seconds = (double)(l->measured_to_ns - l->measured_from_ns) / 1e9;
    f->answered = l->counts.answered - l->base.answered; /* the last ones after its end */
    uint64_t within = l->measured_answers;
    if (f->seconds > 0)
        f->per_second = (double)within / f->seconds;
    if (within > 0)
        f->own_us = (double)(l->cpu_to_us - l->cpu_from_us) / (double)within;
    if (l->ledger == NULL)
        return;
    if (f->seconds > 0)
        f->seen_per_second = (double)l->seen_measured / f->seconds;
    if (l->seen_end.last_ns > l->measured_to_ns && l->measured_to_ns > 0)
        f->drain_s = (double)(l->seen_end.last_ns - l->measured_to_ns) / 1e9;
    f->seen_latency = l->seen_end.latency;
    result_judge(l, &f->verdict);
}

static unsigned long long ull(uint64_t v)
{
    return v;
}

static int print_consumers(const struct load *l, const struct findings *f, struct sl_buf *out)
{
    const struct ledger_seat *s = &l->seen_end;
    const struct ledger_verdict *v = &f->verdict;
    int err = sl_buf_printf(
        out,
        ",\"consumers\":{\"received\":%llu,\"per_second\":%.0f,\"lost\":%llu,\"repeated\":%llu,"
        "\"redelivered\":%llu,\"out_of_order\":%llu,\"failed\":%llu,\"unanswered_but_seen\":%llu,"
        "\"untracked\":%llu,\"drain_seconds\":%.3f,\"worked_seconds\":%.3f,\"latency_us\":",
        ull(s->received), f->seen_per_second, ull(v->lost), ull(s->repeated), ull(s->redelivered),
        ull(s->out_of_order), ull(s->failed), ull(v->unanswered), ull(s->untracked), f->drain_s,
        (double)(s->last_ns - s->first_ns) / 1e9);
    if (err == SL_OK)
        err = histogram_print_json(&f->seen_latency, out);
    return err == SL_OK ? sl_buf_append(out, "}", 1) : err;
}

static int print_json(const struct load *l, const struct findings *f, struct sl_buf *out)
{
    const struct load_options *o = &l->o;
    int err = sl_buf_printf(
        out,
        "{\"protocol\":\"%s\",\"qos\":%u,\"connections\":%u,\"connected\":%u,\"connect_seconds\":%."
        "3f,"
        "\"window\":%u,\"rate\":%llu,\"payload\":%u,\"topics\":%u,\"seconds\":%.3f,\"sent\":%llu,"
        "\"answered\":%llu,\"answered_in_all\":%llu,\"refused\":%llu,\"unanswered\":%llu,"
        "\"faults\":%llu,\"per_second\":%.0f,"
        "\"generator_us_per_message\":%.3f,\"latency_us\":",
        o->driver->name, o->target.qos, o->connections, o->connections - l->gone, f->connect_s,
        o->window, ull(o->rate), o->target.payload_bytes, o->target.n_topics, f->seconds,
        ull(l->counts.sent - l->base.sent), ull(f->answered), ull(l->counts.answered),
        ull(l->counts.refused - l->base.refused),
        ull(l->counts.sent - l->counts.answered - l->counts.refused), ull(l->counts.faults),
        f->per_second, f->own_us);
    if (err == SL_OK)
        err = histogram_print_json(&l->latency, out);
    if (err == SL_OK && o->rate > 0)
        err = sl_buf_printf(out, ",\"lateness_us\":");
    if (err == SL_OK && o->rate > 0)
        err = histogram_print_json(&l->lateness, out);
    if (err == SL_OK && l->ledger != NULL)
        err = print_consumers(l, f, out);
    return err == SL_OK ? sl_buf_append(out, "}\n", 2) : err;
}

static void print_times(const char *what, const struct histogram *h)
{
    printf("%-22s p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  p99.99 %.3f  max %.3f ms\n", what,
           (double)histogram_quantile(h, 0.5) / 1e6, (double)histogram_quantile(h, 0.9) / 1e6,
           (double)histogram_quantile(h, 0.99) / 1e6, (double)histogram_quantile(h, 0.999) / 1e6,
           (double)histogram_quantile(h, 0.9999) / 1e6, (double)h->max / 1e6);
}

static void print_text(const struct load *l, const struct findings *f)
{
    const struct ledger_seat *s = &l->seen_end;
    printf("%s  %u connections  %.2f s  %llu answered  %.0f messages/s  %llu refused  generator "
           "%.2f us/message\n",
           l->o.driver->summary, l->o.connections - l->gone, f->seconds, ull(f->answered),
           f->per_second, ull(l->counts.refused - l->base.refused), f->own_us);
    print_times(l->o.rate > 0 ? "meant to answered" : "sent to answered", &l->latency);
    if (l->o.rate > 0)
        print_times("generator's lateness", &l->lateness);
    if (l->ledger == NULL)
        return;
    print_times("sent to worked", &f->seen_latency);
    printf("consumers: %llu received, %.0f/s, %llu lost, %llu repeated, %llu redelivered, %llu out "
           "of order, %.2f s to drain\n",
           ull(s->received), f->seen_per_second, ull(f->verdict.lost), ull(s->repeated),
           ull(s->redelivered), ull(s->out_of_order), f->drain_s);
}

int result_print(struct load *l)
{
    struct findings *f = SL_NEW(struct findings);
    struct sl_buf line = { 0 };
    find(l, f);
    if (l->o.json && print_json(l, f, &line) == SL_OK)
        fwrite(line.p, 1, line.end, stdout);
    else if (!l->o.json && l->o.idle_ns == 0)
        print_text(l, f);
    uint64_t missing = l->counts.sent - l->counts.answered - l->counts.refused;
    if (l->counts.faults > 0)
        fprintf(stderr, "sluice bench: %llu connections broke; the latest: %s\n",
                ull(l->counts.faults), l->last_fault);
    if (missing > 0)
        fprintf(stderr, "sluice bench: %llu messages were never answered\n", ull(missing));
    if (l->counts.refused > 0)
        fprintf(stderr, "sluice bench: the latest refusal has reason 0x%02X\n", l->last_code);
    bool good = l->counts.faults == 0 && missing == 0 && f->verdict.lost == 0;
    sl_buf_fini(&line);
    sl_free(f);
    return good ? 0 : 1;
}
