#!/usr/bin/env python3
"""time_gguf.py FILE...: how long the GGUFReader of the gguf package takes to open each, in
nanoseconds, a line a file. A first file warms the package up: give a small one first."""
import sys
import time

import gguf

for path in sys.argv[1:]:
    start = time.perf_counter_ns()
    reader = gguf.GGUFReader(path)
    taken = time.perf_counter_ns() - start
    print(taken, len(reader.tensors))
