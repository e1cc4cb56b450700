"""What goes wrong. Every class is also one of Python's own that fits."""

from typing import Optional


class TareError(Exception):
    """The library refused something. The message names the file, and the tensor if there is one."""

    status: str = ""  #: such as "TARE_E_JSON"
    offset: Optional[int] = None  #: bytes from the start of that shard, or of the shard index
    shard: Optional[int] = None  #: number of the shard whose content is at fault


class FormatError(TareError, ValueError):
    """A file is not what its format allows."""


class ArgumentError(TareError, ValueError):
    """An argument has a value that it cannot have, or asks for more than there can be."""


class ClosedError(TareError, ValueError):
    """The model was closed."""


class SliceError(TareError, IndexError):
    """An index does not fit the tensor."""


class CancelledError(TareError):
    """The caller stopped it."""


class FileError(TareError, OSError):
    """The operating system refused something; `errno` says what."""


class FileMissingError(FileError, FileNotFoundError):
    """There is no such file."""


class FileAccessError(FileError, PermissionError):
    """The file may not be opened."""


class FilePresentError(FileError, FileExistsError):
    """The file is there already."""


class OutOfMemoryError(TareError, MemoryError):
    """There is no memory for it."""


class MissingTensorError(TareError, KeyError):
    """No tensor has that name; the message has names that come near."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""
