"""TID2013 (Ponomarenko et al., 2015): 25 references x 24 distortion types x 5 levels = 3,000 pairs."""

from __future__ import annotations

import re
from pathlib import Path

from zsiqa.datasets.pairs import check_unique
from zsiqa.types import DatasetError, ImagePair


def read(root: str | Path, *, num_pairs: int = 3000) -> list[ImagePair]:
    """Read the unpacked archive, in the order of its label file.

    Args:
        root: folder with `mos_with_names.txt`, `reference_images` and `distorted_images`.
        num_pairs: how many label lines there must be.

    Returns:
        Pairs with label 100 - MOS, as the official code computes it (higher = worse).

    Raises:
        DatasetError: if the label file is missing or a line of it is malformed.
    """
    folder = Path(root).expanduser()
    labels = folder / "mos_with_names.txt"
    if not labels.is_file():
        raise DatasetError(f"[tid2013] no mos_with_names.txt in {folder}. Fix: see datasets/README.md, then set "
                           f"dataset.root=DIR or ZSIQA_TID2013=DIR")
    references = _index(folder / "reference_images")
    distorted = _index(folder / "distorted_images")
    lines = labels.read_text(encoding="utf-8").splitlines()
    if len(lines) != num_pairs:
        raise DatasetError(f"[tid2013] {len(lines)} label rows, expected {num_pairs}. Fix: re-extract the archive")
    pairs = []
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch(r"(\d+\.\d+) (([iI]\d\d)_(\d\d)_(\d)\.(?:bmp|BMP))\s*", line)
        if not match:
            raise DatasetError(f'[tid2013] {labels.name} line {number}: expected "<mos> iRR_TT_L.bmp", got {line!r}')
        mos, dis, ref, kind, level = match.groups()
        # Archives differ in the case of file names, and so do labels from files.
        ref_path = references.get(f"{ref}.bmp".casefold(), folder / "reference_images" / f"{ref}.bmp")
        dis_path = distorted.get(dis.casefold(), folder / "distorted_images" / dis)
        pairs.append(ImagePair(pair_id=f"tid2013/{Path(dis).stem.lower()}", ref=f"{ref}.bmp".upper(), dis=dis,
                               mos=100.0 - float(mos), ref_path=ref_path, dis_path=dis_path, type=kind, level=level))
    check_unique(pairs, source=f"[tid2013] {folder}")
    return pairs


def _index(folder: Path) -> dict[str, Path]:
    """Files of a folder by their name in lower case."""
    return {path.name.casefold(): path for path in folder.iterdir()} if folder.is_dir() else {}
