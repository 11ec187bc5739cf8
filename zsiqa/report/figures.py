"""Draw with matplotlib: the significance matrix of `zsiqa rank --out`, and robustness curves.

The other plots of the report's page are drawn by plotly.js in it, where each can be saved as SVG.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import StrMethodFormatter

from zsiqa.evaluation.human_curves import DATASET
from zsiqa.evaluation.robustness import Robustness
from zsiqa.evaluation.stored_levels import CURVES
from zsiqa.releases import published
from zsiqa.report.robustness import UNITS

MOST = 8  # metrics in a figure, the best first: more lines cannot be told apart
# A dollar sign in a name does not start a formula. Font type 42 is accepted by publishers. Text stays text
# in an SVG, so that it can be searched; a fixed salt gives equal files for equal curves.
STYLE: dict[Any, Any] = {"text.parse_math": False, "pdf.fonttype": 42, "font.size": 8, "svg.fonttype": "none",
                         "svg.hashsalt": "zsiqa"}
HUMAN = "#777777"
# Okabe and Ito's blue and vermilion: colour-blind readers can distinguish them; in print, brightness differs.
WORSE, UNDECIDED, BETTER = "#d55e00", "#f2f2f2", "#0072b2"
# Okabe and Ito's colours, except that black replaces yellow, which is too pale for dots. After the last one,
# the colours repeat with the next mark.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
MARKS = ("o", "s", "D", "^", "x")


def significance_matrix(significance: pd.DataFrame, estimates: pd.Series[float], title: str,
                        stem: Path) -> list[Path]:
    """Draw the significance matrix of metrics.

    Args:
        significance: metrics by metrics: 1 where the row's metric is better than the column's, -1 where it is
            worse, 0 where undecided.
        estimates: the coefficient of each metric, in the same order.
        title: of the figure.
        stem: path of the files without `.png` and `.pdf`.
    """
    size = len(significance)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.5 + 0.24 * size, 3.2 + 0.24 * size), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(significance.to_numpy(), cmap=ListedColormap([WORSE, UNDECIDED, BETTER]), vmin=-1, vmax=1)
        axes.set_xticks(range(size), list(significance.columns), rotation=90, fontsize=7)
        axes.set_yticks(range(size), [f"{metric}  {value:.3f}" for metric, value in estimates.items()],
                        fontsize=7)
        axes.set_xticks([place - 0.5 for place in range(1, size)], minor=True)
        axes.set_yticks([place - 0.5 for place in range(1, size)], minor=True)
        axes.grid(which="minor", color="white", linewidth=0.8)
        axes.tick_params(which="both", length=0)
        axes.set_title(title, fontsize=9)
        handles = [Patch(color=BETTER, label="row better"), Patch(color=UNDECIDED, label="undecided"),
                   Patch(color=WORSE, label="row worse")]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7, frameon=False)
        paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
        for path in paths:
            path.write_bytes(_save(figure, path.suffix[1:]))
        return paths


def write_figures(found: Robustness, folder: Path) -> list[Path]:
    """Write one figure a data set, and one beside people's curves, as PDF and SVG; returns their paths."""
    drawn = {f"{dataset}_robustness_curves": partial(draw, found, dataset) for dataset in found.datasets}
    if found.people and len(found.people.curves):
        drawn = {f"{DATASET}_people": partial(draw_people, found.people.curves), **drawn}
    paths = {folder / f"{name}.{kind}": make(kind) for name, make in drawn.items() for kind in ("pdf", "svg")}
    for path, content in paths.items():
        path.write_bytes(content)
    return list(paths)


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
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.9 * len(curves) + 0.6, 1.9 * rows + 0.5 + 0.14 * len(metrics) / 2),
                        layout="constrained")
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
    """Draw people's mean response against the level, and the metrics' after the best line of each family.

    Args:
        curves: `human_curves.People.curves`.
        kind: `svg`, `pdf` or `png`.

    Returns:
        Content of the file.
    """
    families, names = list(dict.fromkeys(curves["family"])), published()[DATASET]["types"]
    everyone = list(dict.fromkeys(curves["metric"]))
    metrics = everyone[:MOST]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.9 * len(families) + 0.6, 2.5 + 0.07 * len(metrics)), layout="constrained")
        grid = figure.subplots(1, len(families), squeeze=False, sharey="row")
        for axes, family in zip(grid[0], families, strict=True):
            some = curves[curves["family"] == family]
            first = some[some["metric"] == metrics[0]]
            axes.plot(first["level"], first["response"], color="black", linewidth=2, label="people")
            for number, metric in enumerate(metrics):
                own = some[some["metric"] == metric]
                axes.plot(own["level"], own["fitted"], label=metric, **_line(number))
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
        (line,) = axes.plot(own["level"], own[name], label=metric, **_line(number))
        axes.fill_between(own["level"], own[f"{name}_low"], own[f"{name}_high"], color=line.get_color(),
                          alpha=0.15, linewidth=0)


def _line(number: int) -> dict[str, Any]:
    """Choose colour and mark of a metric's line, by its number."""
    return {"color": COLOURS[number % len(COLOURS)], "linewidth": 1, "markersize": 2.5,
            "marker": MARKS[number // len(COLOURS) % len(MARKS)]}
