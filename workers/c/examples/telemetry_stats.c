/* Statistics of numeric telemetry: count, least, greatest and mean per topic,
 * one line per topic for each second of message time (the time at which the
 * gateway accepted the messages), and for the rest when the worker drains.
 *
 * A payload is a number ("21.5") or a JSON object whose first number counts
 * ({"value": 21.5}). Anything else is poison and goes to the dead letters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice_worker.h"

#define TOPICS_MAX  1024
#define TOPIC_BYTES 96
#define TEXT_BYTES  512

struct row {
    char topic[TOPIC_BYTES];
    unsigned long count;
    double least, greatest, sum;
};

struct stats {
    struct row rows[TOPICS_MAX];
    size_t n_rows;
    uint64_t second; /* of the messages that the rows hold */
};

static void print_and_clear(struct stats *s)
{
    for (size_t i = 0; i < s->n_rows; i++) {
        const struct row *r = &s->rows[i];
        printf("%llu  %-40s n=%-7lu min=%-10.4g max=%-10.4g mean=%.4g\n",
               (unsigned long long)s->second, r->topic, r->count, r->least, r->greatest,
               r->sum / (double)r->count);
    }
    fflush(stdout);
    s->n_rows = 0;
}

/* The topic's row, new if need be; NULL when there are too many topics. */
static struct row *row_of(struct stats *s, struct sluice_worker_view topic)
{
    char name[TOPIC_BYTES];
    snprintf(name, sizeof name, "%.*s", (int)topic.size, topic.data);
    for (size_t i = 0; i < s->n_rows; i++)
        if (strcmp(s->rows[i].topic, name) == 0)
            return &s->rows[i];
    if (s->n_rows == TOPICS_MAX)
        return NULL;
    struct row *r = &s->rows[s->n_rows++];
    *r = (struct row){ .least = INFINITY, .greatest = -INFINITY };
    memcpy(r->topic, name, sizeof name);
    return r;
}

/* The number itself, or the first one after a colon of a JSON object. */
static bool number_of(struct sluice_worker_view payload, double *out)
{
    char text[TEXT_BYTES];
    if (payload.size >= sizeof text || payload.size == 0)
        return false;
    memcpy(text, payload.data, payload.size);
    text[payload.size] = '\0';
    const char *p = text;
    do {
        char *end;
        double value = strtod(p, &end);
        if (end != p && isfinite(value)) {
            *out = value;
            return true;
        }
        p = strchr(p, ':');
    } while (p++ != NULL);
    return false;
}

static enum sluice_worker_verdict take(struct sluice_worker_message *m, void *arg)
{
    struct stats *s = arg;
    double value;
    if (!number_of(sluice_worker_message_payload(m), &value)) {
        int err = sluice_worker_dead(m, "the payload holds no number");
        return err == SLUICE_WORKER_OK ? SLUICE_WORKER_ANSWERED : SLUICE_WORKER_DEAD;
    }
    uint64_t second = sluice_worker_message_accepted_at(m) / 1000;
    if (second != s->second) {
        print_and_clear(s);
        s->second = second;
    }
    struct row *r = row_of(s, sluice_worker_message_topic(m));
    if (r == NULL)
        return SLUICE_WORKER_RELEASE;
    r->count++;
    r->sum += value;
    r->least = fmin(r->least, value);
    r->greatest = fmax(r->greatest, value);
    return SLUICE_WORKER_ACK;
}

int main(void)
{
    static struct stats stats;
    int status = sluice_worker_main(take, &stats);
    print_and_clear(&stats);
    return status;
}
