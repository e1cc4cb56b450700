"""Every command on GGUF files: typed metadata, blocks of quantized tensors, split files."""

import base64
import json
import re
import struct

import cli_support

SHOWN = {"F32": "f", "F16": "e", "F64": "d", "I8": "b", "I16": "h", "I32": "i", "I64": "q"}
EXTREMES = {"u8": 255, "i8": -128, "u16": 65535, "i16": -32768, "u32": 2**32 - 1, "i32": -(2**31),
            "f32": 0.1, "bool": 1, "string": "two words", "u64": 2**64 - 1, "i64": -(2**63),
            "f64": 1 / 3}
EXACT = {**EXTREMES, "bool": True}


class Tensors(cli_support.CliTest):
    def test_ls_has_dtypes_as_they_are_written_and_shapes_slowest_first(self):
        path = self.write_gguf("m.gguf", [
            ("token_embd.weight", "Q4_K", [3, 512], None),
            ("blk.0.attn_q.weight", "IQ2_XXS", [2, 256], None),
            ("blk.0.ffn_gate_exps.weight", "MXFP4", [4, 2, 64], None),
            ("output_norm.weight", "F32", [5], None),
            ("scale", "BF16", [], b"\x80\x3f")])
        self.assertEqual(self.good("ls", path).out, (
            "NAME                        DTYPE    SHAPE        SIZE  SHARD\n"
            "token_embd.weight           Q4_K     [3, 512]    864 B  m.gguf\n"
            "blk.0.attn_q.weight         IQ2_XXS  [2, 256]    132 B  m.gguf\n"
            "blk.0.ffn_gate_exps.weight  MXFP4    [4, 2, 64]  272 B  m.gguf\n"
            "output_norm.weight          F32      [5]          20 B  m.gguf\n"
            "scale                       BF16     []            2 B  m.gguf\n"
            "5 tensors, 1.3 KiB\n"))
        listed = self.good("ls", path, "blk.", "--json").json
        self.assertEqual([(t["name"], t["dtype"], t["shape"], t["size"])
                          for t in listed["tensors"]],
                         [("blk.0.attn_q.weight", "IQ2_XXS", [2, 256], 132),
                          ("blk.0.ffn_gate_exps.weight", "MXFP4", [4, 2, 64], 272)])

    def test_show_decodes_what_is_plain(self):
        for dtype, code in SHOWN.items():
            with self.subTest(dtype):
                values = [1, -2, 3, 100, 0, 7]
                path = self.write_gguf("m.gguf", [
                    ("t", dtype, [2, 3], struct.pack(f"<6{code}", *values))])
                self.assertEqual(self.good("show", path, "t").lines[-1],
                                 "values     1 -2 3 100 0 7")
                shown = self.good("show", path, "t", "--json").json
                self.assertEqual((shown["values"], shown["dtype"], shown["shape"]),
                                 (values, dtype, [2, 3]))
                self.assertNotIn("blocks", shown)
        path = self.write_gguf("m.gguf", [("t", "BF16", [2], b"\x80\x3f\x00\xc0")])
        self.assertEqual(self.good("show", path, "t").lines[-1], "values     1 -2")

    def test_show_tells_the_blocks_of_what_is_quantized(self):
        path = self.write_gguf("m.gguf", [("a", "Q8_0", [32], None),
                                          ("w", "Q4_K", [6, 512], None)], alignment=64)
        self.assertEqual(self.good("show", path, "w").out, (
            "name       w\n"
            "dtype      Q4_K, blocks of 256 elements in 144 bytes\n"
            "blocks     12\n"
            "shape      [6, 512]\n"
            "in GGUF    [512, 6], the fastest first\n"
            "elements   3072\n"
            "size       1.7 KiB (1728 bytes)\n"
            f"shard      0: {path}\n"
            "offset     256 in the file, 64 in its data section\n"
            "alignment  256 bytes\n"))
        shown = self.good("show", path, "w", "--json").json
        self.assertEqual(shown["gguf_shape"], [512, 6])
        self.assertEqual({key: shown[key] for key in ("bits", "block_elements", "block_size",
                                                      "blocks", "elements", "values")},
                         {"bits": 0, "block_elements": 256, "block_size": 144, "blocks": 12,
                          "elements": 3072, "values": []})

    def test_what_a_tensor_takes_does_not_hold_metadata(self):
        tensors = [(f"t{i}", "F32", [1], None) for i in range(20)]
        few = self.write_gguf("few.gguf", tensors)
        more = self.write_gguf("more.gguf", tensors, metadata=[
            ("tokens", "string[]", ["token"] * 20000)])
        sizes = {}
        for path in (few, more):
            text = next(line for line in self.good("stat", path).lines if "memory" in line)
            each = re.search(r", ([0-9.]+) bytes a tensor: .* index; (.+) else", text)
            memory = self.good("stat", path, "--json").json["memory"]
            parts = sum(size for key, size in memory.items() if key not in ("size", "other_size"))
            self.assertEqual(memory["size"], parts + memory["other_size"])
            self.assertEqual(each[1], f"{parts / 20:.1f}")
            sizes[path] = parts, memory["other_size"]
        self.assertEqual(sizes[few][0], sizes[more][0])
        self.assertGreater(sizes[more][1], sizes[few][1] + 20000 * (8 + 5))

    def test_an_empty_quantized_tensor_has_no_blocks(self):
        path = self.write_gguf("m.gguf", [("e", "Q4_0", [0, 64], None),
                                          ("f", "Q4_0", [3, 0], None)])
        for name in "ef":
            self.assertIn("blocks     0", self.good("show", path, name).lines)

    def test_cat_writes_the_bytes_of_blocks(self):
        data = bytes(range(34)) * 3
        path = self.write_gguf("m.gguf", [("a", "I8", [3], b"abc"), ("w", "Q8_0", [96], data)])
        self.assertEqual(self.good("cat", path, "w").bytes, data)
        encoded = self.good("cat", path, "w", "--json").json["base64"]
        self.assertEqual(base64.b64decode(encoded), data)

    def test_stat_sums_up_by_dtype_and_layer(self):
        path = self.write_gguf("m.gguf", [
            (f"blk.{i}.{part}", dtype, [256], None)
            for i in range(20) for part, dtype in (("w", "Q4_K"), ("norm", "F32"))])
        stat = self.good("stat", path, "--json").json
        self.assertEqual([(d["dtype"], d["tensors"], d["size"]) for d in stat["dtypes"]],
                         [("F32", 20, 20 * 1024), ("Q4_K", 20, 20 * 144)])
        self.assertEqual(len(stat["groups"]), 20)
        self.assertRegex(self.good("stat", path).out, r"(?m)^blk\.\* \(20\) +40 ")

    def test_bench_measures(self):
        path = self.write_gguf("m.gguf", [(f"blk.{i}.w", "I8", [1], None) for i in range(50)])
        finds = self.good("bench", path, "--seconds=0.1", "--json").json["finds"]
        self.assertEqual({find["find"] for find in finds}, {"hit", "miss", "key", "many"})
        self.assertTrue(all(find["samples"] > 0 for find in finds))


