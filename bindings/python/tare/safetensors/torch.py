"""What `safetensors.torch` has."""

import os
from typing import Any, Dict, Iterable, List, Optional, Set, Tuple, Union

import torch

from .._tare import safe_open
from ..saving import Path, Spec, torch_spec
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
    "load_model",
    "safe_open",
    "save",
    "save_file",
    "save_model",
    "serialize",
    "serialize_file",
    "storage_ptr",
    "storage_size",
]

SHARED = (
    "save_model() keeps one name of each; "
    "https://huggingface.co/docs/safetensors/torch_shared_tensors tells more"
)


def _storage(tensor: torch.Tensor) -> Any:
    if hasattr(tensor, "untyped_storage"):
        return tensor.untyped_storage()
    return tensor.storage()  # before torch 2


def storage_ptr(tensor: torch.Tensor) -> int:
    """The address of the memory that a tensor is a part of."""
    return int(_storage(tensor).data_ptr())


def storage_size(tensor: torch.Tensor) -> int:
    """The size of that memory in bytes."""
    return int(_storage(tensor).nbytes())


def _extent(tensor: torch.Tensor) -> Tuple[int, int]:
    """Where the bytes of its elements begin and end."""
    if tensor.numel() == 0:
        return tensor.data_ptr(), tensor.data_ptr()
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    begin = tensor.data_ptr()
    return begin, begin + (last + 1) * tensor.element_size()


def _shared(tensors: Dict[str, torch.Tensor]) -> List[Set[str]]:
    """Sets of names whose tensors overlap in memory."""
    storages: Dict[Tuple[Any, ...], List[str]] = {}
    for name, tensor in tensors.items():
        if tensor.device.type == "meta" or storage_size(tensor) == 0:
            continue
        if storage_ptr(tensor) != 0:
            storages.setdefault((tensor.device, storage_ptr(tensor)), []).append(name)
    found = []
    for names in storages.values():
        end = -1
        for name in sorted(names, key=lambda name: (_extent(tensors[name]), name)):
            begin, stop = _extent(tensors[name])
            if begin >= end:
                found.append({name})
            else:
                found[-1].add(name)
            end = max(end, stop)
    return [names for names in found if len(names) > 1]


def _is_whole(tensor: torch.Tensor) -> bool:
    size = tensor.numel() * tensor.element_size()
    return tensor.data_ptr() == storage_ptr(tensor) and size == storage_size(tensor)


def _names_to_drop(
    tensors: Dict[str, torch.Tensor], preferred: Iterable[str] = ()
) -> Dict[str, List[str]]:
    """{name to keep: names of the same bytes}, which no file can have twice."""
    wanted = set(preferred)
    dropped = {}
    for names in _shared(tensors):
        whole = {name for name in names if _is_whole(tensors[name])}
        if not whole:
            raise RuntimeError(
                f"the tensors {sorted(names)} share memory, and none of them is all of "
                "it: saving one would lose what the others have beyond it"
            )
        keep = min(whole & wanted or whole)
        dropped[keep] = sorted(names - {keep})
    return dropped


def _check(tensors: Dict[str, torch.Tensor]) -> None:
    if not isinstance(tensors, dict):
        raise ValueError(f"tensors are a dict of str and torch.Tensor, not {type(tensors)}")
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{name!r} is a {type(tensor)}, not a torch.Tensor")
    sparse = [name for name, tensor in tensors.items() if tensor.layout != torch.strided]
    if sparse:
        raise ValueError(
            f"sparse tensors cannot be saved: {sparse}; to_dense() makes others of them"
        )
    shared = _shared(tensors)
    if shared:
        raise RuntimeError(
            f"Some tensors share memory, which would be saved twice: {shared}. {SHARED}"
        )
    for name, tensor in tensors.items():
        if not tensor.is_contiguous():
            raise ValueError(
                f"{name!r} is non contiguous; contiguous() packs it, or save only the "
                "tensor that it is a part of"
            )


def _specs(tensors: Dict[str, torch.Tensor], kept: List[Any]) -> List[Spec]:
    _check(tensors)
    try:
        return [torch_spec(name, tensor, kept) for name, tensor in tensors.items()]
    except ValueError as error:
        raise translated(error) from None


def save(tensors: Dict[str, torch.Tensor], metadata: Optional[Dict[str, str]] = None) -> bytes:
    """The bytes of a safetensors file of these tensors."""
    kept: List[Any] = []
    made = write(None, _specs(tensors, kept), metadata)
    assert made is not None
    return made


def save_file(
    tensors: Dict[str, torch.Tensor], filename: Path, metadata: Optional[Dict[str, str]] = None
) -> None:
    """Writes a safetensors file of these tensors."""
    kept: List[Any] = []
    write(os.fspath(filename), _specs(tensors, kept), metadata)


def load(data: bytes) -> Dict[str, torch.Tensor]:
    """All tensors of a file in memory, as tensors of their own."""
    with open_bytes(data) as model:
        return model.load(framework="torch")


def load_file(
    filename: Path, device: Union[str, int] = "cpu", *, backend: str = "mmap"
) -> Dict[str, torch.Tensor]:
    """All tensors of a file. On the CPU they are mapped, as those of safetensors: writing to one
    changes the tensor and not the file. To a GPU they are loaded into one block of its memory."""
    with safe_open(filename, framework="pt", device=device, backend=backend) as file:
        return file.get_tensors()


def save_model(
    model: torch.nn.Module,
    filename: str,
    metadata: Optional[Dict[str, str]] = None,
    force_contiguous: bool = True,
) -> None:
    """Saves a module. Of tensors that share memory one is written; metadata names the others."""
    tensors = model.state_dict()
    texts = dict(metadata or {})
    for keep, names in _names_to_drop(tensors).items():
        for name in names:
            texts.setdefault(name, keep)
            del tensors[name]
    if force_contiguous:
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        save_file(dict(tensors), filename, texts or None)
    except ValueError as error:
        raise ValueError(f"{error} Or use save_model(..., force_contiguous=True)") from error


def load_model(
    model: torch.nn.Module,
    filename: Path,
    strict: bool = True,
    device: Union[str, int] = "cpu",
    *,
    backend: str = "mmap",
) -> Tuple[Set[str], List[str]]:
    """Loads a file that save_model wrote into a module: the names that the file lacks, and those
    that the module lacks."""
    tensors = load_file(filename, device=device, backend=backend)
    dropped = _names_to_drop(model.state_dict(), preferred=tensors)
    result = model.load_state_dict(tensors, strict=False)
    missing, unexpected = set(result.missing_keys), list(result.unexpected_keys)
    for names in dropped.values():
        unexpected += [name for name in names if name not in missing]
        missing -= set(names)
    if strict and (missing or unexpected):
        lines = [f"Error(s) in loading state_dict for {type(model).__name__}:"]
        for what, names in (("Missing", missing), ("Unexpected", unexpected)):
            if names:
                quoted = ", ".join(f'"{name}"' for name in sorted(names))
                lines.append(f"{what} key(s) in state_dict: {quoted}")
        raise RuntimeError("\n    ".join(lines))
    return missing, unexpected
