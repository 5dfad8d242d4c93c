/* The only place for compiler extensions. */
#ifndef CORE_COMPAT_H
#define CORE_COMPAT_H

#define SL_CHECK __attribute__((warn_unused_result))
#define SL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define SL_NORETURN __attribute__((noreturn))
/* For what happens seldom: its caller stays short. */
#define SL_NOINLINE __attribute__((noinline))
#define SL_ALWAYS_INLINE inline __attribute__((always_inline))
#define SL_LIKELY(x) __builtin_expect(!!(x), 1)
#define SL_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Asks for the cache line of `p`, which may point anywhere, ahead of its use. */
#define SL_PREFETCH(p) __builtin_prefetch(p)

/* The struct that holds `member` at `ptr`. */
#define SL_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* The type of an expression that is not evaluated. */
#define SL_TYPEOF(expression) __typeof__(expression)

#define SL_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* AddressSanitizer watches each allocation. */
#if defined(__SANITIZE_ADDRESS__)
#define SL_MEMORY_CHECKED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SL_MEMORY_CHECKED 1
#endif
#endif

/* From the machine's byte order to little-endian (LE) and big-endian (BE), and back. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SL_LE16(v) (v)
#define SL_LE32(v) (v)
#define SL_LE64(v) (v)
#define SL_BE16(v) __builtin_bswap16(v)
#define SL_BE32(v) __builtin_bswap32(v)
#define SL_BE64(v) __builtin_bswap64(v)
#else
#define SL_LE16(v) __builtin_bswap16(v)
#define SL_LE32(v) __builtin_bswap32(v)
#define SL_LE64(v) __builtin_bswap64(v)
#define SL_BE16(v) (v)
#define SL_BE32(v) (v)
#define SL_BE64(v) (v)
#endif

#endif
