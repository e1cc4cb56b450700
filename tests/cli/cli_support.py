"""What the tests of the `tare` program share: running it, and making small models for it.

The program's path is the first argument of every test file, or the environment's TARE.
"""

import fcntl
import json
import math
import os
import pathlib
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import unittest

BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}

# GGUF: a number, and the elements and bytes of a block, for each type of tensors that tests write.
GGUF_TYPES = {
    "F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q8_0": (8, 32, 34),
    "Q4_K": (12, 256, 144), "IQ2_XXS": (16, 256, 66), "I8": (24, 1, 1), "I16": (25, 1, 2),
    "I32": (26, 1, 4), "I64": (27, 1, 8), "F64": (28, 1, 8), "BF16": (30, 1, 2),
    "MXFP4": (39, 32, 17),
}
GGUF_KINDS = {"u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"),
              "i32": (5, "i"), "f32": (6, "f"), "bool": (7, "B"), "string": (8, ""),
              "u64": (10, "Q"), "i64": (11, "q"), "f64": (12, "d")}

program = os.environ.get("TARE", "")


def terminal_parts(primary):
    """What comes out of a terminal, as it comes, until its other end is closed; closes it."""
    while True:
        try:
            part = os.read(primary, 65536)
        except OSError: # how Linux says that the other end is closed
            break
        if not part:
            break
        yield part
    os.close(primary)


def on_terminal(arguments, prepare=None, until=None, send=None, columns=0, **environment):
    """Runs it with a terminal for stderr: (status, what the terminal got).

    The terminal has so many columns; with 0 it does not know.

    Once that has `until` in it, the program is sent the signal `send`.
    """
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    with subprocess.Popen([program, *map(os.fspath, arguments)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=secondary,
                          preexec_fn=prepare, env=dict(os.environ, **environment)) as child:
        os.close(secondary)
        shown = b""
        for part in terminal_parts(primary):
            shown += part
            if until is not None and until in shown:
                child.send_signal(send)
                until = None
    return child.returncode, shown


def make_model(tensors, metadata=None, header_size=None):
    """The bytes of a safetensors file of (name, dtype, shape, data) in this order.

    `data` None is zeros of the right size. `header_size` pads the header to that many bytes.
    """
    header = {}
    if metadata is not None:
        header["__metadata__"] = metadata
    parts = []
    end = 0
    for name, dtype, shape, data in tensors:
        if data is None:
            data = bytes(math.prod(shape) * BITS[dtype] // 8)
        begin, end = end, end + len(data)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
        parts.append(data)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    size = header_size if header_size is not None else -(-len(text) // 8) * 8
    assert size >= len(text)
    return struct.pack("<Q", size) + text.ljust(size) + b"".join(parts)


def gguf_string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_value(kind, value):
    """A value behind its type; "u8[]" and such are arrays."""
    number, form = GGUF_KINDS[kind.removesuffix("[]")]
    pack = gguf_string if kind.startswith("string") else lambda item: struct.pack("<" + form, item)
    if not kind.endswith("[]"):
        return struct.pack("<I", number) + pack(value)
    return struct.pack("<IIQ", 9, number, len(value)) + b"".join(map(pack, value))


def make_gguf(tensors, metadata=(), alignment=32):
    """The bytes of a GGUF file of (name, dtype, shape slowest first, data) and (key, kind, value).

    `data` None is zeros of the right size.
    """
    if alignment != 32:
        metadata = [*metadata, ("general.alignment", "u32", alignment)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(gguf_string(key) + gguf_value(*value) for key, *value in metadata)
    body = b""
    for name, dtype, shape, data in tensors:
        number, elements, size = GGUF_TYPES[dtype]
        data = data if data is not None else bytes(math.prod(shape) // elements * size)
        head += gguf_string(name) + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}QIQ", *reversed(shape), number, len(body))
        body += data.ljust(-(-len(data) // alignment) * alignment, b"\0")
    if tensors:
        head = head.ljust(-(-len(head) // alignment) * alignment, b"\0")
    return head + body


def make_sharded(folder, shards):
    """Writes {file name: make_model arguments} and the index over them into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    weight_map = {}
    for file_name, arguments in shards.items():
        (folder / file_name).parent.mkdir(parents=True, exist_ok=True)
        (folder / file_name).write_bytes(make_model(**arguments))
        weight_map.update((tensor[0], file_name) for tensor in arguments["tensors"])
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


class Result:
    def __init__(self, status, out, err):
        self.status = status
        self.bytes = out
        self.err = err.decode()

    @property
    def out(self):
        return self.bytes.decode()

    @property
    def lines(self):
        return self.out.splitlines()

    @property
    def json(self):
        return json.loads(self.out)


class CliTest(unittest.TestCase):
    """A folder that goes away, and `tare`."""

    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tare-cli-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, tensors, **more):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_model(tensors, **more))
        return path

    def write_gguf(self, name, tensors, **more):
        path = self.folder / name
        path.write_bytes(make_gguf(tensors, **more))
        return path

    def tare(self, *arguments, stdout=subprocess.PIPE, environment=None):
        full = dict(os.environ, **(environment or {}))
        done = subprocess.run([program, *map(os.fspath, arguments)], stdin=subprocess.DEVNULL,
                              stdout=stdout, stderr=subprocess.PIPE, env=full, check=False,
                              cwd=self.folder)
        return Result(done.returncode, done.stdout or b"", done.stderr)

    def good(self, *arguments, **more):
        """Runs it; it must succeed without a word on stderr."""
        result = self.tare(*arguments, **more)
        self.assertEqual((result.status, result.err), (0, ""))
        return result

    def bad(self, status, *arguments, **more):
        """Runs it; it must fail with that status, say so, and write nothing to stdout."""
        result = self.tare(*arguments, **more)
        self.assertEqual((result.status, result.out), (status, ""))
        self.assertRegex(result.err, r"\A(tare: .+\n)+\Z")
        return result


def main():
    global program
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        program = sys.argv.pop(1)
    if not program:
        sys.exit("usage: %s PATH_OF_TARE" % sys.argv[0])
    program = os.path.abspath(program)
    # The tests of colour decide for themselves.
    for name in ("NO_COLOR", "TERM"):
        os.environ.pop(name, None)
    unittest.main(module="__main__")
