"""What a report shows of a folder of scores: tables, statistics, points for plots. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from zsiqa.evaluation.measurement import Measurer
from zsiqa.evaluation.ranking import Analysis, Settings, analyse
from zsiqa.evaluation.tables import PAPER, Table, build_table, read_specs
from zsiqa.releases import published
from zsiqa.report.points import Points, points_of
from zsiqa.results.folder import ScoreFolder, load_whole
from zsiqa.results.provenance import Run, read_runs
from zsiqa.results.score_file import read_sidecar
from zsiqa.results.scores import Pairs, ScoreKey, Scores, align, split_metric
from zsiqa.types import StoreError

ALL_METRICS = "all_"  # the names of tables without a file begin so
FEWEST_PAIRS = 3
MOST_POINTS = 5_000_000  # of all scatter plots together: 13 MB of a page; the authors' 522 files have 4.9 million
PERTURBATIONS = ("original", "translate", "dilate", "rotate")


@dataclass(frozen=True, eq=False)
class DatasetReport:
    """All of one data set.

    Attributes:
        types: what each distortion type is, where that is known.
        analyses: by perturbation; none where there is nothing to analyse.
        points: in the order in which the page has them.
        notes: what was left out, and why.
    """

    name: str
    label: str
    pairs: Pairs
    types: Mapping[str, str]
    analyses: Mapping[str, Analysis]
    points: Sequence[Points]
    notes: Sequence[str]


@dataclass(frozen=True)
class Report:
    """Everything. `problems` are score files that could not be read, `notes` other things that were left out."""

    root: Path
    files: int
    tables: Sequence[Table]
    datasets: Sequence[DatasetReport]
    runs: Sequence[Run]
    problems: Sequence[str]
    notes: Sequence[str]


@dataclass
class Readable:
    """A folder as the statistics see it: every file is read once, and one with too few scores is left out.

    Attributes:
        inner: the folder.
        problems: files that could not be read, and why.
        notes: by data set, files that could be read and are left out.
    """

    inner: ScoreFolder
    root: Path = field(init=False)
    files: dict[ScoreKey, Path] = field(init=False)
    strays: list[Path] = field(init=False)
    problems: list[str] = field(init=False, default_factory=list)
    notes: dict[str, list[str]] = field(init=False, default_factory=dict)
    _read: dict[Path, Scores | StoreError] = field(init=False, default_factory=dict, repr=False)
    _held: list[ScoreKey] = field(init=False, default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.root, self.files, self.strays = self.inner.root, dict(self.inner.files), self.inner.strays
        for key in self.inner.held():
            path = self.inner.files.get(key)
            if path is not None:
                try:
                    self.load(key, path)
                except StoreError as error:
                    self.problems.append(str(error))
            scores = load_whole(self, key)
            if scores is not None and scores.usable.sum() < FEWEST_PAIRS:
                self.notes.setdefault(key.dataset, []).append(
                    f"{'/'.join(key[1:])}: left out, only {scores.usable.sum()} pairs have a usable score")
                self.files.pop(key, None)
            else:
                self._held.append(key)

    def held(self) -> list[ScoreKey]:
        """What there is a file of, or a stray that may hold it."""
        return self._held

    def twins(self, key: ScoreKey) -> list[Path]:
        """Strays that may hold what the file of this key should."""
        return self.inner.twins(key)

    def stray_key(self, path: Path) -> ScoreKey:
        """What a stray may hold. Raises StoreError if its name does not tell."""
        return self.inner.stray_key(path)

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Read a file, or say again what it said. Raises StoreError if it is damaged."""
        if path not in self._read:
            try:
                self._read[path] = self.inner.load(key, path)
            except StoreError as error:
                self._read[path] = error
        found = self._read[path]
        if isinstance(found, StoreError):
            raise found
        return found


def collect(measurer: Measurer, settings: Settings, datasets: Sequence[str] | None = None) -> Report:
    """Compute all that a report shows.

    Args:
        measurer: of the folder of scores.
        settings: of the statistics.
        datasets: only these; None for all.

    Raises:
        StoreError: if the folder holds no scores, or none of a data set that was asked for.
    """
    folder = measurer.folder
    there = sorted({key.dataset for key in folder.held()})
    if not there:
        raise StoreError(f"{folder.root} holds no scores; score something first (python run.py), or say where they are "
                         f"with --scores DIR")
    if unknown := sorted(set(datasets or ()) - set(there)):
        raise StoreError(f"no scores of {', '.join(unknown)} in {folder.root}; there are {', '.join(there)}")
    readable = Readable(folder)
    with threadpool_limits(1, "blas"):  # many small fits take several times as long with threads that wait
        reports = [_dataset(readable, name, settings) for name in there if name in (datasets or there)]
    found = _within_bounds([one for one in reports if one is not None])
    notes = [f"{len(folder.strays)} files bear the name of no metric or have no sidecar, and are left out, e.g. "
             f"{folder.strays[0].name}"] if folder.strays else []
    tables = _tables(measurer, datasets or there, {one.name: one.label for one in found})
    problems = dict.fromkeys([*readable.problems, *(problem for table in tables for problem in table.problems)])
    for name, texts in readable.notes.items():
        if name not in {one.name for one in found}:
            notes += [f"{name}/{text}" for text in texts]
    files = {key: path for key, path in folder.files.items() if key.dataset in (datasets or there)}
    return Report(folder.root, len(files), tables, found, read_runs(files), list(problems), notes)


