"""`tare load`: what is loaded, what is told of it, and that it can be stopped."""

import json
import os
import re
import signal
import struct

import cli_support

MEMBERS = {"model", "tensors", "tensors_in_part", "size", "block_size", "load_ns", "minor_faults", "major_faults",
           "peak_size", "threads", "io", "alignment", "drop_behind", "device"}


class Load(cli_support.CliTest):
    def setUp(self):
        super().setUp()
        self.path = self.write("m.safetensors", [
            ("a.0", "F32", [300, 7], None), ("a.1", "U8", [5], None), ("b.0", "U8", [0], None),
            ("b.10", "F4", [6], None), ("c", "BF16", [70000], None)])

    def loaded(self, *arguments):
        """(tensors, bytes) that were loaded."""
        report = self.good("load", "--json", *arguments).json
        self.assertEqual(set(report), MEMBERS)
        return report["tensors"], report["size"]

    def test_all_or_what_starts_with_a_prefix(self):
        self.assertEqual(self.loaded(self.path), (5, 148408))
        self.assertEqual(self.loaded(self.path, "a."), (2, 8405))
        self.assertEqual(self.loaded(self.path, "b.", "a.1", "b.1", "b."), (3, 8))
        self.assertEqual(self.loaded(self.path, ""), (5, 148408))

    def test_shards(self):
        cli_support.make_sharded(self.folder / "m", {
            f"{number}.safetensors": {"tensors": [(f"t{number}", "U8", [number], None)]}
            for number in range(1, 5)})
        self.assertEqual(self.loaded("m"), (4, 10))

    def test_a_prefix_of_nothing_is_a_failure(self):
        result = self.bad(1, "load", self.path, "a.", "bb")
        self.assertIn("no tensor's name starts with 'bb'", result.err)
        self.bad(1, "load", "absent")

    def test_every_option_gives_the_same(self):
        for options in (["--threads=1"], ["--threads", "7"], ["--direct"], ["--buffered"],
                        ["--chunk=4K"], ["--in-flight=64K", "--chunk", "8192"], ["--drop-behind"],
                        ["--align=2M"], ["--align=1"],
                        ["--direct", "--threads=3", "--chunk=4K", "--drop-behind"]):
            with self.subTest(options):
                self.assertEqual(self.loaded(self.path, *options), (5, 148408))

    def test_text(self):
        lines = self.good("load", self.path, "--threads=3", "--drop-behind", "--direct").lines
        self.assertEqual([line.split()[0] for line in lines],
                         ["model", "tensors", "size", "time", "rate", "faults", "memory", "threads",
                          "io"])
        facts = {line.split()[0]: line[11:] for line in lines}
        self.assertEqual(facts["model"], str(self.path))
        self.assertEqual(facts["tensors"], "5")
        self.assertEqual(facts["size"], "144.9 KiB (148408 bytes)")
        self.assertRegex(facts["time"], r"\A\d+\.\d\d ms\Z")
        self.assertRegex(facts["rate"], r"\A\d+\.\d\d GB/s\Z")
        self.assertRegex(facts["faults"], r"\A\d+ minor, \d+ major\Z")
        self.assertRegex(facts["memory"], r"\A[\d.]+ [KMGT]?i?B at the peak, [\d.]+ [KMGT]?i?B of it")
        self.assertEqual(facts["threads"], "3")
        self.assertEqual(facts["io"], "direct, pages dropped behind")
        facts = self.good("load", self.path).lines[-2:]
        self.assertEqual([fact.split() for fact in facts], [["threads", "auto"], ["io", "auto"]])

    def test_json(self):
        report = self.good("load", "--json", "--threads=2", "--align=4K", self.path).json
        self.assertGreater(report["load_ns"], 0)
        self.assertGreater(report["peak_size"], 148408)
        self.assertGreaterEqual(report["block_size"], 148408)
        self.assertEqual((report["threads"], report["io"], report["alignment"],
                          report["drop_behind"]), (2, "auto", 4096, False))
        report = self.good("load", "--json", self.path, "--buffered", "--drop-behind").json
        self.assertEqual((report["threads"], report["io"], report["alignment"],
                          report["drop_behind"]), (None, "buffered", 64, True))

    def test_the_peak_is_that_of_the_load_alone(self):
        """Whoever starts it may have been large."""
        ballast = bytearray(400 << 20)
        for at in range(0, len(ballast), 4096):
            ballast[at] = 1
        report = self.good("load", "--json", self.path).json
        self.assertLess(report["peak_size"], len(ballast))

    def test_slices(self):
        a0, a1, b10, c = 8400, 5, 3, 140000  # bytes of whole tensors
        for slices, in_part, size in (
                (["a.0=0:8"], 1, 8 * 28 + a1 + b10 + c),
                (["a.0=8:10,1:4"], 1, 2 * 12 + a1 + b10 + c),
                (["a.0=:,3:"], 1, 300 * 16 + a1 + b10 + c), (["a.0=:7"], 1, 7 * 28 + a1 + b10 + c),
                (["a.0=5:5"], 1, a1 + b10 + c), (["a.0=1/3"], 1, 100 * 28 + a1 + b10 + c),
                (["a.0=0:300,2/4"], 1, 300 * 8 + a1 + b10 + c),
                (["a.0=0/1,0/1"], 1, a0 + a1 + b10 + c),
                (["a.?=0/2"], 2, 150 * 28 + 3 + b10 + c), (["a.1=1/2"], 1, a0 + 2 + b10 + c),
                (["*=9/10", "b.10=:"], 5, 30 * 28 + 0 + b10 + 14000),
                (["*=0/2", "a.0=:", "b.10=2:6"], 5, a0 + 3 + 2 + c // 2),
                (["b.0=0/7"], 1, a0 + a1 + b10 + c), (["[bc]*=0:0"], 3, a0 + a1)):
            with self.subTest(slices):
                options = [f"--slice={one}" for one in slices]
                report = self.good("load", "--json", *options, self.path).json
                self.assertEqual((report["tensors"], report["tensors_in_part"], report["size"]),
                                 (5, in_part, size))

    def test_shares_of_all_ranks_are_all_of_a_tensor(self):
        for count in (1, 2, 7, 299, 300, 301):
            sizes = [self.loaded(self.path, "a.0", f"--slice=a.0={rank}/{count}")[1]
                     for rank in range(0, count, max(1, count // 7))]
            self.assertLessEqual(max(sizes) - min(sizes), 28)
            if count <= 7:
                self.assertEqual(sum(sizes), 8400)

    def test_slices_that_cannot_be(self):
        for text in ("", "a.0", "=0:1", "a.0=", "a.0=1", "a.0=1/0", "a.0=2/2", "a.0=/2", "a.0=-1:2",
                     "a.0=0:1,", "a.0=,0:1", "a.0=0:1;", "a.0=0:99999999999999999999", "a.0=0:1/2",
                     "a.0= 0:1", "a.0=0:x"):
            with self.subTest(text):
                self.assertEqual(
                    self.bad(2, "load", f"--slice={text}", self.path).err,
                    f"tare: --slice is NAME=START:STOP,... or NAME=RANK/COUNT,..., not '{text}'\n")
        for text, message in (
                ("a.0=0:301", "--slice: tensor 'a.0': "),
                ("a.0=:,4:3", "--slice: tensor 'a.0': "),
                ("a.0=:,:,:", "tensor 'a.0' has 2 dimensions, --slice 3"),
                ("b.10=1:6", "--slice: tensor 'b.10': "),
                ("a=0:1", "--slice a=0:1: no tensor that is loaded has such a name"),
                ("x*=0:1", "--slice x*=0:1: no tensor that is loaded has such a name")):
            with self.subTest(text):
                error = self.bad(1, "load", "--slice", text, self.path).err
                self.assertTrue(error.startswith("tare: " + message), error)
        self.assertIn("no tensor that is loaded",
                      self.bad(1, "load", "--slice=c=0:1", self.path, "a.").err)
        self.bad(2, "ls", "--slice=c=0:1", self.path)

    def test_slices_in_text(self):
        lines = self.good("load", self.path, "--slice=a.?=1:3").lines
        self.assertEqual(lines[2].split(), ["parts", "of", "2", "of", "them"])
        self.assertEqual(lines[3].split()[:2], ["size", "136.8"])

    def test_nothing(self):
        self.assertEqual(self.loaded(self.write("none.safetensors", [])), (0, 0))

    def test_values_that_cannot_be(self):
        for option, message in (
                ("--threads=0", "--threads is from 1 to 1024, not 0"),
                ("--threads=1025", "--threads is from 1 to 1024, not 1025"),
                ("--threads=x", "--threads is a count, not 'x'"),
                ("--chunk=4095", "--chunk is from 4K to 1G, not 4095"),
                ("--chunk=2G", "--chunk is from 4K to 1G, not 2147483648"),
                ("--in-flight=1K", "--in-flight is at least 4K, not 1024"),
                ("--align=0", "--align is a power of two up to 2M, for pack from 8, not 0"),
                ("--align=48", "--align is a power of two up to 2M, for pack from 8, not 48"),
                ("--align=4M", "--align is a power of two up to 2M, for pack from 8, not 4194304")):
            with self.subTest(option):
                self.assertEqual(self.bad(2, "load", option, self.path).err, f"tare: {message}\n")
        for value in ("", "-1", "K", "1k", "1kB", "1 K", "20000000000G", "99999999999999999999"):
            with self.subTest(value):
                self.assertEqual(self.bad(2, "load", f"--chunk={value}", self.path).err,
                                 "tare: --chunk is a size such as 65536, 64K, 512MiB or 5GB, "
                                 f"not '{value}'\n")
        self.assertEqual(self.bad(2, "load", "--direct", "--buffered", self.path).err,
                         "tare: --direct and --buffered exclude each other\n")


class Progress(cli_support.CliTest):
    """On a file that takes long for its size: it is read in very small pieces."""

    def setUp(self):
        super().setUp()
        self.path = self.folder / "m.safetensors"
        size = 1 << 29
        header = json.dumps({"t": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}})
        self.path.write_bytes(struct.pack("<Q", len(header)) + header.encode())
        os.truncate(self.path, 8 + len(header) + size)
        self.slowly = ["load", "--threads=1", "--chunk=4K", "--in-flight=4K", self.path]

    def stopped_by(self, number, arguments):
        return cli_support.on_terminal(
            arguments, until=b"%", send=number, TERM="xterm",
            prepare=lambda: signal.signal(number, signal.SIG_DFL))

    def test_ctrl_c_stops_and_erases_the_bar(self):
        for arguments in (self.slowly, ["hash", self.path]):
            with self.subTest(arguments[0]):
                status, shown = self.stopped_by(signal.SIGINT, arguments)
                self.assertEqual(status, 130)
                self.assertTrue(shown.endswith(b"\r\x1b[Ktare: stopped\r\n"), shown)

    def test_other_signals_stop_too(self):
        status, shown = self.stopped_by(signal.SIGTERM, self.slowly)
        self.assertEqual((status, shown[-15:]), (143, b"tare: stopped\r\n"))

    def test_the_bar_tells_bytes_rate_and_time_left(self):
        status, shown = cli_support.on_terminal(self.slowly, columns=120, TERM="xterm")
        self.assertEqual(status, 0)
        bars = re.split(rb"\r\x1b\[K", shown)
        self.assertEqual((bars[0], bars[-1]), (b"", b""), "nothing is left of it")
        self.assertRegex(bars[1], rb"\A\[\.{32}\] +0% 0 B of 512\.0 MiB\Z")
        self.assertTrue(any(re.fullmatch(
            rb"\[#*\.*\] +\d+% [\d.]+ MiB of 512\.0 MiB, \d+\.\d\d GB/s, \d+:\d\d left", bar)
                            for bar in bars), bars)

    def test_the_bar_fits_the_terminal(self):
        """It shrinks first, then words are left out from the end, then the bar itself."""
        words = r"[\d.]+ M?i?B of 512\.0 MiB"
        rate = r", \d+\.\d\d GB/s, \d+:\d\d left"
        for columns, known, line in ((120, 120, r"\[[#.]{32}\] +\d+% " + words + rate),
                                     (80, 80, r"\[[#.]{8,32}\] +\d+% " + words + rate),
                                     (0, 80, r"\[[#.]{8,32}\] +\d+% " + words + rate),
                                     (40, 40, r"\[[#.]{8,32}\] +\d+% " + words),
                                     (30, 30, r"\[[#.]{8,32}\] +\d+%"),
                                     (8, 8, r" +\d+%")):
            with self.subTest(columns):
                status, shown = cli_support.on_terminal(self.slowly, columns=columns, TERM="xterm")
                self.assertEqual(status, 0)
                bars = shown.decode().split("\r\x1b[K")[1:-1]
                self.assertGreater(len(bars), 2)
                self.assertLess(max(map(len, bars)), known)
                self.assertRegex(bars[-1], rf"\A{line}\Z")

    def test_there_is_none_without_a_terminal(self):
        path = self.write("small.safetensors", [("t", "U8", [1 << 20], None)])
        self.good("hash", path)
        status, shown = cli_support.on_terminal(["hash", path], TERM="dumb")
        self.assertEqual((status, shown), (0, b""))


if __name__ == "__main__":
    cli_support.main()
