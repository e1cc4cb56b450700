"""`tare pack` loses nothing: over the model that it reads, when a step fails, when it is stopped."""

import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import time

import cli_support
from test_cli_pack import Pack, read_model


class OntoItself(Pack):
    """Over the model that is read: all of it may be written anew, and nothing of it is lost."""

    def setUp(self):
        super().setUp()
        rng = random.Random(5)
        self.tensors = [(f"t{i}", "U8", [i + 1], rng.randbytes(i + 1)) for i in range(6)]
        self.single = self.write("one/s.safetensors", self.tensors)
        self.good("pack", self.single, "-o", "split", "--shard-size=7") # t0-t2, t3, t4, t5
        self.shards = [f"split/model-0000{i}-of-00004.safetensors" for i in range(1, 5)]
        self.index = "split/model.safetensors.index.json"
        os.symlink("split", self.folder / "link")

    def content(self):
        return {str(path): path.read_bytes() for path in sorted(self.folder.rglob("*"))
                if path.is_file() and not path.is_symlink()}

    def refused(self, why, *arguments):
        before = self.content()
        result = self.bad(1, "pack", *arguments, "--force")
        self.assertRegex(result.err, why)
        self.assertEqual(self.content(), before)

    def test_a_part_of_it_is_refused_whatever_leads_there(self):
        os.link(self.single, self.folder / "hard.safetensors")
        os.symlink("one/s.safetensors", self.folder / "soft.safetensors")
        os.symlink("../split/" + os.path.basename(self.shards[1]),
                   self.folder / "one/n-00001-of-00002.safetensors")
        lost = "would be lost; write to another place"
        for source, target in (
                ("one/s.safetensors", "one/s.safetensors"),
                ("one/s.safetensors", "one/../one/s.safetensors"),
                ("one/s.safetensors", self.folder / "one" / "s.safetensors"),
                ("one/s.safetensors", "hard.safetensors"),
                ("hard.safetensors", "one/s.safetensors"),
                ("one/s.safetensors", "soft.safetensors"),
                ("soft.safetensors", "soft.safetensors"),
                ("soft.safetensors", "one/s.safetensors"),
                ("split", "split"), ("split", "split/"), ("split/", "split/model.safetensors"),
                ("split", "link"), ("link", "split"), ("link", "link/model.safetensors"),
                ("split/../split", "split"), (self.index, "split"), (self.index, "link/"),
                ("link/model.safetensors.index.json", "split/model.safetensors"),
                ("split", "one/n.safetensors")):
            for more in ([], ["--shard-size=1"]):
                with self.subTest((source, target, more)):
                    self.refused(lost, source, "-o", target, "--only=t1", "--only=t2", *more)

    def test_whatever_directory_it_is_called_from(self):
        before = self.content()
        for source, target in ((".", "."), (".", "model.safetensors"), (".", "./"),
                               ("model.safetensors.index.json", "model.safetensors"),
                               ("../link", "../split"), (self.folder / "split", ".")):
            with self.subTest((source, target)):
                done = subprocess.run(
                    [cli_support.program, "pack", source, "-o", target, "--force", "--only=t5"],
                    cwd=self.folder / "split", check=False, capture_output=True)
                self.assertEqual(done.returncode, 1)
                self.assertIn(b"would be lost", done.stderr)
                self.assertEqual(self.content(), before)

    def test_other_shards_of_the_same_model_are_not_lost(self):
        why = "is not of it; move it, or write to another place"
        for more in ([], ["--shard-size=1"]):
            self.refused(why, self.shards[0], "-o", "split", *more)
            self.refused(why, self.shards[3], "-o", "link/model.safetensors", *more)
        os.remove(self.folder / self.index)
        self.refused(why, self.shards[0], "-o", "split")

    def test_an_index_stays_while_a_tensor_is_left_out(self):
        """Even where its shards have names that would not be written over."""
        files = {name: {"tensors": [(name[0], "U8", [1], b"x")]}
                 for name in ("a.safetensors", "b.safetensors")}
        cli_support.make_sharded(self.folder / "own", files)
        self.refused("model.safetensors.index.json: is of own, .* 1 of its tensors",
                     "own", "-o", "own", "--only=a")
        self.refused("is of own/model.safetensors.index.json",
                     "own/model.safetensors.index.json", "-o", "own", "--only=a",
                     "--shard-size=1")

    def test_all_of_it_is_written_anew(self):
        wanted = self.good("hash", self.single).out
        os.chmod(self.single, 0o600)
        for options in ([], ["--align=4096"], ["--only=t", "--only=t1"]):
            self.good("pack", self.single, "-o", self.single, "--force", *options)
            self.assertEqual(self.good("hash", self.single).out, wanted)
        for source, more in (("split", ["--shard-size=9"]), ("link", ["--shard-size=10"]),
                             ("split", ["--shard-size=9", "--align=64"]), (self.index, []),
                             ("split", ["--shard-size=1"]), ("link/", [])):
            with self.subTest((source, more)):
                self.assertEqual(self.tare("pack", source, "-o", "split", "--force", *more).status, 0)
                self.assertEqual(self.good("hash", "split").out, wanted)
                self.assertEqual([name for name in self.entries("split") if "tare" in name], [])

    def test_another_place_is_free(self):
        self.good("pack", "split", "-o", "other", "--only=t1")
        self.good("pack", "split", "-o", "split/part.safetensors", "--only=t1")
        self.good("pack", "split", "-o", "split/part.safetensors", "--only=t2", "--force")
        self.assertEqual(list(read_model(self.folder / "split/part.safetensors")[1]), ["t2"])
        target = "split/model.safetensors" # the folder would have two models
        result = self.tare("pack", self.single, "-o", target, "--only=t1", "--force")
        self.assertEqual((result.status, result.err.count("\n")), (0, 4))
        self.assertEqual(self.entries("split"), ["model.safetensors", "part.safetensors"])


