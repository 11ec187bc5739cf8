"""Write robustness curves as text for a terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from zsiqa.evaluation.bootstrap import LEVEL
from zsiqa.evaluation.human_curves import ALL, DATASET
from zsiqa.evaluation.human_thresholds import HumanThreshold
from zsiqa.evaluation.robustness import Robustness
from zsiqa.releases import published
from zsiqa.report.formats import markdown_table
from zsiqa.report.formats import to_csv as frame_to_csv
from zsiqa.report.formats import to_json as data_to_json

RANKING_LEGEND = ("at 0: SRCC on original images; worst: the lowest mean; loss: at 0 minus worst",
                  "* best by worst, or not significantly worse; p: scores of a part of the data set's pairs")
UNITS = {"px": "px", "pct": "%", "deg": "deg", "visual_deg": "degrees of visual angle"}


def to_text(found: Robustness, width: int) -> str:
    """Write the ranking, the levels that score like real distortions, and the comparison with people.

    Args:
        found: the curves.
        width: of the terminal.
    """
    lines: list[str] = []
    for dataset in found.datasets:
        lines += [*([""] if lines else []), *_ranking(found, dataset, width),
                  *_mildest(found, dataset, width)]
    if found.people:
        lines += [*([""] if lines else []), *people_lines(found.people.rows, width)]
    about = [f"Intervals ({LEVEL:.0%}) and tests: {found.settings.replicates} resamples of the references; "
             f"Holm over all pairs of metrics.",
             *(describe_thresholds(found.settings.thresholds, found.settings.pixels_per_degree)
               if found.datasets else []),
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
    rows = found.ranked(dataset)
    if not len(rows):
        return [f"{dataset}: no ranking; the notes say why"]
    families = _families(rows)
    heads = [name.removeprefix("unseen_") for name in families]
    stub = max(map(len, rows["metric"]))
    columns = [max(7, len(head) + 1) for head in heads]
    interval = stub + 7 + sum(columns) + 32 <= width
    fewest, most = rows["pairs"].min(), rows["pairs"].max()
    pairs = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
    lines = [f"{dataset}, {pairs} pairs: mean SRCC over unseen changes, from level 0 to the human threshold",
             f"{'':{stub}} {'at 0':>6}" + "".join(f"{head:>{size}}" for head, size
                                                  in zip(heads, columns, strict=True))
             + f"{'worst':>7}  " + ("interval        " if interval else "") + f"{'loss':>7}"]
    for row in rows.to_dict("records"):
        lines.append(f"{row['metric']:{stub}} {row['srcc_original']:6.3f}"
                     + "".join(f"{row[name]:{size}.3f}" for name, size in zip(families, columns, strict=True))
                     + f"{row['worst']:7.3f}{'*' if row['in_best_group'] else ' '} "
                     + (f"{_interval(row, 'worst'):16}" if interval else "")
                     + f"{row['loss']:z7.3f}{_part(row)}")
    return [*lines, *RANKING_LEGEND]


def _part(row: dict[Any, Any]) -> str:
    return " p" if row["pairs"] < row["expected"] else ""


def _families(rows: pd.DataFrame) -> list[str]:
    """Return the columns with the means of curves."""
    return [name for name in rows.columns if name.startswith("unseen_") and rows[name].notna().any()]


def _interval(row: dict[Any, Any], name: str, digits: int = 3) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if math.isnan(low) else f"[{low:.{digits}f}, {high:.{digits}f}]"


def _mildest(found: Robustness, dataset: str, width: int) -> list[str]:
    """Write the levels at which a changed reference scores worse than the mildest real distortion."""
    rows = found.curves[found.curves["dataset"] == dataset]
    if not rows["mildest_at"].notna().any():
        return []
    curves = rows[["family", "unit", "human"]].drop_duplicates(["family", "unit"]).to_dict("records")
    cells = {(row["metric"], row["family"], row["unit"]): _level(row) for row in rows.to_dict("records")}
    humans = ("" if math.isnan(one["human"]) else f"{one['human']:.3g}" for one in curves)
    body = [["human threshold", *humans],
            *([metric, *(cells.get((metric, one["family"], one["unit"]), "") for one in curves)]
              for metric in dict.fromkeys(rows["metric"]))]
    some = rows["response_references"].between(1, rows["response_expected"] - 1).any()
    legend = "! people do not see this change; > not reached; < before the first level"
    return ["", f"{dataset}: level at which a changed reference scores worse than the mildest distortion",
            *_blocks(["", *(f"{one['family']} {UNITS[one['unit']]}" for one in curves)], body, width),
            legend + "; p: some references" * bool(some)]


def _level(row: dict[Any, Any]) -> str:
    level, first = row["mildest_at"], row["first"]
    if math.isnan(level):
        return ""
    part = " p" if row["response_references"] < row["response_expected"] else ""
    if math.isinf(level):
        return f">{row['last']:g}{part}"
    shown = max(level, first)  # before the first level, the curve is not known
    seen = "!" if (shown <= row["human"] if level < first else level < row["human"]) else ""
    return f"{'<' if level < first else ''}{shown:.3g}{seen}{part}"


def _blocks(head: Sequence[str], body: Sequence[Sequence[str]], width: int) -> list[str]:
    """Write a table as lines; the columns that do not fit into the width follow in further blocks."""
    stub = max(len(row[0]) for row in body)
    sizes = [2 + max(7, *(len(row[column]) for row in [head, *body])) for column in range(1, len(head))]
    blocks: list[list[int]] = [[]]
    for column, size in enumerate(sizes, 1):
        if blocks[-1] and stub + sum(sizes[one - 1] for one in blocks[-1]) + size > width:
            blocks.append([])
        blocks[-1].append(column)
    return [(f"{row[0]:{stub}}" + "".join(f"{row[one]:>{sizes[one - 1]}}" for one in block)).rstrip()
            for block in blocks for row in [head, *body]]


def people_lines(people: pd.DataFrame, width: int = 100) -> list[str]:
    """Write the comparison with people's response curves as lines of text."""
    names = published()["raid"]["types"]
    families = list(dict.fromkeys(people["family"]))
    rows = {(row["metric"], row["family"]): row for row in people.to_dict("records")}
    head = ["", *(names.get(family, family) for family in families)]
    lines: list[str] = []
    for title, name in (("SRCC with people's responses to affine changes and noise (RAID)", "srcc"),
                        ("error after the best line, in SD of a response", "rmse_affine"),
                        ("error after the best rising curve", "rmse_monotone"),
                        ("bias, all on one rising curve; above 0: more difference than people see", "bias")):
        body = []
        for metric in dict.fromkeys(people["metric"]):
            own = [rows[metric, family] for family in families]
            body.append([metric, *(f"{row[name]:z.3f}" for row in own)])
            if name == "srcc" and any(math.isfinite(row["srcc_low"]) for row in own):
                body.append(["", *(_interval(row, "srcc", 2) for row in own)])
        if name.startswith("rmse"):
            spread = people.groupby("family")["sd"].first()
            body.append(["a constant", *(f"{spread[family]:.3f}" for family in families)])
        lines += [*([""] if lines else []), title, *_blocks(head, body, width)]
    return [*lines, f"{ALL}: all families together"]


