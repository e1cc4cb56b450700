"""The build backend: scikit-build-core, and a header that a bare machine lacks.

The library compiles xxHash in from its header. Where no xxhash.h is found it is taken out of the
source distribution of the package xxhash, by pip, of one version and with its digest checked.
"""

import os
import pathlib
import shlex
import subprocess
import sys
import tarfile
import tempfile

from scikit_build_core import build as backend

SOURCE = (
    "xxhash==3.5.0 --hash=sha256:84f2caddf951c9cbf8dc2e22a89d4ccf5d86391ac6418fe81e3c67d0cf60b45f\n"
)

build_sdist = backend.build_sdist
get_requires_for_build_sdist = backend.get_requires_for_build_sdist
prepare_metadata_for_build_wheel = backend.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = backend.prepare_metadata_for_build_editable


def has_header():
    compiler = shlex.split(os.environ.get("CC", "cc"))
    flags = shlex.split(os.environ.get("CPPFLAGS", "") + " " + os.environ.get("CFLAGS", ""))
    try:
        found = subprocess.run(
            [*compiler, *flags, "-E", "-x", "c", "-"],
            input=b"#include <xxhash.h>\n",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except OSError:
        return True  # CMake says what is wrong with the compiler
    return found.returncode == 0


def is_given(settings):
    return any(
        "TARE_XXHASH_INCLUDE_DIR" in f"{key}={value}" for key, value in (settings or {}).items()
    )


def fetch_header(folder):
    wanted = pathlib.Path(folder, "wanted.txt")
    wanted.write_text(SOURCE, encoding="ascii")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary",
            "xxhash",
            "--require-hashes",
            "-r",
            wanted,
            "-d",
            folder,
        ],
        check=True,
    )
    (archive,) = pathlib.Path(folder).glob("xxhash-*.tar.gz")
    with tarfile.open(archive) as files:
        (header,) = (m for m in files.getmembers() if m.name.endswith("/deps/xxhash/xxhash.h"))
        pathlib.Path(folder, "xxhash.h").write_bytes(files.extractfile(header).read())


def with_header(build, settings, *arguments):
    if has_header() or is_given(settings):
        return build(*arguments)
    with tempfile.TemporaryDirectory() as folder:
        fetch_header(folder)
        given = dict(settings or {})
        given["cmake.define.TARE_XXHASH_INCLUDE_DIR"] = folder
        return build(arguments[0], given, *arguments[2:])


def requires(wanted, settings):
    return wanted if has_header() or is_given(settings) else [*wanted, "pip"]


def get_requires_for_build_wheel(config_settings=None):
    return requires(backend.get_requires_for_build_wheel(config_settings), config_settings)


def get_requires_for_build_editable(config_settings=None):
    return requires(backend.get_requires_for_build_editable(config_settings), config_settings)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return with_header(
        backend.build_wheel, config_settings, wheel_directory, config_settings, metadata_directory
    )


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return with_header(
        backend.build_editable,
        config_settings,
        wheel_directory,
        config_settings,
        metadata_directory,
    )
