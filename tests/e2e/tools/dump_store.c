/* Prints what the store of a stopped gateway holds, one JSON object per entry:
 *   {"queue":…,"id":…,"state":…,"attempts":…,"topic":…,"payload":hex,"failures":[{"cause":…,"detail":…,"tail":…}]}
 * usage: dump_store DATA_DIR NODE. It only reads, except that opening counts
 * the boot number up. */
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

static int on_session(void *arg, uint64_t number, struct sl_bytes record)
{
    (void)arg;
    (void)number;
    (void)record;
    return SL_OK;
}

static int on_qos2(void *arg, uint64_t session, uint16_t packet_id)
{
    (void)arg;
    (void)session;
    (void)packet_id;
    return SL_OK;
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    (void)done;
    (void)total;
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
    printf(",\"topic\":");
    print_text(message_topic(m));
    struct sl_bytes p = message_payload(m);
    printf(",\"payload\":\"");
    for (size_t i = 0; i < p.n; i++)
        printf("%02x", p.p[i]);
    putchar('"');
    message_unref(m);
}

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
    if (argc != 3)
        return 2;
    struct store_config cfg = { .engine = "lmdb", .dir = argv[1], .node = argv[2], .map_size_bytes = MAP_BYTES, .reserve_bytes = RESERVE_BYTES };
    struct sl_buf why = { 0 };
    struct store *st;
    struct contents c = { 0 };
    struct store_loader l = {
        .arg = &c,
        .queue = on_queue,
        .entry = on_entry,
        .session = on_session,
        .qos2 = on_qos2,
        .progress = on_progress,
    };
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
