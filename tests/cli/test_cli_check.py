"""`tare check`: one line a path, where it belongs, and the exit status over all of them."""

import os

import cli_support


class Check(cli_support.CliTest):
    def setUp(self):
        super().setUp()
        self.write("good.safetensors", [("a", "F32", [300], None)])
        self.write("one.safetensors", [("a", "U8", [], None)])
        cli_support.make_sharded(self.folder / "sharded", {
            "1.safetensors": {"tensors": [("a", "U8", [4], None)]},
            "2.safetensors": {"tensors": [("b", "U8", [4], None)]}})
        data = (self.folder / "good.safetensors").read_bytes()
        (self.folder / "cut.safetensors").write_bytes(data[:-1])
        (self.folder / "json.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{]")

    def test_accepted_models(self):
        self.assertEqual(
            self.good("check", "good.safetensors", "one.safetensors", "sharded",
                      "sharded/model.safetensors.index.json").out,
            "good.safetensors: ok (1 tensor, 1.2 KiB)\n"
            "one.safetensors: ok (1 tensor, 1 B)\n"
            "sharded: ok (2 tensors, 8 B, 2 shards)\n"
            "sharded/model.safetensors.index.json: ok (2 tensors, 8 B, 2 shards)\n")

    def test_a_rejected_model_is_one_line_with_its_status_and_place(self):
        line = self.bad(1, "check", "json.safetensors").err
        self.assertRegex(line, r"\Atare: json\.safetensors: .+ \(TARE_E_JSON at byte 9\)\n\Z")
        line = self.bad(1, "check", "cut.safetensors").err
        self.assertRegex(line, r"\Atare: cut\.safetensors: .+\(TARE_E_COVER.*\)\n\Z")
        # The path stands there once.
        self.assertEqual(line.count("cut.safetensors"), 1)

    def test_what_cannot_be_opened_is_rejected(self):
        os.mkdir(self.folder / "empty")
        os.mkfifo(self.folder / "fifo.safetensors")
        for path, status in (("absent", "TARE_E_OPEN"), ("", "TARE_E_OPEN"),
                             ("empty", "TARE_E_NO_MODEL"), (".", "TARE_E_AMBIGUOUS"),
                             ("fifo.safetensors", "TARE_E_"), ("/dev/null", "TARE_E_")):
            with self.subTest(path):
                message = self.bad(1, "check", path).err
                self.assertEqual(message.count("\n"), 1)
                self.assertIn(status, message)
        self.assertEqual(self.bad(1, "check", "absent").err,
                         "tare: absent: cannot open: No such file or directory (TARE_E_OPEN)\n")

    def test_limits_hold_on_both_sides(self):
        header = int.from_bytes((self.folder / "good.safetensors").read_bytes()[:8], "little")
        self.write("named.safetensors", [("abc", "U8", [1, 1], None)], metadata={"k": "12"})
        for path, what, most, status in (
                ("good.safetensors", "header", header, "TARE_E_HEADER_SIZE at byte 0"),
                ("sharded", "tensors", 2, "TARE_E_LIMIT at byte "),
                ("named.safetensors", "rank", 2, "TARE_E_LIMIT at byte "),
                ("named.safetensors", "name", 3, "TARE_E_LIMIT at byte "),
                ("named.safetensors", "metadata", 3, "TARE_E_LIMIT at byte 25")):
            with self.subTest(what):
                self.good("check", f"--limit={what}={most}", "--limit", f"{what}={most}K", path)
                for command in ("check", "ls"):
                    message = self.bad(1, command, f"--limit={what}={most - 1}", path).err
                    if command == "check":
                        self.assertIn(status, message)
        # One limit beside another.
        self.bad(1, "check", "--limit=tensors=1", "--limit=rank=9", "sharded")
        self.good("check", "--limit=header=2147483647", "sharded")

    def test_limits_that_cannot_be_are_usage_errors(self):
        for value in ("header", "header=", "header=0", "header=2147483648", "headers=1", "=1",
                      "rank=-1", "rank=x", "tensors=18446744073709551616", "\x1b=1"):
            with self.subTest(value):
                self.assertNotIn("\x1b", self.bad(2, "check", "--limit", value, "sharded").err)

    def test_it_goes_on_after_a_rejection(self):
        result = self.tare("check", "absent", "good.safetensors", "cut.safetensors",
                           "one.safetensors")
        self.assertEqual(result.status, 1)
        self.assertEqual(result.out, "good.safetensors: ok (1 tensor, 1.2 KiB)\n"
                                     "one.safetensors: ok (1 tensor, 1 B)\n")
        self.assertEqual([line.split(":")[1].strip() for line in result.err.splitlines()],
                         ["absent", "cut.safetensors"])

    def test_many_paths(self):
        paths = []
        for number in range(300):
            path = self.folder / f"many/{number}.safetensors"
            if number % 3:
                self.write(path, [(f"t{number}", "U8", [number], None)])
            paths.append(path)
        result = self.tare("check", *paths)
        self.assertEqual(result.status, 1)
        self.assertEqual(result.lines, [
            f"{path}: ok (1 tensor, {number} B)"
            for number, path in enumerate(paths) if number % 3])
        self.assertEqual(len(result.err.splitlines()), 100)

    def test_json_tells_both_kinds(self):
        result = self.tare("check", "--json", "good.safetensors", "json.safetensors", "absent")
        self.assertEqual(result.status, 1)
        self.assertEqual(len(result.err.splitlines()), 2)
        report = result.json
        self.assertEqual((report["accepted"], report["rejected"]), (1, 2))
        good, bad, absent = report["results"]
        self.assertEqual(good, {"path": "good.safetensors", "ok": True, "model_ok": True,
                                "tensors": 1, "size": 1200, "shards": 1})
        self.assertEqual({key: bad[key] for key in ("path", "ok", "status", "value", "shard",
                                                    "system_error")},
                         {"path": "json.safetensors", "ok": False, "status": "TARE_E_JSON",
                          "value": 41, "shard": 0, "system_error": 0})
        self.assertIsInstance(bad["offset"], int)
        self.assertEqual((absent["status"], absent["system_error"], absent["offset"]),
                         ("TARE_E_OPEN", 2, None))
        self.assertIn("No such file", absent["message"])

    def test_a_path_with_controls_is_printed_escaped(self):
        self.write("odd\x1b[0m\n.safetensors", [])
        self.assertEqual(self.good("check", "odd\x1b[0m\n.safetensors").out,
                         "odd\\x1b[0m\\n.safetensors: ok (0 tensors, 0 B)\n")
        message = self.bad(1, "check", "absent\x1b\n").err
        self.assertTrue(message.startswith("tare: absent\\x1b\\n: "), message)
        self.assertEqual((message.count("\n"), message.count("\x1b")), (1, 0))

    def test_other_commands_reject_too_without_a_crash(self):
        for command in (["ls", "cut.safetensors"], ["show", "cut.safetensors", "a"],
                        ["cat", "absent", "a"], ["meta", "json.safetensors"], ["stat", "."]):
            with self.subTest(command):
                message = self.bad(1, *command).err
                self.assertTrue(message.startswith(f"tare: {command[1]}: "), message)


if __name__ == "__main__":
    cli_support.main()
