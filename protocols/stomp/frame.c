/* The scanner: finds the end of a frame without looking at a byte again.
 *
 *   COMMAND ──▶ HEADER ──▶ HEADER … ──▶ (blank line) ──▶ COUNTED or OPEN
 *
 * Every step either goes on (SL_EAGAIN), needs more bytes, ends the frame or
 * finds a fault. What a step finds depends on the bytes alone, never on how
 * they were split: searches stop at the limit, not at the end of the input. */
#include "stomp/frame.h"

#include "core/utf8.h"

enum scan_state { SCAN_COMMAND, SCAN_HEADER, SCAN_COUNTED, SCAN_OPEN };

static int fault(struct stomp_scan *sc, enum stomp_fault f)
{
    sc->fault = (uint8_t)f;
    return SL_EPEER;
}

size_t stomp_skip_eols(struct sl_bytes in)
{
    size_t n = 0;
    while (n < in.n) {
        if (in.p[n] == '\n')
            n++;
        else if (in.p[n] == '\r' && in.n - n > 1 && in.p[n + 1] == '\n')
            n += 2;
        else
            break;
    }
    return n;
}

struct line_rule {
    size_t max;
    enum stomp_fault too_long, nul;
};

#define EVERY_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Not 0 when a byte is below 0x20 or above 0x7f, or a backslash; a borrow may tell too much, never too little. */
static inline uint64_t odd_bytes(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    uint64_t low = word - EVERY_BYTE(0x20), backslash = (word ^ EVERY_BYTE('\\')) - EVERY_BYTE(1);
    return (word | low | backslash) & EVERY_BYTE(0x80);
}

/* True when nothing needs a second look: printable ASCII without a backslash. False tells nothing. */
static inline bool is_plain(struct sl_bytes in)
{
    uint64_t odd = 0;
    if (in.n < 8) {
        for (size_t i = 0; i < in.n; i++)
            odd |= (uint64_t)(in.p[i] < 0x20 || in.p[i] > 0x7f || in.p[i] == '\\');
        return odd == 0;
    }
    for (size_t i = 0; i + 8 < in.n; i += 8)
        odd |= odd_bytes(in.p + i);
    return (odd | odd_bytes(in.p + in.n - 8)) == 0;
}

/* What a line is, and whether it needs no further look at its bytes. */
struct line {
    struct sl_bytes text;
    bool plain;
};

/* The line that starts at sc->line, without LF and one CR before it: 1.2
 * allows that CR, older clients send it too. */
static int scan_line(struct stomp_scan *sc, const struct line_rule *r, struct sl_bytes in,
                     struct line *line)
{
    size_t limit = sc->line + r->max + 2;
    size_t to = in.n < limit ? in.n : limit;
    const uint8_t *from = in.p + sc->pos;
    const uint8_t *lf = memchr(from, '\n', to - sc->pos);
    size_t end = lf == NULL ? to : (size_t)(lf - in.p);
    line->plain = lf != NULL && is_plain(sl_bytes_of(in.p + sc->line, end - sc->line));
    const uint8_t *nul = line->plain ? NULL : memchr(from, 0, end - sc->pos);
    if (nul != NULL) {
        sc->pos = (size_t)(nul - in.p) + 1;
        return fault(sc, r->nul);
    }
    sc->pos = lf == NULL ? to : end + 1;
    if (lf == NULL)
        return to == limit ? fault(sc, r->too_long) : SL_EMORE;
    size_t n = end - sc->line;
    if (n > 0 && in.p[end - 1] == '\r')
        n--;
    if (n > r->max)
        return fault(sc, r->too_long);
    line->text = sl_bytes_of(in.p + sc->line, n);
    sc->line = sc->pos;
    return SL_OK;
}

static int scan_command(struct stomp_scan *sc, const struct stomp_rules *r, struct sl_bytes in)
{
    static const struct line_rule rule = {STOMP_MAX_COMMAND, STOMP_FAULT_COMMAND_TOO_LONG,
                                          STOMP_FAULT_COMMAND_UNKNOWN};
    struct line line = { SL_BYTES_NONE, false };
    int err = scan_line(sc, &rule, in, &line);
    if (err != SL_OK)
        return err;
    enum stomp_command c = stomp_command_of(line.text, r->from_client);
    if (c == STOMP_NO_COMMAND || (c == STOMP_NACK && r->version == STOMP_V10))
        return fault(sc, STOMP_FAULT_COMMAND_UNKNOWN);
    sc->command = (uint8_t)c;
    sc->head = (uint8_t)sc->pos;
    sc->state = SCAN_HEADER;
    return SL_EAGAIN;
}

static bool all_digits(struct sl_bytes v)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] < '0' || v.p[i] > '9')
            return false;
    return v.n > 0;
}

/* The first content-length counts. A number beyond all reason is a size over
 * the limit, not a malformed one. */
static int note_length(struct stomp_scan *sc, struct sl_bytes value)
{
    if (sc->has_length)
        return SL_OK;
    if (!all_digits(value))
        return fault(sc, STOMP_FAULT_CONTENT_LENGTH);
    if (sl_bytes_u64(value, UINT64_MAX, &sc->length) != SL_OK)
        sc->length = UINT64_MAX;
    sc->has_length = true;
    return SL_OK;
}

/* 1.0 knows it in frames that have a body. Its clients copy the headers of a
 * MESSAGE into their ACK: there it is no promise of octets to come. */
static bool length_counts(const struct stomp_scan *sc, const struct stomp_rules *r)
{
    return r->version != STOMP_V10 || sc->command == STOMP_SEND || sc->command == STOMP_CONNECT ||
           sc->command == STOMP_STOMP || !r->from_client;
}

