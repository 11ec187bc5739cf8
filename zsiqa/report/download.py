"""Tables as CSV, as text and as links of a page that need no server."""

from __future__ import annotations

import base64
import html

import pandas as pd

from zsiqa.terminal import escape_formula


def to_csv(frame: pd.DataFrame) -> str:
    """Write a frame as CSV; texts that a spreadsheet would take for a formula get an apostrophe."""
    return str(frame.map(escape_formula).to_csv(index=False, lineterminator="\n"))


def csv_link(name: str, frame: pd.DataFrame) -> str:
    """Write a link that downloads a frame as `<name>.csv`; the link contains the file."""
    data = base64.b64encode(to_csv(frame).encode("utf-8", "backslashreplace")).decode()
    return (f'<a class="csv" download="{html.escape(name)}.csv" '
            f'href="data:text/csv;charset=utf-8;base64,{data}">Download as CSV</a>')
