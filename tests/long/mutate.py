#!/usr/bin/env python3
"""Are the tests any good? Changes one comparison, operator or constant of src/ at a time, in copies
of the tree, and runs the tests that are quick and reach its function (reach.py finds them, once),
the quickest first. A change that no test notices is a survivor.

    tests/long/mutate.py                       200 changes, the seed printed
    tests/long/mutate.py --seed 7 --minutes 5  as many as fit, from where that seed stopped
    tests/long/mutate.py --seed 7 --again      its survivors once more, with the tests of today
    tests/long/mutate.py --seed 7 --again --sanitize   the same, in builds with ASan and UBSan
    tests/long/mutate.py --count 20 --only index.c,find.c

Results are kept in build/mutation/SEED.jsonl, one line a change:

    caught    a test failed or took too long, twice, the second time alone, and passes without it
    survived  every test that reaches it passes
    unclear   a test failed twice and does not pass without the change either: counted as survived
    same      every object file, those of tests too, is byte for byte what it was; not counted
    broken    it did not compile; not counted
    equal     a survivor that tests/long/mutate_equal.txt names since, with its reason; not counted

The seed says in which order changes come, wherever their lines move to; results of files that have
another text now are dropped, and their changes run anew. What is stopped on the way leans to caught
changes, since survivors take longest: its figures are those of no sample. Exit status 1 when fewer
than --caught percent (95) were caught. Changes that mutate_equal.txt names are not made.
"""

import argparse
import concurrent.futures
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
import threading
import time

import reach

ROOT = pathlib.Path(__file__).resolve().parents[2]
MUTATION = ROOT / "build" / "mutation"  # has a folder for each worker, called 1, 2, 3
SOURCE = MUTATION / "source"  # src/ as it was when the tree was copied
COUNTED = MUTATION / "counted"  # the build that reach.py runs
REACHED = MUTATION / "reach.json"
PASSED = MUTATION / "passed"  # the tree whose tests passed without a change
EQUAL = ROOT / "tests" / "long" / "mutate_equal.txt"
PROCESSORS = len(os.sched_getaffinity(0))

SWAPS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "&&": "||",
         "||": "&&", "+": "-", "-": "+", "<<": ">>", ">>": "<<", "+=": "-=", "-=": "+=", "++": "--",
         "true": "false", "false": "true"}
