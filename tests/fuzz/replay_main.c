/* Replays every file of the directories (or the files) named on the command
 * line through a fuzz target, so that the corpus is a test in every build. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return -1;
    }
    uint8_t *data = NULL;
    size_t n = 0, cap = 0, got;
    do {
        cap = cap == 0 ? 65536 : cap * 2;
        data = realloc(data, cap);
        if (data == NULL)
            abort();
        got = fread(data + n, 1, cap - n, f);
        n += got;
    } while (n == cap);
    fclose(f);
    uint8_t *exact = malloc(n == 0 ? 1 : n); /* so that a read past the end is seen */
    if (exact == NULL)
        abort();
    memcpy(exact, data, n);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    free(data);
    return 1;
}

static int replay_dir(const char *path)
{
    DIR *d = opendir(path);
    if (d == NULL)
        return replay_file(path);
    int count = 0;
    struct dirent *e;
    while ((e = readdir(d)) != NULL) {
        char file[4096];
        struct stat st;
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        if (stat(file, &st) == 0 && S_ISREG(st.st_mode) && replay_file(file) > 0)
            count++;
    }
    closedir(d);
    return count;
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++)
        count += replay_dir(argv[i]);
    printf("replayed %d inputs\n", count);
    return count > 0 ? 0 : 1;
}
