"""`tare hash` and `tare verify`: manifests, and what does not agree with them."""

import subprocess

import cli_support

# XXH3-128 of nothing, of b"abc", and of 0, 1 ... 255; what xxhsum -H128 prints.
EMPTY = "99aa06d3014798d86001c324468d497f"
ABC = "06b05ab6733a618578af5f94892f3950"
HOSTILE = ["", " ", "two  blanks", "\\", "\\n", "a\nb", "\r", "\t", "\0", "\x1b[31m", "\u202etxt",
           "\u00e9", "\\x1b", "a\\", "-", "x" * 5000, "\U0001f600", "\ufeff", "end\n"]


class Manifests(cli_support.CliTest):
    def setUp(self):
        super().setUp()
        self.path = self.write("m.safetensors", [
            ("z", "U8", [3], b"abc"), ("a.1", "F32", [0], b""), ("a.0", "U8", [3], b"abc"),
            ("B", "F32", [1], b"\0\0\0\1")])

    def manifest(self, *arguments, name="manifest"):
        path = self.folder / name
        path.write_bytes(self.good("hash", *arguments).bytes)
        return path


class Hash(Manifests):
    def test_lines_are_digest_and_name_in_the_order_of_names(self):
        lines = self.good("hash", self.path).lines
        self.assertEqual([line[34:] for line in lines], ["B", "a.0", "a.1", "z"])
        self.assertEqual(lines[1:], [f"{ABC}  a.0", f"{EMPTY}  a.1", f"{ABC}  z"])
        self.assertRegex(lines[0], r"\A[0-9a-f]{32}  B\Z")

    def test_prefixes_choose(self):
        self.assertEqual(self.good("hash", self.path, "a.", "a.0").lines,
                         [f"{ABC}  a.0", f"{EMPTY}  a.1"])
        self.bad(1, "hash", self.path, "a.", "y")
        self.bad(1, "hash", "absent")

    def test_the_same_whatever_the_options_shards_and_order(self):
        tensors = [(f"t{number}", "U8", [number * 999], bytes([number]) * (number * 999))
                   for number in range(40)]
        wanted = self.good("hash", self.write("one.safetensors", tensors)).out
        self.assertEqual(wanted, self.good("hash", self.write("two.safetensors",
                                                              tensors[::-1])).out)
        cli_support.make_sharded(self.folder / "m", {"1.safetensors": {"tensors": tensors[20:]},
                                                     "2.safetensors": {"tensors": tensors[:20]}})
        for options in ([], ["--threads=1"], ["--threads=5"], ["--drop-behind"],
                        ["--threads=64"]):
            with self.subTest(options):
                self.assertEqual(self.good("hash", "m", *options).out, wanted)

    def test_json(self):
        report = self.good("hash", "--json", self.path, "a.").json
        self.assertEqual(report, {"model": str(self.path), "count": 2, "size": 3, "tensors": [
            {"name": "a.0", "digest": ABC}, {"name": "a.1", "digest": EMPTY}]})

    def test_of_nothing(self):
        self.assertEqual(self.good("hash", self.write("none.safetensors", [])).out, "")


