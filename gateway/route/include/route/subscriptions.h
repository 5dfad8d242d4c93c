/* Who listens to what: the subscriptions of all sessions, in one tree of filter
 * levels. A match costs what the topic is deep (and what it finds), however
 * many subscriptions there are. [MQTT-4.7.*], [MQTT-4.8.2-*], [MQTT-3.3.4-2 to -5].
 *
 * Sessions are named by their slot. A subscription is (session, group, filter):
 * group is the name of a shared subscription, empty for an ordinary one. */
#ifndef ROUTE_SUBSCRIPTIONS_H
#define ROUTE_SUBSCRIPTIONS_H

#include "core/bytes.h"
#include "core/err.h"
#include "route/sessions.h"

struct subscription_options {
    uint8_t qos;
    bool no_local, retain_as_published;
    uint32_t id;     /* 0: none */
};

/* As others see one. Views into the table: until its next change, or the next look. */
struct subscription {
    struct sl_bytes group, filter;
    struct subscription_options options;
    uint32_t number; /* its name within its session, for the store; from 1 */
};

struct subscriptions;

struct subscriptions *subscriptions_new(void) SL_CHECK;
void subscriptions_free(struct subscriptions *t);
uint64_t subscriptions_count(const struct subscriptions *t);        /* all */
uint64_t subscriptions_shared_count(const struct subscriptions *t); /* of them, shared ones */
/* Bytes of memory held. */
size_t subscriptions_bytes(const struct subscriptions *t);

/* The filter is valid. Replaces the options of one that exists [MQTT-3.8.4-3];
 * *existed tells. `number` 0: the next free one of the session; else, when
 * restoring, the one it had. Returns its number. */
uint32_t subscriptions_add(struct subscriptions *t, struct session *s, struct sl_bytes group, struct sl_bytes filter,
                           const struct subscription_options *o, uint32_t number, bool *existed);
/* Its number; 0: there was none. */
uint32_t subscriptions_remove(struct subscriptions *t, struct session *s, struct sl_bytes group, struct sl_bytes filter);
void subscriptions_remove_all(struct subscriptions *t, struct session *s);
/* A session's, in no order: *pos starts at 0, false at the end. */
bool subscriptions_next(struct subscriptions *t, const struct session *s, uint32_t *pos, struct subscription *out);

/* ---- who takes a topic ---- */

/* One session that an ordinary subscription (or several) brings a message to. */
struct audience_member {
    uint32_t session;         /* slot */
    uint8_t qos;              /* the best of all that match */
    bool no_local;            /* every one that matches says so; when only some do, `mixed` */
    bool mixed;               /* the publisher's own copy is another: see audience_without_local */
    bool retain_as_published; /* at least one says so */
    uint32_t ids, n_ids;      /* subscription ids: a range of audience.ids */
};

struct shared_group; /* members of one (group, filter) */

struct audience {
    uint32_t n, n_groups;
    const struct audience_member *v;
    const uint32_t *ids;
    struct shared_group *const *groups;
};

/* Never NULL. Until the next change of the table or the next match; the answers
 * for recent topics are remembered. */
const struct audience *subscriptions_match(struct subscriptions *t, struct sl_bytes topic);
/* The same for one session that published itself and has No Local on some of
 * what matches: its copy without those; false: none is left. `ids` has room for
 * member->n_ids. */
bool audience_without_local(struct subscriptions *t, struct sl_bytes topic, const struct session *publisher, struct audience_member *out, uint32_t *ids);
/* Does this filter take this topic? */
bool subscription_takes(struct sl_bytes filter, struct sl_bytes topic);
/* Nodes that matching has looked at so far. */
uint64_t subscriptions_visited(const struct subscriptions *t);

/* ---- shared groups ---- */

struct shared_member {
    uint32_t session; /* slot */
    struct subscription_options options;
};

uint32_t shared_group_count(const struct shared_group *g);
/* i counts from the member after the one that was chosen last: whoever takes the
 * first that suits gives everybody his turn. */
const struct shared_member *shared_group_member(const struct shared_group *g, uint32_t i);
/* The number of member i's subscription (as above) within its session. */
uint32_t shared_group_subscription(const struct subscriptions *t, const struct shared_group *g, uint32_t i);
/* Member i (as above) was chosen. */
void shared_group_chose(struct shared_group *g, uint32_t i);
/* For the store and for moving what a member leaves behind. NULL: no such group. */
struct shared_group *subscriptions_group(struct subscriptions *t, struct sl_bytes group, struct sl_bytes filter);

#endif
