#!/usr/bin/env python3
"""Makes corpus/manifest.tsv and corpus/expect.tsv from corpus/manifest.json and the files it lists.

The good files are read here with Python's json and struct modules, so that what the tests expect of
them was worked out by other code than the library's. Where the manifest states what a file holds,
the two must agree."""
import json
import math
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")

# GGUF: the scalar kinds of values by number (8 is a string, 9 an array), and elements and bytes of
# a block for each type of tensors that is in use.
KINDS = {0: ("u8", 1), 1: ("i8", 1), 2: ("u16", 2), 3: ("i16", 2), 4: ("u32", 4), 5: ("i32", 4),
         6: ("f32", 4), 7: ("bool", 1), 10: ("u64", 8), 11: ("i64", 8), 12: ("f64", 8)}  # fmt: skip
STRING, ARRAY = 8, 9
TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18), 42: ("Q2_0", 64, 18),
}  # fmt: skip


def read_safetensors(path):
    """(data offset, [(name, dtype, shape, begin, end)] by place, metadata) of a good file."""
    with open(path, "rb") as file:
        content = file.read()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size].decode("utf-8"))
    metadata = header.pop("__metadata__", None) or {}
    tensors = [(n, t["dtype"], t["shape"], *t["data_offsets"]) for n, t in header.items()]
    tensors.sort(key=lambda tensor: tensor[3:5])
    return 8 + size, tensors, metadata


class Gguf:
    """A good GGUF file, read from its start."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.content = file.read()
        self.at = 4
        self.version, count, entries = self.take("<IQQ")
        self.metadata = [(self.string(), *self.value(*self.take("<I"))) for _ in range(entries)]
        self.alignment = 32
        for key, _, items in self.metadata:
            if key == b"general.alignment":
                (self.alignment,) = struct.unpack("<I", items[0])
        infos = [self.tensor() for _ in range(count)]
        if count:
            self.at = -(-self.at // self.alignment) * self.alignment
        self.data_offset = self.at
        self.tensors = infos

    def take(self, form):
        fields = struct.unpack_from(form, self.content, self.at)
        self.at += struct.calcsize(form)
        return fields

    def bytes(self, size):
        self.at += size
        assert self.at <= len(self.content)
        return self.content[self.at - size : self.at]

    def string(self):
        return self.bytes(*self.take("<Q"))

    def item(self, number):
        return self.string() if number == STRING else self.bytes(KINDS[number][1])

    def value(self, number):
        """(kind, items): the bytes of one item, or of all of an array, whose kind has a [."""
        name = lambda number: "string" if number == STRING else KINDS[number][0]
        if number != ARRAY:
            return name(number), [self.item(number)]
        number, count = self.take("<IQ")
        return "[" + name(number), [self.item(number) for _ in range(count)]

    def tensor(self):
        """(name, dtype, shape as in the file, begin, end in the data section)"""
        name = self.string()
        shape = list(self.take(f"<{self.take('<I')[0]}Q"))
        number, begin = self.take("<IQ")
        dtype, elements, size = TYPES[number]
        return name, dtype, shape, begin, begin + math.prod(shape) // elements * size


def read_index(path):
    """The shards of a good index in the order of their names."""
    with open(path, "rb") as file:
        shards = sorted(set(json.load(file)["weight_map"].values()), key=lambda s: s.encode())
    return [os.path.join(os.path.dirname(path), shard) for shard in shards]


def compare(entry, data_offset, tensors, metadata):
    expect = entry.get("expect", {})
    assert expect.get("data_start", data_offset) == data_offset, entry["path"]
    assert expect.get("n", len(tensors)) == len(tensors), entry["path"]
    assert expect.get("metadata", metadata) == metadata, entry["path"]
    if "tensors" in expect:
        stated = [
            (t["name"], t["dtype"], t["shape"], *t["data_offsets"]) for t in expect["tensors"]
        ]
        assert sorted(stated) == sorted(tensors), entry["path"]


def compare_gguf(entry, file):
    expect = entry.get("expect", {})
    for key, value in (("version", file.version), ("n_kv", len(file.metadata)),
                       ("n_tensors", len(file.tensors)), ("alignment", file.alignment),
                       ("data_start", file.data_offset)):  # fmt: skip
        assert expect.get(key, value) == value, (entry["path"], key)
    for stated, (name, dtype, shape, begin, end) in zip(expect.get("tensors", []), file.tensors):
        facts = [name.decode(), dtype, shape, begin, end - begin]
        assert [stated[k] for k in ("name", "type", "ne", "offset", "nbytes")] == facts, stated


def hexed(value):
    """Hexadecimal digits of bytes or of UTF-8; "-" for none."""
    return (value.encode("utf-8") if isinstance(value, str) else value).hex() or "-"


def rows_of(entry, shard, data_offset, tensors, metadata):
    """Of metadata the last field has all items: their count, a colon, and their bytes."""
    for name, dtype, shape, begin, end in tensors:
        dimensions = ",".join(map(str, shape)) or "-"
        place = (shard, data_offset + begin, end - begin)
        yield (entry["path"], "tensor", hexed(name), dtype, dimensions, *place)
    for key, kind, items in metadata:
        value = f"{len(items)}:{','.join(map(hexed, items))}"
        yield (entry["path"], "metadata", hexed(key), kind, shard, value)


def expectations(entry):
    path = os.path.join(HERE, entry["path"])
    if entry["format"] == "gguf":
        file = Gguf(path)
        compare_gguf(entry, file)
        tensors = [(name, dtype, shape[::-1], *range_) for name, dtype, shape, *range_ in file.tensors]
        yield from rows_of(entry, 0, file.data_offset, tensors, file.metadata)
        return
    files = [path] if entry["format"] == "safetensors" else read_index(path)
    for shard, file in enumerate(files):
        data_offset, tensors, metadata = read_safetensors(file)
        if entry["format"] == "safetensors":
            compare(entry, data_offset, tensors, metadata)
        metadata = [(key, "string", [value]) for key, value in metadata.items()]
        yield from rows_of(entry, shard, data_offset, tensors, metadata)


def write(name, rows):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
        for row in rows:
            file.write("\t".join(map(str, row)) + "\n")


def main():
    with open(os.path.join(HERE, "manifest.json"), encoding="utf-8") as file:
        entries = json.load(file)["entries"]
    write(
        "manifest.tsv",
        ((e["path"], e["format"], e["verdict"], e["rule"].split(":")[0]) for e in entries),
    )
    good = [entry for entry in entries if entry["verdict"] == "accept"]
    write("expect.tsv", (row for entry in good for row in expectations(entry)))


if __name__ == "__main__":
    main()
