/* Mode `lines`: one JSON object per line on stdin and stdout (contract §5).
 *
 * What the gateway writes and what it accepts is exactly the contract's shape:
 * one verb per line, known keys only, none twice. Text that JSON cannot carry
 * unaltered goes as base64 beside it: "payload_base64", and from the worker
 * also "result_base64". cJSON ends a string at \u0000, so a line that holds
 * that escape is refused instead of being cut. */
#include "mode.h"

#include <cjson/cJSON.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/units.h"
#include "core/utf8.h"

#define LINE_OVERHEAD (256u << 10) /* ids, reasons, headers, topic */
#define ESCAPED_MAX   6u           /* "\u00e9" for one byte */

static size_t lines_input_max(const struct pool_config *cfg)
{
    size_t most = cfg->max_message > cfg->max_result ? cfg->max_message : cfg->max_result;
    return LINE_OVERHEAD + ESCAPED_MAX * most;
}

/* ---- out ---- */

static void must(bool done)
{
    SL_ASSERT(done); /* cJSON is out of memory, or our own misuse */
}

static char *text_of(struct sl_bytes v)
{
    char *s = sl_alloc(v.n + 1);
    if (v.n > 0)
        memcpy(s, v.p, v.n);
    s[v.n] = '\0';
    return s;
}

static void put_text(cJSON *to, const char *key, struct sl_bytes v)
{
    char *s = text_of(v);
    must(cJSON_AddStringToObject(to, key, s) != NULL);
    sl_free(s);
}

static void put_base64(cJSON *to, const char *key, struct sl_bytes v)
{
    uint8_t *s = sl_alloc((v.n + 2) / 3 * 4 + 1);
    (void)EVP_EncodeBlock(s, v.p, (int)v.n);
    must(cJSON_AddStringToObject(to, key, (const char *)s) != NULL);
    sl_free(s);
}

static void put_payload(cJSON *to, struct sl_bytes payload)
{
    if (sl_utf8_valid(payload)) /* which refuses NUL too */
        put_text(to, "payload", payload);
    else
        put_base64(to, "payload_base64", payload);
}

static void put_headers(cJSON *to, struct sl_bytes record)
{
    cJSON *list = cJSON_AddArrayToObject(to, "headers");
    must(list != NULL);
    size_t pos = 0;
    struct message_header h;
    while (message_header_next(record, &pos, &h)) {
        cJSON *pair = cJSON_CreateArray();
        char *name = text_of(h.name), *value = text_of(h.value);
        must(pair != NULL && cJSON_AddItemToArray(list, pair));
        must(cJSON_AddItemToArray(pair, cJSON_CreateString(name)));
        must(cJSON_AddItemToArray(pair, cJSON_CreateString(value)));
        sl_free(name);
        sl_free(value);
    }
}

static void put_line(cJSON *line, struct sl_buf *out)
{
    char *text = cJSON_PrintUnformatted(line);
    must(text != NULL);
    must(sl_buf_append(out, text, strlen(text)) == SL_OK && sl_buf_append(out, "\n", 1) == SL_OK);
    cJSON_free(text);
    cJSON_Delete(line);
}

static void put_id(cJSON *to, const char *key, uint64_t id)
{
    char text[20];
    (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)id);
    must(cJSON_AddStringToObject(to, key, text) != NULL);
}

static void lines_deliver(struct mode *m, const struct mode_delivery *d, struct sl_buf *out)
{
    const struct queue_delivery *q = d->from->d;
    struct sl_bytes record = message_record(q->msg);
    struct message_parts parts;
    (void)m;
    message_view(record, &parts);
    cJSON *line = cJSON_CreateObject();
    must(line != NULL);
    put_id(line, "id", parts.id);
    put_text(line, "queue", sl_str(d->queue_name));
    put_text(line, "topic", parts.topic);
    must(cJSON_AddNumberToObject(line, "attempt", q->attempt) != NULL);
    put_headers(line, record);
    put_text(line, "content_type", parts.content_type);
    put_payload(line, parts.payload);
    put_line(line, out);
}

