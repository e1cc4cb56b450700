"""`tare pack` of random models: names, dtypes, shapes, bytes and metadata come out as they went in.

Every model follows from a seed. PACK_SEED=N tries that one alone; a failure names its own.
"""

import json
import math
import os
import random

import cli_support
from test_cli_pack import Pack, as_dict, random_tensors, read_model

SEEDS = [int(os.environ["PACK_SEED"])] if "PACK_SEED" in os.environ else range(1, 26)
PLAIN = {"F32", "F16", "I8", "I16", "I32", "I64", "F64", "BF16"}
RAW = "tare.raw."
TEXTS = ["", "a", "x" * 300, "é\n\"\\/\x01", "0", "\u2028", "{}"]


def random_gguf_tensors(rng):
    tensors = []
    for number in range(rng.choice([0, 1, 2, 7, 25])):
        dtype = rng.choice(list(cli_support.GGUF_TYPES))
        _, elements, size = cli_support.GGUF_TYPES[dtype]
        shape = [rng.choice([0, 1, 1, 2, 3, 5]) for _ in range(rng.randrange(3))]
        shape.append(elements * rng.choice([1, 1, 2, 3]))
        name = rng.choice(["blk.", "é", "\"\\\n", "", "a/b "]) + str(number)
        data = rng.randbytes(math.prod(shape) // elements * size)
        tensors.append((name, dtype, shape, data))
    return tensors


def random_metadata(rng):
    """(key, kind, value), some of them text."""
    entries = []
    for number in range(rng.randrange(8)):
        kind = rng.choice([*cli_support.GGUF_KINDS, "string", "string", "string[]", "u8[]"])
        item = (lambda: rng.choice(TEXTS)) if kind.startswith("string") else lambda: rng.randrange(2)
        value = [item() for _ in range(rng.randrange(4))] if kind.endswith("[]") else item()
        entries.append((f"key.{number}", kind, value))
    return entries


def parts_of(path):
    """The files of a model: those that its index lists, or the only one."""
    if path.suffix == ".safetensors":
        return [path]
    index = json.loads((path / "model.safetensors.index.json").read_text())
    return [path / name for name in sorted(set(index["weight_map"].values()))]


def read_all(path):
    """(metadata, {name: (dtype, shape, bytes)}) of all files, of which each has the metadata but for
    that of its own raw tensors."""
    metadata, tensors = {}, {}
    for part in parts_of(path):
        some, found, _ = read_model(part)
        raw = {key for key in some if key.startswith(RAW)}
        assert {key[len(RAW):] for key in raw} <= set(found), "described where it is not"
        assert not tensors.keys() & found.keys(), "a tensor twice"
        metadata.update(some)
        tensors.update(found)
    return metadata, tensors


class Random(Pack):
    def options(self, rng, count):
        """(arguments, target) of one way to pack so many tensors."""
        options = rng.sample(["--align=4096", "--align=64", "--align=8"], 1)
        if count > 1 and rng.randrange(2):
            return [*options, f"--shard-size={rng.choice([1, 100, 2000])}"], self.folder / "out"
        return options, self.folder / "out.safetensors"

    def pack(self, rng, source, count, *more):
        options, target = self.options(rng, count)
        result = self.tare("pack", source, "-o", target, "--force", *options, *more)
        self.assertEqual(result.status, 0, (result.err, options))
        if target.is_dir() and not (target / "model.safetensors.index.json").exists():
            target = target / "model.safetensors" # all of it fits into one
        self.good("check", target)
        return target

    def check(self, rng, source, wanted, metadata):
        """Packed once, and what came of that packed again."""
        packed = self.pack(rng, source, len(wanted), "--raw-quantized")
        self.assertEqual(read_all(packed), (metadata, wanted))
        packed = self.pack(rng, packed, len(wanted))
        self.assertEqual(read_all(packed), (metadata, wanted))

    def test_safetensors(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                rng = random.Random(seed)
                tensors = random_tensors(rng, rng.choice([0, 1, 2, 7, 40]))
                metadata = {f"key.{i}": rng.choice(TEXTS) for i in range(rng.randrange(5))}
                source = self.write("m.safetensors", tensors, metadata=metadata or None)
                self.check(rng, source, as_dict(tensors), metadata)

    def test_gguf(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                rng = random.Random(seed)
                tensors, entries = random_gguf_tensors(rng), random_metadata(rng)
                source = self.write_gguf("m.gguf", tensors, metadata=entries,
                                         alignment=rng.choice([8, 32, 64, 4096]))
                metadata = {key: value for key, kind, value in entries if kind == "string"}
                wanted = {}
                for name, dtype, shape, data in tensors:
                    wanted[name] = (dtype, shape, data)
                    if dtype not in PLAIN:
                        wanted[name] = ("U8", [len(data)], data)
                        metadata[RAW + name] = json.dumps({"dtype": dtype, "shape": shape},
                                                          separators=(",", ":"))
                self.check(rng, source, wanted, metadata)


if __name__ == "__main__":
    print(f"seeds {SEEDS[0]} to {SEEDS[-1]}")
    cli_support.main()