def in_order(perturbations: Sequence[str]) -> list[str]:
    """Perturbations in the paper's order, others after them."""
    return sorted(set(perturbations), key=lambda name: (
        PERTURBATIONS.index(name) if name in PERTURBATIONS else len(PERTURBATIONS), name))


def _dataset(folder: Readable, name: str, settings: Settings) -> DatasetReport | None:
    """Everything of a data set; None if no file of it can be used, which is said elsewhere."""
    notes = list(folder.notes.get(name, ()))
    loaded = {key: scores for key in sorted(folder.held()) if key.dataset == name
              for scores in [load_whole(folder, key)] if scores is not None}
    if not loaded:
        return None
    analyses = {}
    for perturbation in in_order([key.perturbation for key in loaded]):
        try:
            analyses[perturbation] = analyse(folder, name, perturbation, None, settings)
        except StoreError as error:
            notes.append(f"{perturbation}: no statistics: {error}")
    first = next(iter(loaded.values())).pairs
    points = []
    ranks = {key: _rank(analyses, key) for key in loaded}
    for key in sorted(loaded, key=lambda key: ranks[key]):
        found = align(loaded[key], first)
        if len(found.foreign) or len(found.other_labels):
            notes.append(f"{'/'.join(key[1:])}: no scatter plot: its pairs or labels are not those of most")
            continue
        points.append(points_of(loaded[key], found.values, first))
    about = published().get(name, {})
    label = about.get("label") or _label(loaded) or name
    return DatasetReport(name, str(label), first, about.get("types", {}), analyses, points, notes)


def _rank(analyses: Mapping[str, Analysis], key: ScoreKey) -> tuple[int, int]:
    """Original images first, and of each perturbation the best metric."""
    names = [str(name) for name in analyses[key.perturbation].methods.index] if key.perturbation in analyses else []
    return (list(in_order([*analyses, key.perturbation])).index(key.perturbation),
            names.index(key.metric) if key.metric in names else len(names))


def _label(loaded: Mapping[ScoreKey, Scores]) -> str:
    """What a sidecar calls the data set."""
    for scores in loaded.values():
        sidecar = scores.path.with_suffix(".json")
        if sidecar.is_file():
            return str(read_sidecar(sidecar).get("dataset", {}).get("label") or "")
    return ""


def _within_bounds(reports: Sequence[DatasetReport]) -> list[DatasetReport]:
    """Withhold points beyond `MOST_POINTS`: first go those that are last in the order of their data set."""
    room = MOST_POINTS
    shown: set[int] = set()
    for turn in range(max((len(one.points) for one in reports), default=0)):
        for report in reports:
            if turn < len(report.points) and len(report.pairs.ids) <= room:
                room -= len(report.pairs.ids)
                shown.add(id(report.points[turn]))
    bounded = []
    for report in reports:
        withheld = [f"{one.metric}/{one.perturbation}" for one in report.points if id(one) not in shown]
        notes = [f"a report has at most {MOST_POINTS:,} points, of the best metrics on original images first; no "
                 f"scatter plot here (--dataset NAME makes room): {', '.join(withheld)}"] if withheld else []
        bounded.append(replace(report, points=[replace(one, shown=id(one) in shown) for one in report.points],
                               notes=[*report.notes, *notes]))
    return bounded


def _tables(measurer: Measurer, datasets: Sequence[str], labels: Mapping[str, str]) -> list[Table]:
    """The declared tables of which at least one cell has a file, and one of all metrics of each other data set."""
    keys = {key for key in measurer.folder.held() if key.dataset in datasets}
    specs: list[Mapping[str, Any]] = []
    shown: set[ScoreKey] = set()
    for name in (*PAPER, "demo"):
        for spec in read_specs(name):
            cells = _cells(spec)
            if cells & keys:
                specs.append(spec)
                shown |= cells
    for dataset in sorted({key.dataset for key in keys - shown}):
        mine = [key for key in keys if key.dataset == dataset]
        specs.append(_all_metrics(dataset, labels.get(dataset, dataset), mine))
    return [build_table(spec, measurer) for spec in specs]


def _cells(spec: Mapping[str, Any]) -> set[ScoreKey]:
    return {ScoreKey(dataset, row["metric"], perturbation) for dataset in spec["datasets"] for group in spec["groups"]
            for row in group["rows"] for perturbation in spec["perturbations"]}


def _all_metrics(dataset: str, label: str, keys: Sequence[ScoreKey]) -> dict[str, Any]:
    """The declaration of a table that has no file: a row a metric, in groups of the same distance."""
    groups: dict[str, list[dict[str, str]]] = {}
    for metric in sorted({key.metric for key in keys}):
        _, representation, distance = split_metric(metric)
        name = f"{distance} of {representation}" if distance else "Baselines"
        groups.setdefault(name, []).append({"name": metric, "metric": metric})
    order = sorted(groups, key=lambda name: name != "Baselines")
    return {"name": f"{ALL_METRICS}{dataset}", "title": f"All metrics on {label}", "stub": ["Kind", "Metric"],
            "datasets": [dataset], "labels": {dataset: label},
            "perturbations": in_order([key.perturbation for key in keys]), "coefficients": ["plcc", "srcc", "krcc"],
            "groups": [{"name": name, "rows": groups[name]} for name in order]}