class Gguf(cli_support.CliTest):
    def write_parts(self, count, tensors=2, **more):
        for part in range(count):
            metadata = [("split.no", "u16", part), ("split.count", "u16", count),
                        ("split.tensors.count", "i32", count * tensors), ("common", "string", "x")]
            self.write_gguf(f"m-{part + 1:05}-of-{count:05}.gguf", [
                (f"blk.{part}.{i}", "I8", [2], bytes([part, i])) for i in range(tensors)],
                metadata=metadata, **more)


class Check(Gguf):
    def test_check_accepts_and_refuses(self):
        good = self.write_gguf("good.gguf", [("t", "F32", [4], None)])
        content = good.read_bytes()
        cases = {"cut": (content[:-17], "TARE_E_COVER"),
                 "old": (b"GGUF\1" + content[5:], "TARE_E_VERSION"),
                 "big": (b"GGUF\0\0\0\3" + content[8:], "TARE_E_ENDIAN"),
                 "odd": (b"GGML" + content[4:], "TARE_E_FORMAT")}
        self.assertEqual(self.good("check", good).out, f"{good}: ok (1 tensor, 16 B)\n")
        for name, (damaged, status) in cases.items():
            with self.subTest(name):
                path = self.folder / f"{name}.gguf"
                path.write_bytes(damaged)
                result = self.bad(1, "check", path)
                self.assertIn(f"({status} at byte ", result.err)
                document = self.tare("check", path, "--json").json["results"][0]
                self.assertEqual(document["status"], status)

    def test_a_folder_with_one_gguf_file_is_that_model(self):
        self.write_gguf("m.gguf", [("t", "I8", [1], None)])
        self.assertEqual(self.good("check", ".").out, ".: ok (1 tensor, 1 B)\n")

    def test_any_part_of_a_split_file_stands_for_all(self):
        self.write_parts(3)
        for path in ("m-00001-of-00003.gguf", "m-00003-of-00003.gguf", "."):
            with self.subTest(path):
                listed = self.good("ls", path, "--json").json["tensors"]
                self.assertEqual([(t["name"], t["shard"]) for t in listed],
                                 [(f"blk.{part}.{i}", part) for part in range(3) for i in range(2)])
                self.assertEqual({t["file"].rpartition("/")[2] for t in listed},
                                 {f"m-{part:05}-of-00003.gguf" for part in (1, 2, 3)})
                self.assertEqual(self.good("cat", path, "blk.2.1").bytes, b"\2\1")
                self.assertIn("3 shards", self.good("check", path).out)
                meta = self.good("meta", path).lines
                self.assertIn("common               string  x", meta)
                self.assertIn("split.no             u16     1  (in 1 of 3 shards)", meta)

    def test_a_missing_part_is_named(self):
        self.write_parts(3)
        (self.folder / "m-00002-of-00003.gguf").unlink()
        self.assertIn("m-00002-of-00003.gguf", self.bad(1, "ls", "m-00001-of-00003.gguf").err)

    def test_a_foreign_part_is_named(self):
        self.write_parts(3)
        self.write_gguf("m-00002-of-00003.gguf", [("t", "I8", [1], None)],
                        metadata=[("split.no", "u16", 0), ("split.count", "u16", 3)])
        result = self.bad(1, "check", "m-00001-of-00003.gguf")
        self.assertIn("m-00002-of-00003.gguf", result.err)
        self.assertIn("TARE_E_SPLIT", result.err)


