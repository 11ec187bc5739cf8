"""Frames and texts as CSV, Markdown, HTML, JSON, and links of a page that need no server."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zsiqa.terminal import escape_formula


def to_csv(frame: pd.DataFrame) -> str:
    """Write a frame as CSV; texts that a spreadsheet would take for a formula get an apostrophe."""
    return str(frame.map(escape_formula).to_csv(index=False, lineterminator="\n"))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table, without a line break at its end."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def to_json(data: Any) -> str:
    """Write nested data as JSON, which has no numbers that are not finite: null stands for them."""
    return json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(data: Any) -> Any:
    """Convert numpy's numbers to Python's, and numbers that are not finite to None."""
    if isinstance(data, Mapping):
        return {str(name): _plain(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    data = data.item() if isinstance(data, np.generic) else data
    return None if isinstance(data, float) and not math.isfinite(data) else data


def html_cells(texts: Iterable[str]) -> str:
    """Write texts as cells of an HTML table."""
    return "".join(f"<td>{html.escape(text)}</td>" for text in texts)


def html_table(head: Iterable[str], rows: Iterable[str]) -> str:
    """Write an HTML table that scrolls where it is too wide; `rows` are their cells, as HTML."""
    heads = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    body = "".join(f"<tr>{cells}</tr>" for cells in rows)
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def html_list(lines: Iterable[str]) -> str:
    """Write texts as an HTML list."""
    return f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"


def csv_link(name: str, frame: pd.DataFrame) -> str:
    """Write a link that downloads a frame as `<name>.csv`; the link contains the file."""
    data = base64.b64encode(to_csv(frame).encode("utf-8", "backslashreplace")).decode()
    return (f'<a class="csv" download="{html.escape(name)}.csv" '
            f'href="data:text/csv;charset=utf-8;base64,{data}">Download as CSV</a>')
