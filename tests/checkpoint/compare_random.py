#!/usr/bin/env python3
"""compare_random.py DUMP CACHE [SEED [COUNT]]: small files made at random, good and damaged, get the
same verdict here and from the safetensors package, and good ones the same names, dtypes, shapes and
order. Where the two are known to differ (docs/format_safetensors.md) the difference must be one of
those."""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

import peer

BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
TOKENS = [
    "{", "}", "[", "]", ",", ":", '"', "\\", "\\u0041", "\\ud800", "\\ud83e\\udd99", "0", "1", "-1",
    "-0", "01", "1.0", "1e0", "18446744073709551615", "18446744073709551616", "null", "true", "NaN",
    '"U8"', '"F4"', '"dtype"', '"shape"', '"data_offsets"', '"__metadata__"', '"a"', " ", "\n", "\t",
    "\x00", "\x1f", "é", "[]", "{}", '"x":1,', "0,", ",0",
]  # fmt: skip


def file_of(header, data):
    header = header if isinstance(header, bytes) else header.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(header)) + header + data


def space(rng):
    return "".join(rng.choice(" \t\r\n") for _ in range(rng.choice([0, 0, 0, 1, 3])))


def quoted(rng, text):
    """A JSON string in one of the ways to write it."""
    return json.dumps(text, ensure_ascii=rng.random() < 0.5)


def random_name(rng):
    alphabet = rng.choice(["ab.01", "layers.weight0123456789", 'é\n"\\/\x00😀 '])
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(12)))


def good_model(rng, dtypes):
    """(members as text, data size): tensors in any order, space and metadata anywhere."""
    members, offset, names = [], 0, set()
    for _ in range(rng.randrange(7)):
        name = random_name(rng)
        if name in names or name == "__metadata__":
            continue
        names.add(name)
        dtype = rng.choice(dtypes)
        shape = [rng.choice([0, 1, 2, 3, 4]) for _ in range(rng.randrange(4))]
        if BITS[dtype] % 8:
            shape.append(4)
        bits = BITS[dtype]
        for dimension in shape:
            bits *= dimension
        end = offset + bits // 8
        fields = [
            f'"dtype":{space(rng)}{quoted(rng, dtype)}',
            f'"shape":{space(rng)}[{",".join(space(rng) + str(d) for d in shape)}]',
            f'"data_offsets":[{offset},{space(rng)}{end}{space(rng)}]',
        ]
        if rng.random() < 0.3:
            rng.shuffle(fields)
        if rng.random() < 0.2:
            fields.insert(rng.randrange(4), '"extra":[1,{"a":null}]')
        members.append(f"{quoted(rng, name)}{space(rng)}:{{{(',' + space(rng)).join(fields)}}}")
        offset = end
    if rng.random() < 0.5:
        rng.shuffle(members)
    if rng.random() < 0.3:
        pairs = ",".join(f"{quoted(rng, f'k{i}')}:{quoted(rng, random_name(rng))}" for i in range(3))
        members.insert(rng.randrange(len(members) + 1), f'"__metadata__":{{{pairs}}}')
    return members, offset


def damage(rng, text):
    """The text with a few places changed."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.choice([0, 1, 1, 2, 5]))
        text = text[:at] + rng.choice(["", rng.choice(TOKENS)]) + text[end:]
    return text


def random_file(rng, dtypes):
    members, size = good_model(rng, dtypes)
    text = space(rng) + "{" + ("," + space(rng)).join(members) + "}" + space(rng)
    data = bytes(rng.randrange(256) for _ in range(size))
    kind = rng.randrange(10)
    if kind < 4:
        return file_of(text, data)
    if kind < 8:
        return file_of(damage(rng, text), data)
    content = bytearray(file_of(text, data))
    if kind == 8:
        return bytes(content[: rng.randrange(len(content) + 1)]) + b"x" * rng.choice([0, 0, 1])
    for _ in range(rng.choice([1, 2])):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return bytes(content)


def depth_file(depth):
    nested = "[" * depth + "]" * depth
    text = f'{{"a":{{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":{nested}}}}}'
    return file_of(text, b"x")


def supported(safetensors):
    """The dtypes that the installed package knows."""
    known = []
    for dtype, bits in BITS.items():
        text = f'{{"a":{{"dtype":"{dtype}","shape":[8],"data_offsets":[0,{bits}]}}}}'
        try:
            safetensors.deserialize(file_of(text, bytes(bits)))
            known.append(dtype)
        except safetensors.SafetensorError:
            pass
    return known


def their_verdict(safetensors, content):
    """None where refused, else a list of (name, dtype, shape, size)."""
    try:
        tensors = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        return None, str(error)
    found = [(name, t["dtype"], list(t["shape"]), len(t["data"])) for name, t in tensors]
    return found, ""


def our_verdicts(dump, contents):
    """For each file (status, tensors or None)."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, content in enumerate(contents):
            paths.append(os.path.join(folder, f"{number}.safetensors"))
            with open(paths[-1], "wb") as file:
                file.write(content)
        names = "".join(path + "\n" for path in paths).encode()
        result = subprocess.run([dump], input=names, stdout=subprocess.PIPE)
    assert result.returncode == 0, f"dump ended with {result.returncode}"
    import io

    lines = peer.Dump(io.BytesIO(result.stdout))
    for _ in paths:
        status = lines.line().split("\t")[0]
        tensors = None
        if status == "TARE_OK":
            tensors = []
            for _ in range(int(lines.line())):
                tensors.append(lines.facts())
                lines.bytes(0)
        yield status, tensors


def has_duplicates(content):
    """Some object of the header names a member twice, or writes a tensor as no object."""
    size = struct.unpack("<Q", content[:8])[0]
    found = []

    def pairs(items):
        names = [name for name, _ in items]
        found.append(len(set(names)) != len(names))
        return dict(items)

    json.loads(content[8 : 8 + size], object_pairs_hook=pairs)
    return any(found)


def is_known(content, status):
    """A file that the package accepts and we do not, for a reason that is written down."""
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    if status == "TARE_E_FIELD":
        return any(isinstance(tensor, list) for tensor in header.values())
    if status == "TARE_E_DTYPE":
        return any(isinstance(t, dict) and isinstance(t.get("dtype"), dict) for t in header.values())
    return status in ("TARE_E_DUPLICATE", "TARE_E_LAYOUT", "TARE_E_COVER") and has_duplicates(content)


def main():
    dump, cache = sys.argv[1:3]
    peer.enter(cache)
    import safetensors

    seed, count = (int(a) for a in (sys.argv[3:] + ["1", "600"][len(sys.argv) - 3 :]))
    rng = random.Random(seed)
    dtypes = supported(safetensors)
    contents = [random_file(rng, dtypes) for _ in range(count)]
    contents += [depth_file(depth) for depth in range(120, 132)]
    good = refused = known = 0
    for content, (status, ours) in zip(contents, our_verdicts(dump, contents)):
        theirs, why = their_verdict(safetensors, content)
        if theirs is not None and ours is None:
            assert is_known(content, status), f"{status} for what is accepted there: {content}"
            known += 1
            continue
        assert (theirs is None) == (ours is None), f"accepted; there: {why}: {content}"
        if ours is None:
            refused += 1
        else:
            assert sorted(ours) == sorted(theirs), f"{ours}, not {theirs}: {content}"
            good += 1
    print(f"safetensors {safetensors.__version__}, {len(dtypes)} dtypes: {good} files accepted and ", end="")
    print(f"{refused} refused by both, {known} refused here for reasons that are written down")
    assert good > count / 4 and refused > count / 4, "not much of a test"


if __name__ == "__main__":
    main()
