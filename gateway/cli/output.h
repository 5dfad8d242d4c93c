/* stdout as a queue that is written when it takes more, so that a slow reader never
 * keeps us from a signal. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "core/bytes.h"

#define CLI_OUTPUT_ENOUGH (1u << 20) /* no more messages are taken until some of it is written */

struct cli_output {
    struct sl_buf buf;
    int fd;
    uint64_t written; /* bytes so far */
    size_t chunk;  /* what a descriptor that polls writable takes without waiting */
    bool terminal;
};

void cli_output_init(struct cli_output *o, int fd);
/* One write; call when the descriptor is writable. SL_ECLOSED: nobody reads;
 * SL_ESYS: errno tells. */
SL_CHECK int cli_output_write(struct cli_output *o);
void cli_output_fini(struct cli_output *o);

#endif
