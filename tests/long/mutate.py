#!/usr/bin/env python3
"""Are the tests any good? Changes one comparison, operator or constant of src/ at a time, in a copy of
the tree, and runs the tests that are quick and reach its function (reach.py finds them, once), the
quickest first. A change that no test notices is a survivor.

    tests/long/mutate.py                       200 changes, the seed printed
    tests/long/mutate.py --seed 7 --minutes 5  as many as fit, from where that seed stopped
    tests/long/mutate.py --seed 7 --again      its survivors once more, with the tests as they are now
    tests/long/mutate.py --count 20 --only index.c,find.c

Results are kept in build/mutation/SEED.jsonl, one line a change: caught (by a test that failed, or
took too long), survived, or broken (it did not compile, which counts as nothing). The seed says in
which order changes come, wherever their lines move to; results of files that have another text now
are dropped, and their changes run anew. Exit status 1 when fewer than --caught percent (95) were
caught. Survivors that change nothing one could see are named in tests/long/mutate_equal.txt, each with
its reason, and not counted.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import reach

ROOT = pathlib.Path(__file__).resolve().parents[2]
TREE = ROOT / "build" / "mutation" / "tree"
BUILD = ROOT / "build" / "mutation" / "build"
SOURCE = ROOT / "build" / "mutation" / "source"  # src/ as it was when the tree was copied
EQUAL = ROOT / "tests" / "long" / "mutate_equal.txt"
TEMPORARY = ROOT / "build" / "mutation" / "tmp"
COUNTED = ROOT / "build" / "mutation" / "counted"  # the build that reach.py runs
REACHED = ROOT / "build" / "mutation" / "reach.json"

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


def limit():
    """A change may make a program loop, or take all memory there is."""
    for what, most in ((resource.RLIMIT_CPU, 1200), (resource.RLIMIT_AS, 12 << 30)):
        resource.setrlimit(what, (most, most))


def command(arguments, timeout):
    """Exit status; None when it took too long. Whatever it started ends with it."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True, preexec_fn=limit,
                               env={**os.environ, "TMPDIR": str(TEMPORARY)})
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def copy_tree():
    """What is there stays with its times, so that only what changed is compiled again. Whether
    anything did."""
    changed = False
    skipped = shutil.ignore_patterns("build", "node_modules", "__pycache__", "target")
    for name in ("CMakeLists.txt", "include", "src", "tests", "docs", "bench", "bindings"):
        target, source = TREE / name, ROOT / name
        files = [source] if source.is_file() else sorted(source.rglob("*"))
        wanted = {file.relative_to(ROOT) for file in files if file.is_file()
                  and not skipped(None, file.relative_to(ROOT).parts)}
        for file in target.rglob("*") if target.is_dir() else []:
            if file.is_file() and file.relative_to(TREE) not in wanted:
                file.unlink()
                changed = True
        for file in wanted:
            changed |= copy_file(ROOT / file, TREE / file)
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "src", SOURCE, ignore=shutil.ignore_patterns("cli"))
    return changed


def copy_file(source, target):
    if target.exists() and target.read_bytes() == source.read_bytes():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    return True


def configure(folder, flags, jobs):
    linker = ["-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=lld"] if shutil.which("ld.lld") else []
    configured = command(["cmake", "-S", TREE, "-B", folder, "-G", "Ninja", "-DTARE_TESTS=ON",
                          "-DTARE_INSTALL=OFF", "-DTARE_TSAN_RUNS=OFF", "-DCMAKE_BUILD_TYPE=Debug",
                          "-DTARE_WERROR=OFF", f"-DCMAKE_C_FLAGS={flags}", *linker], 300)
    if configured != 0 or command(["ninja", "-C", folder, f"-j{jobs}"], 3000) != 0:
        sys.exit("mutate.py: the unchanged tree does not build")
    for file in folder.rglob("CTestTestfile.cmake"):  # run_tests says how long one may take
        file.write_text(re.sub(r' TIMEOUT "[0-9]+"', "", file.read_text()))


