"""List of the pairs of a data set, as a file beside its scores: scores can be joined without the images.

    <results_dir>/scores/<dataset>/<digest>.pairs    pair_id,ref,dis,type,subsets,mos in the data set's order

The name is a digest of the content, so runs that write it at the same time write the same file.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

from zsiqa.results.files import read_regular, remove_temporary_files, replace_file
from zsiqa.types import ImagePair, StoreError

COLUMNS = ("pair_id", "ref", "dis", "type", "subsets", "mos")


def write_pairs(folder: Path, pairs: Sequence[ImagePair]) -> str:
    """Write the list of pairs into the folder of the data set's scores; return its name.

    Raises:
        StoreError: if it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([pair.pair_id, pair.ref, pair.dis, pair.type, "|".join(pair.subsets), repr(pair.mos)]
                     for pair in pairs)
    content = text.getvalue()
    path = folder / f"{_digest(content)}.pairs"
    if not path.is_file() or path.read_bytes() != content.encode():
        folder.mkdir(parents=True, exist_ok=True)
        remove_temporary_files(folder)
        replace_file(path, content)
    return path.name


def read_pairs(path: Path) -> list[ImagePair]:
    """Read the pairs, with names in place of paths: references with the same name share a path.

    Raises:
        StoreError: if there is no such file, or it is damaged.
    """
    try:
        content = read_regular(path).decode("utf-8")
        if path.stem != _digest(content):
            raise ValueError("its content does not match the digest in its name")
        rows = csv.DictReader(io.StringIO(content, newline=""))
        return [ImagePair(row["pair_id"], row["ref"], row["dis"], float(row["mos"]), Path(row["ref"]),
                          Path(row["dis"]), row["type"],
                          subsets=tuple(filter(None, row["subsets"].split("|"))))
                for row in rows]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); to write it again, repeat the command that "
                         f"scored this data set") from error


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:12]
