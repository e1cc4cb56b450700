"""Python's loaders for bench_gpu, in a process of its own: obeys lines of stdin.

    facts                  versions, as JSON
    save PATH              writes PATH.pt: the same tensors as torch.save has them
    load MODE PATH         loads to cuda:0 and waits; answers the seconds from the path on
    check PATH             reads what was loaded back and compares XXH3-128 of every tensor with
                           PATH.digests; answers how many differ
    drop                   frees what was loaded

MODE is safetensors (load_file with a device), mmap (torch.load of PATH.pt, mapped) or to (load_file
for the host, which maps, and then each tensor brought over).
"""

import json
import sys
import time

import safetensors
import torch
import xxhash
from safetensors.torch import load_file


def load(mode, path):
    torch.cuda.synchronize()
    start = time.perf_counter()
    if mode == "safetensors":
        tensors = load_file(path, device="cuda:0")
    elif mode == "mmap":
        tensors = torch.load(path + ".pt", mmap=True, map_location="cuda:0", weights_only=True)
    else:
        tensors = {name: tensor.to("cuda:0") for name, tensor in load_file(path).items()}
    torch.cuda.synchronize()
    return tensors, time.perf_counter() - start


def check(path, tensors):
    wrong, names = 0, 0
    with open(path + ".digests") as lines:
        for line in lines:
            wanted, name = line.rstrip("\n").split(" ", 1)
            names += 1
            found = tensors[name].cpu().contiguous().view(torch.uint8).numpy()
            wrong += xxhash.xxh3_128_hexdigest(found) != wanted
    return wrong + abs(names - len(tensors))


def main():
    tensors = None
    torch.zeros(1, device="cuda:0")
    for line in sys.stdin:
        verb, *words = line.split()
        answer = "ok"
        if verb == "facts":
            answer = json.dumps({"python": sys.version.split()[0], "torch": torch.__version__,
                                 "safetensors": safetensors.__version__})
        elif verb == "save":
            torch.save(load_file(words[0]), words[0] + ".pt")
        elif verb == "load":
            tensors = None
            tensors, answer = load(*words)
        elif verb == "check":
            answer = check(words[0], tensors)
        elif verb == "drop":
            tensors = None
            torch.cuda.empty_cache()
            time.sleep(0.1)  # the GPU clears what is given back, and copies wait for that
        print(answer, flush=True)


if __name__ == "__main__":
    main()
