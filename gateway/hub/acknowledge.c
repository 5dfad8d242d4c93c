/* ACK and NACK: what becomes of deliveries to a client's consumers. */
#include "hub_internal.h"

void on_acknowledge(struct hub_client *c, uint32_t token, const struct proto_acknowledge *p)
{
    (void)p;
    client_answer(c, token, PROTO_REFUSED_DELIVERY);
}
