"""Write verdicts on claims as text for a terminal, as Markdown and as CSV."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import pandas as pd

from zsiqa.evaluation.bootstrap import LEVEL
from zsiqa.evaluation.claims import UNDECIDABLE, Cell, Count, Verdict
from zsiqa.report.formats import html_cells, html_table, markdown_table
from zsiqa.report.formats import to_csv as frame_to_csv
from zsiqa.terminal import plural

SHOWN = 4  # decisive cells of a claim
HEADS = ["claim", "where", "all pairs", "within references", "with the metrics' own authors' scores"]


def to_text(verdicts: Sequence[Verdict], notes: Sequence[str]) -> str:
    """Write verdicts as text, each with the cells that decide it."""
    lines = []
    for verdict in verdicts:
        lines += [f"{conclude(verdict.pooled)}: {verdict.name}", f"  {verdict.text} ({verdict.place})",
                  f"  within references: {conclude(verdict.within)}"]
        lines += [f"  {_describe(cell)}" for cell in decisive(verdict.cells)]
        lines += [f"  not judged: {missing}" for missing in _missing(verdict.cells)]
        if verdict.other:
            lines.append(f"  with the scores of the metrics' own authors: {conclude(verdict.other.pooled)}; "
                         f"within references: {conclude(verdict.other.within)}")
            lines += [f"    {_describe(cell)}" for cell in decisive(verdict.other.cells)[:2]]
            lines += [f"    known difference: {cause}" for cause in verdict.causes]
        lines.append("")
    lines += [f"note: {note}" for note in dict.fromkeys(notes)]
    return "\n".join(lines)


def to_markdown(verdicts: Sequence[Verdict]) -> str:
    """Write one table of all claims."""
    return markdown_table(HEADS, map(_row, verdicts)) + "\n"


def to_html_part(verdicts: Sequence[Verdict], labels: Mapping[str, str]) -> str:
    """Write a table of all claims for the page, with a verdict for each data set.

    Args:
        verdicts: on the claims.
        labels: of the data sets, by name.
    """
    judged = [one for one in verdicts if any(one.on(name).verdict != UNDECIDABLE for name in labels)]
    unjudged = "; ".join(one.name for one in verdicts if one not in judged)
    rest = f"<p>Without the scores that they need: {html.escape(unjudged)}.</p>" if unjudged else ""
    if not judged:
        return f"<p>No claim can be judged.</p>{rest}"
    said = []
    for name, label in labels.items():
        against = [one.name for one in judged if one.on(name).verdict == "contradicted"]
        if against:
            said.append(f'<p class="warning">On {html.escape(label)} the numbers contradict the paper\'s '
                        f"message: {html.escape('; '.join(against))}.</p>")
    last = HEADS[3:] if any(one.other for one in judged) else HEADS[3:4]
    rows = []
    for one in judged:
        text, place, _, *others = _row(one)[:3 + len(last)]
        counts = [one.on(name) for name in labels]
        cells = "".join(f'<td class="{count.verdict}" title="{html.escape(_details(one, name))}">'
                        f"{html.escape(conclude(count)) if count.total else ''}</td>"
                        for name, count in zip(labels, counts, strict=True))
        rows.append(html_cells((text, place)) + cells + html_cells(others))
    return "".join([*said, html_table((*HEADS[:2], *labels.values(), *last), rows), rest])


def _details(verdict: Verdict, dataset: str) -> str:
    return "\n".join(_describe(cell) for cell in decisive([one for one in verdict.cells
                                                            if one.dataset == dataset]))


def to_csv(verdicts: Sequence[Verdict]) -> str:
    """Write one row a cell."""
    lines = [{"claim": verdict.name, "scores_of": source, "comparison": cell.text, "dataset": cell.dataset,
              "perturbation": cell.perturbation, "coefficient": cell.coefficient, "effect": cell.value,
              "low": cell.low, "high": cell.high, "p_holm": cell.p, "effect_per_ref": cell.within,
              "p_per_ref_holm": cell.p_within, "missing": cell.missing}
             for verdict in verdicts
             for source, one in (("paper", verdict), ("own authors", verdict.other)) if one
             for cell in one.cells]
    return frame_to_csv(pd.DataFrame(lines))


def _row(verdict: Verdict) -> list[str]:
    return [verdict.text, verdict.place, conclude(verdict.pooled), conclude(verdict.within),
            conclude(verdict.other.pooled) if verdict.other else ""]


def conclude(count: Count) -> str:
    """Write a verdict in words.

    Examples:
        >>> conclude(Count("holds", 3, 3, 2, 0)), conclude(Count("mixed", 10, 7, 5, 1))
        ('holds (3 of 3, 2 significantly)', 'mixed (7 of 10, 5 significantly; 1 significantly against)')
    """
    if count.verdict == UNDECIDABLE:
        return f"undecidable (scores for {plural(count.total, 'comparison')})"
    text = f"{count.verdict} ({count.supporting} of {count.total}"
    text += f", {count.significant} significantly" if count.supporting else ""
    return text + (f"; {count.against} significantly against)" if count.against else ")")


def decisive(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells most against a claim; if there are none, the one that supports it least."""
    known = sorted((cell for cell in cells if math.isfinite(cell.value)), key=lambda cell: cell.value)
    return [cell for cell in known if cell.value <= 0][:SHOWN] or known[:1]


def _describe(cell: Cell) -> str:
    sure = "significant" if cell.p < 1 - LEVEL else "not significant"
    return (f"{cell.dataset}/{cell.perturbation}: {cell.text}: {cell.coefficient.upper()} {cell.value:+.3f} "
            f"[{cell.low:+.3f}, {cell.high:+.3f}] ({sure}); within references {cell.within:+.3f}")


def _missing(cells: Sequence[Cell]) -> list[str]:
    missing = [cell.missing for cell in cells if cell.missing]
    return [f"{len(missing)} of {plural(len(cells), 'comparison')}: {missing[0]}"] if missing else []