static void lines_soft_limit(uint64_t name, struct sl_buf *out)
{
    cJSON *line = cJSON_CreateObject();
    must(line != NULL);
    put_id(line, "soft_limit", name);
    put_line(line, out);
}

/* ---- in ---- */

enum key {
    KEY_ID = 1,
    KEY_ACK = 2,
    KEY_RETRY = 4,
    KEY_RELEASE = 8,
    KEY_DEAD = 16,
    KEY_PROGRESS = 32,
    KEY_EXTEND = 64,
    KEY_PUBLISH = 128,
    KEY_RESULT = 256,
    KEY_RESULT_BASE64 = 512,
    KEY_CONTENT_TYPE = 1024,
    KEY_DELAY = 2048,
    KEY_REASON = 4096,
    KEY_TOPIC = 8192,
    KEY_PAYLOAD = 16384,
    KEY_PAYLOAD_BASE64 = 32768,
};

static const struct {
    const char *name;
    enum key key;
} keys[] = {
    { "id", KEY_ID },
    { "ack", KEY_ACK },
    { "retry", KEY_RETRY },
    { "release", KEY_RELEASE },
    { "dead", KEY_DEAD },
    { "progress", KEY_PROGRESS },
    { "extend", KEY_EXTEND },
    { "publish", KEY_PUBLISH },
    { "result", KEY_RESULT },
    { "result_base64", KEY_RESULT_BASE64 },
    { "content_type", KEY_CONTENT_TYPE },
    { "delay", KEY_DELAY },
    { "reason", KEY_REASON },
    { "topic", KEY_TOPIC },
    { "payload", KEY_PAYLOAD },
    { "payload_base64", KEY_PAYLOAD_BASE64 },
};

/* Which keys a verb goes with; `flag`: its own value must be true. */
static const struct verb {
    enum key key;
    unsigned others;
    enum mode_kind kind;
    bool flag;
} verbs[] = {
    { KEY_ACK, KEY_ID | KEY_RESULT | KEY_RESULT_BASE64 | KEY_CONTENT_TYPE, MODE_ACK, true },
    { KEY_RETRY, KEY_ID | KEY_DELAY | KEY_REASON, MODE_RETRY, true },
    { KEY_RELEASE, KEY_ID, MODE_RELEASE, true },
    { KEY_DEAD, KEY_ID | KEY_REASON, MODE_DEAD, true },
    { KEY_PROGRESS, KEY_ID, MODE_PROGRESS, false },
    { KEY_EXTEND, KEY_ID, MODE_EXTEND, false },
    { KEY_PUBLISH, 0, MODE_PUBLISH, false },
};

/* The object's keys as a set; 0 and a fault when one is unknown or there twice. */
static unsigned key_set(struct mode *m, const cJSON *object)
{
    unsigned set = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        unsigned key = 0;
        for (size_t i = 0; i < SL_COUNT(keys); i++)
            if (strcmp(item->string, keys[i].name) == 0)
                key = keys[i].key;
        if (key == 0 || (set & key) != 0) {
            m->fault = key == 0 ? "key-unknown" : "key-twice";
            return 0;
        }
        set |= key;
    }
    if (set == 0)
        m->fault = "no-verb";
    return set;
}

static int fault(struct mode *m, const char *why)
{
    m->fault = why;
    return SL_EPEER;
}

/* An optional string. */
static int get_text(struct mode *m, const char *key, struct sl_bytes *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(m->line, key);
    if (item == NULL)
        return SL_OK;
    if (!cJSON_IsString(item))
        return fault(m, "not-a-string");
    *out = sl_str(item->valuestring);
    return SL_OK;
}

static int decode_base64(struct mode *m, struct sl_bytes in, struct sl_bytes *out)
{
    sl_buf_clear(&m->text);
    uint8_t *to = in.n % 4 == 0 ? sl_buf_reserve(&m->text, in.n / 4 * 3 + 1) : NULL;
    int n = to == NULL ? -1 : EVP_DecodeBlock(to, in.p, (int)in.n);
    if (n < 0)
        return fault(m, "not-base64");
    for (size_t i = in.n; i > 0 && in.p[i - 1] == '=' && n > 0 && i > in.n - 2; i--)
        n--; /* the padding is decoded as zero bytes */
    *out = sl_bytes_of(to, (size_t)n);
    return SL_OK;
}

