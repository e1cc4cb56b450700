"""`tare pack` when system calls about files fail: each one, it alone, the next too, or all after it.

A file of which nothing can be told is not absent, and a folder that cannot be read on has not come
to its end. Whatever fails, the old model or the new one is there, or it is said what is where.
"""

import errno
import os
import re
import shlex
import shutil
import subprocess
import sys

import cli_support
from test_cli_pack import Pack

INDEX = "model.safetensors.index.json"
ALL = 1000
OUTPUT = "tare: standard output: Input/output error\n"
# What may be said when neither the old model nor the new one is all that is there.
COMPLETE = "has all of the new model|is in place, but its folder cannot be brought to the disk"
ASIDE = "has files of the old model that could not be moved back"
INCOMPLETE = "has files of the new model, which is not complete"
LITTER = "cannot be removed, and is needed no more|: has files of the old model"


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")
            if path.is_file()}


def has(found, wanted):
    return all(found.get(name) == data for name, data in wanted.items())


def visible(found):
    return {name: data for name, data in found.items() if not name.startswith(".tare-")}


class Faults(Pack):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out"
        self.write("in.safetensors", [(f"t{i}", "U8", [9], b"old" * 3) for i in range(4)])
        self.write("other.safetensors", [(f"t{i}", "U8", [9], b"new" * 3) for i in range(4)])
        self.good("pack", "in.safetensors", "-o", "old", "--shard-size=18") # 2 of 2
        (self.folder / "lone").mkdir()
        shutil.copy(self.folder / "old/model-00001-of-00002.safetensors", self.folder / "lone")
        (self.folder / "single").mkdir()
        shutil.copy(self.folder / "in.safetensors", self.folder / "single/model.safetensors")

    def fresh(self, before):
        shutil.rmtree(self.out, ignore_errors=True)
        if before is not None:
            shutil.copytree(self.folder / before, self.out)
        return content(self.out)

    def run_failing(self, arguments, error, at=0, count=1, **more):
        """(status, stdout, stderr, the calls that failed)"""
        reader, writer = os.pipe()
        environment = dict(os.environ, LD_PRELOAD=os.environ["TARE_FAIL_CALLS"], FAIL_AT=str(at),
                           FAIL_COUNT=str(count), FAIL_ERROR=str(error), FAIL_TELL=str(writer),
                           **more)
        done = subprocess.run([cli_support.program, "pack", *arguments], cwd=self.folder,
                              check=False, capture_output=True, env=environment,
                              pass_fds=[writer])
        os.close(writer)
        with open(reader, encoding="ascii") as told:
            calls = told.read().split()
        return done.returncode, done.stdout, done.stderr.decode(), calls

    def check_state(self, out, message, before, after):
        """Whether there is nothing beside the models."""
        found = content(self.out)
        seen = visible(found)
        if out != b"": # what was written
            self.assertEqual(seen, after)
        elif re.search(COMPLETE, message):
            self.assertTrue(has(seen, after), sorted(seen))
        elif ASIDE in message: # all of it, where it is said to be
            aside = message.split(": " + ASIDE)[0].rsplit("tare: ", 1)[1]
            old = {**seen, **content(self.folder / aside)}
            self.assertTrue(has(old, before), sorted(found))
            self.assertTrue(INDEX not in seen or has(seen, before), "both models in one")
        elif INCOMPLETE in message:
            self.assertTrue(has(seen, before), sorted(seen))
        else:
            self.assertEqual(seen, before)
        return len(found) == len(seen)

    def each_fault(self, before, *arguments, counts=(1,)):
        """Every call fails, and so many in all from there; the calls that did. Without a fault it
        succeeds, and so it does where each is interrupted once."""
        arguments = [*arguments, "-o", "out"]
        old = self.fresh(before)
        self.assertEqual(self.tare("pack", *arguments).status, 0)
        new = content(self.out)
        self.fresh(before)
        with self.subTest((arguments, "interrupted")):
            status, _, message, _ = self.run_failing(arguments, errno.EINTR)
            self.assertEqual((status, content(self.out)), (0, new), message)
        failed = set()
        said = ""
        for count in counts:
            for at in range(1, 1000):
                self.fresh(before)
                status, out, message, calls = self.run_failing(arguments, errno.EIO, at, count)
                if not calls:
                    break
                failed.add(calls[0])
                with self.subTest((arguments, at, count, calls[0], status, message)):
                    self.assertIn(status, (0, 1))
                    self.assertEqual(status == 0, out != b"" and OUTPUT not in message)
                    self.assertRegex(message, r"\A(tare: .+\n)*\Z")
                    self.assertTrue(status == 0 or message != "")
                    clean = self.check_state(out, message, old, new)
                    self.assertTrue(count > 1 or clean or re.search(LITTER, message))
                said += message
            self.assertGreater(at, 10)
        self.assertIn(OUTPUT, said)
        return failed

    def each_refusal(self, before, source, *arguments):
        """It is refused, whatever fails and whatever is interrupted; nothing changes."""
        arguments = [source, *arguments, "-o", "out", "--force"]
        old = self.fresh(before)
        with self.subTest((arguments, "interrupted")):
            status, _, message, _ = self.run_failing(arguments, errno.EINTR)
            self.assertEqual((status, content(self.out)), (1, old))
            self.assertRegex(message, "write to another place")
        for at in range(1, 1000):
            status, out, message, calls = self.run_failing(arguments, errno.EIO, at)
            with self.subTest((arguments, at, calls, message)):
                self.assertEqual((status, out, content(self.out)), (1, b"", old))
                self.assertRegex(message, r"\A(tare: .+\n)+\Z")
            if content(self.out) != old:
                self.fresh(before)
            if not calls:
                self.assertRegex(message, "write to another place")
                break
        self.assertGreater(at, 10)

    def test_over_another_model(self):
        failed = self.each_fault("old", "other.safetensors", "--force", "--shard-size=18",
                                 counts=(1, 2, ALL))
        self.assertLessEqual({"mkdtemp", "mkdir", "link", "rename", "unlink", "rmdir", "fsync"},
                             failed)
        self.assertTrue({"readdir", "readdir64"} & failed and {"fstatat", "fstatat64"} & failed)
        self.each_fault("old", "other.safetensors", "--force")
        self.each_fault("single", "other.safetensors", "--force", "--shard-size=18")

    def test_over_itself(self):
        self.each_fault("old", "out", "--force", "--shard-size=9", counts=(1, 2, ALL))
        self.each_fault("old", "out", "--force", "--shard-size=27")
        self.each_fault("old", "out", "--force")
        self.each_fault("single", "out", "--force", "--align=64")

    def test_to_a_new_place(self):
        self.each_fault(None, "in.safetensors", "--shard-size=18", counts=(1, 2, ALL))
        self.each_fault(None, "in.safetensors")

    def test_what_was_done_when_it_was_interrupted_is_done(self):
        arguments = ["other.safetensors", "-o", "out", "--force", "--shard-size=18"]
        self.fresh("old")
        self.assertEqual(self.tare("pack", *arguments).status, 0)
        new = content(self.out)
        done = set()
        for at in range(1, 1000):
            self.fresh("old")
            status, _, message, calls = self.run_failing(arguments, errno.EINTR, at, FAIL_LATE="1")
            if not calls:
                break
            if calls[0] in ("rename", "link", "unlink", "rmdir"):
                done.add(calls[0])
                with self.subTest((at, calls[0], message)):
                    self.assertEqual((status, content(self.out)), (0, new))
        self.assertEqual(done, {"rename", "link", "unlink", "rmdir"})

    def test_what_another_process_packs_meanwhile_stays(self):
        """At whatever call of ours it does so, no tensor is gone."""
        for before, ours, theirs in (("single", "18", ["--shard-size=9"]), ("old", "9", [])):
            command = shlex.join([cli_support.program, "pack", str(self.folder / "other.safetensors"),
                                  "-o", str(self.out), "--force", *theirs]) + " >/dev/null 2>&1 || :"
            for at in range(1, 1000):
                self.fresh(before)
                status, _, message, calls = self.run_failing(
                    ["out", "-o", "out", "--force", f"--shard-size={ours}"], errno.EIO, at,
                    FAIL_RUN=command)
                if not calls:
                    break
                files = visible(content(self.out))
                there = b"".join(files[name] for name in files if name.endswith(".safetensors"))
                with self.subTest((before, ours, theirs, at, calls, status, message, *files)):
                    self.assertTrue(all(b'"t%d"' % i in there for i in range(4)))
            self.assertGreater(at, 10)

    def test_what_would_lose_tensors_is_refused(self):
        self.each_refusal("old", "out", "--only=t0")
        self.each_refusal("old", "out", "--only=t0", "--shard-size=9")
        self.each_refusal("single", "out/model.safetensors", "--only=t0")
        self.each_refusal("lone", "out/model-00001-of-00002.safetensors", "--only=t0")


if __name__ == "__main__":
    if "TARE_FAIL_CALLS" not in os.environ:
        sys.exit("TARE_FAIL_CALLS is the library of fail_calls.c")
    cli_support.main()
