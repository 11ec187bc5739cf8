"""Collect the contents of a report from score files: tables, statistics, points. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zsiqa.evaluation.analysis import Analysis, AnalysisSettings, analyse
from zsiqa.evaluation.claim_files import read_claims
from zsiqa.evaluation.claims import Verdict, claims_on, judge
from zsiqa.evaluation.measurement import Measurer
from zsiqa.evaluation.stored_levels import WithoutCurves
from zsiqa.evaluation.table_specs import choose_specs, in_order
from zsiqa.evaluation.tables import Table, build_table
from zsiqa.releases import published
from zsiqa.report.scatter import Points, points_of
from zsiqa.results.folder import name_ignored
from zsiqa.results.provenance import Run, read_runs
from zsiqa.results.score_file import read_about
from zsiqa.results.score_folder import FilteredFolder, ScoreFolder
from zsiqa.results.scores import Pairs, ScoreKey, Scores, align
from zsiqa.terminal import track
from zsiqa.types import StoreError, did_you_mean

FEWEST_PAIRS = 3
MOST_POINTS = 5_000_000  # in all scatter plots together: 13 MB; the authors' 522 files have 4.9 million


@dataclass(frozen=True, eq=False)
class DatasetReport:
    """Everything that a report shows about one data set.

    Attributes:
        types: description by distortion type, where known.
        analyses: by perturbation; without the perturbations that have nothing to analyse.
        points: in the order of the page.
        notes: parts that were left out, each with the reason.
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
    """Contents of a report.

    Attributes:
        files: number of score files.
        verdicts: on the claims of a paper.
        problems: score files that could not be read, each with the reason.
        notes: other parts that were left out, each with the reason.
    """

    root: Path
    files: int
    tables: Sequence[Table]
    datasets: Sequence[DatasetReport]
    verdicts: Sequence[Verdict]
    runs: Sequence[Run]
    problems: Sequence[str]
    notes: Sequence[str]


