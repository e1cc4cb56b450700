"""`tare bench`: what it reports and how, never how fast anything was."""

import locale
import os
import pty
import re
import signal
import subprocess
import unittest

import cli_support

KINDS = ["hit", "hit", "miss", "miss", "key", "key", "many", "many"]
TIMES = ["min_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"]
ERASE = b"\r\x1b[K"
SHORT = "--seconds=0.1"

# Names that leave little room for others like them, or that are odd in other ways.
HOSTILE = {
    "one byte": [chr(code) for code in range(1, 128)],
    "the empty name": [""],
    "controls": ["\x1b[31m", "a\nb", "\0", "\0\0", "a\0b", "\x7f"],
    "beyond ASCII": ["\u00e9", "\u202etxt", "\U0001f600.weight", "\u0661"],
    "numbers only": [str(number) for number in range(1000)],
    "large numbers": ["9" * 17, "9" * 18, "9" * 19, "9" * 300, "l." + "9" * 40 + ".w",
                      "18446744073709551615", "l.007.w", "l.00.w"],
    "prefixes of each other": ["x" * size for size in range(1, 200)],
    "long": ["y" * 4000, "y" * 3999 + "1", "y" * 100000],
}


class Bench(cli_support.CliTest):
    def layers(self, count):
        return self.write("m.safetensors", [(f"model.layers.{number}.weight", "U8", [1], None)
                                            for number in range(count)])

    def report(self, path, *more):
        return self.good("bench", SHORT, "--json", path, *more).json

    def check_finds(self, report):
        """What must hold of every line, whatever the machine was doing."""
        finds = report["finds"]
        self.assertEqual([find["find"] for find in finds], KINDS)
        for find in finds:
            self.assertEqual(set(find), {"find", "names", "samples", "mean_ns", "buckets", *TIMES})
            self.assertGreater(find["samples"], 0)
            times = [find[name] for name in TIMES]
            self.assertEqual(times, sorted(times))
            self.assertGreaterEqual(times[0], 0)
            self.assertGreaterEqual(find["mean_ns"], times[0])
            self.assertLessEqual(find["mean_ns"], times[-1])
            self.check_buckets(find)
        names = [find["names"] for find in finds]
        self.assertEqual(names[0:6:2], [1, 1, 1])
        self.assertEqual(len({names[1], names[3], names[5]}), 1)
        # More than these where the clock is coarse.
        for count, least in zip(names[1::2] + names[6:7], [8, 8, 8, 256, 16]):
            self.assertGreaterEqual(count, least)
            self.assertEqual(count & (count - 1), 0)

    def check_buckets(self, find):
        buckets = find["buckets"]
        self.assertEqual(sum(bucket["samples"] for bucket in buckets), find["samples"])
        end = 0
        for bucket in buckets:
            self.assertEqual(set(bucket), {"from_ns", "to_ns", "samples"})
            self.assertGreater(bucket["samples"], 0)
            self.assertGreaterEqual(bucket["from_ns"], end)
            end = bucket["to_ns"]
            self.assertGreater(end, bucket["from_ns"])
        for time, bucket in ((find["min_ns"], buckets[0]), (find["max_ns"], buckets[-1])):
            self.assertGreaterEqual(time, bucket["from_ns"])
            self.assertLess(time, bucket["to_ns"])
        # The median lies where half of the samples have been counted.
        passed = 0
        for bucket in buckets:
            passed += bucket["samples"]
            if 2 * passed >= find["samples"]:
                break
        self.assertGreaterEqual(find["p50_ns"], bucket["from_ns"])
        self.assertLess(find["p50_ns"], bucket["to_ns"])


