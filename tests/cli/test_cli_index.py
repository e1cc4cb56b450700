"""`tare index`, and what other commands do where there is an index file."""

import os
import struct

import cli_support


class Index(cli_support.CliTest):
    def setUp(self):
        super().setUp()
        self.write("m.safetensors", [("a", "F32", [2, 2], None), ("layers.0.b", "U8", [3], None)],
                   metadata={"k": "v"})
        cli_support.make_sharded(self.folder / "sharded", {
            "1.safetensors": {"tensors": [("a", "U8", [4], None)]},
            "2.safetensors": {"tensors": [("b", "U8", [4], None)]}})

    def test_it_is_written_beside_the_model_and_used(self):
        before = self.good("ls", "m.safetensors").out, self.good("meta", "m.safetensors").out
        self.assertRegex(self.good("index", "m.safetensors").out,
                         r"\Am\.safetensors\.tareidx \(2 tensors, [0-9.]+ KiB\)\n\Z")
        after = self.good("ls", "m.safetensors").out, self.good("meta", "m.safetensors").out
        self.assertEqual(after, before)
        lines = self.good("stat", "m.safetensors").lines
        self.assertRegex(lines[8], r"\Aindex file [0-9.]+ KiB in place of headers\Z")
        self.assertTrue(self.good("stat", "--json", "m.safetensors").json["index_file"]["used"])
        unused = self.good("stat", "--json", "--no-index", "m.safetensors").json["index_file"]
        self.assertEqual((unused["used"], unused["size"], unused["status"]),
                         (False, 0, "TARE_E_OPEN"))

    def test_that_of_a_sharded_model_lies_in_its_folder(self):
        result = self.good("index", "--json", "sharded").json
        self.assertEqual((result["file"], result["tensors"], result["shards"]),
                         ("sharded/tare.idx", 2, 2))
        self.assertEqual(result["size"], (self.folder / "sharded/tare.idx").stat().st_size)
        self.assertTrue(self.good("stat", "--json", "sharded").json["index_file"]["used"])

    def test_it_goes_where_it_is_told_to(self):
        self.good("index", "m.safetensors", "-o", "elsewhere.idx")
        self.assertFalse((self.folder / "m.safetensors.tareidx").exists())
        listed = self.good("ls", "--index", "elsewhere.idx", "m.safetensors").out
        self.assertEqual(listed, self.good("ls", "m.safetensors").out)
        self.assertIn("another model", self.bad(1, "ls", "--index=elsewhere.idx", "sharded").err)
        self.bad(1, "ls", "--index=absent.idx", "m.safetensors")
        self.assertEqual(self.bad(1, "ls", "sharded/1.safetensors", "--index=m.safetensors").err,
                         "tare: sharded/1.safetensors: 'm.safetensors': is no index file\n")
        self.bad(2, "ls", "--index=elsewhere.idx", "--no-index", "m.safetensors")

    def test_that_of_another_model_in_the_folder_is_not_replaced(self):
        listed = (self.folder / "sharded/model.safetensors.index.json").read_bytes()
        (self.folder / "sharded/b.safetensors.index.json").write_bytes(listed)
        a, b = "sharded/model.safetensors.index.json", "sharded/b.safetensors.index.json"
        self.good("index", a)
        self.good("index", a)
        self.assertEqual(self.bad(1, "index", b).err,
                         "tare: sharded/tare.idx: is there already, the index file of another "
                         "model, 'model.safetensors.index.json'\n")
        self.good("ls", a)
        self.good("index", "--force", b)
        self.good("ls", b)

    def test_it_does_not_go_to_standard_output(self):
        self.assertIn("standard output", self.bad(2, "index", "m.safetensors", "-o", "-").err)
        self.assertFalse((self.folder / "-").exists())
        self.good("index", "m.safetensors", "-o", "./-")

    def test_only_an_index_file_is_replaced(self):
        data = (self.folder / "m.safetensors").read_bytes()
        for force in [], ["--force"]:
            self.assertEqual(
                self.bad(1, "index", "m.safetensors", "-o", "m.safetensors", *force).err,
                "tare: m.safetensors: is a file of the model itself, which no index file "
                "replaces\n")
            self.assertEqual((self.folder / "m.safetensors").read_bytes(), data)
        self.good("index", "m.safetensors")
        self.good("index", "m.safetensors")
        (self.folder / "other").write_bytes(b"x")
        self.bad(1, "index", "m.safetensors", "-o", "other")
        self.good("index", "m.safetensors", "-o", "other", "--force")

    def test_no_file_of_the_model_is_replaced_by_force(self):
        folder = self.folder / "sharded"
        (folder / "link.idx").symlink_to("2.safetensors")
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        for name in before:
            result = self.bad(1, "index", "--force", "sharded", "-o", "sharded/" + name)
            self.assertIn("is a file of the model itself", result.err)
        self.assertEqual({path.name: path.read_bytes() for path in folder.iterdir()}, before)
        self.assertTrue((folder / "link.idx").is_symlink())
        self.good("index", "sharded")

    def test_one_that_does_not_fit_is_told_and_passed_over(self):
        listed = self.good("ls", "m.safetensors").out
        self.good("index", "m.safetensors")
        os.utime(self.folder / "m.safetensors", ns=(5, 5))
        result = self.tare("ls", "m.safetensors")
        self.assertEqual((result.status, result.out), (0, listed))
        self.assertRegex(result.err, r"\Atare: m\.safetensors: its index file is not used: "
                                     r"'m\.safetensors': modified since the index was built\n\Z")
        self.good("ls", "--no-index", "m.safetensors")
        self.assertIn("index file not used: ", self.tare("stat", "m.safetensors").out)

    def test_it_may_be_told_by_headers(self):
        self.good("index", "m.safetensors")
        listed = self.good("ls", "m.safetensors").out
        os.utime(self.folder / "m.safetensors", ns=(5, 5))
        self.assertIn("not used", self.tare("ls", "--index-check=time", "m.safetensors").err)
        self.assertEqual(self.good("ls", "--index-check", "header", "m.safetensors").out, listed)
        index = "--index=m.safetensors.tareidx"
        self.good("ls", "--index-check=header", index, "m.safetensors")
        self.bad(1, "ls", index, "m.safetensors")
        data = (self.folder / "m.safetensors").read_bytes()
        (self.folder / "m.safetensors").write_bytes(data.replace(b'"v"', b'"w"'))
        self.assertIn("its header is not the one",
                      self.bad(1, "ls", "--index-check=header", index, "m.safetensors").err)
        self.assertIn("--index-check is time or header, not 'size'",
                      self.bad(2, "ls", "--index-check=size", "m.safetensors").err)

    def test_one_whose_shards_are_gone_is_told(self):
        self.good("index", "sharded")
        os.remove(self.folder / "sharded/1.safetensors")
        os.remove(self.folder / "sharded/2.safetensors")
        cli_support.make_sharded(self.folder / "sharded", {
            "all.safetensors": {"tensors": [("a", "U8", [4], None), ("b", "U8", [4], None)]}})
        said = "'1.safetensors': cannot open: No such file or directory\n"
        self.assertEqual(self.tare("ls", "sharded").err,
                         "tare: sharded: its index file is not used: " + said)
        self.assertIn("index file not used: " + said, self.tare("stat", "sharded").out)

    def test_one_that_cannot_be_opened_is_told(self):
        path = self.folder / "m.safetensors.tareidx"
        os.mkfifo(path)
        self.assertIn("not used: 'm.safetensors.tareidx': is not a regular file",
                      self.tare("ls", "m.safetensors").err)
        self.assertIn("index file not used: ", self.tare("stat", "m.safetensors").out)
        path.unlink()
        path.symlink_to("m.safetensors.tareidx")
        self.assertIn("m.safetensors.tareidx", self.tare("ls", "m.safetensors").err)

    def test_check_compares_it_with_the_headers(self):
        self.good("index", "m.safetensors")
        self.assertEqual(self.good("check", "m.safetensors").out,
                         "m.safetensors: ok (2 tensors, 19 B, and its index file)\n")
        path = self.folder / "m.safetensors.tareidx"
        data = bytearray(path.read_bytes())
        data[-70] ^= 1
        path.write_bytes(data)
        self.assertRegex(self.bad(1, "check", "m.safetensors").err,
                         r"\Atare: m\.safetensors: the model is valid, its index file cannot be "
                         r"used: .+ \(TARE_E_PREBUILT at byte \d+\)\n\Z")
        self.good("check", "--no-index", "m.safetensors")
        os.utime(self.folder / "m.safetensors", ns=(5, 5))
        data[-70] ^= 1
        path.write_bytes(data)
        self.assertEqual(self.bad(1, "check", "m.safetensors").err,
                         "tare: m.safetensors: the model is valid, its index file is stale: "
                         "'m.safetensors': modified since the index was built (TARE_E_STALE)\n")
        result = self.tare("check", "--json", "m.safetensors").json["results"][0]
        self.assertEqual([result[key] for key in ("ok", "model_ok", "index_file", "status")],
                         [False, True, False, "TARE_E_STALE"])
        self.good("index", "m.safetensors")
        result = self.good("check", "--json", "m.safetensors").json["results"][0]
        self.assertEqual([result[key] for key in ("ok", "model_ok", "index_file")], [True] * 3)
        (self.folder / "m.safetensors").write_bytes(b"x")
        result = self.tare("check", "--json", "m.safetensors").json["results"][0]
        self.assertEqual((result["model_ok"], "index_file" in result), (False, False))

    def test_what_reads_every_byte_reads_the_headers(self):
        self.write("n.safetensors", [(name, "U8", [1], name.encode()) for name in "abcd"])
        manifest = self.good("hash", "n.safetensors").out
        (self.folder / "manifest").write_text(manifest)
        self.good("pack", "n.safetensors", "-o", "before.safetensors")
        packed = (self.folder / "before.safetensors").read_bytes()
        self.good("index", "n.safetensors")
        path = self.folder / "n.safetensors.tareidx"
        data = path.read_bytes()
        records = struct.unpack_from("<Q", data, 64 + 8 * 24)[0]
        offset = struct.unpack_from("<Q", data, records)[0]
        changed = bytearray(data)
        struct.pack_into("<Q", changed, records, offset ^ 1)
        path.write_bytes(changed)
        self.assertNotEqual(self.good("cat", "n.safetensors", "a").bytes,
                            self.good("cat", "--no-index", "n.safetensors", "a").bytes)
        self.assertEqual(self.good("hash", "n.safetensors").out, manifest)
        self.good("verify", "n.safetensors", "manifest")
        self.good("pack", "n.safetensors", "-o", "after.safetensors")
        self.assertEqual((self.folder / "after.safetensors").read_bytes(), packed)
        for command in (["hash", "n.safetensors"], ["verify", "n.safetensors", "manifest"],
                        ["pack", "n.safetensors", "-o", "no.safetensors"]):
            self.bad(2, *command, "--index=n.safetensors.tareidx")

    def test_pack_removes_that_of_the_model_it_replaces(self):
        self.good("pack", "m.safetensors", "-o", "out", "--shard-size=16")
        self.good("index", "out")
        result = self.tare("pack", "m.safetensors", "-o", "out", "--shard-size=16", "--force")
        self.assertEqual((result.status, result.err),
                         (0, "tare: out/tare.idx: was of the old model, and is removed\n"))
        self.good("index", "out")
        result = self.tare("pack", "m.safetensors", "-o", "out", "--force", "--json")
        self.assertIn("out/tare.idx", result.json["removed"])
        self.good("index", "out")
        result = self.tare("pack", "m.safetensors", "-o", "out", "--shard-size=16", "--force",
                           "--json")
        self.assertEqual(result.json["removed"],
                         ["out/model.safetensors", "out/model.safetensors.tareidx"])
        self.good("index", "out")
        self.good("pack", "m.safetensors", "-o", "out/n.safetensors", "--force")
        self.assertTrue((self.folder / "out/tare.idx").exists())

    def test_a_lie_does_no_harm_to_any_command(self):
        self.good("index", "m.safetensors")
        path = self.folder / "m.safetensors.tareidx"
        data = path.read_bytes()
        for at in range(600, len(data), 13):
            changed = bytearray(data)
            changed[at] ^= 0xFF
            path.write_bytes(changed)
            for command in (["ls"], ["stat"], ["meta"], ["hash"], ["load"]):
                with self.subTest(command, at=at):
                    result = self.tare(*command, "m.safetensors")
                    self.assertIn(result.status, (0, 1), result.err)


if __name__ == "__main__":
    cli_support.main()
