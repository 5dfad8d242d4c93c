/* The load generator behind `sluice bench`, and its consumers. Other programs
 * (tests/bench/peers) are the same with drivers of their own. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "bench/driver.h"

/* argv[0] is "bench". Exit status: 0 done; 1 failed, or messages were lost; 2 wrong use. */
int bench_main(int argc, char **argv);
int bench_main_with(const struct bench_drivers *drivers, int argc, char **argv);

#endif
