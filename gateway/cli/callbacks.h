/* What Paho calls, on its own threads; each makes one event. `context` is the link. */
#ifndef CLI_CALLBACKS_H
#define CLI_CALLBACKS_H

#include "link.h"

void cli_on_lost(void *context, char *cause);
int cli_on_message(void *context, char *topic, int topic_bytes, MQTTAsync_message *message);
void cli_on_disconnected(void *context, MQTTProperties *properties, enum MQTTReasonCodes reason);

void cli_on_connected(void *context, MQTTAsync_successData *d);
void cli_on_connected5(void *context, MQTTAsync_successData5 *d);
void cli_on_refused(void *context, MQTTAsync_failureData *d);
void cli_on_refused5(void *context, MQTTAsync_failureData5 *d);

void cli_on_subscribed(void *context, MQTTAsync_successData *d);
void cli_on_subscribed5(void *context, MQTTAsync_successData5 *d);
void cli_on_subscribe_failed(void *context, MQTTAsync_failureData *d);
void cli_on_subscribe_failed5(void *context, MQTTAsync_failureData5 *d);

void cli_on_unsubscribed(void *context, MQTTAsync_successData *d);
void cli_on_unsubscribed5(void *context, MQTTAsync_successData5 *d);
void cli_on_unsubscribe_failed(void *context, MQTTAsync_failureData *d);
void cli_on_unsubscribe_failed5(void *context, MQTTAsync_failureData5 *d);

void cli_on_published(void *context, MQTTAsync_successData *d);
void cli_on_published5(void *context, MQTTAsync_successData5 *d);
void cli_on_publish_failed(void *context, MQTTAsync_failureData *d);
void cli_on_publish_failed5(void *context, MQTTAsync_failureData5 *d);

void cli_on_gone(void *context, MQTTAsync_successData *d);
void cli_on_gone5(void *context, MQTTAsync_successData5 *d);
void cli_on_gone_failed(void *context, MQTTAsync_failureData *d);
void cli_on_gone_failed5(void *context, MQTTAsync_failureData5 *d);

#endif
