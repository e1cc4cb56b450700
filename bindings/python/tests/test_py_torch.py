"""With torch, where it is installed."""

import pathlib
import warnings

import numpy
import pytest
import tare
from conftest import BITS, PLAIN, build
from tare.safetensors import SafetensorError

torch = pytest.importorskip("torch", reason="torch is not installed")

import tare.safetensors.torch as ours  # noqa: E402

theirs = pytest.importorskip("safetensors.torch")

DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "U16": "uint16", "F16": "float16",
    "BF16": "bfloat16", "I32": "int32", "U32": "uint32", "F32": "float32", "C64": "complex64",
    "F64": "float64", "I64": "int64", "U64": "uint64", "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn", "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip


def same(a, b):
    assert a.dtype == b.dtype and a.shape == b.shape
    assert torch.equal(
        a.contiguous().view(-1).view(torch.uint8) if a.numel() else a.flatten(),
        b.contiguous().view(-1).view(torch.uint8) if b.numel() else b.flatten(),
    )


@pytest.fixture
def every(tmp_path):
    rows = [
        (code, code, [2, 240 * 4 // BITS[code]], bytes(n % 2 for n in range(240)))
        for code in DTYPES
        if hasattr(torch, DTYPES[code])
    ]
    file = tmp_path / "every.safetensors"
    file.write_bytes(build(rows))
    return file


def test_every_dtype_is_what_safetensors_makes_of_it(every):
    model, reference = tare.open(every), theirs.load_file(every)
    for name in model:
        for found in (
            model[name].torch(),
            model.load(framework="torch")[name],
            ours.load_file(every)[name],
            ours.load(every.read_bytes())[name],
        ):
            same(found, reference[name])


def test_tensors_are_mapped_and_may_be_written_to(every):
    before = every.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, other = tare.open(every)["F32"].torch(), ours.load_file(every)["F32"]
    assert "every.safetensors" in pathlib.Path("/proc/self/maps").read_text()
    one.add_(1), other.zero_()
    assert every.read_bytes() == before
    assert (tare.open(every)["F32"].numpy() != one.numpy()).all()


def test_read_only_bytes_are_copied(every):
    content = every.read_bytes()
    kept = bytes(bytearray(content))
    tare.open(content)["F32"].torch().add_(1)
    assert content == kept
    shared = bytearray(content)
    tare.open(shared)["F32"].torch().add_(1)
    assert bytes(shared) != kept, "these may be written to, and are not copied"


def test_a_copy_is_the_callers_own(every):
    tensor = tare.open(every)["F32"]
    before = tensor.numpy().copy()
    tensor.torch(copy=True).add_(1)
    assert (tensor.numpy() == before).all()
    one = tensor.torch()
    one.add_(1)
    assert (tensor.torch() == one).all() and (tensor.numpy() == before + 1).all(), "as docs tell"
    assert (tare.open(every)["F32"].numpy() == before).all()


def test_dlpack_goes_to_torch(every):
    tensor = torch.from_dlpack(tare.open(every)["F32"])
    same(tensor, theirs.load_file(every)["F32"])


def test_bytes_stay_while_a_tensor_lives(every):
    model = tare.open(every)
    tensor = model["F32"].torch()[1:]
    model.close()
    del model
    every.unlink()
    assert (
        tensor.shape == (1, 30)
        and "every.safetensors" in pathlib.Path("/proc/self/maps").read_text()
    )
    del tensor
    assert "every.safetensors" not in pathlib.Path("/proc/self/maps").read_text()


KEYS = [0, slice(1), slice(0, 2), ..., (0, 1), (slice(None), slice(3, 9)), (..., 2),
        (slice(None), slice(0, 30, 7))]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_slices_are_those_of_safetensors(every, key):
    with theirs.safe_open(every, "pt") as one, ours.safe_open(every, "pt") as other:
        for name in ("F32", "BF16", "I8"):
            same(other.get_slice(name)[key], one.get_slice(name)[key])
            assert other.get_slice(name)[key].is_contiguous()


ODD_KEYS = {
    "list": [1, 0],
    "tensor": torch.tensor([1, 1, 0]),
    "tensor of one": torch.tensor([1]),
    "tensor of none": torch.tensor(1),
    "mask": torch.tensor([False, True]),
    "columns": (slice(None), [3, 0]),
    "both": ([0, 1], [2, 3]),
    "true": True,
    "rows of a list": (slice(1), ..., [2]),
}


@pytest.mark.parametrize("key", ODD_KEYS.values(), ids=ODD_KEYS)
def test_what_torch_takes_for_an_index_is_one(every, key):
    with theirs.safe_open(every, "pt") as one, ours.safe_open(every, "pt") as other:
        for name in ("F32", "BF16", "BOOL"):
            same(other.get_slice(name)[key], one.get_slice(name)[key])
        for wrong in ([7], "x", (0, 0, [0])):
            with pytest.raises((IndexError, TypeError)):
                other.get_slice("F32")[wrong]


def test_slices_may_go_backwards(every):
    with ours.safe_open(every, "pt") as file:
        whole = file.get_tensor("F32")
        same(file.get_slice("F32")[::-1, 20:3:-4], whole.flip(0)[:, [20, 16, 12, 8, 4]])


def test_empty_scalar_and_unaligned_tensors(tmp_path):
    file = tmp_path / "odd.safetensors"
    rows = [("x", "U8", [1], b"x"), ("f", "F32", [], b"\0\0\x80?"), ("e", "F32", [0, 3], b"")]
    file.write_bytes(build(rows))
    found = ours.load_file(file)
    assert found["f"].item() == 1 and found["f"].shape == () and found["e"].shape == (0, 3)
    file.write_bytes(build([("q", "F4", [2, 4], b"abcd")]))
    if not hasattr(torch, "float4_e2m1fn_x2"):
        with pytest.raises(ImportError, match="this torch is too old for F4"):
            ours.load_file(file)
    else:
        found = ours.load_file(file)
        assert found["q"].shape == (2, 2) and found["q"].dtype == torch.float4_e2m1fn_x2


def test_what_is_saved_is_what_safetensors_saves(every, tmp_path):
    tensors = theirs.load_file(every)
    for texts in (None, {"format": "pt"}):
        assert ours.save(tensors, texts) == theirs.save(tensors, texts) == tare.save(tensors, texts)
    ours.save_file(tensors, tmp_path / "out", {"a": "b"})
    assert (tmp_path / "out").read_bytes() == theirs.save(tensors, {"a": "b"})


def outcome(call, *arguments):
    try:
        return "fine", call(*arguments)
    except Exception as error:
        return type(error), None


def test_shared_and_odd_tensors_are_refused_as_theirs():
    base = torch.arange(12.0)
    for tensors in (
        {"a": base, "b": base},
        {"a": base[:6], "b": base[6:]},
        {"a": base[:7], "b": base[6:]},
        {"a": base.view(3, 4).T},
        {"a": base[::2]},
        {"a": base, "b": torch.zeros(3)},
        {"a": torch.eye(2).to_sparse()},
        {"a": 3},
        [base],
        {"a": torch.zeros(0), "b": torch.zeros(0)},
        {"a": base.view(3, 4), "b": base},
    ):
        assert outcome(ours.save, tensors) == outcome(theirs.save, tensors), tensors


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 4)
        self.second = torch.nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight


class Own(torch.Tensor):
    """As users derive it."""


class Wrapped(torch.Tensor):
    """Whose numbers are another tensor's."""

    @staticmethod
    def __new__(cls, inner):
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), named=None):
        return cls(arguments[0].inner)


