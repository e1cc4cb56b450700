"""What help() and inspect.signature() have of everything public, and that calls take just that."""

import inspect
import pydoc
import sys

import numpy
import pytest
import safetensors
import safetensors.numpy
import tare
import tare.safetensors
import tare.safetensors.numpy
from tare._tare import PySafeSlice
from tare.safetensors import safe_open

MODULES = [tare, tare.safetensors, tare.safetensors.numpy]
try:
    import tare.safetensors.torch

    MODULES.append(tare.safetensors.torch)
except ImportError:
    pass
is_old = sys.version_info < (3, 10)  # which has no signatures of types that are made as ours
MADE = {tare.Model, tare.Tensor, tare.DeviceTensor, PySafeSlice}  # not by hand


def is_ours(thing):
    return (getattr(thing, "__module__", None) or "").partition(".")[0] == "tare"


def everything():
    """(name, thing) of functions and classes, and of what these have."""
    for module in MODULES:
        for name in getattr(module, "__all__", None) or dir(module):
            thing = getattr(module, name)
            if name.startswith("_") or not (inspect.isclass(thing) or callable(thing)):
                continue
            if is_ours(thing):
                yield f"{module.__name__}.{name}", thing
            if inspect.isclass(thing) and is_ours(thing):
                yield from members(f"{module.__name__}.{name}", thing)
    yield from members("PySafeSlice", PySafeSlice)


def members(name, kind):
    for attribute, thing in vars(kind).items():
        own = not attribute.startswith("__") or attribute in ("__array__", "__dlpack__", "__exit__")
        if own and not attribute.startswith("_abc") and not isinstance(thing, (str, type(None))):
            yield f"{name}.{attribute}", thing


THINGS = dict(everything())


@pytest.mark.parametrize("name", THINGS)
def test_help_says_something(name):
    thing = THINGS[name]
    text = (thing.__doc__ or "").strip()
    assert text and "\n--\n" not in text and all(len(line) <= 100 for line in text.splitlines())
    without = inspect.isclass(thing) and (issubclass(thing, Exception) or is_old)
    if callable(thing) and thing not in MADE and not without:
        assert str(inspect.signature(thing)).startswith("(")
    assert name.rpartition(".")[2] in pydoc.render_doc(thing, renderer=pydoc.plaintext)


def test_what_is_looked_at_is_all_there_is():
    for name in ("tare.open", "tare.Model.load", "tare.Model.metadata", "tare.Tensor.numpy",
                 "tare.safetensors.safe_open.get_tensor", "tare.save_file"):  # fmt: skip
        assert name in THINGS
    assert len(THINGS) > 70


def defaults(call):
    return {
        name: parameter.default
        for name, parameter in inspect.signature(call).parameters.items()
        if parameter.default is not parameter.empty
    }


def test_calls_take_the_arguments_that_they_tell(path):
    """By name, with the defaults that the signature has, and no others."""
    model = tare.open(path, index="never")
    tensor, file = model["t.F32"], safe_open(path, "np")
    for call, given in (
        (tare.open, {"source": path}),
        (model.get, {"key": "t.F32"}),
        (model.load, {}),
        (model.save_index, {}),
        (model.check_index, {}),
        (tensor.__array__, {}),
        (tensor.__dlpack__, {}),
        *([] if is_old else [(safe_open, {"filename": path, "framework": "np"})]),
        (file.get_tensor, {"name": "t.F32"}),
        (file.get_slice, {"name": "t.F32"}),
    ):
        told = inspect.signature(call).parameters
        assert set(told) == set(defaults(call)) | set(given)
        assert type(call(**given, **defaults(call))) is type(call(**given))
        with pytest.raises(TypeError):
            call(**given, nothing=None)
        first = next(iter(told.values()), None)
        if first is not None and first.kind is first.KEYWORD_ONLY:
            with pytest.raises(TypeError):
                call(None)
    for call in (file.get_tensor, file.get_slice):
        for wrong in (lambda: call(), lambda: call("a", "b"), lambda: call("a", name="a")):
            with pytest.raises(TypeError, match="one argument, name"):
                wrong()
    numpy.testing.assert_array_equal(model.get(key="t.F32").numpy(), file.get_tensor("t.F32"))
    assert model.get("x", default=5) == 5


@pytest.mark.skipif(is_old, reason="safetensors 0.8 is for Python 3.10 and later")
def test_signatures_are_those_of_safetensors():
    for name in dir(safetensors.safe_open):
        if name.startswith("__") and name not in ("__enter__", "__exit__"):
            continue
        one, other = (inspect.signature(getattr(kind, name)).parameters
                      for kind in (safetensors.safe_open, safe_open))  # fmt: skip
        if name != "__exit__":  # whose names nobody writes
            assert [(p.name, p.kind) for p in one.values()][1:] == [
                (p.name, p.kind) for p in other.values()
            ][1:]
    one, other = (inspect.signature(kind).parameters for kind in (safetensors.safe_open, safe_open))
    assert [(p.name, p.kind) for p in one.values()] == [(p.name, p.kind) for p in other.values()]
