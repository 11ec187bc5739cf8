"""Data types shared by all stages, and the errors that a user may see. Imports the standard library only."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

# Stacks of layers of one shape: (B, L, N, D) of tokens and embeddings, (B, L, C, H, W) of a CNN's maps.
Features: TypeAlias = "tuple[Tensor, ...]"
MetricKey: TypeAlias = tuple[str, ...]  # (representation, distance), or (baseline,)
REFERENCES = "_references"  # ends the names of data sets of references that are paired with themselves
# Optional packages, by the names that Python imports, and the extra of zsiqa that installs each.
EXTRAS = {"piq": "baselines", "stlpips_pytorch": "baselines", "lpips": "baselines",
          "DISTS_pytorch": "baselines", "matplotlib": "report", "plotly": "report", "threadpoolctl": "report",
          "skimage": "demo", "sklearn": "demo", "openpyxl": "csiq", "shtab": "completion",
          "torchmetrics": "torchmetrics", "hydra_submitit_launcher": "cluster",
          "hydra_joblib_launcher": "cluster"}


class ZsiqaError(Exception):
    """An error that the user can fix. Its text says what was expected, what was found and what to do."""


class DatasetError(ZsiqaError):
    """The images or labels of a data set are missing or wrong."""


class WeightsError(ZsiqaError):
    """The weights of a backbone are missing or do not fit it."""


class StoreError(ZsiqaError):
    """The results folder holds something that must not be mixed with this run."""


class ImageError(ZsiqaError):
    """An image file cannot be opened or decoded.

    Attributes:
        reason: what was expected and found, without the file's path and the remedy.
    """

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(f"{path}: {reason}; {remedy}")
        self.reason = reason


class PairError(ZsiqaError):
    """One pair cannot be scored: unreadable, sizes differ, too small, or its score is not finite."""


class MissingPackageError(ZsiqaError, ImportError):
    """An optional package is not installed."""


def did_you_mean(names: str | Iterable[str], known: Iterable[str], form: str = "{}") -> str:
    """Name what may have been meant by unknown names, in brackets to add to a message; "" if nothing is near.

    Args:
        names: one or several unknown names.
        known: all names that there are.
        form: how the command line spells a name.

    Examples:
        >>> did_you_mean("wds", ["l2", "wsd"], "distance={}"), did_you_mean("nonsense", ["l2", "wsd"])
        (' (did you mean distance=wsd?)', '')
    """
    import difflib

    folded = {name.casefold(): name for name in known}
    meant: dict[str, None] = {}
    for name in [names] if isinstance(names, str) else names:
        wanted = name.casefold()
        near = difflib.get_close_matches(wanted, folded, cutoff=0.6)
        if len(wanted) > 2:  # a part of a name is a name that was not finished
            near = near or [one for one in folded if wanted in one][:3]
        likeness = {one: difflib.SequenceMatcher(None, one, wanted).ratio() for one in sorted(near)}
        meant.update(dict.fromkeys(form.format(folded[one]) for one in sorted(near)
                                   if likeness[one] > max(likeness.values()) - 0.05))  # about as near as any
    return f" (did you mean {' or '.join(meant)}?)" if meant else ""


def check_choice(option: str, value: object, choices: Collection[object]) -> None:
    """Check an option that comes from a configuration.

    Raises:
        ValueError: if the value is not one of the choices, which the message lists.
    """
    if value not in choices:
        raise ValueError(f"{option} must be {' or '.join(map(str, choices))}, found {value!r}")


def how_to_install(package: str) -> str:
    """Name the command that installs a package, given by the name that Python imports.

    Examples:
        >>> how_to_install("piq")
        "`pip install 'zsiqa[baselines]'` (in a checkout: `pip install -e '.[baselines]'`)"
        >>> how_to_install("some_package")
        '`pip install some-package`'
    """
    if package not in EXTRAS:
        return f"`pip install {package.replace('_', '-')}`"
    extra = EXTRAS[package]
    return f"`pip install 'zsiqa[{extra}]'` (in a checkout: `pip install -e '.[{extra}]'`)"


def missing_package(what: str, package: str) -> MissingPackageError:
    """Make the error that `what` needs a package that is not installed."""
    return MissingPackageError(f"{what} needs the Python package {package}, which is not installed; run "
                               f"{how_to_install(package)}")


def require(what: str, *packages: str) -> None:
    """Check that the packages that `what` needs are installed, without importing them.

    Raises:
        MissingPackageError: names the first package that is not, and the command that installs it.
    """
    for package in packages:
        try:
            found = importlib.util.find_spec(package)
        except (ImportError, ValueError):  # ValueError: a module made by hand, without a spec
            found = None
        if found is None:
            raise missing_package(what, package)


class ImagePair(NamedTuple):
    """Labelled pair of a data set.

    Attributes:
        pair_id: unique within the data set.
        ref, dis: names of the reference and the distorted image as the data set spells them.
        mos: the label as the evaluator uses it (MOS, DMOS, ...); the data set states its direction. NaN if
            the data set has no labels.
        ref_file, dis_file: paths of the images; text as pathlib writes it. Pairs with equal `ref_path` share
            their reference.
        type, level: distortion type and level, where the data set names them.
        subsets: published groups of types that the pair belongs to.
        native_mos: the release's label, before any conversion; NaN for your own data.
        mos_std: standard deviation of the opinions behind the label; NaN where it is not known.
    """

    pair_id: str
    ref: str
    dis: str
    mos: float
    ref_file: str | Path
    dis_file: str | Path
    type: str = ""
    level: str = ""
    subsets: tuple[str, ...] = ()
    native_mos: float = math.nan
    mos_std: float = math.nan

    @property
    def ref_path(self) -> Path:
        """Path of the reference."""
        return Path(self.ref_file)  # made when it is asked for: a Path takes as long as the rest of a pair

    @property
    def dis_path(self) -> Path:
        """Path of the distorted image."""
        return Path(self.dis_file)


@dataclass(frozen=True)
class Manifest:
    """Pairs and label files that a reader finds in a folder.

    Attributes:
        pairs: in the data set's canonical order. A missing image has the path where it should be.
        layout: origin of the label files' layout, in words.
        label_files: files that the labels were read from.
        warnings: reasons why the labels may differ from the release's.
        unnamed: images below the folder that no label names.
    """

    pairs: tuple[ImagePair, ...]
    layout: str = ""
    label_files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    unnamed: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A data set in its canonical order.

    Attributes:
        higher_is_better: True if a larger label means a better image (MOS), False for DMOS-like labels.
        notes: caveats to print with every result of this data set.
    """

    name: str
    label: str
    pairs: tuple[ImagePair, ...]
    higher_is_better: bool
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """True if the pairs have labels; references paired with themselves have none."""
        return not all(math.isnan(pair.mos) for pair in self.pairs)
