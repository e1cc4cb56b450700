"""Index files of which one byte is another: every command says something and ends as it should."""

import json
import os
import random
import struct

import cli_support

HEAD_SIZE, SECTION_COUNT = 448, 15 # docs/format_index.md
SHARD_NAMES, VALUES = 1, 13


class Damaged(cli_support.CliTest):
    def setUp(self):
        super().setUp()
        self.write("m.safetensors", [("a", "F32", [2, 2], None), ("layers.0.b", "U8", [3], None)],
                   metadata={"k": "v", "format": "pt"})
        self.write_gguf("m.gguf", [("a", "F32", [2, 8], None), ("layers.0.b", "Q8_0", [32], None)],
                        metadata=[("u8", "u8", 1), ("text", "string", "two"),
                                  ("numbers", "u32[]", [1, 2]), ("texts", "string[]", ["", "x"])])

    def index(self, name):
        """Where the index file of a model is, its bytes, and (offset, size) of its sections."""
        self.good("index", name)
        path = self.folder / (name + ".tareidx")
        data = path.read_bytes()
        parts = struct.unpack_from("<" + "QQQ" * SECTION_COUNT, data, 64)
        return path, data, [parts[i:i + 2] for i in range(0, len(parts), 3)]

    def write_changed(self, path, data, at, value):
        changed = bytearray(data)
        changed[at] = value
        path.write_bytes(changed)

    def run_one(self, what, *arguments):
        """Runs it; it must come to an end of its own, and give a reason where that is no good one."""
        result = self.tare(*arguments)
        said = f"{what}: {arguments}: status {result.status}: {result.err}"
        self.assertIn(result.status, (0, 1), said)
        self.assertNotRegex(result.err, "Sanitizer|runtime error", said)
        if result.status != 0:
            self.assertRegex(result.err, r"\Atare: .", said)
        elif "--json" in arguments:
            json.loads(result.out)
        return result

    def test_every_number_of_a_value_changed(self):
        damaged = 0
        for name in "m.safetensors", "m.gguf":
            path, data, sections = self.index(name)
            offset, size = sections[VALUES]
            for at in range(offset, offset + size, 4):
                self.write_changed(path, data, at, 0xFF)
                text = self.run_one(f"byte {at} of {size}", "meta", name).out
                entries = self.run_one(f"byte {at}", "meta", "--json", name).json["metadata"]
                unknown = [entry for entry in entries if entry["kind"] == "?"]
                self.assertEqual(text.count("(the index file is damaged)"), len(unknown))
                self.assertTrue(all(entry["value"] is None for entry in unknown))
                damaged += len(unknown)
        self.assertGreater(damaged, 20)

    def commands(self, name, bench):
        for command in "ls", "show", "stat", "meta", "hash", "load", "verify", "check", "pack":
            more = {"show": ["a"], "verify": ["manifest"],
                    "pack": ["-o", "out.safetensors", "--force"]}.get(command, [])
            yield [command, name, *more]
            if command in ("ls", "show", "meta"):
                yield [command, "--json", name, *more]
        yield ["cat", name, "a"]
        if bench:  # it takes longer than all others
            yield ["bench", "--seconds=0.1", name]
        yield ["index", name]  # last: it puts a whole one there

    def test_any_byte_changed(self):
        seed = int(os.environ.get("DAMAGE_SEED", random.randrange(2**32)))
        print(f"DAMAGE_SEED={seed}")
        chance = random.Random(seed)
        for name in "m.safetensors", "m.gguf":
            path, data, sections = self.index(name)
            (self.folder / "manifest").write_text(self.good("hash", name).out)
            looked_at = sections[SHARD_NAMES + 1][0]  # before it, digests are checked at once
            for i in range(4):
                at = chance.randrange(looked_at, len(data)) if i else chance.randrange(looked_at)
                value = chance.choice([0, 1, 0x40, 0x7F, 0xFF, data[at] ^ 1 << chance.randrange(8)])
                self.write_changed(path, data, at, value)
                for arguments in self.commands(name, i == 1):
                    self.run_one(f"DAMAGE_SEED={seed}: byte {at} is {value}", *arguments)


if __name__ == "__main__":
    cli_support.main()
