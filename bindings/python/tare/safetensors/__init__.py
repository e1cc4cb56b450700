"""What the package safetensors has, on tare: `from tare.safetensors import safe_open`.

Functions have the signatures of safetensors 0.8. Those of `safetensors.numpy` are here and in
`tare.safetensors.numpy`, those of `safetensors.torch` in `tare.safetensors.torch`.
"""

from .._tare import safe_open
from ._errors import SafetensorError
from ._serialize import TensorSpec, deserialize, serialize, serialize_file
from .numpy import load, load_file, save, save_file

__all__ = [
    "SafetensorError",
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
