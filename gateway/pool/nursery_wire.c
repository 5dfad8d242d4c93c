#include "nursery_wire.h"

#include "core/alloc.h"

enum { FLAG_NO_NEW_PRIVS = 1, FLAG_OOM_SCORE = 2 };

static int put_u32(struct sl_buf *out, uint32_t v)
{
    uint8_t b[4];
    (void)sl_wr_u32le(b, v);
    return sl_buf_append(out, b, sizeof b);
}

static int put_u64(struct sl_buf *out, uint64_t v)
{
    uint8_t b[8];
    (void)sl_wr_u64le(b, v);
    return sl_buf_append(out, b, sizeof b);
}

/* Length with the NUL, the bytes, the NUL; length 0: NULL. */
static int put_text(struct sl_buf *out, const char *s)
{
    size_t n = s == NULL ? 0 : strlen(s) + 1;
    if (n > NURSERY_ORDER_MAX)
        return SL_ETOOBIG;
    int err = put_u32(out, (uint32_t)n);
    if (err == SL_OK && n > 0)
        err = sl_buf_append(out, s, n);
    return err;
}

static size_t list_length(const char *const *list)
{
    size_t n = 0;
    while (list != NULL && list[n] != NULL)
        n++;
    return n;
}

static int put_lists(struct sl_buf *out, const char *const *a, const char *const *b)
{
    size_t na = list_length(a), nb = list_length(b);
    int err = put_u32(out, (uint32_t)(na + nb));
    for (size_t i = 0; err == SL_OK && i < na + nb; i++)
        err = put_text(out, i < na ? a[i] : b[i - na]);
    return err;
}

static int put_numbers(struct sl_buf *out, const struct nursery_spawn *s)
{
    int err = put_u64(out, s->token);
    if (err == SL_OK)
        err = put_u32(out, (uint32_t)s->nice);
    if (err == SL_OK)
        err = put_u32(out, (s->no_new_privs ? FLAG_NO_NEW_PRIVS : 0) | (s->has_oom_score_adj ? FLAG_OOM_SCORE : 0));
    if (err == SL_OK)
        err = put_u32(out, (uint32_t)s->oom_score_adj);
    if (err == SL_OK)
        err = put_u32(out, (uint32_t)s->n_fds);
    for (size_t i = 0; err == SL_OK && i < s->n_fds; i++)
        err = put_u32(out, (uint32_t)s->fds[i].number);
    if (err == SL_OK)
        err = put_u32(out, (uint32_t)s->n_rlimits);
    for (size_t i = 0; err == SL_OK && i < s->n_rlimits; i++) {
        err = put_u32(out, (uint32_t)s->rlimits[i].resource);
        if (err == SL_OK)
            err = put_u64(out, s->rlimits[i].value);
    }
    return err;
}

int nursery_spawn_encode(struct sl_buf *out, const struct nursery_spawn *s)
{
    uint8_t kind = ORDER_SPAWN;
    int err = sl_buf_append(out, &kind, 1);
    if (err == SL_OK)
        err = put_numbers(out, s);
    if (err == SL_OK)
        err = put_lists(out, s->argv, NULL);
    if (err == SL_OK)
        err = put_lists(out, s->env, s->more_env);
    if (err == SL_OK)
        err = put_text(out, s->cwd);
    if (err == SL_OK)
        err = put_text(out, s->user);
    if (err == SL_OK)
        err = put_text(out, s->group);
    if (err == SL_OK && sl_buf_len(out) > NURSERY_ORDER_MAX)
        err = SL_ETOOBIG;
    return err;
}

static const char *get_text(struct sl_reader *r)
{
    uint32_t n = sl_rd_u32le(r);
    if (n == 0)
        return NULL;
    struct sl_bytes text = sl_rd_bytes(r, n);
    if (text.n == 0 || text.p[text.n - 1] != '\0') {
        r->bad = true;
        return NULL;
    }
    return (const char *)text.p;
}

