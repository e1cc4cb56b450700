#!/usr/bin/env python3
"""Compares what no test reaches with what docs/testing.md says about it.

    tests/coverage.py TRACE [--list]

TRACE is the JSON of gcovr. A line or a branch that was never taken must stand in the table under
"What no test reaches", as a file and a piece of the line's text, so that nothing has to be changed
when lines move; and what stands there must be such a line. With --list what is missing in the table is
printed as rows for it.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "testing.md"
ROW = re.compile(r"^\| `(?P<file>[\w.]+)` \| `(?P<text>.+?)` \| (?P<reason>.+) \|$")


def excused():
    """The rows of the table."""
    _, _, section = TABLE.read_text(encoding="utf-8").partition("\n## What no test reaches\n")
    section = section.partition("\n## ")[0]
    rows = [match.groupdict() for line in section.splitlines() if (match := ROW.match(line))]
    for row in rows:
        row["text"] = row["text"].replace("\\|", "|")
    return rows


def missed(trace):
    """(file, line number, text, what) of each line that never ran or branches one way only."""
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
            yield path.name, line["line_number"], lines[line["line_number"] - 1].strip(), what


def main():
    rows = excused()
    used = [False] * len(rows)
    count = wrong = 0
    for name, number, text, what in missed(sys.argv[1]):
        count += 1
        known = False
        for i, row in enumerate(rows):
            if row["file"] == name and row["text"] in text:
                used[i] = known = True
        if known:
            continue
        wrong += 1
        if "--list" in sys.argv:
            print(f"| `{name}` | `{text.replace('|', chr(92) + '|')}` | {number}: {what} |")
        else:
            print(f"src/{name}:{number}: {what}: {text}")
    for row, was_used in zip(rows, used):
        if not was_used:
            wrong += 1
            print(f"docs/testing.md: {row['file']}: a test reaches `{row['text']}`, or it is gone")
    print(f"{count} lines are missed in some way, {wrong} are not as docs/testing.md says")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
