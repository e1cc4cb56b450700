#!/usr/bin/env python3
"""compare_packed.py TARE CACHE [SEED]: what `tare pack` makes of GGUF files that the gguf package
of PyPI wrote, the safetensors package reads as it was written: plain types as what they are, blocks
of quantized ones byte for byte with type and shape in the metadata; from one file and from split
ones, to one file and to shards."""
import json
import os
import random
import subprocess
import sys
import tempfile

import peer
from compare_gguf import write

PLAIN = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8"}
RAW = "tare.raw."


def pack(tare, *arguments):
    """(exit status, what it said)"""
    done = subprocess.run([tare, "pack", *arguments], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, encoding="utf-8")  # fmt: skip
    return done.returncode, done.stderr


def read(safetensors, path):
    """({name: (dtype, shape, bytes)}, {key: text}, {name: description of raw blocks})"""
    with open(path, "rb") as file:
        content = file.read()
    tensors = {name: (t["dtype"], list(t["shape"]), bytes(t["data"]))
               for name, t in safetensors.deserialize(content)}  # fmt: skip
    with safetensors.safe_open(path, "numpy") as opened:
        metadata = opened.metadata() or {}
    raw = {key[len(RAW) :]: json.loads(metadata.pop(key))
           for key in list(metadata) if key.startswith(RAW)}  # fmt: skip
    return tensors, metadata, raw


def strings(metadata):
    """What can be kept of the metadata that compare_gguf.py writes."""
    return {key.decode(): items[0].decode() for key, (kind, items) in metadata.items()
            if kind == "string"}  # fmt: skip


def stored(tensors):
    """What --raw-quantized makes of tensors: those of the file, and the descriptions."""
    made, raw = {}, {}
    for name, dtype, shape, content in tensors:
        made[name] = (dtype, shape, content)
        if dtype not in PLAIN:
            made[name] = ("U8", [len(content)], content)
            raw[name] = {"dtype": dtype, "shape": shape}
    return made, raw


def compare_plain(safetensors, tare, source, folder, tensors, metadata):
    target = os.path.join(folder, "plain.safetensors")
    first = next(name for name, dtype, *_ in tensors if dtype not in PLAIN)
    status, said = pack(tare, source, "-o", target)
    assert status == 1 and f"tensor '{first}' is" in said and not os.path.exists(target), said
    plain = [tensor for tensor in tensors if tensor[1] in PLAIN]
    status, said = pack(tare, source, "-o", target, *(f"--only={name}" for name, *_ in plain))
    assert status == 0 and "left out" in said, said
    found, kept, raw = read(safetensors, target)
    assert found == {name: tuple(facts) for name, *facts in plain}, "other tensors"
    assert kept == strings(metadata) and not raw, kept


def compare_raw(safetensors, tare, source, folder, tensors, metadata):
    target = os.path.join(folder, "raw.safetensors")
    assert pack(tare, source, "-o", target, "--raw-quantized", "--align=4096")[0] == 0
    found, kept, raw = read(safetensors, target)
    assert (found, raw) == stored(tensors), "other tensors"
    assert kept == strings(metadata), kept


def compare_shards(safetensors, tare, source, folder, tensors, metadata):
    """How many there are."""
    target = os.path.join(folder, "shards")
    assert pack(tare, source, "-o", target, "--raw-quantized", "--shard-size=2KB")[0] == 0
    with open(os.path.join(target, "model.safetensors.index.json")) as file:
        index = json.load(file)
    found, described = {}, {}
    for name in sorted(set(index["weight_map"].values())):
        some, kept, raw = read(safetensors, os.path.join(target, name))
        assert kept == strings(metadata), kept
        assert {index["weight_map"][tensor] for tensor in some} == {name}
        assert set(raw) <= set(some), "described where it is not"
        found.update(some)
        described.update(raw)
    assert (found, described) == stored(tensors), "other tensors"
    assert index["metadata"]["total_size"] == sum(len(content) for *_, content in tensors)
    return len(set(index["weight_map"].values()))


def main():
    tare, cache = sys.argv[1:3]
    peer.enter(cache)
    import gguf
    import safetensors

    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    cases = [("m", {}), ("aligned", {"alignment": 8}), ("split", {"split_max_tensors": 9})]
    for name, options in cases:
        with tempfile.TemporaryDirectory() as folder:
            metadata, tensors = write(gguf, os.path.join(folder, name + ".gguf"), rng, **options)
            source = os.path.join(folder, max(os.listdir(folder)))
            wanted = safetensors, tare, source, folder, tensors, metadata
            compare_plain(*wanted)
            compare_raw(*wanted)
            shards = compare_shards(*wanted)
            made, raw = stored(tensors)
            print(f"{os.path.basename(source)}: {len(made)} tensors read equal, {len(raw)} of them "
                  f"raw blocks; {shards} shards; {len(strings(metadata))} strings kept")


if __name__ == "__main__":
    main()
