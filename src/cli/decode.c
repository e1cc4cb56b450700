#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Floats of up to 16 bits: sign, exponent, mantissa from the top bit down.
 *   IEEE   exponent all ones: infinity (mantissa 0) or NaN
 *   FN     no infinity; all ones is NaN (OCP 8-bit E4M3)
 *   FNUZ   no infinity, no negative zero; its bit pattern is the only NaN
 *   FINITE every pattern is a number (OCP MX: F4 and F6)
 */
typedef enum specials { IEEE, FN, FNUZ, FINITE } specials;

typedef struct float_format {
    unsigned exponent_bits;
    unsigned mantissa_bits;
    int bias;
    specials kind;
} float_format;

static const float_format formats[] = {
    [TARE_DTYPE_F4] = {2, 1, 1, FINITE}, /* E2M1 */
    [TARE_DTYPE_F6_E2M3] = {2, 3, 1, FINITE},   [TARE_DTYPE_F6_E3M2] = {3, 2, 3, FINITE},
    [TARE_DTYPE_F8_E5M2] = {5, 2, 15, IEEE},    [TARE_DTYPE_F8_E4M3] = {4, 3, 7, FN},
    [TARE_DTYPE_F8_E4M3FNUZ] = {4, 3, 8, FNUZ}, [TARE_DTYPE_F8_E5M2FNUZ] = {5, 2, 16, FNUZ},
    [TARE_DTYPE_F16] = {5, 10, 15, IEEE},       [TARE_DTYPE_BF16] = {8, 7, 127, IEEE},
};

