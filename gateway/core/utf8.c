#include "core/utf8.h"

#define EVERY_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

static bool is_tail(uint8_t b)
{
    return (b & 0xc0) == 0x80;
}

/* The length of the well-formed sequence of 2 to 4 bytes at p, else 0. The
 * second byte alone excludes overlong forms, surrogates and what is above
 * U+10FFFF. */
static size_t sequence(const uint8_t *p, size_t left)
{
    uint8_t lead = p[0];
    if (lead >= 0xc2 && lead <= 0xdf)
        return left >= 2 && is_tail(p[1]) ? 2 : 0;
    if ((lead & 0xf0) == 0xe0) {
        if (left < 3 || !is_tail(p[1]) || !is_tail(p[2]))
            return 0;
        bool bad = (lead == 0xe0 && p[1] < 0xa0) || (lead == 0xed && p[1] > 0x9f);
        return bad ? 0 : 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (left < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3]))
            return 0;
        bool bad = (lead == 0xf0 && p[1] < 0x90) || (lead == 0xf4 && p[1] > 0x8f);
        return bad ? 0 : 4;
    }
    return 0;
}

/* How many bytes from p on are ASCII and not NUL, counted in eights. */
static size_t plain_words(const uint8_t *p, size_t n)
{
    size_t i = 0;
    while (n - i >= 8) {
        uint64_t word;
        memcpy(&word, p + i, sizeof word);
        /* Without high bits in the word, the subtraction sets one exactly when some byte is 0. */
        if (((word | (word - EVERY_BYTE(1))) & EVERY_BYTE(0x80)) != 0)
            break;
        i += 8;
    }
    return i;
}

static bool valid(struct sl_bytes in, bool nul_allowed)
{
    size_t i = 0;
    while (i < in.n) {
        i += plain_words(in.p + i, in.n - i);
        if (i == in.n)
            break;
        uint8_t b = in.p[i];
        if (b == 0 && !nul_allowed)
            return false;
        size_t n = b < 0x80 ? 1 : sequence(in.p + i, in.n - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

bool sl_utf8_valid(struct sl_bytes in)
{
    return valid(in, false);
}

bool sl_utf8_valid_nul(struct sl_bytes in)
{
    return valid(in, true);
}

static bool is_plain(uint8_t b)
{
    return b >= 0x20 && b < 0x7f && b != '"' && b != '\\';
}

/* Writes as many whole characters as have room; returns how many bytes of `in` those were. */
static size_t escape_some(struct sl_bytes in, char *out, size_t room, size_t *written)
{
    static const char hex[] = "0123456789abcdef";
    size_t i = 0, at = 0;
    for (; i < in.n; i++) {
        uint8_t b = in.p[i];
        size_t width = is_plain(b) ? 1 : 4;
        if (width > room - at)
            break;
        if (width == 1) {
            out[at] = (char)b;
        } else {
            out[at] = '\\';
            out[at + 1] = 'x';
            out[at + 2] = hex[b >> 4];
            out[at + 3] = hex[b & 15];
        }
        at += width;
    }
    *written = at;
    return i;
}

const char *sl_escape(struct sl_bytes in, char *out, size_t cap)
{
    SL_ASSERT(cap > 0);
    size_t room = cap - 1;
    size_t at;
    if (escape_some(in, out, room, &at) < in.n) {
        size_t dots = room < 3 ? room : 3;
        (void)escape_some(in, out, room - dots, &at);
        memcpy(out + at, "...", dots);
        at += dots;
    }
    out[at] = '\0';
    return out;
}
