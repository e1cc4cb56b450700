#include "cli.h"

#include <string.h>

tare_string text_of(const char *text)
{
    return (tare_string){text, strlen(text)};
}

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

size_t text_decode(tare_string text, uint32_t *code)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *at = (const unsigned char *)text.data;
    if (at[0] < 0x80) {
        *code = at[0];
        return 1;
    }
    size_t size = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;
    uint32_t value = at[0] & (0x7Fu >> size);
    bool good = at[0] >= 0xC2 && at[0] <= 0xF4 && size <= text.size;
    for (size_t i = 1; good && i < size; i++) {
        good = is_continuation(at[i]);
        value = value << 6 | (at[i] & 0x3Fu);
    }
    if (!good || value < least[size] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
        *code = UINT32_MAX;
        return 1;
    }
    *code = value;
    return size;
}

/* Whether a sorted list of inclusive ranges holds a code. */
static bool in_ranges(uint32_t code, const uint32_t (*ranges)[2], size_t count)
{
    for (size_t i = 0; i < count && code >= ranges[i][0]; i++) {
        if (code <= ranges[i][1]) return true;
    }
    return false;
}

bool text_is_unsafe(uint32_t code)
{
    /* Controls, then what reorders text, what is invisible, and line breaks beyond ASCII. */
    static const uint32_t unsafe[][2] = {
        {0x00, 0x1F},     {0x7F, 0x9F},     {0xAD, 0xAD},     {0x61C, 0x61C},
        {0x180E, 0x180E}, {0x200B, 0x200B}, {0x200E, 0x200F}, {0x2028, 0x202E},
        {0x2060, 0x206F}, {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE007F},
    };
    return in_ranges(code, unsafe, sizeof unsafe / sizeof *unsafe);
}

/* Columns of a printable character: coarse blocks, enough to keep tables straight. */
static size_t code_width(uint32_t code)
{
    static const uint32_t zero[][2] = {
        {0x300, 0x36F}, {0x200C, 0x200D}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}};
    static const uint32_t wide[][2] = {
        {0x1100, 0x115F},   {0x2E80, 0x303E},   {0x3041, 0xA4CF},   {0xAC00, 0xD7A3},
        {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},
        {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD},
    };
    if (in_ranges(code, zero, sizeof zero / sizeof *zero)) return 0;
    return in_ranges(code, wide, sizeof wide / sizeof *wide) ? 2 : 1;
}

static size_t write_hex(char *target, const char *introduction, uint32_t value, size_t digits)
{
    static const char hex[] = "0123456789abcdef";
    size_t size = strlen(introduction);
    memcpy(target, introduction, size);
    while (digits-- > 0) target[size++] = hex[(value >> (4 * digits)) & 15];
    return size;
}

static size_t write_escape(char *target, uint32_t code)
{
    static const char letters[][2] = {{'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\\', '\\'}};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
        if (code == (unsigned char)letters[i][0]) {
            target[0] = '\\';
            target[1] = letters[i][1];
            return 2;
        }
    }
    if (code < 0x80) return write_hex(target, "\\x", code, 2);
    return code <= 0xFFFF ? write_hex(target, "\\u", code, 4) : write_hex(target, "\\U", code, 8);
}

static bool is_plain(char letter)
{
    return letter >= 0x20 && letter < 0x7F && letter != '\\';
}

size_t text_next(tare_string text, text_piece *piece)
{
    size_t plain = 0;
    while (plain < text.size && is_plain(text.data[plain])) plain++;
    piece->data = text.data;
    piece->size = plain;
    piece->width = plain;
    if (plain > 0) return plain;
    uint32_t code;
    size_t size = text_decode(text, &code);
    if (code != UINT32_MAX && code != '\\' && !text_is_unsafe(code)) {
        piece->size = size;
        piece->width = code_width(code);
        return size;
    }
    piece->data = piece->buffer;
    piece->size = code == UINT32_MAX
                      ? write_hex(piece->buffer, "\\x", (unsigned char)text.data[0], 2)
                      : write_escape(piece->buffer, code);
    piece->width = piece->size;
    return size;
}

size_t text_width(tare_string text)
{
    size_t width = 0;
    text_piece piece;
    while (text.size > 0) {
        size_t taken = text_next(text, &piece);
        text.data += taken;
        text.size -= taken;
        width += piece.width;
    }
    return width;
}

const char *text_escape(tare_string text, char *target, size_t target_size)
{
    size_t used = 0;
    text_piece piece;
    while (text.size > 0) {
        size_t taken = text_next(text, &piece);
        size_t room = target_size - 4 - used;
        if (piece.size > room) {
            if (piece.data != piece.buffer && is_plain(piece.data[0])) {
                memcpy(target + used, piece.data, room);
                used += room;
            }
            memcpy(target + used, "...", 3);
            used += 3;
            break;
        }
        memcpy(target + used, piece.data, piece.size);
        used += piece.size;
        text.data += taken;
        text.size -= taken;
    }
    target[used] = '\0';
    return target;
}

