"""The calls of safetensors that know no framework, and what its other calls have in common here."""

import operator
import os
from collections.abc import Sequence
from typing import Any, Dict, List, Optional, Tuple

from .. import _tare, errors
from .._tare import Model, open
from ..saving import Path, Spec, dtype_code
from . import _errors
from ._errors import SafetensorError


def translated(error: Exception) -> Exception:
    """The same as an exception of theirs, where they have one for it."""
    if isinstance(error, SafetensorError):
        return error
    if not isinstance(error, errors.TareError):
        return _errors.ArgumentError(*error.args) if isinstance(error, ValueError) else error
    made: errors.TareError = getattr(_errors, type(error).__name__)(*error.args)
    vars(made).update(vars(error))
    if isinstance(made, OSError) and isinstance(error, OSError):
        made.errno = error.errno
    return made


def translated_write(error: Exception) -> Exception:
    """To theirs a folder that is missing is no missing file, but a file that cannot be written."""
    made = translated(error)
    if not isinstance(made, errors.FileMissingError):
        return made
    folder = _errors.FolderMissingError(*made.args)
    vars(folder).update(vars(made))
    folder.errno = made.errno
    return folder


def write(
    path: Optional[Path], specs: List[Spec], metadata: Optional[Dict[str, str]]
) -> Optional[bytes]:
    if metadata is not None and not isinstance(metadata, dict):
        raise TypeError(f"metadata is a dict of str, not {type(metadata)}")
    try:
        return _tare.save(path, specs, metadata or {}, 0)
    except (errors.TareError, ValueError) as error:
        raise translated_write(error) from None


def open_bytes(data: bytes) -> Model:
    try:
        return open(memoryview(data))
    except errors.TareError as error:
        raise translated(error) from None


def _size(number: Any) -> int:
    """What has an address or a count, as int."""
    made = operator.index(number)
    if not 0 <= made < 1 << 64:
        raise OverflowError(f"{made} is no address and no size")
    return made


class TensorSpec:
    """One tensor to serialize: `data_ptr` is an address, whose bytes must stay until then, and
    `shape` that of the framework, which is doubled where two elements share a byte."""

    def __init__(self, *, dtype: str, shape: "Sequence[int]", data_ptr: int, data_len: int) -> None:
        if not isinstance(dtype, str):
            raise TypeError(f"dtype is a str, not {type(dtype)}")
        try:
            self.dtype = dtype_code(dtype)
        except ValueError as error:
            raise translated(error) from None
        self.shape = [_size(number) for number in shape]
        if dtype == "float4_e2m1fn_x2" and self.shape:
            self.shape[-1] *= 2
        self.data_ptr = _size(data_ptr)
        self.data_len = _size(data_len)

    def __repr__(self) -> str:
        return (
            f"TensorSpec(dtype={self.dtype!r}, shape={self.shape}, data_ptr={self.data_ptr}, "
            f"data_len={self.data_len})"
        )


def specs_of(tensor_dict: "Dict[str, TensorSpec]") -> List[Spec]:
    return [
        (name, spec.dtype, tuple(spec.shape), (spec.data_ptr, spec.data_len))
        for name, spec in tensor_dict.items()
    ]


def serialize(
    tensor_dict: "Dict[str, TensorSpec]", metadata: Optional[Dict[str, str]] = None
) -> bytes:
    """The bytes of a safetensors file of these tensors."""
    made = write(None, specs_of(tensor_dict), metadata)
    assert made is not None
    return made


def serialize_file(
    tensor_dict: "Dict[str, TensorSpec]", filename: Path, metadata: Optional[Dict[str, str]] = None
) -> None:
    """Writes a safetensors file of these tensors."""
    write(os.fspath(filename), specs_of(tensor_dict), metadata)


def deserialize(bytes: bytes) -> List[Tuple[str, Dict[str, Any]]]:
    """The names of a file in memory, each with dtype, shape and a copy of its bytes."""
    with open_bytes(bytes) as model:
        return [
            (
                tensor.name,
                {
                    "shape": list(tensor.shape),
                    "dtype": tensor.dtype,
                    "data": bytearray(tensor.tobytes()),
                },
            )
            for tensor in model.values()
        ]
