"""Label files of published data sets: rows of text or CSV, checked line by line."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from zsiqa.types import DatasetError

# Python's float would also take `1_0`, `infinity`, and digits of other scripts.
NUMBER = re.compile(r"[ \t]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t]*")
DECIMAL_COMMA = re.compile(r"[ \t]*[+-]?[0-9]*,[0-9]+[ \t]*")
# Characters that would split a line, or that a terminal would obey.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Columns of other toolboxes' tables: of Waterloo's IQA-Dataset (and of the official code's live.txt), and
# of pyiqa.
COLUMNS = {"dis": ("dis_img_path", "dist_name"), "ref": ("ref_img_path", "ref_name", "hq_name"),
           "score": ("score", "mos", "dmos", "elo_score"), "std": ("std",)}


@dataclass(frozen=True)
class Label:
    """Row of a label file.

    Attributes:
        where: file and line, for messages.
        dis: name or path of the distorted image, as spelled in the file.
        score: the release's value, not converted.
        ref: name or path of the reference; "" where the file does not say.
        std: standard deviation of the opinions; NaN where the file does not say.
        level: strength of the distortion, where the image's name does not contain it.
    """

    where: str
    dis: str
    score: float
    ref: str = ""
    std: float = math.nan
    level: str = ""


class Labels(NamedTuple):
    """The rows of all label files.

    Attributes:
        layout: origin of the files' layout, in words.
    """

    rows: list[Label]
    files: list[Path]
    layout: str = "the release's own"


def parse_table(data: bytes, file: str, dataset: str) -> list[Label]:
    """Parse the rows of Waterloo's text files, pyiqa's meta CSV files, and the official code's live.txt.

    Args:
        data: content of the file, with a header line; columns are found by these toolboxes' names for them.
        file: its name, for messages.

    Raises:
        DatasetError: if a column is missing, or a row does not fit the header.
    """
    header, rows = fields(data, file, dataset)
    columns = {meaning: next((name for name in names if name in header), "")
               for meaning, names in COLUMNS.items()}
    if not (columns["dis"] and columns["score"]):
        raise DatasetError(f"[{dataset}] {file} columns {', '.join(header) or 'none'}; expected "
                           f"{' or '.join(COLUMNS['dis'])}, and {' or '.join(COLUMNS['score'])}. Fix: "
                           f"restore the label file")
    labels = []
    for where, values in rows:
        labels.append(Label(where, values[columns["dis"]], number(values[columns["score"]], where, dataset),
                            values[columns["ref"]] if columns["ref"] else "",
                            number(values[columns["std"]], where, dataset) if columns["std"] else math.nan))
    return labels


def fields(data: bytes, file: str, dataset: str,
           needed: Sequence[str] = ()) -> tuple[list[str], list[tuple[str, dict[str, str]]]]:
    """Split a CSV file into its header, and (file and line, fields by column) of each line below.

    Raises:
        DatasetError: if the file is not text, the header lacks a column or has one twice, or a line is not
            valid CSV or has not as many fields as the header.
    """
    rows: list[tuple[str, list[str]]] = []
    for where, line in lines(data, file, dataset):
        try:
            row = next(csv.reader([line], strict=True))
        except csv.Error as error:
            raise DatasetError(f"[{dataset}] {where}: expected comma-separated fields, got {line!r}. Fix: "
                               f"restore the label file") from error
        row = [field.strip() for field in row]
        if CONTROL.search("".join(row)):  # a tab: `lines` refuses the others
            raise DatasetError(f"[{dataset}] {where}: a tab inside of a field of {row}. Fix: restore the "
                               f"label file")
        rows.append((where, row))
    header = rows[0][1] if rows else []
    if twice := repeated(header):
        raise DatasetError(f"[{dataset}] {file}: column {twice!r} twice in the header. Fix: restore the "
                           f"label file")
    if missing := [name for name in needed if name not in header]:
        raise DatasetError(f"[{dataset}] {file} has the columns {', '.join(header) or 'none'}; expected also "
                           f"{', '.join(missing)}. Fix: restore the label file")
    for where, row in rows:
        if len(row) != len(header):
            raise DatasetError(f"[{dataset}] {where}: {len(row)} fields, expected {len(header)}. Fix: "
                               f"restore the label file")
    return header, [(where, dict(zip(header, row, strict=True))) for where, row in rows[1:]]


def lines(data: bytes, file: str, dataset: str) -> list[tuple[str, str]]:
    """Split a text file into (file and line, text), without empty lines at its end.

    Raises:
        DatasetError: if the file is not UTF-8 text, or has control characters other than tabs.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"[{dataset}] {file}: not a text file ({error}). Fix: restore the label "
                           f"file") from error
    text = text.rstrip(" \t\r\n")
    texts = [line.removesuffix("\r") for line in text.split("\n")] if text else []
    for number, line in enumerate(texts, start=1):
        if match := CONTROL.search(line.replace("\t", " ")):
            raise DatasetError(f"[{dataset}] {file} line {number}: control character {match[0]!r}. Fix: "
                               f"restore the label file")
    return [(f"{file} line {number}", line) for number, line in enumerate(texts, start=1)]


def number(text: str, where: str, dataset: str) -> float:
    """Parse a finite number in decimal or scientific notation.

    Raises:
        DatasetError: if the text is anything else.
    """
    value = to_number(text)
    if not math.isfinite(value):
        raise DatasetError(f"[{dataset}] {where}: expected a finite number, got {text!r}{advise(text)}. Fix: "
                           f"restore the label file")
    return value


def to_number(text: str) -> float:
    """Parse a number in ASCII digits, with blanks around it or not; return NaN for any other text."""
    return float(text) if NUMBER.fullmatch(text) else math.nan


def advise(text: str) -> str:
    """Advise on a decimal comma, for messages; return "" for any other text."""
    return "; write a decimal point, not a comma" if DECIMAL_COMMA.fullmatch(text) else ""


def repeated(header: Sequence[str]) -> str:
    """Return the first name that occurs twice in a header, "" if none; columns without a name are ignored."""
    return next((name for name, count in Counter(header).items() if name and count > 1), "")
