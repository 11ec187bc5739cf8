"""Write a report as one self-contained HTML page. Never imports torch.

Names of files, images and types are untrusted. They are escaped in HTML. In JSON every `<`, `>` and `&` is
escaped, so that no name can end the `<script>` around it. The scripts of the page insert them as text.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pandas as pd

from zsiqa import __version__
from zsiqa.evaluation.analysis import Analysis
from zsiqa.evaluation.correlation import COEFFICIENTS
from zsiqa.evaluation.table_specs import STORED, in_order
from zsiqa.evaluation.tables import Table
from zsiqa.report.claims import to_html_part as claims_part
from zsiqa.report.data import DatasetReport, Report
from zsiqa.report.formats import html_cells, html_list, html_table
from zsiqa.report.overview import overview
from zsiqa.report.scatter import Points
from zsiqa.report.tables import HTML_STYLE, to_html_part
from zsiqa.results.provenance import Run
from zsiqa.terminal import listed

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("state.js", "tables.js", "plots.js", "page.js", "sort.js")
NO_SCORE = 65535
MOST_THUMBNAILS = 600  # about 5 MB
Images = Mapping[str, tuple[Mapping[str, tuple[Path, Path]], str]]


@dataclass
class Thumbnails:
    """Small images as data URIs, each encoded once.

    Attributes:
        encode: makes a data URI of an image file; "" if it cannot be read.
        uris: data URIs by path.
        left_out: number of requests beyond `MOST_THUMBNAILS`.
    """

    encode: Callable[[Path], str]
    uris: dict[Path, str] = field(default_factory=dict)
    left_out: int = 0

    def make(self, path: Path) -> str:
        """Make the data URI of an image; "" if it cannot be read, or beyond `MOST_THUMBNAILS`."""
        if path not in self.uris:
            if sum(map(bool, self.uris.values())) >= MOST_THUMBNAILS:
                self.left_out += 1
                return ""
            self.uris[path] = self.encode(path)
        return self.uris[path]


def to_page(report: Report, images: Images, encode: Callable[[Path], str], curves: str = "") -> str:
    """Write the page.

    Args:
        report: contents of the page.
        images: by data set: paths of (reference, distorted) by pair_id, and the reason if there are none.
        encode: makes a data URI of an image file; "" if it cannot be read.
        curves: HTML of the robustness curves.
    """
    from plotly.offline import get_plotlyjs

    thumbnails = Thumbnails(encode)
    datasets = [_dataset(one, *images.get(one.name, ({}, "not looked for")), thumbnails)
                for one in report.datasets]
    notes = [*report.notes, *(f"{one.name}: {note}" for one in report.datasets for note in one.notes),
             *(f"{one.name}/{name}: {note}" for one in report.datasets for name, found in one.analyses.items()
               for note in found.notes)]
    if thumbnails.left_out:
        notes.append(f"a report has at most {len(thumbnails.uris)} thumbnails, of the best metrics on "
                     f"original images first; {thumbnails.left_out} are left out")
    caveats = dict.fromkeys(f"{run.dataset}: {note}" for run in report.runs for note in run.notes)
    partial: dict[tuple[str, str], dict[str, None]] = {}
    for run in report.runs:
        if not run.complete:
            where = run.dataset, ", ".join(in_order(run.perturbations))
            partial.setdefault(where, {}).update(dict.fromkeys(run.metrics))
    incomplete = [f"{dataset} ({names}): not all pairs have a score yet (see Runs): {listed([*metrics], 3)}"
                  for (dataset, names), metrics in partial.items()]
    uris = {path: number for number, path in enumerate(path for path, uri in thumbnails.uris.items() if uri)}
    for one in datasets:
        one["images"] = {row: [uris.get(path, -1) for path in paths] for row, paths in one["images"].items()}
    summary = (f"{report.files} score files of "
               f"{', '.join(one.label for one in report.datasets) or 'no data set'} in {report.root}.")
    return Template(_read("page.html")).substitute(
        style=HTML_STYLE + _read("page.css"), plotly=get_plotlyjs(), script="\n".join(map(_read, SCRIPTS)),
        summary=html.escape(summary),
        warnings="".join(f'<p class="warning">{html.escape(text)}</p>' for text in [
            *(f"could not be read: {problem}" for problem in report.problems), *caveats, *incomplete]),
        overview=overview(report.datasets), curves=curves,
        claims=claims_part(report.verdicts, {one.name: one.label for one in report.datasets}),
        tables=_tables(report.tables), runs=_runs(report.runs),
        notes=html_list(dict.fromkeys(notes)) if notes else "<p>Nothing.</p>",
        footer=html.escape(f"Made by zsiqa {__version__} with plotly.js. The address of the page contains "
                           f"your choices, so you can share a view."),
        data=to_json({"datasets": datasets, "thumbnails": [uri for uri in thumbnails.uris.values() if uri]}))


def to_json(data: Any) -> str:
    r"""Encode as JSON for the inside of a `<script>`: ASCII, without `<`, `>` and `&`.

    Example:
        >>> print(to_json("</script>&"))
        "\u003c/script\u003e\u0026"
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _tables(tables: Sequence[Table]) -> str:
    """Write the tables of the paper open and the others folded (open if there are no tables of the paper)."""
    folded = [table for table in tables if table.name.startswith(STORED)]
    declared = [table for table in tables if table not in folded]
    opened = "" if declared else " open"
    return (to_html_part(declared) if declared else "") + "".join(
        f"<details{opened}><summary>{html.escape(table.title)}</summary>{to_html_part([table])}</details>"
        for table in folded)


