#include "rules.h"

#include "core/utf8.h"

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool consists_of(struct sl_bytes text, const char *others)
{
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (!is_letter(c) && !is_digit(c) && (c == 0 || strchr(others, c) == NULL))
            return false;
    }
    return text.n > 0;
}

bool config_is_name(struct sl_bytes text)
{
    return text.n <= 64 && consists_of(text, "._-");
}

bool config_is_account(struct sl_bytes text)
{
    return text.n <= 64 && consists_of(text, "._-") && text.p[0] != '-';
}

bool config_is_token(struct sl_bytes text)
{
    return text.n > 0 && text.n <= 255 && sl_utf8_valid(text);
}

bool config_is_variable(struct sl_bytes text)
{
    return text.n <= 256 && consists_of(text, "_") && !is_digit(text.p[0]);
}

bool config_is_order(struct sl_bytes text)
{
    if (text.n > 7 && memcmp(text.p, "header:", 7) == 0)
        return text.n <= 7 + 256;
    return sl_bytes_is(text, "none") || sl_bytes_is(text, "client") || sl_bytes_is(text, "topic");
}

bool config_is_key(struct sl_bytes text)
{
    return config_is_order(text) && !sl_bytes_is(text, "none");
}

bool config_is_dedup(struct sl_bytes text)
{
    return config_is_key(text) || sl_bytes_is(text, "payload") || sl_bytes_is(text, "retransmit");
}

bool config_is_response_information(struct sl_bytes text)
{
    bool wild = memchr(text.p, '+', text.n) != NULL || memchr(text.p, '#', text.n) != NULL;
    return text.n > 0 && text.n <= 1024 && !wild && sl_utf8_valid(text);
}

bool config_is_filter(struct sl_bytes text)
{
    if (text.n == 0 || text.n > 65535 || !sl_utf8_valid(text))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        bool starts = i == 0 || text.p[i - 1] == '/';
        bool last = i + 1 == text.n;
        if (c == '#' && !(starts && last))
            return false;
        if (c == '+' && !(starts && (last || text.p[i + 1] == '/')))
            return false;
    }
    return true;
}

static bool is_below(struct sl_bytes topic, const char *prefix)
{
    size_t n = strlen(prefix);
    return topic.n >= n && memcmp(topic.p, prefix, n) == 0 && (topic.n == n || topic.p[n] == '/');
}

bool config_is_topic(struct sl_bytes text)
{
    bool wild = text.n > 0 && (memchr(text.p, '+', text.n) != NULL || memchr(text.p, '#', text.n) != NULL);
    return config_is_short(text) && !wild && sl_utf8_valid(text) && !is_below(text, "$SYS") && !is_below(text, "$jobs");
}

bool config_is_any(struct sl_bytes text)
{
    (void)text;
    return true;
}

bool config_is_short(struct sl_bytes text)
{
    return text.n > 0 && text.n <= UINT16_MAX;
}

bool config_is_base64(struct sl_bytes text)
{
    size_t n = text.n;
    for (unsigned padding = 0; padding < 2 && n > 0 && text.p[n - 1] == '='; padding++)
        n--;
    return text.n % 4 == 0 && (n == 0 ? text.n == 0 : consists_of(sl_bytes_of(text.p, n), "+/"));
}