TOKEN = re.compile(
    r'(?P<skip>/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    r"|^[ \t]*#[^\n]*(?:\\\n[^\n]*)*)"
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
            base = 16 if digits[:2] in ("0x", "0X") else 10
            found.append((at, old, f"{int(digits, base) + 1}{suffix}"))
        elif old in SWAPS:
            if old in "+-" and BEFORE_SIGN.search(text[max(0, at - 12):at]):
                continue
            found.append((at, old, SWAPS[old]))
    return found


def place_of(text, offset):
    line = text.count("\n", 0, offset) + 1
    return line, offset - text.rfind("\n", 0, offset)


def limit(options):
    """For all that is started: a change may make a program loop, or take all memory there is. 1,024
    threads take 16 GiB of addresses, and sanitizers much more."""
    resource.setrlimit(resource.RLIMIT_CPU, (1200, resource.RLIM_INFINITY))
    if not options.sanitize:
        resource.setrlimit(resource.RLIMIT_AS, (20 << 30, resource.RLIM_INFINITY))


def command(arguments, timeout, environment=None):
    """Exit status; None when it took too long. Whatever it started ends with it."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True, env={**os.environ, **(environment or {})})
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


def wanted_files():
    """Paths of all that tests are made of, for copies of the tree."""
    left_out = {"build", "node_modules", "__pycache__", "target", "long"}
    found = []
    for name in ("CMakeLists.txt", "include", "src", "tests", "docs", "bench", "bindings"):
        files = [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*"))
        found += [path for file in files if file.is_file()
                  and not left_out & set((path := file.relative_to(ROOT)).parts)]
    return found


def copy_tree(tree, wanted):
    """What is there stays with its times, so that only what changed is compiled again."""
    for file in tree.rglob("*"):
        if file.is_file() and file.relative_to(tree) not in wanted:
            file.unlink()
    for file in wanted:
        copy_file(ROOT / file, tree / file)


def copy_file(source, target):
    if not target.exists() or target.read_bytes() != source.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def digest_of_files(root, files):
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file} ".encode() + hashlib.sha256((root / file).read_bytes()).digest())
    return whole.hexdigest()


def configure(tree, folder, flags="", sanitizers=""):
    """Debug, but for what Debug means: lines and columns of debuggers would make objects differ."""
    linker = ["-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=lld"] if shutil.which("ld.lld") else []
    if command(["cmake", "-S", tree, "-B", folder, "-G", "Ninja", "-DTARE_TESTS=ON",
                "-DTARE_INSTALL=OFF", "-DTARE_TSAN_RUNS=OFF", "-DTARE_WERROR=OFF",
                "-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_C_FLAGS_DEBUG=-O1 -g0 {flags}",
                f"-DTARE_SANITIZE={sanitizers}", *linker], 300) != 0:
        sys.exit("mutate.py: cmake fails")
    for file in folder.rglob("CTestTestfile.cmake"):  # Worker.failing says how long one may take
        file.write_text(re.sub(r' TIMEOUT "[0-9]+"', "", file.read_text()))


def build(folder, jobs, *targets):
    return command(["ninja", "-C", folder, f"-j{jobs}", *targets], 3000) == 0


# What takes long, what looks at no source of the library, and what needs more than this build.
EXCLUDED = "valgrind|tsan|compare_|install|instructions|cli_man|rust|wasm|python|cmake|docs"
# The table once more in other layouts: for changes to what makes tables.
VARIANTS = re.compile("_portable|_large|_unpaired|_counts|_collisions")
TABLES = ("index", "find", "names", "line", "name_hash", "prebuilt_find")


class Worker:
    """A copy of the tree and its build, in which one change after the other is tried. It uses one
    processor, or a few where there are more of them than workers."""

    def __init__(self, number, options):
        self.tree, self.plain, self.temporary = (
            MUTATION / str(number) / name for name in ("tree", "build", "tmp"))
        self.sanitized = options.sanitize
        self.built = self.tree.with_name("sanitized") if self.sanitized else self.plain
        self.jobs = max(1, PROCESSORS // options.workers)
        self.excluded = options.excluded
        self.environment = {"TMPDIR": str(self.temporary), "CRITERION_JOBS": str(self.jobs)}
        self.reach = self.programs = self.objects = None

    def prepare(self, wanted):
        """With sanitizers nothing is built before a change needs it: only a few come that far."""
        copy_tree(self.tree, wanted)
        configure(self.tree, self.plain)
        if not build(self.plain, self.jobs):
            sys.exit("mutate.py: the unchanged tree does not build")
        self.programs = reach.read_tests(self.plain, self.excluded)
        if self.sanitized:
            configure(self.tree, self.built, sanitizers="address,undefined")
        else:
            self.objects = self.read_objects(self.built)

    def measure(self):
        """What reach.py finds, with all processors."""
        configure(self.tree, COUNTED, "--coverage -fprofile-update=atomic")
        build(COUNTED, PROCESSORS)
        self.clear_temporary()
        return reach.measure(COUNTED, EXCLUDED, PROCESSORS, self.environment)

    def clear_temporary(self):
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True)

    def read_objects(self, folder):
        return {file: hashlib.sha256(file.read_bytes()).digest() for file in folder.rglob("*.o")}

    def build(self, *targets):
        return build(self.built, self.jobs, *targets)

    def failing(self, names, every=False):
        """The first of these tests that fails or takes much too long, or none; or every one of
        them, with all processors."""
        if not names:
            return []
        self.clear_temporary()
        log = self.built / "Testing" / "Temporary" / "LastTestsFailed.log"
        log.unlink(missing_ok=True)
        seconds = int(30 + 10 * max(self.reach.times[name] for name in names))
        how = [f"-j{PROCESSORS}"] if every else [f"-j{self.jobs}", "--stop-on-failure"]
        if command(["ctest", "--test-dir", self.built, *how, "--timeout", str(seconds),
                    "-R", f"^({'|'.join(names)})$"], 3000, self.environment) == 0:
            return []
        failed = log.read_text().split() if log.exists() else []
        return [line.split(":", 1)[1] for line in failed] or names

    def names_for(self, change):
        """The file's own test first, since it is what should notice."""
        stem = pathlib.Path(change["file"]).stem
        names = [name for name in self.reach.tests_of(change["file"], change["line"])
                 if name in self.programs and (stem in TABLES or not VARIANTS.search(name))]
        return sorted(names, key=lambda name: name != stem)

    def is_same(self):
        """Whether nothing that was compiled differs. The library is compiled already; what tests
        compile of src/ is compiled for that, if the library is the same."""
        def differs(folder):
            return any(self.objects[file] != digest
                       for file, digest in self.read_objects(folder).items())

        return (not differs(self.built / "CMakeFiles" / "tare_objects.dir") and self.build()
                and not differs(self.built))

    def judge(self, change):
        """(The word for it, the test that failed.) One test, then two, four, and so on, each lot
        built just before."""
        if not self.build("libtare.a"):
            return "broken", None
        if not self.sanitized and self.is_same():
            return "same", None
        names, size = self.names_for(change), 1
        while names:
            lot, names, size = names[:size], names[size:], 2 * size
            if not self.build(*{file for name in lot for file in self.programs[name]}):
                return "broken", None
            while failed := self.failing(lot):
                if self.failing(failed[:1]):
                    return "caught", failed[0]
                print(f"{failed[0]} failed once and passed then: left out here", flush=True)
                lot = [name for name in lot if name != failed[0]]
        return "survived", None

    def passes_unchanged(self, name):
        return self.build("libtare.a", *self.programs[name]) and not self.failing([name])

    def try_change(self, change):
        """Changes the tree, runs tests, and puts it back; what came of it is in the change then."""
        start = time.monotonic()
        text = (SOURCE / change["file"]).read_text()
        target = self.tree / "src" / change["file"]
        offset, old = change["offset"], change["old"]
        if text[offset:offset + len(old)] != old:
            sys.exit(f"mutate.py: {change} is of another tree")
        target.write_text(text[:offset] + change["new"] + text[offset + len(old):])
        try:
            change["result"], change["by"] = self.judge(change)
        finally:
            target.write_text(text)
        if change["result"] == "caught" and not self.passes_unchanged(change["by"]):
            change["result"] = "unclear"
        change["sanitized"] = self.sanitized
        change["text"] = digest_of(change["file"])
        change["seconds"] = round(time.monotonic() - start, 1)


def prepare(options):
    """Workers, each with a build of the tree as it is, whose tests pass."""
    workers = [Worker(number, options) for number in range(1, options.workers + 1)]
    wanted = wanted_files()
    digest = digest_of_files(ROOT, wanted)
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "src", SOURCE, ignore=shutil.ignore_patterns("cli"))
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(lambda worker: worker.prepare(set(wanted)), workers))
    known = json.loads(REACHED.read_text()) if REACHED.exists() else {}
    if known.get("digest") != digest:
        known = {**workers[0].measure(), "digest": digest}
        REACHED.write_text(json.dumps(known))
    for worker in workers:
        worker.reach = reach.Reach(known)
    state = f"{digest} {options.excluded}"
    if not options.sanitize and (not PASSED.exists() or PASSED.read_text() != state):
        names = [name for name in known["times"] if name in workers[0].programs]
        if failed := workers[0].failing(names, every=True):
            sys.exit(f"mutate.py: tests fail without any change: {' '.join(failed)}")
        PASSED.write_text(state)
    return workers


