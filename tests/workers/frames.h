/* Reads tests/workers/frames.txt, recorded frames that every end must agree on, and faults.txt,
 * those that every end must refuse: the text is then the fault's word. */
#ifndef TESTS_WORKERS_FRAMES_H
#define TESTS_WORKERS_FRAMES_H

#include <stdio.h>
#include <string.h>

#include "wire/wire.h"

#define FRAMES_MAX 128

struct frame_row {
    char name[64];
    enum wire_side from;
    uint8_t bytes[2048];
    size_t n;
    char text[1600];
};

struct frame_rows {
    struct frame_row rows[FRAMES_MAX];
    size_t n;
};

static inline void frames_parse_line(struct frame_row *row, char *line)
{
    char *save = NULL;
    char *name = strtok_r(line, "|", &save), *from = strtok_r(NULL, "|", &save);
    char *hex = strtok_r(NULL, "|", &save), *text = strtok_r(NULL, "\n", &save);
    (void)sscanf(name, "%63s", row->name);
    row->from = strstr(from, "worker") != NULL ? WIRE_FROM_WORKER : WIRE_FROM_GATEWAY;
    unsigned byte;
    int step;
    for (row->n = 0; row->n < sizeof row->bytes && sscanf(hex, " %2x%n", &byte, &step) == 1;
         hex += step)
        row->bytes[row->n++] = (uint8_t)byte;
    (void)snprintf(row->text, sizeof row->text, "%s", text + 1);
}

/* Ends the test program when the file is not there. */
static inline void frames_load_file(struct frame_rows *out, const char *path)
{
    FILE *f = fopen(path, "r");
    SL_ASSERT(f != NULL);
    static char line[8192];
    out->n = 0;
    while (fgets(line, sizeof line, f) != NULL)
        if (line[0] != '#' && out->n < FRAMES_MAX)
            frames_parse_line(&out->rows[out->n++], line);
    (void)fclose(f);
}

static inline void frames_load(struct frame_rows *out)
{
    frames_load_file(out, FRAMES_FILE);
}

static inline const struct frame_row *frames_find(const struct frame_rows *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++)
        if (strcmp(all->rows[i].name, name) == 0)
            return &all->rows[i];
    SL_ASSERT(!"a frame of that name is in the file");
    return NULL;
}

#endif
