"""Write verdicts on claims as text for a terminal, as Markdown and as CSV."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import pandas as pd

from zsiqa.evaluation.bootstrap import LEVEL
from zsiqa.evaluation.claims import UNDECIDABLE, Count, Verdict
from zsiqa.evaluation.comparisons import Comparison
from zsiqa.report.formats import html_cells, html_table, markdown_table
from zsiqa.report.formats import to_csv as frame_to_csv
from zsiqa.terminal import plural

SHOWN = 4  # decisive comparisons of a claim
HEADS = ["claim", "where", "all pairs", "within references", "with the metrics' own authors' scores"]


def to_text(verdicts: Sequence[Verdict], notes: Sequence[str]) -> str:
    """Write verdicts as text, each with the comparisons that decide it."""
    lines = []
    for verdict in verdicts:
        lines += [f"{conclude(verdict.pooled)}: {verdict.name}", f"  {verdict.text} ({verdict.place})",
                  f"  within references: {conclude(verdict.within)}"]
        lines += [f"  {_describe(one)}" for one in decisive(verdict.comparisons)]
        lines += [f"  not judged: {missing}" for missing in _missing(verdict.comparisons)]
        if verdict.other:
            lines.append(f"  with the scores of the metrics' own authors: {conclude(verdict.other.pooled)}; "
                         f"within references: {conclude(verdict.other.within)}")
            lines += [f"    {_describe(one)}" for one in decisive(verdict.other.comparisons)[:2]]
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
    return "\n".join(map(_describe, decisive([one for one in verdict.comparisons if one.dataset == dataset])))


def to_csv(verdicts: Sequence[Verdict]) -> str:
    """Write one row a comparison."""
    lines = [{"claim": verdict.name, "scores_of": source, "comparison": one.text, "dataset": one.dataset,
              "perturbation": one.perturbation, "coefficient": one.coefficient, "effect": one.value,
              "low": one.low, "high": one.high, "p_holm": one.p, "effect_per_ref": one.within,
              "p_per_ref_holm": one.p_within, "missing": one.missing}
             for verdict in verdicts
             for source, judged in (("paper", verdict), ("own authors", verdict.other)) if judged
             for one in judged.comparisons]
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


def decisive(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return the comparisons most against a claim; if there are none, the one that supports it least."""
    known = sorted((one for one in comparisons if math.isfinite(one.value)), key=lambda one: one.value)
    return [one for one in known if one.value <= 0][:SHOWN] or known[:1]


def _describe(one: Comparison) -> str:
    sure = "significant" if one.p < 1 - LEVEL else "not significant"
    return (f"{one.dataset}/{one.perturbation}: {one.text}: {one.coefficient.upper()} {one.value:+.3f} "
            f"[{one.low:+.3f}, {one.high:+.3f}] ({sure}); within references {one.within:+.3f}")


def _missing(comparisons: Sequence[Comparison]) -> list[str]:
    missing = [one.missing for one in comparisons if one.missing]
    return [f"{len(missing)} of {plural(len(comparisons), 'comparison')}: {missing[0]}"] if missing else []
