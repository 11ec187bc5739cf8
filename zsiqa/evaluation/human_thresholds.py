"""Human detection thresholds of geometric changes, in the units of the perturbations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from zsiqa import CONFIGS
from zsiqa.perturbations import FAMILIES
from zsiqa.releases import published
from zsiqa.types import ZsiqaError, did_you_mean

FILE = CONFIGS / "human_thresholds.yaml"
FIELDS = {"families", "value", "unit", "source", "checked", "assumption"}


@dataclass(frozen=True)
class HumanThreshold:
    """Smallest change of a family that people detect.

    Attributes:
        families: names of the families of perturbations.
        value: the change, in `unit`.
        unit: the unit of a curve of the families, or `visual_deg` (degrees of visual angle) for a curve in
            pixels.
        source: place where the value was read.
        checked: False if the value is quoted from elsewhere and was not read at its source.
        assumption: what is assumed where zsiqa uses the value.
    """

    families: tuple[str, ...]
    value: float
    unit: str
    source: str
    checked: bool
    assumption: str

    def in_unit(self, unit: str, pixels_per_degree: float, side: float = math.nan) -> float:
        """Convert the value.

        Args:
            unit: `px`, `pct` (of `side`, for a value in pixels or degrees of visual angle) or `deg`.
            pixels_per_degree: of visual angle.
            side: of the images in pixels; NaN if it is unknown or not the same for all.

        Returns:
            The value in `unit`; NaN where it cannot be converted.

        Examples:
            >>> one = HumanThreshold(("translate_x",), 0.23, "visual_deg", "", True, "")
            >>> round(one.in_unit("px", 30), 6), round(one.in_unit("pct", 30, side=690), 6)
            (6.9, 1.0)
        """
        if unit == self.unit:
            return self.value
        pixels = {"px": self.value, "visual_deg": self.value * pixels_per_degree}.get(self.unit, math.nan)
        return {"px": pixels, "pct": 100 * pixels / side}.get(unit, math.nan)


def read_thresholds(path: Path = FILE) -> tuple[list[HumanThreshold], float]:
    """Read thresholds, and the pixels per degree of visual angle that are assumed by default.

    Raises:
        ZsiqaError: if there is no such file, or it is not as `configs/human_thresholds.yaml`.
    """
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ZsiqaError(f"{path}: not a readable YAML file of thresholds ({error})") from error
    known: dict[str, Any] = read if isinstance(read, dict) else {}
    per_degree, entries = known.get("pixels_per_degree", 0), known.get("thresholds")
    if not _is_positive(per_degree) or not isinstance(entries, list):
        raise ZsiqaError(f"{path}: expected a positive number pixels_per_degree and a list thresholds, as in "
                         f"{FILE}")
    return [_threshold(entry, f"{path}, threshold {place}") for place, entry in enumerate(entries, 1)], (
        float(per_degree))


def _threshold(entry: Any, where: str) -> HumanThreshold:
    if not isinstance(entry, dict) or set(entry) != FIELDS:
        found = ", ".join(map(str, entry)) if isinstance(entry, dict) else entry
        raise ZsiqaError(f"{where}: expected {', '.join(sorted(FIELDS))}; found {found}")
    families = entry["families"]
    if not isinstance(families, list) or not families or not all(isinstance(one, str) for one in families):
        raise ZsiqaError(f"{where}: families must be a list of names, found {families!r}")
    if not _is_positive(entry["value"]):
        raise ZsiqaError(f"{where}: value must be a positive number, found {entry['value']!r}")
    for family in families:
        if family not in FAMILIES:
            raise ZsiqaError(f"{where}: unknown family {family}{did_you_mean(family, FAMILIES)}; there are "
                             f"{', '.join(FAMILIES)}")
        units = [*FAMILIES[family], *(["visual_deg"] if "px" in FAMILIES[family] else [])]
        if entry["unit"] not in units:
            raise ZsiqaError(f"{where}: the unit of {family} must be {' or '.join(units)}, found "
                             f"{entry['unit']!r}")
    if not isinstance(entry["checked"], bool):
        raise ZsiqaError(f"{where}: checked must be true or false, found {entry['checked']!r}")
    return HumanThreshold(tuple(families), float(entry["value"]), entry["unit"], str(entry["source"]),
                          entry["checked"], str(entry["assumption"]))


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def threshold_of(thresholds: Sequence[HumanThreshold], family: str, unit: str, pixels_per_degree: float,
                 dataset: str) -> float:
    """Return the threshold of a curve in its unit; NaN if there is none, or it cannot be converted.

    Args:
        thresholds: the first one of the family counts.
        family, unit: of the curve.
        pixels_per_degree: of visual angle.
        dataset: of the images; their side must be known to convert pixels into percent.
    """
    one = next((one for one in thresholds if family in one.families), None)
    return one.in_unit(unit, pixels_per_degree, side_of(dataset, family)) if one else math.nan


def side_of(dataset: str, family: str) -> float:
    """Return the width of a release's images, or their height for vertical changes; NaN if it varies.

    Examples:
        >>> side_of("tid2013", "translate_x"), side_of("tid2013", "translate_y"), side_of("live", "rotate")
        (512.0, 384.0, nan)
    """
    sizes = list(published().get(dataset, {}).get("sizes", {}))
    sides = {size.split("x")[family.endswith("_y")] for size in sizes}
    return float(sides.pop()) if len(sides) == 1 else math.nan
