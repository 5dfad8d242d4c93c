/* One pass, no recursion: `open` is the innermost container, its parents are
 * the stack. A fault that leaves no doubt about what was meant is reported and
 * passed over; at any other the scan ends. */
#include "scan.h"

#include <cjson/cJSON.h>

#include "core/utf8.h"

struct scan {
    const uint8_t *p, *end;
    struct config_place at;
    struct config_memory *memory;
    struct config_report *report;
    struct config_node *open, *root;
    const struct config_node *named; /* the key whose value is being read, or NULL */
    bool fresh;                      /* nothing of `open` was read yet: no comma may come */
    size_t depth, nodes;
    const char *base; /* the path of the root */
};

static const char *path_of(const struct scan *s, const struct config_node *node,
                           struct config_path *out)
{
    config_node_path(node, s->base, out);
    return out->text;
}

static bool fail(struct scan *s, struct config_place at, const char *what)
{
    struct config_path path;
    config_fault(s->report, at, path_of(s, s->named != NULL ? s->named : s->open, &path), "%s",
                 what);
    return false;
}

static int peek(const struct scan *s)
{
    return s->p < s->end ? *s->p : -1;
}

/* Columns count characters, as editors do: continuation bytes of UTF-8 do not
 * move them. All of a --set is one place. */
static void advance(struct scan *s)
{
    uint8_t c = *s->p++;
    if (s->at.set != 0)
        return;
    if (c == '\n') {
        s->at.line++;
        s->at.col = 1;
    } else if ((c & 0xC0) != 0x80) {
        s->at.col++;
    }
}

static void advance_by(struct scan *s, size_t n)
{
    while (n-- > 0)
        advance(s);
}

static bool starts(const struct scan *s, const char *two)
{
    return s->end - s->p >= 2 && s->p[0] == (uint8_t)two[0] && s->p[1] == (uint8_t)two[1];
}

static bool skip_block_comment(struct scan *s)
{
    struct config_place at = s->at;
    advance_by(s, 2);
    while (s->p < s->end && !starts(s, "*/"))
        advance(s);
    if (s->p == s->end)
        return fail(s, at, "this comment is not closed, \"*/\" is missing");
    advance_by(s, 2);
    return true;
}

static bool skip_blank(struct scan *s)
{
    for (;;) {
        int c = peek(s);
        if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
            advance(s);
        } else if (starts(s, "//")) {
            while (s->p < s->end && *s->p != '\n')
                advance(s);
        } else if (starts(s, "/*")) {
            if (!skip_block_comment(s))
                return false;
        } else {
            return true;
        }
    }
}

/* ---- strings ---- */

static bool hex4(const struct scan *s, const uint8_t *p, unsigned *out)
{
    unsigned v = 0;
    if (s->end - p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        unsigned c = p[i] | 0x20u;
        if (p[i] >= '0' && p[i] <= '9')
            v = v << 4 | (p[i] - (unsigned)'0');
        else if (c >= 'a' && c <= 'f')
            v = v << 4 | (c - 'a' + 10);
        else
            return false;
    }
    *out = v;
    return true;
}

/* At the backslash of \uXXXX. Takes both halves of a surrogate pair. */
static bool scan_unicode(struct scan *s, bool *nul)
{
    unsigned unit = 0, low = 0;
    if (!hex4(s, s->p + 2, &unit))
        return fail(s, s->at, "\\u must be followed by four hexadecimal digits");
    size_t n = 6;
    if (unit >= 0xD800 && unit < 0xDC00) {
        bool pair = s->end - s->p >= 12 && s->p[6] == '\\' && s->p[7] == 'u' &&
                    hex4(s, s->p + 8, &low) && low >= 0xDC00 && low < 0xE000;
        if (!pair)
            return fail(s, s->at, "half a surrogate pair is not a character");
        n = 12;
    } else if (unit >= 0xDC00 && unit < 0xE000) {
        return fail(s, s->at, "half a surrogate pair is not a character");
    } else if (unit == 0) {
        (void)fail(s, s->at, "\\u0000 is not allowed");
        *nul = true;
    }
    advance_by(s, n);
    return true;
}

