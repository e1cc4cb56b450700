#!/usr/bin/env python3
"""Files too big to store: makes each, has `tare check` judge it, and removes it.

    tests/long/big.py build/release/tare build/big
"""

import os
import pathlib
import struct
import subprocess
import sys

HEADER_SIZE_MAX = 100_000_000


def safetensors(path, header, data_size=0):
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)))
        file.write(header)
        file.truncate(8 + len(header) + data_size)  # sparse


def header_of(size):
    """A header of exactly that many bytes: one tensor, and spaces."""
    return b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.ljust(size)


def many_tensors(count):
    rows = (b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(count))
    return b"{" + b",".join(rows) + b"}"


def gguf_keys(path, count):
    with open(path, "wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, count))
        for i in range(count):
            key = b"key.%d" % i
            file.write(struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, i))


def cases(folder):
    """(what, file, whether it opens, what the message must hold)."""
    path = folder / "big.safetensors"
    safetensors(path, header_of(HEADER_SIZE_MAX), 1)
    yield "a header of 100,000,000 bytes", path, True, ""
    safetensors(path, header_of(HEADER_SIZE_MAX + 1), 1)
    yield "a header of 100,000,001 bytes", path, False, "TARE_E_HEADER_SIZE"
    header = many_tensors(1_700_000)
    assert len(header) <= HEADER_SIZE_MAX
    safetensors(path, header)
    yield "1,700,000 tensors", path, True, "1700000"
    size = 5 << 30
    header = b'{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (size, size)
    safetensors(path, header, size)
    yield "5 GiB, sparse", path, True, ""
    safetensors(path, header, size - 1)
    yield "5 GiB less a byte", path, False, "TARE_E_COVER"
    path.unlink()
    path = folder / "big.gguf"
    gguf_keys(path, 1_000_000)
    yield "1,000,000 key-values", path, True, ""
    os.truncate(path, path.stat().st_size - 1)
    yield "1,000,000 key-values, cut short", path, False, "TARE_E_TRUNCATED"
    path.unlink()


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for what, path, opens, text in cases(folder):
        done = subprocess.run([program, "check", path], capture_output=True, text=True, timeout=120)
        said = (done.stdout + done.stderr).replace(",", "")
        good = (done.returncode == 0) == opens and done.returncode in (0, 1) and text in said
        failed += not good
        print(f"{'ok' if good else 'FAILED'}: {what}" + ("" if good else f": {done.returncode} {said}"),
              flush=True)
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