class Load(Gguf):
    """All that reads tensors in bulk."""

    def setUp(self):
        super().setUp()
        self.data = {"w": bytes(range(256)) * 27, "q": bytes(range(136)), "e": b"",
                     "s": b"\x80\x3f"}
        self.path = self.write_gguf("whole.gguf", [
            ("w", "Q4_K", [6, 2048], self.data["w"]), ("q", "Q8_0", [2, 64], self.data["q"]),
            ("e", "Q4_0", [0, 32], b""), ("s", "BF16", [], self.data["s"])], alignment=64)

    def test_load_by_every_way(self):
        for options in ([], ["--direct", "--drop-behind"], ["--buffered", "--threads=3"],
                        ["--chunk=4K"], ["--align=4K"]):
            with self.subTest(options):
                report = self.good("load", self.path, "--json", *options).json
                self.assertEqual((report["tensors"], report["size"]), (4, 7050))
        self.assertEqual(self.good("load", self.path, "q", "s", "--json").json["size"], 138)
        self.write_parts(3)
        for path in ("m-00002-of-00003.gguf", "m-00003-of-00003.gguf"):
            report = self.good("load", path, "--json").json
            self.assertEqual((report["tensors"], report["size"]), (6, 12))

    def test_digests_are_those_of_the_bytes_whatever_the_file(self):
        raw = self.write("raw.safetensors", [
            (name, "U8", [len(data)], data) for name, data in self.data.items()])
        wanted = self.good("hash", raw).out
        self.assertEqual(self.good("hash", self.path).out, wanted)
        manifest = self.folder / "manifest"
        manifest.write_text(wanted)
        self.assertEqual(self.good("verify", self.path, manifest).out,
                         f"{self.path}: ok (4 tensors, 6.9 KiB)\n")

    def test_a_block_that_changed_is_found(self):
        manifest = self.folder / "manifest"
        manifest.write_bytes(self.good("hash", self.path).bytes)
        content = bytearray(self.path.read_bytes())
        content[content.rindex(self.data["q"]) + 100] ^= 1
        self.path.write_bytes(content)
        self.assertRegex(self.bad(1, "verify", self.path, manifest).err, r"'q': other bytes")

    def test_a_part_under_another_name_is_said_to_be_one(self):
        self.write_gguf("other.gguf", [("t", "F32", [4], None)],
                        metadata=[("split.no", "u16", 1), ("split.count", "u16", 3)])
        warning = ("tare: other.gguf: part 2 of 3 of a split file; its name leads to no other, so "
                   "they are not opened\n")
        for command in ("ls", "stat", "hash", "meta"):
            self.assertEqual(self.tare(command, "other.gguf").err, warning)
        self.assertEqual(self.bad(1, "pack", "-o", "out.safetensors", "other.gguf").err, warning +
                         "tare: nothing is packed: a model would be made of a part of one\n")
        self.assertFalse((self.folder / "out.safetensors").exists())
        self.assertEqual(self.good("check", "other.gguf").out,
                         "other.gguf: ok (1 tensor, 16 B): part 2 of 3 of a split file, by whose "
                         "name no other is found\n")
        result = self.good("check", "--json", "other.gguf").json["results"][0]
        self.assertEqual((result["ok"], result["part"], result["parts"]), (True, 2, 3))

    def test_split_files_hash_as_one(self):
        self.write_parts(3)
        whole = self.write_gguf("m.gguf", [(f"blk.{part}.{i}", "I8", [2], bytes([part, i]))
                                           for part in range(3) for i in range(2)])
        manifest = self.folder / "manifest"
        manifest.write_bytes(self.good("hash", whole).bytes)
        self.assertEqual(self.good("hash", "m-00002-of-00003.gguf").bytes, manifest.read_bytes())
        self.assertIn("6 tensors", self.good("verify", "m-00003-of-00003.gguf", manifest).out)
        self.write_gguf("m-00003-of-00003.gguf", [
            ("blk.2.0", "I8", [2], b"\2\0"), ("blk.2.1", "I8", [2], b"\2\2")],
            metadata=[("split.no", "u16", 2), ("split.count", "u16", 3),
                      ("split.tensors.count", "i32", 6)])
        self.assertRegex(self.bad(1, "verify", "m-00001-of-00003.gguf", manifest).err,
                         r"\Atare: .*: 'blk\.2\.1': other bytes")


