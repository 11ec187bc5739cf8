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

from zsiqa.types import ImagePair, StoreError

COLUMNS = ("pair_id", "ref", "dis", "type", "subsets", "mos")


def format_pairs(pairs: Sequence[ImagePair]) -> tuple[str, str]:
    """Return (name, content) of the file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([pair.pair_id, pair.ref, pair.dis, pair.type, "|".join(pair.subsets), repr(pair.mos)]
                     for pair in pairs)
    content = text.getvalue()
    return f"{_digest(content)}.pairs", content


def read_pairs(path: Path) -> list[ImagePair]:
    """Read the pairs, with names in place of paths: references with the same name share a path.

    Raises:
        StoreError: if there is no such file, or it is damaged.
    """
    try:
        content = path.read_bytes().decode("utf-8")
        if path.stem != _digest(content):
            raise ValueError("its content does not match the digest in its name")
        rows = csv.DictReader(io.StringIO(content, newline=""))
        return [ImagePair(row["pair_id"], row["ref"], row["dis"], float(row["mos"]), Path(row["ref"]),
                          Path(row["dis"]), row["type"],
                          subsets=tuple(filter(None, row["subsets"].split("|"))))
                for row in rows]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); to write it again, repeat the run that wrote the "
                         f"parts beside it") from error


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()[:12]
