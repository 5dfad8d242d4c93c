/* Mode `exec`: one process per message. The payload is its stdin, the message
 * its environment, its exit the answer, its stdout the result. */
#include "mode.h"

#include <ctype.h>
#include <stdio.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "core/alloc.h"
#include "core/map.h"

#define ENV_MAX      (64u << 10) /* decision 45: all but the fixed ones together */
#define HEADER_MAX   256u /* longest name that is worth a variable */

static size_t exec_input_max(const struct pool_config *cfg)
{
    (void)cfg;
    return 64u << 10; /* every read is consumed at once */
}

static void exec_deliver(struct mode *m, const struct mode_delivery *d, struct sl_buf *out)
{
    (void)m;
    SL_ASSERT(sl_buf_append_bytes(out, message_payload(d->from->d->msg)) == SL_OK);
}

static int exec_next(struct mode *m, struct sl_bytes in, struct mode_answer *out, size_t *consumed)
{
    (void)m;
    if (in.n == 0)
        return SL_EMORE;
    *out = (struct mode_answer){ .kind = MODE_OUTPUT, .result = in };
    *consumed = in.n;
    return SL_OK;
}

const struct mode_ops mode_exec = {
    .name = "exec",
    .per_message = true,
    .input_max = exec_input_max,
    .deliver = exec_deliver,
    .next = exec_next,
};

enum mode_verdict mode_exec_verdict(int status)
{
    if (!WIFEXITED(status))
        return VERDICT_LOST;
    switch (WEXITSTATUS(status)) {
    case 0:
        return VERDICT_ACK;
    case EX_TEMPFAIL:
        return VERDICT_RETRY;
    case EX_DATAERR:
        return VERDICT_DEAD;
    default:
        return VERDICT_LOST;
    }
}

/* ---- environment ---- */

struct env {
    char **v;
    size_t n, cap;
    size_t bytes; /* of the strings that count towards ENV_MAX */
    bool truncated;
    struct sl_strmap headers; /* by variable name, which lives in the string */
};

static char **env_slot(struct env *e)
{
    if (e->n + 2 > e->cap) {
        e->cap = e->cap == 0 ? 32 : e->cap * 2;
        e->v = sl_realloc(e->v, e->cap * sizeof *e->v);
    }
    char **slot = &e->v[e->n++];
    e->v[e->n] = NULL;
    return slot;
}

/* A value with NUL cannot be in an environment and is left out. */
static bool env_put(struct env *e, const char *name, struct sl_bytes value)
{
    if (value.n > 0 && memchr(value.p, '\0', value.n) != NULL)
        return false;
    size_t n = strlen(name);
    char *s = sl_alloc(n + value.n + 2);
    memcpy(s, name, n);
    s[n] = '=';
    if (value.n > 0)
        memcpy(s + n + 1, value.p, value.n);
    s[n + 1 + value.n] = '\0';
    *env_slot(e) = s;
    return true;
}

/* One that counts; left out and told when it does not fit. */
static bool env_put_counted(struct env *e, const char *name, struct sl_bytes value)
{
    size_t bytes = strlen(name) + value.n + 2;
    if (e->truncated || bytes > ENV_MAX - e->bytes) {
        e->truncated = true;
        return false;
    }
    bool put = env_put(e, name, value);
    e->bytes += put ? bytes : 0;
    return put;
}

static void env_put_given(struct env *e, const char *name, struct sl_bytes value)
{
    if (value.n > 0)
        (void)env_put_counted(e, name, value);
}

/* "trace-id" → "SLUICE_HEADER_TRACE_ID"; the first of a name wins. */
static void env_header(struct env *e, const struct message_header *h)
{
    char name[sizeof "SLUICE_HEADER_" + HEADER_MAX] = "SLUICE_HEADER_";
    size_t at = strlen(name);
    if (h->name.n == 0 || h->name.n > HEADER_MAX)
        return;
    for (size_t i = 0; i < h->name.n; i++) {
        int c = h->name.p[i];
        name[at++] = c < 128 && isalnum(c) ? (char)toupper(c) : '_';
    }
    name[at] = '\0';
    if (sl_strmap_get(&e->headers, sl_bytes_of(name, at)) != NULL || !env_put_counted(e, name, h->value))
        return;
    char *string = e->v[e->n - 1];
    sl_strmap_put(&e->headers, sl_bytes_of(string, at), string);
}

/* All of them or none: "over 64 KiB in all they are left out". */
static void env_headers(struct env *e, struct sl_bytes record)
{
    size_t pos = 0, before = e->n;
    struct message_header h;
    while (!e->truncated && message_header_next(record, &pos, &h))
        env_header(e, &h);
    sl_strmap_fini(&e->headers);
    while (e->truncated && e->n > before) {
        sl_free(e->v[--e->n]);
        e->v[e->n] = NULL;
    }
}

char **mode_exec_env(const struct mode_delivery *d)
{
    const struct queue_delivery *q = d->from->d;
    struct message_parts m;
    struct env e = { 0 };
    char text[24];
    message_view(message_record(q->msg), &m);
    (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)m.id);
    (void)env_put(&e, "SLUICE_ID", sl_str(text));
    (void)env_put(&e, "SLUICE_QUEUE", sl_str(d->queue_name));
    (void)env_put(&e, "SLUICE_TOPIC", m.topic);
    (void)snprintf(text, sizeof text, "%u", (unsigned)q->attempt);
    (void)env_put(&e, "SLUICE_ATTEMPT", sl_str(text));
    (void)env_put(&e, "SLUICE_PROTOCOL", sl_str(message_protocol_name(m.protocol)));
    env_put_given(&e, "SLUICE_JOB_ID", m.job_id);
    env_put_given(&e, "SLUICE_CLIENT_ID", m.client_id);
    env_put_given(&e, "SLUICE_CONTENT_TYPE", m.content_type);
    env_put_given(&e, "SLUICE_REPLY_TO", m.reply_to);
    env_headers(&e, message_record(q->msg));
    if (e.truncated)
        (void)env_put(&e, "SLUICE_HEADERS_TRUNCATED", sl_str("1"));
    return e.v;
}

void mode_exec_env_free(char **env)
{
    for (size_t i = 0; env != NULL && env[i] != NULL; i++)
        sl_free(env[i]);
    sl_free(env);
}
