#!/usr/bin/env python3
"""make_names.py INDEX.json > NAMES.tsv: a shard index as `shard number<TAB>tensor name` lines, in
the order of the index. Shards are numbered from 0 in the order of their file names."""
import json
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        weight_map = json.load(file)["weight_map"]
    shards = sorted(set(weight_map.values()))
    number = {shard: place for place, shard in enumerate(shards)}
    for name, shard in weight_map.items():
        print(f"{number[shard]}\t{name}")


if __name__ == "__main__":
    main()
