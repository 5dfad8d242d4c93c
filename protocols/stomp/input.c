/* Where frames come from: the fed view, or `kept` when a frame's start came
 * with an earlier feed (or the caller held).
 *
 * While a frame is in `kept`, bytes move there from the view in chunks until
 * the frame is complete; what was moved too much is given back to the view,
 * so that all other frames are read in place. */
#include "session.h"

#include "core/alloc.h"

#define CHUNK 512u

void stomp_input_release(struct stomp_input *in)
{
    if (in->given)
        sl_buf_consume(&in->kept, in->scan.pos);
    in->given = false;
}

void stomp_input_again(struct stomp_input *in)
{
    if (!in->given) {
        in->view.p -= in->scan.pos;
        in->view.n += in->scan.pos;
    }
    in->given = false;
    in->scan = (struct stomp_scan){ 0 };
}

static void move_to_kept(struct stomp_input *in, size_t n)
{
    int err = sl_buf_append(&in->kept, in->view.p, n);
    SL_ASSERT(err == SL_OK); /* no maximum: frames are limited by the scanner */
    in->view.p += n;
    in->view.n -= n;
}

void stomp_input_keep(struct stomp_input *in)
{
    stomp_input_release(in);
    if (in->view.n > 0)
        move_to_kept(in, in->view.n);
    in->borrowed = 0;
    in->view = SL_BYTES_NONE;
}

void stomp_input_drop(struct stomp_input *in)
{
    sl_buf_fini(&in->kept);
    *in = (struct stomp_input){0};
}

/* How much to move for the current frame: the rest of an announced body at
 * once, else a little. */
static size_t chunk_of(const struct stomp_input *in)
{
    const struct stomp_scan *sc = &in->scan;
    size_t want = CHUNK, have = sl_buf_len(&in->kept);
    if (sc->body > 0 && sc->has_length && sc->body + (size_t)sc->length + 1 > have)
        want = sc->body + (size_t)sc->length + 1 - have;
    return want < in->view.n ? want : in->view.n;
}

/* The frame in `kept` is complete: the view takes back what is its own. */
static void give_back(struct stomp_input *in, size_t size)
{
    size_t extra = sl_buf_len(&in->kept) - size;
    size_t back = extra < in->borrowed ? extra : in->borrowed;
    in->borrowed = 0;
    in->given = true;
    if (back == 0)
        return;
    in->kept.end -= back;
    in->view.p -= back;
    in->view.n += back;
}

static int frame_in_kept(struct stomp_input *in, const struct stomp_rules *r, struct sl_bytes *raw)
{
    for (;;) {
        *raw = sl_buf_view(&in->kept);
        int err = stomp_scan(&in->scan, r, *raw);
        if (err == SL_OK)
            give_back(in, in->scan.pos);
        if (err != SL_EMORE || in->view.n == 0)
            return err;
        size_t n = chunk_of(in);
        move_to_kept(in, n);
        in->borrowed += (uint32_t)n; /* at most the view, which is one read */
    }
}

static int frame_in_view(struct stomp_input *in, const struct stomp_rules *r, struct sl_bytes *raw)
{
    *raw = in->view;
    int err = stomp_scan(&in->scan, r, in->view);
    if (err == SL_OK) {
        in->view.p += in->scan.pos;
        in->view.n -= in->scan.pos;
    }
    if (err == SL_EMORE)
        stomp_input_keep(in);
    return err;
}

/* Half of an end-of-line or a frame's start: the next byte tells. */
static bool is_lone_cr(struct sl_bytes in)
{
    return in.n == 1 && in.p[0] == '\r';
}

/* End-of-lines between frames are heart-beats or habit. True when a frame may
 * start; its scan is then fresh. */
static bool at_frame(struct stomp_input *in)
{
    if (in->scan.pos > 0 && !in->scan.complete)
        return true;
    in->scan = (struct stomp_scan){0};
    in->borrowed = 0;
    sl_buf_consume(&in->kept, stomp_skip_eols(sl_buf_view(&in->kept)));
    if (is_lone_cr(sl_buf_view(&in->kept)) && in->view.n > 0) {
        move_to_kept(in, 1);
        sl_buf_consume(&in->kept, stomp_skip_eols(sl_buf_view(&in->kept)));
    }
    if (sl_buf_len(&in->kept) > 0)
        return true;
    size_t n = stomp_skip_eols(in->view);
    if (n > 0)
        in->view = sl_bytes_of(in->view.p + n, in->view.n - n);
    return in->view.n > 0;
}

int stomp_input_frame(struct stomp_input *in, const struct stomp_rules *r, struct sl_bytes *raw)
{
    stomp_input_release(in);
    if (!at_frame(in))
        return SL_EMORE;
    struct sl_bytes first = sl_buf_len(&in->kept) > 0 ? sl_buf_view(&in->kept) : in->view;
    if (in->scan.pos == 0 && is_lone_cr(first)) {
        stomp_input_keep(in);
        return SL_EMORE;
    }
    int err = sl_buf_len(&in->kept) > 0 ? frame_in_kept(in, r, raw) : frame_in_view(in, r, raw);
    if (err == SL_EPEER)
        *raw = sl_bytes_of(raw->p, in->scan.pos);
    return err;
}