def test_marks_on_tensors_are_saved_as_numbers():
    whole = torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex64)
    conjugated = whole.conj()
    assert conjugated.is_conj() and conjugated.contiguous().is_conj()
    negated = torch._neg_view(torch.tensor([1.0, -2.0]))
    assert negated.is_neg() and negated.contiguous().is_neg() and conjugated.imag.is_neg()
    for save in (tare.save, ours.save):
        saved = tare.open(save({"c": conjugated, "n": negated}))
        assert saved["c"].torch().tolist() == [1 - 2j, 3 + 4j]
        assert saved["n"].numpy().tolist() == [-1, 2]
    saved = tare.open(tare.save({"i": conjugated.imag, "h": whole.reshape(1, 2).mH}))
    assert saved["i"].numpy().tolist() == [-2, 4]
    assert saved["h"].torch().tolist() == [[1 - 2j], [3 + 4j]]


def test_tensors_are_saved_as_they_look_whatever_they_are():
    plain = torch.arange(6.0).reshape(2, 3)
    leaf = torch.nn.Parameter(plain.clone())
    for odd in (leaf, leaf * 2, plain.as_subclass(Own), leaf.detach().as_subclass(Own).bfloat16(),
                torch.nn.Parameter(plain).as_subclass(Own), plain.T, plain[1:, 1:], plain[:0],
                torch.ones(1).expand(3), plain.view(-1)[::2], torch.tensor(3)):  # fmt: skip
        same(tare.open(tare.save({"t": odd}))["t"].torch(), odd.detach().as_subclass(torch.Tensor))


