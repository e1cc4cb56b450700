#!/usr/bin/env python3
"""Are the tests any good? Changes one comparison, operator or constant of src/ at a time, in a copy of
the tree, and runs the tests that are quick. A change that no test notices is a survivor.

    tests/long/mutate.py                    200 changes, the seed printed
    tests/long/mutate.py --seed 7 --count 20 --only index.c,find.c

Exit status 1 when fewer than --caught percent (95) of the changes were caught. Survivors that change
nothing one could see are named in tests/long/mutate_equal.txt, each with its reason, and not counted.
"""

import argparse
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TREE = ROOT / "build" / "mutation" / "tree"
BUILD = ROOT / "build" / "mutation" / "build"
EQUAL = ROOT / "tests" / "long" / "mutate_equal.txt"

SWAPS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||", "||": "&&",
         "+": "-", "-": "+", "<<": ">>", ">>": "<<", "+=": "-=", "-=": "+=", "++": "--",
         "true": "false", "false": "true"}
TOKEN = re.compile(
    r'(?P<skip>/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|^[ \t]*#[^\n]*(?:\\\n[^\n]*)*)'
    r"|(?P<number>\b(?:0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]*\b)"
    r"|(?P<word>\b[A-Za-z_]\w*\b)"
    r"|(?P<operator><<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[-+<>])",
    re.DOTALL | re.MULTILINE)
# A minus or plus behind these is a sign, and a bracket behind a type is no comparison.
BEFORE_SIGN = re.compile(r"[=(,?:<>&|!+\-*/%\[{]\s*$|\breturn\s*$|\bcase\s*$")


def changes_of(path):
    """Every change that the text of one file allows, as (offset, old, new)."""
    text = path.read_text()
    found = []
    for match in TOKEN.finditer(text):
        old, at = match.group(), match.start()
        if match.group("number"):
            digits = re.match(r"0[xX][0-9a-fA-F]+|[0-9]+", old).group()
            suffix = old[len(digits):]
            found.append((at, old, f"{int(digits, 16 if digits[:2] in ('0x', '0X') else 10) + 1}{suffix}"))
        elif old in SWAPS:
            if old in "+-" and BEFORE_SIGN.search(text[max(0, at - 12):at]):
                continue
            found.append((at, old, SWAPS[old]))
    return found


def place_of(text, offset):
    line = text.count("\n", 0, offset) + 1
    return line, offset - text.rfind("\n", 0, offset)


def command(arguments, timeout):
    """Exit status; None when it took too long. Whatever it started ends with it."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return None


def copy_tree():
    shutil.rmtree(TREE, ignore_errors=True)
    TREE.mkdir(parents=True)
    for name in ("CMakeLists.txt", "include", "src", "tests", "docs", "bench"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, TREE / name)
        else:
            shutil.copy2(source, TREE / name)


def prepare(jobs):
    copy_tree()
    configured = command(["cmake", "-S", TREE, "-B", BUILD, "-G", "Ninja", "-DTARE_TESTS=ON",
                          "-DTARE_INSTALL=OFF", "-DCMAKE_BUILD_TYPE=Debug", "-DTARE_WERROR=OFF",
                          "-DCMAKE_C_FLAGS=-O1 -g0"], 300)
    if configured != 0 or command(["ninja", "-C", BUILD, f"-j{jobs}"], 1200) != 0:
        sys.exit("mutate.py: the unchanged tree does not build")
    if ctest(EXCLUDED, jobs) != 0:
        sys.exit("mutate.py: tests fail without any change")


EXCLUDED = "valgrind|tsan|compare_|install|instructions|cli_man|rust|wasm|python|cmake"


def ctest(excluded, jobs, only=None):
    arguments = ["ctest", "--test-dir", BUILD, f"-j{jobs}", "--stop-on-failure", "--timeout", "60",
                 "-E", excluded]
    return command(arguments + (["-R", only] if only else []), 400)


def is_caught(path, jobs):
    """Whether some test fails; None when the change does not compile. The file's own test comes
    first, since that is quick."""
    stem = path.stem
    own = f"test_{stem}"
    if (TREE / "tests" / f"{own}.c").exists() and path.suffix == ".c":
        if command(["ninja", "-C", BUILD, f"-j{jobs}", own], 600) != 0:
            return None
        if ctest(EXCLUDED, jobs, f"^{stem}$") != 0:
            return True
    if command(["ninja", "-C", BUILD, f"-j{jobs}"], 900) != 0:
        return None
    return ctest(EXCLUDED, jobs) != 0


def read_equal():
    """file -> the lines of text whose changes are known to change nothing."""
    known = set()
    if EQUAL.exists():
        for line in EQUAL.read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                name, old, new, text = (part.strip() for part in line.split("|")[:4])
                known.add((name, old, new, text))
    return known


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", type=lambda text: text.split(","), help="names of files of src/")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--caught", type=float, default=95)
    return parser.parse_args()


def main():
    options = parse_arguments()
    print(f"seed {options.seed}", flush=True)
    prepare(options.jobs)
    files = sorted([*(ROOT / "src").glob("*.c"), *(ROOT / "src").glob("*.h")])
    files = [file for file in files if file.name != "os_wasm.c"
             and (not options.only or file.name in options.only)]
    every = [(file, change) for file in files for change in changes_of(file)]
    random.Random(options.seed).shuffle(every)
    equal = read_equal()
    caught = survived = skipped = 0
    for file, (offset, old, new) in every:
        if caught + survived == options.count:
            break
        text = file.read_text()
        line, column = place_of(text, offset)
        code = text.splitlines()[line - 1].strip()
        if (file.name, old, new, code) in equal:
            continue
        target = TREE / "src" / file.name
        target.write_text(text[:offset] + new + text[offset + len(old):])
        result = is_caught(target, options.jobs)
        target.write_text(text)
        if result is None:
            skipped += 1
        elif result:
            caught += 1
        else:
            survived += 1
            print(f"survived: src/{file.name}:{line}:{column}: {old} -> {new}: {code}", flush=True)
    tried = caught + survived
    share = 100 * caught / tried if tried else 0
    print(f"{caught} of {tried} changes caught ({share:.1f} %), {skipped} did not compile, "
          f"of {len(every)} there are")
    sys.exit(share < options.caught)


if __name__ == "__main__":
    main()
