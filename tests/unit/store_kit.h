/* What the store's tests share: directories that vanish, batches in one line,
 * a store's whole content as text, and a scenario of batches whose outcome
 * both engines must agree on. */
#ifndef TESTS_STORE_KIT_H
#define TESTS_STORE_KIT_H

#include <lmdb.h>

#include "store/store.h"

#define KIT_MAP_BYTES ((uint64_t)64 * 1024 * 1024)
#define KIT_RESERVE_BYTES ((uint64_t)1024 * 1024)

struct kit_dir {
    char path[256];
};
void kit_dir_make(struct kit_dir *d);
void kit_dir_remove(const struct kit_dir *d);
/* "<dir>/<name>" in a static buffer of four. */
const char *kit_path(const char *dir, const char *name);

struct store_config kit_config(const char *engine, const char *dir);
/* Opens or fails the test with the reason. */
struct store *kit_open(const char *engine, const char *dir);
/* Opens the LMDB store, loads it without listening, closes it: what loading said. */
int kit_load(const char *dir, struct sl_buf *why);
/* Loading is SL_EFORMAT, and the reason has these words in it. */
void kit_load_refused(const char *dir, const char *words);

/* The store in a data directory as LMDB has it, in one transaction. */
struct kit_raw {
    MDB_env *env;
    MDB_txn *txn;
};
struct kit_raw kit_raw_open(const char *data);
MDB_dbi kit_raw_tree(const struct kit_raw *r, const char *name, unsigned flags);
void kit_raw_close(struct kit_raw *r); /* commits */

/* The caller owns the reference. Payload: `bytes` bytes made from the id. */
struct message *kit_message(uint64_t id, size_t bytes);
/* The same with a job-id made from the id: "job-7" and the like. */
struct message *kit_job(uint64_t id, size_t bytes);
/* BODY and ENTRY. */
void kit_enqueue(struct batch *b, uint64_t id, uint32_t queue, size_t bytes);
void kit_settle(struct batch *b, uint64_t id, uint32_t queue); /* SETTLE and BODY_DROP */
void kit_update(struct batch *b, uint64_t id, uint32_t queue, uint32_t attempts, const char *tail);
/* UPDATE: dead by that cause, without a history. */
void kit_dead(struct batch *b, uint64_t id, uint32_t queue, enum queue_cause cause);
/* The last message that entered: its entry's order key; its place is taken by one that has a job-id. */
void kit_order(struct batch *b, uint64_t order_key);
void kit_make_job(struct batch *b, size_t bytes);
/* DEDUP: key and time are made from `content`. */
void kit_dedup(struct batch *b, uint64_t id, uint32_t queue, uint8_t content);
void kit_dedup_drop(struct batch *b, uint64_t id, uint32_t queue);
void kit_queue_record(struct batch *b, uint32_t queue, bool paused, const char *order);
void kit_schedule(struct batch *b, const char *name, uint64_t done_ms);
void kit_schedule_drop(struct batch *b, const char *name);
void kit_session(struct batch *b, uint64_t number, const char *client_id);
void kit_body(struct batch *b, uint64_t id, size_t bytes); /* BODY alone: what waits for subscribers only */
/* COPY with `n_ids` subscription ids made from its session. */
void kit_copy(struct batch *b, uint64_t id, uint64_t session, uint16_t packet_id, uint32_t n_ids);
void kit_released(struct batch *b, uint64_t id, uint64_t session, uint16_t packet_id);
void kit_copy_drop(struct batch *b, uint64_t id, uint64_t session);
void kit_subscription(struct batch *b, uint64_t session, uint32_t number, const char *filter);
void kit_subscription_drop(struct batch *b, uint64_t session, uint32_t number);
void kit_will(struct batch *b, uint64_t session, size_t bytes);
void kit_retain(struct batch *b, uint64_t id, size_t bytes);
/* Applies, wants SL_OK, empties the batch. */
void kit_apply(struct store *st, struct batch *b);

/* Everything that load tells, one line each; the caller frees it. */
char *kit_content(struct store *st);

#define KIT_SCENARIO_BATCHES 12u
/* Batch i (1 …) of a fixed story: messages enter, fail, are settled; sessions and ids come and go,
 * and so do subscriptions, wills, what waits for subscribers, retained messages, dedup keys, schedules. */
void kit_scenario(uint32_t i, struct batch *b);
/* The content after the first n batches; the caller frees it. */
char *kit_scenario_content(uint32_t n);

#endif
