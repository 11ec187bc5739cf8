"""Rounds of conditions that are scored together, and perturbations that have the same effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from PIL import Image

if TYPE_CHECKING:
    from zsiqa.scoring.scaling import Native

TOGETHER = 8  # conditions that change the reference, in one round
PROBE = (512, 384)  # size of the image that shows what a condition changes


class Perturbation(Protocol):
    """Perturbation interface: one function for each image of a pair; see `zsiqa.perturbations`."""

    def reference(self, image: Image.Image) -> Image.Image:
        """Perturb the reference; return the same object if it is unchanged."""

    def distorted(self, image: Image.Image) -> Image.Image:
        """Perturb the distorted image."""

    def at_size(self, size: tuple[int, int]) -> Perturbation:
        """Return what it does to images of one size; perturbations that do the same are equal."""


def plan_rounds(perturbations: Mapping[str, Perturbation], together: int = TOGETHER) -> list[list[str]]:
    """Divide the conditions into the rounds in which they take part.

    The features of a reference are kept until all its distorted images are compared, and once more for each
    condition that changes it. So a round has at most `together` of these conditions. All other conditions are
    in the first round.

    Examples:
        >>> from zsiqa.perturbations import Original, Translate
        >>> shifts = {f"translate_x_{pixels}px": Translate(pixels=pixels) for pixels in (1, 2, 3)}
        >>> plan_rounds({"original": Original(), **shifts}, together=2)
        [['original', 'translate_x_1px', 'translate_x_2px'], ['translate_x_3px']]
    """
    probe = Image.new("RGB", PROBE)
    changing = [name for name, one in perturbations.items() if one.reference(probe) is not probe]
    late = [changing[first:first + together] for first in range(together, len(changing), together)]
    later = {name for names in late for name in names}
    return [[name for name in perturbations if name not in later], *late]


def count_sizes(perturbations: Mapping[str, Perturbation]) -> int:
    """Count the different sizes, at most, that images of one size get under the conditions of one round."""
    probe = Image.new("RGB", PROBE)
    return max(len({perturbations[name].reference(probe).size for name in names})
               for names in plan_rounds(perturbations))


def unmoved(perturbations: Mapping[str, Perturbation]) -> set[str]:
    """Return the conditions that change neither image."""
    probe = Image.new("RGB", PROBE)
    return {name for name, one in perturbations.items()
            if one.reference(probe) is probe and one.distorted(probe) is probe}


def distinct(perturbations: Mapping[str, Perturbation], scales: Mapping[str, Native], names: Sequence[str],
             size: tuple[int, int]) -> list[tuple[Perturbation, Native | None, list[str]]]:
    """Return perturbations and scales that differ for images of a size, each with its conditions."""
    found: list[tuple[Perturbation, Native | None, list[str]]] = []
    for name in names:  # not a mapping: a perturbation of one's own need not be hashable
        key = perturbations[name].at_size(size), scales.get(name)
        alike = next((known for *other, known in found if tuple(other) == key), None)
        if alike is None:
            found.append((*key, [name]))
        else:
            alike.append(name)
    return found