def prepare(jobs):
    if not copy_tree() and REACHED.exists():
        return
    REACHED.unlink(missing_ok=True)
    configure(COUNTED, "--coverage -fprofile-update=atomic -O1 -g0", jobs)
    clear_temporary()
    known = reach.measure(COUNTED, EXCLUDED, jobs, {"TMPDIR": str(TEMPORARY)})
    configure(BUILD, "-O1 -g0", jobs)
    if not run_tests(list(known["times"]), max(known["times"].values()), jobs):
        failed = (BUILD / "Testing" / "Temporary" / "LastTestsFailed.log").read_text().split()
        sys.exit(f"mutate.py: tests fail without any change: {' '.join(failed)}")
    REACHED.write_text(json.dumps(known))


# What takes long, what looks at no source of the library, and what needs more than this build.
EXCLUDED = "valgrind|tsan|compare_|install|instructions|cli_man|rust|wasm|python|cmake|docs"
# The table once more in other layouts: for changes to what makes tables.
VARIANTS = re.compile("_portable|_large|_unpaired|_counts|_collisions")
TABLES = ("index", "find", "names", "line", "name_hash", "prebuilt_find")


def clear_temporary():
    shutil.rmtree(TEMPORARY, ignore_errors=True)
    TEMPORARY.mkdir(parents=True)


def run_tests(names, seconds, jobs):
    """Whether all pass; the slowest of them took so many seconds, without a change."""
    clear_temporary()
    return command(["ctest", "--test-dir", BUILD, f"-j{jobs}", "--stop-on-failure", "--timeout",
                    str(int(30 + 10 * seconds)), "-R", f"^({'|'.join(names)})$"], 3000) == 0


def build(jobs, *targets):
    return command(["ninja", "-C", BUILD, f"-j{jobs}", *targets], 1800) == 0


class Tests:
    """The tests, what each needs to be built, and which run what."""

    def __init__(self, jobs):
        self.jobs, self.reach = jobs, reach.Reach(json.loads(REACHED.read_text()))
        self.files = reach.read_tests(BUILD, EXCLUDED)

    def names_for(self, change):
        """The file's own test first, since it is what should notice."""
        stem = pathlib.Path(change["file"]).stem
        names = [name for name in self.reach.tests_of(change["file"], change["line"])
                 if stem in TABLES or not VARIANTS.search(name)]
        return sorted(names, key=lambda name: name != stem)

    def notice(self, change):
        """Whether some test fails; None when the change does not compile. One test, then two, four,
        and so on, each lot built just before."""
        if not build(self.jobs, "libtare.a"):
            return None
        names, size = self.names_for(change), 1
        while names:
            lot, names, size = names[:size], names[size:], 2 * size
            if not build(self.jobs, *{file for name in lot for file in self.files[name]}):
                return None
            if not run_tests(lot, max(self.reach.times[name] for name in lot), self.jobs):
                return True
        return False


def read_equal():
    """The lines of text whose changes are known to change nothing."""
    known = set()
    for line in EQUAL.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            # The line of code may have bars of its own; the reason has none.
            name, old, new, rest = (part.strip() for part in line.split(" | ", 3))
            known.add((name, old, new, rest.rsplit(" | ", 1)[0].strip()))
    return known


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=1e9, help="what of them fits into so many")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--again", action="store_true", help="the survivors, once more")
    parser.add_argument("--only", type=lambda text: text.split(","), help="names of files of src/")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--caught", type=float, default=95)
    return parser.parse_args()


def try_change(change, tests):
    """Changes the tree, runs tests, and puts it back; the word for what came of it."""
    start = time.monotonic()
    text = (SOURCE / change["file"]).read_text()
    target = TREE / "src" / change["file"]
    offset, old = change["offset"], change["old"]
    if text[offset:offset + len(old)] != old:
        sys.exit(f"mutate.py: {change} is of another tree")
    target.write_text(text[:offset] + change["new"] + text[offset + len(old):])
    try:
        noticed = tests.notice(change)
    finally:
        target.write_text(text)
    change["result"] = {None: "broken", True: "caught", False: "survived"}[noticed]
    change["text"] = digest_of(change["file"])
    change["seconds"] = round(time.monotonic() - start, 1)


