#!/usr/bin/env python3
"""Says which conditions of the library no test shows to decide on their own (MC/DC).

    tests/mcdc.py PROFILES LIBRARY

PROFILES is a folder of *.profraw, LIBRARY what clang 19 built with -fcoverage-mcdc. A condition, an
operand of && or ||, is covered when two runs of its decision differ in it and in the result, and
in nothing else that was looked at. What an operand before decides is not looked at.
"""

import json
import subprocess
import sys
from pathlib import Path

from coverage import function_of

ROOT = Path(__file__).resolve().parent.parent
NOT_LIBRARY = "/(src/cli|tests|docs|bench)/|^/usr/"


def merge(profiles):
    """The file that holds what all processes left."""
    parts = sorted(str(path) for path in Path(profiles).glob("*.profraw"))
    if not parts:
        sys.exit(f"mcdc.py: no profiles in {profiles}")
    merged = Path(profiles) / "all.profdata"
    command = ["llvm-profdata-19", "merge", "--sparse", "--failure-mode=all", "-o", merged]
    subprocess.run([*command, *parts], check=True)  # warns of what a killed process spoiled
    return merged


def llvm_cov(verb, library, merged, *options):
    command = ["llvm-cov-19", verb, library, f"--instr-profile={merged}", *options]
    command.append(f"--ignore-filename-regex={NOT_LIBRARY}")
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def decisions(entry):
    """{(line, column, ...): which conditions are covered} of a file of llvm-cov's.

    An inline function of a header is there once for each source file that uses it.
    """
    found = {}
    for record in entry["mcdc_records"]:
        place, covered = tuple(record[:4]), record[-1]
        before = found.get(place, [False] * len(covered))
        found[place] = [a or b for a, b in zip(before, covered)]
    return found


def main():
    profiles, library = sys.argv[1:]
    merged = merge(profiles)
    print(llvm_cov("report", library, merged, "--show-mcdc-summary", "--show-region-summary=false",
                   "--show-branch-summary=false", "--show-functions=false"))
    count = covered_count = lines_count = 0
    exported = json.loads(llvm_cov("export", library, merged))
    for entry in exported["data"][0]["files"]:
        path = Path(entry["filename"])
        lines = path.read_text(encoding="utf-8").splitlines()
        for place, covered in sorted(decisions(entry).items()):
            count += len(covered)
            covered_count += sum(covered)
            if all(covered):
                continue
            lines_count += 1
            which = ", ".join(str(i + 1) for i, known in enumerate(covered) if not known)
            where = f"{path.relative_to(ROOT)}:{place[0]}: {function_of(lines, place[0])}"
            print(f"{where}: condition {which} of {len(covered)}: {lines[place[0] - 1].strip()}")
    if count == 0:
        sys.exit("mcdc.py: no decision was found; was the library built with -fcoverage-mcdc?")
    percent = 100 * covered_count / count
    print(f"{lines_count} decisions have a condition that no test shows to decide")
    print(f"MC/DC: {covered_count} of {count} conditions of src/ ({percent:.1f}%)")


if __name__ == "__main__":
    main()
