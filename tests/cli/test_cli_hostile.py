"""Names and metadata of strangers in a terminal: what `tare` prints of a hostile model, in every
command, to a pipe and to a terminal, in tables, JSON, messages and progress, holds nothing that a
terminal obeys.
"""

import json
import os
import pty
import re
import subprocess
import unicodedata

import cli_support

# Moves the cursor, sets a title, asks for the position, has a C1 control, turns text round.
EVIL = "e\x1b[2J\x1b]0;t\x07\x1b[6n\u009b31m\u202e\n\r\t\x08\x7f\u2028\ufeff!"
# What a shard may be called; control characters below 32 are refused.
EVIL_FILE = "s\u009b31m\u202e\u2028\u00a0"
# Colours and the bar's own erasing, of which a terminal gets some.
OWN = re.compile("\x1b\\[[0-9;]*m|\r\x1b\\[K")


def unsafe(text):
    """The characters of a text that are no text, but for line ends."""
    return sorted({f"U+{ord(c):04X}" for c in text
                   if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")})


# Format characters that are shown as they are: signs that stand around digits, joiners, which
# scripts and emoji need, and what only lays out hieroglyphs, shorthand and music.
KEPT = [(0x600, 0x605), (0x6DD, 0x6DD), (0x70F, 0x70F), (0x890, 0x891), (0x8E2, 0x8E2),
        (0x200C, 0x200D), (0x110BD, 0x110BD), (0x110CD, 0x110CD), (0x13430, 0x1345F),
        (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A)]
# What Unicode keeps for more format characters among those that there are.
RESERVED = [(0x2065, 0x2065), (0xE0000, 0xE001F)]


def is_control(code):
    return unicodedata.category(chr(code)) in ("Cc", "Cf", "Zl", "Zp")


def is_within(code, ranges):
    return any(first <= code <= last for first, last in ranges)


def is_escaped(code):
    """By the categories of Unicode: controls, formats, ends of lines and of paragraphs."""
    return is_within(code, RESERVED) or (is_control(code) and not is_within(code, KEPT))


class Hostile(cli_support.CliTest):
    def setUp(self):
        super().setUp()
        tensors = [(EVIL, "U8", [40], None), ("a", "F32", [2], None)]
        self.one = self.write("one.safetensors", tensors,
                              metadata={EVIL: EVIL, "format": EVIL})
        shards = {f"{EVIL_FILE}{number}.safetensors":
                  {"tensors": [(f"{EVIL}{number}", "U8", [1], None)],
                   "metadata": {EVIL: str(number)}}
                  for number in range(2)}
        cli_support.make_sharded(self.folder / "sharded", shards)
        self.gguf = self.write_gguf("m.gguf", [(EVIL[:20], "Q8_0", [32], None)], metadata=[
            (EVIL, "string", EVIL), ("list", "string[]", [EVIL, EVIL]),
            ("general.architecture", "string", EVIL)])
        odd = self.folder / "odd\x1b[31m\n"
        odd.mkdir()
        self.odd = odd / "m\x1b]0;t\x07.safetensors"
        self.odd.write_bytes(self.one.read_bytes())

    def commands(self, path, name):
        """Every command that opens a model, and ways in which each may fail."""
        near = name[:-1]
        for command in ("ls", "meta", "check", "stat", "hash", "load"):
            yield [command, path]
        yield ["bench", "--seconds=0.1", path]
        yield ["show", path, name]
        yield ["show", path, near]  # which names come near
        yield ["cat", path, near]
        yield ["ls", path, near]
        yield ["ls", path, EVIL + "absent"]
        yield ["load", path, EVIL + "absent"]
        yield ["load", "--threads=" + EVIL, path]
        yield ["stat", "--limit", EVIL, path]
        yield ["check", "--limit=name=3", path]
        yield ["check", "--limit=metadata=3", path]
        yield ["verify", path, "manifest"]
        yield ["pack", path, "-o", "out" + EVIL + ".safetensors", "--only", near + "absent"]
        yield ["pack", "--raw-quantized", path, "-o", "out.safetensors"]
        yield ["pack", "--force", path, "-o", EVIL + "/out.safetensors"]
        yield ["pack", "--force", path, "-o", "made" + EVIL + ".safetensors"]
        yield ["index", "--force", path, "-o", "none/" + EVIL]
        yield ["index", "--force", path, "-o", "made" + EVIL]
        yield ["ls", "--index", EVIL, path]

    def on_terminal(self, arguments):
        primary, secondary = pty.openpty()
        with subprocess.Popen([cli_support.program, *map(os.fspath, arguments)], stdout=secondary,
                              stderr=secondary, stdin=subprocess.DEVNULL, cwd=self.folder,
                              env=dict(os.environ, TERM="xterm")) as child:
            os.close(secondary)
            shown = b"".join(cli_support.terminal_parts(primary))
        self.assertIn(child.returncode, (0, 1, 2), arguments)
        return OWN.sub("", shown.decode().replace("\r\n", "\n"))

    def check_clean(self, arguments):
        with self.subTest(arguments[0], arguments=arguments):
            plain = self.tare(*arguments)
            self.assertIn(plain.status, (0, 1, 2))
            self.assertEqual((unsafe(plain.out), unsafe(plain.err)), ([], []))
            self.assertEqual(unsafe(self.on_terminal(arguments)), [])
            if arguments[0] in ("bench", "pack", "index"):
                return
            if "--json" not in arguments:
                typed = self.tare(*arguments, "--json")
                self.assertEqual((unsafe(typed.out), unsafe(typed.err)), ([], []))
                if typed.out:
                    json.loads(typed.out)

    def test_names_and_metadata_cannot_steer_a_terminal(self):
        (self.folder / "manifest").write_text("0" * 32 + "  " + "e\\x1b[2J\n")
        for path, name in ((self.one, EVIL), ("sharded", EVIL + "1"), (self.gguf, EVIL[:20]),
                           (self.odd, EVIL), (self.odd.parent, EVIL)):
            for arguments in self.commands(path, name):
                self.check_clean(arguments)

    def test_what_is_no_text_in_unicode_is_escaped_and_nothing_else(self):
        """In all blocks of 256 that have such characters, and in those beside them."""
        blocks = {code >> 8 for code in range(0x110000) if is_control(code)} | {0xE00}
        blocks = sorted({block + by for block in blocks for by in (-1, 0, 1)} - {-1})
        codes = [block << 8 | low for block in blocks for low in range(256)]
        names = ["".join(map(chr, codes[at:at + 256])) for at in range(0, len(codes), 256)]
        path = self.write("all.safetensors", [(name, "U8", [1], None) for name in names])
        escaped = {chr(code) for code in codes if is_escaped(code)}
        plain = self.tare("ls", path).out
        self.assertEqual({c for c in plain if c != "\n"}, set(map(chr, codes)) - escaped)
        for c in escaped - set("\t\r\n"):
            digits = f"x{ord(c):02x}" if c < "\x80" else \
                f"u{ord(c):04x}" if c < "\U00010000" else f"U{ord(c):08x}"
            self.assertIn("\\" + digits, plain)
        typed = self.tare("ls", path, "--json").out
        self.assertEqual({c for c in typed if c != "\n"}, set(map(chr, codes)) - escaped)
        self.assertEqual([one["name"] for one in json.loads(typed)["tensors"]], names)

    def test_what_is_wrong_with_a_file_is_told_in_clean_text(self):
        """Each rule that names a tensor, a key, a dtype or a file in its message."""
        name = json.dumps(EVIL)
        headers = {
            "dtype": f'{{{name}:{{"dtype":{name},"shape":[],"data_offsets":[0,1]}}}}',
            "field": f"{{{name}:{{}}}}",
            "shape": f'{{{name}:{{"dtype":"U8","shape":{name},"data_offsets":[0,1]}}}}',
            "metadata": f'{{"__metadata__":{{{name}:1}}}}',
            "twice": f'{{{name}:{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}},'
                     f'{name}:{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}}}',
            "key twice": f'{{"__metadata__":{{{name}:"",{name}:""}}}}',
            "raw": "{\"" + EVIL + "\":1}",
        }
        for what, header in headers.items():
            path = self.folder / f"{what}\x1b[1m.safetensors"
            data = header.encode()
            path.write_bytes(len(data).to_bytes(8, "little") + data + b"x")
            self.check_clean(["check", path])
            self.check_clean(["ls", path])
        folder = self.folder / "sharded"
        index = folder / "model.safetensors.index.json"
        file = next(folder.glob("*1.safetensors")).name
        absent = "absent" + EVIL_FILE + ".safetensors"
        for weight_map in ({EVIL: file}, {EVIL: EVIL}, {EVIL: absent},
                           {EVIL + "1": next(folder.glob("*0.safetensors")).name,
                            EVIL + "0": file}):
            index.write_text(json.dumps({"weight_map": weight_map}))
            self.check_clean(["check", folder])
        for other in ("a", "b"):
            (folder / f"{other}{EVIL_FILE}.safetensors.index.json").write_text("{}")
        index.unlink()
        self.check_clean(["check", folder])  # which of them, it asks
        (self.folder / f"{EVIL_FILE}-00001-of-00002.gguf").write_bytes(self.gguf.read_bytes())
        self.check_clean(["check", self.folder / f"{EVIL_FILE}-00001-of-00002.gguf"])

    def test_commands_and_options_that_are_none_are_told_in_clean_text(self):
        for arguments in ([EVIL], ["--" + EVIL], ["help", EVIL], ["ls", "-" + EVIL],
                          ["bench", "--backing=" + EVIL, "m.gguf"], ["check", EVIL], ["ls", EVIL]):
            self.check_clean(arguments)


if __name__ == "__main__":
    cli_support.main()
