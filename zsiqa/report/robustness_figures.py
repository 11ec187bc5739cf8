"""Draw robustness curves with matplotlib, for papers and for the page."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import StrMethodFormatter

from zsiqa.evaluation.human_curves import DATASET
from zsiqa.evaluation.robustness import Robustness
from zsiqa.evaluation.stored_levels import CURVES
from zsiqa.releases import published
from zsiqa.report.drawing import COLOURS, MARKS, STYLE
from zsiqa.report.robustness import UNITS

MOST = 8  # metrics in a figure, the best first: more lines cannot be told apart
# Text stays text in an SVG, so that it can be searched; a fixed salt gives equal files for equal curves.
SVG: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "zsiqa"}
HUMAN = "#777777"


def write_figures(found: Robustness, folder: Path) -> list[Path]:
    """Write one figure a data set, and one beside people's curves, as PDF and SVG; returns their paths."""
    written = []
    if found.people and len(found.people.curves):
        for kind in ("pdf", "svg"):
            path = folder / f"{DATASET}_people.{kind}"
            path.write_bytes(draw_people(found.people.curves, kind))
            written.append(path)
    for dataset in found.datasets:
        for kind in ("pdf", "svg"):
            path = folder / f"{dataset}_robustness_curves.{kind}"
            path.write_bytes(draw(found, dataset, kind))
            written.append(path)
    return written


def draw(found: Robustness, dataset: str, kind: str = "svg") -> bytes:
    """Draw the curves of a data set: a column for each family, SRCC above and the response below.

    Bands are intervals, a dashed line is the human threshold. The response of undistorted references is in
    units of the mildest real distortion, on a scale that is linear up to 1 and logarithmic beyond.

    Args:
        found: all curves.
        dataset: with at least one curve.
        kind: `svg`, `pdf` or `png`.

    Returns:
        Content of the file.
    """
    points = found.points[found.points["dataset"] == dataset]
    humans = {(row["family"], row["unit"]): float(row["human"])
              for row in found.curves[found.curves["dataset"] == dataset].to_dict("records")}
    metrics = chosen_metrics(found, dataset)
    curves = [curve for curve in CURVES if curve in humans]
    rows = 2 if points["in_mildest"].notna().any() else 1
    with mpl.rc_context({**STYLE, **SVG}):
        figure = Figure(figsize=(1.9 * len(curves) + 0.6, 1.9 * rows + 0.5 + 0.14 * len(metrics) / 2),
                        layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, len(curves), squeeze=False, sharey="row")
        for column, (family, unit) in enumerate(curves):
            some = points[(points["family"] == family) & (points["unit"] == unit)]
            human = humans[family, unit]
            _lines(grid[0, column], some, metrics, "srcc")
            if rows == 2:
                _lines(grid[1, column], some, metrics, "in_mildest")
                grid[1, column].axhline(1, color="black", linewidth=0.6)
                grid[1, column].set_yscale("symlog", linthresh=1)
                grid[1, column].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            for axes in grid[:, column]:
                if math.isfinite(human):
                    axes.axvline(human, color=HUMAN, linewidth=1, linestyle="--")
                axes.set_xlim(left=0)
            grid[0, column].set_title(family, fontsize=8)
            grid[-1, column].set_xlabel(f"level ({UNITS[unit]})")
        grid[0, 0].set_ylabel("SRCC")
        if rows == 2:
            grid[1, 0].set_ylabel("response /\nmildest distortion")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        handles.append(Line2D([], [], color=HUMAN, linewidth=1, linestyle="--"))
        figure.legend(handles, [*labels, "human threshold"], loc="outside lower center", ncols=2, fontsize=7,
                      frameon=False, title=_title(len(metrics), points["metric"].nunique()), title_fontsize=7)
        return _save(figure, kind)


def draw_people(curves: pd.DataFrame, kind: str = "svg") -> bytes:
    """Draw people's mean response against the level, and that of metrics after the best line of each family.

    Args:
        curves: `human_curves.People.curves`.
        kind: `svg`, `pdf` or `png`.

    Returns:
        Content of the file.
    """
    families, names = list(dict.fromkeys(curves["family"])), published()[DATASET]["types"]
    everyone = list(dict.fromkeys(curves["metric"]))
    metrics = everyone[:MOST]
    with mpl.rc_context({**STYLE, **SVG}):
        figure = Figure(figsize=(1.9 * len(families) + 0.6, 2.5 + 0.07 * len(metrics)), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(1, len(families), squeeze=False, sharey="row")
        for axes, family in zip(grid[0], families, strict=True):
            some = curves[curves["family"] == family]
            first = some[some["metric"] == metrics[0]]
            axes.plot(first["level"], first["response"], color="black", linewidth=2, label="people")
            for number, metric in enumerate(metrics):
                own = some[some["metric"] == metric]
                axes.plot(own["level"], own["fitted"], color=COLOURS[number % len(COLOURS)], linewidth=1,
                          marker=MARKS[number // len(COLOURS) % len(MARKS)], markersize=2.5, label=metric)
            axes.set_title(names.get(family, family), fontsize=8)
            axes.set_xlabel("level")
        grid[0, 0].set_ylabel("response (SD)")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=7, frameon=False,
                      title=_title(len(metrics), len(everyone)), title_fontsize=7)
        return _save(figure, kind)


def _title(drawn: int, known: int) -> str | None:
    """Say how many metrics a figure leaves out; None for none."""
    return f"{drawn} of {known} metrics" if drawn < known else None


def _save(figure: Figure, kind: str) -> bytes:
    stream = io.BytesIO()
    # Without a date, equal curves give equal files.
    figure.savefig(stream, format=kind, dpi=200, metadata={
        "svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind))
    return stream.getvalue()


def chosen_metrics(found: Robustness, dataset: str) -> list[str]:
    """Choose the metrics of a figure: the best of the ranking, then others; at most `MOST`."""
    ranked = found.ranked(dataset)["metric"].tolist()
    rest = found.points.loc[found.points["dataset"] == dataset, "metric"].tolist()
    return list(dict.fromkeys([*ranked, *rest]))[:MOST]


def _lines(axes: Axes, points: pd.DataFrame, metrics: Sequence[str], name: str) -> None:
    for number, metric in enumerate(metrics):
        own = points[points["metric"] == metric].sort_values("level")
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(own["level"], own[name], color=colour, linewidth=1, markersize=2.5, label=metric,
                  marker=MARKS[number // len(COLOURS) % len(MARKS)])
        axes.fill_between(own["level"], own[f"{name}_low"], own[f"{name}_high"], color=colour, alpha=0.15,
                          linewidth=0)
