"""A CSV file of scores from anywhere, described by a YAML file beside it or on the command line."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from zsiqa.releases import MetricFacts, metric_facts, published
from zsiqa.results.image_names import convert_labels, identify
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.results.scores import Pairs, ScoreKey, Scores
from zsiqa.results.table import read_text
from zsiqa.types import StoreError, did_you_mean

# Keys of a description, for the file or for one of its `metrics`, each with an example.
KEYS = {"metric": "my_metric", "dataset": "tid2013", "higher_is_better": "false", "perturbation": "original",
        "title": "My metric", "trained_on": "[kadid10k]", "unlike_authors": "how it was run otherwise",
        "as_authors": "true",
        "image": "dis", "score": "pred", "reference": "ref", "label": "mos", "label_higher_is_better": "true"}
NEEDED = ("metric", "dataset", "higher_is_better")
# Usual headings of columns; a description names others.
HEADINGS = {"image": ("image", "dis", "dist_name", "dis_img_path", "dist_img", "distorted", "filename",
                      "name", "pair_id"),
            "score": ("score", "pred", "prediction"),
            "reference": ("reference", "ref", "ref_name", "ref_img_path", "ref_img"),
            "label": ("label", "mos", "dmos", "elo_score")}
EXAMPLE = "FILE.csv,metric=ssim,dataset=tid2013,higher_is_better=true"


@dataclass
class DescribedFile(ScoreFolder):
    """A CSV file with a description: one row an image, one column a metric.

    Args:
        root: the file.
        description: some of `KEYS`, for all metrics; `metrics` maps names of metrics to more of them. The
            description is added to the YAML file of the same name beside the CSV.

    Attributes:
        name: of the source: the file's name without suffix.
        files: this file, by the key of each metric.
        strays: none.

    Raises:
        StoreError: if the description is wrong or lacks something.
    """

    root: Path
    description: Mapping[str, Any] = field(default_factory=dict)
    name: str = field(init=False)
    files: dict[ScoreKey, Path] = field(init=False)
    strays: list[Path] = field(init=False, default_factory=list)
    _metrics: dict[ScoreKey, dict[str, Any]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.name = self.root.stem
        shared = {**_beside(self.root), **self.description}
        metrics = shared.pop("metrics", None)
        if metrics is not None and not (isinstance(metrics, dict) and metrics
                                        and all(isinstance(one, dict | None) for one in metrics.values())):
            raise StoreError(f"{self.root}: `metrics` of its description must map names to {', '.join(KEYS)}")
        self._metrics = {}
        for name, own in (metrics or {shared.get("metric"): {}}).items():
            about = {"perturbation": "original", **shared, "metric": name, **(own or {})}
            self._check(about)
            key = ScoreKey(str(about["dataset"]), str(about["metric"]), str(about["perturbation"]))
            self._metrics[key] = about
        self.files = dict.fromkeys(self._metrics, self.root)

    def _check(self, about: Mapping[str, Any]) -> None:
        for key in about:
            if key not in KEYS:
                raise StoreError(f"{self.root}: its description says {key}{did_you_mean(key, KEYS)}; known "
                                 f"are {', '.join(KEYS)}")
        if lacking := [key for key in NEEDED if about.get(key) in (None, "")]:
            lines = " and ".join(f"{key} (such as {KEYS[key]})" for key in lacking)
            raise StoreError(f"{self.root}: say {lines} in {self.root.stem}.yaml beside it, or as {EXAMPLE}")
        for key in ("higher_is_better", "label_higher_is_better", "as_authors"):
            if not isinstance(about.get(key, True), bool):
                raise StoreError(f"{self.root}: {key} must be true or false, found {about[key]!r}")
        if about.get("as_authors") and about.get("unlike_authors"):
            raise StoreError(f"{self.root}: as_authors=true and unlike_authors contradict each other; "
                             f"leave one out")

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load the scores of a metric. Names that are no images of the data set are left out, with a note.

        Raises:
            StoreError: if a column is missing or has something other than numbers, no name is an image of the
                data set, an image is listed twice, or there are more images than the data set has pairs.
        """
        about, facts = self._metrics[key], published().get(key.dataset)
        table = _read(path, about)
        if "reference" not in table and facts is None:
            table["reference"] = ""
        named = identify(table["image"].tolist(), key.dataset)
        notes = []
        if not len(named.ids):
            raise StoreError(f"{path}: no name is an image of {key.dataset}, such as {table['image'][0]!r}"
                             if len(table) else f"{path}: no rows")
        if named.unknown:
            notes.append(f"{path.name}: {len(named.unknown)} names are no distorted images of {key.dataset}, "
                         f"left out: {', '.join(map(repr, named.unknown[:3]))}")
        twice = pd.Series(named.ids)[pd.Series(named.ids).duplicated()]
        if len(twice):
            lines = named.rows[named.ids == twice.iloc[0]] + 2
            raise StoreError(f"{path}: {twice.iloc[0]} is listed twice, in lines {lines[0]} and {lines[1]}; "
                             f"keep one")
        expected = facts["pairs"] if facts else len(named.ids)
        if len(named.ids) > expected:
            raise StoreError(f"{path}: {len(named.ids)} images, but {key.dataset} has {expected} pairs; "
                             f"remove copies of references from it")
        if facts and (lacking := sorted(set(facts["types"]) - set(named.types))):
            notes.append(f"{path.name}: no image of the distortion type {', '.join(lacking)} of "
                         f"{key.dataset}")
        own = table.iloc[named.rows]
        refs = named.refs
        if "reference" in own and not refs.all():
            refs = own["reference"].to_numpy(dtype=object)
        values = own["score"].to_numpy(dtype=float)
        if absent := int((~np.isfinite(values)).sum()):
            notes.append(f"{path.name}: {absent} images have no finite score")
        labels, higher = self._labels(own, about, facts)
        known = metric_facts(key.metric)
        trained_on = about.get("trained_on", known.trained_on)
        unlike = str(about.get("unlike_authors", ""))  # the name does not tell how this file was made
        return Scores(key, path, Pairs(named.ids, refs, named.types, labels, higher), values,
                      higher_is_better=about["higher_is_better"], expected=expected, identity={},
                      notes=tuple(notes), source=self.name, facts=MetricFacts(
                          str(about.get("title", known.title)),
                          (trained_on,) if isinstance(trained_on, str) else tuple(trained_on),
                          unlike, False if unlike else about.get("as_authors")))

    def _labels(self, own: pd.DataFrame, about: Mapping[str, Any],
                facts: Mapping[str, Any] | None) -> tuple[np.ndarray, bool]:
        """Return the labels, NaN where the file has none, and whether larger ones are better."""
        if "label" not in own:
            return np.full(len(own), np.nan), bool(facts and facts["higher_is_better"])
        labels = own["label"].to_numpy(dtype=float)
        if not np.isfinite(labels).all():
            raise StoreError(f"{self.root}: {int((~np.isfinite(labels)).sum())} images have no finite label")
        if "label_higher_is_better" in about:
            return labels, about["label_higher_is_better"]
        if facts is None:
            raise StoreError(f"{self.root}: say label_higher_is_better=true (MOS) or false (DMOS)")
        return convert_labels(labels, facts), facts["higher_is_better"]


