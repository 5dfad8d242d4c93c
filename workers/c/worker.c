/* What comes in besides messages, and stopping. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "internal.h"

/* ---- stopping ---- */

/* The worker that SIGTERM stops: the process's first open one. */
static struct sluice_worker *_Atomic sigterm_worker;

void sluice_worker_stop(struct sluice_worker *w)
{
    int saved = errno;
    uint64_t one = 1;
    atomic_store(&w->stopping, true);
    ssize_t n = write(w->stop_fd, &one, sizeof one); /* fails only when it is set already */
    (void)n;
    errno = saved;
}

static void on_sigterm(int sig)
{
    (void)sig;
    struct sluice_worker *w = atomic_load(&sigterm_worker);
    if (w != NULL)
        sluice_worker_stop(w);
}

void take_sigterm(struct sluice_worker *w)
{
    struct sluice_worker *nobody = NULL;
    if (!atomic_compare_exchange_strong(&sigterm_worker, &nobody, w))
        return;
    struct sigaction on = { .sa_handler = on_sigterm, .sa_flags = SA_RESTART };
    (void)sigemptyset(&on.sa_mask);
    w->restore_sigterm = sigaction(SIGTERM, &on, &w->old_sigterm) == 0;
}

void give_sigterm_back(struct sluice_worker *w)
{
    if (w->restore_sigterm)
        (void)sigaction(SIGTERM, &w->old_sigterm, NULL);
    struct sluice_worker *me = w;
    (void)atomic_compare_exchange_strong(&sigterm_worker, &me, NULL);
}

/* ---- frames that come in ---- */

static void note_state(struct sluice_worker *w, uint64_t tag, unsigned state)
{
    for (size_t i = 0; w->holding && i < w->batch.n; i++)
        if (w->batch.messages[i].tag == tag)
            w->batch.messages[i].state |= state;
    for (struct sluice_worker_message *m = w->copies; m != NULL; m = m->next)
        if (m->tag == tag && m->connection == w->connection)
            m->state |= state;
}

static int fail_with(int err, struct sl_bytes words)
{
    char text[WIRE_REASON_MAX + 1];
    (void)snprintf(text, sizeof text, "%.*s", (int)words.n, (const char *)words.p);
    return worker_fail(err, text);
}

static int refused(const struct wire_error_text *f)
{
    if (f->code == WIRE_ERROR_DENIED)
        return fail_with(SLUICE_WORKER_EDENIED, f->text);
    return fail_with(f->code == WIRE_ERROR_STORE ? SLUICE_WORKER_ESTORE : SLUICE_WORKER_EREFUSED,
                     f->text);
}

/* STALE is no refusal: the program itself gave another answer than ack. */
static void take_published(struct sluice_worker *w, const struct wire_published_answer *f)
{
    w->unheard += f->code == WIRE_PUBLISHED_NOBODY;
    if (f->ref == w->awaited_ref) {
        w->awaited_code = f->code;
        (void)fail_with(SLUICE_WORKER_OK, f->detail);
        return;
    }
    if (f->code != WIRE_PUBLISHED_STORED && f->code != WIRE_PUBLISHED_NOBODY &&
        f->code != WIRE_PUBLISHED_STALE)
        w->refused++;
}

int worker_take_control(struct sluice_worker *w, const struct wire_frame *f)
{
    if (f->type == WIRE_ERROR)
        return refused(&f->u.error);
    if (f->type == WIRE_DRAIN) {
        w->draining = true;
    } else if (f->type == WIRE_STALE) {
        w->stale++;
        note_state(w, f->u.tag, SLUICE_WORKER_STALE);
    } else if (f->type == WIRE_SOFT_LIMIT) {
        note_state(w, f->u.tag, SLUICE_WORKER_SOFT_LIMIT);
    } else if (f->type == WIRE_PUBLISHED) {
        take_published(w, &f->u.published);
    }
    return SLUICE_WORKER_OK;
}

static int look_through(struct sluice_worker *w)
{
    for (;;) {
        struct wire_frame f;
        size_t bytes;
        int err = stream_frame(w, w->in.checked, &f, &bytes);
        if (err != SLUICE_WORKER_OK || bytes == 0)
            return err;
        w->in.checked += bytes;
        if (f.type != WIRE_DELIVER && (err = worker_take_control(w, &f)) != SLUICE_WORKER_OK)
            return err;
    }
}

int worker_look(struct sluice_worker *w, bool *got)
{
    int err = stream_read(w, got);
    if (err == SLUICE_WORKER_OK)
        err = look_through(w);
    if (err != SLUICE_WORKER_OK)
        w->broken = err;
    return err;
}

/* ---- for the program ---- */

static int look_for(struct sluice_worker *w, unsigned own, unsigned *state)
{
    *state = own | (w->draining || worker_stopping(w) ? SLUICE_WORKER_STOPPING : 0u);
    return SLUICE_WORKER_OK;
}

int sluice_worker_check(struct sluice_worker_message *m, unsigned *state)
{
    struct sluice_worker *w = m->worker;
    if (m->connection != w->connection)
        return look_for(w, m->state | SLUICE_WORKER_STALE, state);
    bool got;
    int err = w->broken != SLUICE_WORKER_OK ? w->broken : worker_look(w, &got);
    return err == SLUICE_WORKER_OK ? look_for(w, m->state, state) : err;
}

int sluice_worker_batch_check(struct sluice_worker_batch *b, unsigned *state)
{
    struct sluice_worker *w = b->worker;
    bool got;
    int err = w->broken != SLUICE_WORKER_OK ? w->broken : worker_look(w, &got);
    unsigned all = 0;
    for (size_t i = 0; i < b->n; i++)
        all |= b->messages[i].state;
    return err == SLUICE_WORKER_OK ? look_for(w, all, state) : err;
}

int sluice_worker_flush(struct sluice_worker *w)
{
    return w->broken != SLUICE_WORKER_OK ? w->broken : stream_flush(w);
}
