/* Wills: kept with the connection that gave them, as a message record without
 * an identity; published when the connection ends without a goodbye
 * [MQTT-3.1.2-8], and forgotten with an orderly one [MQTT-3.1.2-10]. */
#include "hub_internal.h"

void will_keep(struct hub_client *c, const struct proto_connect *p)
{
    struct message_parts parts = {
        .protocol = (enum message_protocol)c->protocol,
        .qos = p->will_qos,
        .priority = MESSAGE_PRIORITY_DEFAULT,
        .flags = (uint8_t)((p->will_retain ? MESSAGE_RETAIN : 0) | (p->will_payload_utf8 ? MESSAGE_PAYLOAD_UTF8 : 0)),
        .topic = p->will_topic,
        .client_id = c->session->client_id,
        .user = c->user != NULL ? sl_str(c->user) : SL_BYTES_NONE,
        .content_type = p->will_content_type,
        .correlation = p->will_correlation,
        .reply_to = p->will_reply_to,
        .headers = p->will_headers,
        .n_headers = p->n_will_headers,
        .payload = p->will_payload,
    };
    c->will = SL_NEW(struct will);
    c->will->m = message_new(&parts);
    c->will->has_expiry = p->will_has_expiry;
    c->will->expiry_ms = p->will_expiry_ms;
}

void will_forget(struct hub_client *c)
{
    if (c->will == NULL)
        return;
    message_unref(c->will->m);
    sl_free(c->will);
    c->will = NULL;
}

/* The record's headers as the array that a publish is built from. */
static struct message_header *headers_of(struct sl_bytes record, size_t n)
{
    struct message_header *all = sl_calloc(n, sizeof *all);
    size_t pos = 0, i = 0;
    while (i < n && message_header_next(record, &pos, &all[i]))
        i++;
    return all;
}

void will_publish(struct hub_client *c)
{
    if (c->will == NULL)
        return;
    struct hub *h = c->h;
    struct message_parts parts;
    struct sl_bytes record = message_record(c->will->m);
    message_view(record, &parts);
    struct message_header *headers = headers_of(record, parts.n_headers);
    parts.headers = headers;
    if (c->will->has_expiry) {
        parts.expires_at = h->now.steady_ms + c->will->expiry_ms;
        parts.flags = (uint8_t)(parts.flags | MESSAGE_EXPIRES_RELATIVE);
    }
    int err = publish_parts(h, &parts, false); /* over a limit it is dropped and counted (decision 30) */
    sl_log(SL_DEBUG, "will_published", "peer=%s result=%s", c->peer, sl_err_name(err));
    sl_free(headers);
    will_forget(c);
}
