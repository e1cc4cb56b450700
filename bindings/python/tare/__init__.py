"""Tensors of large models by name: dtype, shape and bytes.

import tare

with tare.open("model.safetensors") as model:
    weight = model["model.embed_tokens.weight"].numpy()
"""

from collections.abc import Mapping as _Mapping

from ._tare import Device, DeviceTensor, Model, Tensor, __version__, open
from .errors import (
    ArgumentError,
    CancelledError,
    ClosedError,
    FileAccessError,
    FileError,
    FileMissingError,
    FilePresentError,
    FormatError,
    MissingTensorError,
    OutOfMemoryError,
    SliceError,
    TareError,
)
from .saving import save, save_file

_Mapping.register(Model)

__all__ = [
    "ArgumentError",
    "CancelledError",
    "ClosedError",
    "Device",
    "DeviceTensor",
    "FileAccessError",
    "FileError",
    "FileMissingError",
    "FilePresentError",
    "FormatError",
    "MissingTensorError",
    "Model",
    "OutOfMemoryError",
    "SliceError",
    "TareError",
    "Tensor",
    "__version__",
    "open",
    "save",
    "save_file",
]
