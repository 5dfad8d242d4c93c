/* Where the server is and who we are, from the options, a URL, a file and the environment. */
#ifndef CLI_ADDRESS_H
#define CLI_ADDRESS_H

#include "args.h"

#define CLI_PASSWORD_VARIABLE "SLUICE_PASSWORD"

struct cli_address {
    bool tls;
    char path[108]; /* of a Unix socket; empty: host and port */
    char host[256];
    uint16_t port;
    char uri[300];   /* for Paho */
    char shown[300]; /* for people: without secrets */
    char *user, *password; /* owned; NULL: none */
};

/* SL_OK; SL_EINVAL wrong use, SL_ENOENT a file that cannot be read; both told. */
SL_CHECK int cli_address_of(const char *command, const struct cli_args *a, struct cli_address *out);
/* Wipes the password. */
void cli_address_fini(struct cli_address *a);

#endif
