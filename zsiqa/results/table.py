"""Tables of scores as CSV: parse any, check and format ours."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zsiqa.results.files import digest, read_regular
from zsiqa.results.sidecar import REMEDY
from zsiqa.types import ImagePair, StoreError

COLUMNS = {"pair_id": str, "ref": str, "dis": str, "type": str, "mos": float, "score": float}


def format_scores(pairs: Sequence[ImagePair], scores: Mapping[str, float]) -> str:
    """Format scores as CSV, in the order of the pairs; a field is empty where there is no label or score.

    `repr` gives all digits, so that reading returns exactly the same numbers.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for pair in pairs:
        score = scores.get(pair.pair_id, math.nan)
        writer.writerow([pair.pair_id, pair.ref, pair.dis, pair.type,
                         *(repr(value) if math.isfinite(value) else "" for value in (pair.mos, score))])
    return text.getvalue()


def is_checked(sidecar: Mapping[str, Any]) -> bool:
    """Return whether a sidecar has checksums, of itself and of its CSV file."""
    return "checksum" in sidecar


def check_content(path: Path, sidecar: Mapping[str, Any]) -> bytes:
    """Read a finished CSV file, and compare it with the checksum in its sidecar, if there is one.

    Raises:
        StoreError: if it is not what was written.
    """
    if not path.is_file():
        raise StoreError(f"{path} is gone, but {path.stem}.json is there. {REMEDY}")
    data = read_bytes(path)
    if "csv_sha256" in sidecar and hashlib.sha256(data).hexdigest() not in sidecar["csv_sha256"]:
        raise StoreError(f"{path} is damaged: it is not what was written (its checksum is in "
                         f"{path.stem}.json). {REMEDY}")
    return data


def read_finished(path: Path, sidecar: Mapping[str, Any]) -> pd.DataFrame:
    """Read a finished CSV file: `COLUMNS`, and any further columns of scores.

    Args:
        path: of the CSV file.
        sidecar: from `read_sidecar`.

    Raises:
        StoreError: if it is damaged: it does not match its checksum; a pair, a label or a score is missing; a
            pair is listed twice; labels are not those that the sidecar states. Where the sidecar states that
            the data set has no labels, they are NaN.
    """
    data = check_content(path, sidecar)
    table = read_table(path, COLUMNS, data, more=True)
    labels, scores = table["mos"].to_numpy(), table["score"].to_numpy()
    undefined = table["pair_id"].isin(list(sidecar.get("undefined", {}))).to_numpy()
    twice = table["pair_id"][table["pair_id"].duplicated()]
    lacking = table["pair_id"][~np.isfinite(scores) & ~undefined]
    count, labelled = sidecar["dataset"]["pairs"], sidecar["dataset"].get("labelled", True)
    problems = {
        f"{len(table)} rows, expected {count}": len(table) != count,
        f"the pair {''.join(twice[:1])} is listed twice": len(twice),
        "a label is missing": labelled and not np.isfinite(labels).all(),
        f"it has labels, and {path.stem}.json says that there are none": not (
            labelled or np.isnan(labels).all()),
        f"the pair {''.join(lacking[:1])} has no finite score": len(lacking),
        f"its labels are not those that {path.stem}.json states": not is_checked(sidecar) and (
            sidecar["dataset"].get("labels_sha256", digest(labels.tolist())) != digest(labels.tolist())),
        "it does not end with a line break": not data.endswith(b"\n")}
    if found := [problem for problem, there in problems.items() if there]:
        raise StoreError(f"{path}: {'; '.join(found)}. {REMEDY}")
    return table


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        StoreError: if it cannot be read.
    """
    try:
        return read_regular(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror})") from error


def is_utf16(path: Path) -> bool:
    """Return whether a file begins with a byte-order mark of UTF-16."""
    return read_bytes(path)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path, encoding: str = "utf-8-sig") -> str:
    """Read a text file.

    Raises:
        StoreError: if it cannot be read, or is in another encoding.
    """
    try:
        return read_bytes(path).decode(encoding)
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: not a UTF-8 file ({error}); save it as UTF-8") from error


def read_table(path: Path, columns: Mapping[str, type], data: bytes | None = None, *,
               more: bool = False) -> pd.DataFrame:
    """Parse a CSV file of scores.

    Args:
        path: of the file.
        columns: the columns in their order, each str or float. An empty field is NaN in a column of floats.
        data: its content; None to read it.
        more: allow further columns of floats after these.

    Raises:
        StoreError: if the file cannot be read, it has other columns, or a row does not fit them.
    """
    data = read_bytes(path) if data is None else data
    try:
        header = next(csv.reader([data.split(b"\n", 1)[0].decode("utf-8-sig").rstrip("\r")]), [])
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: not a UTF-8 file ({error})") from error
    if more and len(set(header)) == len(header):
        columns = {**columns, **dict.fromkeys(header[len(columns):], float)}
    if header != list(columns):
        raise StoreError(f"{path}: expected the columns {','.join(columns)}, found "
                         f"{','.join(header) or 'nothing'}")
    numbers = [name for name, kind in columns.items() if kind is float]
    try:
        # A field of a column of numbers that is neither a number nor empty must raise an error.
        table = pd.read_csv(io.BytesIO(data),
                            dtype={**dict.fromkeys(columns, object), **dict.fromkeys(numbers, float)},
                            keep_default_na=False, na_values=dict.fromkeys(numbers, ["", "nan", "NaN"]),
                            index_col=False, encoding="utf-8-sig")
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise StoreError(f"{path}: not a table of {','.join(columns)} ({error})") from error
    # pandas fills up short rows. If nothing is quoted, counting commas finds them, and is fast.
    if b'"' in data or data.count(b",") != (len(columns) - 1) * (len(table) + 1):
        lines = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        short = next((lines.line_num for fields in lines if fields and len(fields) != len(columns)), None)
        if short is not None:
            raise StoreError(f"{path}: not a table of {','.join(columns)} (line {short} has another number "
                             f"of fields)")
    return table