class Verify(Manifests):
    def test_a_good_model(self):
        manifest = self.manifest(self.path)
        wanted = f"{self.path}: ok (4 tensors, 10 B)\n"
        self.assertEqual(self.good("verify", self.path, manifest).out, wanted)
        self.assertEqual(self.good("verify", self.path, manifest, "--threads=3").out, wanted)
        done = subprocess.run([cli_support.program, "verify", str(self.path), "-"],
                              input=manifest.read_bytes(), capture_output=True, check=False)
        self.assertEqual((done.returncode, done.stdout.decode(), done.stderr), (0, wanted, b""))
        lines = manifest.read_text().splitlines(keepends=True)
        manifest.write_text("".join(reversed(lines)))
        self.assertEqual(self.good("verify", self.path, manifest).out, wanted)

    def test_every_tensor_that_does_not_agree_is_named(self):
        manifest = self.manifest(self.path)
        path = self.write("m.safetensors", [
            ("z", "U8", [3], b"abd"), ("a.0", "U8", [3], b"abc"), ("new", "U8", [1], b"x"),
            ("B", "F32", [1], b"\0\0\1\1"), ("newer", "U8", [0], b"")])
        result = self.tare("verify", path, manifest)
        self.assertEqual((result.status, result.out), (1, ""))
        digests = dict(reversed(line.split("  ")) for line in self.good("hash", path).lines)
        self.assertEqual(result.err.splitlines(), [
            f"tare: {path}: 'z': other bytes, digest {digests['z']}",
            f"tare: {path}: 'B': other bytes, digest {digests['B']}",
            f"tare: {path}: 'a.1': missing",
            f"tare: {path}: 'new': not in the manifest",
            f"tare: {path}: 'newer': not in the manifest"])
        result = self.tare("verify", path, manifest, "--json")
        self.assertEqual(result.status, 1)
        self.assertEqual(result.json, {
            "model": str(path), "manifest": str(manifest), "ok": False, "tensors": 3, "size": 10,
            "differ": ["z", "B"], "missing": ["a.1"], "extra": ["new", "newer"]})

    def test_json_of_a_good_model(self):
        manifest = self.manifest(self.path)
        self.assertEqual(self.good("verify", self.path, manifest, "--json").json, {
            "model": str(self.path), "manifest": str(manifest), "ok": True, "tensors": 4,
            "size": 10, "differ": [], "missing": [], "extra": []})

    def test_prefixes_limit_both_sides(self):
        part = self.manifest(self.path, "a.", name="part")
        whole = self.manifest(self.path, name="whole")
        self.bad(1, "verify", self.path, part)
        for manifest in (part, whole):
            self.assertEqual(self.good("verify", self.path, manifest, "a.").out,
                             f"{self.path}: ok (2 tensors, 3 B)\n")
        self.assertIn("no tensor's name starts with 'y'",
                      self.bad(1, "verify", self.path, whole, "a.", "y").err)
        # Of what the manifest alone has, it is missing.
        whole.write_text(f"{EMPTY}  y.0\n")
        self.assertIn("'y.0': missing", self.bad(1, "verify", self.path, whole, "y").err)

    def test_a_single_bit_of_any_byte_shows(self):
        data = bytearray(range(256)) * 40
        path = self.write("bits.safetensors", [("t", "U8", [len(data)], bytes(data))])
        manifest = self.manifest(path)
        self.good("verify", path, manifest)
        for at in (0, 1, 127, 5000, len(data) - 1):
            data[at] ^= 16
            self.write("bits.safetensors", [("t", "U8", [len(data)], bytes(data))])
            self.bad(1, "verify", path, manifest)
            data[at] ^= 16

    def test_names_of_every_kind(self):
        path = self.write("odd.safetensors", [
            (name, "U8", [number], bytes([number]) * number)
            for number, name in enumerate(HOSTILE)])
        manifest = self.manifest(path)
        lines = manifest.read_bytes().split(b"\n")
        self.assertEqual((len(lines), lines[-1]), (len(HOSTILE) + 1, b""))
        self.assertNotIn(b"\x1b", manifest.read_bytes())
        self.assertNotIn(b"\0", manifest.read_bytes())
        plain = [line for line in lines if line.endswith("  \u00e9".encode())]
        self.assertFalse(plain[0].startswith(b"\\"))
        self.assertEqual([line[:1] for line in lines if line.endswith(b"  a\\nb")], [b"\\"])
        self.assertEqual([line[:1] for line in lines if line.endswith(b"  \\\\n")], [b"\\"])
        self.good("verify", path, manifest)
        # A name that is missing is shown so that it does no harm.
        other = self.write("other.safetensors", [])
        result = self.bad(1, "verify", other, manifest)
        self.assertEqual(len(result.err.splitlines()), len(HOSTILE))
        self.assertNotIn("\x1b", result.err)

    def test_an_empty_manifest_lists_nothing(self):
        manifest = self.folder / "none"
        manifest.write_bytes(b"")
        self.assertEqual(len(self.bad(1, "verify", self.path, manifest).err.splitlines()), 4)
        none = self.write("none.safetensors", [])
        self.assertEqual(self.good("verify", none, manifest).out, f"{none}: ok (0 tensors, 0 B)\n")

    def test_what_is_no_manifest_is_refused_with_the_line(self):
        good = f"{ABC}  z\n"
        manifest = self.folder / "bad"
        for text, line in ((f"{ABC}  z", 1), (good + "\n", 2), (good + "x", 2),
                           (good + f"{ABC} z\n", 2), (f"{ABC.upper()}  z\n", 1),
                           (f"{ABC}   z"[1:] + "\n", 1), (f"\\{ABC}  z\n", 1),
                           (f"\\{ABC}  \\q\n", 1), (f"\\{ABC}  z\\\n", 1), (f"{ABC} *z\n", 1),
                           ("\0" * 40 + "\n", 1), ("\\\n", 1), (good.replace("\n", ""), 1)):
            with self.subTest(text):
                manifest.write_text(text)
                self.assertEqual(self.bad(1, "verify", self.path, manifest).err,
                                 f"tare: {manifest}: line {line} is not one of a manifest\n")
        manifest.write_text(good + good)
        self.assertEqual(self.bad(1, "verify", self.path, manifest).err,
                         f"tare: {manifest}: lines 1 and 2 are of the same tensor\n")
        self.assertIn("cannot be read", self.bad(1, "verify", self.path, "absent").err)
        self.assertIn("cannot be read", self.bad(1, "verify", self.path, self.folder).err)


if __name__ == "__main__":
    cli_support.main()
