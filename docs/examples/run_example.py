"""Runs an example and compares what it prints with a file.

usage: run_example.py EXPECTED STATUS PROGRAM [ARGUMENTS...]
"""

import pathlib
import subprocess
import sys


def main():
    expected = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
    done = subprocess.run(sys.argv[3:], stdout=subprocess.PIPE, encoding="utf-8", check=False)
    if done.stdout == expected and done.returncode == int(sys.argv[2]):
        return 0
    print(f"exit status {done.returncode}, expected {sys.argv[2]}; it printed:\n{done.stdout}")
    print(f"{sys.argv[1]} has:\n{expected}")
    return 1


sys.exit(main())
