/* The modes of `sluice bench`. Each gets the rest of the command line. */
#ifndef BENCH_MODES_H
#define BENCH_MODES_H

#include "bench/driver.h"

int mode_load(const struct bench_drivers *drivers, int argc, char **argv);
int mode_worker(int argc, char **argv);
int mode_fanout(int argc, char **argv);
int mode_subscriber(const struct bench_drivers *drivers, int argc, char **argv);

#endif
