/* One message in, another one out, in one step: Celsius becomes Fahrenheit under TOPIC/fahrenheit, and also the
 * result for whoever asked with a reply_to. After any crash the ack and the new message are both
 * stored or neither is, so nothing is converted twice or lost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice_worker.h"

static int number_of(struct sluice_worker_view text, double *out)
{
    char copy[64], *end;
    if (text.size == 0 || text.size >= sizeof copy)
        return -1;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    *out = strtod(copy, &end);
    return *end == '\0' ? 0 : -1;
}

static enum sluice_worker_verdict convert(struct sluice_worker_message *m, void *arg)
{
    (void)arg;
    double celsius;
    char topic[512], text[64];
    struct sluice_worker_view from = sluice_worker_message_topic(m);
    if (number_of(sluice_worker_message_payload(m), &celsius) != 0)
        return SLUICE_WORKER_DEAD;
    int size = snprintf(text, sizeof text, "%.2f", celsius * 9 / 5 + 32);
    int n = snprintf(topic, sizeof topic, "%.*s/fahrenheit", (int)from.size, from.data);
    if (size < 0 || (size_t)size >= sizeof text || n < 0 || (size_t)n >= sizeof topic)
        return SLUICE_WORKER_DEAD;
    struct sluice_worker_publish out = { .topic = topic, .payload = text, .size = (size_t)size };
    struct sluice_worker_done done = {
        .result = text, .result_size = (size_t)size, .publish = &out, .n_publish = 1
    };
    int err = sluice_worker_ack_with(m, &done);
    return err == SLUICE_WORKER_OK ? SLUICE_WORKER_ANSWERED : SLUICE_WORKER_RETRY;
}

int main(void)
{
    return sluice_worker_main(convert, NULL);
}
