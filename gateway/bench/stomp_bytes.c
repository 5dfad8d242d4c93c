#include "stomp_bytes.h"

#include "bench/driver.h"

#define HEAD_MAX 65536u

/* Cuts one line off *in; false: there is no whole one. */
static bool take_line(struct sl_bytes *in, struct sl_bytes *line)
{
    const uint8_t *end = in->n == 0 ? NULL : memchr(in->p, '\n', in->n);
    if (end == NULL)
        return false;
    *line = sl_bytes_of(in->p, (size_t)(end - in->p));
    *in = sl_bytes_of(end + 1, in->n - line->n - 1);
    if (line->n > 0 && line->p[line->n - 1] == '\r')
        line->n--;
    return true;
}

bool bstomp_frame_header(const struct bstomp_frame *f, const char *name, struct sl_bytes *value)
{
    size_t n = strlen(name);
    struct sl_bytes rest = f->headers, line;
    while (take_line(&rest, &line)) {
        if (line.n > n && line.p[n] == ':' && memcmp(line.p, name, n) == 0) {
            *value = sl_bytes_of(line.p + n + 1, line.n - n - 1);
            return true;
        }
    }
    return false;
}

static int take_body(struct bstomp_frame *f, struct sl_bytes rest)
{
    struct sl_bytes v;
    uint64_t length;
    if (bstomp_frame_header(f, "content-length", &v)) {
        if (sl_bytes_u64(v, UINT32_MAX, &length) != SL_OK)
            return SL_EPEER;
        if (rest.n <= length)
            return SL_EMORE;
        f->body = sl_bytes_of(rest.p, (size_t)length);
        return rest.p[length] == 0 ? SL_OK : SL_EPEER;
    }
    const uint8_t *end = rest.n == 0 ? NULL : memchr(rest.p, 0, rest.n);
    if (end == NULL)
        return SL_EMORE;
    f->body = sl_bytes_of(rest.p, (size_t)(end - rest.p));
    return SL_OK;
}

int bstomp_frame_next(struct sl_bytes in, struct bstomp_frame *out)
{
    struct sl_bytes rest = in, line;
    struct bstomp_frame f = { 0 };
    if (!take_line(&rest, &f.command))
        return in.n > HEAD_MAX ? SL_EPEER : SL_EMORE;
    if (f.command.n == 0) {
        *out = (struct bstomp_frame){ .bytes = in.n - rest.n };
        return SL_OK;
    }
    f.headers.p = rest.p;
    do {
        if (!take_line(&rest, &line))
            return in.n > HEAD_MAX ? SL_EPEER : SL_EMORE;
        if (line.n > 0)
            f.headers.n = (size_t)(rest.p - f.headers.p);
    } while (line.n > 0);
    int err = take_body(&f, rest);
    if (err != SL_OK)
        return err;
    f.bytes = (size_t)(rest.p - in.p) + f.body.n + 1;
    *out = f;
    return SL_OK;
}

/* By hand: there is one for each message, and printf would cost more than all else. */
int bstomp_put_answer(struct sl_buf *out, const char *command, struct sl_bytes id)
{
    struct sl_bytes name = sl_str(command);
    uint8_t *p = sl_buf_reserve(out, name.n + id.n + 8);
    if (p == NULL)
        return SL_ETOOBIG;
    uint8_t *end = sl_wr_bytes(sl_wr_bytes(p, name), sl_str("\nid:"));
    end = sl_wr_bytes(sl_wr_bytes(end, id), sl_bytes_of("\n\n", 3));
    sl_buf_commit(out, (size_t)(end - p));
    return SL_OK;
}

int bstomp_put_connect(struct sl_buf *out, const struct bench_target *t)
{
    int err = sl_buf_printf(out, "CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,0\n");
    if (err == SL_OK && t->user != NULL)
        err = sl_buf_printf(out, "login:%s\npasscode:%s\n", t->user,
                            t->password == NULL ? "" : t->password);
    return err == SL_OK ? sl_buf_append(out, "\n", 2) : err;
}
