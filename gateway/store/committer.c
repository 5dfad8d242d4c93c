/* The commit thread.
 *
 *   loop ── submit, fetch ──▶ [todo] ──▶ thread: apply, fetch ──▶ [done] ── uv_async ──▶ loop: callbacks
 *
 * One mutex guards both hand-over places and nothing else; a batch or fetch
 * belongs to exactly one side at a time. The thread takes a batch first, then
 * one fetch, so that neither starves the other. uv_async coalesces, therefore
 * the loop empties the whole done list at each wake-up.
 *
 * An instant engine (memory) keeps references to messages, whose counters
 * belong to the loop: there the work is done at once on the loop's thread and
 * only the callback comes later. */
#include "store/committer.h"

#include "core/alloc.h"
#include "core/log.h"
#include "engine.h"

struct fetches {
    struct batch_fetch **items;
    uint32_t n, cap;
};

struct committer {
    struct store *st;
    struct committer_callbacks cb;
    uv_async_t async;
    uv_thread_t thread;
    bool has_thread;
    bool busy; /* loop only: a batch was submitted and its callback has not begun */

    uv_mutex_t mutex; /* guards all below */
    uv_cond_t work;
    bool stopping;
    struct batch *todo;
    struct fetches to_fetch;
    struct batch *done;
    int done_err;
    struct fetches fetched;
};

static void fetches_add(struct fetches *f, struct batch_fetch *item)
{
    if (f->n == f->cap) {
        f->cap = f->cap == 0 ? 8 : f->cap * 2;
        f->items = sl_realloc(f->items, f->cap * sizeof(struct batch_fetch *));
    }
    f->items[f->n++] = item;
}

static struct batch_fetch *fetches_take_first(struct fetches *f)
{
    if (f->n == 0)
        return NULL;
    struct batch_fetch *first = f->items[0];
    f->n--;
    memmove(f->items, f->items + 1, f->n * sizeof(struct batch_fetch *));
    return first;
}

/* ---- the thread ---- */

/* Waits for work; false when there is none left and the committer stops. */
static bool take_work(struct committer *c, struct batch **b, struct batch_fetch **f)
{
    uv_mutex_lock(&c->mutex);
    while (c->todo == NULL && c->to_fetch.n == 0 && !c->stopping)
        uv_cond_wait(&c->work, &c->mutex);
    *b = c->todo;
    *f = fetches_take_first(&c->to_fetch);
    c->todo = NULL;
    uv_mutex_unlock(&c->mutex);
    return *b != NULL || *f != NULL;
}

static void give_batch(struct committer *c, struct batch *b, int err)
{
    uv_mutex_lock(&c->mutex);
    c->done = b;
    c->done_err = err;
    uv_mutex_unlock(&c->mutex);
    uv_async_send(&c->async);
}

static void give_fetch(struct committer *c, struct batch_fetch *f)
{
    uv_mutex_lock(&c->mutex);
    fetches_add(&c->fetched, f);
    uv_mutex_unlock(&c->mutex);
    uv_async_send(&c->async);
}

static void run(void *arg)
{
    struct committer *c = arg;
    struct batch *b;
    struct batch_fetch *f;
    while (take_work(c, &b, &f)) {
        if (b != NULL)
            give_batch(c, b, store_apply(c->st, b));
        if (f == NULL)
            continue;
        store_fetch(c->st, f);
        give_fetch(c, f);
    }
}

/* ---- the loop's side ---- */

static void on_async(uv_async_t *handle)
{
    struct committer *c = handle->data;
    uv_mutex_lock(&c->mutex);
    struct batch *b = c->done;
    int err = c->done_err;
    struct fetches fetched = c->fetched;
    c->done = NULL;
    c->fetched = (struct fetches){ 0 };
    uv_mutex_unlock(&c->mutex);
    if (b != NULL) {
        c->busy = false; /* the callback may submit the next one */
        c->cb.committed(c->cb.arg, b, err);
    }
    for (uint32_t i = 0; i < fetched.n; i++)
        c->cb.fetched(c->cb.arg, fetched.items[i]);
    sl_free(fetched.items);
}

static void committer_free(struct committer *c)
{
    uv_cond_destroy(&c->work);
    uv_mutex_destroy(&c->mutex);
    sl_free(c->to_fetch.items);
    sl_free(c->fetched.items);
    sl_free(c);
}

static void on_closed(uv_handle_t *handle)
{
    committer_free(handle->data);
}

int committer_start(struct store *st, uv_loop_t *loop, const struct committer_callbacks *cb, struct committer **out)
{
    struct committer *c = SL_NEW(struct committer);
    c->st = st;
    c->cb = *cb;
    c->async.data = c;
    if (uv_mutex_init(&c->mutex) != 0) {
        sl_free(c);
        return SL_ESYS;
    }
    if (uv_cond_init(&c->work) != 0) {
        uv_mutex_destroy(&c->mutex);
        sl_free(c);
        return SL_ESYS;
    }
    if (uv_async_init(loop, &c->async, on_async) != 0) {
        committer_free(c);
        return SL_ESYS;
    }
    if (!store_is_instant(st) && uv_thread_create(&c->thread, run, c) != 0) {
        uv_close((uv_handle_t *)&c->async, on_closed);
        return SL_ESYS;
    }
    c->has_thread = !store_is_instant(st);
    *out = c;
    return SL_OK;
}

void committer_submit(struct committer *c, struct batch *b)
{
    SL_ASSERT(!c->busy);
    c->busy = true;
    if (!c->has_thread) {
        give_batch(c, b, store_apply(c->st, b));
        return;
    }
    uv_mutex_lock(&c->mutex);
    c->todo = b;
    uv_cond_signal(&c->work);
    uv_mutex_unlock(&c->mutex);
}

void committer_fetch(struct committer *c, struct batch_fetch *f)
{
    if (!c->has_thread) {
        store_fetch(c->st, f);
        give_fetch(c, f);
        return;
    }
    uv_mutex_lock(&c->mutex);
    fetches_add(&c->to_fetch, f);
    uv_cond_signal(&c->work);
    uv_mutex_unlock(&c->mutex);
}

int committer_apply_here(struct committer *c, struct batch *b)
{
    SL_ASSERT(!c->busy);
    return store_apply(c->st, b);
}

bool committer_busy(const struct committer *c)
{
    return c->busy;
}

void committer_stop(struct committer *c)
{
    if (c->has_thread) {
        uv_mutex_lock(&c->mutex);
        c->stopping = true;
        uv_cond_signal(&c->work);
        uv_mutex_unlock(&c->mutex);
        uv_thread_join(&c->thread);
        c->has_thread = false;
    }
    uv_close((uv_handle_t *)&c->async, on_closed);
}
