/* Conditions of schedules: exactly one of cron and every, a time zone that there
 * is, a name of its own, a queue that exists, a payload that may be published. */
#include <stdarg.h>
#include <stdio.h>

#include "check.h"
#include "core/hash.h"
#include "core/utf8.h"

#define QUEUE_PREFIX "/queue/"
#define NAME_BYTES   64u

struct check {
    struct config *c;
    const struct config_node *root;
    struct config_report *report;
    size_t index;
};

/* `key`: below the schedule, or "". At its place, or that of the nearest thing around it. */
static void fault(const struct check *k, const char *key, const char *fmt, ...) SL_PRINTF(3, 4);
static void fault(const struct check *k, const char *key, const char *fmt, ...)
{
    char text[512], path[96];
    bool whole;
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)snprintf(path, sizeof path, "schedules[%zu]%s%s", k->index, *key == '\0' ? "" : ".", key);
    const struct config_node *node = config_tree_find(k->root, path, &whole);
    config_fault(k->report, node->at, path, "%s", text);
}

/* What is there and wrong has been told. */
static bool is_given(const struct check *k, const char *key)
{
    char path[96];
    bool whole;
    (void)snprintf(path, sizeof path, "schedules[%zu].%s", k->index, key);
    const struct config_node *node = config_tree_find(k->root, path, &whole);
    return whole && node->kind != NODE_NULL;
}

/* ---- when ---- */

static void check_when(const struct check *k, struct config_schedule *s)
{
    char why[SCHEDULE_WHY_MAX];
    bool cron = is_given(k, "cron"), every = is_given(k, "every");
    if (cron == every)
        fault(k, "", cron ? "has both cron and every, must have one of them" : "cron or every is missing, must have one of them");
    if (s->every_ms != CONFIG_UNSET)
        s->when.every_ms = s->every_ms;
    if (s->cron != NULL && schedule_cron_parse(sl_str(s->cron), &s->when, why) != SL_OK)
        fault(k, "cron", "%s", why);
}

static void check_zone(const struct check *k, const struct config_schedule *s, bool (*is_zone)(const char *name))
{
    char shown[96];
    if (s->timezone == NULL || is_zone == NULL || strcmp(s->timezone, "UTC") == 0 || is_zone(s->timezone))
        return;
    fault(k, "timezone", "there is no time zone \"%s\" on this machine, must be one of the zone database (tzdata)",
          sl_escape(sl_str(s->timezone), shown, sizeof shown));
}

/* ---- what ---- */

static void check_queue(const struct check *k, const struct config_schedule *s)
{
    static const char prefix[] = QUEUE_PREFIX;
    char shown[96];
    const char *topic = s->publish.topic;
    if (topic == NULL || strncmp(topic, prefix, sizeof prefix - 1) != 0)
        return;
    struct sl_bytes name = sl_str(topic + sizeof prefix - 1);
    if (config_queue_find(k->c, name) == NULL)
        fault(k, "publish.topic", "there is no queue \"%s\", must be one of queues", sl_escape(name, shown, sizeof shown));
}

static void check_payload(const struct check *k, const struct config_schedule *s)
{
    const char *text = s->publish.payload, *base64 = s->publish.payload_base64;
    uint64_t max = k->c->limits.max_message_bytes;
    if (text != NULL && base64 != NULL)
        fault(k, "publish.payload_base64", "is there beside payload, must be one of them");
    if (text != NULL && strlen(text) > max)
        fault(k, "publish.payload", "is larger than limits.max_message (%llu bytes), must be at most that", (unsigned long long)max);
    if (base64 != NULL && strlen(base64) / 4 * 3 > max + 2)
        fault(k, "publish.payload_base64", "is larger than limits.max_message (%llu bytes), must be at most that", (unsigned long long)max);
}

/* ---- names ---- */

static uint64_t mix(uint64_t sum, const char *text)
{
    const struct sl_hash_key key = { sum, 0 }; /* the same in every process */
    return sl_hash_keyed(&key, text == NULL ? SL_BYTES_NONE : sl_bytes_of(text, strlen(text) + 1));
}

/* The same at each start, as long as it is the same schedule. */
static const char *name_of(struct config_memory *m, const struct config_schedule *s)
{
    char every[24], name[NAME_BYTES];
    (void)snprintf(every, sizeof every, "%llu", (unsigned long long)s->every_ms);
    uint64_t sum = mix(mix(mix(0, s->cron), s->cron == NULL ? every : NULL), s->timezone);
    sum = mix(mix(mix(sum, s->publish.topic), s->publish.payload), s->publish.payload_base64);
    (void)snprintf(name, sizeof name, "schedule-%016llx", (unsigned long long)sum);
    return config_memory_text(m, sl_str(name));
}

static void check_name(const struct check *k, struct config_schedule *s)
{
    bool given = s->name != NULL;
    if (!given)
        s->name = name_of(k->c->memory, s);
    for (size_t i = 0; i < k->index; i++) {
        if (strcmp(k->c->schedules[i].name, s->name) != 0)
            continue;
        fault(k, given ? "name" : "", given ? "schedules[%zu] has the same name, must be another one" : "has the time, topic and payload of schedules[%zu], must have a name of its own", i);
        return;
    }
}

void config_check_schedules(struct config *c, const struct config_node *root, bool (*is_zone)(const char *name),
                            struct config_report *r)
{
    struct check k = { c, root, r, 0 };
    for (; k.index < c->n_schedules; k.index++) {
        struct config_schedule *s = &c->schedules[k.index];
        check_when(&k, s);
        check_zone(&k, s, is_zone);
        check_queue(&k, s);
        check_payload(&k, s);
        check_name(&k, s);
    }
}
