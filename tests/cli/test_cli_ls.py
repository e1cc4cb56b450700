"""`tare ls`: columns, JSON, prefixes, odd names, and what is suggested when nothing matches."""

import unicodedata

import cli_support


def columns(text):
    """Columns that a terminal gives to text without combining characters."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


class Table(cli_support.CliTest):
    def test_one_file(self):
        path = self.write("sub/m.safetensors", [
            ("model.embed.weight", "BF16", [300, 64], None),
            ("scale", "F8_E4M3FNUZ", [], None),
            ("none", "F32", [0, 7], None),
        ])
        self.assertEqual(self.good("ls", path).out, (
            "NAME                DTYPE        SHAPE          SIZE  SHARD\n"
            "model.embed.weight  BF16         [300, 64]  37.5 KiB  m.safetensors\n"
            "scale               F8_E4M3FNUZ  []              1 B  m.safetensors\n"
            "none                F32          [0, 7]          0 B  m.safetensors\n"
            "3 tensors, 37.5 KiB\n"))

    def test_shards_are_listed_in_the_order_of_their_names(self):
        self.make_two_shards()
        table = (
            "NAME  DTYPE  SHAPE  SIZE  SHARD\n"
            "b.0   U8     [2]     2 B  a-1.safetensors\n"
            "a.0   U8     [3]     3 B  x/a-2.safetensors\n"
            "a.1   U8     [1]     1 B  x/a-2.safetensors\n"
            "3 tensors, 6 B, 2 shards\n")
        self.assertEqual(self.good("ls", "m").out, table)
        self.assertEqual(self.good("ls", "m/model.safetensors.index.json").out, table)

    def make_two_shards(self):
        return cli_support.make_sharded(self.folder / "m", {
            "x/a-2.safetensors": {"tensors": [("a.0", "U8", [3], None), ("a.1", "U8", [1], None)]},
            "a-1.safetensors": {"tensors": [("b.0", "U8", [2], None)]},
        })

    def test_a_folder_with_one_file(self):
        path = self.write("m/only.safetensors", [("a", "U8", [1], None)])
        self.assertEqual(self.good("ls", "m").out, self.good("ls", path).out)

    def test_a_prefix_selects(self):
        self.make_two_shards()
        self.assertEqual(self.good("ls", "m", "a.").lines[1:], [
            "a.0   U8     [3]     3 B  x/a-2.safetensors",
            "a.1   U8     [1]     1 B  x/a-2.safetensors",
            "2 of 3 tensors, 4 B"])
        self.assertEqual(self.good("ls", "m", "").out, self.good("ls", "m").out)

    def test_no_tensors_is_a_total_of_none(self):
        path = self.write("m.safetensors", [])
        self.assertEqual(self.good("ls", path).out, "0 tensors, 0 B\n")
        self.assertEqual(self.good("ls", path, "--json").json,
                         {"tensors": [], "count": 0, "size": 0})

    def test_one_tensor_is_not_plural(self):
        path = self.write("m.safetensors", [("a", "U8", [1], None)])
        self.assertEqual(self.good("ls", path).lines[-1], "1 tensor, 1 B")

    def test_sizes_are_rounded_to_tenths_of_their_unit(self):
        sizes = {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1587: "1.5 KiB",
                 1588: "1.6 KiB", 1024**2 - 52: "1023.9 KiB", 1024**2 - 1: "1.0 MiB",
                 3 * 1024**2: "3.0 MiB"}
        for size, text in sizes.items():
            path = self.write("m.safetensors", [("a", "U8", [size], None)])
            with self.subTest(size):
                self.assertEqual(self.good("ls", path).lines[-1], "1 tensor, " + text)

    def test_very_long_names_and_shapes_only_move_their_own_line(self):
        path = self.write("m.safetensors", [("n" * 300, "U8", [1] * 40, None),
                                            ("short", "U8", [1], None)])
        lines = self.good("ls", path).lines
        self.assertTrue(lines[1].startswith("n" * 300 + "  U8     [1, 1, "))
        self.assertEqual(lines[2], "short".ljust(82) + "U8     " + "[1]".ljust(34) +
                         " 1 B  m.safetensors")

    def test_columns_stay_aligned_for_names_beyond_ascii(self):
        names = ["模型.权重", "straße", "plain", "emoji.🦀", "e\u0301"]
        path = self.write("m.safetensors", [(name, "U8", [1], None) for name in names])
        lines = self.good("ls", path).lines
        for name, line in zip(names, lines[1:]):
            before = line[:line.index("U8")].replace("\u0301", "")
            self.assertEqual(columns(before), 11, line)
            self.assertTrue(line.startswith(name + " "))


class OddNames(cli_support.CliTest):
    NAMES = ["", "new\nline", "tab\tcr\r", "esc\x1b]0;title\x07", "del\x7f", "c1\x9b31m",
             "bidi\u202eabc\u2066", "zero\u200bwidth\ufeff", "tag\U000e0041", "a\0b", 'quote"\\',
             "line\u2028", "soft\xad"]
    SHOWN = ["", r"new\nline", r"tab\tcr\r", r"esc\x1b]0;title\x07", r"del\x7f", r"c1\u009b31m",
             r"bidi\u202eabc\u2066", r"zero\u200bwidth\ufeff", r"tag\U000e0041", r"a\x00b",
             'quote"\\\\', r"line\u2028", r"soft\u00ad"]

    def setUp(self):
        super().setUp()
        self.path = self.write("m.safetensors", [(name, "U8", [1], None) for name in self.NAMES])

    def test_what_could_harm_a_terminal_is_printed_escaped(self):
        lines = self.good("ls", self.path).lines
        self.assertEqual([line.partition("  U8 ")[0].rstrip() for line in lines[1:-1]], self.SHOWN)

    def test_json_has_names_exactly_and_is_safe_to_print(self):
        result = self.good("ls", self.path, "--json")
        self.assertEqual([tensor["name"] for tensor in result.json["tensors"]], self.NAMES)
        for code in result.out:
            self.assertFalse(code != "\n" and unicodedata.category(code) in ("Cc", "Cf", "Zl"),
                             hex(ord(code)))

    def test_a_path_that_is_no_utf8_still_makes_json(self):
        data = self.path.read_bytes()
        path = bytes(self.folder) + b"/bad\xff\xc3.safetensors"
        with open(path, "wb") as file:
            file.write(data)
        result = self.good("ls", path, "--json")
        self.assertTrue(result.json["tensors"][0]["file"].endswith("/bad\ufffd\ufffd.safetensors"))
        self.assertIn(rb"bad\xff\xc3.safetensors", self.good("ls", path).bytes)


class Json(cli_support.CliTest):
    def test_all_members(self):
        cli_support.make_sharded(self.folder / "m", {
            "1.safetensors": {"tensors": [("b", "F16", [2, 3], None)], "header_size": 120},
            "2.safetensors": {"tensors": [("a", "U8", [], None)], "header_size": 120},
        })
        result = self.good("ls", "m", "--json")
        self.assertEqual(result.json, {
            "tensors": [
                {"name": "b", "dtype": "F16", "shape": [2, 3], "size": 12, "offset": 128,
                 "shard": 0, "file": "1.safetensors"},
                {"name": "a", "dtype": "U8", "shape": [], "size": 1, "offset": 128,
                 "shard": 1, "file": "2.safetensors"}],
            "count": 2, "size": 13})
        # A line a tensor, for tools that look at lines.
        self.assertTrue(result.lines[1].startswith('{"name": "b", '))
        self.assertEqual(len(result.lines), 4)

    def test_all_22_dtypes(self):
        tensors = [(dtype, dtype, [4], None) for dtype in cli_support.BITS]
        path = self.write("m.safetensors", tensors)
        for tensor in self.good("ls", path, "--json").json["tensors"]:
            self.assertEqual(tensor["dtype"], tensor["name"])
            self.assertEqual(tensor["size"], cli_support.BITS[tensor["name"]] // 2)


class NothingMatches(cli_support.CliTest):
    def setUp(self):
        super().setUp()
        self.path = self.write("m.safetensors", [
            (f"model.layers.{layer}.{part}", "U8", [1], None)
            for layer in range(3) for part in ("q", "mlp.up")])

    def check(self, prefix, *suggestion, more=()):
        result = self.bad(1, "ls", self.path, prefix, *more)
        lines = [f"tare: {self.path}: no tensor's name starts with '{prefix}'"]
        lines += [f"tare: did you mean {text}?" for text in suggestion]
        self.assertEqual(result.err.splitlines(), lines)

    def test_a_near_prefix_is_suggested(self):
        self.check("modle.layers.2.", "'model.layers.2.'")
        self.check("model.layer.1", "'model.layers.1'")
        self.check("Model.Layers.0", "'model.layers.0'")

    def test_a_prefix_without_its_first_component_is_completed(self):
        self.check("layers.2.ml", "'model.layers.2.ml'")

    def test_several_are_as_near(self):
        self.check("model.layers.7.", "'model.layers.0.', 'model.layers.1.' or 'model.layers.2.'")

    def test_what_is_near_to_nothing_has_no_suggestion(self):
        self.check("zzzzzz", more=["--json"])


if __name__ == "__main__":
    cli_support.main()