class Json(Bench):
    def test_all_members(self):
        path = self.layers(323)
        report = self.report(path)
        self.check_finds(report)
        stat = self.good("stat", "--json", path).json
        memory, index = report["memory"], report["index"]
        self.assertEqual(memory, stat["memory"])
        self.assertEqual((set(index), index["sorted"]), (set(stat["index"]), False))
        opens = report["opens"]
        self.assertEqual(set(opens), {"count", "best_ns", "median_ns", "first_ns"})
        self.assertGreaterEqual(opens["count"], 1)
        self.assertGreater(opens["best_ns"], 0)
        self.assertGreaterEqual(opens["median_ns"], opens["best_ns"])
        self.assertGreaterEqual(opens["first_ns"], opens["best_ns"])
        self.assertEqual(set(report["clock"]), {"cost_ns", "step_ns"})
        self.assertGreaterEqual(report["clock"]["step_ns"], 1)
        self.assertEqual((report["model"], report["tensors"], report["seconds"], report["seed"]),
                         (str(path), 323, 0.1, None))
        self.assertEqual(report["index_file"], stat["index_file"])
        self.assertEqual(len(report), 10)

    def test_an_index_file_is_told(self):
        path = self.layers(323)
        self.good("index", path)
        report = self.report(path)
        self.assertEqual((report["index_file"]["used"], report["index_file"]["size"] > 0),
                         (True, True))
        self.assertRegex(self.good("bench", SHORT, path).lines[5],
                         r"\Aindex file .+ in place of headers\Z")
        self.assertEqual(self.report(path, "--no-index")["index_file"]["status"], "TARE_E_OPEN")
        self.bad(1, "bench", SHORT, path, "--index=absent")

    def test_no_tensors(self):
        report = self.report(self.write("m.safetensors", []))
        self.assertEqual((report["tensors"], report["finds"]), (0, []))
        self.assertGreaterEqual(report["opens"]["count"], 1)

    def test_one_tensor(self):
        self.check_finds(self.report(self.layers(1)))

    def test_hostile_names(self):
        for what, names in HOSTILE.items():
            with self.subTest(what):
                path = self.write("m.safetensors", [(name, "U8", [1], None) for name in names])
                report = self.report(path)
                self.assertEqual(report["tensors"], len(names))
                self.check_finds(report)

    def test_100000_tensors(self):
        report = self.report(self.layers(100000))
        self.assertEqual(report["tensors"], 100000)
        self.check_finds(report)

    def test_shards_that_are_not_mapped(self):
        cli_support.make_sharded(self.folder / "m", {
            "1.safetensors": {"tensors": [("l.0.a", "F32", [2], None)]},
            "2.safetensors": {"tensors": [("l.1.a", "F32", [4], None)]}})
        report = self.report("m", "--backing", "read")
        self.assertEqual(report["tensors"], 2)
        self.check_finds(report)

    def test_a_seed_fixes_the_hash(self):
        path = self.layers(3000)
        for seed in (0, 1, 2**64 - 1):
            reports = [self.report(path, "--seed", str(seed)) for _ in range(2)]
            self.assertEqual(reports[0]["seed"], seed)
            self.assertEqual(reports[0]["index"], reports[1]["index"])


class Text(Bench):
    def test_lines(self):
        path = self.layers(323)
        lines = self.good("bench", SHORT, path).lines
        self.assertEqual(lines[:2], [f"model      {path}", "tensors    323"])
        time = r"\d+\.\d+ [mu]s"
        self.assertRegex(lines[2], rf"\Aopen time  best {time}, median {time}, first {time} of \d+")
        self.assertRegex(lines[3], r"\Amemory     .+, [0-9.]+ bytes a tensor: .+ index; .+ else\Z")
        self.assertRegex(lines[4], r"\Aindex      hashed, at most \d+ table lines a find\Z")
        self.assertRegex(lines[5], r"\Aclock      \d+ ns a reading, .*; steps of \d+ ns\Z")
        self.assertEqual(lines[6], "")
        self.assertEqual(lines[7].split(), ["FIND", "NAMES", "MIN", "P50", "P90", "P99", "P99.9",
                                            "MAX", "MEAN", "SAMPLES"])
        rows = [line.split() for line in lines[8:16]]
        self.assertEqual([row[0] for row in rows], KINDS)
        for row in rows:
            self.assertEqual(len(row), 10)
            times = [float(word) for word in row[2:8]]
            self.assertEqual(times, sorted(times))
        self.assertRegex(lines[16], r"\Ans a name; a sample ")
        self.assertEqual(lines[17], "")
        self.assertRegex(lines[18], r"\ANS A NAME +(\d+[kMG]? *)+\Z")
        drawn = lines[19:]
        self.assertEqual([line.split()[:2] for line in drawn], [row[:2] for row in rows])
        for line in drawn:
            self.assertGreater(len(line), 12)
            self.assertLessEqual(len(line), 12 + 64)

    def test_no_tensors(self):
        lines = self.good("bench", SHORT, self.write("m.safetensors", [])).lines
        self.assertEqual(lines[1], "tensors    0")
        self.assertEqual([line.split()[0] for line in lines],
                         ["model", "tensors", "open", "memory", "index", "clock"])

    def drawn(self, charset):
        lines = self.good("bench", SHORT, self.layers(10),
                          environment={"LC_ALL": charset}).lines
        return "".join(line[12:] for line in lines[-8:])

    def test_ascii_where_the_locale_has_no_more(self):
        drawn = self.drawn("C")
        self.assertEqual(set(drawn) - set(" .:-=+*#@"), set())
        self.assertGreaterEqual(drawn.count("@"), 8) # each line's highest column

    def test_blocks_where_the_locale_has_them(self):
        before = locale.setlocale(locale.LC_CTYPE)
        try:
            locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
        except locale.Error:
            self.skipTest("there is no locale C.UTF-8 here")
        finally:
            locale.setlocale(locale.LC_CTYPE, before)
        drawn = self.drawn("C.UTF-8")
        self.assertEqual(set(drawn) - set(" \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"),
                         set())
        self.assertGreaterEqual(drawn.count("\u2588"), 8)

    def test_colour_is_for_terminals(self):
        path = self.layers(10)
        self.assertNotIn("\x1b", self.good("bench", SHORT, path,
                                           environment={"TERM": "xterm"}).out)
        for environment, expected in (({}, True), ({"NO_COLOR": "1"}, False)):
            primary, secondary = pty.openpty()
            done = subprocess.run([cli_support.program, "bench", SHORT, path], stdout=secondary,
                                  stderr=subprocess.PIPE, check=False,
                                  env=dict(os.environ, TERM="xterm", **environment))
            os.close(secondary)
            shown = os.read(primary, 65536)
            os.close(primary)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertEqual(b"\x1b" in shown, expected)