/* `key` or its base64 form, not both; *present says whether there was one. */
static int get_content(struct mode *m, const char *const key[2], struct sl_bytes *out, bool *present)
{
    struct sl_bytes text = SL_BYTES_NONE, base64 = SL_BYTES_NONE;
    int err = get_text(m, key[0], &text);
    if (err == SL_OK)
        err = get_text(m, key[1], &base64);
    if (err != SL_OK)
        return err;
    if (text.p != NULL && base64.p != NULL)
        return fault(m, "content-twice");
    *present = text.p != NULL || base64.p != NULL;
    *out = text;
    return base64.p != NULL ? decode_base64(m, base64, out) : SL_OK;
}

static int get_id(struct mode *m, uint64_t *out)
{
    struct sl_bytes text = SL_BYTES_NONE;
    int err = get_text(m, "id", &text);
    if (err != SL_OK)
        return err;
    if (text.n != 16)
        return fault(m, "id-malformed");
    uint64_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        const char *digits = "0123456789abcdef";
        const char *at = strchr(digits, text.p[i]);
        if (at == NULL)
            return fault(m, "id-malformed");
        v = v << 4 | (uint64_t)(at - digits);
    }
    *out = v;
    return SL_OK;
}

static int get_duration(struct mode *m, const char *key, uint64_t *ms, bool *present)
{
    struct sl_bytes text = SL_BYTES_NONE;
    int err = get_text(m, key, &text);
    *present = err == SL_OK && text.p != NULL;
    if (*present && sl_duration_parse(text, ms) != SL_OK)
        return fault(m, "duration-malformed");
    return err;
}

static int take_ack(struct mode *m, struct mode_answer *out)
{
    static const char *const names[] = { "result", "result_base64" };
    int err = get_content(m, names, &out->result, &out->has_result);
    if (err == SL_OK)
        err = get_text(m, "content_type", &out->content_type);
    if (err == SL_OK && out->result.n > m->cfg->max_result) {
        m->fault = "result-too-large";
        err = SL_ETOOBIG;
    }
    return err;
}

static int take_progress(struct mode *m, struct mode_answer *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(m->line, "progress");
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 1))
        return fault(m, "progress-range");
    out->per_mille = (uint16_t)(item->valuedouble * 1000 + 0.5);
    return SL_OK;
}

static int take_extend(struct mode *m, struct mode_answer *out)
{
    bool present;
    int err = get_duration(m, "extend", &out->delay_ms, &present);
    if (err == SL_OK && out->delay_ms == 0)
        err = fault(m, "extend-zero");
    return err;
}

/* The publish object takes the line's place, so that its members are read by
 * the same functions. */
static int take_publish(struct mode *m, struct mode_answer *out)
{
    static const char *const names[] = { "payload", "payload_base64" };
    cJSON *inner = cJSON_DetachItemFromObjectCaseSensitive(m->line, "publish");
    cJSON_Delete(m->line);
    m->line = inner;
    if (!cJSON_IsObject(inner))
        return fault(m, "publish-not-an-object");
    unsigned set = key_set(m, inner);
    if (set == 0)
        return SL_EPEER;
    if ((set & ~(unsigned)(KEY_TOPIC | KEY_PAYLOAD | KEY_PAYLOAD_BASE64 | KEY_CONTENT_TYPE)) != 0)
        return fault(m, "key-unknown");
    bool present;
    int err = get_text(m, "topic", &out->topic);
    if (err == SL_OK)
        err = get_text(m, "content_type", &out->content_type);
    if (err == SL_OK)
        err = get_content(m, names, &out->payload, &present);
    if (err == SL_OK && out->topic.n == 0)
        err = fault(m, "topic-empty");
    if (err == SL_OK && out->payload.n > m->cfg->max_message) {
        m->fault = "payload-too-large";
        err = SL_ETOOBIG;
    }
    return err;
}

