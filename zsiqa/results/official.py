"""The authors' score files: <dataset>_<method><perturbation>.csv with the columns dis,ref,mos,pred.

Source: the folder `results` of ZS-IQA at commit 1d8c1ce; `configs/official.yaml` says what they are named and
hold.
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
from zsiqa.releases import published
from zsiqa.results.scores import Pairs, ScoreKey, Scores, read_table
from zsiqa.types import StoreError

COLUMNS = {"dis": str, "ref": str, "mos": float, "pred": float}


@functools.cache
def conventions() -> Mapping[str, Any]:
    """`configs/official.yaml`, with the published facts of its data sets."""
    read: dict[str, Any] = yaml.safe_load((CONFIGS / "official.yaml").read_text(encoding="utf-8"))
    datasets = {name: {**published()[name], **facts} for name, facts in read["datasets"].items()}
    return read | {"datasets": datasets}


def file_name(key: ScoreKey) -> str | None:
    """The name that the authors' file of these scores bears; None where they have no name for them.

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
class OfficialFolder:
    """A folder of the authors' files.

    Attributes:
        root: the folder.
        files: by what their names say they hold.
        strays: all other CSV files.
    """

    root: Path
    files: dict[ScoreKey, Path] = field(init=False)
    strays: list[Path] = field(init=False)
    _owners: dict[Path, ScoreKey] = field(init=False, repr=False)
    _seen: list[tuple[tuple[str, pd.DataFrame], Pairs]] = field(init=False, default_factory=list, repr=False)

    def __post_init__(self) -> None:
        known = conventions()
        names = {file_name(key): key for dataset in known["datasets"] for metric in known["metrics"]
                 for perturbation in known["perturbations"]
                 for key in [ScoreKey(dataset, metric, perturbation)]}
        found = sorted(self.root.glob("*.csv"))
        self.files = {names[path.name]: path for path in found if path.name in names}
        self.strays = [path for path in found if path.name not in names]
        self._owners = {}
        for path in self.strays:
            continued = [name for name in names if name and re.fullmatch(
                re.escape(name.removesuffix(".csv")) + r"([ .(]|[_-]?copy).*", path.stem, re.IGNORECASE)]
            if continued:
                self._owners[path] = names[max(continued, key=len)]

    def stray_key(self, path: Path) -> ScoreKey:
        """Return the key that a stray file may hold, by its name: data set, perturbation, and metric.

        Raises:
            StoreError: if its name does not begin with a data set.
        """
        known = conventions()
        dataset, _, rest = path.stem.partition("_")
        if path in self._owners:
            return self._owners[path]._replace(metric=rest)
        if dataset not in known["datasets"] or not rest:
            raise StoreError(f"{path}: its name names no data set; expected "
                             f"<dataset>_<method>[_tra-1|_sca-1|_rot-1].csv with one of "
                             f"{', '.join(known['datasets'])}")
        perturbation, suffix = max(((name, suffix) for name, suffix in known["perturbations"].items()
                                    if rest.endswith(suffix)), key=lambda item: len(item[1]))
        return ScoreKey(dataset, rest.removesuffix(suffix), perturbation)

    def held(self) -> list[ScoreKey]:
        """Return the keys with a score file or a misnamed copy."""
        return list(dict.fromkeys([*self.files, *self._owners.values()]))

    def twins(self, key: ScoreKey) -> list[Path]:
        """Copies of this key's file by their name, such as `... copy.csv` or `... (1).csv`."""
        return [path for path, owner in self._owners.items() if owner == key]

    def load(self, key: ScoreKey, path: Path) -> Scores:
        """Read a file; one with fewer rows than its data set is read as far as it goes.

        Args:
            key: what it holds: one of `files`, or `stray_key`.
            path: of the file.

        Raises:
            StoreError: if it is not such a file, has more rows than the data set, or its rows cannot be told
                apart.
        """
        facts = conventions()["datasets"][key.dataset]
        table = read_table(path, COLUMNS)
        if len(table) > facts["pairs"]:
            sizes = ", ".join(f"{name} {one['pairs']}" for name, one in conventions()["datasets"].items())
            raise StoreError(f"{path}: {len(table)} rows, which fits no {key.dataset} ({sizes})")
        # Nearly all files of a data set have the same pairs in the same order; then they share one object.
        pairs = next((pairs for keys, pairs in self._seen if keys[0] == key.dataset
                      and _equal(keys[1], table)), None)
        if pairs is None:
            pairs = _identify(table, key.dataset, facts, path)
            self._seen.append(((key.dataset, table), pairs))
        return Scores(key, path, pairs, table["pred"].to_numpy(),
                      higher_is_better=key.metric in conventions()["higher_is_better"],
                      expected=facts["pairs"],
                      identity={})


