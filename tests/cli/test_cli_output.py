"""Where the output goes: terminals and colour, closed pipes, full disks, large models."""

import os
import pty
import re
import subprocess
import unittest

import cli_support

ESCAPE = re.compile("\x1b\\[[0-9;]*m")


class Output(cli_support.CliTest):
    def setUp(self):
        super().setUp()
        self.path = self.write("m.safetensors", [
            ("layers.0.w", "BF16", [64, 64], None), ("evil\x1b[31m", "U8", [1], None),
        ], metadata={"key": "val\x1b[31mue"})
        self.commands = (["ls", self.path], ["show", self.path, "layers.0.w"],
                         ["meta", self.path], ["check", self.path], ["stat", self.path])


class Colour(Output):
    def on_terminal(self, arguments, **environment):
        """What a terminal gets; its line ends turned back from \\r\\n."""
        primary, secondary = pty.openpty()
        done = subprocess.run([cli_support.program, *map(str, arguments)], stdout=secondary,
                              stderr=subprocess.PIPE, check=False,
                              env=dict(os.environ, **environment))
        os.close(secondary)
        shown = b"".join(cli_support.terminal_parts(primary))
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return shown.decode().replace("\r\n", "\n")

    @staticmethod
    def without_chance(text):
        """The time and the seed of the hash differ from run to run."""
        return re.sub(r"(open time|index) .*", "", text)

    def test_only_a_terminal_gets_colour_and_otherwise_the_same_text(self):
        for arguments in self.commands:
            with self.subTest(arguments[0]):
                coloured = self.on_terminal(arguments, TERM="xterm")
                plain = self.good(*arguments, environment={"TERM": "xterm"}).out
                self.assertRegex(coloured, ESCAPE)
                self.assertNotIn("\x1b", plain)
                self.assertEqual(self.without_chance(ESCAPE.sub("", coloured)),
                                 self.without_chance(plain))
                # Colour that is switched on is switched off again.
                self.assertEqual(len(ESCAPE.findall(coloured)), 2 * coloured.count("\x1b[0m"))

    def test_no_color_and_dumb_terminals_are_respected(self):
        for environment in ({"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}):
            for arguments in self.commands:
                self.assertNotIn("\x1b", self.on_terminal(arguments, **environment))
        # As no-color.org has it, an empty NO_COLOR does not count.
        self.assertIn("\x1b", self.on_terminal(self.commands[0], NO_COLOR="", TERM="xterm"))

    def test_json_and_help_have_no_colour(self):
        for arguments in (*([*command, "--json"] for command in self.commands), ["--help"],
                          ["ls", "--help"], ["--version"]):
            self.assertNotIn("\x1b", self.on_terminal(arguments, TERM="xterm"))


class Trouble(Output):
    def setUp(self):
        super().setUp()
        self.large = self.write("large.safetensors", [
            (f"model.layers.{number}.weight", "U8", [100], None) for number in range(5000)])

    def test_a_closed_pipe_is_no_error(self):
        for arguments in (["ls", self.large], ["ls", self.large, "--json"],
                          ["cat", self.large, "model.layers.0.weight"], ["--help"],
                          ["stat", "--all", self.large], ["check", self.large]):
            with self.subTest(arguments):
                reading, writing = os.pipe()
                os.close(reading)
                result = self.tare(*arguments, stdout=writing)
                os.close(writing)
                self.assertEqual((result.status, result.err), (0, ""))

    def test_a_reader_that_stops_early_is_no_error(self):
        with subprocess.Popen([cli_support.program, "ls", str(self.large)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as child:
            self.assertTrue(child.stdout.readline().startswith("NAME "))
            child.stdout.close()
            self.assertEqual((child.stderr.read(), child.wait()), ("", 0))

    def test_a_closed_pipe_does_not_hide_a_rejection(self):
        reading, writing = os.pipe()
        os.close(reading)
        result = self.tare("check", self.path, "absent", stdout=writing)
        os.close(writing)
        self.assertEqual(result.status, 1)

    @unittest.skipUnless(os.path.exists("/dev/full"), "there is no /dev/full here")
    def test_a_full_disk_is_an_error(self):
        for arguments in (*self.commands, ["ls", self.large], ["ls", self.large, "--json"],
                          ["cat", self.path, "layers.0.w"], ["--help"], ["--version"]):
            with self.subTest(arguments), open("/dev/full", "wb") as full:
                result = self.tare(*arguments, stdout=full)
                self.assertEqual((result.status, result.err),
                                 (1, "tare: standard output: No space left on device\n"))

    def test_a_closed_stdout_is_an_error(self):
        script = f'exec "{cli_support.program}" ls "{self.path}" >&-'
        done = subprocess.run(["sh", "-c", script], stderr=subprocess.PIPE, check=False)
        self.assertEqual((done.returncode, done.stderr),
                         (1, b"tare: standard output: Bad file descriptor\n"))

    def test_messages_come_after_what_was_printed_before(self):
        with open(self.folder / "both", "wb") as both:
            subprocess.run([cli_support.program, "check", self.path, "absent", self.path],
                           stdout=both, stderr=both, check=False)
        lines = (self.folder / "both").read_text().splitlines()
        self.assertEqual([line.partition(": ")[0] for line in lines],
                         [str(self.path), "tare", str(self.path)])


class Large(cli_support.CliTest):
    """Every command on 100,000 tensors gives the whole answer."""

    def test_all_commands(self):
        names = [f"model.layers.{layer}.mlp.experts.{expert}.{part}_proj.weight"
                 for layer in range(50) for expert in range(500)
                 for part in ("gate", "up", "down", "norm")]
        path = self.write("m.safetensors", [(name, "F8_E4M3", [1], None) for name in names])
        lines = self.good("ls", path).lines
        self.assertEqual([line.split()[0] for line in lines[1:-1]], names)
        self.assertEqual(lines[-1], "100000 tensors, 97.7 KiB")
        tensors = self.good("ls", path, "--json").json["tensors"]
        self.assertEqual([tensor["name"] for tensor in tensors], names)
        self.assertIn("model.layers.* (50)    100000    97.7 KiB  100.0%",
                      self.good("stat", path).lines)
        self.assertEqual(self.bad(1, "show", path, names[77777][6:] + "s").err.splitlines()[1:],
                         [f"tare: did you mean '{names[77777]}'?"])


if __name__ == "__main__":
    cli_support.main()