def parse_source(text: str) -> tuple[Path, dict[str, Any]]:
    """Split `FILE.csv,key=value,...` into the path and the description.

    Raises:
        StoreError: if a part is no `key=value`.

    Examples:
        >>> path, about = parse_source("my.csv,metric=ssim,higher_is_better=true")
        >>> path.name, about
        ('my.csv', {'metric': 'ssim', 'higher_is_better': True})
    """
    if Path(text).exists():
        return Path(text), {}
    path, *parts = text.split(",")
    if wrong := [part for part in parts if "=" not in part]:
        raise StoreError(f"--scores {text}: expected key=value after each comma, found {wrong[0]!r}; for "
                         f"example {EXAMPLE}")
    pairs = (part.split("=", 1) for part in parts)
    try:
        return Path(path), {key: yaml.safe_load(value) for key, value in pairs}
    except yaml.YAMLError as error:
        raise StoreError(f"--scores {text}: {error}") from error


def _beside(path: Path) -> dict[str, Any]:
    """Read the YAML file beside a CSV; {} if there is none."""
    beside = path.with_suffix(".yaml")
    if not beside.is_file():
        return {}
    try:
        read = yaml.safe_load(read_text(beside))
    except yaml.YAMLError as error:
        raise StoreError(f"{beside}: not YAML ({error})") from error
    if not isinstance(read, dict):
        raise StoreError(f"{beside}: expected lines such as `metric: ssim`; known are {', '.join(KEYS)}")
    return read


def _read(path: Path, about: Mapping[str, Any]) -> pd.DataFrame:
    """Read the columns image, score, and reference and label where there are any; numbers as float64."""
    try:
        table = pd.read_csv(io.StringIO(read_text(path)), dtype=str, keep_default_na=False, index_col=False)
    except ValueError as error:  # pandas' parser errors are ValueErrors
        raise StoreError(f"{path}: not a CSV file ({error})") from error
    found: dict[str, pd.Series[Any]] = {}
    for what, usual in HEADINGS.items():
        named = about.get(what)
        # A column of the metric's own name holds its scores: `image,psnr,ssim`.
        usual = (*usual, about["metric"]) if what == "score" else usual
        column = named or next((name for name in usual if name in table), None)
        if column in table:
            found[what] = table[column].str.strip()
        elif named or what in ("image", "score"):
            raise StoreError(f"{path}: no column {named or ' or '.join(usual)} for {what}; it has "
                             f"{', '.join(table.columns)}; say {what}=COLUMN"
                             + ("; separate columns by commas" if len(table.columns) == 1 else ""))
    for what in {"score", "label"} & set(found):
        numbers = pd.to_numeric(found[what], errors="coerce")
        wrong = found[what][numbers.isna() & ~found[what].str.lower().isin(["", "nan"])]
        if len(wrong):
            raise StoreError(f"{path} line {wrong.index[0] + 2}: expected a number for {what}, found "
                             f"{wrong.iloc[0]!r}")
        found[what] = numbers.astype(float)
    return pd.DataFrame(found)
