"""`tare show`: facts, and values of all 22 dtypes against the formats' own definitions."""

import math
import struct

import cli_support


def minifloat(exponent_bits, mantissa_bits, bias, special):
    """All values of a float format, by counting up through its non-negative patterns.

    Within one exponent values are evenly spaced; the step doubles with every exponent but the
    first, where subnormals and the first normals share it.
    """
    step = 2.0 ** (1 - bias - mantissa_bits)
    value = 0.0
    half = []
    for exponent in range(2**exponent_bits):
        for _ in range(2**mantissa_bits):
            half.append(value)
            value += step
        if exponent > 0:
            step *= 2
    negative = [-value for value in half]
    if special == "ieee":
        first = len(half) - 2**mantissa_bits
        half[first:] = [math.inf] + [math.nan] * (2**mantissa_bits - 1)
        negative[first:] = [-math.inf] + [math.nan] * (2**mantissa_bits - 1)
    elif special == "fn":
        half[-1] = negative[-1] = math.nan
    elif special == "fnuz":
        negative[0] = math.nan
    return half + negative


MINIFLOATS = {
    "F4": minifloat(2, 1, 1, "finite"),
    "F6_E2M3": minifloat(2, 3, 1, "finite"),
    "F6_E3M2": minifloat(3, 2, 3, "finite"),
    "F8_E5M2": minifloat(5, 2, 15, "ieee"),
    "F8_E4M3": minifloat(4, 3, 7, "fn"),
    "F8_E4M3FNUZ": minifloat(4, 3, 8, "fnuz"),
    "F8_E5M2FNUZ": minifloat(5, 2, 16, "fnuz"),
    "F8_E8M0": [2.0 ** (i - 127) for i in range(255)] + [math.nan],
}


