/* Prints what the store of a stopped gateway holds, one JSON object per entry:
 *   {"queue":…,"id":…,"state":…,"attempts":…,"topic":…,"payload":hex,"failures":[{"cause":…,"detail":…,"tail":…}]}
 * usage: dump_store DATA_DIR NODE [all]. It only reads, except that opening counts
 * the boot number up, and that what belongs to sessions that are gone is dropped.
 * With `all` what sessions and subscribers have comes first, told apart by "kind":
 *   {"kind":"session","session":…,"client":…,"expiry":…} {"kind":"qos2","session":…,"packet_id":…}
 *   {"kind":"subscription","session":…,"qos":…,"group":…,"filter":…,"subscription_id":…}
 *   {"kind":"will","session":…,"delay":…,"topic":…,"payload":hex}
 *   {"kind":"copy","id":…,"session":…,"packet_id":…,"state":…,"qos":…,"retain":…,"subscription_ids":[…],"topic":…,"payload":hex}
 *   {"kind":"retained","id":…,"topic":…,"payload":hex} */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "store/entry.h"
#include "store/store.h"

#define MAP_BYTES     ((uint64_t)1 << 30)
#define RESERVE_BYTES ((uint64_t)64 << 20)

struct entry {
    uint32_t queue;
    uint64_t id;
    enum queue_state state;
    uint32_t attempts;
};

struct contents {
    struct entry *entries;
    size_t n, cap;
    char **names; /* by queue number */
    size_t n_names;
};

static int on_queue(void *arg, uint32_t number, const char *name)
{
    struct contents *c = arg;
    if (number >= c->n_names) {
        c->names = sl_realloc(c->names, (number + 1u) * sizeof *c->names);
        memset(c->names + c->n_names, 0, (number + 1u - c->n_names) * sizeof *c->names);
        c->n_names = number + 1u;
    }
    size_t n = strlen(name) + 1;
    c->names[number] = sl_alloc(n);
    memcpy(c->names[number], name, n);
    return SL_OK;
}

static int on_entry(void *arg, uint32_t queue, const struct queue_restored *r)
{
    struct contents *c = arg;
    if (c->n == c->cap) {
        c->cap = c->cap == 0 ? 1024 : c->cap * 2;
        c->entries = sl_realloc(c->entries, c->cap * sizeof *c->entries);
    }
    c->entries[c->n++] = (struct entry){ queue, r->id, r->state, r->attempts };
    return SL_OK;
}

