/* The modes, and the protocols that sluice itself speaks. */
#include "bench/bench.h"

#include "modes.h"

int bench_main_with(const struct bench_drivers *drivers, int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return mode_worker(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "subscriber") == 0)
        return mode_subscriber(drivers, argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "fanout") == 0)
        return mode_fanout(argc - 1, argv + 1);
    return mode_load(drivers, argc, argv);
}

int bench_main(int argc, char **argv)
{
    static const struct bench_driver *const producers[] = { &bench_mqtt, &bench_mqtt5,
                                                            &bench_stomp };
    static const struct bench_consumer *const consumers[] = {
        &bench_mqtt_subscriber,
        &bench_mqtt5_subscriber,
        &bench_stomp_subscriber,
    };
    static const struct bench_drivers own = { producers, SL_COUNT(producers), consumers,
                                              SL_COUNT(consumers) };
    return bench_main_with(&own, argc, argv);
}
