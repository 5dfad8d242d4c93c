/* bench_peers: as `sluice bench`, for Redis and beanstalkd; `bench_peers amqp`
 * consumes from RabbitMQ. */
#include "peers.h"

#include <stdio.h>

#include "bench/bench.h"

size_t peer_line(struct sl_bytes in, struct sl_bytes *line)
{
    const uint8_t *end = in.n == 0 ? NULL : memchr(in.p, '\n', in.n);
    if (end == NULL || end == in.p || end[-1] != '\r')
        return 0;
    *line = sl_bytes_of(in.p, (size_t)(end - in.p) - 1);
    return line->n + 2;
}

int peer_number(struct sl_bytes line, size_t skip, uint64_t *out)
{
    if (line.n <= skip)
        return SL_EPEER;
    return sl_bytes_u64(sl_bytes_of(line.p + skip, line.n - skip), UINT64_MAX, out) == SL_OK
               ? SL_OK
               : SL_EPEER;
}

int main(int argc, char **argv)
{
    static const struct bench_driver *const producers[] = { &peer_redis, &peer_beanstalkd };
    static const struct bench_consumer *const consumers[] = { &peer_redis_consumer,
                                                              &peer_beanstalkd_consumer };
    static const struct bench_drivers drivers = { producers, SL_COUNT(producers), consumers,
                                                  SL_COUNT(consumers) };
    if (argc > 1 && strcmp(argv[1], "amqp") == 0) {
#ifdef PEERS_AMQP
        return amqp_main(argc - 1, argv + 1);
#else
        fputs("bench_peers was built without librabbitmq\n", stderr);
        return 2;
#endif
    }
    return bench_main_with(&drivers, argc, argv);
}
