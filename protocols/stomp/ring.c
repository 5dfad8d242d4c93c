/* Answers in order: a FIFO of slots, four bytes each, and one of receipt ids.
 *
 *   slots   oldest ▶ [open, 3 bytes] [settled, 3 bytes] [open, none] ◀ newest
 *   text             r-1             r-2
 *
 * A slot's RECEIPT leaves when it is the oldest and settled. A frame that asks
 * for no receipt but is owed an answer holds a slot too: a later receipt waits
 * for it. Tokens are consecutive, so a token names its slot. */
#include "session.h"

#include "core/alloc.h"

#define SETTLED      1u
#define RECEIPT      2u
#define LAST         4u
#define LENGTH_SHIFT 3u

struct stomp_ring {
    uint32_t *slots; /* receipt length << 3 | flags */
    uint32_t cap, first, count;
    struct sl_buf text;
};

static uint32_t *slot_at(const struct stomp_ring *r, uint32_t i)
{
    return &r->slots[(r->first + i) & (r->cap - 1)];
}

/* There is one for each message: written at once, not header by header. */
static void put_receipt(struct stomp_session *s, struct sl_bytes id)
{
    static const char head[] = "RECEIPT\nreceipt-id:", tail[] = "\n\n";
    uint8_t *from = sl_buf_reserve(&s->out, sizeof head + 2 * id.n + sizeof tail);
    s->last_out_ms = s->now_ms;
    if (from == NULL) {
        stomp_close(s, "output_limit");
        return;
    }
    uint8_t *p = sl_wr_bytes(from, sl_bytes_of(head, sizeof head - 1));
    p = stomp_wr_escaped(p, (enum stomp_version)s->version, id);
    p = sl_wr_bytes(p, sl_bytes_of(tail, sizeof tail)); /* with its NUL */
    sl_buf_commit(&s->out, (size_t)(p - from));
}

static void let_out(struct stomp_session *s)
{
    struct stomp_ring *r = s->ring;
    while (r->count > 0 && s->state < STOMP_CLOSING) {
        uint32_t slot = *slot_at(r, 0);
        if ((slot & SETTLED) == 0)
            return;
        uint32_t n = slot >> LENGTH_SHIFT;
        r->first = (r->first + 1) & (r->cap - 1);
        r->count--;
        s->ring_first++;
        if ((slot & RECEIPT) != 0)
            put_receipt(s, sl_bytes_of(sl_buf_view(&r->text).p, n));
        if (s->state >= STOMP_CLOSING)
            return;
        sl_buf_consume(&r->text, n);
        if ((slot & LAST) != 0)
            stomp_close(s, "disconnect");
    }
}

static void grow(struct stomp_ring *r)
{
    uint32_t cap = r->cap == 0 ? 8 : r->cap * 2;
    uint32_t *slots = sl_calloc(cap, sizeof *slots);
    for (uint32_t i = 0; i < r->count; i++)
        slots[i] = *slot_at(r, i);
    sl_free(r->slots);
    r->slots = slots;
    r->cap = cap;
    r->first = 0;
}

static struct stomp_ring *ring_of(struct stomp_session *s)
{
    if (s->ring == NULL) {
        s->ring = SL_NEW(struct stomp_ring);
        sl_buf_init(&s->ring->text, STOMP_MAX_OWED_BYTES);
    }
    return s->ring;
}

static int push(struct stomp_session *s, const struct stomp_frame *f, uint32_t flags)
{
    struct stomp_ring *r = ring_of(s);
    struct sl_bytes id = SL_BYTES_NONE;
    if (stomp_has(f, STOMP_H_RECEIPT)) {
        id = f->own[STOMP_H_RECEIPT];
        flags |= RECEIPT;
    }
    if (r->count >= STOMP_MAX_OWED)
        return SL_EFULL;
    if (id.n > 0 && sl_buf_append_bytes(&r->text, id) != SL_OK)
        return SL_EFULL;
    if (r->count == r->cap)
        grow(r);
    r->count++;
    *slot_at(r, r->count - 1) = (uint32_t)id.n << LENGTH_SHIFT | flags;
    return SL_OK;
}

void stomp_ring_settled(struct stomp_session *s, const struct stomp_frame *f)
{
    if (!stomp_has(f, STOMP_H_RECEIPT))
        return;
    if (s->ring == NULL || s->ring->count == 0)
        put_receipt(s, f->own[STOMP_H_RECEIPT]);
    else if (push(s, f, SETTLED) != SL_OK)
        (void)stomp_fail_frame(s, STOMP_E_RECEIPTS_MANY, f, NULL);
}

static uint32_t open_slot(struct stomp_session *s, const struct stomp_frame *f, uint32_t flags)
{
    struct stomp_ring *r = ring_of(s);
    if (r->count == 0 && s->ring_first == 0)
        s->ring_first = 1;
    uint32_t token = s->ring_first + r->count;
    if (token == 0) { /* 0 means no answer: the count has gone round, skip a slot */
        static const struct stomp_frame nobody = {.present = 0};
        if (push(s, &nobody, SETTLED) != SL_OK)
            return 0;
        token = 1;
    }
    if (push(s, f, flags) != SL_OK)
        return 0;
    s->work->token = token;
    return token;
}

uint32_t stomp_ring_open(struct stomp_session *s, const struct stomp_frame *f)
{
    return open_slot(s, f, 0);
}

uint32_t stomp_ring_open_last(struct stomp_session *s, const struct stomp_frame *f)
{
    return open_slot(s, f, LAST);
}

bool stomp_ring_received(struct stomp_session *s, const struct stomp_frame *f)
{
    if (!stomp_has(f, STOMP_H_RECEIPT))
        return true;
    s->work->received = stomp_ring_open(s, f);
    s->work->token = 0; /* its event has none: nobody else answers it */
    return s->work->received != 0 || stomp_fail_frame(s, STOMP_E_RECEIPTS_MANY, f, NULL);
}

static uint32_t index_of(const struct stomp_session *s, uint32_t token)
{
    uint32_t i = token - s->ring_first;
    SL_ASSERT(s->ring != NULL && i < s->ring->count);
    SL_ASSERT((*slot_at(s->ring, i) & SETTLED) == 0);
    return i;
}

void stomp_ring_answer(struct stomp_session *s, uint32_t token)
{
    *slot_at(s->ring, index_of(s, token)) |= SETTLED;
    let_out(s);
}

bool stomp_ring_receipt(const struct stomp_session *s, uint32_t token, struct sl_bytes *receipt)
{
    const struct stomp_ring *r = s->ring;
    uint32_t at = index_of(s, token);
    size_t before = 0;
    for (uint32_t i = 0; i < at; i++)
        before += *slot_at(r, i) >> LENGTH_SHIFT;
    uint32_t slot = *slot_at(r, at);
    struct sl_bytes text = sl_buf_view(&r->text);
    *receipt = text.p == NULL ? text : sl_bytes_of(text.p + before, slot >> LENGTH_SHIFT);
    return (slot & RECEIPT) != 0;
}

bool stomp_ring_idle(const struct stomp_session *s)
{
    return s->ring != NULL && s->ring->count == 0;
}

void stomp_ring_free(struct stomp_session *s)
{
    if (s->ring == NULL)
        return;
    sl_buf_fini(&s->ring->text);
    sl_free(s->ring->slots);
    sl_free(s->ring);
    s->ring = NULL;
}
