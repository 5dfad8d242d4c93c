/* What stomp.c and its neighbour share: what options say in headers, and headers in a message. */
#ifndef CLI_STOMP_H
#define CLI_STOMP_H

#include "link.h"
#include "stomp/frame.h"

/* Appends the destination that `topic` stands for: itself when it begins with a slash, else
 * /topic/ and the topic of MQTT, whose dots stay dots. */
void cli_stomp_destination(struct sl_buf *out, const char *topic);

/* SEND without its receipt. SL_ETOOBIG as stomp_end(). */
void cli_stomp_begin_send(struct stomp_writer *w, struct sl_buf *out, enum stomp_version v, const char *topic,
                          const struct cli_args *a);
/* SUBSCRIBE of that number, from 1, with a receipt. */
SL_CHECK int cli_stomp_put_subscribe(struct sl_buf *out, enum stomp_version v, const char *topic, uint32_t number,
                                     const struct cli_args *a);
SL_CHECK int cli_stomp_put_ack(struct sl_buf *out, enum stomp_version v, struct sl_bytes token, uint32_t subscription);

/* What comes for that topic is acknowledged when it was shown. */
bool cli_stomp_waits_for_ack(const char *topic, const struct cli_args *a);

/* Memory of a message's properties, used again for the next one; all zero is empty. */
struct cli_stomp_properties {
    MQTTProperties list;
    int room;
};

/* Views into the frame. */
struct cli_message cli_stomp_message(const struct stomp_frame *f, enum stomp_version v, struct cli_stomp_properties *p);
void cli_stomp_properties_fini(struct cli_stomp_properties *p);

#endif
