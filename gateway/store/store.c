/* The front of the store: picks the engine, times what it does, and latches
 * an error that only a restart may clear: after a failed write or sync nobody
 * knows what is on the disk, and a repeated fsync may lie. */
#include "store/store.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#include "core/alloc.h"
#include "core/log.h"
#include "engine.h"

#define WHY_MAX 512u

static const struct store_engine *const k_engines[] = {
    &store_lmdb_engine,
    &store_memory_engine,
};

static const struct store_engine *engine_find(const char *name)
{
    for (size_t i = 0; i < SL_COUNT(k_engines); i++) {
        if (strcmp(k_engines[i]->name, name) == 0)
            return k_engines[i];
    }
    return NULL;
}

int store_because(struct sl_buf *why, int err, const char *fmt, ...)
{
    char text[WHY_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t kept = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    /* A sentence that does not fit its buffer is still better cut than a second error. */
    if (why != NULL && sl_buf_append(why, text, kept) != SL_OK)
        sl_log(SL_WARN, "store_reason_lost", "reason=\"%s\"", text);
    return err;
}

uint64_t store_mono_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

int store_open(const struct store_config *cfg, struct store **out, struct sl_buf *why)
{
    const struct store_engine *engine = engine_find(cfg->engine);
    if (engine == NULL)
        return store_because(why, SL_EINVAL, "there is no store engine \"%s\"", cfg->engine);
    struct store *st = SL_NEW(struct store);
    st->engine = engine;
    int err = engine->open(st, cfg, why);
    if (err != SL_OK) {
        sl_free(st);
        return err;
    }
    *out = st;
    return SL_OK;
}

void store_close(struct store *st)
{
    if (st == NULL)
        return;
    st->engine->close(st);
    sl_free(st);
}

uint64_t store_boot(const struct store *st)
{
    return st->boot;
}

struct sl_hash_key store_hash_key(const struct store *st)
{
    return st->hash_key;
}

int store_draw_hash_key(struct sl_hash_key *out)
{
    return getrandom(out, sizeof *out, 0) == (ssize_t)sizeof *out ? SL_OK : SL_ESYS;
}

bool store_is_instant(const struct store *st)
{
    return st->engine->instant;
}

static int latch(struct store *st, int err)
{
    if (err == SL_EIO && !atomic_exchange(&st->failed, true))
        sl_log(SL_ERROR, "store_failed", "engine=%s action=\"intake stops until the next start\"", st->engine->name);
    return err;
}

int store_queue_number(struct store *st, const char *name, uint32_t *number)
{
    if (atomic_load(&st->failed))
        return SL_EIO;
    return latch(st, st->engine->queue_number(st, name, number));
}

int store_load(struct store *st, const struct store_loader *l, struct sl_buf *why)
{
    if (atomic_load(&st->failed))
        return store_because(why, SL_EIO, "the store has failed");
    return latch(st, st->engine->load(st, l, why));
}

int store_apply(struct store *st, struct batch *b)
{
    if (atomic_load(&st->failed))
        return SL_EIO;
    uint64_t begin_us = store_mono_us();
    int err = b->live == 0 ? SL_OK : st->engine->apply(st, b);
    b->took_us = store_mono_us() - begin_us;
    return latch(st, err);
}

void store_fetch(struct store *st, struct batch_fetch *f)
{
    for (uint32_t i = 0; i < f->n; i++)
        f->msgs[i] = NULL;
    f->err = SL_EIO;
    if (!atomic_load(&st->failed))
        st->engine->fetch(st, f);
}

int store_history(struct store *st, uint32_t queue, uint64_t id, struct sl_buf *out)
{
    return st->engine->history(st, queue, id, out);
}

int store_info(struct store *st, struct store_info *out)
{
    return st->engine->info(st, out);
}
