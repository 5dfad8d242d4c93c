#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/compat.h"
#include "store_kit.h"

/* Memory when there is plenty of it: what is tested is the order of calls, not the disk. */
static const char *base_dir(void)
{
    struct statvfs v;
    if (getenv("TMPDIR") != NULL)
        return getenv("TMPDIR");
    if (access("/dev/shm", W_OK) == 0 && statvfs("/dev/shm", &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize > (uint64_t)1 << 30)
        return "/dev/shm";
    return "/tmp";
}

void kit_dir_make(struct kit_dir *d)
{
    snprintf(d->path, sizeof d->path, "%s/sluice-store-XXXXXX", base_dir());
    assert_non_null(mkdtemp(d->path));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void kit_dir_remove(const struct kit_dir *d)
{
    nftw(d->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *kit_path(const char *dir, const char *name)
{
    static char paths[4][512];
    static unsigned turn;
    char *out = paths[turn++ % 4];
    snprintf(out, sizeof paths[0], "%s/%s", dir, name);
    return out;
}

struct store_config kit_config(const char *engine, const char *dir)
{
    return (struct store_config){
        .engine = engine,
        .dir = dir,
        .node = "test",
        .map_size_bytes = KIT_MAP_BYTES,
        .reserve_bytes = KIT_RESERVE_BYTES,
    };
}

struct store *kit_open(const char *engine, const char *dir)
{
    struct store_config cfg = kit_config(engine, dir);
    struct store *st = NULL;
    struct sl_buf why = { 0 };
    int err = store_open(&cfg, &st, &why);
    if (err != SL_OK)
        fail_msg("store_open: %s: %.*s", sl_err_name(err), (int)sl_buf_len(&why), (const char *)why.p);
    sl_buf_fini(&why);
    return st;
}

int kit_load(const char *dir, struct sl_buf *why)
{
    struct store *st = kit_open("lmdb", dir);
    struct store_loader l = { 0 };
    int err = store_load(st, &l, why);
    store_close(st);
    return err;
}

void kit_load_refused(const char *dir, const char *words)
{
    struct sl_buf why = { 0 };
    assert_int_equal(kit_load(dir, &why), SL_EFORMAT);
    assert_int_equal(sl_buf_append(&why, "", 1), SL_OK);
    assert_non_null(strstr((const char *)why.p, words));
    sl_buf_fini(&why);
}

struct kit_raw kit_raw_open(const char *data)
{
    struct kit_raw r;
    assert_int_equal(mdb_env_create(&r.env), 0);
    assert_int_equal(mdb_env_set_maxdbs(r.env, 16), 0);
    assert_int_equal(mdb_env_set_mapsize(r.env, KIT_MAP_BYTES), 0);
    assert_int_equal(mdb_env_open(r.env, kit_path(data, "store"), 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(r.env, NULL, 0, &r.txn), 0);
    return r;
}

MDB_dbi kit_raw_tree(const struct kit_raw *r, const char *name, unsigned flags)
{
    MDB_dbi dbi;
    assert_int_equal(mdb_dbi_open(r->txn, name, flags, &dbi), 0);
    return dbi;
}

void kit_raw_close(struct kit_raw *r)
{
    assert_int_equal(mdb_txn_commit(r->txn), 0);
    mdb_env_close(r->env);
}

static struct message *message_of(uint64_t id, size_t bytes, struct sl_bytes job_id)
{
    uint8_t *payload = sl_alloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        payload[i] = (uint8_t)(id * 31 + i);
    struct message_parts parts = {
        .id = id,
        .protocol = MESSAGE_MQTT5,
        .qos = 1,
        .priority = (uint8_t)(id % 10),
        .flags = id % 2 == 0 ? MESSAGE_EXPIRES_RELATIVE : 0,
        .accepted_at = 1000 + id,
        .expires_at = id % 3 == 0 ? 5000 + id : 0,
        .topic = sl_str("a/b"),
        .client_id = sl_str("kit"),
        .job_id = job_id,
        .payload = sl_bytes_of(payload, bytes),
    };
    struct message *m = message_new(&parts);
    sl_free(payload);
    return m;
}

struct message *kit_message(uint64_t id, size_t bytes)
{
    return message_of(id, bytes, SL_BYTES_NONE);
}

struct message *kit_job(uint64_t id, size_t bytes)
{
    char job_id[32];
    snprintf(job_id, sizeof job_id, "job-%" PRIx64, id);
    return message_of(id, bytes, sl_str(job_id));
}

void kit_enqueue(struct batch *b, uint64_t id, uint32_t queue, size_t bytes)
{
    struct message *m = kit_message(id, bytes);
    struct batch_op *op = batch_add(b, BATCH_BODY);
    op->id = id;
    op->msg = m;
    b->bytes += m->record_bytes;
    op = batch_add(b, BATCH_ENTRY);
    op->id = id;
    op->queue = queue;
    op->state = QUEUE_READY;
    op->msg = message_ref(m);
}

void kit_settle(struct batch *b, uint64_t id, uint32_t queue)
{
    struct batch_op *op = batch_add(b, BATCH_SETTLE);
    op->id = id;
    op->queue = queue;
    batch_add(b, BATCH_BODY_DROP)->id = id;
}

void kit_update(struct batch *b, uint64_t id, uint32_t queue, uint32_t attempts, const char *tail)
{
    struct batch_failure f = {
        .wall_ms = 7000 + attempts,
        .attempt = attempts,
        .cause = QUEUE_CAUSE_EXIT,
        .detail = sl_str("exit 3"),
        .tail = sl_str(tail),
    };
    struct batch_op *op = batch_add(b, BATCH_UPDATE);
    op->id = id;
    op->queue = queue;
    op->state = QUEUE_DELAYED;
    op->attempts = attempts;
    op->due_ms = 9000 + attempts;
    op->note = batch_failure_encode(&f);
}

void kit_dead(struct batch *b, uint64_t id, uint32_t queue, enum queue_cause cause)
{
    struct batch_op *op = batch_add(b, BATCH_UPDATE);
    op->id = id;
    op->queue = queue;
    op->state = QUEUE_DEAD;
    op->attempts = 1;
    op->due_ms = 8000;
    op->cause = (uint8_t)cause;
}

void kit_order(struct batch *b, uint64_t order_key)
{
    b->ops[b->n - 1].order_key = order_key;
}

void kit_make_job(struct batch *b, size_t bytes)
{
    struct batch_op *body = &b->ops[b->n - 2], *entry = &b->ops[b->n - 1];
    b->bytes -= body->msg->record_bytes;
    message_unref(body->msg);
    message_unref(entry->msg);
    body->msg = kit_job(body->id, bytes);
    entry->msg = message_ref(body->msg);
    b->bytes += body->msg->record_bytes;
}

void kit_dedup(struct batch *b, uint64_t id, uint32_t queue, uint8_t content)
{
    struct batch_op *op = batch_add(b, BATCH_DEDUP);
    op->id = id;
    op->queue = queue;
    op->seen_ms = 100 + content;
    memset(op->dedup_key, content, sizeof op->dedup_key);
}

void kit_dedup_drop(struct batch *b, uint64_t id, uint32_t queue)
{
    struct batch_op *op = batch_add(b, BATCH_DEDUP_DROP);
    op->id = id;
    op->queue = queue;
}

void kit_queue_record(struct batch *b, uint32_t queue, bool paused, const char *order)
{
    struct batch_op *op = batch_add(b, BATCH_QUEUE);
    op->queue = queue;
    op->note = batch_queue_encode(&(struct batch_queue){ .paused = paused, .order = sl_str(order) });
}

void kit_schedule(struct batch *b, const char *name, uint64_t done_ms)
{
    batch_add(b, BATCH_SCHEDULE)->note = batch_schedule_encode(&(struct batch_schedule){ .name = sl_str(name), .done_ms = done_ms });
}

void kit_schedule_drop(struct batch *b, const char *name)
{
    size_t n = strlen(name);
    struct batch_note *note = sl_alloc(sizeof *note + n);
    note->n = (uint32_t)n;
    memcpy(note->bytes, name, n);
    batch_add(b, BATCH_SCHEDULE_DROP)->note = note;
}

void kit_session(struct batch *b, uint64_t number, const char *client_id)
{
    struct batch_session s = { .expiry_s = 60, .ends_wall_ms = UINT64_MAX, .client_id = sl_str(client_id) };
    struct batch_op *op = batch_add(b, BATCH_SESSION);
    op->id = number;
    op->note = batch_session_encode(&s);
}

void kit_body(struct batch *b, uint64_t id, size_t bytes)
{
    struct batch_op *op = batch_add(b, BATCH_BODY);
    op->id = id;
    op->msg = kit_message(id, bytes);
    b->bytes += op->msg->record_bytes;
}

static struct batch_op *add_copy(struct batch *b, enum batch_kind kind, uint64_t id, uint64_t session, uint16_t packet_id)
{
    struct batch_op *op = batch_add(b, kind);
    op->id = id;
    op->session = session;
    op->packet_id = packet_id;
    return op;
}

void kit_copy(struct batch *b, uint64_t id, uint64_t session, uint16_t packet_id, uint32_t n_ids)
{
    uint32_t ids[16];
    assert_true(n_ids <= SL_COUNT(ids));
    for (uint32_t i = 0; i < n_ids; i++)
        ids[i] = (uint32_t)session * 100 + i;
    struct batch_op *op = add_copy(b, BATCH_COPY, id, session, packet_id);
    op->copy_flags = 1 + (id % 2 == 0 ? 0 : BATCH_COPY_RETAIN);
    op->note = batch_ids_encode(ids, n_ids);
}

void kit_released(struct batch *b, uint64_t id, uint64_t session, uint16_t packet_id)
{
    struct batch_op *op = add_copy(b, BATCH_COPY, id, session, packet_id);
    op->state = BATCH_COPY_RELEASED;
    op->copy_flags = 2;
}

void kit_copy_drop(struct batch *b, uint64_t id, uint64_t session)
{
    (void)add_copy(b, BATCH_COPY_DROP, id, session, 0);
}

void kit_subscription(struct batch *b, uint64_t session, uint32_t number, const char *filter)
{
    struct batch_subscription s = { .qos = (uint8_t)(number % 3), .no_local = number % 2 == 0, .subscription_id = number * 7, .filter = sl_str(filter) };
    if (number % 4 == 0)
        s.group = sl_str("group");
    struct batch_op *op = batch_add(b, BATCH_SUBSCRIPTION);
    op->id = session;
    op->number = number;
    op->note = batch_subscription_encode(&s);
}

void kit_subscription_drop(struct batch *b, uint64_t session, uint32_t number)
{
    struct batch_op *op = batch_add(b, BATCH_SUBSCRIPTION_DROP);
    op->id = session;
    op->number = number;
}

void kit_will(struct batch *b, uint64_t session, size_t bytes)
{
    struct message *m = kit_message(session, bytes);
    struct batch_will w = { .has_expiry = bytes % 2 == 0, .delay_s = 5, .expiry_ms = 6000, .message = message_record(m) };
    struct batch_op *op = batch_add(b, BATCH_WILL);
    op->id = session;
    op->note = batch_will_encode(&w);
    message_unref(m);
}

void kit_retain(struct batch *b, uint64_t id, size_t bytes)
{
    struct batch_op *op = batch_add(b, BATCH_RETAIN);
    op->id = id;
    op->msg = kit_message(id, bytes);
}

void kit_apply(struct store *st, struct batch *b)
{
    assert_int_equal(store_apply(st, b), SL_OK);
    batch_reset(b);
}

/* ---- content ---- */

struct telling {
    struct store *st;
    struct sl_buf out;
};

static int tell_queue(void *arg, uint32_t number, const char *name)
{
    struct telling *t = arg;
    return sl_buf_printf(&t->out, "queue %" PRIu32 " %s\n", number, name);
}

static int tell_queue_record(void *arg, uint32_t number, struct sl_bytes record)
{
    struct telling *t = arg;
    struct batch_queue q;
    assert_int_equal(batch_queue_decode(record, &q), SL_OK);
    return sl_buf_printf(&t->out, "record %" PRIu32 "%s order=%.*s\n", number, q.paused ? " paused" : "", (int)q.order.n, (const char *)q.order.p);
}

static int tell_schedule(void *arg, struct sl_bytes record)
{
    struct telling *t = arg;
    struct batch_schedule s;
    assert_int_equal(batch_schedule_decode(record, &s), SL_OK);
    return sl_buf_printf(&t->out, "schedule %.*s done=%" PRIu64 "\n", (int)s.name.n, (const char *)s.name.p, s.done_ms);
}

static int tell_dedup(void *arg, uint32_t queue, uint64_t id, uint64_t seen_ms, const uint8_t key[BATCH_DEDUP_KEY])
{
    struct telling *t = arg;
    int err = sl_buf_printf(&t->out, "dedup %" PRIx64 " queue=%" PRIu32 " seen=%" PRIu64 " key=", id, queue, seen_ms);
    for (size_t i = 0; i < BATCH_DEDUP_KEY && err == SL_OK; i++)
        err = sl_buf_printf(&t->out, "%02x", key[i]);
    return err != SL_OK ? err : sl_buf_append(&t->out, "\n", 1);
}

/* What not every entry has. */
static int tell_more(struct telling *t, const struct queue_restored *r)
{
    int err = r->order_key == 0 ? SL_OK : sl_buf_printf(&t->out, " order=%" PRIx64, r->order_key);
    if (err == SL_OK && r->cause != QUEUE_CAUSE_NONE)
        err = sl_buf_printf(&t->out, " cause=%s", queue_cause_name(r->cause));
    if (err == SL_OK && r->job_id.n > 0)
        err = sl_buf_printf(&t->out, " job=%.*s", (int)r->job_id.n, (const char *)r->job_id.p);
    return err != SL_OK ? err : sl_buf_append(&t->out, "\n", 1);
}

static int tell_entry(void *arg, uint32_t queue, const struct queue_restored *r)
{
    static const char *const states[] = { "ready", "leased", "delayed", "dead" };
    struct telling *t = arg;
    struct sl_buf value = { 0 };
    assert_int_equal(store_history(t->st, queue, r->id, &value), SL_OK);
    uint64_t id = r->id;
    struct message *m = NULL;
    uint32_t entry = 0;
    struct batch_fetch f = { .n = 1, .ids = &id, .entries = &entry, .msgs = &m };
    store_fetch(t->st, &f);
    assert_int_equal(f.err, SL_OK);
    int err = sl_buf_printf(&t->out,
                            "entry %" PRIx64 " queue=%" PRIu32 " %s attempts=%" PRIu32 " due=%" PRIu64 " record=%zu"
                            " priority=%u expires=%" PRIu64 "%s body=%" PRIu32 " value=%zu",
                            r->id, queue, states[r->state], r->attempts, r->due_ms, r->bytes - sizeof *m, r->priority, r->expires_at,
                            r->expires_relative ? " relative" : "", m == NULL ? 0 : m->record_bytes, sl_buf_len(&value));
    if (m != NULL)
        message_unref(m);
    sl_buf_fini(&value);
    return err != SL_OK ? err : tell_more(t, r);
}

static int tell_session(void *arg, uint64_t number, struct sl_bytes record)
{
    struct telling *t = arg;
    struct batch_session s;
    assert_int_equal(batch_session_decode(record, &s), SL_OK);
    return sl_buf_printf(&t->out, "session %" PRIu64 " %.*s\n", number, (int)s.client_id.n, (const char *)s.client_id.p);
}

static int tell_qos2(void *arg, uint64_t session, uint16_t packet_id)
{
    struct telling *t = arg;
    return sl_buf_printf(&t->out, "qos2 %" PRIu64 " %u\n", session, packet_id);
}

static int tell_subscription(void *arg, uint64_t session, uint32_t number, struct sl_bytes record)
{
    struct telling *t = arg;
    struct batch_subscription s;
    assert_int_equal(batch_subscription_decode(record, &s), SL_OK);
    return sl_buf_printf(&t->out, "subscription %" PRIu64 " %" PRIu32 " qos=%u id=%" PRIu32 " group=%.*s filter=%.*s\n", session, number, s.qos,
                         s.subscription_id, (int)s.group.n, (const char *)s.group.p, (int)s.filter.n, (const char *)s.filter.p);
}

static int tell_will(void *arg, uint64_t session, struct sl_bytes record)
{
    struct telling *t = arg;
    struct batch_will w;
    struct message *m;
    assert_int_equal(batch_will_decode(record, &w), SL_OK);
    assert_int_equal(message_from_record(w.message, &m), SL_OK);
    message_unref(m);
    return sl_buf_printf(&t->out, "will %" PRIu64 " delay=%" PRIu32 " body=%zu\n", session, w.delay_s, w.message.n);
}

static int tell_copy(void *arg, const struct store_copy *c)
{
    struct telling *t = arg;
    int err = sl_buf_printf(&t->out, "copy %" PRIx64 " session=%" PRIu64 " packet=%u state=%u flags=%u entries=%" PRIu32 " body=%" PRIu32 " ids=",
                            message_id(c->msg), c->session, c->packet_id, c->state, c->flags, c->entries, c->msg->record_bytes);
    for (size_t i = 0; i < c->ids.n && err == SL_OK; i += 4)
        err = sl_buf_printf(&t->out, "%s%" PRIu32, i == 0 ? "" : ",", sl_ld_u32le(c->ids.p + i));
    return err != SL_OK ? err : sl_buf_append(&t->out, "\n", 1);
}

static int tell_retained(void *arg, struct message *m)
{
    struct telling *t = arg;
    return sl_buf_printf(&t->out, "retained %" PRIx64 " body=%" PRIu32 "\n", message_id(m), m->record_bytes);
}

char *kit_content(struct store *st)
{
    struct telling t = { .st = st };
    struct store_loader l = {
        .arg = &t,
        .queue = tell_queue,
        .entry = tell_entry,
        .session = tell_session,
        .qos2 = tell_qos2,
        .subscription = tell_subscription,
        .will = tell_will,
        .copy = tell_copy,
        .retained = tell_retained,
        .queue_record = tell_queue_record,
        .schedule = tell_schedule,
        .dedup = tell_dedup,
    };
    struct sl_buf why = { 0 };
    int err = store_load(st, &l, &why);
    if (err != SL_OK)
        fail_msg("store_load: %s: %.*s", sl_err_name(err), (int)sl_buf_len(&why), (const char *)why.p);
    sl_buf_fini(&why);
    assert_int_equal(sl_buf_append(&t.out, "", 1), SL_OK);
    char *text = sl_strdup((const char *)t.out.p + t.out.start);
    sl_buf_fini(&t.out);
    return text;
}