def digest_of(name):
    """Of a file of src/ as it was copied; None when it is gone."""
    path = SOURCE / name
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else None


def is_wanted(name, options):
    return not options.only or name in options.only


def sample(options):
    """All changes there are, in the order of the seed, but for those that are known to change nothing.
    That order goes by what a change is and not by where, so that it stays when lines move."""
    equal, every, twins = read_equal(), [], {}
    for path in sorted([*SOURCE.glob("*.c"), *SOURCE.glob("*.h")]):
        if path.name == "os_wasm.c" or not is_wanted(path.name, options):
            continue
        text = path.read_text()
        lines = text.splitlines()
        for offset, old, new in changes_of(path):
            line, column = place_of(text, offset)
            change = {"file": path.name, "line": line, "column": column, "old": old, "new": new,
                      "code": lines[line - 1].strip(), "offset": offset}
            key = place_key(change)
            twins[key] = twins.get(key, 0) + 1
            change["twin"] = twins[key]
            order = f"{options.seed} {key} {twins[key]}"
            every.append((hashlib.sha256(order.encode()).digest(), change))
    return [change for _, change in sorted(every, key=lambda one: one[0])
            if (change["file"], change["old"], change["new"], change["code"]) not in equal]


def show(change):
    print(f"{change['result']}: src/{change['file']}:{change['line']}:{change['column']}: "
          f"{change['old']} -> {change['new']}: {change['code']} ({change['seconds']} s)", flush=True)


def place_key(change):
    """What a change is, wherever its line went."""
    return tuple(change[key] for key in ("file", "code", "column", "old", "new"))


def run_again(options, results, keep):
    """Survivors, with the tests as they are now; what is not in the list any more changes nothing."""
    places = {(place_key(change), change["twin"]): change for change in sample(options)}
    tests = Tests(options.jobs)
    for change in results:
        if change["result"] != "survived" or not is_wanted(change["file"], options):
            continue
        now = places.get((place_key(change), change["twin"]))
        if now is None:
            change["result"] = "equal"
        else:
            change.update(now)
            try_change(change, tests)
        show(change)
        keep()


def run_next(options, results, keep):
    tried = sum(change["result"] in ("caught", "survived") for change in results)
    known = {(place_key(change), change["twin"]) for change in results}
    tests, start = Tests(options.jobs), time.monotonic()
    for change in sample(options):
        if tried >= options.count or time.monotonic() - start > options.minutes * 60:
            break
        if (place_key(change), change["twin"]) in known:
            continue
        try_change(change, tests)
        tried += change["result"] != "broken"
        results.append(change)
        show(change)
        keep()


def is_prepared():
    """Whether the copy has today's src/; newer tests are for --again."""
    return REACHED.exists() and all(
        (SOURCE / path.name).exists() and path.read_bytes() == (SOURCE / path.name).read_bytes()
        for path in [*(ROOT / "src").glob("*.c"), *(ROOT / "src").glob("*.h")])


def main():
    options = parse_arguments()
    print(f"seed {options.seed}", flush=True)
    log = BUILD.parent / f"{options.seed}.jsonl"
    if options.again or not is_prepared():
        prepare(options.jobs)
    for path in SOURCE.rglob("*.[ch]"): # as it was before a change that was not ended
        copy_file(path, TREE / "src" / path.relative_to(SOURCE))
    read = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    results = [change for change in read if change.get("text") == digest_of(change["file"])]
    if len(results) < len(read):
        print(f"{len(read) - len(results)} results of files that changed are dropped", flush=True)

    def keep():
        log.write_text("".join(json.dumps(change) + "\n" for change in results))

    (run_again if options.again else run_next)(options, results, keep)
    words = [change["result"] for change in results]
    caught, survived = words.count("caught"), words.count("survived")
    share = 100 * caught / (caught + survived) if caught + survived else 0
    print(f"{caught} of {caught + survived} changes caught ({share:.1f} %), "
          f"{words.count('broken')} did not compile, {words.count('equal')} change nothing")
    sys.exit(share < options.caught)


if __name__ == "__main__":
    main()
