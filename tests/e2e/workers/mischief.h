/* mischief.py in C: the same ways, the same environment. */
#ifndef MISCHIEF_H
#define MISCHIEF_H

#include "sluice_worker.h"

typedef void mischief_note(const char *what, const struct sluice_worker_message *m, const char *word);
typedef enum sluice_worker_verdict mischief_way(mischief_note *note, struct sluice_worker_message *m);

#define MISCHIEF_POISON 4u
#define MISCHIEF_WAYS   10u
extern mischief_way *const mischief_poison[MISCHIEF_POISON];
extern mischief_way *const mischief_ways[MISCHIEF_WAYS];

#endif
