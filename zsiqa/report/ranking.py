"""Write a ranking of metrics as text for a terminal, as Markdown and as CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from zsiqa.evaluation.bootstrap import LEVEL
from zsiqa.evaluation.findings import Finding
from zsiqa.evaluation.ranking import Ranking
from zsiqa.evaluation.verdicts import PARTIAL
from zsiqa.releases import describe_uses
from zsiqa.report.formats import markdown_table
from zsiqa.report.formats import to_csv as frame_to_csv
from zsiqa.terminal import aligned_within, listed

# Letter and meaning of each flag.
FLAGS = {"partial": (PARTIAL, "scores of a part of the data set's pairs"),
         "not deterministic": ("n", "other scores for equal images, so the next run gives other numbers"),
         "quantised": ("q", "half precision or coarser: ties among scores"),
         "trained on this set": ("t", "the metric learned from this data set"),
         "unlike its authors": ("s", "not computed as the metric's authors compute it"),
         "authors' use unknown": ("?", "not known how the metric's authors compute it"),
         "unchecked": ("u", "no checksum: nothing shows whether the file is as it was written")}
SHOWN = 3  # patterns of names in a finding


def to_text(found: Ranking, width: int, coefficient: str = "srcc") -> str:
    """Write a ranking as text: sentences, and tables of at most `width` columns where names allow it.

    Args:
        found: the ranking.
        width: of the terminal.
        coefficient: of the table of several data sets, `plcc`, `srcc` or `krcc`; stars are those of SRCC.
    """
    lines: list[str] = []
    for perturbation, rows in found.rows.groupby("perturbation", sort=False):
        shared = _shared(rows)
        single = rows["dataset"].nunique() == 1
        lines += [*([""] if lines else []),
                  f"{'SRCC' if single else coefficient.upper()}, {perturbation} images; * = best by SRCC, or "
                  f"not significantly worse"]
        lines += _one(rows, shared, width) if single else [
            *_matrix(rows, shared, width, coefficient), "", "SRCC within references, mean",
            *_matrix(rows, set(FLAGS), width, "srcc_per_ref")]
        lines += _legend(rows, shared)
    about = [f"Intervals ({LEVEL:.0%}) and tests: {found.replicates} resamples of the references; Holm over "
             f"all pairs of metrics.",
             *(text for dataset, ones in found.findings.items() for text in describe(dataset, ones)),
             *(f"note: {note}" for note in found.notes)]
    return "\n".join([*lines, "", *about])


def to_markdown(found: Ranking) -> str:
    """Write a ranking as one Markdown table a perturbation."""
    blocks = []
    for perturbation, rows in found.rows.groupby("perturbation", sort=False):
        shared, datasets = _shared(rows), list(dict.fromkeys(rows["dataset"]))
        cells = _cells(rows, shared, "srcc", interval=True)
        head = [f"SRCC, {perturbation}", *(f"{name} ({_pairs(rows, name):,})" for name in datasets)]
        body = [[f"`{metric}`", *(cells.get((metric, name), "") for name in datasets)]
                for metric in _order(rows)]
        blocks.append("\n".join([markdown_table(head, body), "", *_legend(rows, shared)]))
    return "\n\n".join(blocks) + "\n"


def to_csv(found: Ranking) -> str:
    """Write one row a data set, metric and perturbation."""
    return frame_to_csv(found.rows.assign(flags=found.rows["flags"].map("; ".join)))


def describe(dataset: str, findings: Sequence[Finding]) -> list[str]:
    """Describe findings in sentences."""
    lines = []
    for one in findings:
        what = ("score exactly 0 under most distances, as if they were their reference"
                if one.kind == "as reference" else "score as another image of their reference does")
        lines.append(f"warning: {dataset}: {one.images:,} images ({listed(one.patterns, SHOWN)}) {what}. "
                     f"Their labels still differ by a standard deviation of {one.label_sd:.3g} (all labels: "
                     f"{one.set_sd:.3g}); no metric can reproduce that, and PLCC cannot exceed "
                     f"{one.highest_plcc:.4f}.")
    return lines


def _one(rows: pd.DataFrame, shared: set[str], width: int) -> list[str]:
    table = [["", "SRCC", "interval", "ranks", "per ref.", "PLCC", "KRCC", "ms a pair", ""]]
    for row in rows.to_dict("records"):
        star, flags = "*" if row["in_best_group"] else " ", _letters(row["flags"], shared)
        ranks = "" if math.isnan(row["rank_low"]) else f"{row['rank_low']:.0f}-{row['rank_high']:.0f}"
        interval = f"[{row['srcc_low']:.3f}, {row['srcc_high']:.3f}]"
        table.append([row["metric"], f"{row['srcc']:.3f}{star}", interval, ranks,
                      *(f"{row[name]:.3f}" for name in ("srcc_per_ref", "plcc", "krcc")),
                      "" if math.isnan(row["ms_pair"]) else format(row["ms_pair"], ",.0f"), flags])
    return [f"{rows['dataset'].iloc[0]}: {rows['pairs'].iloc[0]:,} pairs",
            *aligned_within(table, width, right={3, 4, 5, 6, 7})]


def _matrix(rows: pd.DataFrame, shared: set[str], width: int, column_name: str) -> list[str]:
    datasets, metrics = list(dict.fromkeys(rows["dataset"])), _order(rows)
    cells, means = _cells(rows, shared, column_name), _means(rows, column_name)
    stub = max(map(len, metrics))
    column = max(9, *(len(name) + 1 for name in datasets))
    most = max(1, (width - stub - 8) // column)
    lines = []
    for first in range(0, len(datasets), most):
        shown = datasets[first:first + most]
        lines += [*([""] if first else []),
                  f"{'':{stub}}  " + "".join(f"{name:{column}}" for name in shown) + "mean",
                  f"{'pairs':{stub}}  " + "".join(f"{_pairs(rows, name):<{column},}" for name in shown)]
        lines += [f"{metric:{stub}}  "
                  + "".join(f"{cells.get((metric, name), ''):{column}}" for name in shown)
                  + (f"{means[metric]:.3f}" if metric in means else "") for metric in metrics]
    return [line.rstrip() for line in lines]


def _cells(rows: pd.DataFrame, shared: set[str], name: str, *,
           interval: bool = False) -> dict[tuple[str, str], str]:
    cells = {}
    for row in rows.to_dict("records"):
        text = f"{row[name]:.3f}" + "*" * bool(row["in_best_group"] and name != "srcc_per_ref")
        if interval and not math.isnan(row["srcc_low"]):
            text += f" [{row['srcc_low']:.3f}, {row['srcc_high']:.3f}]"
        letters = _letters(row["flags"], shared)
        cells[row["metric"], row["dataset"]] = f"{text}{' ' * interval}{letters}".rstrip()
    return cells


def _order(rows: pd.DataFrame) -> list[str]:
    """Sort metrics by their mean distance to the best metric of each data set that they have scores of."""
    behind = rows["srcc"] - rows.groupby("dataset")["srcc"].transform("max")
    ordered = behind.groupby(rows["metric"]).mean().sort_values(ascending=False, kind="stable")
    return [str(metric) for metric in ordered.index]


def _means(rows: pd.DataFrame, name: str) -> dict[str, float]:
    """Compute the mean over the data sets of the metrics that have scores of all."""
    groups = rows.groupby("metric")[name]
    count = rows["dataset"].nunique()
    return {str(metric): float(values.mean()) for metric, values in groups if values.count() == count}


def _pairs(rows: pd.DataFrame, dataset: str) -> int:
    return int(rows.loc[rows["dataset"] == dataset, "pairs"].iloc[0])


def _shared(rows: pd.DataFrame) -> set[str]:
    """Return the flags that all rows have; they are stated once, not in each row."""
    shared: set[str] = set.intersection(*map(set, rows["flags"]))
    return shared


def _letters(flags: Sequence[str], shared: set[str]) -> str:
    return "".join(FLAGS[flag][0] for flag in flags if flag not in shared)


def _legend(rows: pd.DataFrame, shared: set[str]) -> list[str]:
    used = {flag for flags in rows["flags"] for flag in flags}
    names = ("as_authors", "unlike_authors")
    uses = ((row["metric"], {name: row[name] for name in names}) for row in rows.to_dict("records"))
    return [*(f"{'all' if flag in shared else letter}: {meaning}"
              for flag, (letter, meaning) in FLAGS.items() if flag in used), *describe_uses(uses)]
