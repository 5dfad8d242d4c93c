#include "check.h"

#include <string.h>

#include "core/bytes.h"
#include "core/utf8.h"
#include "format.h"

static bool is_text(const char *text)
{
    struct sl_bytes v = sl_str(text);
    return v.n > 0 && v.n <= UINT16_MAX && sl_utf8_valid(v);
}

bool cli_topic_name(const char *text)
{
    return is_text(text) && strpbrk(text, "+#") == NULL;
}

static bool levels_valid(const char *at)
{
    for (;;) {
        size_t n = strcspn(at, "/");
        bool last = at[n] == '\0';
        if (n > 1 && (memchr(at, '+', n) != NULL || memchr(at, '#', n) != NULL))
            return false;
        if (n == 1 && at[0] == '#' && !last)
            return false;
        if (last)
            return true;
        at += n + 1;
    }
}

bool cli_topic_filter(const char *text)
{
    static const char share[] = "$share/";
    if (!is_text(text))
        return false;
    if (strncmp(text, share, sizeof share - 1) == 0) {
        const char *group = text + sizeof share - 1;
        size_t n = strcspn(group, "/+#");
        if (n == 0 || group[n] != '/' || group[n + 1] == '\0')
            return false;
        text = group + n + 1;
    }
    return levels_valid(text);
}

bool cli_destination_valid(const char *text)
{
    if (text[0] == '/')
        return is_text(text);
    return strncmp(text, "$share/", 7) != 0 && cli_topic_filter(text);
}

bool cli_header(const char *text)
{
    const char *sign = strchr(text, '=');
    return sign != NULL && sign != text && sl_utf8_valid(sl_str(text)) && strlen(sign + 1) <= UINT16_MAX &&
           sign - text <= UINT16_MAX;
}

bool cli_format_valid(const char *format)
{
    for (const char *at = format; *at != '\0'; at++) {
        if (*at == '%' && (*++at == '\0' || strchr(CLI_FORMAT_LETTERS, *at) == NULL))
            return false;
    }
    return true;
}
