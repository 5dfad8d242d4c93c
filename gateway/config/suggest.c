/* "did you mean": the key of the same object with the smallest edit distance,
 * if that is small for the key's length. */
#include "keys.h"

#define LONGEST 40

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c == '-' ? '_' : c;
}

/* Insert, delete, replace, and swap of two neighbours; case and the kind of
 * dash cost nothing. */
static size_t distance(struct sl_bytes a, struct sl_bytes b)
{
    size_t rows[3][LONGEST + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= b.n; j++)
        last[j] = before[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            bool same = lower(a.p[i - 1]) == lower(b.p[j - 1]);
            now[j] = smallest(last[j] + 1, now[j - 1] + 1, last[j - 1] + !same);
            if (i > 1 && j > 1 && lower(a.p[i - 1]) == lower(b.p[j - 2]) &&
                lower(a.p[i - 2]) == lower(b.p[j - 1]) && before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[b.n];
}

const char *config_suggest(const char *scope, struct sl_bytes name)
{
    size_t n, best = name.n / 3 + 1;
    const struct config_key *keys = config_keys(&n);
    const char *found = NULL;
    if (name.n > LONGEST)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        if (!config_key_is_in(&keys[i], scope))
            continue;
        struct sl_bytes known = sl_str(config_key_name(&keys[i]));
        size_t d = distance(name, known);
        if (d <= best && d < known.n && (found == NULL || d < best)) {
            best = d;
            found = config_key_name(&keys[i]);
        }
    }
    return found;
}
