"""Find the images of a data set and make thumbnails for a report. Never imports torch."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from zsiqa.config import compose
from zsiqa.datasets.images import open_rgb
from zsiqa.releases import published
from zsiqa.results.score_file import read_about
from zsiqa.results.scores import ScoreKey
from zsiqa.runs.inputs import read_dataset
from zsiqa.types import ImageError, StoreError, ZsiqaError

SIDE = 176  # pixels of the longer side
QUALITY = 80  # of JPEG


def find_images(dataset: str, files: Mapping[ScoreKey, Path], data_dir: Path | None,
                root: Path | None) -> tuple[dict[str, tuple[Path, Path]], str]:
    """Find the image files of a data set, from its sidecars or in the place that a run would use.

    Code that a sidecar names is never executed: only names of folders and files are read from its
    configuration.

    Args:
        dataset: its name.
        files: the score files.
        data_dir: folder of the data sets, each in a folder of its name; None for their place when scored.
        root: folder of this data set, or its CSV file; replaces the place from `data_dir`.

    Returns:
        Paths of (reference, distorted) by pair_id, which may not exist, and ""; else {} and the reason.
    """
    stored = _stored(dataset, files)
    try:
        overrides, place = _overrides(dataset, stored, data_dir, root)
        if place is not None and not place.exists():
            return {}, f"no {place} here"
        cfg = compose(*overrides)
        if place is None and not Path(cfg.dataset.root).is_dir():
            return {}, f"no folder {cfg.dataset.root} here"
        found = read_dataset(cfg)
    except (ZsiqaError, OSError, ValueError) as error:
        return {}, str(error)
    return {pair.pair_id: (pair.ref_path, pair.dis_path) for pair in found.pairs}, ""


def _stored(dataset: str, files: Mapping[ScoreKey, Path]) -> Mapping[str, Any]:
    """Read the data set's settings from the first score file that states them; {} if none does."""
    for key, path in files.items():
        if key.dataset == dataset:
            try:
                config = read_about(path).get("config")
            except StoreError:
                continue
            if isinstance(config, Mapping) and isinstance(config.get("dataset"), Mapping):
                return dict(config["dataset"])
    return {}


def _overrides(dataset: str, stored: Mapping[str, Any], data_dir: Path | None,
               root: Path | None) -> tuple[Sequence[str], Path | None]:
    """Return the overrides that name the data set to run.py, and the place that must exist.

    The place is None if it comes from the configuration.

    Raises:
        ZsiqaError: if this package cannot read the data set.
    """
    csv = stored.get("csv")
    if isinstance(csv, str):
        place = root or (data_dir / Path(csv).name if data_dir else Path(csv))
        return ["dataset=pairs", f"dataset.csv={_quoted(str(place))}"], place
    if dataset not in (*published(), "demo"):
        raise ZsiqaError(f"{dataset} is no data set that can be read without its configuration")
    if root is None and data_dir is None and isinstance(stored.get("root"), str):
        root = Path(stored["root"])
    if root is not None:
        return [f"dataset={dataset}", f"dataset.root={_quoted(str(root))}"], root
    return [f"dataset={dataset}", *([f"data_dir={_quoted(str(data_dir))}"] if data_dir else [])], None


def _quoted(text: str) -> str:
    """Quote a string for Hydra's grammar, in which only backslashes before a quote are special."""
    return "'" + text.replace("\\'", "\\\\'").replace("'", "\\'") + "'"


def encode_thumbnail(path: Path) -> str:
    """Encode an image as a small JPEG in a data URI; "" if it cannot be read."""
    try:
        image = open_rgb(path)
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=QUALITY)
    except ImageError:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
