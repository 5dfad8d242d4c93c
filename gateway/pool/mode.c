#include "mode.h"

#include <cjson/cJSON.h>

static const struct mode_ops *const modes[] = {
    [POOL_SOCKET] = &mode_socket,
    [POOL_LINES] = &mode_lines,
    [POOL_EXEC] = &mode_exec,
};

void mode_init(struct mode *m, const struct pool_config *cfg)
{
    *m = (struct mode){ .ops = modes[cfg->mode], .cfg = cfg };
}

void mode_fini(struct mode *m)
{
    cJSON_Delete(m->line);
    m->line = NULL;
    sl_buf_fini(&m->text);
}
