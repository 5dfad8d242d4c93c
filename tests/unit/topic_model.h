/* Topics and filters as the simplest code has them, for tests that compare. */
#ifndef TESTS_TOPIC_MODEL_H
#define TESTS_TOPIC_MODEL_H

#include <stdbool.h>
#include <string.h>

#include "core/rng.h"

#define MODEL_TEXT 32u

/* Characters, one after the other. */
static inline bool model_takes(const char *filter, const char *topic)
{
    if (*topic == '$' && (*filter == '+' || *filter == '#'))
        return false;
    for (;;) {
        if (*filter == '#')
            return true;
        if (*filter == '+') {
            filter++;
            while (*topic != '\0' && *topic != '/')
                topic++;
        }
        while (*filter != '\0' && *filter != '/' && *filter == *topic) {
            filter++;
            topic++;
        }
        if (*topic == '\0')
            return *filter == '\0' || strcmp(filter, "/#") == 0;
        if (*filter != '/' || *topic != '/')
            return false;
        filter++;
        topic++;
    }
}

/* One to four levels of few names, so that much fits; `wild` allows wildcards.
 * Never the empty text. */
static inline void model_text(struct sl_rng *r, bool wild, char out[MODEL_TEXT])
{
    static const char *const names[] = {"a", "b", "", "$s", "longer-than-9"};
    size_t n = 0;
    do {
        n = 0;
        unsigned levels = 1 + (unsigned)sl_rng_below(r, 4);
        for (unsigned i = 0; i < levels && n < MODEL_TEXT - 16; i++) {
            unsigned kind = (unsigned)sl_rng_below(r, wild ? 8 : 5);
            const char *name = kind < 5 ? names[kind] : kind < 7 ? "+" : "#";
            if (i > 0)
                out[n++] = '/';
            memcpy(out + n, name, strlen(name));
            n += strlen(name);
            if (*name == '#')
                break;
        }
    } while (n == 0);
    out[n] = '\0';
}

#endif
