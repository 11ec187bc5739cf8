"""What one score file says: its coefficients, and how much of the data set they rest on. Remembered by content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import zsiqa
from zsiqa.evaluation.bootstrap import draw, percentile_interval, replicate
from zsiqa.evaluation.correlation import COEFFICIENTS, between_share, correlate, per_reference
from zsiqa.evaluation.logistic import fit_logistic
from zsiqa.results.folder import ScoreFolder
from zsiqa.results.score_file import digest
from zsiqa.results.scores import ScoreKey, Scores
from zsiqa.types import StoreError

MOST_REMEMBERED = 20_000  # entries; about 10 MB


@dataclass(frozen=True)
class Measurement:
    """What one score file says.

    Attributes:
        values: by statistic; NaN where undefined.
        n, rows, expected: pairs with a usable score; rows in the file; pairs of the whole data set.
        problem: why the file could not be read; "" where it could.
        notes: caveats that must stand with the numbers.
        settings, amount: equal where the settings (but for the perturbation), or the perturbation's amount, are.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    n: int = 0
    rows: int = 0
    expected: int = 0
    problem: str = ""
    notes: tuple[str, ...] = ()
    settings: str = ""
    amount: str = ""

    @property
    def whole(self) -> bool:
        """Whether the file has a row for every pair."""
        return not self.problem and self.rows == self.expected


def _pooled(scores: Scores) -> dict[str, float]:
    use = scores.usable
    found = correlate(scores.quality[use], scores.opinion[use], label_higher_is_better=True,
                      score_higher_is_better=True)
    return {name: getattr(found, name) for name in COEFFICIENTS}


def _per_reference(scores: Scores) -> dict[str, float]:
    use = scores.usable
    found = per_reference(scores.quality[use], scores.opinion[use], scores.pairs.refs[use])
    return {f"{name}_per_ref": float(np.nanmean(values)) if np.isfinite(values).any() else math.nan
            for name, values in found.items()}


def _mapped(scores: Scores) -> dict[str, float]:
    fit = fit_logistic(scores.quality[scores.usable], scores.opinion[scores.usable])
    return {"plcc_mapped": fit.plcc, "rmse": fit.rmse}


def _between_share(scores: Scores) -> dict[str, float]:
    use = scores.usable
    groups = np.unique(scores.pairs.refs[use], return_inverse=True)[1]
    return {"between_share": between_share(scores.values[use], groups)}


def _interval(name: str) -> Callable[[Scores], dict[str, float]]:
    def interval(scores: Scores) -> dict[str, float]:
        use = scores.usable
        groups = np.unique(scores.pairs.refs[use], return_inverse=True)[1]
        if groups.max() < 1:  # one reference says nothing of others
            return {f"{name}_low": math.nan, f"{name}_high": math.nan}
        weights = draw(int(groups.max()) + 1)
        found = percentile_interval(replicate(scores.quality[use], scores.opinion[use], groups, weights, [name])[name])
        return {f"{name}_low": found.low, f"{name}_high": found.high}
    return interval


FAMILIES: dict[tuple[str, ...], Callable[[Scores], dict[str, float]]] = {
    COEFFICIENTS: _pooled,
    tuple(f"{name}_per_ref" for name in COEFFICIENTS): _per_reference,
    ("plcc_mapped", "rmse"): _mapped,
    ("between_share",): _between_share,
    **{(f"{name}_low", f"{name}_high"): _interval(name) for name in COEFFICIENTS},
}
STATISTICS = tuple(name for family in FAMILIES for name in family)


@dataclass
class Measurer:
    """Measures the files of a folder, and remembers what it found by what decides it.

    Attributes:
        folder: of scores.
        memory: file to remember in; None to measure everything anew.
    """

    folder: ScoreFolder
    memory: Path | None
    _known: dict[str, Any] = field(init=False, default_factory=dict, repr=False)
    _code: bytes = field(init=False, repr=False)
    _contents: dict[Path, str] = field(init=False, default_factory=dict, repr=False)
    _new: bool = field(init=False, default=False, repr=False)

    def __post_init__(self) -> None:
        sources = sorted(Path(zsiqa.__file__).parent.rglob("*.py"))  # whatever computes a value is among them
        self._code = b"".join(path.read_bytes() for path in sources) + "".join(
            version(name) for name in ("numpy", "scipy", "pandas")).encode()
        if self.memory is not None:
            with contextlib.suppress(OSError, ValueError):  # no memory yet, or a damaged one: measure anew
                self._known = json.loads(self.memory.read_text(encoding="utf-8"))
            if not isinstance(self._known, dict):
                self._known = {}

    def measure(self, key: ScoreKey, path: Path, statistics: Iterable[str] = COEFFICIENTS) -> Measurement:
        """What a file says; one that cannot be read has a `problem`.

        Args:
            key: what the file holds.
            path: of the file.
            statistics: some of `STATISTICS`.
        """
        families = [family for family in FAMILIES if set(family) & set(statistics)]
        if path not in self._contents:
            try:
                content = self.folder.content(path)
            except OSError as error:
                return Measurement(problem=f"{path} cannot be read ({error.strerror})")
            self._contents[path] = hashlib.sha256(content + self._code).hexdigest()
        name = digest([self._contents[path], key, path.name, families])
        if name not in self._known:
            measured = _measure(self.folder, key, path, families)
            if measured.problem:  # not remembered: it names the file, and the same content may lie elsewhere
                return measured
            self._known[name] = asdict(measured)
            self._new = True
        found = self._known[name]
        return Measurement(**{**found, "notes": tuple(found["notes"])})

    def remember(self) -> None:
        """Write the memory; nothing is lost but time where it cannot be written."""
        if self.memory is None or not self._new:
            return
        kept = dict(list(self._known.items())[-MOST_REMEMBERED:])
        beside = self.memory.with_name(f"{self.memory.name}.{uuid.uuid4().hex[:12]}.tmp")
        try:
            self.memory.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(kept), encoding="utf-8")
            beside.replace(self.memory)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)


def default_memory() -> Path:
    """Where measurements are remembered: below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zsiqa" / "measurements.json"


def _measure(folder: ScoreFolder, key: ScoreKey, path: Path, families: list[tuple[str, ...]]) -> Measurement:
    try:
        scores = folder.load(key, path)
    except StoreError as error:
        return Measurement(problem=str(error))
    values = {name: value for family in families for name, value in
              (FAMILIES[family](scores) if scores.usable.any() else dict.fromkeys(family, math.nan)).items()}
    identity = dict(scores.identity)
    amount = digest(identity.pop("perturbation", None))
    return Measurement(values, int(scores.usable.sum()), len(scores.values), scores.expected, notes=scores.notes,
                       settings=digest(identity), amount=amount)
