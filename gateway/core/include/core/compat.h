/* The only place for compiler extensions. */
#ifndef CORE_COMPAT_H
#define CORE_COMPAT_H

#define SL_CHECK __attribute__((warn_unused_result))
#define SL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define SL_NORETURN __attribute__((noreturn))
#define SL_LIKELY(x) __builtin_expect(!!(x), 1)
#define SL_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* The struct that holds `member` at `ptr`. */
#define SL_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define SL_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
