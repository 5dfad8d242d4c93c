#include "events.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "core/alloc.h"

#define MAX_MESSAGES 4096
#define MAX_BYTES (16u << 20)

int cli_events_init(struct cli_events *q)
{
    *q = (struct cli_events){ .last = &q->first };
    q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->fd < 0)
        return SL_ESYS;
    if (pthread_mutex_init(&q->lock, NULL) != 0 || pthread_cond_init(&q->room, NULL) != 0)
        return SL_ESYS;
    return SL_OK;
}

struct cli_event *cli_event_new(enum cli_event_kind kind)
{
    struct cli_event *e = SL_NEW(struct cli_event);
    e->kind = kind;
    return e;
}

void cli_event_free(const struct cli_paho *paho, struct cli_event *e)
{
    if (e->paho_message != NULL)
        paho->free_message(&e->paho_message);
    if (e->paho_topic != NULL)
        paho->free(e->paho_topic);
    sl_free(e->granted);
    sl_free(e);
}

static void wake(struct cli_events *q)
{
    uint64_t one = 1;
    (void)!write(q->fd, &one, sizeof one); /* fails only where it is readable already */
}

static bool full(const struct cli_events *q)
{
    return !q->closing && (q->messages >= MAX_MESSAGES || q->bytes >= MAX_BYTES);
}

void cli_events_put(struct cli_events *q, struct cli_event *e)
{
    pthread_mutex_lock(&q->lock);
    bool was_empty = q->first == NULL;
    if (e->kind == CLI_EV_MESSAGE) {
        while (full(q))
            pthread_cond_wait(&q->room, &q->lock);
        was_empty = q->first == NULL;
        q->messages++;
        q->bytes += e->message.payload.n;
    }
    *q->last = e;
    q->last = &e->next;
    if (was_empty)
        wake(q);
    pthread_mutex_unlock(&q->lock);
}

void cli_events_answered(struct cli_events *q)
{
    pthread_mutex_lock(&q->lock);
    if (q->answered++ == 0)
        wake(q);
    pthread_mutex_unlock(&q->lock);
}

struct cli_event *cli_events_take(struct cli_events *q)
{
    pthread_mutex_lock(&q->lock);
    struct cli_event *e = q->first;
    if (e != NULL) {
        q->first = e->next;
        if (q->first == NULL)
            q->last = &q->first;
        if (e->kind == CLI_EV_MESSAGE) {
            q->messages--;
            q->bytes -= e->message.payload.n;
            pthread_cond_signal(&q->room);
        }
    }
    pthread_mutex_unlock(&q->lock);
    return e;
}

uint64_t cli_events_count(struct cli_events *q)
{
    pthread_mutex_lock(&q->lock);
    uint64_t n = q->answered;
    q->answered = 0;
    pthread_mutex_unlock(&q->lock);
    return n;
}

void cli_events_clear(struct cli_events *q)
{
    uint64_t n;
    (void)!read(q->fd, &n, sizeof n);
}

void cli_events_close(struct cli_events *q)
{
    pthread_mutex_lock(&q->lock);
    q->closing = true;
    pthread_cond_broadcast(&q->room);
    pthread_mutex_unlock(&q->lock);
}
