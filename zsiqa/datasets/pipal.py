"""PIPAL, its public training part (Gu et al., ECCV 2020): 200 references x 116 = 23,200 pairs."""

from __future__ import annotations

import os
import re
from pathlib import Path

from zsiqa.datasets.pairs import check_unique
from zsiqa.types import DatasetError, ImagePair


def read(root: str | Path, *, num_pairs: int = 23200) -> list[ImagePair]:
    """Read the unpacked archives, in the order of the pair's name.

    Args:
        root: folder with `Train_Label`, `Train_Ref` and the distorted images in any folders below it
            (`Distortion_1` .. `Distortion_4`, `Train_Dis`, ...): their names are unique.
        num_pairs: how many label lines there must be.

    Returns:
        Pairs with the Elo score as the label (higher = better).

    Raises:
        DatasetError: if labels are missing or malformed.
    """
    folder = Path(root).expanduser()
    labels = sorted((folder / "Train_Label").glob("*.txt"))
    if not labels:
        raise DatasetError(f"[pipal] no Train_Label/*.txt in {folder}. Fix: see datasets/README.md, then set "
                           f"dataset.root=DIR or ZSIQA_PIPAL=DIR")
    images = {name: Path(parent) / name for parent, _, names in os.walk(folder) for name in names
              if name.endswith(".bmp")}
    pairs = []
    for file in labels:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            match = re.fullmatch(r"((A\d{4})_(\d\d)_(\d\d)\.bmp),(\d+(?:\.\d+)?)\s*", line)
            if not match:
                raise DatasetError(f'[pipal] {file.name} line {number}: expected "A0001_00_00.bmp,<Elo>", got {line!r}')
            dis, ref, kind, level, elo = match.groups()
            ref_path, dis_path = (images.get(name, folder / place / name)
                                  for name, place in ((f"{ref}.bmp", "Train_Ref"), (dis, "Train_Dis")))
            pairs.append(ImagePair(pair_id=f"pipal/{Path(dis).stem}", ref=f"{ref}.bmp", dis=dis, mos=float(elo),
                                   ref_path=ref_path, dis_path=dis_path, type=kind, level=level))
    if len(pairs) != num_pairs:
        raise DatasetError(f"[pipal] {len(pairs)} label rows under {folder}, expected {num_pairs}. "
                           f"Fix: put all of the training part in one folder")
    check_unique(pairs, source=f"[pipal] {folder}")
    return sorted(pairs, key=lambda pair: pair.pair_id)
