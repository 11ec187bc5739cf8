"""Sidecars: the JSON file beside a finished score file, which says how its scores were made.

docs/score_files.md describes the format.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zsiqa.results.files import digest, parse_json, read_regular, replace_file
from zsiqa.types import StoreError

SCHEMA = 4
REMEDY = "To fix it, run its command again with overwrite=true, which replaces this file and no sound one"
# Types of the entries that zsiqa reads; a tuple means that the entry may be absent. Others may be anything.
SHAPE: dict[str, Any] = {
    "schema": int, "identity": dict, "notes": [str], "sessions": ([dict],), "labels": (dict,), "file": (str,),
    "csv_sha256": ([str],), "session": (dict,), "pairs_file": (str,),
    "checksum": (str,), "undefined": (dict,), "score": ({"higher_is_better": bool},),
    "dataset": {"pairs": int, "higher_is_better": bool, "name": (str,), "label": (str,),
                "labels_sha256": (str,), "labelled": (bool,)}}


def key_of(path: Path) -> str:
    """Return `<dataset>/<metric>/<perturbation>` of a sidecar or a part."""
    name = path.stem if path.suffix == ".json" else path.stem.rpartition(".")[0]
    return "/".join([*path.parts[-3:-1], name])


def stamp(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a sidecar or the first line of a part, with the schema and its own place."""
    return {"schema": SCHEMA, "file": key_of(path), **content}


def write_sidecar(path: Path, content: Mapping[str, Any]) -> None:
    """Write a sidecar, with the schema, its own place and a checksum of its content.

    Raises:
        StoreError: if it cannot be written.
    """
    sidecar = stamp(path, content)
    replace_file(path, json.dumps({**sidecar, "checksum": digest(sidecar)}, indent=2) + "\n")


def read_sidecar(path: Path) -> dict[str, Any]:
    """Read the sidecar of a score file.

    Raises:
        StoreError: if it is damaged, of another schema, or belongs to another file.
    """
    try:
        return check_header(path, parse_json(read_regular(path).decode("utf-8")))
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}. {REMEDY}") from error


def check_header(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """Check the content of a sidecar or of the first line of a part, and return it.

    Raises:
        ValueError: if it is not sound, or belongs to another file.
        StoreError: if it is of another schema.
    """
    if header.get("schema") != SCHEMA and isinstance(header.get("schema"), int):
        raise StoreError(f"{path} has schema {header['schema']}, this zsiqa has {SCHEMA}; scores of the two "
                         f"must not mix. {REMEDY}")
    if problem := _mismatch(header, SHAPE):
        raise ValueError(problem)
    checksum = header.get("checksum")
    if ("csv_sha256" in header) != (checksum is not None):
        raise ValueError("it has one of the entries checksum and csv_sha256, expected both or neither")
    if checksum not in (None, digest({name: value for name, value in header.items() if name != "checksum"})):
        raise ValueError("its content does not match its checksum")
    if header.get("file", key_of(path)) != key_of(path):
        raise ValueError(f"it belongs to {header['file']}")
    return header


def _mismatch(value: Any, shape: Any, name: str = "") -> str:
    """Describe the first entry whose type is not that of its shape; "" if there is none."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{name}: expected an object"
        for entry, inner in shape.items():
            full = f"{name}.{entry}" if name else entry
            if entry not in value:
                if not isinstance(inner, tuple):
                    return f"it lacks {full}"
            elif problem := _mismatch(value[entry], inner[0] if isinstance(inner, tuple) else inner, full):
                return problem
        return ""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{name}: expected a list"
        return next(filter(None, (_mismatch(item, shape[0], name) for item in value)), "")
    right = isinstance(value, shape) and (shape is not int or (not isinstance(value, bool) and value >= 0))
    return "" if right else f"{name}: expected {shape.__name__}, found {value!r:.40}"
