"""The authors' score files: <dataset>_<method><perturbation>.csv with the columns dis,ref,mos,pred.

Source: the folder `results` of ZS-IQA at commit 1d8c1ce; `configs/official.yaml` describes their
names and contents.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from zsiqa import CONFIGS
from zsiqa.releases import metric_facts, published
from zsiqa.results.score_folder import ScoreFolder
from zsiqa.results.scores import Pairs, ScoreKey, Scores
from zsiqa.results.table import read_table
from zsiqa.types import StoreError

COLUMNS = {"dis": str, "ref": str, "mos": float, "pred": float}
COPY = re.compile(r"([ .(]|[_-]?copy).*", re.IGNORECASE)  # a copy's name continues like this


@functools.cache
def conventions() -> Mapping[str, Any]:
    """Load `configs/official.yaml` (cached), with the published facts of its data sets."""
    read: dict[str, Any] = yaml.safe_load((CONFIGS / "official.yaml").read_text(encoding="utf-8"))
    datasets = {name: {**published()[name], **facts} for name, facts in read["datasets"].items()}
    return read | {"datasets": datasets}


def file_name(key: ScoreKey) -> str | None:
    """Return the name of the authors' file of these scores; None if they have no name for them.

    Examples:
        >>> file_name(ScoreKey("tid2013", "fsimc", "rotate"))
        'tid2013_fsim_rot-1.csv'
    """
    known = conventions()
    if (key.dataset not in known["datasets"] or key.metric not in known["metrics"]
            or key.perturbation not in known["perturbations"]):
        return None
    return f"{key.dataset}_{known['metrics'][key.metric]}{known['perturbations'][key.perturbation]}.csv"


@dataclass
class OfficialFolder(ScoreFolder):
    """A folder of the authors' files.

    Attributes:
        root: the folder.
        name: of the source, where scores of several sources are shown together.
        files: paths of the score files, by the key in their names.
        strays: all other CSV files.
    """

    root: Path
    name: str = field(init=False, default="ghildyal2025")
    files: dict[ScoreKey, Path] = field(init=False)
    strays: list[Path] = field(init=False)
    _owners: dict[Path, ScoreKey] = field(init=False, repr=False)
    _seen: list[tuple[tuple[str, pd.DataFrame], Pairs]] = field(init=False, default_factory=list, repr=False)

    def __post_init__(self) -> None:
        known = conventions()
        keys = [ScoreKey(dataset, metric, perturbation) for dataset in known["datasets"]
                for metric in known["metrics"] for perturbation in known["perturbations"]]
        names = {file_name(key): key for key in keys}
        paths = sorted(self.root.glob("*.csv"))
        self.files = {names[path.name]: path for path in paths if path.name in names}
        self.strays = [path for path in paths if path.name not in names]
        self._owners = {}
        for path in self.strays:
            originals = [name for name in names if name and path.stem.lower().startswith(name[:-4].lower())
                         and COPY.fullmatch(path.stem[len(name) - 4:])]
            if originals:
                self._owners[path] = names[max(originals, key=len)]

    def stray_key(self, path: Path) -> ScoreKey:
        """Return the key that a stray may hold, by its name; the rest of the name is the metric.

        Raises:
            StoreError: if its name does not begin with a data set.
        """
        known = conventions()
        dataset, _, rest = path.stem.partition("_")
        if path in self._owners:
            return self._owners[path]._replace(metric=rest)
        if dataset not in known["datasets"] or not rest:
            raise StoreError(f"{path}: expected a name <dataset>_<method>[_tra-1|_sca-1|_rot-1].csv with one "
                             f"of {', '.join(known['datasets'])}")
        perturbation, suffix = max(((name, suffix) for name, suffix in known["perturbations"].items()
                                    if rest.endswith(suffix)), key=lambda item: len(item[1]))
        return ScoreKey(dataset, rest.removesuffix(suffix), perturbation)

    def held(self) -> list[ScoreKey]:
        """Return the keys with a score file or a misnamed copy."""
        return list(dict.fromkeys([*self.files, *self._owners.values()]))

    def copies(self, key: ScoreKey) -> list[Path]:
        """Return copies of this key's file, by names such as `... copy.csv` or `... (1).csv`."""
        return [path for path, owner in self._owners.items() if owner == key]

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Load a score file; it may have fewer rows than the data set has pairs.

        Args:
            key: of its scores: one of `files`, or the result of `stray_key`.
            path: of the file.

        Raises:
            StoreError: if it is not a score file of the authors, has more rows than the data set has pairs,
                or its rows do not identify the pairs.
        """
        facts = conventions()["datasets"][key.dataset]
        table = read_table(path, COLUMNS)
        if len(table) > facts["pairs"]:
            sizes = ", ".join(f"{name} {other['pairs']}" for name, other in conventions()["datasets"].items())
            raise StoreError(f"{path}: {len(table)} rows, more than {key.dataset} has ({sizes})")
        # Nearly all files of a data set have the same pairs in the same order, so they share one object.
        pairs = next((pairs for (dataset, seen), pairs in self._seen
                      if dataset == key.dataset and _equal(seen, table)), None)
        if pairs is None:
            pairs = _identify(table, key.dataset, facts, path)
            self._seen.append(((key.dataset, table), pairs))
        return Scores(key, path, pairs, table["pred"].to_numpy(),
                      higher_is_better=key.metric in conventions()["higher_is_better"],
                      expected=facts["pairs"], identity={}, source=self.name,
                      facts=metric_facts(key.metric))


def keys_sha256(path: Path) -> str:
    """SHA-256 of a file's rows without their last field, as in `configs/official.yaml`."""
    lines = path.read_bytes().decode().splitlines()[1:]
    return hashlib.sha256("\n".join(line.rpartition(",")[0] for line in lines).encode()).hexdigest()


