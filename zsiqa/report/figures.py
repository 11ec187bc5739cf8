"""Write the plots of a report as figures for papers. Never imports torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from zsiqa.evaluation.logistic import logistic
from zsiqa.report.data import DatasetReport, Report
from zsiqa.report.drawing import Panel, coefficient_matrix, robustness_bars, scatter_grid, significance_matrix
from zsiqa.report.points import Points

PANELS = 6  # scatter plots per figure, of the best metrics


def write_figures(report: Report, folder: Path) -> list[Path]:
    """Write the figures of a report.

    Each data set has a figure of robustness. Each of its perturbations has scatter plots of the best six
    metrics, coefficients by distortion type, and a significance matrix.

    Returns:
        Paths of the files: a PNG and a PDF of each figure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [path for one in report.datasets for path in _figures(one, folder)]


def _figures(report: DatasetReport, folder: Path) -> list[Path]:
    written = []
    if report.analyses:
        written += _robustness(report, folder)
    for name, found in report.analyses.items():
        stem, title = folder / f"{report.name}_{name}", f"{report.label}, {name} images"
        coefficient = found.settings.coefficient
        panels = [one for one in report.points if one.perturbation == name][:PANELS]
        if panels:
            direction = "higher" if report.pairs.higher_is_better else "lower"
            used = set(report.pairs.types)
            names = {kind: f"{kind} {text}" for kind, text in report.types.items() if kind in used}
            names |= {kind: kind or "all pairs" for kind in sorted(used - set(names))}
            written += scatter_grid([_panel(one, report) for one in panels], report.pairs.types, names,
                                    f"label ({direction} is better)", _beside(stem, "scatter"))
        if len(found.types.columns):
            written += coefficient_matrix(found.types, coefficient, title, _beside(stem, "types"))
        if len(found.methods) > 1:
            written += significance_matrix(found.significance, found.methods[coefficient],
                                           f"{title}: {coefficient.upper()}", _beside(stem, "significance"))
    return written


def _robustness(report: DatasetReport, folder: Path) -> list[Path]:
    coefficient = next(iter(report.analyses.values())).settings.coefficient
    estimates, low, high = (
        pd.DataFrame({name: found.methods[f"{coefficient}{suffix}"]
                      for name, found in report.analyses.items()})
        for suffix in ("", "_low", "_high"))
    order = estimates.sort_values(str(estimates.columns[0]), ascending=False).index
    return robustness_bars(estimates.loc[order], low.loc[order], high.loc[order], coefficient, report.label,
                           folder / f"{report.name}_robustness")


def _panel(points: Points, report: DatasetReport) -> Panel:
    curve = None if points.fit.problem else _curve(points, report)
    return Panel(points.metric, points.scores, report.pairs.labels, curve)


def _curve(points: Points, report: DatasetReport) -> Callable[[np.ndarray], np.ndarray]:
    """Fitted curve from the scores to the labels as stored, before they are turned to higher is better."""
    side = 1 if points.higher_is_better else -1
    up = 1 if report.pairs.higher_is_better else -1
    return lambda scores: up * logistic(side * scores, points.fit.parameters)


def _beside(stem: Path, kind: str) -> Path:
    return stem.with_name(f"{stem.name}_{kind}")
