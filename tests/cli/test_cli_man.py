"""The man page: well-formed, and it has every command, option, JSON member and exit status."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

import cli_support

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "tare.1"


def members(value):
    """The keys of a JSON value at any depth."""
    if isinstance(value, dict):
        return set(value).union(*map(members, value.values()))
    return set().union(*map(members, value)) if isinstance(value, list) else set()


class Page(cli_support.CliTest):
    def setUp(self):
        super().setUp()
        self.page = PAGE.read_text()

    @unittest.skipUnless(shutil.which("man") and shutil.which("groff"), "man is not installed")
    def test_man_has_no_warnings(self):
        done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", PAGE], check=False,
                              stdin=subprocess.DEVNULL, capture_output=True)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn("EXIT STATUS", re.sub(".\x08", "", done.stdout.decode()))

    def test_all_commands_and_options_are_explained(self):
        text = self.good("--help").out
        commands = re.findall(r"(?m)^  ([a-z]+) ", text.partition("options:")[0])
        options = re.findall(r" --([a-z-]+)", text.partition("options:")[2].partition("\n\n")[0])
        self.assertEqual((len(commands), len(options)), (13, 26))
        for command in commands:
            self.assertRegex(self.page, rf"(?m)^\.It Cm {command}\b")
        for option in options:
            self.assertRegex(self.page, rf"(?m)^\.It .*Fl -{option}\b")

    def test_all_members_of_json_are_named(self):
        path = self.write("m.safetensors", [("t", "F32", [1], None)], metadata={"k": "v"})
        (self.folder / "bad").write_bytes(b"{")
        documents = [self.good(command, path, "--json").json for command in ("ls", "meta", "stat", "load",
                                                                                "hash")]
        documents.append(self.good("bench", "--seconds=0.1", path, "--json").json)
        documents += [self.good(command, path, "t", "--json").json for command in ("show", "cat")]
        gguf = self.write_gguf("m.gguf", [("t", "Q8_0", [32], None)],
                               metadata=[("k", "u8[]", [1])])
        documents += [self.good("meta", gguf, "--json").json,
                      self.good("show", gguf, "t", "--json").json]
        documents.append(self.good("pack", path, "-o", "out.safetensors", "--json").json)
        part = self.write_gguf("part.gguf", [("t", "I8", [1], None)],
                               metadata=[("split.count", "u16", 2)])
        documents.append(self.tare("check", path, "bad", part, "--json").json)
        (self.folder / "none").write_bytes(b"")
        documents.append(self.tare("verify", path, "none", "--json").json)
        documents.append(self.good("index", path, "--json").json)
        documents.append(self.good("--version", "--json").json)
        documents.append(self.good(
            "load", path, "--device=cuda:0", "--json",
            environment={"LD_LIBRARY_PATH": os.environ["TARE_FAKE_CUDA"]}).json)
        named = set(re.findall(r"(?m)^\.Li (\w+)", self.page))
        self.assertEqual(set().union(*map(members, documents)), named)


if __name__ == "__main__":
    cli_support.main()
