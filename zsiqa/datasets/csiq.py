"""CSIQ (Larson and Chandler, Journal of Electronic Imaging 2010): 30 references, 866 pairs."""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from zsiqa.datasets.labels import Label, lines, number
from zsiqa.datasets.release import Name, Tree, build_manifest, by_name, read_labels
from zsiqa.releases import published
from zsiqa.types import DatasetError, Manifest, missing_package

LABELS, LIST = "csiq.DMOS.xlsx", "csiq_label.txt"
SHEET = "all_by_image"
COLUMNS = ["image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"]
# Distortion types: as spelled in the sheet, and in file names.
SPELLED = {"noise": "AWGN", "blur": "BLUR", "contrast": "contrast", "fnoise": "fnoise", "jpeg": "JPEG",
           "jpeg 2000": "jpeg2000"}
NAME = re.compile(r"([a-z0-9_]+)\.(awgn|blur|contrast|fnoise|jpeg|jpeg2000)\.([1-5])\.png",
                  re.IGNORECASE | re.ASCII)
# Errors that openpyxl raises on damaged files.
SHEET_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError,
                NotImplementedError, RuntimeError, OverflowError, MemoryError, ParseError, struct.error,
                zipfile.BadZipFile, zlib.error)


def read(root: str | Path, facts: Mapping[str, Any] | None = None) -> Manifest:
    """Read the unpacked archives, ordered by pair_id.

    Args:
        root: folder with `csiq.DMOS.xlsx` (else `csiq_label.txt` or `meta_info_CSIQDataset.csv` of pyiqa, or
            `CSIQ.txt` of Waterloo) and the images, here or below.
        facts: about the release; `published()["csiq"]` by default.

    Returns:
        Pairs with DMOS as the label (higher = worse).

    Raises:
        DatasetError: if labels are missing or wrong.
    """
    facts = facts or published()["csiq"]
    tree = Tree("csiq", root)
    labels = read_labels(facts, tree, LABELS, {LABELS: parse_sheet, LIST: parse_list})
    return build_manifest(facts, tree, labels, by_name(NAME, _name))


def parse_sheet(data: bytes) -> list[Label]:
    """Parse the rows of `csiq.DMOS.xlsx`.

    Raises:
        DatasetError: if the file is not in the expected format.
    """
    try:
        import openpyxl
    except ModuleNotFoundError as error:
        raise DatasetError(str(missing_package(f"csiq: {LABELS}", "openpyxl"))) from error
    try:
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        rows = list(book[SHEET].iter_rows(values_only=True)) if SHEET in book.sheetnames else None
    except SHEET_ERRORS as error:
        raise DatasetError(f"[csiq] {LABELS} is not a readable Excel file ({type(error).__name__}: {error}). "
                           f"Fix: download it again") from error
    if rows is None:
        raise DatasetError(f"[csiq] sheet {SHEET} not found in {LABELS}. Fix: download it again")
    start = next((index for index, row in enumerate(rows) if set(COLUMNS) <= set(row)), None)
    if start is None:
        raise DatasetError(f"[csiq] no row with {', '.join(COLUMNS)} in the sheet {SHEET} of {LABELS}. Fix: "
                           f"download it again")
    if twice := next((name for name in COLUMNS if rows[start].count(name) > 1), ""):
        raise DatasetError(f"[csiq] column {twice!r} twice in the header of {LABELS}. Fix: download it again")
    places = [rows[start].index(name) for name in COLUMNS]
    labels = []
    for line, row in enumerate(rows[start + 1:], start=start + 2):
        # image 1600 is a number
        texts = ["" if row[place] is None else str(row[place]).strip() for place in places]
        if not any(texts):  # the sheet is padded with empty rows
            continue
        where = f"{LABELS} row {line}"
        image, _, kind, level, std, dmos = texts
        if kind not in SPELLED or not all(texts):
            raise DatasetError(f"[csiq] {where}: expected {', '.join(COLUMNS)} with a dst_type of "
                               f"{', '.join(SPELLED)}; got {', '.join(texts)}. Fix: download it again")
        labels.append(Label(where, f"{image}.{SPELLED[kind]}.{level}.png", number(dmos, where, "csiq"),
                            std=number(std, where, "csiq")))
    return labels


def parse_list(data: bytes) -> list[Label]:
    """Parse the lines of pyiqa's `csiq_label.txt`, such as `1600.AWGN.1.png 0.061989`.

    Raises:
        DatasetError: if the file is not in the expected format.
    """
    labels = []
    for where, line in lines(data, LIST, "csiq"):
        dis, _, dmos = line.strip().partition(" ")
        labels.append(Label(where, dis, number(dmos, where, "csiq")))
    return labels


def _name(match: re.Match[str]) -> Name:
    image, kind, level = (part.lower() for part in match.groups())
    spelled = next(name for name in SPELLED.values() if name.lower() == kind)
    stem = f"{image}.{kind}.{level}"
    return Name(stem, f"dst_imgs/{kind}/{image}.{spelled}.{level}.png", f"src_imgs/{image}.png", kind, level,
                (stem,))
