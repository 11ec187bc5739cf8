"""Files of a store: written in one step, and compared as nested data."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def size_of(path: Path) -> int:
    """Bytes in a file; 0 if a run beside this one has just removed it."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def find_differences(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted name, old, new) wherever two nested mappings differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [difference for key in {**old, **new} for difference in find_differences(
            old.get(key), new.get(key), f"{name}.{key}" if name else key)]
    return [] if old == new else [(name, old, new)]


def replace_file(path: Path, text: str) -> None:
    """Write a file, through to the disk, so that a reader finds the old content or the new, never a part."""
    beside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    with beside.open("x", newline="", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, path)
