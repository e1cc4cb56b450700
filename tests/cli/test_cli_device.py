"""`tare load --device`: with the driver that the tests build, whose folder is TARE_FAKE_CUDA."""

import os
import shutil
import tempfile

import cli_support


class Device(cli_support.CliTest):
    def setUp(self):
        super().setUp()
        self.path = self.write("m.safetensors", [
            ("a", "F32", [300, 7], None), ("b", "U8", [0], None), ("c", "BF16", [70000], None)])
        self.driver = {"LD_LIBRARY_PATH": os.environ["TARE_FAKE_CUDA"]}

    def test_text(self):
        lines = self.good("load", self.path, "--device", "cuda:1", environment=self.driver).lines
        self.assertEqual([line.split()[0] for line in lines],
                         ["model", "tensors", "size", "time", "rate", "device", "link", "staging",
                          "faults", "memory", "threads", "io"])
        facts = {line.split()[0]: line[11:] for line in lines}
        self.assertEqual(facts["device"], "cuda:1, Fake 1")
        self.assertRegex(facts["link"],
                         r"\A50\.00 GB/s at most, of which the load reached \d+ %\Z")
        self.assertRegex(facts["staging"], r"\A[\d.]+ [KM]iB of pinned memory\Z")

    def test_json(self):
        report = self.good("load", "--json", "--device=cuda", "--threads=1", "--chunk=64K",
                           self.path, environment=self.driver).json
        device = report["device"]
        self.assertEqual((device["label"], device["name"]), ("cuda:0", "Fake 0"))
        self.assertAlmostEqual(device["link_bytes_per_second"] / 50e9, 1, places=3)
        self.assertEqual(device["staging_size"], 2 * (65536 + 4096))
        self.assertEqual((report["size"], report["alignment"]), (148400, 256))
        self.assertIsNone(self.good("load", "--json", self.path).json["device"])

    def test_the_bytes_of_options_and_prefixes_are_loaded(self):
        for options in (["--direct"], ["--buffered"], ["--align=4K"], ["--in-flight=64K"]):
            report = self.good("load", "--json", "--device=cuda:0", self.path, "c", *options,
                               environment=self.driver).json
            self.assertEqual((report["tensors"], report["size"]), (1, 140000))

    def test_slices_are_loaded(self):
        report = self.good("load", "--json", "--device=cuda:0", self.path, "--slice=a=2/3,1:3",
                           "--slice=c=0/4", environment=self.driver).json
        self.assertEqual((report["tensors"], report["tensors_in_part"]), (3, 2))
        self.assertEqual(report["size"], 100 * 2 * 4 + 17500 * 2)

    def test_what_is_missing_is_said(self):
        result = self.bad(1, "load", self.path, "--device=cuda:2", environment=self.driver)
        self.assertEqual(result.err, "tare: cuda: there is no device 2: the driver has 2\n")
        result = self.bad(1, "load", self.path, "--device=gpu", environment=self.driver)
        self.assertEqual(result.err, "tare: no device is called 'gpu'; one is cuda:0\n")
        self.bad(1, "load", "absent", "--device=cuda:0", environment=self.driver)

    def test_a_driver_without_a_function_is_too_old(self):
        compiler = shutil.which("cc")
        if compiler is None:
            self.skipTest("no compiler")
        with tempfile.TemporaryDirectory() as folder:
            source = self.folder / "empty.c"
            source.write_text("int cuInit(unsigned flags) { return (int)flags; }\n")
            os.system(f"{compiler} -shared -fPIC {source} -o {folder}/libcuda.so.1")
            result = self.bad(1, "load", self.path, "--device=cuda:0",
                              environment={"LD_LIBRARY_PATH": folder})
        self.assertEqual(result.err, "tare: cuda: libcuda.so.1 has no cuGetErrorName: the driver is "
                                     "too old\n")


if __name__ == "__main__":
    cli_support.main()