def read_equal():
    """The lines of text whose changes are known to change nothing, each with the place in it of the
    token that stands between two @, or with None."""
    known = set()
    for line in EQUAL.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            # The line of code may have bars of its own; the reason has none.
            name, old, new, rest = (part.strip() for part in line.split(" | ", 3))
            code = rest.rsplit(" | ", 1)[0].strip()
            known.add((name, old, new, code.replace("@", ""),
                       code.index("@") if "@" in code else None))
    return known


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=1e9, help="what of them fits into so many")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--again", action="store_true", help="the survivors, once more")
    parser.add_argument("--sanitize", action="store_true", help="with ASan and UBSan")
    parser.add_argument("--only", type=lambda text: text.split(","), help="names of files of src/")
    parser.add_argument("--workers", type=int, default=PROCESSORS, help="changes tried at a time")
    parser.add_argument("--exclude", help="tests that cannot pass here, a regular expression")
    parser.add_argument("--caught", type=float, default=95)
    options = parser.parse_args()
    options.excluded = f"{EXCLUDED}|{options.exclude}" if options.exclude else EXCLUDED
    return options


def digest_of(name):
    """Of a file of src/ as it was copied; None when it is gone."""
    path = SOURCE / name
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else None


def is_wanted(name, options):
    return not options.only or name in options.only


