"""The exceptions of the package safetensors: theirs where it is installed, so that who catches
`safetensors.SafetensorError` catches these too."""

from typing import TYPE_CHECKING

from .. import errors
from ..errors import (  # noqa: F401  theirs raise FileNotFoundError and MemoryError, no more
    FileMissingError,
    OutOfMemoryError,
)

if TYPE_CHECKING:

    class SafetensorError(Exception): ...

else:
    try:
        from safetensors import SafetensorError
    except ImportError:

        class SafetensorError(Exception):
            """What is wrong with a file, or with what was asked of it."""


class FormatError(SafetensorError, errors.FormatError):
    """A file is not what its format allows."""


class ArgumentError(SafetensorError, errors.ArgumentError):
    """An argument has a value that it cannot have."""


class RequestError(ArgumentError):
    """A framework or a device that is not there."""


class FileError(SafetensorError, errors.FileError):
    """The operating system refused something; `errno` says what."""


class FileAccessError(FileError, errors.FileAccessError):
    """The file may not be opened."""


class FilePresentError(FileError, errors.FilePresentError):
    """The file is there already."""


class FolderMissingError(FileError, errors.FileMissingError):
    """There is no such folder to write to."""


class CancelledError(SafetensorError, errors.CancelledError):
    """The caller stopped it."""


class ClosedError(SafetensorError, errors.ClosedError):
    """The file was closed."""


class SliceError(SafetensorError, errors.SliceError):
    """An index does not fit the tensor."""


class MissingTensorError(SafetensorError, errors.MissingTensorError):
    """No tensor has that name."""

    __str__ = errors.MissingTensorError.__str__
