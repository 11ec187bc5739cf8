"""Draw statistics with matplotlib. Every function writes a PNG and a PDF and returns the two paths."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

# Okabe and Ito's blue and vermilion: colour-blind readers can distinguish them; in print, brightness differs.
WORSE, UNDECIDED, BETTER = "#d55e00", "#f2f2f2", "#0072b2"
# Okabe and Ito's colours, except that black replaces yellow, which is too pale for dots. After the last one,
# the colours repeat with the next mark.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000")
MARKS = ("o", "s", "D", "^", "x")
# A dollar sign in a name does not begin mathematics. Font type 42 is accepted by publishers.
STYLE: dict[Any, Any] = {"text.parse_math": False, "pdf.fonttype": 42, "font.size": 8}


@dataclass(frozen=True, eq=False)
class Panel:
    """One scatter plot.

    Attributes:
        scores, labels: (N,); the score is NaN for a pair without one.
        curve: maps scores to labels; None without a fit.
    """

    title: str
    scores: np.ndarray
    labels: np.ndarray
    curve: Callable[[np.ndarray], np.ndarray] | None


def scatter_grid(panels: Sequence[Panel], types: np.ndarray, names: Mapping[str, str], label: str,
                 stem: Path) -> list[Path]:
    """Draw scores against labels, coloured by distortion type, with the fitted curve; three plots per row.

    Args:
        panels: at least one.
        types: (N,) distortion type of each pair.
        names: legend text by distortion type, in the order of the legend.
        label: text of the vertical axes.
        stem: path of the files without `.png` and `.pdf`.
    """
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    with mpl.rc_context(STYLE):
        width = 2.6 * columns + 0.4
        # 0.4 inches for a mark, 0.05 for a letter.
        beside = max(1, int(width / (0.4 + 0.05 * max(map(len, names.values())))))
        figure = _figure(width, 2.4 * rows + 0.13 * math.ceil(len(names) / beside) + 0.3)
        handles: dict[str, Any] = {}
        for place, panel in enumerate(panels):
            axes = figure.add_subplot(rows, columns, place + 1)
            for number, (name, text) in enumerate(names.items()):
                some = types == name
                handles[text] = axes.scatter(
                    panel.scores[some], panel.labels[some], s=5 if len(types) < 5000 else 1, linewidths=0.6,
                    color=COLOURS[number % len(COLOURS)], marker=MARKS[number // len(COLOURS) % len(MARKS)],
                    alpha=0.7, rasterized=True)  # a PDF with thousands of vector dots opens slowly
            if panel.curve is not None:
                xs = np.linspace(np.nanmin(panel.scores), np.nanmax(panel.scores), 201)
                axes.plot(xs, panel.curve(xs), color="black", linewidth=1.2)
            axes.set_title(panel.title, fontsize=7)
            axes.set_ylabel(label if place % columns == 0 else "")
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=beside,
                      fontsize=6, frameon=False, markerscale=2)
        return _save(figure, stem)


def robustness_bars(estimates: pd.DataFrame, low: pd.DataFrame, high: pd.DataFrame, coefficient: str,
                    title: str, stem: Path) -> list[Path]:
    """Draw the coefficient of each metric under each perturbation, with its interval.

    Args:
        estimates: metrics by perturbations; NaN without an estimate.
        low, high: ends of the intervals, in the same shape.
        coefficient: its name.
        title: of the figure.
        stem: path of the files without `.png` and `.pdf`.
    """
    names = list(estimates.columns)
    thickness = 0.8 / len(names)
    with mpl.rc_context(STYLE):
        figure = _figure(6.0, 1.0 + len(estimates) * (0.09 + 0.09 * len(names)))
        axes = figure.add_subplot()
        for number, name in enumerate(names):
            values = estimates[name].to_numpy()
            reach = np.nan_to_num(np.abs(np.stack([values - low[name], high[name] - values])))
            axes.barh(np.arange(len(estimates)) + (number - (len(names) - 1) / 2) * thickness,
                      values, thickness,
                      color=("#000000", "#e69f00", "#56b4e9", "#009e73", "#cc79a7")[number % 5], label=name,
                      xerr=reach, error_kw={"elinewidth": 0.6, "ecolor": "#777777"})
        axes.set_yticks(range(len(estimates)), list(estimates.index))
        axes.invert_yaxis()
        axes.margins(y=0.01)
        axes.axvline(0, color="black", linewidth=0.6)
        axes.set_xlabel(coefficient.upper())
        axes.set_title(title, fontsize=9)
        figure.legend(loc="outside lower center", ncols=len(names), fontsize=7, frameon=False)
        return _save(figure, stem)


def coefficient_matrix(values: pd.DataFrame, coefficient: str, title: str, stem: Path) -> list[Path]:
    """Draw coefficients of metrics by distortion types as a coloured matrix with numbers.

    Args:
        values: -1..1; NaN where undefined.
        coefficient: its name.
        title: of the figure.
        stem: path of the files without `.png` and `.pdf`.
    """
    with mpl.rc_context(STYLE):
        figure = _figure(2.8 + 0.34 * len(values.columns), 1.8 + 0.2 * len(values))
        axes = figure.add_subplot()
        colours = LinearSegmentedColormap.from_list("signed", [WORSE, "#ffffff", BETTER])
        image = axes.imshow(values.to_numpy(dtype=float), cmap=colours, vmin=-1, vmax=1, aspect="auto")
        axes.set_xticks(range(len(values.columns)), list(map(str, values.columns)), rotation=90, fontsize=7)
        axes.set_yticks(range(len(values)), list(map(str, values.index)), fontsize=7)
        for (row, column), value in np.ndenumerate(values.to_numpy(dtype=float)):
            if math.isfinite(value):
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=5,
                          color="white" if abs(value) > 0.7 else "black")
        axes.tick_params(length=0)
        axes.set_title(title, fontsize=9)
        figure.colorbar(image, label=coefficient.upper(), fraction=0.04)
        return _save(figure, stem)


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
        figure = _figure(4.5 + 0.24 * size, 3.2 + 0.24 * size)
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
        return _save(figure, stem)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, stem: Path) -> list[Path]:
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
    for path in paths:
        figure.savefig(path, dpi=200)
    return paths
