#!/usr/bin/env python3
"""Makes corpus/manifest.tsv and corpus/expect.tsv from corpus/manifest.json and the files it lists.

The good files are read here with Python's json module, so that what the tests expect of them was
worked out by other code than the library's. Where the manifest states what a file holds, the two
must agree."""
import json
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


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


def text(value):
    return value.encode("utf-8").hex() or "-"


def expectations(entry):
    path = os.path.join(HERE, entry["path"])
    files = [path] if entry["format"] == "safetensors" else read_index(path)
    for shard, file in enumerate(files):
        data_offset, tensors, metadata = read_safetensors(file)
        if entry["format"] == "safetensors":
            compare(entry, data_offset, tensors, metadata)
        for name, dtype, shape, begin, end in tensors:
            dimensions = ",".join(map(str, shape)) or "-"
            place = (shard, data_offset + begin, end - begin)
            yield (entry["path"], "tensor", text(name), dtype, dimensions, *place)
        for key, value in metadata.items():
            yield (entry["path"], "metadata", text(key), text(value), shard)


def write(name, rows):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
        for row in rows:
            file.write("\t".join(map(str, row)) + "\n")


def main():
    with open(os.path.join(HERE, "manifest.json"), encoding="utf-8") as file:
        entries = json.load(file)["entries"]
    entries = [entry for entry in entries if entry["format"] in ("safetensors", "index")]
    write(
        "manifest.tsv",
        ((e["path"], e["format"], e["verdict"], e["rule"].split(":")[0]) for e in entries),
    )
    good = [entry for entry in entries if entry["verdict"] == "accept"]
    write("expect.tsv", (row for entry in good for row in expectations(entry)))


if __name__ == "__main__":
    main()