def heed_signals():
    """Whoever runs the tests in the background or under nohup has the program ignore some."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Failures(Pack):
    """What is left when writing fails: all that was there before, and nothing else."""

    def setUp(self):
        super().setUp()
        self.path = self.write("m.safetensors",
                               [(f"t{i}", "U8", [400000], None) for i in range(6)])
        self.out = self.folder / "out"
        self.out.mkdir()

    def check_nothing_changes(self, out, environment, *arguments):
        """Fails in an empty folder, in one that is not there, and over a model, as `environment`
        makes it; the space is enough for the old model and not for the new one."""
        for before in (None, {}, {"model.safetensors": b"old"},
                       {"model.safetensors.index.json": b"{}",
                        "model-00001-of-00002.safetensors": b"1",
                        "model-00001-of-00006.safetensors": b"2"}):
            for split in ([], ["--shard-size=400000"]):
                with self.subTest((arguments, before, split)):
                    if before is not None:
                        out.mkdir(exist_ok=True)
                        for name, content in before.items():
                            (out / name).write_bytes(content)
                    done = subprocess.run(
                        [cli_support.program, "pack", self.path, "-o", out, "--force", *split,
                         *arguments], cwd=self.folder, check=False, capture_output=True,
                        **environment)
                    self.assertEqual((done.returncode, done.stdout), (1, b""))
                    self.assertRegex(done.stderr.decode(), r"\Atare: .*(space|large).*\n\Z")
                    self.assertNotIn(b".tare-", done.stderr) # a name that is gone by then
                    self.assertEqual(out.exists(), before is not None)
                    now = {p.name: p.read_bytes() for p in out.iterdir()} if out.exists() else None
                    self.assertEqual(now, before)
                    for name in before or {}:
                        os.remove(out / name)
            if before is not None:
                out.rmdir()

    def test_a_limit_on_the_size_of_files(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (300000, 300000))
        self.out.rmdir()
        self.check_nothing_changes(self.out, {"preexec_fn": limit})

    def test_a_full_disk(self):
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", self.out]
        if os.geteuid() != 0 or subprocess.run(mount, check=False,
                                               stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("no file system can be mounted here, so there is no disk to fill")
        self.addCleanup(subprocess.run, ["umount", self.out], check=True)
        self.check_nothing_changes(self.out / "sub", {})

    def test_a_file_that_cannot_be_replaced(self):
        """A step fails when some files are in their places already: all goes back."""
        mounted = self.folder / "mounted"
        mounted.write_bytes(b"mounted")
        old = {f"model-{i:05}-of-00006.safetensors": b"%d" % i for i in (1, 2, 3, 5)}
        old["model.safetensors.index.json"] = b"{}"
        old["model-00001-of-00002.safetensors"] = old["model.safetensors"] = b"other"
        for name, content in old.items():
            (self.out / name).write_bytes(content)
        for name in ("model-00003-of-00006.safetensors", "model.safetensors.index.json"):
            busy = self.out / name # a place where something is mounted is not renamed
            mount = ["mount", "--bind", mounted, busy]
            if os.geteuid() != 0 or subprocess.run(mount, check=False,
                                                   stderr=subprocess.DEVNULL).returncode != 0:
                self.skipTest("nothing can be mounted here, so that every file can be replaced")
            try:
                result = self.bad(1, "pack", self.path, "-o", self.out, "--force",
                                  "--shard-size=400000")
            finally:
                subprocess.run(["umount", busy], check=True)
            self.assertRegex(result.err, f"\\Atare: .*{name}: .*busy\n\\Z")
            self.assertEqual({p.name: p.read_bytes() for p in self.out.iterdir()}, old)
            for i in (1, 2, 3, 5): # once more, where no name of a shard is taken
                (self.out / f"model-{i:05}-of-00006.safetensors").unlink(missing_ok=True)
                old.pop(f"model-{i:05}-of-00006.safetensors", None)

    def large(self):
        """A model that takes a while, most of it a hole."""
        size = 1 << 30
        header = json.dumps({"t": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
        path = self.folder / "large.safetensors"
        with path.open("wb") as file: # a hole but for its header
            file.write(struct.pack("<Q", len(header)) + header.encode())
            file.truncate(8 + len(header) + size)
        return path

    def interrupt(self, number, prepare, *arguments):
        """Packs, and sends a signal as soon as there is something new in the folder; once more where
        that came too late. (status, stdout, stderr)"""
        for _ in range(20):
            prepare()
            before = len(self.entries("out"))
            command = [cli_support.program, "pack", *arguments, "-o", self.out, "--force"]
            with subprocess.Popen(command, preexec_fn=heed_signals, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as child:
                while len(self.entries("out")) == before and child.poll() is None:
                    time.sleep(0.001)
                child.send_signal(number)
                out, message = child.communicate()
            if child.returncode != 0:
                return child.returncode, out, message
        return self.fail("it always ends before the signal comes")

    def test_a_signal(self):
        path = self.large()
        old = self.out / "model.safetensors"
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            ended = self.interrupt(number, lambda: old.write_bytes(b"old"), path)
            self.assertEqual(ended, (128 + number, b"", b"tare: stopped\n"))
            self.assertEqual(self.entries("out"), ["model.safetensors"])
            self.assertEqual(old.read_bytes(), b"old")

    def test_a_sudden_end_leaves_the_old_model(self):
        cli_support.make_sharded(self.folder / "both", {
            "a.safetensors": {"tensors": [("a", "U8", [1 << 20], None)]},
            "b.safetensors": {"tensors": [("t", "U8", [1], None)]}})
        os.rename(self.large(), self.folder / "both/b.safetensors")
        self.good("pack", self.path, "-o", "old", "--shard-size=1MB")

        def prepare():
            shutil.rmtree(self.out)
            shutil.copytree(self.folder / "old", self.out)

        def listed(folder):
            return self.good("ls", folder, "--json").json["tensors"]

        for split in ([], ["--shard-size=1MB"]):
            for _ in range(20):
                ended = self.interrupt(signal.SIGKILL, prepare, self.folder / "both", *split)
                self.assertEqual(ended[0], -signal.SIGKILL)
                if listed(self.out) == listed("old"):
                    break
                # It came when the new model was in place, and files of the old one were left.
                self.assertEqual({tensor["name"] for tensor in listed(self.out)}, {"a", "t"})
            self.assertEqual(listed(self.out), listed("old"))


class Killed(Pack):
    """Ended at each step that changes the folder: the old model or the new one is there."""

    CALLS = "rename,renameat,renameat2,link,linkat,unlink,unlinkat"

    def killed_at(self, number, source, *arguments):
        """False where there are fewer steps."""
        command = ["strace", "-f", "-o", "/dev/null", "-e", "trace=" + self.CALLS, "-e",
                   f"inject={self.CALLS}:signal=KILL:when={number}", cli_support.program, "pack",
                   source, "-o", "out", "--force", *arguments]
        done = subprocess.run(command, cwd=self.folder, check=False, capture_output=True,
                              env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
        self.assertIn(done.returncode, (0, -signal.SIGKILL), done.stderr)
        return done.returncode != 0

    def state(self, old, new):
        """What a killed program left."""
        out = self.folder / "out"
        found = self.tare("hash", "out")
        if found.status == 0:
            return {old: "old", new: "new"}[found.out]
        if old is None: # nothing, or an index that says what is missing
            self.assertRegex(found.err, r"no .safetensors or|model-0000.-of-0000.\.safetensors': cannot open")
            return "none"
        aside = [path for path in out.glob(".tare-*/old")]
        if aside:
            self.assertFalse((out / "model.safetensors.index.json").exists())
            for path in aside[0].iterdir():
                path.rename(out / path.name)
            self.assertEqual(self.good("hash", "out").out, old)
            return "aside"
        self.assertIn("name one", found.err)
        self.assertIn(self.good("hash", "out/model.safetensors").out, (old, new))
        return "both"

    def test_at_every_step(self):
        if shutil.which("strace") is None or subprocess.run(
                ["strace", "-o", "/dev/null", "true"], check=False,
                stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("strace is missing, or not allowed to trace here")
        digests = {}
        for name, count, byte in (("old", 3, b"1"), ("new", 3, b"2"), ("less", 2, b"3")):
            path = self.write(name + ".safetensors",
                              [(f"t{i}", "U8", [9], byte * 9) for i in range(count)])
            digests[name] = self.good("hash", path).out
        split = ["--shard-size=9"]
        for before, name, after, wanted in ((split, "new", split, {"old", "aside", "new"}),
                                            (split, "less", split, {"old", "new"}),
                                            (split, "new", [], {"old", "both"}),
                                            ([], "new", split, {"old", "new", "both"}),
                                            ([], "new", [], {"old", "new"}),
                                            (None, "new", split, {"none", "new"}),
                                            (None, "less", split, {"none", "new"}),
                                            (None, "new", [], {"none", "new"})):
            states = set()
            for number in range(1, 100):
                shutil.rmtree(self.folder / "out", ignore_errors=True)
                (self.folder / "out").mkdir()
                if before is not None:
                    self.good("pack", "old.safetensors", "-o", "out", *before)
                if not self.killed_at(number, name + ".safetensors", *after):
                    break
                states.add(self.state(digests["old"] if before is not None else None,
                                      digests[name]))
            self.assertGreater(number, 1)
            self.assertLessEqual(states, wanted, (before, name, after))
            self.assertEqual(self.good("hash", "out").out, digests[name])


if __name__ == "__main__":
    cli_support.main()
