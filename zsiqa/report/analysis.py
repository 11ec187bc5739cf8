"""Write an analysis as text for a terminal and as files."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from zsiqa.evaluation.analysis import Analysis
from zsiqa.evaluation.bootstrap import LEVEL
from zsiqa.evaluation.correlation import COEFFICIENTS
from zsiqa.report.formats import to_json
from zsiqa.terminal import aligned_within, escape_formula

ALARMS_SHOWN = 10
FEW_REPLICATES = 500


def to_text(found: Analysis, width: int = 10_000) -> str:
    """Write the analysis as text for a terminal of a width, in characters."""
    name, settings = found.settings.coefficient, found.settings
    chance = (found.references - 1) / (found.n - 1)
    lines = [f"{found.dataset}/{found.perturbation}: {found.n} of {found.expected} pairs, {found.references} "
             f"references; {found.label_share:.1%} of the labels' variance lies between references "
             f"({chance:.1%} would by chance)",
             f"intervals: {LEVEL:.0%}, {settings.interval}, {settings.replicates} resamples of the "
             f"references, seed {settings.seed}", ""]
    upper = name.upper()
    table = [["metric", *(one.upper() for one in COEFFICIENTS), "PLCC per ref.", f"{upper} per ref.",
              "median", "SD", "undefined", "PLCC logistic", "RMSE", "between refs."]]
    for metric, row in found.methods.iterrows():
        table.append([
            str(metric),
            *(f"{_digits(row[one])} [{_digits(row[f'{one}_low'])}, {_digits(row[f'{one}_high'])}]"
              for one in COEFFICIENTS),
            *(_digits(row[one]) for one in ("plcc_per_ref", f"{name}_per_ref", f"{name}_per_ref_median",
                                            f"{name}_per_ref_sd")),
            str(int(row["undefined_refs"])), _digits(row["plcc_mapped"]), f"{row['rmse']:.4g}",
            f"{row['between_share']:.1%}"])
    lines += aligned_within(table, width, right=range(4, 12))
    if len(found.types.columns):
        lines += ["", f"{name.upper()} by distortion type",
                  found.types.to_string(float_format="{:.3f}".format, line_width=width),
                  *(f"  {column}: {text}" for column, text in found.type_names.items())]
    lines += _comparisons_text(found, width)
    if found.alarms:
        sure = sum(alarm.sure for alarm in found.alarms)
        lines += ["", f"Rank change: {len(found.alarms)} pairs of metrics change places between pooled and "
                      f"per-reference {name.upper()}; {sure} of them are significant in both orders"]
        lines += [f"  {alarm.text}" for alarm in found.alarms[:ALARMS_SHOWN]]
        if len(found.alarms) > ALARMS_SHOWN:
            lines.append(f"  and {len(found.alarms) - ALARMS_SHOWN} more")
    return "\n".join([*lines, *([""] if found.notes else []), *found.notes])


def _comparisons_text(found: Analysis, width: int) -> list[str]:
    if found.comparisons.empty:
        return []
    name, settings = found.settings.coefficient, found.settings
    lines = ["", f"{name.upper()} compared, references resampled {settings.replicates} times; "
                 f"p after Holm over {len(found.comparisons)} comparisons "
                 f"(Student's t of the difference over its bootstrap error)"]
    if settings.replicates < FEW_REPLICATES:
        lines.append(f"  with fewer than {FEW_REPLICATES} resamples, the bootstrap error itself is uncertain")
    if len(found.comparisons) <= 15:
        shown = found.comparisons.set_index(["a", "b"])
        lines.append(shown.to_string(float_format="{:.4g}".format, line_width=width))
        lines.append("  p_wilcoxon: over references. Williams, Steiger, Zou: assume independent pairs, which "
                     "these are not." if "p_williams" in shown else "  p_wilcoxon: over references.")
    else:
        lines.append("  + the row's is better, - it is worse, . undecided; columns in the order of the rows")
        stub = max(map(len, found.significance.index))
        rows = zip(found.significance.index, found.significance.to_numpy(), strict=True)
        lines += [f"  {metric:{stub}}  " + "".join({1: "+", -1: "-", 0: "."}[value] for value in row)
                  for metric, row in rows]
    best = [metric for metric in found.methods.index if found.methods.loc[metric, "not_worse_than_best"]]
    lines.append(f"  best, and not significantly worse than it: {', '.join(best)}")
    return lines


def write(found: Analysis, folder: Path) -> list[Path]:
    """Write CSV files, a JSON file with the settings, and a figure of the significance matrix into a folder.

    Returns:
        Paths of the files.
    """
    from zsiqa.report.figures import significance_matrix  # matplotlib, of an extra

    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{found.dataset}_{found.perturbation}"
    written = []
    for name in ("methods", "types", "within", "comparisons", "significance"):
        frame: pd.DataFrame = getattr(found, name)
        path = folder / f"{stem}_{name}.csv"
        frame = frame.rename(index=escape_formula, columns=escape_formula).map(escape_formula)
        frame.to_csv(path, index=name != "comparisons", lineterminator="\n")
        written.append(path)
    about = {"dataset": found.dataset, "perturbation": found.perturbation, "pairs": found.n,
             "pairs_of_the_data_set": found.expected, "references": found.references,
             "label_variance_between_references": found.label_share, "level": LEVEL, **asdict(found.settings),
             "as_authors": found.methods["as_authors"].to_dict(),
             "unlike_authors": {name: text for name, text in found.methods["unlike_authors"].items() if text},
             "types": found.type_names, "rank_changes": [alarm.text for alarm in found.alarms],
             "notes": found.notes}
    path = folder / f"{stem}_analysis.json"
    path.write_text(to_json(about), encoding="utf-8")
    written.append(path)
    if len(found.methods) > 1:
        title = f"{found.dataset}, {found.perturbation}: {found.settings.coefficient.upper()}"
        written += significance_matrix(found.significance, found.methods[found.settings.coefficient], title,
                                       folder / f"{stem}_significance")
    return written


def _digits(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"