def to_csv(found: Robustness) -> str:
    """Write one row a point of a curve, and one a metric and family of the comparison with people."""
    people = [found.people.rows.assign(dataset=DATASET)] if found.people else []
    return frame_to_csv(pd.concat([*([found.points] if len(found.points) or not people else []), *people]))


def ranking_rows(found: Robustness, dataset: str) -> list[list[str]]:
    """Write the ranking of a data set as rows of texts, the head first; empty without a ranking."""
    rows = found.ranked(dataset)
    if not len(rows):
        return []
    families = _families(rows)
    return [[dataset, "at 0", *(name.removeprefix("unseen_") for name in families), "worst", "loss"], *(
        [row["metric"], *(f"{row[name]:.3f}" for name in ("srcc_original", *families)),
         f"{row['worst']:.3f}{'*' * row['in_best_group']} {_interval(row, 'worst')}".rstrip(),
         f"{row['loss']:z.3f}{_part(row)}"] for row in rows.to_dict("records"))]


def to_markdown(found: Robustness) -> str:
    """Write the ranking of each data set as a table, and the comparison with people."""
    tables = []
    for dataset in dict.fromkeys(found.ranking["dataset"]):
        head, *body = ranking_rows(found, dataset)
        tables.append([head, *([f"`{metric}`", *cells] for metric, *cells in body)])
    if found.people:
        numbers = ("srcc_per_ref", "rmse_affine", "rmse_monotone", "sd", "bias")
        tables.append([["RAID", "family", "SRCC", *numbers], *(
            [f"`{row['metric']}`", row["family"], f"{row['srcc']:.3f} {_interval(row, 'srcc')}".rstrip(),
             *(f"{row[name]:z.3f}" for name in numbers)] for row in found.people.rows.to_dict("records"))])
    return "\n\n".join(markdown_table(head, body) for head, *body in tables) + "\n"


def to_json(found: Robustness) -> str:
    """Write everything; null where a number is undefined.

    Curves get `mildest_reached`: false if no level reaches `mildest_at`, null if that is not known.
    """
    settings = found.settings
    reached = [None if math.isnan(level) else math.isfinite(level)
               for level in found.curves["mildest_at"]]
    curves = found.curves.assign(mildest_reached=pd.Series(reached, dtype=object))
    people = [("people", found.people.rows), ("people_curves", found.people.curves)] if found.people else []
    about = {"replicates": settings.replicates, "seed": settings.seed, "level": LEVEL,
             "pixels_per_degree": settings.pixels_per_degree,
             "thresholds": [vars(one) for one in settings.thresholds], "notes": found.notes,
             **{name: frame.to_dict("records")
                for name, frame in (("ranking", found.ranking), ("curves", curves),
                                    ("points", found.points), *people)}}
    return data_to_json(about)
