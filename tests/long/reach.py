"""Which tests run which functions of src/, so that mutate.py runs only those that can notice a
change, the quickest first. A build with --coverage runs each test of ctest once; GCOV_PREFIX keeps
what each left behind apart."""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

HANG_SECONDS = 900


class Reach:
    """What was found, as JSON can hold it: times = {test: seconds}, and functions = {file: [[first
    line, last line, [tests]]]}."""

    def __init__(self, known):
        self.times, self.functions = known["times"], known["functions"]

    def tests_of(self, file, line):
        """Tests that run the function around that line, the quickest first; where no function is,
        as in a table or a type, those of the file; all if it is a header, or has no function."""
        functions = self.functions.get(file, [])
        around = [one for one in functions if one[0] <= line <= one[1]]
        if not around and not file.endswith(".h"):
            around = functions
        tests = {test for one in around for test in one[2]} if around else set(self.times)
        return sorted(tests, key=lambda test: self.times[test])


def read_tests(build, excluded):
    """{test: the programs of the build that its command names}."""
    text = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1", "-E", excluded],
                          capture_output=True, check=True, text=True).stdout
    found = {}
    for test in json.loads(text)["tests"]:
        words = [pathlib.Path(word) for word in test["command"] if word.startswith(f"{build}/")]
        found[test["name"]] = [str(word.relative_to(build)) for word in words
                               if word.is_file() and os.access(word, os.X_OK)]
    return found


def run_test(build, name, folder, environment):
    """Seconds that it took, and its counts are in the folder; None where it hangs."""
    start = time.monotonic()
    with subprocess.Popen(["ctest", "--test-dir", build, "-R", f"^{name}$"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          start_new_session=True,
                          env={**os.environ, **environment, "GCOV_PREFIX": str(folder)}) as child:
        try:
            child.wait(HANG_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL) # ctest, and the test with it
            return None
    return time.monotonic() - start


def read_counts(build, folder):
    """(file, first line, last line) of each function of src/ that was run."""
    counts = []
    for count in (folder / build.relative_to("/")).rglob("*.gcda"):
        notes = build / count.relative_to(folder / build.relative_to("/")).with_suffix(".gcno")
        if notes.exists(): # of tests too: they have functions of headers in them
            count.with_suffix(".gcno").symlink_to(notes)
            counts.append(count)
    if not counts:
        return set()
    text = subprocess.run(["gcov", "--json-format", "--stdout", *counts], capture_output=True,
                          check=True, text=True, cwd=folder).stdout
    return {(pathlib.Path(file["file"]).name, function["start_line"], function["end_line"])
            for line in text.splitlines() if line.startswith("{")
            for file in json.loads(line)["files"] if re.search(r"(^|/)src/[^/]+$", file["file"])
            for function in file["functions"] if function["execution_count"] != 0}


def measure(build, excluded, jobs, environment):
    """Runs every test of a build with --coverage and returns what Reach takes."""
    tests, times, functions = read_tests(build, excluded), {}, {}
    folder = build / "reach"

    def look(name):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
        seconds = run_test(build, name, folder / name, environment)
        ran = read_counts(build, folder / name) if seconds is not None else set()
        shutil.rmtree(folder / name)
        return name, seconds, ran

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for name, seconds, ran in pool.map(look, tests):
            if seconds is None:
                print(f"reach.py: {name} takes more than {HANG_SECONDS} seconds: it counts as "
                      "reaching nothing", flush=True)
                continue
            times[name] = seconds
            for function in ran:
                functions.setdefault(function, []).append(name)
    by_file = {}
    for (file, first, last), names in sorted(functions.items()):
        by_file.setdefault(file, []).append([first, last, names])
    return {"times": times, "functions": by_file}
