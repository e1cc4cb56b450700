"""Checks that the documentation still speaks of what there is.

usage: check_docs.py COMPILER REPOSITORY

- every C block of README.md, SECURITY.md and docs/*.md compiles against include/tare.h;
- each promise of SECURITY.md links to its tests and says the command that runs them;
- every path, link, public name, function and test that these pages name exists;
- docs/guide.md names every example, docs/format_safetensors.md every rule of the corpus.

A block is a fragment, compiled inside of a function in which the names of PROLOGUE are declared,
unless it has a line that is just "{", as function definitions have: then it is a file of its own.
"""

import pathlib
import re
import subprocess
import sys

HEADERS = ["errno.h", "inttypes.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "tare.h"]

PROLOGUE = """
void use(const void *data, size_t size);
int fragment(tare_model *model, const tare_tensor *tensor, tare_options options, tare_error error,
             const char *path, const char *name, size_t name_size, const void *bytes, size_t size,
             void *target, tare_status status);
int fragment(tare_model *model, const tare_tensor *tensor, tare_options options, tare_error error,
             const char *path, const char *name, size_t name_size, const void *bytes, size_t size,
             void *target, tare_status status)
{
    {
"""

FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-unused",
         "-Wno-unused-parameter", "-Wno-unused-but-set-parameter", "-fsyntax-only", "-x", "c"]


def blocks(text):
    """(line number, text) of every block of C."""
    for match in re.finditer(r"^```c\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start()) + 2, match.group(1)


def program(page, line, block):
    includes = "".join(f"#include <{header}>\n" for header in HEADERS)
    place = f'#line {line} "{page.name}"\n'
    if re.search(r"^\{$", block, re.MULTILINE):
        return includes + place + block
    return includes + PROLOGUE + place + block + "    }\n    return 0;\n}\n"


def check_blocks(compiler, root, page, text):
    for line, block in blocks(text):
        done = subprocess.run([compiler, *FLAGS, f"-I{root / 'include'}", "-"],
                              input=program(page, line, block), stderr=subprocess.PIPE,
                              encoding="utf-8", check=False)
        if done.returncode != 0:
            yield f"the block at line {line} does not compile:\n{done.stderr}"


def check_links(page, text):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        if not (page.parent / target).exists():
            yield f"links to {target}, which is not there"


def check_paths(root, text):
    for path in set(re.findall(r"`((?:src|include|tests|docs|bench)/[\w./-]+\.\w+)`", text)):
        if not (root / path).is_file():
            yield f"names {path}, which is not there"


def check_names(known, text):
    for name in set(re.findall(r"\b(?:tare_[a-z]\w*|TARE_[A-Z]\w*)", text)):
        if name not in known:
            yield f"names {name}, which neither tare.h nor a CMakeLists.txt has, nor a script of the tests"


def check_functions(root, text):
    code = "".join(file.read_text(encoding="utf-8") for file in (root / "src").glob("*.[ch]"))
    for name in set(re.findall(r"`([a-z]+[0-9]*(?:_[a-z0-9]+)+)`", text)):
        if not re.search(rf"\b{name}\b", code):
            yield f"names {name}, which nothing in src has"


def check_tests(root, text):
    for suite, name in set(re.findall(r"`([a-z_]+)/([a-z0-9_]{12,})`", text)):
        file = root / "tests" / f"test_{suite}.c"
        found = file.is_file() and re.search(rf"Test\({suite},\s*{name}\b", file.read_text("utf-8"))
        if not found:
            yield f"names the test {suite}/{name}, which is not in tests/test_{suite}.c"


def check_python_tests(root, text):
    for path, name in set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)):
        file = root / path
        if not file.is_file() or not re.search(rf"def {name}\(", file.read_text("utf-8")):
            yield f"names the test {name}, which {path} has not"


# What ctest calls the tests of a file.
CTEST_NAMES = ((r"tests/test_(\w+)\.c", r"\1"), (r"tests/cli/test_(cli_\w+)\.py", r"\1"),
               (r"tests/fuzz/(fuzz_\w+)\.c", r"\1_replay"),
               (r"tests/checkpoint/(compare_\w+)\.py", r"\1"),
               (r"tests/plain/plain_corpus\.c", "plain_corpus_flips"),
               (r"tests/plain/(plain_\w+)\.c", r"\1"),
               (r"bindings/python/tests/test_\w+\.py", "python"),
               (r"bindings/rust/tare/tests/\w+\.rs", "rust_test"),
               (r"bindings/wasm/test/(\w+)\.test\.js", r"wasm_\1"),
               (r"tests/install/check_install\.sh", "install_symbols"))


