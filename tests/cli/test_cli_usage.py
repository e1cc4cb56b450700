"""Options, help, versions, and what is said to those who mistype."""

import re

import cli_support

COMMANDS = ("ls", "show", "cat", "meta", "check", "stat", "bench", "load", "hash", "verify",
            "pack", "help")
NEEDED = {"ls": ["M"], "show": ["M", "N"], "cat": ["M", "N"], "meta": ["M"], "check": ["M"],
          "stat": ["M"], "bench": ["M"], "load": ["M"], "hash": ["M"], "verify": ["M", "F"],
          "pack": ["M", "-oout.safetensors"]}


class Help(cli_support.CliTest):
    def test_the_program_lists_its_commands_and_an_example(self):
        text = self.good("--help").out
        for command in COMMANDS:
            self.assertRegex(text, rf"(?m)^  {command} ")
        self.assertIn("exit status: 0 ", text)
        self.assertRegex(text, r"example:\n  tare ls ")
        for arguments in (["-h"], ["help"], ["help", "--help"]):
            shown = self.good(*arguments).out
            self.assertEqual(shown == text, arguments != ["help", "--help"])

    def test_each_command_has_usage_options_and_an_example(self):
        for command in COMMANDS:
            with self.subTest(command):
                text = self.good(command, "--help").out
                self.assertTrue(text.startswith(f"usage: tare {command} [options] "))
                self.assertRegex(text, rf"\nexample:\n  tare {command} .+\n\Z")
                self.assertRegex(text, r"-h, --help")
                self.assertEqual(self.good("help", command).out, text)
                self.assertEqual(self.good("-h", command, "more", "operands").out, text)
                self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_each_option_is_listed_where_it_is_taken(self):
        owners = {"--json": set(COMMANDS) - {"help"}, "--backing": {"bench"},
                  "--all": {"stat", "meta"}, "--force": {"cat", "pack"}, "--values": {"show"},
                  "--seconds": {"bench"}, "--seed": {"bench"}, "--direct": {"load"},
                  "--buffered": {"load"}, "--chunk": {"load"}, "--in-flight": {"load"},
                  "--align": {"load", "pack"}, "--threads": {"load", "hash", "verify"},
                  "--drop-behind": {"load", "hash", "verify"}, "--output": {"pack"},
                  "--only": {"pack"}, "--shard-size": {"pack"}, "--raw-quantized": {"pack"}}
        path = self.write("m.safetensors", [("t", "U8", [1], None)])
        (self.folder / "t").write_bytes(self.good("hash", path).bytes)
        values = {"--backing": ["map"], "--values": ["1"], "--seconds": ["0.1"], "--seed": ["1"],
                  "--chunk": ["4K"], "--in-flight": ["4K"], "--align": ["64"], "--threads": ["1"],
                  "--output": ["out.safetensors"], "--only": ["t"], "--shard-size": ["5GB"]}
        helps = {command: self.good(command, "--help").out for command in NEEDED}
        for option, commands in owners.items():
            for command in NEEDED:
                with self.subTest((option, command)):
                    listed = re.search(rf"{option}\b", helps[command]) is not None
                    self.assertEqual(listed, command in commands)
                    operands = [{"M": path, "N": "t", "F": "t"}.get(need, need) for need in NEEDED[command]]
                    (self.folder / "out.safetensors").unlink(missing_ok=True)
                    arguments = [command, option, *values.get(option, []), *operands]
                    if command in commands:
                        self.good(*arguments)
                    else:
                        self.assertEqual(self.bad(2, *arguments).err,
                                         f"tare: 'tare {command}' takes no option {option}\n")

    def test_the_version(self):
        text = self.good("--version").out
        self.assertRegex(text, r"\Atare \d+\.\d+\.\d+\n\Z")
        number = text.split()[1]
        self.assertEqual(self.good("--version", "--json").json,
                         {"version": number, "library": number})


class Usage(cli_support.CliTest):
    def test_no_command_or_an_unknown_one(self):
        self.assertEqual(self.bad(2).err, "tare: no command; 'tare --help' lists them\n")
        for given, meant in (("lst", "ls"), ("shwo", "show"), ("sat", "cat"), ("STAT", "stat"),
                             ("metta", "meta"), ("chekc", "check"), ("hlep", "help")):
            with self.subTest(given):
                self.assertEqual(self.bad(2, given, "x").err,
                                 f"tare: unknown command '{given}'; did you mean '{meant}'?\n")
        self.assertEqual(self.bad(2, "quantize\x1b").err,
                         "tare: unknown command 'quantize\\x1b'; 'tare --help' lists them\n")
        self.assertEqual(self.bad(2, "help", "lsx").err,
                         "tare: unknown command 'lsx'; did you mean 'ls'?\n")

    def test_unknown_options(self):
        for given, meant in (("--jsn", "json"), ("--JSON", "json"), ("--backin=map", "backing"),
                             ("--forcee", "force")):
            with self.subTest(given):
                self.assertEqual(self.bad(2, "ls", given, "x").err,
                                 f"tare: unknown option '{given}'; did you mean '--{meant}'?\n")
        for given in ("--frobnicate", "-x", "-hx", "--=", "--\x1b"):
            with self.subTest(given):
                shown = given.replace("\x1b", "\\x1b")
                self.assertEqual(self.bad(2, "ls", given, "x").err,
                                 f"tare: unknown option '{shown}'; 'tare --help' lists them\n")

    def test_values_of_options(self):
        for arguments, message in (
                (["--backing"], "--backing needs a value: HOW"),
                (["--backing", "mmap"], "--backing is map, read or auto, not 'mmap'"),
                (["--backing="], "--backing is map, read or auto, not ''"),
                (["--json=1"], "--json takes no value"),
                (["-n", "-1"], "--values is a count, not '-1'"),
                (["-n", "1x"], "--values is a count, not '1x'"),
                (["--values="], "--values is a count, not ''"),
                (["--values", "18446744073709551616"],
                 "--values is a count, not '18446744073709551616'"),
                (["-n"], "--values needs a value: COUNT")):
            with self.subTest(arguments):
                self.assertEqual(self.bad(2, "show", "m", "t", *arguments).err,
                                 f"tare: {message}\n")

    def test_too_few_or_too_many_operands(self):
        for command, operands in NEEDED.items():
            with self.subTest(command):
                usage = self.bad(2, command, *operands[1:]).err
                self.assertTrue(usage.startswith(f"tare: usage: tare {command} [options] "), usage)
                if command not in ("check", "ls", "load", "hash", "verify"):
                    self.assertEqual(self.bad(2, command, *operands, "more").err, usage)
        self.bad(2, "ls", "M", "PREFIX", "more")
        self.bad(2, "help", "ls", "show")

    def test_options_may_stand_anywhere_before_two_dashes(self):
        path = self.write("-m.safetensors", [("--all", "U8", [1], None)])
        expected = self.good("show", "--json", "--", path, "--all").out
        self.assertEqual(self.good("--json", "show", "--", path, "--all").out, expected)
        self.assertEqual(self.good("--json", "--", "show", path, "--all").out, expected)
        self.assertEqual(self.good("ls", "--", "-m.safetensors", "--").lines[-1], "1 tensor, 1 B")
        self.assertEqual(self.good("ls", path, "--json").json["count"], 1)
        # A single dash is a name like any other.
        self.bad(1, "ls", "-")


if __name__ == "__main__":
    cli_support.main()
