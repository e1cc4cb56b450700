"""`tare cat`: a tensor's bytes, whole and nothing else."""

import base64
import os
import pty
import random
import subprocess

import cli_support


class Bytes(cli_support.CliTest):
    def setUp(self):
        super().setUp()
        self.data = bytes(range(256)) * 5
        self.path = self.write("m.safetensors", [
            ("before", "U8", [3], b"\xff\xff\xff"), ("t", "U8", [1280], self.data),
            ("empty", "F32", [0], b""), ("after", "U8", [2], b"\xff\xff")])

    def test_bytes_are_those_of_the_file(self):
        for name, data in (("t", self.data), ("empty", b"")):
            self.assertEqual(self.good("cat", self.path, name).bytes, data)

    def test_bytes_come_from_the_right_shard(self):
        cli_support.make_sharded(self.folder / "m", {
            "1.safetensors": {"tensors": [("a", "U8", [4], b"one."), ("b", "U8", [2], b"bb")]},
            "2.safetensors": {"tensors": [("c", "U8", [4], b"two.")]},
        })
        for name, data in (("a", b"one."), ("b", b"bb"), ("c", b"two.")):
            self.assertEqual(self.good("cat", "m", name).bytes, data)

    def test_more_than_one_piece(self):
        data = random.Random(1).randbytes(1 << 20) * 3 + b"end"
        path = self.write("big.safetensors", [("t", "U8", [len(data)], data)])
        self.assertEqual(self.good("cat", path, "t").bytes, data)
        result = self.good("cat", path, "t", "--json").json
        self.assertEqual(base64.b64decode(result["base64"], validate=True), data)

    def test_json_has_the_facts_and_base64(self):
        for size in range(6):
            path = self.write("s.safetensors", [("t", "U8", [size], self.data[250:250 + size])],
                              header_size=120)
            self.assertEqual(self.good("cat", path, "t", "--json").json, {
                "name": "t", "dtype": "U8", "shape": [size], "size": size, "offset": 128,
                "shard": 0, "file": str(path),
                "base64": base64.b64encode(self.data[250:250 + size]).decode()})

    def test_a_file_cut_short_meanwhile_is_an_error_and_no_crash(self):
        path = self.write("cut.safetensors", [("t", "U8", [4 << 20], None)])
        with subprocess.Popen([cli_support.program, "cat", str(path), "t"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            # The pipe is full long before the program is through with the tensor.
            child.stdout.read(1)
            os.truncate(path, 4096)
            _, message = child.communicate()
            self.assertEqual(child.returncode, 1)
            self.assertRegex(message.decode(), r"\Atare: .*tensor 't': .*shrank.*\n\Z")


class Terminal(cli_support.CliTest):
    def run_on_terminal(self, *arguments):
        """Runs with stdout on a terminal; gives the status, what came there, and stderr."""
        primary, secondary = pty.openpty()
        done = subprocess.run([cli_support.program, *map(str, arguments)], stdout=secondary,
                              stderr=subprocess.PIPE, check=False)
        os.close(secondary)
        shown = b"".join(cli_support.terminal_parts(primary))
        return done.returncode, shown, done.stderr.decode()

    def test_raw_bytes_are_refused_unless_forced(self):
        path = self.write("m.safetensors", [("t", "U8", [3], b"abc")])
        status, shown, message = self.run_on_terminal("cat", path, "t")
        self.assertEqual((status, shown), (2, b""))
        self.assertEqual(
            message, "tare: raw bytes are not for a terminal: redirect them, or use --force\n")
        self.assertEqual(self.run_on_terminal("cat", "--force", path, "t"), (0, b"abc", ""))
        status, shown, message = self.run_on_terminal("cat", "--json", path, "t")
        self.assertEqual((status, message), (0, ""))
        self.assertIn(b'"base64": "YWJj"', shown)


if __name__ == "__main__":
    cli_support.main()
