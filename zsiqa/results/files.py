"""Helpers of the store: write a file in one step, read JSON, compare nested data."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from zsiqa.types import StoreError

# A temporary file exists for as long as one write takes. Clocks of nodes and file servers differ by minutes.
SECONDS_UNTIL_LITTER = 3600.0


def digest(data: Any) -> str:
    """Hex SHA-256 of plain data, independent of the order of keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def find_differences(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """List the differences of two nested mappings: (dotted name, old, new) of each."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [difference for key in {**old, **new}
                for difference in find_differences(old.get(key), new.get(key),
                                                   f"{name}.{key}" if name else key)]
    return [] if old == new else [(name, old, new)]


def read_regular(path: Path) -> bytes:
    """Read a regular file.

    Raises:
        OSError: if it is not a regular file (reading a named pipe would wait for ever), or cannot be read.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file; remove it", str(path))
    return path.read_bytes()


def parse_json(text: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        ValueError: if the text is not a JSON object, holds NaN or infinity (which JSON lacks), or is nested
            too deeply.
    """
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        data = json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(data, dict):
        raise ValueError(f"expected an object, found {type(data).__name__}")
    return data


def replace_file(path: Path, text: str) -> None:
    """Write a file to disk in one step: a reader sees the old content or the new, never a part.

    Raises:
        StoreError: if it cannot be written, e.g. because the disk is full.
    """
    owner = f"{socket.gethostname()}-{os.getpid()}"
    temporary = path.with_name(f"{path.name}.{owner}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("x", newline="", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> StoreError:
    """Build the error for a file that cannot be written."""
    return StoreError(f"{path} cannot be written: {error.strerror}. What was written before is kept: free "
                      f"some space or correct the permissions, and run the same command again")


def remove_temporary_files(folder: Path) -> None:
    """Remove the temporary files that killed runs left in a folder, never those of a live run."""
    for path in folder.glob("*.tmp"):
        host, _, process = path.name.removesuffix(".tmp").rpartition(".")[0].rpartition("-")
        try:
            old = time.time() - path.stat().st_mtime > SECONDS_UNTIL_LITTER
            ours = host.endswith(f".{socket.gethostname()}") and process.isdecimal()
            if old or (ours and not process_exists(int(process))):
                path.unlink(missing_ok=True)
        except OSError:  # its owner has just moved it into place
            continue


def process_exists(process: int) -> bool:
    """Return whether a process of this machine exists."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        pass
    return True
