"""The official loop, for benchmark.py: `python scripts/official_loop.py FOLDER PAIRS {cosine,all} DEVICE`.

Written anew after the structure of the official code (ZS-IQA `run.py`, `distances.py` at commit 1d8c1ce): the
model of transformers, one tile at a time, the reference encoded anew for every distorted image, a pass over
everything for each distance, a wait for each number. Prints seconds.
"""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from zsiqa.scoring.tiling import tile_starts

METRICS = {"cosine": [("features", "cosine")],
           "all": [*(("features", name) for name in ("l2", "cosine", "skld", "jsd", "wsd")),
                   ("embedding", "cosine")]}


def run(pairs: list[tuple[Path, Path]], metrics: list[tuple[str, str]], device: str) -> float:
    """Return the seconds of a pass for each metric, after a first tile that does not count.

    Args:
        pairs: (distorted, reference).
    """
    model, states = make_official_model(device)

    @torch.no_grad()
    def encode(tile: torch.Tensor, representation: str) -> torch.Tensor:
        """Tile (1, 3, 224, 224) to the blocks' states or the normalised last hidden state, (L, N, D)."""
        states.clear()
        last = model(tile).last_hidden_state
        if representation == "embedding":
            return torch.nn.functional.normalize(last, dim=-1)
        return torch.cat(states)

    encode(torch.zeros(1, 3, 224, 224, device=device), "features")
    start = time.perf_counter()
    for representation, name in metrics:
        for pair in pairs:
            tiles = [_tensor(path, device) for path in pair]
            height, width = tiles[0].shape[-2:]
            scores = []
            for top in tile_starts(height):
                for left in tile_starts(width):
                    dis, ref = (encode(image[..., top:top + 224, left:left + 224], representation)
                                for image in tiles)
                    scores.append(_distance(name, dis, ref))
            float(np.mean(scores))
    return time.perf_counter() - start


def make_official_model(device: str) -> tuple[Any, list[torch.Tensor]]:
    """Build transformers' ViT-B/16 with random weights, and the list that gets its blocks' outputs."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    model: Any = ViTModel(ViTConfig(), add_pooling_layer=False)
    model.eval().to(device)
    states: list[torch.Tensor] = []

    def keep(_module: Any, _inputs: Any, out: Any) -> None:
        states.append(out[0] if isinstance(out, tuple) else out)  # a tuple up to transformers 4

    for name, module in model.named_modules():
        if re.fullmatch(r".*layers?\.\d+", name):
            module.register_forward_hook(keep)
    return model, states


def _distance(name: str, dis: torch.Tensor, ref: torch.Tensor) -> float:
    """One tile's distance (L, N, D), layer by layer, or by columns of 64, with a wait for each number."""
    if name == "l2":
        return sum(float((d - r).square().mean()) for d, r in zip(dis, ref, strict=True))
    if name == "cosine":
        return sum(float((1 - torch.cosine_similarity(d, r, dim=-1)).mean())
                   for d, r in zip(dis, ref, strict=True))
    padding = round(dis.shape[1] / 8) * 8 - dis.shape[1]
    x, y = (torch.nn.functional.pad(features, (0, 0, 0, padding)).reshape(64, -1) for features in (dis, ref))
    if name == "wsd":
        k = _transport(x.softmax(-1), y.softmax(-1))
    else:
        p, q = x.softmax(0) + 1e-10, y.softmax(0) + 1e-10
        others = (q, p) if name == "skld" else ((p + q) / 2,) * 2
        both = [torch.nn.functional.kl_div(other.log(), one, reduction="none").sum(0)
                for one, other in zip((p, q), others, strict=True)]
        k = (both[0] + both[1]) / 2
    if name != "jsd":
        k = k + (x - y).square().sum(0) / ((-1 / (k + 10)).exp().sqrt() * (k + 10).square())
    return float((k.mean() + 1).log() ** 0.25)


def _transport(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Wasserstein distance of each column of (64, M) weights, by sorted quantiles as in POT."""
    ends = [weights.cumsum(0) for weights in (p, q)]
    quantiles = torch.cat(ends).sort(0).values
    at_p, at_q = (torch.searchsorted(end.T.contiguous(), quantiles.T.contiguous()).clamp_max(len(p) - 1).T
                  for end in ends)
    steps = torch.nn.functional.pad(quantiles, (0, 0, 1, 0)).diff(dim=0)
    return (steps * (at_p - at_q).abs()).sum(0)


def _tensor(path: Path, device: str) -> torch.Tensor:
    pixels = np.array(Image.open(path).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device)


def main() -> None:
    """Time the loop on the first images of a folder that benchmark.py has filled."""
    folder, count, what, device = sys.argv[1:]
    files = sorted(Path(folder).glob("*_*.bmp"))[:int(count)]
    pairs = [(file, file.with_name(f"{file.stem.partition('_')[0]}.bmp")) for file in files]
    print(run(pairs, METRICS[what], device))


if __name__ == "__main__":
    main()