static char **get_list(struct sl_reader *r)
{
    uint32_t n = sl_rd_u32le(r);
    if (n > sl_reader_left(r) / 5) /* length, one NUL */
        r->bad = true;
    size_t count = r->bad ? 0 : n;
    char **list = sl_calloc(count + 1, sizeof *list);
    for (size_t i = 0; i < count; i++) {
        list[i] = (char *)(uintptr_t)get_text(r); /* execve's type; nobody writes */
        if (list[i] == NULL)
            r->bad = true;
    }
    return list;
}

static void get_numbers(struct sl_reader *r, struct nursery_spawn_order *o)
{
    o->token = sl_rd_u64le(r);
    o->nice = (int)sl_rd_u32le(r);
    uint32_t flags = sl_rd_u32le(r);
    o->no_new_privs = (flags & FLAG_NO_NEW_PRIVS) != 0;
    o->has_oom_score_adj = (flags & FLAG_OOM_SCORE) != 0;
    o->oom_score_adj = (int)sl_rd_u32le(r);
    o->n_fds = sl_rd_u32le(r);
    if (o->n_fds > NURSERY_FDS_MAX)
        r->bad = true;
    for (size_t i = 0; !r->bad && i < o->n_fds; i++) {
        uint32_t number = sl_rd_u32le(r);
        if (number > NURSERY_NUMBER_MAX)
            r->bad = true;
        o->numbers[i] = (int)number;
    }
    o->n_rlimits = sl_rd_u32le(r);
    if (o->n_rlimits > NURSERY_RLIMITS_MAX)
        r->bad = true;
    for (size_t i = 0; !r->bad && i < o->n_rlimits; i++) {
        o->rlimits[i].resource = (int)sl_rd_u32le(r);
        o->rlimits[i].value = sl_rd_u64le(r);
    }
}

int nursery_spawn_decode(struct sl_reader *r, struct nursery_spawn_order *out)
{
    *out = (struct nursery_spawn_order){ 0 };
    get_numbers(r, out);
    out->argv = get_list(r);
    out->env = get_list(r);
    out->cwd = get_text(r);
    out->user = get_text(r);
    out->group = get_text(r);
    if (r->bad || sl_reader_left(r) > 0 || out->argv[0] == NULL) {
        nursery_spawn_order_fini(out);
        return SL_EPEER;
    }
    return SL_OK;
}

void nursery_spawn_order_fini(struct nursery_spawn_order *o)
{
    sl_free(o->argv);
    sl_free(o->env);
    o->argv = o->env = NULL;
}

size_t nursery_report_encode(uint8_t out[NURSERY_REPORT_BYTES_MAX], const struct nursery_report *r)
{
    uint8_t *p = sl_wr_u8(out, (uint8_t)r->kind);
    p = sl_wr_u64le(p, r->token);
    p = sl_wr_u32le(p, (uint32_t)r->error);
    p = sl_wr_u32le(p, (uint32_t)r->exit.pid);
    p = sl_wr_u32le(p, (uint32_t)r->exit.status);
    p = sl_wr_u64le(p, r->exit.user_us);
    p = sl_wr_u64le(p, r->exit.system_us);
    p = sl_wr_u64le(p, r->exit.max_rss_bytes);
    p = sl_wr_bytes(p, sl_bytes_of(r->stage, strnlen(r->stage, NURSERY_STAGE_MAX - 1)));
    return (size_t)(p - out);
}

int nursery_report_decode(struct sl_bytes in, struct nursery_report *out)
{
    struct sl_reader r = sl_reader_of(in);
    struct nursery_report got = { .kind = (enum nursery_report_kind)sl_rd_u8(&r) };
    got.token = sl_rd_u64le(&r);
    got.error = (int)sl_rd_u32le(&r);
    got.exit.pid = (pid_t)sl_rd_u32le(&r);
    got.exit.status = (int)sl_rd_u32le(&r);
    got.exit.user_us = sl_rd_u64le(&r);
    got.exit.system_us = sl_rd_u64le(&r);
    got.exit.max_rss_bytes = sl_rd_u64le(&r);
    struct sl_bytes stage = sl_rd_bytes(&r, sl_reader_left(&r));
    if (r.bad || got.kind < REPORT_LOCKED || got.kind > REPORT_REFUSED || stage.n >= NURSERY_STAGE_MAX)
        return SL_EPEER;
    memcpy(got.stage, stage.p, stage.n);
    *out = got;
    return SL_OK;
}
