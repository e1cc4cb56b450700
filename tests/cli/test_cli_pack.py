"""`tare pack`: merged, split, filtered; what it writes, and what it leaves alone."""

import json
import os
import pty
import random
import shutil
import struct
import subprocess

import cli_support

DTYPES = sorted(cli_support.BITS)


def read_model(path):
    """(metadata, {name: (dtype, shape, bytes)}, where the data section starts) of one file."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:8 + size])
    metadata = header.pop("__metadata__", {})
    data = content[8 + size:]
    tensors = {name: (info["dtype"], info["shape"], data[slice(*info["data_offsets"])])
               for name, info in header.items()}
    return metadata, tensors, 8 + size


def random_tensors(rng, count):
    tensors = []
    for number in range(count):
        dtype = rng.choice(DTYPES)
        shape = [rng.randrange(5) for _ in range(rng.randrange(3))]
        if cli_support.BITS[dtype] % 8:
            shape.append(4)
        bits = cli_support.BITS[dtype]
        for dimension in shape:
            bits *= dimension
        name = rng.choice(["layers.", "é", "\"\\\n", "", "a/b "]) + str(number)
        tensors.append((name, dtype, shape, rng.randbytes(bits // 8)))
    return tensors


def as_dict(tensors):
    return {name: (dtype, list(shape), data) for name, dtype, shape, data in tensors}


class Pack(cli_support.CliTest):
    def entries(self, folder="."):
        return sorted(path.name for path in (self.folder / folder).iterdir())

    def index(self, path):
        return json.loads((self.folder / path).read_text())


class Merge(Pack):
    def setUp(self):
        super().setUp()
        rng = random.Random(3)
        self.tensors = random_tensors(rng, 40)
        cli_support.make_sharded(self.folder / "m", {
            "1.safetensors": {"tensors": self.tensors[:25], "metadata": {"format": "pt", "a": "1"}},
            "2.safetensors": {"tensors": self.tensors[25:], "metadata": {"format": "pt", "b": "2"}},
        })

    def test_shards_become_one_file(self):
        out = self.folder / "whole.safetensors"
        result = self.good("pack", "m", "-o", out)
        self.assertRegex(result.out, r"\A/.*\.safetensors \(40 tensors, .*\)\n\Z")
        metadata, tensors, data = read_model(out)
        self.assertEqual(tensors, as_dict(self.tensors))
        self.assertEqual(list(metadata.items()), [("format", "pt"), ("a", "1"), ("b", "2")])
        self.assertEqual(data % 8, 0)
        self.good("check", out)

    def test_the_same_model_gives_the_same_file(self):
        self.good("pack", "m", "-o", "a.safetensors")
        self.good("pack", "a.safetensors", "-o", "b.safetensors")
        self.good("pack", "m", "--output=c.safetensors")
        first = (self.folder / "a.safetensors").read_bytes()
        self.assertEqual((self.folder / "b.safetensors").read_bytes(), first)
        self.assertEqual((self.folder / "c.safetensors").read_bytes(), first)

    def test_metadata_that_differs_is_told_and_the_first_kept(self):
        cli_support.make_sharded(self.folder / "d", {
            "1.safetensors": {"tensors": [("x", "U8", [1], b"x")], "metadata": {"k\x1b": "one"}},
            "2.safetensors": {"tensors": [("y", "U8", [1], b"y")], "metadata": {"k\x1b": "two"}},
        })
        result = self.tare("pack", "d", "-o", "d.safetensors")
        self.assertEqual(result.status, 0)
        self.assertEqual(result.err, "tare: metadata 'k\\x1b' differs between shards; "
                                     "the first is kept\n")
        self.assertEqual(read_model(self.folder / "d.safetensors")[0], {"k\x1b": "one"})

    def test_alignment(self):
        for align in (8, 64, 4096, 2097152):
            self.good("pack", "m", "-o", "a.safetensors", "--force", "--align", str(align))
            metadata, tensors, data = read_model(self.folder / "a.safetensors")
            self.assertEqual(data % align, 0)
            self.assertEqual(tensors, as_dict(self.tensors))

    def test_raw_quantized_changes_nothing_where_safetensors_has_all_dtypes(self):
        self.good("pack", "m", "-o", "a.safetensors")
        self.good("pack", "m", "-o", "b.safetensors", "--raw-quantized")
        self.assertEqual((self.folder / "a.safetensors").read_bytes(),
                         (self.folder / "b.safetensors").read_bytes())

    def test_json(self):
        result = self.good("pack", "m", "-o", "a.safetensors", "--json").json
        size = sum(len(data) for _, _, _, data in self.tensors)
        self.assertEqual(result, {
            "files": [{"file": "a.safetensors", "tensors": 40, "size": size}],
            "index": None, "tensors": 40, "size": size, "removed": []})


class Filter(Pack):
    def setUp(self):
        super().setUp()
        names = ["model.layers.1.w", "model.layers.10.w", "model.layers.2.w", "lm_head", "norm"]
        self.path = self.write("m.safetensors", [(n, "U8", [1], b"x") for n in names])

    def names(self, *prefixes):
        only = [argument for prefix in prefixes for argument in ("--only", prefix)]
        self.good("pack", self.path, "-o", "f.safetensors", "--force", *only)
        return sorted(read_model(self.folder / "f.safetensors")[1])

    def test_prefixes_add_up(self):
        self.assertEqual(self.names("model.layers.1."), ["model.layers.1.w"])
        self.assertEqual(self.names("model.layers.1", "norm"),
                         ["model.layers.1.w", "model.layers.10.w", "norm"])
        self.assertEqual(self.names("lm_head", "lm_head", "lm"), ["lm_head"])
        self.assertEqual(len(self.names("")), 5)

    def test_a_prefix_that_nothing_has_is_a_failure(self):
        result = self.bad(1, "pack", self.path, "-o", "f.safetensors", "--only", "norm",
                          "--only", "model.layer.")
        self.assertIn("no tensor's name starts with 'model.layer.'", result.err)
        self.assertIn("did you mean", result.err)
        self.assertEqual(self.entries(), ["m.safetensors"])


class Split(Pack):
    def setUp(self):
        super().setUp()
        sizes = [300, 300, 500, 2000, 100, 0, 950, 1]
        self.tensors = [(f"t{i}", "U8", [size], bytes([i]) * size) for i, size in enumerate(sizes)]
        self.path = self.write("m.safetensors", self.tensors, metadata={"format": "pt"})
        self.total = sum(sizes)

    def check(self, folder, stem, counts):
        """The files and the index over them are those; together they are the model."""
        number = len(counts)
        found, listed = {}, {}
        for i, count in enumerate(counts):
            name = f"{stem}-{i + 1:05}-of-{number:05}.safetensors"
            metadata, tensors, _ = read_model(folder / name)
            self.assertEqual((metadata, len(tensors)), ({"format": "pt"}, count))
            found.update(tensors)
            listed.update((tensor, name) for tensor in tensors)
        self.assertEqual(found, as_dict(self.tensors))
        index = self.index(folder / f"{stem}.safetensors.index.json")
        self.assertEqual(index, {"metadata": {"total_size": self.total}, "weight_map": listed})
        self.good("check", folder / f"{stem}.safetensors.index.json")

    def test_into_a_folder(self):
        result = self.good("pack", self.path, "-o", "out", "--shard-size", "1000")
        self.check(self.folder / "out", "model", [2, 1, 1, 2, 2])
        self.assertEqual(result.lines[0], "out/model-00001-of-00005.safetensors (2 tensors, 600 B)")
        self.assertEqual(result.lines[5:], ["out/model.safetensors.index.json"])
        self.assertEqual(len(self.entries("out")), 6)
        self.assertEqual(self.good("ls", "out", "--json").json["size"], self.total)

    def test_under_a_name_as_long_as_names_may_be(self):
        """Names of an index or an index file beside it would be too long: nothing has those."""
        self.write("in.safetensors", [("t", "U8", [3], b"abc")])
        for size in (231, 232, 241, 242, 243):
            name = "a" * size + ".safetensors"
            for _ in range(2):
                self.good("pack", "in.safetensors", "-o", name, "--force")
            self.assertEqual((self.folder / name).read_bytes()[-3:], b"abc")

    def test_beside_a_name(self):
        self.out = self.folder / "out"
        self.out.mkdir()
        self.good("pack", self.path, "-o", "out/n.safetensors", "--shard-size=1050")
        self.check(self.out, "n", [2, 1, 1, 3, 1])
        self.assertEqual(self.entries("out")[-1], "n.safetensors.index.json")

    def test_what_fits_one_file_has_no_index(self):
        self.good("pack", self.path, "-o", "out/", "--shard-size", "5GB")
        self.assertEqual(self.entries("out"), ["model.safetensors"])
        self.assertEqual(read_model(self.folder / "out/model.safetensors")[1],
                         as_dict(self.tensors))

    def test_and_back(self):
        self.good("pack", self.path, "-o", "one.safetensors")
        self.good("pack", self.path, "-o", "out", "--shard-size", "100", "--align", "4096")
        self.good("pack", "out", "-o", "back.safetensors")
        self.assertEqual((self.folder / "back.safetensors").read_bytes(),
                         (self.folder / "one.safetensors").read_bytes())
        for path in (self.folder / "out").glob("*.safetensors"):
            self.assertEqual(read_model(path)[2], 4096)

    def test_json(self):
        result = self.good("pack", self.path, "-o", "out", "--shard-size=1000", "--json").json
        self.assertEqual([entry["size"] for entry in result["files"]], [600, 500, 2000, 100, 951])
        self.assertEqual(result["files"][0], {"file": "out/model-00001-of-00005.safetensors",
                                              "tensors": 2, "size": 600})
        self.assertEqual(result["index"], "out/model.safetensors.index.json")

    def test_names_that_no_shard_can_have(self):
        for name in ("a:b", "a\\b", "a\nb", b"a\xffb".decode(errors="surrogateescape")):
            out = os.path.join("out", name + ".safetensors")
            (self.folder / "out").mkdir(exist_ok=True)
            self.assertIn("no shard can have that name",
                          self.bad(1, "pack", self.path, "-o", out, "--shard-size=1000").err)
            self.assertEqual(self.entries("out"), [])
            self.good("pack", self.path, "-o", out)
            os.remove(self.folder / out)


class Existing(Pack):
    def setUp(self):
        super().setUp()
        self.path = self.write("m.safetensors", [(f"t{i}", "U8", [9], b"x" * 9) for i in range(3)])
        self.out = self.folder / "out"
        self.out.mkdir()

    def test_nothing_is_written_over_unless_forced(self):
        names = ["model.safetensors", "model.safetensors.index.json",
                 "model-00002-of-00003.safetensors"]
        for name in names:
            for split in ([], ["--shard-size=9"]):
                if name == names[2] and not split:
                    continue
                (self.out / name).write_text("before")
                result = self.bad(1, "pack", self.path, "-o", "out", *split)
                self.assertEqual(result.err,
                                 f"tare: out/{name}: is there already; --force writes over it\n")
                self.assertEqual(self.entries("out"), [name])
                self.assertEqual((self.out / name).read_text(), "before")
                os.remove(self.out / name)

    def test_forced_the_new_model_is_what_the_folder_opens_as(self):
        self.good("pack", self.path, "-o", "out", "--shard-size=9")
        gone = "tare: out/{}: was of the old model, and is removed\n"
        result = self.tare("pack", self.path, "-o", "out", "--force", "--only=t1", "--json")
        self.assertEqual((result.status, len(result.json["removed"])), (0, 4))
        self.assertEqual(set(result.json["removed"]), {"out/model.safetensors.index.json", *(
            f"out/model-0000{i}-of-00003.safetensors" for i in (1, 2, 3))})
        self.assertTrue(result.err.startswith(gone.format("model.safetensors.index.json")))
        self.assertTrue(result.err.endswith("\ntare: of the old model 1 more are removed\n"))
        self.assertEqual(self.good("ls", "out", "--json").json["count"], 1)
        self.assertEqual(self.entries("out"), ["model.safetensors"])
        result = self.tare("pack", self.path, "-o", "out", "--force", "--shard-size=18")
        self.assertEqual((result.status, result.err), (0, gone.format("model.safetensors")))
        self.assertEqual(self.good("ls", "out", "--json").json["count"], 3)
        names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                 "model.safetensors.index.json"]
        self.assertEqual(self.entries("out"), names)
        others = ["model-00001-of-00003.safetensors.bak", "model-1-of-3.safetensors",
                  "other-00001-of-00003.safetensors", "xmodel-00001-of-00003.safetensors"]
        for name in others:
            (self.out / name).write_text("kept")
        self.assertEqual(self.tare("pack", "out", "-o", "out", "--force", "--shard-size=9").status, 0)
        self.assertEqual(self.good("ls", "out", "--json").json["count"], 3)
        self.assertEqual(len(self.entries("out")), 4 + len(others))
        self.bad(1, "pack", "out", "-o", "out", "--force")
        self.assertEqual(self.tare("pack", "out", "-o", "out/model.safetensors",
                                   "--force").status, 0)
        self.assertEqual(self.entries("out"), sorted([*others, "model.safetensors"]))

    def test_a_folder_that_would_not_open_as_the_new_model_is_refused(self):
        for name in ("x.gguf", "x.safetensors", "x.safetensors.index.json",
                     "model-00001-of-00002.safetensors"):
            (self.out / name).write_text("other")
            self.assertIn(f"tare: out: has {name}, beside which it would not open",
                          self.bad(1, "pack", self.path, "-o", "out").err)
            self.assertEqual(self.entries("out"), [name])
            self.good("pack", self.path, "-o", "out/a.safetensors")
            for entry in self.entries("out"):
                os.remove(self.out / entry)

    def test_a_file_is_no_folder(self):
        (self.folder / "other").write_text("x")
        for out in ("other", "/dev/null"):
            self.assertIn("is there and is no folder; name a folder, or a file that ends in",
                          self.bad(1, "pack", self.path, "-o", out).err)
        self.assertEqual((self.folder / "other").read_text(), "x")

    def test_shards_that_nothing_lists_are_no_model(self):
        old = self.out / "model-00002-of-00003.safetensors"
        old.write_text("kept")
        self.good("pack", self.path, "-o", "out/model.safetensors")
        self.assertEqual(self.entries("out"), [old.name, "model.safetensors"])
        self.assertEqual(old.read_text(), "kept")

    def test_names_that_nobody_means_as_folders(self):
        for out, why in (("-", "not written to standard output"), ("x.gguf", "GGUF is not written"),
                         ("out/x.gguf", "GGUF is not written"),
                         ("x.safetensors.index.json", "name the model, as in NAME.safetensors")):
            for more in ([], ["--shard-size=9"], ["--force"]):
                self.assertIn(why, self.bad(1, "pack", self.path, "-o", out, *more).err)
        self.assertEqual(self.entries(), ["m.safetensors", "out"])
        self.assertEqual(self.entries("out"), [])
        (self.folder / "-").mkdir()
        for out in ("x.gguf/", "./-", "-"):
            self.good("pack", self.path, "-o", out, "--force")
        self.assertEqual(self.entries("x.gguf"), ["model.safetensors"])
        self.assertEqual(self.entries("-"), ["model.safetensors"])

    def test_what_is_no_file_is_left_alone(self):
        os.mkfifo(self.folder / "fifo.safetensors")
        for out in ("fifo.safetensors", "/dev/null/x.safetensors", "absent/x.safetensors", ""):
            with self.subTest(out):
                self.bad(1, "pack", self.path, "-o", out, "--force")
        self.assertEqual(self.entries(), ["fifo.safetensors", "m.safetensors", "out"])
        for name in ("model-00002-of-00003.safetensors", "model.safetensors",
                     "model-00001-of-00002.safetensors", "model.safetensors.index.json"):
            (self.out / name / "sub").mkdir(parents=True)
            result = self.bad(1, "pack", self.path, "-o", "out", "--force", "--shard-size=9")
            self.assertEqual(result.err, f"tare: out/{name}: is a folder\n")
            self.assertEqual(self.entries("out"), [name])
            shutil.rmtree(self.out / name)
        self.bad(1, "pack", self.path, "-o", "m.safetensors/sub")
        self.bad(1, "pack", "absent", "-o", "new")
        self.assertEqual(self.entries(), ["fifo.safetensors", "m.safetensors", "out"])


class Terminal(Pack):
    def test_a_bar_is_drawn_and_goes_away(self):
        path = self.write("m.safetensors", [("t", "U8", [3 << 20], None)])
        primary, secondary = pty.openpty()
        done = subprocess.run([cli_support.program, "pack", path, "-o", "o.safetensors"],
                              stdout=subprocess.PIPE, stderr=secondary, check=False,
                              cwd=self.folder)
        os.close(secondary)
        shown = b"".join(cli_support.terminal_parts(primary))
        self.assertEqual(done.returncode, 0)
        self.assertRegex(shown, rb"\[[#.]+\] +\d+% [\d.]+ MiB of 3.0 MiB")
        self.assertTrue(shown.endswith(b"\r\x1b[K"))


class Usage(Pack):
    def test_wrong_usage(self):
        path = self.write("m.safetensors", [("t", "U8", [1], None)])
        self.assertEqual(self.bad(2, "pack", path).err,
                         "tare: where to? 'tare pack' needs -o OUT\n")
        self.bad(2, "pack", "-o", "x")
        for size in ("", "0", "x", "-1", "5XB", "5GBB", "1.5GB", "18446744073709551616",
                     "18446744073709551615K", "5B", "5gb", "5 GB", "5Gi"):
            self.assertIn("--shard-size is ",
                          self.bad(2, "pack", path, "-o", "x", f"--shard-size={size}").err)
        for align in ("7", "4", "0", "24", "4194304", "x"):
            self.assertIn("--align is a",
                          self.bad(2, "pack", path, "-o", "x", "--align", align).err)
        self.assertEqual(self.entries(), ["m.safetensors"])

    def test_sizes(self):
        path = self.write("m.safetensors", [("a", "U8", [1000], None), ("b", "U8", [24], None)])
        for size, files in (("1000", 2), ("1KB", 2), ("1K", 1), ("1KiB", 1), ("1M", 1),
                            ("5GB", 1), ("16TiB", 1)):
            result = self.tare("pack", path, "-o", "out", "--force", "--json", "--shard-size", size)
            self.assertEqual(result.status, 0, size)
            self.assertEqual(len(result.json["files"]), files, size)


class RandomModels(Pack):
    def test_models_come_back_as_they_were(self):
        first = int(os.environ.get("SAVE_SEED", "1"))
        print(f"random models: seeds {first} to {first + 19} (SAVE_SEED)")
        for seed in range(first, first + 20):
            with self.subTest(seed):
                rng = random.Random(seed)
                tensors = random_tensors(rng, rng.randrange(60))
                metadata = {rng.choice("abé\n"): rng.choice(["", "x", "\"\\"]) for _ in range(3)}
                path = self.write("m.safetensors", tensors, metadata=metadata)
                self.good("pack", path, "-o", "out", "--force",
                          f"--shard-size={rng.randrange(1, 500)}",
                          f"--align={rng.choice([8, 64, 4096])}")
                self.good("pack", "out", "-o", "back.safetensors", "--force")
                self.good("pack", path, "-o", "one.safetensors", "--force")
                found = read_model(self.folder / "back.safetensors")
                self.assertEqual(found[:2], (metadata, as_dict(tensors)))
                self.assertEqual((self.folder / "back.safetensors").read_bytes(),
                                 (self.folder / "one.safetensors").read_bytes())
                for old in (self.folder / "out").iterdir():
                    os.remove(old)


if __name__ == "__main__":
    cli_support.main()