class Options(Bench):
    def test_seconds(self):
        path = self.layers(3)
        for seconds in ("0.1", ".2", "0.15"):
            self.assertEqual(self.good("bench", "--json", "--seconds", seconds, path)
                             .json["seconds"], float(seconds))
        # Those that would take long are accepted before the model is found to be missing.
        for seconds in ("1", "2.5", "3600", "3600.0"):
            self.assertRegex(self.bad(1, "bench", "--seconds", seconds, "absent").err,
                             r"\Atare: absent: ")
        for seconds in ("", ".", "0", "0.09", "3600.1", "99999", "-1", "+1", " 1", "1 ", "1e1",
                        "1.2.3", "1,5", "0x1", "inf", "nan", "1s"):
            with self.subTest(seconds):
                self.assertEqual(self.bad(2, "bench", f"--seconds={seconds}", path).err,
                                 f"tare: --seconds is a number from 0.1 to 3600, not '{seconds}'\n")

    def test_seed(self):
        for seed in ("", "-1", "x", "1.5", "18446744073709551616"):
            with self.subTest(seed):
                self.assertEqual(self.bad(2, "bench", f"--seed={seed}", "m").err,
                                 f"tare: --seed is a whole number, not '{seed}'\n")
        self.assertEqual(self.bad(2, "bench", "m", "--seed").err,
                         "tare: --seed needs a value: NUMBER\n")

    def test_what_is_no_model(self):
        (self.folder / "bad").write_bytes(b"{")
        for path in ("absent", "bad", self.folder):
            self.assertEqual(len(self.bad(1, "bench", path).err.splitlines()), 1)
            self.bad(1, "bench", "--json", path)

    @unittest.skipUnless(os.path.exists("/dev/full"), "there is no /dev/full here")
    def test_a_full_disk_is_an_error_and_a_closed_pipe_is_none(self):
        path = self.layers(3)
        for more in ((), ("--json",)):
            with open("/dev/full", "wb") as full:
                result = self.tare("bench", SHORT, path, *more, stdout=full)
            self.assertEqual((result.status, result.err),
                             (1, "tare: standard output: No space left on device\n"))
            reading, writing = os.pipe()
            os.close(reading)
            result = self.tare("bench", SHORT, path, *more, stdout=writing)
            os.close(writing)
            self.assertEqual((result.status, result.err), (0, ""))


class Progress(Bench):
    """That there is none without a terminal is part of every test that expects an empty stderr."""

    def setUp(self):
        super().setUp()
        self.path = self.layers(10)

    def check_gone(self, shown):
        """The bar was there, on one line, and nothing follows when it was erased for the last time;
        a terminal echoes ^C by itself."""
        self.assertRegex(shown, rb"\[[#.]{32}\] +\d+% (opening|finding)")
        self.assertNotIn(b"\n", shown)
        self.assertTrue(shown.endswith(ERASE), shown[-100:])
        # Each time it is drawn over an erased line.
        self.assertEqual(shown.count(ERASE), shown.count(b"%") + 1)

    def test_a_terminal_gets_a_bar_that_goes_away(self):
        for more in ((), ("--json",)):
            status, shown = cli_support.on_terminal(["bench", SHORT, self.path, *more], TERM="xterm")
            self.assertEqual(status, 0)
            self.check_gone(shown)

    def test_shares_grow(self):
        _, shown = cli_support.on_terminal(["bench", "--seconds=0.5", self.path], TERM="xterm")
        shares = [int(share) for share in re.findall(rb"(\d+)%", shown)]
        self.assertEqual(shares, sorted(shares))
        self.assertLessEqual(shares[-1], 100)

    def test_a_dumb_terminal_gets_none(self):
        self.assertEqual(cli_support.on_terminal(["bench", SHORT, self.path], TERM="dumb"), (0, b""))

    def test_a_failure_erases_it_first(self):
        status, shown = cli_support.on_terminal(["bench", "absent"], TERM="xterm")
        self.assertEqual(status, 1)
        bar, message = shown.split(b"tare: ")
        self.check_gone(bar)
        self.assertEqual(message, b"absent: cannot open: No such file or directory\r\n")

    def test_signals_erase_it_and_end_the_program(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number):
                status, shown = cli_support.on_terminal(
                    ["bench", "--seconds=600", self.path], until=b"%", send=number, TERM="xterm",
                    prepare=lambda number=number: signal.signal(number, signal.SIG_DFL))
                self.assertEqual(status, -number)
                self.check_gone(shown)

    def test_a_signal_that_was_ignored_still_is(self):
        status, shown = cli_support.on_terminal(
            ["bench", "--seconds=0.5", self.path], until=b"%", send=signal.SIGHUP, TERM="xterm",
            prepare=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.assertEqual(status, 0)
        self.check_gone(shown)


if __name__ == "__main__":
    cli_support.main()
