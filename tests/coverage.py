#!/usr/bin/env python3
"""Compares what no test reaches with what docs/testing.md says about it.

    tests/coverage.py TRACE [--list]

TRACE is the JSON of gcovr. A line or a branch that was never taken must stand in the table under
"What no test reaches", as a file, a function and a piece of the line's text, so that nothing has to
be changed when lines move; and what stands there must be such a
line, unless its reason begins with "now and then". With --list what is missing in the table is
printed as rows for it.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "testing.md"
ROW = re.compile(
    r"^\| `(?P<file>[\w.]+)` \| `(?P<function>\w+)` \| `(?P<text>.+?)` \| (?P<reason>.+) \|$"
)
FUNCTION = re.compile(r"^[a-z].*?\b(\w+)\(")


def excused():
    """The rows of the table."""
    _, _, section = TABLE.read_text(encoding="utf-8").partition("\n## What no test reaches\n")
    section = section.partition("\n## ")[0]
    rows = [match.groupdict() for line in section.splitlines() if (match := ROW.match(line))]
    for row in rows:
        row["text"] = row["text"].replace("\\|", "|")
    return rows


def function_of(lines, number):
    """The name of the function that the line is in."""
    for line in reversed(lines[:number]):
        if match := FUNCTION.match(line):
            return match.group(1)
    return "none"


def missed(trace):
    """(file, line number, function, text, what) of each line that does not go all its ways."""
    for entry in json.loads(Path(trace).read_text(encoding="utf-8"))["files"]:
        path = ROOT / entry["file"]
        lines = path.read_text(encoding="utf-8").splitlines()
        for line in entry["lines"]:
            if line["gcovr/noncode"] or line["gcovr/excluded"]:
                continue
            untaken = sum(branch["count"] == 0 for branch in line["branches"])
            if line["count"] == 0:
                what = "never runs"
            elif untaken != 0:
                what = f"{untaken} of {len(line['branches'])} branches"
            else:
                continue
            number = line["line_number"]
            yield path.name, number, function_of(lines, number), lines[number - 1].strip(), what


def main():
    rows = excused()
    used = [False] * len(rows)
    count = wrong = 0
    for name, number, function, text, what in missed(sys.argv[1]):
        count += 1
        known = False
        for i, row in enumerate(rows):
            if row["file"] == name and row["function"] == function and row["text"] in text:
                used[i] = known = True
        if known:
            continue
        wrong += 1
        if "--list" in sys.argv:
            text = text.replace("|", "\\|")
            print(f"| `{name}` | `{function}` | `{text}` | {number}: {what} |")
        else:
            print(f"src/{name}:{number}: {function}: {what}: {text}")
    for row, was_used in zip(rows, used):
        if not was_used and not row["reason"].startswith("now and then"):
            wrong += 1
            where = f"{row['file']}, {row['function']}"
            print(f"docs/testing.md: {where}: a test reaches `{row['text']}`, or it is gone")
    print(f"{count} lines are missed in some way, {wrong} are not as docs/testing.md says")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
