"""Helpers of the store: write a file in one step, compare nested data."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def size_of(path: Path) -> int:
    """Size of a file in bytes; 0 if another run has just removed it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def find_differences(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """List the differences of two nested mappings: (dotted name, old, new) of each."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [difference for key in {**old, **new}
                for difference in find_differences(old.get(key), new.get(key),
                                                   f"{name}.{key}" if name else key)]
    return [] if old == new else [(name, old, new)]


def replace_file(path: Path, text: str) -> None:
    """Write a file to disk in one step: a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    with temporary.open("x", newline="", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
