#!/usr/bin/env python3
"""count_gguf.py VALGRIND PLAIN_GGUF: opening four times as many tensors, or keys of metadata, takes
about four times as many instructions. Comparing each name with all before it would take 16 times."""
import re
import subprocess
import sys
import tempfile

FEW, MANY = 10000, 40000


def count(valgrind, program, what, number):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [valgrind, "--tool=callgrind", "--toggle-collect=tare_open_bytes",
             f"--callgrind-out-file={folder}/profile", program, what, str(number)],
            stderr=subprocess.PIPE, text=True, check=True)  # fmt: skip
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])


def main():
    valgrind, program = sys.argv[1:]
    for what in ("tensors", "keys"):
        few, many = (count(valgrind, program, what, number) for number in (FEW, MANY))
        print(f"{what}: {few / FEW:.0f} instructions each of {FEW:,}, {many / MANY:.0f} of {MANY:,}")
        assert FEW * 20 < few, "nothing was counted"
        assert many < 5 * few, f"{many} instructions, not about four times {few}"


if __name__ == "__main__":
    main()
