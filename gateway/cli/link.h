/* One connection, spoken by Paho. What its threads tell becomes events; every
 * function here is the main thread's. */
#ifndef CLI_LINK_H
#define CLI_LINK_H

#include "address.h"
#include "args.h"
#include "core/bytes.h"
#include "events.h"

struct cli_link {
    const struct cli_paho *paho;
    const struct cli_args *args;
    const struct cli_address *address;
    MQTTAsync handle;
    struct cli_events events;
    bool v5;
    char id[128];
    char tls_error[256]; /* OpenSSL's word on a failed handshake */
};

/* Functions give SL_OK, and the event of the outcome comes later; or SL_ESYS with
 * Paho's code in *code. `args` and `address` are borrowed and outlive the link. */
SL_CHECK int cli_link_open(struct cli_link *l, const char *command, int *code);
SL_CHECK int cli_link_connect(struct cli_link *l, int *code);
SL_CHECK int cli_link_subscribe(struct cli_link *l, const struct cli_texts *filters, int *code);
SL_CHECK int cli_link_unsubscribe(struct cli_link *l, const struct cli_texts *filters, int *code);
/* The payload is copied, `properties` too; NULL: none. */
SL_CHECK int cli_link_publish(struct cli_link *l, const char *topic, struct sl_bytes payload,
                              const MQTTProperties *properties, int *code);
SL_CHECK int cli_link_disconnect(struct cli_link *l, int *code);

/* ---- properties; all lists start as MQTTProperties_initializer ---- */

void cli_property_number(const struct cli_paho *p, MQTTProperties *to, enum MQTTPropertyCodes name, uint32_t v);
void cli_property_text(const struct cli_paho *p, MQTTProperties *to, enum MQTTPropertyCodes name, const char *v);
void cli_property_pair(const struct cli_paho *p, MQTTProperties *to, const char *name_value);
/* Those of a PUBLISH that the options ask for. */
void cli_properties_of(const struct cli_paho *p, const struct cli_args *a, MQTTProperties *to);

#endif