static void print_text(struct sl_bytes text)
{
    putchar('"');
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_failures(struct store *st, const struct entry *e)
{
    struct sl_buf value = { 0 };
    struct store_entry decoded;
    struct batch_failure f;
    size_t pos = 0;
    printf(",\"failures\":[");
    if (store_history(st, e->queue, e->id, &value) == SL_OK && store_entry_decode(sl_buf_view(&value), &decoded) == SL_OK) {
        for (bool first = true; batch_failure_next(decoded.history, &pos, &f) == SL_OK; first = false) {
            printf("%s{\"attempt\":%" PRIu32 ",\"cause\":\"%s\",\"detail\":", first ? "" : ",", f.attempt, queue_cause_name(f.cause));
            print_text(f.detail);
            printf(",\"tail\":");
            print_text(f.tail);
            putchar('}');
        }
    }
    putchar(']');
    sl_buf_fini(&value);
}

static void print_topic_and_payload(const struct message *m)
{
    printf(",\"topic\":");
    print_text(message_topic(m));
    struct sl_bytes p = message_payload(m);
    printf(",\"payload\":\"");
    for (size_t i = 0; i < p.n; i++)
        printf("%02x", p.p[i]);
    putchar('"');
}

static void print_message(struct store *st, const struct entry *e)
{
    uint64_t id = e->id;
    uint32_t index = 0;
    struct message *m = NULL;
    struct batch_fetch f = { .n = 1, .ids = &id, .entries = &index, .msgs = &m };
    store_fetch(st, &f);
    if (m == NULL) {
        printf(",\"topic\":null,\"payload\":\"\"");
        return;
    }
    print_topic_and_payload(m);
    message_unref(m);
}

/* ---- what sessions and subscribers have ---- */

static int on_session(void *arg, uint64_t number, struct sl_bytes record)
{
    (void)arg;
    struct batch_session s;
    if (batch_session_decode(record, &s) != SL_OK)
        return SL_EFORMAT;
    printf("{\"kind\":\"session\",\"session\":%" PRIu64 ",\"client\":", number);
    print_text(s.client_id);
    printf(",\"expiry\":%" PRIu32 "}\n", s.expiry_s);
    return SL_OK;
}

static int on_qos2(void *arg, uint64_t session, uint16_t packet_id)
{
    (void)arg;
    printf("{\"kind\":\"qos2\",\"session\":%" PRIu64 ",\"packet_id\":%u}\n", session, packet_id);
    return SL_OK;
}

static int on_subscription(void *arg, uint64_t session, uint32_t number, struct sl_bytes record)
{
    (void)arg;
    (void)number;
    struct batch_subscription s;
    if (batch_subscription_decode(record, &s) != SL_OK)
        return SL_EFORMAT;
    printf("{\"kind\":\"subscription\",\"session\":%" PRIu64 ",\"qos\":%u,\"group\":", session, s.qos);
    print_text(s.group);
    printf(",\"filter\":");
    print_text(s.filter);
    printf(",\"subscription_id\":%" PRIu32 "}\n", s.subscription_id);
    return SL_OK;
}

static int on_will(void *arg, uint64_t session, struct sl_bytes record)
{
    (void)arg;
    struct batch_will w;
    struct message *m;
    if (batch_will_decode(record, &w) != SL_OK || message_from_record(w.message, &m) != SL_OK)
        return SL_EFORMAT;
    printf("{\"kind\":\"will\",\"session\":%" PRIu64 ",\"delay\":%" PRIu32, session, w.delay_s);
    print_topic_and_payload(m);
    puts("}");
    message_unref(m);
    return SL_OK;
}

static int on_copy(void *arg, const struct store_copy *c)
{
    (void)arg;
    printf("{\"kind\":\"copy\",\"id\":\"%016" PRIx64 "\",\"session\":%" PRIu64 ",\"packet_id\":%u,\"state\":\"%s\",\"qos\":%u,\"retain\":%s",
           message_id(c->msg), c->session, c->packet_id, c->state == BATCH_COPY_RELEASED ? "released" : "waiting", c->flags & BATCH_COPY_QOS,
           (c->flags & BATCH_COPY_RETAIN) != 0 ? "true" : "false");
    printf(",\"subscription_ids\":[");
    for (size_t i = 0; i < c->ids.n; i += 4)
        printf("%s%" PRIu32, i == 0 ? "" : ",", sl_ld_u32le(c->ids.p + i));
    putchar(']');
    print_topic_and_payload(c->msg);
    puts("}");
    return SL_OK;
}

static int on_retained(void *arg, struct message *m)
{
    (void)arg;
    printf("{\"kind\":\"retained\",\"id\":\"%016" PRIx64 "\"", message_id(m));
    print_topic_and_payload(m);
    puts("}");
    return SL_OK;
}

static void listen_to_all(struct store_loader *l)
{
    l->session = on_session;
    l->qos2 = on_qos2;
    l->subscription = on_subscription;
    l->will = on_will;
    l->copy = on_copy;
    l->retained = on_retained;
}

/* ---- entries ---- */

static void print_entry(struct store *st, const struct contents *c, const struct entry *e)
{
    static const char *const states[] = {
        [QUEUE_READY] = "ready", [QUEUE_LEASED] = "leased", [QUEUE_DELAYED] = "delayed", [QUEUE_DEAD] = "dead",
    };
    const char *name = e->queue < c->n_names && c->names[e->queue] != NULL ? c->names[e->queue] : "?";
    printf("{\"queue\":");
    print_text(sl_str(name));
    printf(",\"id\":\"%016" PRIx64 "\",\"state\":\"%s\",\"attempts\":%" PRIu32, e->id, states[e->state], e->attempts);
    print_message(st, e);
    print_failures(st, e);
    puts("}");
}

static int fail(const char *what, const struct sl_buf *why)
{
    struct sl_bytes w = sl_buf_view(why);
    fprintf(stderr, "%s: %.*s\n", what, (int)w.n, w.n == 0 ? "" : (const char *)w.p);
    return 1;
}

static void contents_fini(struct contents *c)
{
    for (size_t i = 0; i < c->n_names; i++)
        sl_free(c->names[i]);
    sl_free(c->names);
    sl_free(c->entries);
}

int main(int argc, char **argv)
{
    if (argc < 3 || argc > 4)
        return 2;
    struct store_config cfg = { .engine = "lmdb", .dir = argv[1], .node = argv[2], .map_size_bytes = MAP_BYTES, .reserve_bytes = RESERVE_BYTES };
    struct sl_buf why = { 0 };
    struct store *st;
    struct contents c = { 0 };
    struct store_loader l = { .arg = &c, .queue = on_queue, .entry = on_entry };
    if (argc == 4)
        listen_to_all(&l);
    if (store_open(&cfg, &st, &why) != SL_OK)
        return fail("open", &why);
    if (store_load(st, &l, &why) != SL_OK)
        return fail("load", &why);
    for (size_t i = 0; i < c.n; i++)
        print_entry(st, &c, &c.entries[i]);
    contents_fini(&c);
    store_close(st);
    sl_buf_fini(&why);
    return 0;
}
