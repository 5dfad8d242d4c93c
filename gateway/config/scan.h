/* Text to tree: JSON as RFC 8259 has it, with comments. cJSON reads the values
 * of strings and numbers; what it cannot do is here: places, comments,
 * duplicate keys, \u0000, trailing commas, limits on depth and on nodes. */
#ifndef CONFIG_SCAN_H
#define CONFIG_SCAN_H

#include "faults.h"

/* As many containers may be open at once. */
#define CONFIG_DEPTH_MAX 32
/* As many values may be in one text. */
#define CONFIG_NODES_MAX 20000
/* As many bytes may be in one text. */
#define CONFIG_TEXT_MAX ((size_t)1024 * 1024)

/* set 0: places are those of the text; else all are at the n-th --set. `path`
 * is that of the whole text in faults, "" for a file. */
struct config_origin {
    uint32_t set;
    const char *path;
};

/* NULL when the text is broken past going on; the reason is in the report.
 * Duplicate keys, trailing commas and \u0000 are reported and passed over. */
struct config_node *config_scan(struct config_memory *m, struct sl_bytes text,
                                struct config_origin from, struct config_report *r) SL_CHECK;

#endif