static bool scan_escape(struct scan *s, bool *nul)
{
    int c = s->end - s->p >= 2 ? s->p[1] : 0;
    if (c == 'u')
        return scan_unicode(s, nul);
    if (c == 0 || strchr("\"\\/bfnrt", c) == NULL)
        return fail(s, s->at,
                    "unknown escape, allowed are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
    advance_by(s, 2);
    return true;
}

/* At the opening quote; *raw is the literal with its quotes. */
static bool scan_literal(struct scan *s, struct sl_bytes *raw, bool *nul)
{
    struct config_place at = s->at;
    const uint8_t *start = s->p;
    advance(s);
    for (;;) {
        int c = peek(s);
        if (c < 0 || c == '\n')
            return fail(s, at, "this text is not closed, '\"' is missing");
        if (c < 0x20)
            return fail(s, s->at, "a control character in a text must be escaped, as in \\t");
        if (c == '\\') {
            if (!scan_escape(s, nul))
                return false;
            continue;
        }
        advance(s);
        if (c == '"')
            break;
    }
    *raw = sl_bytes_of(start, (size_t)(s->p - start));
    return true;
}

/* cJSON undoes the escapes. */
static const char *decode(struct scan *s, struct sl_bytes raw)
{
    cJSON *item = cJSON_ParseWithLength((const char *)raw.p, raw.n);
    /* scan_literal let only well-formed ones pass. */
    SL_ASSERT(cJSON_IsString(item) && item->valuestring != NULL);
    const char *text = config_memory_text(s->memory, sl_str(item->valuestring));
    cJSON_Delete(item);
    return text;
}

/* ---- values ---- */

static struct config_node *add(struct scan *s, struct config_node *named,
                               enum config_node_kind kind)
{
    struct config_node *node = named;
    if (node == NULL)
        node = config_node_new(s->memory, kind, s->at);
    node->kind = kind;
    node->at = s->at;
    if (s->open == NULL)
        s->root = node;
    else if (node->parent == NULL)
        config_node_link(s->open, node);
    s->nodes++;
    s->fresh = false;
    return node;
}

static bool push(struct scan *s, struct config_node *named, enum config_node_kind kind)
{
    if (s->depth == CONFIG_DEPTH_MAX)
        return fail(s, s->at, "nested too deeply, allowed are 32 levels");
    struct config_node *node = add(s, named, kind);
    advance(s);
    s->open = node;
    s->fresh = true;
    s->depth++;
    return true;
}

static bool scan_text(struct scan *s, struct config_node *named)
{
    struct config_node *node = add(s, named, NODE_STRING);
    struct sl_bytes raw;
    bool nul = false;
    if (!scan_literal(s, &raw, &nul))
        return false;
    if (nul)
        node->kind = NODE_BAD;
    else
        node->text = decode(s, raw);
    return true;
}

static size_t digits(struct sl_bytes in, size_t at)
{
    size_t n = 0;
    while (at + n < in.n && in.p[at + n] >= '0' && in.p[at + n] <= '9')
        n++;
    return n;
}

/* -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)? in at most 40 characters: all
 * of it fits cJSON's own buffer. */
static bool is_number(struct sl_bytes w)
{
    size_t i = w.p[0] == '-', n = digits(w, i);
    if (w.n > 40 || n == 0 || (n > 1 && w.p[i] == '0'))
        return false;
    i += n;
    if (i < w.n && w.p[i] == '.') {
        n = digits(w, i + 1);
        if (n == 0)
            return false;
        i += 1 + n;
    }
    if (i < w.n && (w.p[i] == 'e' || w.p[i] == 'E')) {
        i++;
        if (i < w.n && (w.p[i] == '+' || w.p[i] == '-'))
            i++;
        n = digits(w, i);
        if (n == 0)
            return false;
        i += n;
    }
    return i == w.n;
}

static double decode_number(struct sl_bytes w)
{
    cJSON *item = cJSON_ParseWithLength((const char *)w.p, w.n);
    SL_ASSERT(cJSON_IsNumber(item)); /* is_number let only well-formed ones pass */
    double number = item->valuedouble;
    cJSON_Delete(item);
    return number;
}

static struct sl_bytes bare_word(const struct scan *s)
{
    size_t n = 0, left = (size_t)(s->end - s->p);
    while (n < left && s->p[n] > 0x20 && strchr(",:[]{}\"/", s->p[n]) == NULL)
        n++;
    return sl_bytes_of(s->p, n);
}

static bool scan_word(struct scan *s, struct config_node *named)
{
    struct sl_bytes w = bare_word(s);
    if (w.n == 0)
        return fail(s, s->at,
                    "a value is missing, allowed are \"text\", a number, true, false, null, "
                    "[…] and {…}");
    if (sl_bytes_is(w, "true") || sl_bytes_is(w, "false")) {
        add(s, named, NODE_BOOL)->truth = w.p[0] == 't';
    } else if (sl_bytes_is(w, "null")) {
        (void)add(s, named, NODE_NULL);
    } else if (is_number(w)) {
        add(s, named, NODE_NUMBER)->number = decode_number(w);
    } else {
        char shown[48];
        struct config_path path;
        config_fault(s->report, s->at, path_of(s, named != NULL ? named : s->open, &path),
                     "%s is no value, a text must be in double quotes",
                     sl_escape(w, shown, sizeof shown));
        return false;
    }
    advance_by(s, w.n);
    return true;
}

static bool scan_value(struct scan *s, struct config_node *named)
{
    if (s->nodes >= CONFIG_NODES_MAX)
        return fail(s, s->at, "too many values, allowed are 20000");
    s->named = named;
    switch (peek(s)) {
    case '{':
        return push(s, named, NODE_OBJECT);
    case '[':
        return push(s, named, NODE_LIST);
    case '"':
        return scan_text(s, named);
    default:
        return scan_word(s, named);
    }
}

/* ---- containers ---- */

/* A key that is there already keeps its first value: the second gets a node
 * that has a parent but is in nobody's list. */
static void link_or_refuse(struct scan *s, struct config_node *node)
{
    struct config_node *first = config_node_member(s->open, sl_str(node->key));
    if (first == NULL) {
        config_node_link(s->open, node);
        return;
    }
    struct config_path path;
    node->parent = s->open;
    config_fault(s->report, node->key_at, path_of(s, node, &path), "is given twice, first at %u:%u",
                 first->key_at.line, first->key_at.col);
}

static bool scan_key(struct scan *s, struct config_node **out)
{
    struct config_place at = s->at;
    struct sl_bytes raw;
    bool nul = false;
    if (peek(s) != '"')
        return fail(s, at, "a key in double quotes is missing");
    if (!scan_literal(s, &raw, &nul))
        return false;
    struct config_node *node = config_node_new(s->memory, NODE_BAD, at);
    if (nul) {
        node->parent = s->open; /* it has its fault; it is nobody's key */
    } else {
        config_node_name(s->memory, node, sl_str(decode(s, raw)));
        link_or_refuse(s, node);
    }
    if (!skip_blank(s))
        return false;
    if (peek(s) != ':')
        return fail(s, s->at, "a colon is missing after the key");
    advance(s);
    *out = node;
    return skip_blank(s);
}

static bool scan_member(struct scan *s)
{
    struct config_node *named = NULL;
    if (s->open->kind == NODE_OBJECT && !scan_key(s, &named))
        return false;
    return scan_value(s, named);
}

static bool unclosed(struct scan *s, char closer)
{
    struct config_path path;
    config_fault(s->report, s->at, path_of(s, s->open, &path),
                 "the text ends, \"%c\" is missing for \"%c\" at %u:%u", closer,
                 closer == '}' ? '{' : '[', s->open->at.line, s->open->at.col);
    return false;
}

static void close_container(struct scan *s)
{
    advance(s);
    s->fresh = false;
    s->depth--;
    s->open = s->open->parent;
}

/* One more member of the open container, or its end. */
static bool scan_next(struct scan *s)
{
    char closer = s->open->kind == NODE_OBJECT ? '}' : ']';
    s->named = NULL;
    if (!skip_blank(s))
        return false;
    if (peek(s) == ',' && !s->fresh) {
        struct config_place comma = s->at;
        advance(s);
        if (!skip_blank(s))
            return false;
        if (peek(s) == closer)
            (void)fail(s, comma,
                       closer == '}' ? "a comma before \"}\" is not allowed"
                                     : "a comma before \"]\" is not allowed");
    } else if (peek(s) >= 0 && peek(s) != closer && !s->fresh) {
        return fail(s, s->at,
                    closer == '}' ? "a comma or \"}\" is missing" : "a comma or \"]\" is missing");
    }
    if (peek(s) < 0)
        return unclosed(s, closer);
    if (peek(s) != closer)
        return scan_member(s);
    close_container(s);
    return true;
}

static bool scan_all(struct scan *s)
{
    if (!skip_blank(s) || !scan_value(s, NULL))
        return false;
    while (s->open != NULL)
        if (!scan_next(s))
            return false;
    if (!skip_blank(s))
        return false;
    if (s->p < s->end)
        return fail(s, s->at, "text after the end of the value");
    return true;
}

/* UTF-8 is checked before, a character at a time, so that the place is known;
 * everything later may take it for granted. */
static bool check_utf8(struct scan *s)
{
    while (s->p < s->end) {
        uint8_t c = *s->p;
        size_t n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
        if ((size_t)(s->end - s->p) < n || !sl_utf8_valid_nul(sl_bytes_of(s->p, n)))
            return fail(s, s->at, "this is not UTF-8");
        advance_by(s, n);
    }
    return true;
}

struct config_node *config_scan(struct config_memory *m, struct sl_bytes text,
                                struct config_origin from, struct config_report *r)
{
    struct config_place start = { from.set, 1, 1 };
    struct scan s = { .at = start, .memory = m, .report = r, .base = from.path };
    if (text.n > CONFIG_TEXT_MAX) {
        config_fault(r, start, from.path, "the text is too long, allowed is 1MiB");
        return NULL;
    }
    if (text.n >= 3 && memcmp(text.p, "\xEF\xBB\xBF", 3) == 0) /* a byte order mark */
        text = sl_bytes_of(text.p + 3, text.n - 3);
    s.p = text.n > 0 ? text.p : (const uint8_t *)"";
    s.end = s.p + text.n;
    const uint8_t *first = s.p;
    if (!check_utf8(&s))
        return NULL;
    s.p = first;
    s.at = start;
    return scan_all(&s) ? s.root : NULL;
}
