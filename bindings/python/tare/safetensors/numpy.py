"""What `safetensors.numpy` has."""

import os
from typing import Any, Dict, List, Optional

from .._tare import safe_open
from ..saving import Path, Spec, numpy_spec
from ._serialize import (
    TensorSpec,
    deserialize,
    open_bytes,
    serialize,
    serialize_file,
    translated,
    write,
)

__all__ = [
    "TensorSpec",
    "deserialize",
    "load",
    "load_file",
    "safe_open",
    "save",
    "save_file",
    "serialize",
    "serialize_file",
]


def _specs(tensor_dict: Dict[str, Any], kept: List[Any]) -> List[Spec]:
    try:
        return [numpy_spec(name, array, kept) for name, array in tensor_dict.items()]
    except ValueError as error:
        raise translated(error) from None


def save(tensor_dict: Dict[str, Any], metadata: Optional[Dict[str, str]] = None) -> bytes:
    """The bytes of a safetensors file of these arrays."""
    kept: List[Any] = []
    made = write(None, _specs(tensor_dict, kept), metadata)
    assert made is not None
    return made


def save_file(
    tensor_dict: Dict[str, Any], filename: Path, metadata: Optional[Dict[str, str]] = None
) -> None:
    """Writes a safetensors file of these arrays. Arrays that are not contiguous are packed."""
    kept: List[Any] = []
    write(os.fspath(filename), _specs(tensor_dict, kept), metadata)


def load(data: bytes) -> Dict[str, Any]:
    """All tensors of a file in memory, as arrays of their own."""
    with open_bytes(data) as model:
        return model.load()


def load_file(filename: Path, *, backend: str = "mmap") -> Dict[str, Any]:
    """All tensors of a file as arrays, which lie in one block of memory."""
    with safe_open(filename, framework="np", backend=backend) as file:
        return file.get_tensors()
