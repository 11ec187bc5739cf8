"""Read the tensors of a TorchScript archive without running any of it.

OpenAI publishes CLIP as such archives. `torch.jit.load` may execute what a file holds, says its documentation; the
parameters alone are plain bytes, and a pickle of nested objects that says which is which.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

_DTYPES = {"HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16, "FloatStorage": torch.float32,
           "DoubleStorage": torch.float64, "BoolStorage": torch.bool, "ByteStorage": torch.uint8,
           "CharStorage": torch.int8, "ShortStorage": torch.int16, "IntStorage": torch.int32,
           "LongStorage": torch.int64}


def is_torchscript(file: Path) -> bool:
    """Whether the file is a TorchScript archive; other files of PyTorch are zip files too, but have no constants."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(PurePosixPath(name).name == "constants.pkl" for name in archive.namelist())


def read_torchscript(file: Path) -> dict[str, Tensor]:
    """The tensors of the archived module by their dotted names: parameters, buffers, other attributes.

    Raises:
        pickle.UnpicklingError: if the file holds more than modules and tensors.
        LookupError, RuntimeError, ValueError, zipfile.BadZipFile: if it is damaged.
    """
    with zipfile.ZipFile(file) as archive:
        root = next(name for name in map(PurePosixPath, archive.namelist()) if name.name == "data.pkl").parent
        return dict(_tensors(_Reader(archive, root).load()))


class _Module:
    """Stands for every class of the archive; unpickling fills in its attributes."""


class _Reader(pickle.Unpickler):
    """Unpickles modules and tensors; each name in the pickle that is not listed here is refused."""

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
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return self._storages[key]


def _tensors(module: _Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, _Module):
            yield from _tensors(value, f"{prefix}{name}.")
