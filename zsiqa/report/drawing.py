"""Draw with matplotlib, for papers: the style, and the significance matrix of `zsiqa rank --out`.

The plots of the report are drawn by plotly.js in the page, where each can be saved as SVG.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
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