def test_tensors_that_are_no_numbers_in_memory_are_refused():
    ragged = getattr(torch, "nested_tensor", None) or torch.nested.nested_tensor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # beta, says torch
        for odd, why in (
            (torch.eye(2).to_sparse(), "tensor 't' is torch.sparse_coo; to_dense()"),
            (torch.eye(2).to_sparse_csr(), "tensor 't' is torch.sparse_csr; to_dense()"),
            (torch.ones(2, device="meta"), "tensor 't' is on the device meta"),
            (ragged([torch.ones(2), torch.ones(3)]), "tensor 't' is nested"),
            (torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8), "no dtype for qint8"),
            (torch.ones(2, dtype=torch.complex128), "no dtype for complex128"),
            (Wrapped(torch.ones(2)), "tensor 't' has no bytes of its own|at no address"),
        ):
            with pytest.raises(ValueError, match=why):
                tare.save({"t": odd})


def test_models_with_tied_weights_are_saved_and_loaded_as_theirs(tmp_path):
    model = Tied()
    ours.save_model(model, str(tmp_path / "ours"), {"k": "v"})
    theirs.save_model(model, str(tmp_path / "theirs"), {"k": "v"})
    one, other = (theirs.safe_open(tmp_path / name, "pt") for name in ("ours", "theirs"))
    assert one.metadata() == other.metadata() and one.keys() == other.keys()
    for load in (ours.load_model, theirs.load_model):
        copy = Tied()
        missing, unexpected = load(copy, tmp_path / "ours")
        assert not missing and not unexpected
        same(copy.second.weight.data, model.first.weight.data)
    small = torch.nn.Linear(4, 4)
    with pytest.raises(RuntimeError, match="Missing key"):
        ours.load_model(small, tmp_path / "ours")
    assert ours.load_model(small, tmp_path / "ours", strict=False) == (
        {"weight", "bias"},
        ["first.bias", "first.weight"],
    )


def test_another_device_is_asked_for(every):
    """`meta` is one that every torch has."""
    assert ours.load_file(every, device="meta")["F32"].device.type == "meta"
    with ours.safe_open(every, "pt", device="meta") as file:
        assert file.get_tensor("F32").is_meta and file.get_slice("F32")[:1].is_meta
    with ours.safe_open(every, "pt", device=torch.device("cpu")) as file:
        assert file.get_tensor("F32").device.type == "cpu"


def test_what_is_no_device_is_refused_as_theirs(every):
    for wrong in ("tpux", -1):
        for module in (ours, theirs):
            with pytest.raises(SafetensorError, match="device .* is invalid"):
                module.safe_open(every, "pt", device=wrong)


def test_tensors_share_memory_where_theirs_do(every):
    """Two of one name, of an open file that is mapped; and no others."""
    found = []
    for module in (ours, theirs):
        shares = []
        for backend in ("mmap", "pread"):
            with module.safe_open(every, "pt", backend=backend) as file:
                one, other = file.get_tensor("F32"), file.get_tensors()["F32"]
                one.zero_(), other.zero_().add_(7)
                shares.append(bool(one.eq(7).all()))
        one, other = module.load_file(every)["F32"], module.load_file(every)["F32"]
        one.zero_(), other.zero_().add_(7)
        shares.append(bool(one.eq(7).all()))
        found.append(shares)
    assert found == [[True, False, False]] * 2


def test_storages_are_those_of_safetensors():
    tensor = torch.arange(6.0)[2:]
    for name in ("storage_ptr", "storage_size"):
        assert getattr(ours, name)(tensor) == getattr(theirs, name)(tensor)


def test_numpy_and_torch_see_the_same_bytes(every):
    model = tare.open(every)
    for name in PLAIN:
        if name in model:
            numpy.testing.assert_array_equal(model[name].torch().numpy(), model[name].numpy())
