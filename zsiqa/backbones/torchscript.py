"""Read the tensors of a TorchScript archive without running any of its code.

OpenAI publishes CLIP as such archives. According to its documentation, `torch.jit.load` may execute code in
the file. The parameters themselves are plain bytes; a pickle of nested objects gives their names.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import torch
from torch import Tensor

_DTYPES = {"HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16, "FloatStorage": torch.float32,
           "DoubleStorage": torch.float64, "BoolStorage": torch.bool, "ByteStorage": torch.uint8,
           "CharStorage": torch.int8, "ShortStorage": torch.int16, "IntStorage": torch.int32,
           "LongStorage": torch.int64}


def is_torchscript(file: Path) -> bool:
    """Return whether the file is a TorchScript archive.

    Other PyTorch files are zip files too, but have no `constants.pkl`.
    """
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(PurePosixPath(name).name == "constants.pkl" for name in archive.namelist())


def read_torchscript(file: Path) -> dict[str, Tensor]:
    """Read the tensors of the archived module, by their dotted names: parameters, buffers, other attributes.

    Raises:
        pickle.UnpicklingError: if the file holds more than modules and tensors.
        LookupError, RuntimeError, ValueError, zipfile.BadZipFile: if it is damaged.
    """
    with zipfile.ZipFile(file) as archive:
        root = next(name for name in map(PurePosixPath, archive.namelist()) if name.name == "data.pkl").parent
        return dict(_tensors(_Reader(archive, root).load()))


class _Module:
    """Replacement for every class of the archive; unpickling sets its attributes."""


class _Reader(pickle._Unpickler):
    """Unpickler of modules and tensors; it refuses every other class or function.

    It is the one in Python: the one in C takes gigabytes for one large number in a damaged file. PyTorch
    writes protocol 2; opcodes of later ones, which can take gigabytes in both, are refused.
    """

    dispatch: ClassVar = {ord(opcode.code): pickle._Unpickler.dispatch[ord(opcode.code)]
                          for opcode in pickletools.opcodes if opcode.proto <= 2}

    def __init__(self, archive: zipfile.ZipFile, root: PurePosixPath) -> None:
        super().__init__(io.BytesIO(archive.read(str(root / "data.pkl"))))
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: torch.as_strided(storage, size, stride, offset)
        if module == "torch.jit._pickle":  # lists and dictionaries, tagged with their types
            return lambda value, *_: value
        raise pickle.UnpicklingError(f"{module}.{name} is neither a module nor a tensor")

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _device, _count = pid
        if key not in self._storages:
            content = bytearray(self._archive.read(str(self._root / "data" / key)))
            self._storages[key] = (torch.frombuffer(content, dtype=dtype) if content
                                   else torch.empty(0, dtype=dtype))
        return self._storages[key]


def _tensors(module: _Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, _Module):
            yield from _tensors(value, f"{prefix}{name}.")
