#!/usr/bin/env python3
"""compare_saved.py RESAVE CACHE [SEED [COUNT]]: what this library writes is, byte for byte, what the
safetensors package writes for the same tensors, and that package reads it back equal, whatever the
alignment. Random models, and real checkpoints where they can be had."""
import ctypes
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

import peer
from compare_random import BITS, file_of

# How the package calls the dtypes that it writes; it has no F6.
WRITTEN = {
    "BOOL": "bool", "F4": "float4_e2m1fn_x2", "U8": "uint8", "I8": "int8", "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn", "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz", "I16": "int16", "U16": "uint16", "F16": "float16",
    "BF16": "bfloat16", "I32": "int32", "U32": "uint32", "F32": "float32", "C64": "complex64",
    "F64": "float64", "I64": "int64", "U64": "uint64",
}  # fmt: skip


def random_text(rng):
    alphabet = rng.choice(["ab.01", "layers.weight0123456789", 'é\n"\\/\x00\x07\x1f\x7f\u2028😀 '])
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(12)))


def random_model(rng, dtypes):
    """({name: (dtype, shape, bytes)}, metadata)"""
    tensors = {}
    for _ in range(rng.choice([0, 1, 2, 5, 20, 60])):
        dtype = rng.choice(dtypes)
        shape = [rng.choice([0, 1, 2, 3, 17]) for _ in range(rng.randrange(4))]
        if BITS[dtype] % 8:
            shape.append(4)
        bits = BITS[dtype]
        for dimension in shape:
            bits *= dimension
        tensors[random_text(rng)] = (dtype, shape, rng.randbytes(bits // 8))
    tensors.pop("__metadata__", None)
    count = rng.choice([0, 0, 1, 1, 4])
    return tensors, {random_text(rng): random_text(rng) for _ in range(count)}


def shuffled_file(rng, tensors, metadata):
    """A file of these in an order of its own."""
    names = list(tensors)
    rng.shuffle(names)
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name in names:
        dtype, shape, content = tensors[name]
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    return file_of(json.dumps(header), data)


def reference_file(safetensors, tensors, metadata):
    """What the package writes. It takes the shape of F4 as that of its bytes."""
    specs, kept = {}, []
    for name, (dtype, shape, content) in tensors.items():
        kept.append(ctypes.create_string_buffer(content, max(len(content), 1)))
        stored = shape[:-1] + [shape[-1] // 2] if dtype == "F4" else shape
        specs[name] = safetensors.TensorSpec(dtype=WRITTEN[dtype], shape=stored,
                                             data_ptr=ctypes.addressof(kept[-1]),
                                             data_len=len(content))
    return bytes(safetensors.serialize(specs, metadata or None))


def parts(content):
    """(header with the order of its members, data)"""
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    metadata = header.pop("__metadata__", {})
    return metadata, list(header.items()), content[8 + size :]


def check_read(safetensors, content, tensors):
    found = {name: (t["dtype"], list(t["shape"]), bytes(t["data"]))
             for name, t in safetensors.deserialize(content)}
    assert found == tensors, f"read back otherwise: {content[:2000]}"


class Resave:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        encoding="utf-8")

    def run(self, source, target, alignment, backing):
        self.process.stdin.write(f"{source}\t{target}\t{alignment}\t{backing}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer == "TARE_OK\t\n", answer
        with open(target, "rb") as file:
            return file.read()


def compare_model(safetensors, resave, rng, folder, dtypes):
    """Whether it could be compared byte by byte: the package puts several metadata in any order,
    and writes no F6."""
    tensors, metadata = random_model(rng, dtypes)
    source, target = (os.path.join(folder, name) for name in ("source", "target"))
    with open(source, "wb") as file:
        file.write(shuffled_file(rng, tensors, metadata))
    backing = rng.choice(["map", "read"])
    content = resave.run(source, target, 8, backing)
    check_read(safetensors, content, tensors)
    assert parts(content)[0] == metadata, content
    written = all(dtype in WRITTEN for dtype, _, _ in tensors.values())
    if written:
        theirs = reference_file(safetensors, tensors, metadata)
        if len(metadata) < 2:
            assert content == theirs, f"\n{content}\nis not\n{theirs}"
        else:
            assert parts(content) == parts(theirs) and len(content) == len(theirs), content
    alignment = rng.choice([64, 4096])
    aligned = resave.run(source, target, alignment, backing)
    check_read(safetensors, aligned, tensors)
    assert (8 + struct.unpack("<Q", aligned[:8])[0]) % alignment == 0
    assert parts(aligned) == parts(content)
    return written and len(metadata) < 2


def compare_checkpoints(safetensors, resave, folder, cache):
    """Real ones that compare_checkpoints.py has fetched."""
    from compare_checkpoints import CHECKPOINTS, unpack

    with peer.lock(cache):
        paths = [path for checkpoint in CHECKPOINTS
                 for path in peer.fetch(cache, checkpoint, unpack=unpack)]
    for path in paths:
        with open(path, "rb") as file:
            before = file.read()
        target = os.path.join(folder, "target")
        content = resave.run(path, target, 8, "map")
        tensors = {name: (t["dtype"], list(t["shape"]), bytes(t["data"]))
                   for name, t in safetensors.deserialize(before)}
        check_read(safetensors, content, tensors)
        metadata = parts(before)[0]
        theirs = reference_file(safetensors, tensors, metadata)
        assert content == theirs if len(metadata) < 2 else len(content) == len(theirs), path
        print(f"{os.path.relpath(path, cache)}: {len(tensors)} tensors, {len(content):,} bytes")


def main():
    program, cache = sys.argv[1:3]
    peer.enter(cache)
    import safetensors
    from compare_random import supported

    seed, count = (int(a) for a in (sys.argv[3:] + ["1", "300"][len(sys.argv) - 3 :]))
    rng = random.Random(seed)
    dtypes = supported(safetensors)
    resave = Resave(program)
    with tempfile.TemporaryDirectory() as folder:
        same = sum(compare_model(safetensors, resave, rng, folder, dtypes) for _ in range(count))
        print(f"safetensors {safetensors.__version__}, seed {seed}: {count} models read equal, of "
              f"which {same} are the same bytes that it writes")
        assert same > count / 4, "not much of a test"
        compare_checkpoints(safetensors, resave, folder, cache)
    resave.process.stdin.close()
    assert resave.process.wait() == 0


if __name__ == "__main__":
    main()
