/* A configuration text; after a NUL byte, if there is one, a --set. Whatever
 * comes: either a configuration or at least one fault. */
#include <stdlib.h>

#include "config/config.h"
#include "core/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *text_of(const uint8_t *data, size_t n)
{
    char *text = sl_alloc(n + 1);
    if (n > 0)
        memcpy(text, data, n);
    text[n] = '\0';
    return text;
}

static void check_faults(const struct config_faults *faults)
{
    for (size_t i = 0; i < faults->n; i++)
        if (strchr(faults->v[i], ':') == NULL)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size == 0 ? NULL : memchr(data, 0, size);
    size_t n = nul == NULL ? size : (size_t)(nul - data);
    char *set = nul == NULL ? text_of(NULL, 0) : text_of(nul + 1, size - n - 1);
    const char *sets[] = { set };
    struct config_overrides over = { .sets = sets, .n_sets = nul != NULL };
    struct config_faults faults = { NULL, 0 };
    struct config *c = NULL;
    int err = config_parse(sl_bytes_of(data, n), "folder/fuzz.json", &over, &c, &faults);
    if ((err == SL_OK) != (faults.n == 0) || (err == SL_OK) != (c != NULL))
        abort();
    check_faults(&faults);
    config_faults_fini(&faults);
    config_free(c);
    sl_free(set);
    return 0;
}
