/* The handler styles: next, handler, verdict, until drained; an external worker again after that. */
#include <stdio.h>

#include "internal.h"

/* One of the two handlers. */
struct program {
    sluice_worker_handler *each;
    sluice_worker_batch_handler *many;
    uint32_t max;
    int wait_ms;
    void *arg;
};

/* A message that the handler answered has had its answer. */
static int give_verdict(struct sluice_worker_message *m, enum sluice_worker_verdict verdict)
{
    if (m->answered || m->copied)
        return SLUICE_WORKER_OK;
    switch (verdict) {
    case SLUICE_WORKER_ACK:
        return sluice_worker_ack(m);
    case SLUICE_WORKER_RELEASE:
        return sluice_worker_release(m);
    case SLUICE_WORKER_DEAD:
        return sluice_worker_dead(m, NULL);
    case SLUICE_WORKER_RETRY:
    case SLUICE_WORKER_ANSWERED: /* it was not: the same as forgotten */
        break;
    }
    return sluice_worker_retry(m, WIRE_DELAY_BY_QUEUE, NULL);
}

static int give_batch_verdict(struct sluice_worker_batch *b, enum sluice_worker_verdict verdict)
{
    switch (verdict) {
    case SLUICE_WORKER_ACK:
        return sluice_worker_batch_ack(b);
    case SLUICE_WORKER_RELEASE:
        return sluice_worker_batch_release(b);
    case SLUICE_WORKER_DEAD:
        return sluice_worker_batch_dead(b, NULL);
    case SLUICE_WORKER_RETRY:
    case SLUICE_WORKER_ANSWERED:
        break;
    }
    return sluice_worker_batch_retry(b, WIRE_DELAY_BY_QUEUE, NULL);
}

static int serve_one(struct sluice_worker *w, const struct program *p)
{
    struct sluice_worker_message *m;
    int err = sluice_worker_next(w, &m);
    return err == SLUICE_WORKER_OK ? give_verdict(m, p->each(m, p->arg)) : err;
}

static int serve_many(struct sluice_worker *w, const struct program *p)
{
    struct sluice_worker_batch *b;
    int err = sluice_worker_next_batch(w, p->max, p->wait_ms, &b);
    return err == SLUICE_WORKER_OK ? give_batch_verdict(b, p->many(b, p->arg)) : err;
}

static int run(struct sluice_worker *w, const struct program *p)
{
    for (;;) {
        int err = p->each != NULL ? serve_one(w, p) : serve_many(w, p);
        if (err == SLUICE_WORKER_OK)
            continue;
        if (!worker_may_reconnect(w, err))
            return err;
        err = sluice_worker_reconnect(w);
        if (err != SLUICE_WORKER_OK)
            return err;
    }
}

int sluice_worker_run(struct sluice_worker *w, sluice_worker_handler *handler, void *arg)
{
    return run(w, &(struct program){ .each = handler, .arg = arg });
}

int sluice_worker_run_batches(struct sluice_worker *w, uint32_t max, int wait_ms,
                              sluice_worker_batch_handler *handler, void *arg)
{
    return run(w, &(struct program){ .many = handler, .max = max, .wait_ms = wait_ms, .arg = arg });
}

static int run_program(const struct program *p)
{
    struct sluice_worker *w;
    int err = sluice_worker_open(&(struct sluice_worker_options){ .patient = true, .gathers = p->many != NULL }, &w);
    if (err == SLUICE_WORKER_OK) {
        err = run(w, p);
        sluice_worker_close(w);
    }
    if (err == SLUICE_WORKER_DRAINED)
        return 0;
    (void)fprintf(stderr, "sluice worker: %s (%s)\n", sluice_worker_error_text(err),
                  sluice_worker_detail());
    return err == SLUICE_WORKER_ENOFD ? 2 : 1;
}

int sluice_worker_main(sluice_worker_handler *handler, void *arg)
{
    return run_program(&(struct program){ .each = handler, .arg = arg });
}

int sluice_worker_main_batches(uint32_t max, int wait_ms, sluice_worker_batch_handler *handler,
                               void *arg)
{
    return run_program(
        &(struct program){ .many = handler, .max = max, .wait_ms = wait_ms, .arg = arg });
}