LEFT_OUT = "tare: metadata: left out {} that {} no UTF-8 string: {}\n"


class Pack(Gguf):
    def packed(self, path):
        """(metadata, {name: (dtype, shape, bytes)})"""
        content = (self.folder / path).read_bytes()
        size = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8:8 + size])
        metadata = header.pop("__metadata__", {})
        return metadata, {
            name: (info["dtype"], info["shape"], content[8 + size:][slice(*info["data_offsets"])])
            for name, info in header.items()}

    def test_plain_types_are_written_as_what_they_are(self):
        tensors = [(dtype.lower(), dtype, [2, 3], bytes(range(6 * size)))
                   for dtype, (_, count, size) in cli_support.GGUF_TYPES.items() if count == 1]
        path = self.write_gguf("m.gguf", [*tensors, ("scalar", "F16", [], b"\1\2")])
        self.good("pack", path, "-o", "m.safetensors")
        self.assertEqual(self.packed("m.safetensors"), ({}, {
            **{name: (dtype, shape, data) for name, dtype, shape, data in tensors},
            "scalar": ("F16", [], b"\1\2")}))
        self.good("check", "m.safetensors")

    def test_quantized_ones_are_refused_by_name(self):
        path = self.write_gguf("m.gguf", [("a", "F32", [1], None),
                                          ("b\x1b", "IQ2_XXS", [256], None)])
        for only in ([], ["--only", "b"]):
            self.assertEqual(self.bad(1, "pack", path, "-o", "m.safetensors", *only).err, (
                f"tare: {path}: tensor 'b\\x1b' is IQ2_XXS, which safetensors does not have; "
                "--raw-quantized stores its blocks as U8\n"))
        self.assertEqual([entry.name for entry in self.folder.iterdir()], ["m.gguf"])
        self.good("pack", path, "-o", "m.safetensors", "--only=a")

    def test_raw_blocks_keep_type_and_shape_beside_them(self):
        blocks = {"q": bytes(range(144)) * 4, "x": bytes(range(136)), "none": b""}
        path = self.write_gguf("m.gguf", [
            ("q", "Q4_K", [2, 512], blocks["q"]), ("f", "F32", [1], b"\0\0\0\1"),
            ("x", "MXFP4", [4, 2, 32], blocks["x"]), ("none", "Q4_0", [0, 32], b"")],
            metadata=[("general.name", "string", "m")])
        self.good("pack", path, "-o", "m.safetensors", "--raw-quantized")
        metadata, tensors = self.packed("m.safetensors")
        self.assertEqual(tensors, {
            "f": ("F32", [1], b"\0\0\0\1"),
            **{name: ("U8", [len(data)], data) for name, data in blocks.items()}})
        self.assertEqual(metadata.pop("general.name"), "m")
        self.assertEqual({key: json.loads(value) for key, value in metadata.items()}, {
            "tare.raw.q": {"dtype": "Q4_K", "shape": [2, 512]},
            "tare.raw.x": {"dtype": "MXFP4", "shape": [4, 2, 32]},
            "tare.raw.none": {"dtype": "Q4_0", "shape": [0, 32]}})
        # Once more, nothing of it is lost, and nothing is added.
        whole = (self.folder / "m.safetensors").read_bytes()
        for more in ([], ["--raw-quantized"]):
            self.good("pack", "m.safetensors", "-o", "n.safetensors", "--force", *more)
            self.assertEqual((self.folder / "n.safetensors").read_bytes(), whole)

    def test_descriptions_of_raw_blocks_go_where_their_tensors_go(self):
        names = ["q", "q.b", "a", "f", "\"é\\"]
        path = self.write_gguf("m.gguf", [
            (name, "F32" if name == "f" else "Q8_0", [1 if name == "f" else 32], None)
            for name in names], metadata=[("general.name", "string", "m"),
                                          ("tare.raw.gone", "string", "old"),
                                          ("tare.raw.q", "string", "old")])
        result = self.tare("pack", path, "-o", "m.safetensors", "--raw-quantized")
        self.assertEqual((result.status, result.err), (
            0, "tare: metadata: left out 1 value that describes a tensor that is not there: "
               "'tare.raw.gone'\n"))
        metadata, tensors = self.packed("m.safetensors")
        self.assertEqual(list(metadata), ["general.name", *sorted(
            f"tare.raw.{name}" for name in names if name != "f")])
        self.assertEqual(json.loads(metadata["tare.raw.q"]), {"dtype": "Q8_0", "shape": [32]})
        for only, left in (([], names), (["q"], ["q", "q.b"]), (["q.b", "f"], ["q.b", "f"]),
                           (["f"], ["f"])):
            options = [f"--only={name}" for name in only]
            self.good("pack", "m.safetensors", "-o", "n.safetensors", "--force", *options)
            some, packed = self.packed("n.safetensors")
            self.assertEqual(packed, {name: tensors[name] for name in left})
            self.assertEqual(some, {"general.name": "m", **{
                f"tare.raw.{name}": metadata[f"tare.raw.{name}"] for name in left if name != "f"}})
        # From file to shards and back: each shard describes its own alone.
        self.good("pack", "m.safetensors", "-o", "out", "--shard-size=34")
        for shard in (self.folder / "out").glob("*.safetensors"):
            some, packed = self.packed(shard)
            self.assertEqual(set(some) - {"general.name"},
                             {f"tare.raw.{name}" for name in packed if name != "f"})
        self.good("pack", "out", "-o", "back.safetensors")
        self.assertEqual((self.folder / "back.safetensors").read_bytes(),
                         (self.folder / "m.safetensors").read_bytes())

    def test_metadata_that_is_no_string_is_left_out_and_said(self):
        path = self.write_gguf("m.gguf", [("t", "I8", [1], b"x")], metadata=[
            ("a", "string", "text"), ("n", "u32", 7), ("e", "string", ""),
            ("l", "string[]", ["x"]), ("b", "string", b"\xff"), (b"\xfe", "string", "x")])
        result = self.tare("pack", path, "-o", "m.safetensors")
        self.assertEqual((result.status, result.err), (0, LEFT_OUT.format(
            "4 values", "are", "'n', 'l', 'b', '\\xfe'")))
        self.assertEqual(self.packed("m.safetensors")[0], {"a": "text", "e": ""})
        self.assertEqual(self.bad(1, "pack", path, "-o", "m.safetensors").err, # and nothing else
                         "tare: m.safetensors: is there already; --force writes over it\n")
        path = self.write_gguf("n.gguf", [("t", "I8", [1], b"x")], metadata=[("n", "u32", 7)])
        result = self.tare("pack", path, "-o", "n.safetensors")
        self.assertEqual((result.status, result.err), (0, LEFT_OUT.format("1 value", "is", "'n'")))

    def test_metadata_that_is_left_out_is_named_a_few_and_once(self):
        numbers = [(f"key.{i}\x1b" + "x" * 200 * (i == 1), "u32", i) for i in range(7)]
        for part in range(2):
            self.write_gguf(f"m-{part + 1:05}-of-00002.gguf", [(f"t{part}", "I8", [1], b"x")],
                            alignment=64, metadata=[("split.no", "u16", part),
                                                    ("split.count", "u16", 2), *numbers])
        result = self.tare("pack", "m-00001-of-00002.gguf", "-o", "m.safetensors")
        self.assertEqual((result.status, result.err), (0, LEFT_OUT.format(
            "7 values", "are", "'key.0\\x1b', 'key.1\\x1b" + "x" * 51 + "...', 'key.2\\x1b', "
            "'key.3\\x1b' and 3 more")))
        self.assertEqual(self.packed("m.safetensors")[0], {})

    def test_split_files_become_one_or_shards(self):
        self.write_parts(3)
        wanted = {f"blk.{part}.{i}": ("I8", [2], bytes([part, i]))
                  for part in range(3) for i in range(2)}
        result = self.tare("pack", "m-00002-of-00003.gguf", "-o", "one.safetensors")
        self.assertEqual((result.status, result.err), (0, ""), "what tells of the split is no loss")
        self.assertEqual(self.packed("one.safetensors"), ({"common": "x"}, wanted))
        report = self.tare("pack", "m-00001-of-00003.gguf", "-o", "out", "--shard-size=4",
                           "--json").json
        self.assertEqual([(file["tensors"], file["size"]) for file in report["files"]],
                         [(2, 4)] * 3)
        self.assertEqual(report["index"], "out/model.safetensors.index.json")
        self.assertIn("out: ok (6 tensors, 12 B, 3 shards)", self.good("check", "out").out)
        self.assertEqual(self.good("hash", "out").out,
                         self.good("hash", "m-00001-of-00003.gguf").out)

    def test_shards_of_raw_blocks_tell_of_their_own(self):
        path = self.write_gguf("m.gguf", [(f"q{i}", "Q8_0", [32], bytes([i]) * 34)
                                          for i in range(3)])
        self.good("pack", path, "-o", "out", "--shard-size=34", "--raw-quantized")
        for i in range(3):
            metadata, tensors = self.packed(f"out/model-0000{i + 1}-of-00003.safetensors")
            self.assertEqual(list(metadata), [f"tare.raw.q{i}"])
            self.assertEqual(tensors, {f"q{i}": ("U8", [34], bytes([i]) * 34)})


