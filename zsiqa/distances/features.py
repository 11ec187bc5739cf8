"""Types that distances share.

Letters in shapes: B tiles, L layers, N tokens, D feature width; C, H, W channels, rows and columns of a CNN's
map; M columns of 64 samples; n maps and c columns of one part.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from zsiqa.types import Features

Distance = Callable[[Features, Features], Tensor]  # (features of reference tiles, of distorted tiles) to (B,)


def check_option(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Check an option of a distance.

    Raises:
        ValueError: if the value is not one of the choices.
    """
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(str, choices))}, found {value!r}")