def pack(values, bits):
    """Elements of `bits` bits each, in little-endian bit order."""
    whole = sum(value << (i * bits) for i, value in enumerate(values))
    return whole.to_bytes(len(values) * bits // 8, "little")


def from_json(value):
    if isinstance(value, str):
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[value]
    return value


def same_number(a, b):
    """Equal, also in the sign of a zero, and NaN being NaN."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b and math.copysign(1, a) == math.copysign(1, b)


class Definitions(cli_support.CliTest):
    def test_landmarks_of_the_formats_are_as_published(self):
        self.assertEqual(MINIFLOATS["F4"][:8], [0, 0.5, 1, 1.5, 2, 3, 4, 6])
        self.assertEqual((MINIFLOATS["F6_E2M3"][1], MINIFLOATS["F6_E2M3"][31]), (0.125, 7.5))
        self.assertEqual((MINIFLOATS["F6_E3M2"][1], MINIFLOATS["F6_E3M2"][31]), (0.0625, 28))
        self.assertEqual((MINIFLOATS["F8_E5M2"][1], MINIFLOATS["F8_E5M2"][0x7B]), (2**-16, 57344))
        self.assertEqual((MINIFLOATS["F8_E4M3"][1], MINIFLOATS["F8_E4M3"][0x7E]), (2**-9, 448))
        self.assertEqual(
            (MINIFLOATS["F8_E4M3FNUZ"][1], MINIFLOATS["F8_E4M3FNUZ"][0x7F]), (2**-10, 240))
        self.assertEqual(
            (MINIFLOATS["F8_E5M2FNUZ"][1], MINIFLOATS["F8_E5M2FNUZ"][0x7F]), (2**-17, 57344))


class Values(cli_support.CliTest):
    def values(self, dtype, count, data):
        path = self.write("values.safetensors", [("t", dtype, [count], data)])
        result = self.good("show", path, "t", "--json", f"--values={count}")
        self.assertEqual(result.json["elements"], count)
        return result.json["values"]

    def check_floats(self, dtype, expected, data):
        shown = [from_json(value) for value in self.values(dtype, len(expected), data)]
        self.assertEqual(len(shown), len(expected))
        for place, (got, want) in enumerate(zip(shown, expected)):
            # What is printed must read back as exactly that float.
            if dtype not in ("F64",) and math.isfinite(got):
                got = struct.unpack("<f", struct.pack("<f", got))[0]
            self.assertTrue(same_number(got, want), (dtype, place, got, want))

    def test_every_pattern_of_every_small_float_is_its_value(self):
        for dtype, values in MINIFLOATS.items():
            bits = cli_support.BITS[dtype]
            with self.subTest(dtype):
                self.check_floats(dtype, values, pack(range(len(values)), bits))

    def test_the_low_nibble_of_f4_comes_first(self):
        self.assertEqual(self.values("F4", 4, b"\x21\xc7"), [0.5, 1, 6, -2])

    def test_f6_elements_follow_one_another_without_padding(self):
        # 000001 000010 000100 011111 from the lowest bit up, four elements in three bytes.
        self.assertEqual(self.values("F6_E2M3", 4, bytes([0b10000001, 0b01000000, 0b01111100])),
                         [0.125, 0.25, 0.5, 7.5])

    def test_every_pattern_of_f16_is_its_value(self):
        data = struct.pack("<65536H", *range(65536))
        self.check_floats("F16", struct.unpack("<65536e", data), data)

    def test_every_pattern_of_bf16_is_its_value(self):
        wide = struct.pack("<65536I", *(bits << 16 for bits in range(65536)))
        self.check_floats("BF16", struct.unpack("<65536f", wide),
                          struct.pack("<65536H", *range(65536)))

    def test_f32_and_f64_read_back_exactly(self):
        singles = [0.1, -0.0, 1 / 3, 3.4028234663852886e38, 1e-45, 16777216, math.inf, -math.inf,
                   math.nan, 1e10, 123456789]
        data = struct.pack(f"<{len(singles)}f", *singles)
        self.check_floats("F32", struct.unpack(f"<{len(singles)}f", data), data)
        doubles = [0.1, -0.0, 1 / 3, 1.7976931348623157e308, 5e-324, 2.0**53, math.nan, -math.inf]
        self.check_floats("F64", doubles, struct.pack(f"<{len(doubles)}d", *doubles))

    def test_integers_have_their_extremes(self):
        for dtype, code in (("U8", "B"), ("I8", "b"), ("U16", "H"), ("I16", "h"), ("U32", "I"),
                            ("I32", "i"), ("U64", "Q"), ("I64", "q")):
            bits = cli_support.BITS[dtype]
            low, high = (0, 2**bits - 1) if dtype[0] == "U" else (-2**(bits - 1), 2**(bits - 1) - 1)
            with self.subTest(dtype):
                data = struct.pack(f"<3{code}", low, high, 7)
                self.assertEqual(self.values(dtype, 3, data), [low, high, 7])

    def test_bool_and_complex(self):
        self.assertEqual(self.values("BOOL", 3, b"\x00\x01\x07"), [False, True, 7])
        data = struct.pack("<6f", 1.5, -2, math.nan, math.inf, 0, -0.0)
        self.assertEqual(self.values("C64", 3, data), [[1.5, -2], ["nan", "inf"], [0, -0.0]])

    def text_values(self, dtype, count, data):
        path = self.write("text.safetensors", [("t", dtype, [count], data)])
        lines = self.good("show", path, "t").lines
        return [line for line in lines if line.startswith("values")][0]

    def test_text_is_the_shortest_that_reads_back(self):
        self.assertEqual(self.text_values("F32", 5, struct.pack("<5f", 0.1, 1, -2.5, 1e20, 1 / 3)),
                         "values     0.1 1 -2.5 1e+20 0.33333334")
        self.assertEqual(self.text_values("F64", 2, struct.pack("<2d", 0.1, 1 / 3)),
                         "values     0.1 0.3333333333333333")
        self.assertEqual(
            self.text_values("C64", 3, struct.pack("<6f", 1.5, -2, 0, 1, math.nan, -math.inf)),
            "values     1.5-2i 0+1i nan-infi")
        self.assertEqual(self.text_values("BOOL", 3, b"\x00\x01\x02"), "values     false true 2")
        self.assertEqual(self.text_values("F8_E4M3", 3, b"\x7e\xff\x80"), "values     448 nan -0")


class Facts(cli_support.CliTest):
    def test_all_facts_of_one_tensor(self):
        path = self.write("m.safetensors", [
            ("a", "U8", [3], b"abc"),
            ("layers.0.w", "F32", [2, 700], None),
        ], header_size=248)
        self.assertEqual(self.good("show", path, "layers.0.w").out, (
            "name       layers.0.w\n"
            "dtype      F32, 32 bits\n"
            "shape      [2, 700]\n"
            "elements   1400\n"
            "size       5.5 KiB (5600 bytes)\n"
            f"shard      0: {path}\n"
            "offset     259 in the file, 3 in its data section\n"
            "alignment  1 byte\n"
            "values     0 0 0 0 0 0 0 0 ...\n"))

    def test_json_has_all_facts(self):
        path = self.write("m.safetensors", [("a", "F16", [2, 2], bytes(8))], header_size=248)
        self.assertEqual(self.good("show", path, "a", "--json").json, {
            "name": "a", "dtype": "F16", "shape": [2, 2], "size": 8, "offset": 256, "shard": 0,
            "file": str(path), "bits": 16, "elements": 4, "data_offset": 0, "alignment": 256,
            "values": [0, 0, 0, 0]})

    def test_a_scalar_has_one_element_and_an_empty_tensor_none(self):
        path = self.write("m.safetensors", [("s", "I64", [], struct.pack("<q", -5)),
                                            ("e", "F32", [2**63, 0, 9], b"")])
        scalar = self.good("show", path, "s").lines
        self.assertIn("shape      [] (a scalar)", scalar)
        self.assertIn("elements   1", scalar)
        self.assertIn("values     -5", scalar)
        empty = self.good("show", path, "e").lines
        self.assertIn("shape      [9223372036854775808, 0, 9]", empty)
        self.assertIn("elements   0", empty)
        self.assertIn("values     none", empty)
        self.assertEqual(self.good("show", path, "e", "--json").json["values"], [])

    def test_values_sets_how_many(self):
        path = self.write("m.safetensors", [("a", "U8", [5], b"\x01\x02\x03\x04\x05")])
        for arguments, expected in ((["-n", "2"], "1 2 ..."), (["-n3"], "1 2 3 ..."),
                                    (["--values=0"], "..."), (["--values", "99"], "1 2 3 4 5")):
            with self.subTest(arguments):
                last = self.good("show", path, "a", *arguments).lines[-1]
                self.assertEqual(last, "values     " + expected)

    def test_long_values_are_wrapped_within_80_columns(self):
        values = [i / 7 for i in range(40)]
        path = self.write("m.safetensors", [("a", "F64", [40], struct.pack("<40d", *values))])
        lines = self.good("show", path, "a", "-n", "40").lines
        lines = lines[8:] # above stands the path, however long it is
        self.assertLessEqual(max(map(len, lines)), 80)
        shown = " ".join(line[11:] for line in lines).split()
        self.assertEqual([float(text) for text in shown], values)

    def test_every_rank_keeps_every_dimension_wherever_it_stands(self):
        for before in range(0, 40, 3):
            tensors = [(f"rank.{rank}", "U8", list(range(rank)), None)
                       for rank in (*range(before), 200)]
            path = self.write("m.safetensors", tensors)
            listed = {tensor["name"]: tensor["shape"]
                      for tensor in self.good("ls", path, "--json").json["tensors"]}
            self.assertEqual(listed, {name: shape for name, _, shape, _ in tensors})
            for name, _, shape, _ in tensors[-2:]:
                self.assertEqual(self.good("show", path, name, "--json").json["shape"], shape)

    def test_a_name_can_be_given_as_it_is_printed(self):
        odd = "evil\x1b[31m\nname\u202e\\ \x9b\U000e0041"
        path = self.write("m.safetensors", [(odd, "U8", [], b"\x07"),
                                            ("back\\x41", "U8", [], b"\x08")])
        printed = "evil\\x1b[31m\\nname\\u202e\\\\ \\u009b\\U000e0041"
        for name in (odd, printed):
            result = self.good("show", path, name)
            self.assertEqual(result.lines[0], "name       " + printed)
            self.assertEqual(self.good("show", path, name, "--json").json["name"], odd)
        # An exact name comes before what it could stand for.
        self.assertEqual(self.good("show", path, "back\\x41", "--json").json["values"], [8])
        self.assertEqual(self.good("show", path, "back\\\\x41", "--json").json["values"], [8])

    def test_a_name_with_a_zero_byte_can_be_given_escaped(self):
        path = self.write("m.safetensors", [("a\0b", "U8", [], b"\x07")])
        self.assertEqual(self.good("show", path, r"a\x00b").lines[0], r"name       a\x00b")


if __name__ == "__main__":
    cli_support.main()