static int take_verb(struct mode *m, const struct verb *v, struct mode_answer *out)
{
    int err = v->key == KEY_PUBLISH ? SL_OK : get_id(m, &out->name);
    if (err != SL_OK)
        return err;
    switch (v->kind) {
    case MODE_ACK:
        return take_ack(m, out);
    case MODE_RETRY:
        err = get_duration(m, "delay", &out->delay_ms, &out->has_delay);
        return err != SL_OK ? err : get_text(m, "reason", &out->reason);
    case MODE_DEAD:
        return get_text(m, "reason", &out->reason);
    case MODE_PROGRESS:
        return take_progress(m, out);
    case MODE_EXTEND:
        return take_extend(m, out);
    case MODE_PUBLISH:
        return take_publish(m, out);
    case MODE_RELEASE:
    case MODE_HELLO:
    case MODE_BYE:
    case MODE_OUTPUT:
        break;
    }
    return SL_OK;
}

static const struct verb *verb_of(unsigned set)
{
    for (size_t i = 0; i < SL_COUNT(verbs); i++)
        if ((set & verbs[i].key) != 0)
            return (set & ~(verbs[i].key | verbs[i].others)) == 0 ? &verbs[i] : NULL;
    return NULL;
}

static const char *verb_name(enum key key)
{
    for (size_t i = 0; i < SL_COUNT(keys); i++)
        if (keys[i].key == key)
            return keys[i].name;
    return "";
}

/* "\u0000" not behind an odd number of backslashes. */
static bool holds_nul(struct sl_bytes line)
{
    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] == '\0')
            return true;
        if (line.p[i] != '\\')
            continue;
        if (line.n - i >= 6 && memcmp(line.p + i, "\\u0000", 6) == 0)
            return true;
        i++; /* the escaped character */
    }
    return false;
}

static int take_line(struct mode *m, struct sl_bytes line, struct mode_answer *out)
{
    if (holds_nul(line))
        return fault(m, "nul");
    if (!sl_utf8_valid(line))
        return fault(m, "not-utf8");
    const char *end = NULL;
    m->line = cJSON_ParseWithLengthOpts((const char *)line.p, line.n, &end, false);
    if (m->line == NULL || end != (const char *)line.p + line.n)
        return fault(m, "not-json");
    if (!cJSON_IsObject(m->line))
        return fault(m, "not-an-object");
    unsigned set = key_set(m, m->line);
    if (set == 0)
        return SL_EPEER;
    const struct verb *v = verb_of(set);
    if (v == NULL)
        return fault(m, "no-verb");
    if (v->flag && !cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(m->line, verb_name(v->key))))
        return fault(m, "verb-not-true");
    *out = (struct mode_answer){ .kind = v->kind };
    return take_verb(m, v, out);
}

static struct sl_bytes trimmed(struct sl_bytes line)
{
    while (line.n > 0 && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
        line.n--;
    return line;
}

static int lines_next(struct mode *m, struct sl_bytes in, struct mode_answer *out, size_t *consumed)
{
    mode_fini(m);
    const uint8_t *end = in.n > m->scanned ? memchr(in.p + m->scanned, '\n', in.n - m->scanned) : NULL;
    if (end == NULL) {
        m->scanned = in.n;
        if (in.n >= lines_input_max(m->cfg)) {
            m->fault = "line-too-long";
            return SL_ETOOBIG;
        }
        return SL_EMORE;
    }
    size_t n = (size_t)(end - in.p);
    m->scanned = 0;
    int err = take_line(m, trimmed(sl_bytes_of(in.p, n)), out);
    if (err == SL_OK)
        *consumed = n + 1;
    return err;
}

const struct mode_ops mode_lines = {
    .name = "lines",
    .by_id = true,
    .input_max = lines_input_max,
    .deliver = lines_deliver,
    .next = lines_next,
    .soft_limit = lines_soft_limit,
};
