/* A table of subscriptions and a few sessions to subscribe. */
#ifndef TESTS_SUBSCRIPTIONS_KIT_H
#define TESTS_SUBSCRIPTIONS_KIT_H

#include "claims.h"
#include "route/subscriptions.h"

#define SESSIONS 8u

struct kit {
    struct subscriptions *t;
    struct session s[SESSIONS + 1]; /* by slot, from 1 */
};

static inline struct kit kit_new(void)
{
    struct kit k = {.t = subscriptions_new()};
    for (uint32_t i = 1; i <= SESSIONS; i++)
        k.s[i].slot = i;
    return k;
}

static inline void kit_free(struct kit *k)
{
    subscriptions_free(k->t);
}

static inline uint32_t add_with(struct kit *k, uint32_t session, const char *group, const char *filter, struct subscription_options o)
{
    bool existed = true;
    uint32_t number = subscriptions_add(k->t, &k->s[session], sl_str(group), sl_str(filter), &o, 0, &existed);
    assert_false(existed);
    return number;
}

static inline uint32_t add(struct kit *k, uint32_t session, const char *filter)
{
    return add_with(k, session, "", filter, (struct subscription_options){.qos = 1});
}

static inline void join(struct kit *k, uint32_t session, const char *group, const char *filter)
{
    (void)add_with(k, session, group, filter, (struct subscription_options){.qos = 1});
}

static inline uint32_t drop(struct kit *k, uint32_t session, const char *group, const char *filter)
{
    return subscriptions_remove(k->t, &k->s[session], sl_str(group), sl_str(filter));
}

static inline const struct audience *match(struct kit *k, const char *topic)
{
    return subscriptions_match(k->t, sl_str(topic));
}

static inline const struct audience_member *member_of(const struct audience *a, uint32_t session)
{
    const struct audience_member *found = NULL;
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->v[i].session != session)
            continue;
        assert_null(found); /* each session once */
        found = &a->v[i];
    }
    return found;
}

#endif
