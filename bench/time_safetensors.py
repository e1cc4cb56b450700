"""Times opening a safetensors file and the first tensor's place: the nanoseconds, and its tensors.

usage: time_safetensors.py WARM FILE: opens WARM first, so that the package's own start is not in.
"""

import sys
import time

from safetensors import safe_open


def first(path):
    start = time.perf_counter_ns()
    with safe_open(path, framework="numpy") as model:
        names = model.keys()
        model.get_slice(names[len(names) // 2])
        taken = time.perf_counter_ns() - start
        return taken, len(names)


first(sys.argv[1])
print(*first(sys.argv[2]))
