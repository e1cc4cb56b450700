"""`tare meta`: strings of the header, safe to print, each once."""

import cli_support


class Metadata(cli_support.CliTest):
    def test_entries_in_the_order_of_the_file(self):
        path = self.write("m.safetensors", [], metadata={
            "zeta": "1", "a.long.key": "two words", "": "empty key", "empty": ""})
        self.assertEqual(self.good("meta", path).out, (
            "zeta        1\n"
            "a.long.key  two words\n"
            "            empty key\n"
            "empty       \n"))

    def test_controls_are_escaped_and_json_is_exact(self):
        value = "a\nb\x1b[2J\u202e\\"
        path = self.write("m.safetensors", [], metadata={"k\n": value})
        self.assertEqual(self.good("meta", path).out, "k\\n  a\\nb\\x1b[2J\\u202e\\\\\n")
        self.assertEqual(self.good("meta", path, "--json").json, {
            "metadata": [{"key": "k\n", "kind": "string", "value": value, "shard": 0,
                          "file": str(path)}],
            "count": 1})

    def test_no_metadata_says_so(self):
        path = self.write("m.safetensors", [])
        self.assertEqual(self.good("meta", path).out, "no metadata\n")
        self.assertEqual(self.good("meta", path, "--json").json, {"metadata": [], "count": 0})

    def test_what_all_shards_repeat_is_printed_once(self):
        cli_support.make_sharded(self.folder / "m", {
            f"{shard}.safetensors": {"tensors": [(f"t{shard}", "U8", [1], None)],
                                     "metadata": {"format": "pt", "part": str(shard), **more}}
            for shard, more in ((1, {}), (2, {"x": "y"}), (3, {"x": "y"}))})
        self.assertEqual(self.good("meta", "m").out, (
            "format  pt\n"
            "part    1  (in 1 of 3 shards)\n"
            "part    2  (in 1 of 3 shards)\n"
            "x       y  (in 2 of 3 shards)\n"
            "part    3  (in 1 of 3 shards)\n"))
        entries = self.good("meta", "m", "--json").json
        self.assertEqual(entries["count"], 8)
        self.assertEqual([(entry["key"], entry["value"], entry["shard"], entry["file"])
                          for entry in entries["metadata"][:3]],
                         [("format", "pt", 0, "1.safetensors"), ("part", "1", 0, "1.safetensors"),
                          ("format", "pt", 1, "2.safetensors")])

    def test_a_very_long_key_only_moves_its_own_line(self):
        path = self.write("m.safetensors", [], metadata={"k" * 100: "v", "s": "v"})
        self.assertEqual(self.good("meta", path).out, "k" * 100 + "  v\n" + "s".ljust(42) + "v\n")


if __name__ == "__main__":
    cli_support.main()