def sample(options):
    """All changes there are, in the order of the seed, but for those that are known to change
    nothing. That order goes by what a change is and not by where, so it stays when lines move."""
    equal, every, twins = read_equal(), [], {}
    for path in sorted([*SOURCE.glob("*.c"), *SOURCE.glob("*.h")]):
        if path.name == "os_wasm.c" or not is_wanted(path.name, options):
            continue
        text = path.read_text()
        lines = text.splitlines()
        for offset, old, new in changes_of(path):
            line, column = place_of(text, offset)
            change = {"file": path.name, "line": line, "column": column, "old": old, "new": new,
                      "code": lines[line - 1].strip(), "offset": offset,
                      "place": column - 1 - len(lines[line - 1]) + len(lines[line - 1].lstrip())}
            key = place_key(change)
            twins[key] = twins.get(key, 0) + 1
            change["twin"] = twins[key]
            order = f"{options.seed} {key} {twins[key]}"
            every.append((hashlib.sha256(order.encode()).digest(), change))
    def is_equal(change):
        what = tuple(change[key] for key in ("file", "old", "new", "code"))
        return (*what, None) in equal or (*what, change["place"]) in equal

    return [change for _, change in sorted(every, key=lambda one: one[0]) if not is_equal(change)]


def show(change):
    by = f", by {change['by']}" if change.get("by") else ""
    by += ", sanitized" if change.get("sanitized") else ""
    print(f"{change['result']}: src/{change['file']}:{change['line']}:{change['column']}: "
          f"{change['old']} -> {change['new']}: {change['code']} ({change['seconds']} s{by})",
          flush=True)


def place_key(change):
    """What a change is, wherever its line went."""
    return tuple(change[key] for key in ("file", "code", "column", "old", "new"))


COUNTED_WORDS = ("caught", "survived", "unclear")


class Run:
    """Changes of which each worker takes the next, until as many count as were asked for."""

    def __init__(self, options, changes, results, log):
        self.options, self.changes, self.results, self.log = options, iter(changes), results, log
        self.lock, self.start, self.under_way = threading.Lock(), time.monotonic(), 0

    def take(self):
        with self.lock:
            counted = sum(change["result"] in COUNTED_WORDS for change in self.results)
            if (not self.options.again and counted + self.under_way >= self.options.count
                    or time.monotonic() - self.start > self.options.minutes * 60):
                return None
            change = next(self.changes, None)
            self.under_way += change is not None
            return change

    def give(self, change):
        with self.lock:
            self.under_way -= 1
            if change not in self.results:
                self.results.append(change)
            show(change)
            self.keep()

    def keep(self):
        self.log.write_text("".join(json.dumps(one) + "\n" for one in self.results))

    def work(self, worker):
        while (change := self.take()) is not None:
            worker.try_change(change)
            self.give(change)


def changes_again(options, results):
    """Survivors, for the tests as they are now; what is not in the list any more is equal."""
    places = {(place_key(change), change["twin"]): change for change in sample(options)}
    survivors = []
    for change in results:
        if change["result"] in ("survived", "unclear") and is_wanted(change["file"], options):
            now = places.get((place_key(change), change["twin"]))
            if now is None:
                change["result"] = "equal"
                show(change)
            else:
                change.update(now)
                survivors.append(change)
    return survivors


def main():
    options = parse_arguments()
    limit(options)
    print(f"seed {options.seed}", flush=True)
    log = MUTATION / f"{options.seed}.jsonl"
    workers = prepare(options)
    read = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    results = [change for change in read if change.get("text") == digest_of(change["file"])]
    if len(results) < len(read):
        print(f"{len(read) - len(results)} results of files that changed are dropped", flush=True)

    if options.again:
        changes = changes_again(options, results)
    else:
        known = {(place_key(change), change["twin"]) for change in results}
        changes = [change for change in sample(options)
                   if (place_key(change), change["twin"]) not in known]
    run = Run(options, changes, results, log)
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        for done in [pool.submit(run.work, worker) for worker in workers]:
            done.result()
    run.keep()

    words = [change["result"] for change in results]
    counted, caught = sum(word in COUNTED_WORDS for word in words), words.count("caught")
    share = 100 * caught / counted if counted else 0
    print(f"{caught} of {counted} changes caught ({share:.1f} %); {words.count('same')} same, "
          f"{words.count('broken')} broken, {words.count('equal')} equal")
    sys.exit(share < options.caught)


if __name__ == "__main__":
    main()
