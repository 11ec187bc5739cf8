"""Audit findings as text and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from zsiqa.evaluation.audit import Audit, Duplicates, OddRow
from zsiqa.evaluation.correlation import COEFFICIENTS
from zsiqa.evaluation.half_grid import HalfGrid
from zsiqa.evaluation.identical_images import FEWEST_METRICS
from zsiqa.evaluation.tables import to_frame
from zsiqa.report.formats import to_json as data_to_json
from zsiqa.terminal import by_folder, plural


def to_json(found: Audit) -> str:
    """Write the findings as JSON; a number that is missing or undefined becomes null."""
    return data_to_json({
        "scores": str(found.root), "counts": found.counts,
        "odd_rows": [asdict(row) for row in found.odd_rows],
        "contradictions_in_the_paper": found.contradictions, "files": found.files,
        "unchecked": found.unchecked, "complete": found.complete,
        "agreement": found.agreement, "file_findings": [asdict(one) for one in found.file_findings],
        "identical_images": [asdict(one) for one in found.duplicates],
        "not_deterministic": [asdict(one) for one in found.non_deterministic],
        "half_precision": [asdict(one) for one in found.half_precision],
        "wrong_sign": [asdict(one) for one in found.wrong_sign],
        "cells": to_frame(found.tables).to_dict("records")})


def to_text(found: Audit) -> str:
    """Write the findings as text for a terminal."""
    total = sum(found.counts.values())
    counts = ", ".join(f"{count} {verdict}" for verdict, count in found.counts.items())
    lines = [f"Audit of {found.root}", "", f"{total} printed cells: {counts}"]
    for row in found.odd_rows:
        lines.append(f"  {row.verdict}: {row.table}, {row.group}, {row.name}: {row.cells} cells, "
                     f"largest difference {row.largest_delta:+.3f}: {row.why}")
    lines += [f"  {line}" for line in _exchanged(found.odd_rows)]
    lines += [f"  {table.name}: {line}" for table in found.tables for line in table.missing()]
    if found.contradictions:
        lines += ["", "The paper prints one quantity with two figures:",
                  *(f"  {line}" for line in found.contradictions)]
    unchecked = (f", {found.unchecked} without a checksum: only names, rows and labels could be checked"
                 if found.unchecked else "")
    lines += ["", f"{found.files} files{unchecked}"]
    lines += [f"  {dataset}: {text}" for dataset, text in found.agreement.items()]
    problems: dict[str, list[str]] = {}
    for one in found.file_findings:
        problems.setdefault(one.problem, []).append(one.file)
    lines += [f"  {by_folder(files)}: {problem}" for problem, files in problems.items()]
    for dataset in found.agreement:
        same = [one for one in found.duplicates if one.dataset == dataset]
        compared = found.compared.get(dataset, 0)
        lines.append("")
        if same:
            lines += _duplicates_text(same[0])
        elif compared >= FEWEST_METRICS:
            lines.append(f"{dataset}: no two images of one reference have equal scores under every metric, "
                         f"so this data set cannot show whether a metric was deterministic")
        else:
            lines.append(f"{dataset}: not searched for equal images; that takes complete scores of "
                         f"{FEWEST_METRICS} metrics, found {compared}")
    if found.non_deterministic:
        pairs = {same.dataset: same.pairs for same in found.duplicates}
        lines += ["", "Not deterministic: equal images, different scores. The printed figures of these "
                      "metrics are one random draw, not reproducible without the original random state."]
        noisiest = sorted(found.non_deterministic, key=lambda one: -one.noise_share)
        for metric in dict.fromkeys(one.metric for one in noisiest):
            evidence = [one for one in found.non_deterministic if one.metric == metric]
            printed = "; ".join(evidence[0].printed_in) or "nowhere"
            lines.append(f"  {metric} (printed: {printed})")
            lines += [f"    {one.dataset}, {len(one.perturbations)} files, "
                      f"{pairs[one.dataset]} pairs of equal images: {one.equal_share:.0%} scored equally; "
                      f"chance makes about {one.noise_share:.0%} of the variance of the scores, "
                      f"{one.rank_noise_share:.0%} of the variance of their ranks" for one in evidence]
    if found.half_precision:
        lines += ["", "On a half-precision grid: most scores, times a number of tiles, have fewer bits than "
                      "float32 numbers. If their ties were broken in any order, SRCC and KRCC would change "
                      "by at most:",
                  *_half_grid_text(found.half_precision)]
    if found.wrong_sign:
        lines += ["", "Wrong sign: by at least one coefficient, worse images get better scores."]
        for bad in found.wrong_sign:
            values = ", ".join(f"{name} {value:.3f}" for name, value in bad.values.items())
            printed = ", ".join(f"{name} {value:.3f}" for name, value in bad.printed.items())
            lines.append(f"  {bad.dataset}/{bad.metric}/{bad.perturbation}: {values}"
                         + (f" (printed: {printed})" if printed else ""))
    return "\n".join(lines)


def _half_grid_text(found: Sequence[HalfGrid]) -> list[str]:
    """Describe each metric on each data set in one line, the fewest different scores first."""
    lines = []
    by_share = sorted(found, key=lambda one: one.distinct / one.scores)
    for dataset, metric in dict.fromkeys((one.dataset, one.metric) for one in by_share):
        files = [one for one in found if (one.dataset, one.metric) == (dataset, metric)]
        distinct = sorted({one.distinct for one in files})
        numbers = " to ".join(f"{number:,}" for number in dict.fromkeys((distinct[0], distinct[-1])))
        moves = []
        for name in ("srcc", "krcc"):
            down = min(low - as_is for as_is, low, _ in (one.values[name] for one in files))
            up = max(high - as_is for as_is, _, high in (one.values[name] for one in files))
            moves.append(f"{name.upper()} {down:+.4f} to {up:+.4f}")
        lines.append(f"  {dataset}, {metric}, {plural(len(files), 'file')}: {numbers} different ones of "
                     f"{max(one.scores for one in files):,} scores, "
                     f"up to {max(one.tied for one in files):,} tied; {', '.join(moves)}")
    return lines


def _exchanged(rows: Sequence[OddRow]) -> list[str]:
    """Find pairs of rows whose figures the paper prints in exchanged places."""
    pairs = [(a, b) for place, a in enumerate(rows) for b in rows[place + 1:]
             if a.table == b.table and a.other == (b.metric,) and b.other == (a.metric,)]
    return [f"so in {a.table} the rows ({a.group}, {a.name}) and ({b.group}, {b.name}) are exchanged"
            for a, b in pairs]


def _duplicates_text(same: Duplicates) -> list[str]:
    mean, median, largest = same.label_difference
    lines = [f"{same.dataset}: {same.images} images of {same.references} references are copies of one "
             f"another ({same.pairs} pairs with bit-identical scores under every deterministic metric):"]
    shown = same.patterns[:20]
    lines += [f"  {' = '.join(names)}" + (f" in {count} references" if count > 1 else "")
              for names, count in shown]
    if len(same.patterns) > len(shown):
        lines.append(f"  and {len(same.patterns) - len(shown)} more")
    lines.append(f"  their labels differ by {mean:.4g} on average (median {median:.4g}, "
                 f"at most {largest:.4g}; standard deviation of all labels {same.label_sd:.4g})")
    for name in COEFFICIENTS:
        changes = [(after - before, f"{metric}/{perturbation}", before, after)
                   for metric, by in same.without.items() for perturbation, values in by.items()
                   for before, after in [values[name]] if math.isfinite(after - before)]
        if not changes:
            continue
        low, high = min(changes), max(changes)
        lines.append(f"  without all of them {name.upper()} changes by {low[0]:+.4f} "
                     f"({low[1]}, {low[2]:.3f} to {low[3]:.3f}) to {high[0]:+.4f} "
                     f"({high[1]}, {high[2]:.3f} to {high[3]:.3f})")
    return lines
