"""Draw the picture of the README: `python scripts/picture.py [docs/images/heatmap.png]`.

A demo photograph, distorted, with the map of the default backbone's features: l2, as cosine of its maps has
one value a tile. Needs the extras `demo` and `report`, no network.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import zsiqa
from zsiqa.datasets import demo
from zsiqa.datasets.images import open_rgb
from zsiqa.scoring.heatmap import difference_map, draw

PAIR = "demo/astronaut_05_4"
COLOURS = 256  # a palette keeps the file below 200 kB


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", nargs="?", type=Path, default=Path("docs/images/heatmap.png"))
    path = parser.parse_args().path
    path.parent.mkdir(parents=True, exist_ok=True)
    metric = zsiqa.Metric(distance="l2")
    with tempfile.TemporaryDirectory() as folder:
        (pair,) = [one for one in demo.read(folder).pairs if one.pair_id == PAIR]
        ref, dis = (torch.from_numpy(np.array(open_rgb(file))).permute(2, 0, 1)[None].float() / 255
                    for file in (pair.ref_path, pair.dis_path))
    with torch.no_grad():
        title = f"{metric.name}: {float(metric(ref, dis)):.4g} (0 for equal images)"
        draw(difference_map(metric, ref, dis), ref, dis, title, path)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG)
    small.save(path, optimize=True)
    print(f"wrote {path} ({path.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