class Metadata(cli_support.CliTest):
    def test_every_kind_is_printed_as_what_it_is(self):
        path = self.write_gguf("m.gguf", [], metadata=[
            (f"key.{kind}", kind, value) for kind, value in EXTREMES.items()])
        self.assertEqual(self.good("meta", path).out, (
            "key.u8      u8      255\n"
            "key.i8      i8      -128\n"
            "key.u16     u16     65535\n"
            "key.i16     i16     -32768\n"
            "key.u32     u32     4294967295\n"
            "key.i32     i32     -2147483648\n"
            "key.f32     f32     0.1\n"
            "key.bool    bool    true\n"
            "key.string  string  two words\n"
            "key.u64     u64     18446744073709551615\n"
            "key.i64     i64     -9223372036854775808\n"
            "key.f64     f64     0.3333333333333333\n"))
        entries = self.good("meta", path, "--json").json["metadata"]
        self.assertEqual([(entry["kind"], entry["value"]) for entry in entries],
                         [(kind, EXACT[kind] if kind != "f32" else 0.1) for kind in EXTREMES])
        self.assertEqual(set(entries[0]), {"key", "kind", "value", "shard", "file"})

    def test_arrays_are_abbreviated_with_their_count(self):
        tokens = ["<s>", 'a"b', "new\nline", "", "▁x", "y" * 60, "six", "seven"]
        path = self.write_gguf("m.gguf", [], metadata=[
            ("tokens", "string[]", tokens), ("scores", "f32[]", [-0.5] * 1000),
            ("six", "u8[]", range(6)), ("none", "bool[]", []), ("yes", "bool[]", [1, 0, 2])])
        self.assertEqual(self.good("meta", path).out, (
            'tokens  string[8]  ["<s>", "a"b", "new\\nline", "", "▁x", "' + "y" * 36 + '...", ...]\n'
            "scores  f32[1000]  [-0.5, -0.5, -0.5, -0.5, -0.5, -0.5, ...]\n"
            "six     u8[6]      [0, 1, 2, 3, 4, 5]\n"
            "none    bool[0]    []\n"
            "yes     bool[3]    [true, false, true]\n"))

    def test_all_and_json_print_arrays_in_full(self):
        tokens = [f"token {i} " + "z" * i for i in range(60)]
        scores = [i / 7 for i in range(1000)]
        path = self.write_gguf("m.gguf", [], metadata=[
            ("tokens", "string[]", tokens), ("scores", "f64[]", scores)])
        lines = self.good("meta", path, "--all").lines
        self.assertEqual(lines[0], "tokens  string[60]  ["
                         + ", ".join(f'"{token}"' for token in tokens) + "]")
        self.assertEqual([float(text) for text in lines[1].partition("[")[2].partition("[")[2]
                          .rstrip("]").split(", ")], scores)
        entries = self.good("meta", path, "--json").json["metadata"]
        self.assertEqual([(e["kind"], e["item_kind"], e["value"]) for e in entries],
                         [("array", "string", tokens), ("array", "f64", scores)])
        self.assertEqual(self.good("meta", path, "--json", "--all").json["metadata"], entries)

    def test_bytes_that_are_no_utf8_do_no_harm(self):
        path = self.write_gguf("m.gguf", [], metadata=[
            ("k", "string", b"a\xff\x1b[2J"), ("l", "string[]", [b"\xe2\x96", b"\0"])])
        self.assertEqual(self.good("meta", path).out, ("k  string     a\\xff\\x1b[2J\n"
                                                       'l  string[2]  ["\\xe2\\x96", "\\x00"]\n'))
        values = [e["value"] for e in self.good("meta", path, "--json").json["metadata"]]
        self.assertEqual(values, ["a\ufffd\x1b[2J", ["\ufffd\ufffd", "\0"]])

    def test_no_number_is_lost_for_json(self):
        path = self.write_gguf("m.gguf", [], metadata=[
            ("a", "f64[]", [float("nan"), float("inf"), -float("inf"), -0.0, 5e-324, 10, 1e6]),
            ("b", "f32", 16777216)])
        values = [e["value"] for e in self.good("meta", path, "--json").json["metadata"]]
        self.assertEqual(values, [["nan", "inf", "-inf", -0.0, 5e-324, 10, 1e6], 16777216])
        self.assertEqual(self.good("meta", path).lines[0],
                         "a  f64[7]  [nan, inf, -inf, -0, 5e-324, 10, ...]")

    def test_values_that_differ_in_kind_alone_are_not_the_same(self):
        for part, kind in enumerate(("u32", "i32")):
            self.write_gguf(f"m-{part + 1:05}-of-00002.gguf", [], metadata=[
                ("split.no", "u16", part), ("split.count", "u16", 2), ("x", kind, 7),
                ("split.tensors.count", "i32", 0)])
        lines = self.good("meta", "m-00001-of-00002.gguf").lines
        self.assertIn("x                    u32  7  (in 1 of 2 shards)", lines)
        self.assertIn("x                    i32  7  (in 1 of 2 shards)", lines)


if __name__ == "__main__":
    cli_support.main()
