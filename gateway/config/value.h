/* One value: from its node, as its row says, into its field. */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include "config/config.h"
#include "keys.h"
#include "tree.h"

struct config_value {
    uint64_t u, u2;
    double real;
    const char *text;
    struct config_strings list;
    const struct config_node *bad; /* when refused: the part that is wrong, or NULL */
};

/* Texts are copied to `m`; paths are still as written.
 *
 * SL_OK
 * SL_EINVAL  the value is not what config_key_allowed says
 * SL_ESTATE  it would be, in a later version */
SL_CHECK int config_value_read(const struct config_key *key, const struct config_node *node,
                               struct config_memory *m, struct config_value *out);
bool config_value_eq(const struct config_value *a, const struct config_value *b);
/* `base` is the struct of the key's innermost collection. */
void config_value_store(const struct config_key *key, const struct config_value *v, void *base);
/* `path` if it is absolute, else inside `folder` ("" : the current one). */
const char *config_value_path(struct config_memory *m, const char *folder, const char *path);

#endif
