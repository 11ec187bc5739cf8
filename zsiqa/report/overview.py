"""Ranking of all metrics on all data sets, as a section of the page: sortable, with a link to download it."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from zsiqa.evaluation.cost import cost_of
from zsiqa.releases import UNKNOWN, joint_use
from zsiqa.report.data import DatasetReport
from zsiqa.report.formats import csv_link
from zsiqa.results.scores import ORIGINAL


def overview(datasets: Sequence[DatasetReport]) -> str:
    """Write the table: metrics by data sets, SRCC on original images, mean within references, cost."""
    ranked = [(one, one.analyses[ORIGINAL].methods) for one in datasets if ORIGINAL in one.analyses
              and one.analyses[ORIGINAL].settings.coefficient == "srcc"]
    if not ranked:
        return "<p>No scores of original images.</p>"
    metrics = list(dict.fromkeys(str(metric) for _, methods in ranked for metric in methods.index))
    order = {"yes": 1, UNKNOWN: 0, "no": -1}
    head = "".join(f"<th scope='col'><button type='button'>{html.escape(text)}</button></th>" for text in [
        "Metric", *(text for one, _ in ranked for text in (one.label, f"{one.label}, within references")),
        "ms a pair", "as its authors run it"])
    rows, lines = [], []
    for metric in metrics:
        cost = cost_of(metric)
        cells = [f"<th scope='row'>{html.escape(metric)}</th>"]
        line: dict[str, Any] = {"metric": metric}
        for one, methods in ranked:
            there = metric in methods.index
            row = dict(methods.loc[metric]) if there else {}
            value, within = (float(row.get(name, math.nan)) for name in ("srcc", "srcc_per_ref"))
            best = bool(there and row["not_worse_than_best"])
            title = f"95 %: {row['srcc_low']:.3f} to {row['srcc_high']:.3f}" if there else "no scores"
            cells += [_cell(value, title, "*" * best), _cell(within, "mean over references")]
            line |= {f"{one.name}_srcc": value, f"{one.name}_srcc_per_ref": within, f"{one.name}_best": best}
        cells.append(_cell(cost.ms_pair, cost.machine, digits=0) if cost else _cell(math.nan, "not measured"))
        use = joint_use({name: str(methods.loc[metric, name]) for name in ("as_authors", "unlike_authors")}
                        for _, methods in ranked if metric in methods.index)
        answer, reason = use["as_authors"], html.escape(use["unlike_authors"])
        cells.append(f"<td data-value='{order[answer]}' title='{reason}'>{answer}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
        lines.append(line | {"ms_pair": cost.ms_pair if cost else math.nan, **use})
    return (f'<div class="wide"><table class="sortable"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}'
            f"</tbody></table></div>\n{csv_link('ranking', pd.DataFrame(lines))}")


def _cell(value: float, title: str, mark: str = "", digits: int = 3) -> str:
    if math.isnan(value):
        return f"<td data-value='' title='{html.escape(title)}'></td>"
    return f"<td data-value='{value!r}' title='{html.escape(title)}'>{value:,.{digits}f}{mark}</td>"