def ctest_name(path):
    return next((re.sub(file, name, path) for file, name in CTEST_NAMES if re.fullmatch(file, path)),
                path)


def check_promise(promise):
    """Each test is a link to its file, and what the commands run is just those files' tests."""
    named, _, shown = promise.partition("*Tests:*")[2].partition("*Shown by:*")
    links = re.findall(r"\[`([^`]+)`\]\(([^)]+)\)", named)
    if not links or len(links) != named.count("`") // 2:
        yield "does not link each of its tests"
    for name, path in links:
        suite = name.split("/")[0]
        if path not in (f"tests/test_{suite}.c", name.split("::")[0]):
            yield f"links {name} to {path}"
    commands = re.findall(r"`ctest --test-dir build/(?:debug|release) -R '\^\(?([\w|]+)\)?\$'`", shown)
    run = {name for command in commands for name in command.split("|")}
    for name in run ^ {ctest_name(path) for _, path in links}:
        yield f"is not shown by what it says: {name}"


def check_promises(text):
    promised = text.partition("## What is promised")[2].partition("\n## ")[0]
    promises = re.split(r"(?m)^(?=\d+\. )", promised.partition("\n`./x test` runs")[0])[1:]
    if not promises:
        yield "promises nothing"
    for promise in promises:
        for fault in check_promise(promise):
            yield f"{promise.splitlines()[0]}: {fault}"


def check_examples(root, text):
    for file in sorted((root / "docs/examples").glob("*.c")):
        if f"docs/examples/{file.name}" not in text:
            yield f"does not name docs/examples/{file.name}"


def check_rules(root, text, letters):
    """The rules of one format, by the first letter of their names."""
    manifest = (root / "tests/data/corpus/manifest.tsv").read_text(encoding="utf-8")
    rules = {rule for line in manifest.splitlines() for rule in line.split("\t")[3].split("/")}
    for rule in sorted(rules):
        if rule[0] in letters and f"{rule} " not in text:
            yield f"lacks the rule {rule} of the corpus"


def main():
    compiler, root = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    known = set()
    folders = ["src", "tests", "bench", "docs"]
    builds = [path for folder in folders for path in (root / folder).rglob("CMakeLists.txt")]
    for folder in ("tests", "bindings/python/tests"):
        builds += (root / folder).rglob("*.py")
    for file in [root / "include/tare.h", root / "CMakeLists.txt", *builds]:
        known |= set(re.findall(r"\w+", file.read_text(encoding="utf-8")))
    for name in re.findall(r"X\((\w+), \d+, ", (root / "include/tare.h").read_text("utf-8")):
        known |= {f"TARE_{name}", f"TARE_DTYPE_{name}", f"TARE_KIND_{name}"}

    faults = []
    for page in [root / "README.md", root / "SECURITY.md", *sorted((root / "docs").glob("*.md"))]:
        if not page.is_file():
            faults.append(f"{page.relative_to(root)}: is not there")
            continue
        text = page.read_text(encoding="utf-8")
        found = [*check_blocks(compiler, root, page, text), *check_links(page, text),
                 *check_paths(root, text), *check_tests(root, text),
                 *check_python_tests(root, text)]
        if page.name == "SECURITY.md":
            found += check_promises(text)
        if page.name != "benchmarks.md":  # ./x bench writes it, with names of engines
            found += check_names(known, text)
        if page.name in ("architecture.md", "format_safetensors.md", "format_gguf.md"):
            found += check_functions(root, text)
        if page.name == "guide.md":
            found += check_examples(root, text)
        if page.name == "format_safetensors.md":
            found += check_rules(root, text, "SX")
        if page.name == "format_gguf.md":
            found += check_rules(root, text, "G")
        faults += [f"{page.relative_to(root)}: {fault}" for fault in found]
    for fault in faults:
        print(fault)
    return len(faults) != 0


if __name__ == "__main__":
    sys.exit(main())
