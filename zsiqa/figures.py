"""Pictures of statistics, with matplotlib."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

# Okabe and Ito's blue and vermilion: told apart by colour-blind readers, and by brightness in print.
WORSE, UNDECIDED, BETTER = "#d55e00", "#f2f2f2", "#0072b2"


def significance_matrix(significance: pd.DataFrame, estimates: pd.Series[float], title: str,
                        stem: Path) -> list[Path]:
    """Draw which metric is significantly better than which.

    Args:
        significance: metric by metric: 1 where the row's is better, -1 where it is worse, 0 where undecided.
        estimates: the coefficient of each metric, in the same order.
        title: of the picture.
        stem: path of the files without `.png` and `.pdf`.

    Returns:
        The two files.
    """
    size = len(significance)
    figure = Figure(figsize=(4.5 + 0.24 * size, 3.2 + 0.24 * size), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(significance.to_numpy(), cmap=ListedColormap([WORSE, UNDECIDED, BETTER]), vmin=-1, vmax=1)
    axes.set_xticks(range(size), list(significance.columns), rotation=90, fontsize=7)
    axes.set_yticks(range(size), [f"{metric}  {value:.3f}" for metric, value in estimates.items()], fontsize=7)
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
        figure.savefig(path, dpi=150)
    return paths
