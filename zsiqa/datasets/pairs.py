"""Your own data: a CSV file with the columns `ref,dis,mos` and optionally `type,level`."""

from __future__ import annotations

import csv
import math
import unicodedata
from pathlib import Path

from zsiqa.types import DatasetError, ImagePair, Manifest


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
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, strict=True)
            if missing := [name for name in ("ref", "dis", "mos") if name not in (reader.fieldnames or ())]:
                raise DatasetError(f"{path}: no column {', '.join(missing)} in the header "
                                   f"{reader.fieldnames}; expected ref,dis,mos and optionally type,level")
            pairs = [_pair(row, path, reader.line_num) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not a UTF-8 CSV file ({error})") from error
    if not pairs:
        raise DatasetError(f"{path}: no pairs below the header")
    seen: set[str] = set()
    for pair in pairs:
        if pair.pair_id in seen:
            raise DatasetError(f"{path}: the pair {pair.pair_id} is listed twice; keep one of them")
        seen.add(pair.pair_id)
    return Manifest(tuple(pairs), label_files=(path,))


def _pair(row: dict[str, str], path: Path, line: int) -> ImagePair:
    if None in row or None in row.values():
        raise DatasetError(f"{path} line {line}: expected the header's number of fields")
    ref, dis = row["ref"], row["dis"]
    if not ref or not dis or any(unicodedata.category(character) == "Cc" for character in ref + dis):
        raise DatasetError(f"{path} line {line}: ref and dis must be file names, found {ref!r} and {dis!r}")
    try:
        mos = float(row["mos"])
    except ValueError:
        mos = math.nan
    if not math.isfinite(mos):
        raise DatasetError(f"{path} line {line}: mos must be a finite number, found {row['mos']!r}")
    return ImagePair(pair_id=f"{ref}|{dis}", ref=ref, dis=dis, mos=mos, ref_path=path.parent / ref,
                     dis_path=path.parent / dis, type=row.get("type") or "", level=row.get("level") or "")
