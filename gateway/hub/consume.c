/* STOMP's consumers: what a connection takes by SUBSCRIBE, from a topic or from a
 * queue. */
#include "hub_internal.h"

void on_consume(struct hub_client *c, uint32_t token, const struct proto_consume *p)
{
    (void)p;
    client_answer(c, token, PROTO_REFUSED_TARGET);
}

void on_cancel(struct hub_client *c, uint32_t token, uint32_t consumer)
{
    (void)consumer;
    client_answer(c, token, PROTO_ACCEPTED);
}
