/* Drivers of the bench for the servers that sluice is compared with, beside
 * those that speak MQTT and STOMP, which `sluice bench` does itself. */
#ifndef PEERS_PEERS_H
#define PEERS_PEERS_H

#include "bench/driver.h"

extern const struct bench_driver peer_redis, peer_beanstalkd;
extern const struct bench_consumer peer_redis_consumer, peer_beanstalkd_consumer;

/* Cuts one line that ends with CR LF off the front; its bytes with the end, 0: there is no whole one. */
size_t peer_line(struct sl_bytes in, struct sl_bytes *line);
/* The decimal number after `skip` bytes of a line. */
SL_CHECK int peer_number(struct sl_bytes line, size_t skip, uint64_t *out);

#ifdef PEERS_AMQP
/* Consumer of a RabbitMQ queue; argv as of a subscriber. */
int amqp_main(int argc, char **argv);
#endif

#endif