def _equal(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Return whether two files have the same pairs and labels in the same order."""
    return all(np.array_equal(one[name].to_numpy(), other[name].to_numpy()) for name in ("dis", "ref", "mos"))


def _identify(table: pd.DataFrame, dataset: str, facts: Mapping[str, Any], path: Path) -> Pairs:
    """Identify the pairs of the rows.

    Raises:
        StoreError: if a name or a label is wrong, a pair occurs twice, or rows of LIVE are in another order.
    """
    dis, mos = table["dis"].to_list(), table["mos"].to_numpy()
    expected = rf"(?:{facts['image']})\.bmp"
    matches = [re.fullmatch(expected, name, re.IGNORECASE) for name in dis]
    for row, match in enumerate(matches):
        if match is None:
            raise StoreError(f"{path} line {row + 2}: expected a name like {expected}, found "
                             f"{dis[row]!r}")
        if not np.isfinite(mos[row]):
            raise StoreError(f"{path} line {row + 2}: the label of {dis[row]} is {mos[row]}, expected a "
                             f"finite number")
    change_case = str.upper if facts["case"] == "upper" else str.lower
    stems = [change_case(name.rpartition(".")[0]) for name in dis]
    if facts["folders"]:
        types = folders_of_rows([int(re.sub(r"\D", "", stem)) for stem in stems], facts["folders"], path)
        stems = [f"{folder}/{stem}" for folder, stem in zip(types, stems, strict=True)]
    else:
        types = [match["type"] for match in matches if match]
    ids = [f"{dataset}/{stem}" for stem in stems]
    if len(set(ids)) < len(ids):
        twice = next(name for row, name in enumerate(ids) if name in ids[:row])
        raise StoreError(f"{path}: the pair {twice} is listed twice")
    refs = [change_case(name.rpartition(".")[0]) for name in table["ref"]]
    return Pairs(np.array(ids, dtype=object), np.array(refs, dtype=object), np.array(types, dtype=object),
                 mos, facts["higher_is_better"])


def folders_of_rows(numbers: Sequence[int], folders: Mapping[str, int], path: Path) -> list[str]:
    """Return the folder of each row of LIVE, where up to five folders have an image named `img5.bmp`.

    The authors list folder after folder, each by increasing number, so a new folder begins where the number
    does not increase. All complete files have this order, and these numbers of images in each folder.

    Args:
        numbers: the number in the image name of each row.
        folders: number of images by name of the folder, in the order of the files.
        path: of the file, for the error message.

    Raises:
        StoreError: if the rows are not in that order; a file that ends early is no error.
    """
    starts = [row for row in range(1, len(numbers)) if numbers[row] <= numbers[row - 1]]
    expected = np.cumsum(list(folders.values())).tolist()
    if starts != [row for row in expected if row < len(numbers)]:
        raise StoreError(f"{path}: the folder of a name such as img5.bmp, which several folders contain, "
                         f"follows from the order of the rows; expected {', '.join(folders)}, each by "
                         f"increasing number, with new folders at the rows {expected[:-1]}, found "
                         f"{starts[:8]}; keep the authors' order")
    ends = [*starts, len(numbers)]
    return [name for name, start, end in zip(folders, [0, *starts], ends, strict=False)
            for _ in range(end - start)]