class ReadOnce(FilteredFolder):
    """Score folder that reads every file once; errors are raised again."""

    def __init__(self, inner: ScoreFolder) -> None:
        super().__init__(inner)
        self._read: dict[tuple[ScoreKey, Path], Scores | StoreError] = {}

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load a score file; see `ScoreFolder`."""
        if (key, path) not in self._read:
            try:
                self._read[key, path] = self.inner.load(key, path)
            except StoreError as error:
                self._read[key, path] = error
        scores = self._read[key, path]
        if isinstance(scores, StoreError):
            raise scores
        return scores


class Readable(FilteredFolder):
    """Score folder without the files that have fewer than `FEWEST_PAIRS` scores.

    Attributes:
        problems: files that could not be read, each with the reason.
        notes: by data set, readable files that are left out.
    """

    def __init__(self, inner: ScoreFolder) -> None:
        self.problems: list[str] = []
        self.notes: dict[str, list[str]] = {}
        self._few: set[ScoreKey] = set()
        keys = inner.held()
        for key in track(keys, total=len(keys), unit="files", what="reading scores"):
            path = inner.files.get(key)
            if path is not None:
                try:
                    inner.load(key, path)
                except StoreError as error:
                    self.problems.append(str(error))
            scores = inner.load_whole(key)
            if scores is not None and scores.usable.sum() < FEWEST_PAIRS:
                self.notes.setdefault(key.dataset, []).append(
                    f"{'/'.join(key[1:])}: left out, only {scores.usable.sum()} pairs have a usable score")
                self._few.add(key)
        super().__init__(inner)

    def keeps(self, key: ScoreKey) -> bool:
        """Return whether the file of a key has enough scores."""
        return key not in self._few


def collect(folder: ScoreFolder, settings: AnalysisSettings, datasets: Sequence[str] | None = None,
            claims: str = "ghildyal2025") -> Report:
    """Compute the contents of a report.

    Args:
        folder: folder of scores; those of curves are left out.
        settings: of the statistics; `details` is always taken as False.
        datasets: names of the data sets to include; None includes all.
        claims: as in `read_claims`; they are judged on the data sets of the report.

    Raises:
        StoreError: if the folder holds no scores, or none of a data set that was asked for.
        ZsiqaError: as in `read_claims`.
    """
    paper = read_claims(claims)
    folder = ReadOnce(WithoutCurves(folder))
    there = sorted({key.dataset for key in folder.held()})
    if not there:
        raise StoreError(f"{folder.root} holds no scores; score something first (python run.py), or name "
                         f"their folder with --scores DIR")
    if unknown := sorted(set(datasets or ()) - set(there)):
        raise StoreError(f"no scores of {', '.join(unknown)} in {folder.root}{did_you_mean(unknown, there)}; "
                         f"there are {', '.join(there)}")
    from threadpoolctl import threadpool_limits  # of an extra
    settings = replace(settings, details=False)
    readable = Readable(folder)
    with threadpool_limits(1, "blas"):  # waiting threads make many small fits several times slower
        reports = [_dataset(readable, name, settings) for name in there if name in (datasets or there)]
        found = _within_bounds([one for one in reports if one is not None])
        measurer = Measurer(folder)
        specs, _ = choose_specs([key for key in measurer.folder.held() if key.dataset in (datasets or there)],
                                {one.name: one.label for one in found})
        tables = [build_table(spec, measurer) for spec in specs]
        known = {(one.name, name): analysis.coefficients for one in found
                 for name, analysis in one.analyses.items()}
        verdicts, _ = judge(readable, claims_on(paper, [one.name for one in found]), settings.replicates,
                            settings.seed, known)
    notes = [name_ignored(folder)] if folder.strays else []
    problems = dict.fromkeys([*readable.problems,
                              *(problem for table in tables for problem in table.problems)])
    notes += [f"{name}/{text}" for name, texts in readable.notes.items()
              if name not in {one.name for one in found} for text in texts]
    files = {key: path for key, path in folder.files.items() if key.dataset in (datasets or there)}
    return Report(folder.root, len(files), tables, found, verdicts, read_runs(files), list(problems), notes)


def _dataset(folder: Readable, name: str, settings: AnalysisSettings) -> DatasetReport | None:
    """Collect the contents for a data set; None without a usable file (reported by `Readable`)."""
    notes = list(folder.notes.get(name, ()))
    loaded = {key: scores for key in sorted(folder.held()) if key.dataset == name
              for scores in [folder.load_whole(key)] if scores is not None}
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
    for key in track(sorted(loaded, key=lambda key: ranks[key]), total=len(loaded), unit="files",
                     what=f"{name}: logistic curves"):
        found = align(loaded[key], first)
        if len(found.foreign) or len(found.other_labels):
            notes.append(f"{'/'.join(key[1:])}: no scatter plot: its pairs or labels are not those of most")
            continue
        points.append(points_of(loaded[key], found.values, first))
    about = published().get(name, {})
    label = about.get("label") or _label(loaded) or name
    return DatasetReport(name, str(label), first, about.get("types", {}), analyses, points, notes)


def _rank(analyses: Mapping[str, Analysis], key: ScoreKey) -> tuple[int, int]:
    """Sort key: original images first; within each perturbation, the best metric first."""
    names = ([str(name) for name in analyses[key.perturbation].methods.index]
             if key.perturbation in analyses else [])
    return (in_order([*analyses, key.perturbation]).index(key.perturbation),
            names.index(key.metric) if key.metric in names else len(names))


def _label(loaded: Mapping[ScoreKey, Scores]) -> str:
    """Return the name of the data set as its score files state it; "" if they do not, as the authors'."""
    for scores in loaded.values():
        if scores.identity:
            return str(read_about(scores.path)["dataset"].get("label", ""))
    return ""


def _within_bounds(reports: Sequence[DatasetReport]) -> list[DatasetReport]:
    """Withhold points beyond `MOST_POINTS`; the last plots of each data set are withheld first."""
    room = MOST_POINTS
    shown: set[tuple[str, int]] = set()  # (name of a data set, place among its points)
    for place in range(max((len(one.points) for one in reports), default=0)):
        for report in reports:
            if place < len(report.points) and len(report.pairs.ids) <= room:
                room -= len(report.pairs.ids)
                shown.add((report.name, place))
    bounded = []
    for report in reports:
        points = [replace(one, shown=(report.name, place) in shown)
                  for place, one in enumerate(report.points)]
        withheld = [f"{one.metric}/{one.perturbation}" for one in points if not one.shown]
        notes = [f"a report shows at most {MOST_POINTS:,} points, of the best metrics on original images "
                 f"first; no scatter plot here (--dataset NAME shows more): {', '.join(withheld)}"
                 ] if withheld else []
        bounded.append(replace(report, points=points, notes=[*report.notes, *notes]))
    return bounded
