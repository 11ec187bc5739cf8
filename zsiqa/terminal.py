"""Output for people: plurals, escapes, progress, a broken pipe."""

from __future__ import annotations

import os
import re
import sys
import textwrap
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0
# Characters that a terminal would obey or that would split a line, and bytes of file names that are not UTF-8
# (Python reads byte 0xNN as U+DCNN).
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Beginnings that spreadsheets take for a formula, in texts other than plain numbers and a dash.
FORMULA = re.compile(r"(?![+-][0-9.]*$)[=+\-@\t\r]")


def plural(number: int, what: str = "image") -> str:
    """Format a count with its noun, in the plural if it is not 1.

    Examples:
        >>> plural(1), plural(2000, "job")
        ('1 image', '2,000 jobs')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(names: Sequence[str], most: int) -> str:
    """List at most `most` names, and count the others.

    Examples:
        >>> listed(["a", "b", "c"], 3), listed(["a", "b", "c"], 1)
        ('a, b, c', 'a and 2 more')
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def aligned(rows: Sequence[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """Align the texts of rows as columns; those with the places `right` end at the same place.

    Examples:
        >>> aligned([("psnr", "9"), ("ssim", "10")], right={1})
        ['psnr   9', 'ssim  10']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.rjust(width) if place in right else text.ljust(width)
                      for place, (text, width) in enumerate(zip(row, widths, strict=True))).rstrip()
            for row in rows]


def aligned_within(rows: Sequence[Sequence[str]], width: int, right: Container[int] = ()) -> list[str]:
    r"""Align the texts of rows as columns; those beyond a width follow below, beside the first column.

    Columns without any text are left out.

    Examples:
        >>> print(*aligned_within([("", "SRCC", "PLCC"), ("psnr", "0.6", "0.5")], 10), sep="\n")
              SRCC
        psnr  0.6
        <BLANKLINE>
              PLCC
        psnr  0.5
    """
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    blocks: list[list[int]] = [[]]
    for place, one in enumerate(widths, start=1):
        if not one:
            continue
        if blocks[-1] and first + 2 + one + sum(2 + widths[other - 1] for other in blocks[-1]) > width:
            blocks.append([])
        blocks[-1].append(place)
    lines: list[str] = []
    for block in blocks:
        places = [0, *block]
        lines += [*([""] if lines else []),
                  *aligned([[row[place] for place in places] for row in rows],
                           {index for index, place in enumerate(places) if place in right})]
    return lines


def by_folder(files: Iterable[str], most: int = 5) -> str:
    """List files by their first folders; of a folder with more than `most` of them, their number.

    Examples:
        >>> by_folder(["a/1.csv", "a/2.csv", "b/c/1.csv", "b/d/1.csv"], most=1)
        'a (2 files), b (2 files)'
        >>> by_folder(["1.csv", "a/1.csv", "a/2.csv"])
        '1.csv, a/1.csv, a/2.csv'
    """
    folders: dict[str, list[str]] = {}
    for file in files:
        first, slash, _ = file.partition("/")
        folders.setdefault(first if slash else "", []).append(file)
    return ", ".join(", ".join(there) if len(there) <= most else
                     f"{name or 'this folder'} ({plural(len(there), 'file')})"
                     for name, there in folders.items())


def escape(text: str) -> str:
    r"""Escape control characters, and bytes that are not UTF-8, as in `\n` and `\xff`.

    Examples:
        >>> print(escape("caf\udce9 \x1b[31m\n"))
        caf\xe9 \x1b[31m\n
    """
    def written(match: re.Match[str]) -> str:
        byte = ord(match[0]) - 0xDC00
        return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else match[0].encode("unicode_escape").decode()

    return UNPRINTABLE.sub(written, text)


def width() -> int:
    """Return the columns that a text for people may take: $COLUMNS, else 100."""
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdecimal() and int(given) else 100


def fit(text: str, rest: str = "", most: int = 4) -> str:
    """Fold the lines of a text into `width()` columns, without breaking words or rows of tables.

    Args:
        text: lines; the parts of a long one are indented.
        rest: place of the whole listing, if a line takes more than `most` lines; it is cut there, with the
            number of names that are left out. "" cuts nothing.

    Examples:
        >>> print(fit("missing: " + ", ".join(["dinov1-features-cosine"] * 30), "--out DIR has all", most=2))
        missing: dinov1-features-cosine, dinov1-features-cosine, dinov1-features-cosine,
            dinov1-features-cosine, dinov1-features-cosine, dinov1-features-cosine, dinov1-features-cosine,
            and 23 more (--out DIR has all)
    """
    folded = []
    for line in text.split("\n"):
        if re.search(r"\S {2,}\S", line):  # a row of a table
            folded.append(line)
            continue
        indent = line[:len(line) - len(line.lstrip())]
        parts = textwrap.wrap(line.strip(), width(), initial_indent=indent, subsequent_indent=f"{indent}    ",
                              break_long_words=False, break_on_hyphens=False) or [""]
        if rest and len(parts) > most:
            left_out = " ".join(parts[most:]).count(", ") + 1
            parts[most:] = [f"{indent}    and {left_out} more ({rest})"]
        folded += parts
    return "\n".join(folded)


def print_error(error: object) -> None:
    """Print an error on stderr; its own lines stay lines."""
    print("error: " + "\n".join(map(escape, str(error).split("\n"))), file=sys.stderr)


def escape_formula(value: T) -> T | str:
    """Put an apostrophe before a text that a spreadsheet would take for a formula; numbers stay as they are.

    Examples:
        >>> [escape_formula(value) for value in ("=a.png", "-1.png", "a.png", "-1.5", "-", -1.5)]
        ["'=a.png", "'-1.png", 'a.png', '-1.5', '-', -1.5]
    """
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def track(items: Iterable[T], *, total: int, unit: str, what: str = "") -> Iterator[T]:
    """Yield `items`; show progress on stderr: `what`, the count of `total`, the rate and the time left."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what or None, total=total, unit=f" {unit}", smoothing=0.05,
                        dynamic_ncols=True)
        return
    start = last = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES or count == total:
            last, rate = now, count / max(now - start, 1e-9)
            left = (total - count) / rate
            print(f"{what}{': ' if what else ''}{count}/{total} {unit} ({count / total:.0%}), {rate:.1f}/s, "
                  f"{left:.0f} s left", file=sys.stderr, flush=True)


@contextmanager
def exit_on_broken_pipe() -> Iterator[None]:
    """Exit quietly, with status 1, on a broken pipe, as in `| head`."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # Python must not try again at exit to write the rest of the buffer
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
