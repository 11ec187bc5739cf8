"""Write the comparison with the authors' scores as text."""

from __future__ import annotations

import math

from zsiqa.evaluation.agreement import Verification
from zsiqa.results.official import file_name


def to_text(found: Verification) -> str:
    """Format the comparisons as a plain-text table with remarks."""
    width = max((len(str(one.key)) for one in found.agreements), default=0)
    lines = [f"{'scores':{width}}  {'pairs':>6}  {'max |diff|':>10}  {'diverging':>9}  {'SRCC':>7}  "
             f"{'KRCC':>7}"]
    for one in found.agreements:
        lines.append(f"{one.key!s:{width}}  {one.n:6}  {one.largest:10.3g}  {one.diverging:9}  "
                     f"{_number(one.srcc):>7}  {_number(one.krcc):>7}")
        if not one.n:
            lines.append("  no pair in common")
        if file_name(one.key) not in (None, one.source):
            lines.append(f"  theirs taken from {one.source}")
        if one.first:
            lines.append(f"  first diverging pair {one.first}; largest difference at {one.worst}")
        if one.only_ours or one.only_theirs:
            lines.append(f"  {one.only_ours} pairs only ours, {one.only_theirs} only theirs")
        if one.labels_differ:
            lines.append(f"  {one.labels_differ} pairs have another label: "
                         "is this the same release of the data set?")
    lines.append(f"a pair diverges when the scores differ by more than {found.rtol:g} of the largest score "
                 "of the file")
    if found.not_ours:
        lines.append(f"not scored here: {len(found.not_ours)} of the authors' sets, e.g. {found.not_ours[0]}")
    lines += [f"not compared: {problem}" for problem in found.unreadable]
    lines += [f"the authors have no complete {key}" for key in found.not_theirs]
    return "\n".join(lines)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"
