/* Retained messages: the last one of each topic that was published with RETAIN.
 * Found by filter in the time that the filter needs, not in the time that all
 * topics need. Knows nothing of time: who reads checks expiry. */
#ifndef ROUTE_RETAINED_H
#define ROUTE_RETAINED_H

#include "core/bytes.h"
#include "core/err.h"
#include "core/message.h"

struct retained;

struct retained *retained_new(uint64_t max_messages, uint64_t max_bytes) SL_CHECK;
void retained_free(struct retained *t);
uint64_t retained_count(const struct retained *t);
/* Memory of messages, as message_bytes, and of the levels of their topics. */
uint64_t retained_bytes(const struct retained *t);

/* Would it fit (in place of what its topic has now)? Levels of a new topic count
 * as if it shared none. */
bool retained_fits(const struct retained *t, const struct message *m);
/* Shares the message. The one that it replaces, or NULL: the caller's reference. */
struct message *retained_put(struct retained *t, struct message *m) SL_CHECK;
/* The one that was there, or NULL: the caller's reference. */
struct message *retained_remove(struct retained *t, struct sl_bytes topic) SL_CHECK;
struct message *retained_find(const struct retained *t, struct sl_bytes topic);

/* Appends the ids of all whose topic the filter takes ($ rules of section 4.7.2
 * hold), in no order, as u64 in the machine's order. */
void retained_match(const struct retained *t, struct sl_bytes filter, struct sl_buf *ids);
/* The message of that id, if it is still what its topic has. Borrowed. */
struct message *retained_by_id(const struct retained *t, uint64_t id);
/* The next whose expiry has passed at `now`, by the times of struct sl_now; NULL:
 * none. The caller removes it. */
struct message *retained_expired(struct retained *t, const struct sl_now *now);
/* In how many ms retained_expired has one; UINT64_MAX: never, as it stands. */
uint64_t retained_next_expiry(const struct retained *t, const struct sl_now *now);
/* Iterate: *pos starts at 0; NULL at the end. No change while iterating. */
struct message *retained_next(const struct retained *t, size_t *pos);

#endif
