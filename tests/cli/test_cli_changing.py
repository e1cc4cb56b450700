"""Index files that are written to, or cut short, while a command is at work on the model."""

import array
import fcntl
import os
import subprocess
import termios
import time
import unittest

import cli_support


def waiting(pipe):
    """Bytes that nobody has read yet."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def flip(path):
    """Every byte of the file is another one from now on, also where it is mapped."""
    data = path.read_bytes()
    with open(path, "r+b") as file:
        file.write(bytes(byte ^ 0xFF for byte in data))


def cut(path):
    os.truncate(path, 0)


@unittest.skipUnless(hasattr(fcntl, "F_SETPIPE_SZ"), "pipes have a size that is not known here")
class Changing(cli_support.CliTest):
    """What a part of a split file is said to be is the first thing after opening that comes to
    stderr: a pipe that has room for no more than its first word holds the program there."""

    FIRST = b"tare: "

    def setUp(self):
        super().setUp()
        tensors = [(f"layers.{i}.{name}", dtype, shape, None) for i in range(20)
                   for name, dtype, shape in (("a", "F32", [4, 8]), ("b", "Q8_0", [64]))]
        self.write_gguf("part.gguf", tensors, metadata=[
            ("split.count", "u16", 2), ("text", "string", "one"), ("list", "u32[]", [1, 2, 3])])
        self.good("index", "part.gguf", "-o", "whole.idx")
        self.index = self.folder / "part.gguf.tareidx"

    def held(self, arguments, change):
        """Runs it, with that change of the index file just after opening."""
        out, pipe = os.pipe()
        room = fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
        os.write(pipe, bytes(room - len(self.FIRST)))
        with subprocess.Popen([cli_support.program, *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=pipe, cwd=self.folder) as child:
            os.close(pipe)
            while waiting(out) < room and child.poll() is None:
                time.sleep(0.001)
            self.assertIsNone(child.returncode, "it ended before it said what it opened")
            change(self.index)
            with open(out, "rb") as err:
                said = err.read()[room - len(self.FIRST):]
            return cli_support.Result(child.wait(), child.stdout.read(), said)

    def same(self, *arguments, members=None):
        """Nothing of that comes to light."""
        for change in flip, cut:
            with self.subTest((arguments, change.__name__)):
                self.index.write_bytes((self.folder / "whole.idx").read_bytes())
                wanted = self.tare(*arguments)
                got = self.held(arguments, change)
                self.assertRegex(wanted.err, r"\Atare: part.gguf: part 1 of 2 of a split file; .+\n\Z")
                self.assertEqual((got.status, got.err), (0, wanted.err))
                if members is None:
                    self.assertEqual(got.bytes, wanted.bytes)
                for member in members or ():
                    self.assertEqual(got.json[member], wanted.json[member])

    def test_tables_and_json_are_of_the_model_that_was_opened(self):
        self.same("ls", "part.gguf")
        self.same("ls", "--json", "part.gguf", "layers.1")
        self.same("meta", "part.gguf", "--all")
        self.same("meta", "--json", "part.gguf")

    def test_so_is_one_tensor(self):
        self.same("show", "part.gguf", "layers.3.a")
        self.same("show", "--json", "part.gguf", "layers.3.b")
        self.same("cat", "part.gguf", "layers.3.b")

    def test_so_are_sums_and_what_is_loaded(self):
        self.same("stat", "--json", "part.gguf", members=("tensors", "size", "dtypes", "groups"))
        self.same("load", "--json", "part.gguf", members=("tensors", "size", "block_size"))

    def test_so_are_parts_of_tensors(self):
        self.same("load", "--json", "part.gguf", "layers.", "--slice=layers.*.a=0:1",
                  members=("tensors_in_part", "size", "block_size"))


if __name__ == "__main__":
    cli_support.main()
