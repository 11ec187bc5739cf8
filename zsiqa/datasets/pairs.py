"""Your own data: a CSV file with the columns `ref,dis,mos` and optionally `type,level`."""

from __future__ import annotations

import csv
import gc
import math
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import itemgetter
from pathlib import Path

from zsiqa.datasets.labels import CONTROL, advise, repeated, to_number
from zsiqa.types import DatasetError, ImagePair, Manifest

NEEDED, OPTIONAL = ("ref", "dis", "mos"), ("type", "level")


def read(csv_path: str | Path) -> Manifest:
    """Read a CSV file of pairs, in the order of its rows.

    Args:
        csv_path: UTF-8, with a header line. `ref` and `dis` are paths, absolute or relative to the CSV's
            folder; `mos` is a finite number.

    Returns:
        Pairs whose `pair_id` is `ref|dis`, as spelled in the file.

    Raises:
        DatasetError: if the file, a column or a value is missing or wrong, or a pair is listed twice.
    """
    path = Path(csv_path).expanduser()
    if not path.is_file():
        raise DatasetError(f"no file {path}; give the path of a CSV with the columns ref,dis,mos (paths "
                           f"relative to the CSV)")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream, _no_collection():
            pairs = tuple(_pairs(stream, path))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not a UTF-8 CSV file ({error})") from error
    if not pairs:
        raise DatasetError(f"{path}: no pairs below the header")
    return Manifest(pairs, label_files=(path,))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Pause the garbage collector: its searches of all pairs take a quarter of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _pairs(stream: Iterable[str], path: Path) -> Iterator[ImagePair]:
    reader = csv.reader(stream, strict=True)
    header = next(reader, [])
    _check_header(header, path)
    # A missing column is read from the empty field that each row gets at its end.
    fields = itemgetter(*(header.index(name) if name in header else len(header)
                          for name in (*NEEDED, *OPTIONAL)))
    seen: set[str] = set()
    references: dict[str, tuple[str, str]] = {}  # shared by their pairs, to save memory
    within = partial(_join, "" if path.parent == Path() else str(path.parent))

    def wrong(what: str) -> DatasetError:
        return DatasetError(f"{path} line {reader.line_num}: {what}")

    for row in reader:
        if not row:  # an empty line
            continue
        if len(row) != len(header):
            raise wrong(f"expected the header's number of fields, {len(header)}, found {len(row)}")
        ref, dis, mos, kind, level = fields([*row, ""])
        if not ref or not dis:
            raise wrong(f"ref and dis must be file names, found {ref!r} and {dis!r}")
        text = f"{ref}{dis}{kind}{level}"
        if not text.isprintable() and CONTROL.search(text):  # isprintable is the fast one
            raise wrong(f"control characters in {[ref, dis, kind, level]}; remove them, and rename such "
                        f"files")
        value = to_number(mos)
        if not math.isfinite(value):
            raise wrong(f"mos must be a finite number, found {mos!r}{advise(mos)}")
        pair_id = f"{ref}|{dis}"
        if pair_id in seen:
            raise wrong(f"the pair {pair_id} is listed twice; keep one of them")
        seen.add(pair_id)
        ref, ref_file = references.get(ref) or references.setdefault(ref, (ref, within(ref)))
        yield ImagePair(pair_id, ref, dis, value, ref_file, within(dis), sys.intern(kind), sys.intern(level))


def _join(folder: str, name: str) -> str:
    """Join as pathlib does, several times as fast.

    Examples:
        >>> _join("data", "a.png"), _join("data", "./b//c.png"), _join("data", "/d.png"), _join("", "e/.")
        ('data/a.png', 'data/b/c.png', '/d.png', 'e')
    """
    path = os.path.join(folder, name)  # noqa: PTH118
    plain = not ("//" in path or "/./" in path or path.startswith("./") or path.endswith(("/", "/.")))
    return path if plain else str(Path(path))


def _check_header(header: list[str], path: Path) -> None:
    if missing := [name for name in NEEDED if name not in header]:
        hint = "; separate fields by commas" if any(mark in "".join(header) for mark in ";\t") else ""
        raise DatasetError(f"{path}: no column {', '.join(missing)} in the header {header}; expected "
                           f"ref,dis,mos and optionally type,level{hint}")
    if twice := repeated(header):
        raise DatasetError(f"{path}: column {twice!r} twice in the header; remove or rename one of them")
