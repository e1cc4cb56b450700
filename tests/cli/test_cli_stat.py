"""`tare stat`: sums by dtype, by layer and by alignment."""

import cli_support


def rows(lines, title):
    """The rows of one table: label, tensors, size, share."""
    start = next(i for i, line in enumerate(lines) if line.startswith(title + " "))
    found = []
    for line in lines[start + 1:]:
        if not line:
            break
        words = line.split()
        found.append((" ".join(words[:-4]), int(words[-4]), " ".join(words[-3:-1]), words[-1]))
    return found


class Text(cli_support.CliTest):
    def test_facts_of_a_small_model(self):
        path = self.write("m.safetensors", [
            ("embed.weight", "F32", [700], None),
            ("layers.0.w", "BF16", [100], None),
            ("layers.1.w", "BF16", [100], None),
        ], header_size=248)
        lines = self.good("stat", path).lines
        self.assertEqual(lines[:5], [
            f"model      {path}", "tensors    3", "data       3.1 KiB (3200 bytes)",
            "headers    256 B", "shards     1"])
        self.assertRegex(lines[5], r"\Aopen time  \d+\.\d\d ms\Z")
        self.assertRegex(lines[6], r"\Amemory     .+, [0-9.]+ bytes a tensor: ")
        self.assertRegex(lines[7], r"\Aindex      hashed, at most \d+ table lines a find\Z")
        self.assertEqual(lines[8:], [
            "",
            "DTYPE       TENSORS        SIZE   SHARE",
            "F32               1     2.7 KiB   87.5%",
            "BF16              2       400 B   12.5%",
            "",
            "PREFIX      TENSORS        SIZE   SHARE",
            "embed.            1     2.7 KiB   87.5%",
            "layers.0.         1       200 B    6.2%",
            "layers.1.         1       200 B    6.2%",
            "",
            "ALIGNMENT   TENSORS        SIZE   SHARE",
            "8                 1       200 B    6.2%",
            "16                1       200 B    6.2%",
            "64+               1     2.7 KiB   87.5%",
        ])

    def test_no_tensors(self):
        path = self.write("m.safetensors", [])
        lines = self.good("stat", path).lines
        self.assertIn("tensors    0", lines)
        self.assertEqual([rows(lines, title) for title in ("DTYPE", "PREFIX", "ALIGNMENT")],
                         [[], [], []])

    def make_layers(self, count):
        return self.write("m.safetensors", [("norm.weight", "U8", [1], None)] + [
            (f"model.layers.{layer}.{part}", "U8", [10], None)
            for layer in range(count) for part in "ab"])

    def test_layers_are_in_natural_order(self):
        labels = [row[0] for row in rows(self.good("stat", self.make_layers(11)).lines, "PREFIX")]
        self.assertEqual(labels, [f"model.layers.{layer}." for layer in range(11)] + ["norm."])

    def test_more_than_12_groups_are_folded_but_for_all(self):
        path = self.make_layers(12)
        self.assertEqual(rows(self.good("stat", path).lines, "PREFIX"), [
            ("model.layers.* (12)", 24, "240 B", "99.6%"), ("norm.", 1, "1 B", "0.4%")])
        self.assertEqual(len(rows(self.good("stat", "--all", path).lines, "PREFIX")), 13)

    def test_the_largest_12_are_listed_when_folding_is_not_enough(self):
        path = self.write("m.safetensors", [(f"part{number:02}.w", "U8", [number // 2], None)
                                            for number in range(20)])
        found = rows(self.good("stat", path).lines, "PREFIX")
        self.assertEqual([row[0] for row in found],
                         [f"part{number:02}." for number in range(8, 20)] + ["8 more"])
        self.assertEqual(found[-1][1:3], (8, "12 B"))
        found = rows(self.good("stat", path, "--all").lines, "PREFIX")
        self.assertEqual([row[0] for row in found], [f"part{number:02}." for number in range(20)])


class Groups(cli_support.CliTest):
    def groups(self, names):
        path = self.write("m.safetensors", [(name, "U8", [1], None) for name in names])
        return {group["prefix"]: group["tensors"]
                for group in self.good("stat", path, "--json").json["groups"]}

    def test_the_first_number_among_the_components_cuts(self):
        self.assertEqual(self.groups(["a.3.b.4.c", "a.3.b.5.c", "a.x4.b", "0.weight", "0.bias",
                                      "plain", "blocks/7/w", "a.b.9", "m.12.", "1..x"]),
                         {"a.3.": 2, "a.x4.": 1, "0.": 2, "plain": 1, "blocks/7/": 1, "a.b.": 1,
                          "m.12.": 1, "1.": 1})

    def test_groups_that_lie_apart_are_one(self):
        self.assertEqual(self.groups(["l.1.a", "l.2.a", "l.1.b", "l.2.b", "l.1.c"]),
                         {"l.1.": 3, "l.2.": 2})

    def test_numbers_beyond_64_bits_and_leading_zeros_are_kept_apart(self):
        long = "9" * 40
        found = self.groups([f"l.{long}.a", "l.007.a", "l.7.a", f"l.1{long}.a", f"l.{long}.b"])
        self.assertEqual(found, {"l.007.": 1, "l.7.": 1, f"l.{long}.": 2, f"l.1{long}.": 1})
        self.assertEqual(list(found)[2:], [f"l.{long}.", f"l.1{long}."])

    def test_folding_is_by_the_stem_whatever_lies_between(self):
        path = self.write("m.safetensors", [
            (name, "U8", [1], None) for number in range(10)
            for name in (f"a.{number}.w", f"a.{number}x.w", f"{number}.w")])
        found = rows(self.good("stat", path).lines, "PREFIX")
        self.assertEqual([row[:2] for row in found], [("* (10)", 10), ("a.* (10)", 10)] + [
            (f"a.{number}x.", 1) for number in range(10)])


class Json(cli_support.CliTest):
    def test_all_members(self):
        cli_support.make_sharded(self.folder / "m", {
            "1.safetensors": {"tensors": [("l.0.a", "F32", [2], None), ("l.0.b", "U8", [3], None)],
                              "header_size": 184},
            "2.safetensors": {"tensors": [("l.1.a", "F32", [4], None)], "header_size": 185}})
        report = self.good("stat", "m", "--json").json
        self.assertGreater(report.pop("open_ns"), 0)
        self.assertEqual(report.pop("index_file"),
                         {"used": False, "size": 0, "status": "TARE_E_OPEN",
                          "message": "there is no index file, or none was asked for"})
        memory = report.pop("memory")
        self.assertEqual(set(memory), {"size", "record_size", "name_size", "shape_size",
                                       "index_size", "other_size"})
        self.assertGreaterEqual(memory["size"], sum(memory.values()) - memory["size"])
        index = report.pop("index")
        self.assertEqual((set(index), index["sorted"]), ({"sorted", "reseeds", "probe_max"}, False))
        self.assertEqual(report, {
            "model": "m", "tensors": 3, "size": 27, "header_size": 385, "shards": 2,
            "dtypes": [{"dtype": "F32", "tensors": 2, "size": 24},
                       {"dtype": "U8", "tensors": 1, "size": 3}],
            "groups": [{"prefix": "l.0.", "tensors": 2, "size": 11},
                       {"prefix": "l.1.", "tensors": 1, "size": 16}],
            "alignments": [{"alignment": 1, "tensors": 1, "size": 16},
                           {"alignment": 2, "tensors": 0, "size": 0},
                           {"alignment": 4, "tensors": 0, "size": 0},
                           {"alignment": 8, "tensors": 1, "size": 3},
                           {"alignment": 16, "tensors": 0, "size": 0},
                           {"alignment": 32, "tensors": 0, "size": 0},
                           {"alignment": 64, "tensors": 1, "size": 8}]})


if __name__ == "__main__":
    cli_support.main()