static bool read_hex(tare_string text, size_t digits, uint32_t *value)
{
    *value = 0;
    if (text.size < digits) return false;
    for (size_t i = 0; i < digits; i++) {
        char digit = text.data[i];
        uint32_t part;
        if (digit >= '0' && digit <= '9')
            part = (uint32_t)(digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            part = (uint32_t)(digit - 'a' + 10);
        else
            return false;
        *value = *value << 4 | part;
    }
    return true;
}

static size_t write_utf8(char *target, uint32_t code)
{
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0x00, 0xC0, 0xE0, 0xF0};
    for (size_t i = size; i-- > 1; code >>= 6) target[i] = (char)(0x80 | (code & 0x3F));
    target[0] = (char)(lead[size] | code);
    return size;
}

/* Undoes the escape after a backslash; returns the bytes of `text` it took, 0 if it is none. */
static size_t read_escape(tare_string text, char *target, size_t *target_size)
{
    static const char letters[][2] = {{'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\\', '\\'}};
    if (text.size == 0) return 0;
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
        if (text.data[0] == letters[i][1]) {
            target[(*target_size)++] = letters[i][0];
            return 1;
        }
    }
    size_t digits = text.data[0] == 'x' ? 2 : text.data[0] == 'u' ? 4 : text.data[0] == 'U' ? 8 : 0;
    uint32_t value;
    tare_string rest = {text.data + 1, text.size - 1};
    if (digits == 0 || !read_hex(rest, digits, &value) || value > 0x10FFFF) return 0;
    if (digits == 2)
        target[(*target_size)++] = (char)value;
    else
        *target_size += write_utf8(target + *target_size, value);
    return 1 + digits;
}

bool text_unescape(tare_string text, char *target, size_t *target_size)
{
    bool any = false;
    *target_size = 0;
    while (text.size > 0) {
        size_t taken = 1;
        if (*text.data == '\\') {
            tare_string rest = {text.data + 1, text.size - 1};
            size_t escape = read_escape(rest, target, target_size);
            if (escape == 0) return false;
            taken += escape;
            any = true;
        } else {
            target[(*target_size)++] = *text.data;
        }
        text.data += taken;
        text.size -= taken;
    }
    return any;
}

size_t text_u64(uint64_t value, char target[TEXT_U64_SIZE])
{
    char digits[TEXT_U64_SIZE];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < count; i++) target[i] = digits[count - 1 - i];
    target[count] = '\0';
    return count;
}

/* Integers only: `tare ls` does this for every tensor, and printf of a double takes longer than the
 * rest of the line. */
size_t text_human(uint64_t size, char target[TEXT_HUMAN_SIZE])
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    size_t unit = 0;
    while (unit < 6 && (size >> (10 * unit)) >= 1024) unit++;
    uint64_t tenths = 0;
    uint64_t whole = size;
    if (unit > 0) {
        whole = size >> (10 * unit);
        uint64_t fraction = (size >> (10 * (unit - 1))) & 1023;
        tenths = (fraction * 10 + 512) / 1024;
        if (tenths == 10) {
            tenths = 0;
            whole++;
        }
        if (whole == 1024 && unit < 6) {
            whole = 1;
            unit++;
        }
    }
    char digits[TEXT_U64_SIZE];
    size_t used = text_u64(whole, digits);
    memcpy(target, digits, used);
    if (unit > 0) {
        target[used++] = '.';
        target[used++] = (char)('0' + tenths);
    }
    memcpy(target + used, units[unit], strlen(units[unit]) + 1);
    return used + strlen(units[unit]);
}

static bool is_digit(tare_string text, size_t at)
{
    return at < text.size && text.data[at] >= '0' && text.data[at] <= '9';
}

/* Compares the numbers at `a` and `b` by value and moves past them. */
static int compare_numbers(tare_string a, size_t *at_a, tare_string b, size_t *at_b)
{
    while (is_digit(a, *at_a) && a.data[*at_a] == '0') ++*at_a;
    while (is_digit(b, *at_b) && b.data[*at_b] == '0') ++*at_b;
    int first = 0;
    while (is_digit(a, *at_a) && is_digit(b, *at_b)) {
        if (first == 0) first = a.data[*at_a] - b.data[*at_b];
        ++*at_a;
        ++*at_b;
    }
    if (is_digit(a, *at_a)) return 1;
    return is_digit(b, *at_b) ? -1 : first;
}

bool text_starts_with(tare_string text, const char *start)
{
    size_t size = strlen(start);
    return size <= text.size && memcmp(text.data, start, size) == 0;
}

int text_compare(tare_string a, tare_string b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

int text_compare_natural(tare_string a, tare_string b)
{
    size_t at_a = 0;
    size_t at_b = 0;
    while (at_a < a.size && at_b < b.size) {
        if (is_digit(a, at_a) && is_digit(b, at_b)) {
            int order = compare_numbers(a, &at_a, b, &at_b);
            if (order != 0) return order;
        } else {
            int order = (unsigned char)a.data[at_a++] - (unsigned char)b.data[at_b++];
            if (order != 0) return order;
        }
    }
    if (at_a < a.size || at_b < b.size) return at_a < a.size ? 1 : -1;
    /* Equal but for leading zeros: any fixed order will do. */
    return text_compare(a, b);
}
