/* Where payloads come from: an argument, a file, all of stdin, or its lines. */
#ifndef CLI_INPUT_H
#define CLI_INPUT_H

#include "args.h"
#include "core/bytes.h"

/* The largest payload that an MQTT packet can carry, less room for the rest of it. */
#define CLI_PAYLOAD_MAX (268435455u - 131072u)

struct cli_input {
    enum cli_source source;
    int fd; /* -1: nothing to read */
    bool ended;
    struct sl_buf buf;
    struct sl_bytes payload; /* of the sources that have one */
    int64_t left;            /* repetitions */
};

/* SL_OK; SL_ESYS (errno tells) or SL_ETOOBIG for a file. */
SL_CHECK int cli_input_open(struct cli_input *in, const struct cli_args *a);
/* Once, when the descriptor is readable. SL_ESYS (errno tells), SL_ETOOBIG. */
SL_CHECK int cli_input_read(struct cli_input *in);
/* The next payload, valid until the next read. SL_EMORE: read first; SL_ECLOSED: that was all. */
SL_CHECK int cli_input_next(struct cli_input *in, struct sl_bytes *payload);
/* No further payloads. */
void cli_input_stop(struct cli_input *in);
void cli_input_fini(struct cli_input *in);

#endif
