/* Checked arithmetic and little-endian loads. Sizes and offsets are uint64_t until compared. */
#ifndef TAREI_CHECK_H
#define TAREI_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* True when the result does not fit; *out is then meaningless. */
static inline bool tarei_check_add(uint64_t a, uint64_t b, uint64_t *out)
{
    return __builtin_add_overflow(a, b, out);
}

static inline bool tarei_check_multiply(uint64_t a, uint64_t b, uint64_t *out)
{
    return __builtin_mul_overflow(a, b, out);
}

/* On 32-bit hosts not every uint64_t is a size. */
static inline bool tarei_check_fits_size(uint64_t value)
{
    return value <= SIZE_MAX;
}

/* Rounds up to a power of two; true when that does not fit. */
static inline bool tarei_check_round_up(uint64_t value, uint64_t power, uint64_t *out)
{
    if (tarei_check_add(value, power - 1, out)) return true;
    *out &= ~(power - 1);
    return false;
}

static inline bool tarei_check_is_power(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static inline uint16_t tarei_load_le16(const void *from)
{
    const uint8_t *bytes = from;
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static inline uint32_t tarei_load_le32(const void *from)
{
    const uint8_t *bytes = from;
    return tarei_load_le16(bytes) | (uint32_t)tarei_load_le16(bytes + 2) << 16;
}

static inline uint64_t tarei_load_64(const void *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

/* Eight bytes with the first one lowest, on any host. */
static inline uint64_t tarei_load_le64(const void *from)
{
    uint64_t value = tarei_load_64(from);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/* Loads of what may change meanwhile, such as a file that is mapped: a compiler may not look again,
 * so that what was compared is what is used. */
static inline uint32_t tarei_once_32(const uint32_t *from)
{
    return *(const volatile uint32_t *)from;
}

static inline uint64_t tarei_once_64(const uint64_t *from)
{
    return *(const volatile uint64_t *)from;
}

static inline void tarei_once_copy(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    __asm__ volatile("" ::: "memory");
}

#endif
