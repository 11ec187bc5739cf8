"""Write robustness curves as text for a terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from zsiqa.evaluation.human_curves import ALL
from zsiqa.evaluation.human_thresholds import HumanThreshold
from zsiqa.evaluation.robustness import LEVEL, Robustness
from zsiqa.releases import published
from zsiqa.report.download import to_csv as frame_to_csv

UNITS = {"px": "px", "pct": "%", "deg": "deg", "visual_deg": "degrees of visual angle"}


def to_text(found: Robustness, width: int) -> str:
    """Write the ranking, the levels at which unseen changes look like damage, and the comparison with people.

    Args:
        found: the curves.
        width: of the terminal.
    """
    lines: list[str] = []
    for dataset in dict.fromkeys(found.curves["dataset"] if len(found.curves) else ()):
        lines += [*([""] if lines else []), *_ranking(found, dataset, width), *_mildest(found, dataset)]
    if found.people:
        lines += [*([""] if lines else []), *people_lines(found.people.rows)]
    about = [f"Intervals ({LEVEL:.0%}) and tests: {found.settings.replicates} resamples of the references; "
             f"Holm over all pairs of metrics.",
             *(describe_thresholds(found.settings.thresholds, found.settings.pixels_per_degree)
               if len(found.curves) else []),
             *(f"note: {note}" for note in dict.fromkeys(found.notes))]
    return "\n".join([*lines, "", *about])


def describe_thresholds(thresholds: Sequence[HumanThreshold], pixels_per_degree: float) -> list[str]:
    """Describe human thresholds in a sentence for each source."""
    by_source: dict[str, list[str]] = {}
    for one in thresholds:
        angle = f" = {one.in_unit('px', pixels_per_degree):.3g} px at {pixels_per_degree:g} pixels a degree"
        source = f"{one.source}{'' if one.checked else '; not checked at its source'}"
        text = f"{' and '.join(one.families)} {one.value:g} {UNITS[one.unit]}"
        by_source.setdefault(source, []).append(text + angle * (one.unit == "visual_deg"))
    return [f"human thresholds: {', '.join(texts)} (source: {source})" for source, texts in by_source.items()]


def _ranking(found: Robustness, dataset: str, width: int) -> list[str]:
    rows = found.ranking[found.ranking["dataset"] == dataset] if len(found.ranking) else found.ranking
    if not len(rows):
        return [f"{dataset}: no ranking; the notes say why"]
    families = _families(rows)
    heads = [name.removeprefix("unseen_") for name in families]
    stub = max(map(len, rows["metric"]))
    columns = [max(7, len(head) + 1) for head in heads]
    interval = stub + 7 + sum(columns) + 31 <= width
    pairs = ", ".join(sorted({f"{count:,}" for count in rows["pairs"]}))
    lines = [f"{dataset}, {pairs} pairs: mean SRCC over unseen changes, from level 0 to the human threshold",
             f"{'':{stub}} {'at 0':>6}" + "".join(f"{head:>{size}}" for head, size
                                                  in zip(heads, columns, strict=True))
             + f"{'worst':>7} " + ("interval        " if interval else "") + f"{'loss':>7}"]
    for row in rows.to_dict("records"):
        lines.append(f"{row['metric']:{stub}} {row['srcc_original']:6.3f}"
                     + "".join(f"{row[name]:{size}.3f}" for name, size in zip(families, columns, strict=True))
                     + f"{row['worst']:7.3f}{'*' if row['in_best_group'] else ' '}"
                     + (f"{_interval(row, 'worst'):16}" if interval else "")
                     + f"{row['loss']:z7.3f}{' p' if row['pairs'] < row['expected'] else ''}")
    return [*lines, "at 0: SRCC on original images; loss: at 0 less worst; * best by worst, or not "
                    "significantly worse", *(["p: scores of a part of the data set's pairs"]
                                   if (rows["pairs"] < rows["expected"]).any() else [])]


def _families(rows: pd.DataFrame) -> list[str]:
    """Return the columns with the means of curves."""
    return [name for name in rows.columns if name.startswith("unseen_") and rows[name].notna().any()]


def _interval(row: dict[Any, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if math.isnan(low) else f"[{low:.3f}, {high:.3f}]"


def _mildest(found: Robustness, dataset: str) -> list[str]:
    """Write the levels at which a changed reference scores worse than the mildest real distortion."""
    rows = found.curves[found.curves["dataset"] == dataset]
    if not rows["mildest_at"].notna().any():
        return []
    curves = rows[["family", "unit", "human"]].drop_duplicates(["family", "unit"]).to_dict("records")
    metrics = list(dict.fromkeys(rows["metric"]))
    stub = max(len("human threshold"), *map(len, metrics))
    heads = [f"{one['family']} {UNITS[one['unit']]}" for one in curves]
    columns = [max(9, len(head) + 2) for head in heads]
    lines = ["", f"{dataset}: level at which a changed reference scores worse than the mildest distortion",
             f"{'':{stub}}" + "".join(f"{head:>{size}}" for head, size in zip(heads, columns, strict=True)),
             f"{'human threshold':{stub}}" + "".join(
                 f"{'' if math.isnan(one['human']) else format(one['human'], '.3g'):>{size}}"
                 for one, size in zip(curves, columns, strict=True))]
    cells = {(row["metric"], row["family"], row["unit"]): _level(row) for row in rows.to_dict("records")}
    for metric in metrics:
        lines.append((f"{metric:{stub}}" + "".join(
            f"{cells.get((metric, one['family'], one['unit']), ''):>{size}}"
            for one, size in zip(curves, columns, strict=True))).rstrip())
    return [*lines, "! below the human threshold: people do not see this change; > not reached"]


def _level(row: dict[Any, Any]) -> str:
    level = row["mildest_at"]
    if math.isnan(level):
        return ""
    if math.isinf(level):
        return f">{row['last']:g}"
    return f"{level:.2g}{'!' if level < row['human'] else ''}"


def people_lines(people: pd.DataFrame) -> list[str]:
    """Write the comparison with people's response curves as lines of text."""
    names = published()["raid"]["types"]
    families = list(dict.fromkeys(people["family"]))
    heads = [f"{names.get(family, family)}" for family in families]
    stub = max(len("a constant"), *map(len, people["metric"]))
    columns = [max(9, len(head) + 2) for head in heads]
    lines: list[str] = []
    for title, name in (("SRCC with people's responses to affine changes and noise (RAID)", "srcc"),
                        ("error after the best line, in SD of a response", "rmse_affine"),
                        ("error after the best rising curve", "rmse_monotone"),
                        ("bias, all on one rising curve; above 0: more difference than people see", "bias")):
        table = people.pivot(index="metric", columns="family", values=name)
        lines += [*([""] if lines else []), title,
                  f"{'':{stub}}" + "".join(f"{head:>{size}}" for head, size
                                           in zip(heads, columns, strict=True))]
        lines += [f"{metric:{stub}}" + "".join(f"{table.loc[metric, family]:z{size}.3f}" for family, size
                                               in zip(families, columns, strict=True))
                  for metric in dict.fromkeys(people["metric"])]
        if name.startswith("rmse"):
            spread = people.groupby("family")["sd"].first()
            lines.append(f"{'a constant':{stub}}" + "".join(
                f"{spread[family]:{size}.3f}" for family, size in zip(families, columns, strict=True)))
    return [*lines, f"{ALL}: all families together"]


