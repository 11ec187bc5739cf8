"""Facts of the published data sets: counts, directions, distortion types, digests."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import yaml

from zsiqa import CONFIGS

FILE = CONFIGS / "published.yaml"


@functools.cache
def published() -> Mapping[str, Mapping[str, Any]]:
    """Load `configs/published.yaml` (cached): facts by data set, including its `name`."""
    read: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {name: {"name": name, **facts} for name, facts in read.items()}