static int check_bytes(struct stomp_scan *sc, const struct stomp_rules *r, struct sl_bytes line)
{
    sc->escapes = true;
    if (!sl_utf8_valid(line))
        return fault(sc, STOMP_FAULT_HEADER_UTF8);
    /* 1.2 reserves CR for the end of a line; in 1.0 and 1.1 it is data. */
    if (r->version == STOMP_V12 && memchr(line.p, '\r', line.n) != NULL)
        return fault(sc, STOMP_FAULT_HEADER_CR);
    if (stomp_command_escapes((enum stomp_command)sc->command) &&
        !stomp_escapes_valid(r->version, line))
        return fault(sc, STOMP_FAULT_HEADER_ESCAPE);
    return SL_OK;
}

static int check_header(struct stomp_scan *sc, const struct stomp_rules *r, const struct line *line)
{
    static const char length[] = "content-length";
    struct sl_bytes text = line->text;
    const uint8_t *colon = memchr(text.p, ':', text.n);
    if (colon == NULL)
        return fault(sc, STOMP_FAULT_HEADER_COLON);
    if (colon == text.p)
        return fault(sc, STOMP_FAULT_HEADER_NAME);
    int err = line->plain ? SL_OK : check_bytes(sc, r, text);
    size_t n = (size_t)(colon - text.p);
    if (err == SL_OK && n == sizeof length - 1 && memcmp(text.p, length, n) == 0 && length_counts(sc, r))
        return note_length(sc, sl_bytes_of(colon + 1, text.n - n - 1));
    return err;
}

/* 1.1 and 1.2: only SEND, MESSAGE and ERROR may have a body. */
static bool body_allowed(const struct stomp_scan *sc, const struct stomp_rules *r)
{
    return r->version == STOMP_V10 || sc->command == STOMP_SEND || sc->command == STOMP_MESSAGE ||
           sc->command == STOMP_ERROR;
}

/* After the blank line: an announced body is judged before it is read. */
static int scan_blank(struct stomp_scan *sc, const struct stomp_rules *r)
{
    sc->body = sc->pos;
    sc->state = sc->has_length ? SCAN_COUNTED : SCAN_OPEN;
    if (!sc->has_length)
        return SL_EAGAIN;
    if (sc->length > 0 && !body_allowed(sc, r))
        return fault(sc, STOMP_FAULT_BODY_FORBIDDEN);
    if (sc->length > r->max_body)
        return fault(sc, STOMP_FAULT_BODY_TOO_LARGE);
    if (sc->body >= r->max_frame || sc->length >= r->max_frame - sc->body)
        return fault(sc, STOMP_FAULT_FRAME_TOO_LARGE);
    return SL_EAGAIN;
}

static int scan_header(struct stomp_scan *sc, const struct stomp_rules *r, struct sl_bytes in)
{
    struct line_rule rule = {r->max_line, STOMP_FAULT_HEADER_TOO_LONG, STOMP_FAULT_HEADER_NUL};
    struct line line = { SL_BYTES_NONE, false };
    int err = scan_line(sc, &rule, in, &line);
    if (err != SL_OK)
        return err;
    if (line.text.n == 0)
        return scan_blank(sc, r);
    if (sc->n_headers == r->max_headers)
        return fault(sc, STOMP_FAULT_HEADERS_TOO_MANY);
    sc->n_headers++;
    err = check_header(sc, r, &line);
    return err == SL_OK ? SL_EAGAIN : err;
}

static int scan_counted(struct stomp_scan *sc, struct sl_bytes in)
{
    size_t nul = sc->body + (size_t)sc->length;
    if (in.n <= nul) {
        sc->pos = in.n;
        return SL_EMORE;
    }
    sc->pos = nul + 1;
    if (in.p[nul] != 0)
        return fault(sc, STOMP_FAULT_BODY_NUL);
    sc->complete = true;
    return SL_OK;
}

static int scan_open(struct stomp_scan *sc, const struct stomp_rules *r, struct sl_bytes in)
{
    bool allowed = body_allowed(sc, r);
    size_t limit = sc->body + (allowed ? r->max_body : 0) + 1;
    size_t to = in.n < limit ? in.n : limit;
    const uint8_t *nul = memchr(in.p + sc->pos, 0, to - sc->pos);
    sc->pos = nul == NULL ? to : (size_t)(nul - in.p) + 1;
    if (nul == NULL && to == limit)
        return fault(sc, allowed ? STOMP_FAULT_BODY_TOO_LARGE : STOMP_FAULT_BODY_FORBIDDEN);
    if (nul == NULL)
        return SL_EMORE;
    sc->complete = true;
    return SL_OK;
}

static int scan_step(struct stomp_scan *sc, const struct stomp_rules *r, struct sl_bytes in)
{
    switch ((enum scan_state)sc->state) {
    case SCAN_COMMAND:
        return scan_command(sc, r, in);
    case SCAN_HEADER:
        return scan_header(sc, r, in);
    case SCAN_COUNTED:
        return scan_counted(sc, in);
    case SCAN_OPEN:
        return scan_open(sc, r, in);
    }
    return SL_OK;
}

int stomp_scan(struct stomp_scan *sc, const struct stomp_rules *r, struct sl_bytes in)
{
    SL_ASSERT(!sc->complete && sc->fault == STOMP_FAULT_NONE);
    if (in.n == 0)
        return SL_EMORE;
    struct sl_bytes seen = sl_bytes_of(in.p, in.n < r->max_frame ? in.n : r->max_frame);
    int err;
    do {
        err = scan_step(sc, r, seen);
    } while (err == SL_EAGAIN);
    if (err == SL_EMORE && in.n >= r->max_frame)
        return fault(sc, STOMP_FAULT_FRAME_TOO_LARGE);
    return err;
}