def to_csv(found: Robustness) -> str:
    """Write one row a point of a curve."""
    return frame_to_csv(found.points)


def ranking_rows(found: Robustness, dataset: str) -> list[list[str]]:
    """Write the ranking of a data set as rows of texts, the head first; empty without a ranking."""
    rows = found.ranking[found.ranking["dataset"] == dataset] if len(found.ranking) else found.ranking
    if not len(rows):
        return []
    families = _families(rows)
    return [[dataset, "at 0", *(name.removeprefix("unseen_") for name in families), "worst", "loss"], *(
        [row["metric"], *(f"{row[name]:.3f}" for name in ("srcc_original", *families)),
         f"{row['worst']:.3f}{'*' * row['in_best_group']} {_interval(row, 'worst')}".rstrip(),
         f"{row['loss']:z.3f}"] for row in rows.to_dict("records"))]


def to_markdown(found: Robustness) -> str:
    """Write the ranking of each data set as a table."""
    blocks = []
    for dataset in dict.fromkeys(found.ranking["dataset"] if len(found.ranking) else ()):
        head, *body = ranking_rows(found, dataset)
        table = [head, ["---"] * len(head), *([f"`{metric}`", *cells] for metric, *cells in body)]
        blocks.append("\n".join(f"| {' | '.join(row)} |" for row in table))
    return "\n\n".join(blocks) + "\n"


def to_json(found: Robustness) -> str:
    """Write everything; null where a number is undefined, and "not reached" for an infinite level."""
    settings = found.settings
    people = [("people", found.people.rows), ("people_curves", found.people.curves)] if found.people else []
    about = {"replicates": settings.replicates, "seed": settings.seed, "level": LEVEL,
             "pixels_per_degree": settings.pixels_per_degree,
             "thresholds": [vars(one) for one in settings.thresholds], "notes": found.notes,
             **{name: [{key: _plain(value) for key, value in row.items()} for row in frame.to_dict("records")]
                for name, frame in (("ranking", found.ranking), ("curves", found.curves),
                                    ("points", found.points), *people)}}
    return json.dumps(about, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return "not reached" if value > 0 else None
    return value.item() if isinstance(value, np.generic) else value
