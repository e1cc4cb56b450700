"""Saving arrays as safetensors. What an array is made of is found out here; all else is in C."""

import os
import sys
from collections.abc import Mapping
from typing import Any, Dict, List, Optional, Tuple, Union

from . import _tare

#: What numpy, ml_dtypes and torch call the dtypes.
DTYPES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "float8_e5m2": "F8_E5M2",
    "float8_e4m3fn": "F8_E4M3", "float8_e8m0fnu": "F8_E8M0", "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ", "float4_e2m1fn_x2": "F4", "int16": "I16", "uint16": "U16",
    "float16": "F16", "bfloat16": "BF16", "int32": "I32", "uint32": "U32", "float32": "F32",
    "complex64": "C64", "float64": "F64", "int64": "I64", "uint64": "U64",
}  # fmt: skip

Path = Union[str, "os.PathLike[str]"]
Spec = Tuple[str, str, Tuple[int, ...], Any]


def dtype_code(name: str) -> str:
    """The name that files have for a framework's dtype, or for one of their own names."""
    code = DTYPES.get(name, name)
    if code not in DTYPES.values():
        raise ValueError(f"safetensors has no dtype for {name}")
    return code


def numpy_spec(name: str, array: Any, kept: List[Any]) -> Spec:
    import numpy

    if numpy.ma.is_masked(array):
        raise ValueError(f"tensor {name!r} is masked in part; filled() makes a whole one of it")
    given, array = array, numpy.asarray(array)
    if array.dtype.hasobject:
        raise ValueError(f"tensor {name!r} is a {type(given).__name__}, and not one of numbers")
    code = dtype_code(array.dtype.name)
    if not array.flags.c_contiguous or array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"), order="C")
    kept.append(array)
    return name, code, array.shape, (array.__array_interface__["data"][0], array.nbytes)


def torch_fault(tensor: Any) -> Optional[str]:
    """Why a tensor of torch is not one of numbers that lie in some memory, one by one."""
    if getattr(tensor, "is_nested", False):
        return "is nested: its tensors have no common shape"
    if str(tensor.layout) != "torch.strided":
        return f"is {tensor.layout}; to_dense() makes another of it"
    if tensor.device.type == "meta":
        return "is on the device meta, and has no numbers"
    return None


def torch_spec(name: str, tensor: Any, kept: List[Any]) -> Spec:
    fault = torch_fault(tensor)
    if fault is not None:
        raise ValueError(f"tensor {name!r} {fault}")
    code = dtype_code(str(tensor.dtype).rsplit(".", 1)[-1])
    # Conjugation and a sign can be marks on a tensor, of which its bytes know nothing.
    tensor = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    kept.append(tensor)
    shape = tuple(tensor.shape)
    if code == "F4" and shape:
        shape = (*shape[:-1], 2 * shape[-1])
    try:
        address = tensor.data_ptr()
    except RuntimeError as error:  # of classes that keep their numbers elsewhere
        raise ValueError(f"tensor {name!r} has no bytes of its own: {error}") from error
    return name, code, shape, (address, tensor.numel() * tensor.element_size())


def is_torch(array: Any) -> bool:
    """Whether it is a tensor of torch, or of a class made from it."""
    kind = getattr(sys.modules.get("torch"), "Tensor", None)
    return kind is not None and isinstance(array, kind)


def spec_of(name: str, array: Any, kept: List[Any]) -> Spec:
    if isinstance(array, _tare.Tensor):
        return name, array.dtype, array.shape, array
    if is_torch(array):
        return torch_spec(name, array, kept)
    return numpy_spec(name, array, kept)


def write(
    path: Optional[Path],
    tensors: "Mapping[str, Any]",
    metadata: Optional[Dict[str, str]],
    align: int,
) -> Optional[bytes]:
    kept: List[Any] = []  # until all is written
    specs = [spec_of(name, array, kept) for name, array in tensors.items()]
    return _tare.save(path, specs, dict(metadata or {}), align)


def save_file(
    tensors: "Mapping[str, Any]",
    path: Path,
    metadata: Optional[Dict[str, str]] = None,
    *,
    align: int = 0,
) -> None:
    """Writes a safetensors file of arrays of numpy or torch, or of tensors of open models. The file
    replaces another one as a whole, when it is complete and on the disk."""
    write(os.fspath(path), tensors, metadata, align)


def save(
    tensors: "Mapping[str, Any]", metadata: Optional[Dict[str, str]] = None, *, align: int = 0
) -> bytes:
    """The bytes of that file."""
    made = write(None, tensors, metadata, align)
    assert made is not None
    return made