def keys_sha256(path: Path) -> str:
    """SHA-256 of a file's lines without their last field, as in `configs/official.yaml`."""
    lines = path.read_bytes().decode().splitlines()[1:]
    return hashlib.sha256("\n".join(line.rpartition(",")[0] for line in lines).encode()).hexdigest()


def _equal(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Return whether two files have the same pairs and labels in the same order."""
    return all(np.array_equal(one[name].to_numpy(), other[name].to_numpy()) for name in ("dis", "ref", "mos"))


def _identify(table: pd.DataFrame, dataset: str, facts: Mapping[str, Any], path: Path) -> Pairs:
    """Identify the pairs of the rows.

    Raises:
        StoreError: if they cannot be told apart.
    """
    dis, mos = table["dis"].to_list(), table["mos"].to_numpy()
    matches = [re.fullmatch(facts["name"], name, re.IGNORECASE) for name in dis]
    for row, match in enumerate(matches):
        if match is None:
            raise StoreError(f"{path} line {row + 2}: expected a name like {facts['name']}, found "
                             f"{dis[row]!r}")
        if not np.isfinite(mos[row]):
            raise StoreError(f"{path} line {row + 2}: the label of {dis[row]} is {mos[row]}, expected a "
                             f"finite number")
    turn = str.upper if facts["case"] == "upper" else str.lower
    stems = [turn(name.rpartition(".")[0]) for name in dis]
    if facts["folders"]:
        types = folders_of_rows([int(re.sub(r"\D", "", stem)) for stem in stems], facts["folders"], path)
        stems = [f"{folder}/{stem}" for folder, stem in zip(types, stems, strict=True)]
    else:
        types = [match["type"] for match in matches if match]
    ids = [f"{dataset}/{stem}" for stem in stems]
    if len(set(ids)) < len(ids):
        twice = next(name for row, name in enumerate(ids) if name in ids[:row])
        raise StoreError(f"{path}: the pair {twice} stands there twice")
    refs = [turn(name.rpartition(".")[0]) for name in table["ref"]]
    return Pairs(np.array(ids, dtype=object), np.array(refs, dtype=object), np.array(types, dtype=object),
                 mos,
                 facts["higher_is_better"])


def folders_of_rows(numbers: Sequence[int], folders: Mapping[str, int], path: Path) -> list[str]:
    """The folder of each row of LIVE, where `img5.bmp` stands for up to five images.

    The authors list the folders one after the other, each by rising number, so a new folder begins where the
    number does not rise. All complete files agree with that, and with the number of images in each folder.

    Args:
        numbers: of the images, row by row.
        folders: name and number of images of each, in the order of the files.
        path: of the file, for the message.

    Raises:
        StoreError: if the rows are not in that order; a file that ends early is no error.
    """
    starts = [row for row in range(1, len(numbers)) if numbers[row] <= numbers[row - 1]]
    expected = np.cumsum(list(folders.values())).tolist()
    if starts != [row for row in expected if row < len(numbers)]:
        raise StoreError(f"{path}: the folder of a name such as img5.bmp, which is in several, follows from "
                         f"the order "
                         f"of the rows; expected {', '.join(folders)}, each by rising number, that is new "
                         f"folders at the rows {expected[:-1]}, found {starts[:8]}; keep the authors' order")
    ends = [*starts, len(numbers)]
    return [name for name, start, end in zip(folders, [0, *starts], ends, strict=False)
            for _ in range(end - start)]