def _dataset(report: DatasetReport, found: Mapping[str, tuple[Path, Path]], why: str,
             thumbnails: Thumbnails) -> dict[str, Any]:
    pairs = report.pairs
    ids = [str(pair) for pair in pairs.ids]
    used = set(pairs.types)
    types = [name for name in report.types if name in used]
    types += sorted(used - set(types))
    titles = [f"{name} {report.types.get(name, '')}".strip() or "all pairs" for name in types]
    place = {name: row for row, name in enumerate(types)}
    images: dict[int, tuple[Path, Path]] = {}
    for points in report.points:
        for row in points.worst.tolist() if points.shown else ():
            if row not in images and ids[row] in found and all(map(thumbnails.make, found[ids[row]])):
                images[row] = found[ids[row]]
    note = ("" if images else f"No pictures: {why or 'the images are not where the data set has them'}. Name "
            f"the folder of the data set with --data-dir DIR or --root {report.name}=DIR.")
    return {"name": report.name, "label": report.label, "better": pairs.higher_is_better, "ids": ids,
            "types": {"names": types, "titles": titles,
                      "of": _pack(np.array([place[one] for one in pairs.types]))},
            "labels": _pack(pairs.labels.astype("<f4")),
            "perturbations": list(dict.fromkeys([*report.analyses,
                                                 *(one.perturbation for one in report.points)])),
            "analyses": {name: _analysis(one) for name, one in report.analyses.items()},
            "points": [_points(one) for one in report.points], "images": images, "imagesNote": note}


def _points(points: Points) -> dict[str, Any]:
    use = np.isfinite(points.scores)
    low, high = float(points.scores[use].min()), float(points.scores[use].max())
    packed = None
    if points.shown:  # 65,535 steps from lowest to highest: finer than a screen, a quarter of the bytes
        steps = np.full(len(use), NO_SCORE, dtype="<u2")
        steps[use] = np.round((points.scores[use] - low) / ((high - low) or 1.0) * (NO_SCORE - 1))
        packed = _pack(steps)
    fit = points.fit
    return {"metric": points.metric, "perturbation": points.perturbation, "better": points.higher_is_better,
            "low": low, "high": high, "scores": packed,
            "fit": None if fit.problem else fit.parameters.tolist(),
            "plcc": _number(fit.plcc), "problem": fit.problem, "note": fit.note, "byRank": bool(fit.problem),
            "worst": points.worst.tolist()}


def _analysis(found: Analysis) -> dict[str, Any]:
    methods = found.methods
    metrics = [str(name) for name in methods.index]
    row = {name: number for number, name in enumerate(metrics)}
    return {
        "n": found.n, "leftOut": sum(note.startswith(("few pairs", "left out")) for note in found.notes),
        "metrics": metrics,
        "best": methods["not_worse_than_best"].tolist(),
        **{name: _rows(methods[[name, f"{name}_low", f"{name}_high"]]) for name in COEFFICIENTS},
        "types": {"names": list(map(str, found.types.columns)), "values": _rows(found.types),
                  "titles": [f"{name}: {text}" for name, text in found.type_names.items()]},
        "within": {"names": list(map(str, found.within.columns)), "values": _rows(found.within)},
        "significance": found.significance.to_numpy().tolist(),
        "comparisons": {
            f"{row[line['a']]} {row[line['b']]}": [_number(line["difference"]), _number(line["p_holm"])]
            for line in found.comparisons.to_dict("records")},
    }


def _runs(runs: Sequence[Run]) -> str:
    if not runs:
        return ("<p>The score files have no sidecars, so their runs are unknown; an example are the authors' "
                "files. Each cell of the tables names its file.</p>")
    lines = []
    for run in runs:
        sessions = "<br>".join(html.escape(_session(one)) for one in run.sessions) or "not recorded"
        notes = "; ".join([*run.notes, *([] if run.complete else ["not complete"])])
        lines.append(html_cells((run.dataset, ", ".join(run.metrics), ", ".join(run.perturbations)))
                     + f"<td><code>{html.escape(run.weights or '-')}</code></td><td>{sessions}</td>"
                     + html_cells([notes or "-"]))
    return ("<p>From the sidecars of the score files. Each line stands for all files of the same origin.</p>"
            + html_table(("Data set", "Metrics", "Images", "Weights", "Sessions", "Notes"), lines))


def _session(session: Mapping[str, Any]) -> str:
    versions = session.get("versions")
    known = (", ".join(f"{name} {one}" for name, one in versions.items())
             if isinstance(versions, Mapping) else "unknown")
    seconds = session.get("seconds")
    return (f"{session.get('started', 'unknown time')} on {session.get('device', 'unknown device')}"
            + (f", {seconds:.0f} s" if isinstance(seconds, int | float) else "")
            + f"; commit {session.get('git_commit') or 'unknown'}; {known}")


def _rows(frame: pd.DataFrame) -> list[list[float | None]]:
    return [[_number(value) for value in row] for row in frame.to_numpy(dtype=float)]


def _number(value: float) -> float | None:
    """Round to six decimals, below 0.01 to four digits; None for NaN and infinity, which JSON lacks."""
    if not math.isfinite(value):
        return None
    return round(value, 6) if abs(value) >= 0.01 else float(f"{value:.4g}")


def _pack(values: np.ndarray) -> dict[str, str]:
    """Encode an array in base64; unsigned integers in the smallest type that holds them."""
    if values.dtype.kind != "f":
        values = values.astype(np.min_scalar_type(int(values.max(initial=0))).newbyteorder("<"))
    return {"kind": f"{values.dtype.kind}{values.dtype.itemsize}",
            "data": base64.b64encode(values.tobytes()).decode()}
