#include "core/bytes.h"

#include <stdarg.h>
#include <stdio.h>

#include "core/alloc.h"

#define BUF_FIRST_CAP 64u

int sl_bytes_u64(struct sl_bytes in, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (in.n == 0)
        return SL_EINVAL;
    for (size_t i = 0; i < in.n; i++) {
        unsigned digit = (unsigned)in.p[i] - '0';
        if (digit > 9 || v > max / 10 || digit > max - v * 10)
            return SL_EINVAL;
        v = v * 10 + digit;
    }
    *out = v;
    return SL_OK;
}

void sl_buf_init(struct sl_buf *b, size_t max)
{
    *b = (struct sl_buf){.max = max};
}

void sl_buf_fini(struct sl_buf *b)
{
    sl_free(b->p);
    sl_buf_init(b, b->max);
}

static void buf_to_front(struct sl_buf *b)
{
    size_t len = sl_buf_len(b);
    memmove(b->p, b->p + b->start, len);
    b->start = 0;
    b->end = len;
}

static void buf_grow(struct sl_buf *b, size_t cap)
{
    size_t len = sl_buf_len(b);
    if (b->start == 0) {
        b->p = sl_realloc(b->p, cap);
    } else {
        uint8_t *p = sl_alloc(cap);
        memcpy(p, b->p + b->start, len);
        sl_free(b->p);
        b->p = p;
    }
    b->start = 0;
    b->end = len;
    b->cap = cap;
}

/* Moves the content only when at least as much room comes free as is moved, so
 * that a byte is moved a constant number of times; at the maximum always. */
static void buf_fit(struct sl_buf *b, size_t need, size_t limit)
{
    size_t doubled = b->cap > limit / 2 ? limit : b->cap * 2;
    size_t cap = need > doubled ? need : doubled;
    if (cap < BUF_FIRST_CAP && BUF_FIRST_CAP <= limit)
        cap = BUF_FIRST_CAP;
    if (b->p != NULL && need <= b->cap && (b->start >= sl_buf_len(b) || cap <= b->cap))
        buf_to_front(b);
    else
        buf_grow(b, cap);
}

uint8_t *sl_buf_make_room(struct sl_buf *b, size_t n)
{
    size_t limit = b->max > 0 ? b->max : SIZE_MAX;
    size_t len = sl_buf_len(b);
    if (n > limit - len)
        return NULL;
    if (b->p == NULL || n > b->cap - b->end)
        buf_fit(b, len + n, limit);
    return b->p + b->end;
}

int sl_buf_append(struct sl_buf *b, const void *p, size_t n)
{
    uint8_t *to = sl_buf_reserve(b, n);
    if (to == NULL)
        return SL_ETOOBIG;
    if (n > 0)
        memcpy(to, p, n);
    b->end += n;
    return SL_OK;
}

int sl_buf_append_bytes(struct sl_buf *b, struct sl_bytes v)
{
    return sl_buf_append(b, v.p, v.n);
}

SL_PRINTF(3, 0) static int buf_print_long(struct sl_buf *b, size_t n, const char *fmt, va_list args)
{
    char *text = sl_alloc(n + 1);
    (void)vsnprintf(text, n + 1, fmt, args);
    int err = sl_buf_append(b, text, n);
    sl_free(text);
    return err;
}

/* Prints beside the buffer first: its room has no place for printf's NUL when
 * the text fits the maximum exactly. */
int sl_buf_printf(struct sl_buf *b, const char *fmt, ...)
{
    char text[512];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(text, sizeof text, fmt, args);
    int err = SL_EINVAL;
    if (n >= 0 && (size_t)n < sizeof text)
        err = sl_buf_append(b, text, (size_t)n);
    else if (n >= 0)
        err = buf_print_long(b, (size_t)n, fmt, again);
    va_end(again);
    va_end(args);
    return err;
}
