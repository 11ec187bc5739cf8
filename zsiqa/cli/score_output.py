"""Write scores of image pairs as JSON, CSV or text.

Control characters of file names, and bytes that are not UTF-8, are escaped in all three.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsiqa.terminal import escape, escape_formula
from zsiqa.terminal import width as terminal_width
from zsiqa.types import ImagePair

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Outcome:
    """Scores and errors of one pair; scores by metric."""

    pair: ImagePair
    scores: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """Outcomes of all pairs.

    Attributes:
        directions: True if higher is better, by metric, in the order of the output.
        notes: caveats to print with the scores, as keys (each once, in order).
    """

    outcomes: list[Outcome]
    directions: dict[str, bool] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)


def as_json(found: Found) -> dict[str, Any]:
    """Convert to plain data: metrics with their directions, notes, scores and errors of each pair."""
    return {"metrics": {name: {"higher_is_better": higher} for name, higher in found.directions.items()},
            "notes": list(map(escape, found.notes)),
            "pairs": [{"ref": escape(str(outcome.pair.ref_path)), "dis": escape(str(outcome.pair.dis_path)),
                       "scores": outcome.scores, "errors": list(map(escape, outcome.errors))}
                      for outcome in found.outcomes]}


def table(found: Found) -> pd.DataFrame:
    """Make a frame of scores, pairs by metrics; NaN where there is no score."""
    import pandas as pd

    return pd.DataFrame([outcome.scores for outcome in found.outcomes], columns=list(found.directions),
                        dtype=float, index=[escape(outcome.pair.pair_id) for outcome in found.outcomes])


def as_csv(found: Found) -> str:
    """Write as CSV: one line per pair, one column per metric.

    A missing score is empty; the last column has the errors.
    """
    def texts(values: Iterable[object]) -> list[str]:
        return [escape_formula(escape(str(value))) for value in values]

    frame = table(found)
    frame.insert(0, "ref", texts(outcome.pair.ref_path for outcome in found.outcomes))
    frame.insert(1, "dis", texts(outcome.pair.dis_path for outcome in found.outcomes))
    frame["error"] = texts("; ".join(outcome.errors) for outcome in found.outcomes)
    return frame.to_csv(index=False, lineterminator="\n")


def as_text(found: Found) -> str:
    """Write as text: for one pair, a line per metric; for several, a table with a line per pair.

    The last line of the table has the means over the pairs with a score.
    """
    better = {name: "higher is better" if higher else "lower is better"
              for name, higher in found.directions.items()}
    width = max(map(len, better), default=0)
    if len(found.outcomes) == 1:
        return "\n".join(f"{name:{width}}  {found.outcomes[0].scores[name]:<12.7g}  {text}"
                         for name, text in better.items() if name in found.outcomes[0].scores)
    frame = table(found)
    frame.loc["mean"] = frame.mean()
    lines = [f"{name:{width}}  {text}" for name, text in better.items()]
    text = frame.to_string(float_format="{:.7g}".format, na_rep="-", line_width=terminal_width())
    return "\n".join([text, *lines]) if lines else ""


def write(found: Found, csv: Path | None, json: Path | None) -> list[str]:
    """Print the scores and write the files; a file that cannot be written does not stop the others.

    Args:
        found: the outcomes.
        csv, json: files to write, or `-` to print this instead of the text; None for none.

    Returns:
        Messages on files that could not be written, which are printed, too.
    """
    from json import dumps

    kinds = [("--csv", csv, as_csv),
             ("--json", json, lambda found: dumps(as_json(found), indent=2, ensure_ascii=False,
                                                  allow_nan=False) + "\n")]
    problems = []
    for option, path, make in kinds:
        if path is not None and str(path) != "-":
            try:
                path.write_text(make(found), encoding="utf-8", newline="")
            except OSError as error:
                problems.append(f"{option} {path} is not complete: {error.strerror}; all scores are in the "
                                f"other outputs")
    printed = next((make(found) for _, path, make in kinds if str(path) == "-"), None)
    if printed is None and (text := as_text(found)):
        printed = text + "\n"
    print(printed or "", end="", flush=True)  # last: its reader may have left, as in `| head`
    for note in found.notes:
        print(f"note: {escape(note)}", file=sys.stderr)
    for problem in problems:
        print(f"error: {escape(problem)}", file=sys.stderr)
    return problems