/* 2^exponent for exponents that a normal double has; spares the program libm. */
static double power_of_two(int exponent)
{
    uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double small_float(uint32_t bits, const float_format *format)
{
    uint32_t mantissa_end = 1u << format->mantissa_bits;
    uint32_t exponent_max = (1u << format->exponent_bits) - 1;
    uint32_t mantissa = bits & (mantissa_end - 1);
    uint32_t exponent = bits >> format->mantissa_bits & exponent_max;
    bool negative = bits >> (format->mantissa_bits + format->exponent_bits) & 1;
    double sign = negative ? -1.0 : 1.0;
    bool top = exponent == exponent_max;
    if (format->kind == IEEE && top) return mantissa == 0 ? sign * HUGE_VAL : (double)NAN;
    if (format->kind == FN && top && mantissa == mantissa_end - 1) return (double)NAN;
    if (format->kind == FNUZ && negative && exponent == 0 && mantissa == 0) return (double)NAN;
    if (exponent == 0)
        exponent = 1;
    else
        mantissa += mantissa_end;
    int power = (int)exponent - format->bias - (int)format->mantissa_bits;
    return sign * mantissa * power_of_two(power);
}

/* Little-endian bits [first, first + count) of the data, counted from the lowest bit of byte 0. */
static uint64_t bits_at(const unsigned char *data, uint64_t first, unsigned count)
{
    uint64_t value = 0;
    data += first / 8;
    unsigned shift = (unsigned)(first % 8);
    for (unsigned i = 0; 8 * i < shift + count; i++) {
        value |= (uint64_t)data[i] << (8 * i);
    }
    value >>= shift;
    return count < 64 ? value & ((UINT64_C(1) << count) - 1) : value;
}

static int64_t sign_extend(uint64_t bits, unsigned count)
{
    uint64_t sign = UINT64_C(1) << (count - 1);
    uint64_t value = (bits ^ sign) - sign;
    int64_t result;
    memcpy(&result, &value, sizeof result);
    return result;
}

/* The shortest decimal that reads back as the same float (digits 9) or double (17). */
static void print_float(double value, int digits_max, bool json, char *target, size_t size)
{
    if (isnan(value)) {
        snprintf(target, size, json ? "\"nan\"" : "nan");
    } else if (isinf(value)) {
        snprintf(target, size, json ? "\"%sinf\"" : "%sinf", value < 0 ? "-" : "");
    } else if (json && value == 0.0 && signbit(value)) {
        snprintf(target, size, "-0.0"); /* "-0" would be read as an integer, which has no sign */
    } else {
        int digits = 1;
        for (; digits < digits_max; digits++) {
            snprintf(target, size, "%.*g", digits, value);
            if (digits_max > 9 ? strtod(target, NULL) == value
                               : (double)strtof(target, NULL) == value) {
                break;
            }
        }
        /* 10000 rather than 1e+04: the same digits, since 6 of them always come back. */
        bool short_enough = (value >= 1 && value < 1e6) || (value <= -1 && value > -1e6);
        snprintf(target, size, "%.*g", short_enough && digits < 6 ? 6 : digits, value);
    }
}

static double float_of_bits(uint64_t bits)
{
    uint32_t low = (uint32_t)bits;
    float value;
    memcpy(&value, &low, sizeof value);
    return (double)value;
}

static void print_complex(uint64_t bits, bool json, char *target)
{
    char real[24];
    char imaginary[24];
    double second = float_of_bits(bits >> 32);
    print_float(float_of_bits(bits), 9, json, real, sizeof real);
    print_float(second, 9, json, imaginary, sizeof imaginary);
    if (json) {
        snprintf(target, DECODE_TEXT_SIZE, "[%s, %s]", real, imaginary);
    } else {
        snprintf(target, DECODE_TEXT_SIZE, "%s%s%si", real, imaginary[0] == '-' ? "" : "+",
                 imaginary);
    }
}

static void print_real(tare_dtype dtype, uint64_t bits, bool json, char *target)
{
    double value;
    int digits = 9;
    if (dtype == TARE_DTYPE_F64) {
        memcpy(&value, &bits, sizeof value);
        digits = 17;
    } else if (dtype == TARE_DTYPE_F32) {
        value = float_of_bits(bits);
    } else if (dtype == TARE_DTYPE_F8_E8M0) { /* a power of two, no sign, no zero */
        value = bits == 0xFF ? (double)NAN : power_of_two((int)bits - 127);
    } else {
        value = small_float((uint32_t)bits, &formats[dtype]);
    }
    print_float(value, digits, json, target, DECODE_TEXT_SIZE);
}

/*
 * safetensors does not say how F4 and F6 are packed. Assumed: little-endian bit order without
 * padding, so that F4 has two elements a byte, the low nibble first, and F6 four in three bytes.
 */
void decode_value(tare_dtype dtype, const unsigned char *data, uint64_t index, bool json,
                  char target[DECODE_TEXT_SIZE])
{
    unsigned width = tare_dtype_bits(dtype);
    uint64_t bits = bits_at(data, index * width, width);
    switch (dtype) {
    case TARE_DTYPE_BOOL:
        if (bits > 1)
            snprintf(target, DECODE_TEXT_SIZE, "%u", (unsigned)bits);
        else
            snprintf(target, DECODE_TEXT_SIZE, bits ? "true" : "false");
        break;
    case TARE_DTYPE_U8:
    case TARE_DTYPE_U16:
    case TARE_DTYPE_U32:
    case TARE_DTYPE_U64:
        snprintf(target, DECODE_TEXT_SIZE, "%llu", (unsigned long long)bits);
        break;
    case TARE_DTYPE_I8:
    case TARE_DTYPE_I16:
    case TARE_DTYPE_I32:
    case TARE_DTYPE_I64:
        snprintf(target, DECODE_TEXT_SIZE, "%lld", (long long)sign_extend(bits, width));
        break;
    case TARE_DTYPE_C64: print_complex(bits, json, target); break;
    case TARE_DTYPE_F64:
    case TARE_DTYPE_F32:
    case TARE_DTYPE_F8_E8M0: print_real(dtype, bits, json, target); break;
    default:
        if (dtype < sizeof formats / sizeof *formats && formats[dtype].exponent_bits > 0) {
            print_real(dtype, bits, json, target);
        } else {
            snprintf(target, DECODE_TEXT_SIZE, json ? "null" : "?");
        }
    }
}
