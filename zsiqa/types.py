"""The data that travel between the stages, and the errors a user may see. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class ZsiqaError(Exception):
    """A problem that the user can mend. Its text says what was expected, what came and what to do."""


class DatasetError(ZsiqaError):
    """The images or labels of a data set are missing or wrong."""


class WeightsError(ZsiqaError):
    """The weights of a backbone are missing or do not fit it."""


class StoreError(ZsiqaError):
    """The results folder holds something that must not be mixed with this run."""


class PairError(ZsiqaError):
    """One pair cannot be scored: unreadable, sizes differ, too small, or its score is not finite."""


@dataclass(frozen=True)
class ImagePair:
    """One labelled pair of a data set.

    Attributes:
        pair_id: unique within the data set.
        ref, dis: names of the reference and the distorted image as the data set spells them.
        mos: the label as the evaluator uses it (MOS, DMOS, ...); the data set states its direction.
        ref_path, dis_path: where the images lie. Pairs with equal `ref_path` share their reference.
        type, level: distortion type and level, where the data set names them.
    """

    pair_id: str
    ref: str
    dis: str
    mos: float
    ref_path: Path
    dis_path: Path
    type: str = ""
    level: str = ""


@dataclass(frozen=True)
class Dataset:
    """A data set in its canonical order.

    Attributes:
        higher_is_better: True if a larger label means a better image (MOS), False for DMOS-like labels.
        note: a caveat to print with every result of this data set ("" for none).
    """

    name: str
    label: str
    pairs: tuple[ImagePair, ...]
    higher_is_better: bool
    note: str = ""
