"""Speed of scoring against the official loop: `python scripts/benchmark.py [--device cuda] [--quick]`.

All figures come from one run on one machine, on made-up images and DINOv1 with random weights (which are as
fast as the real ones). `official_loop.py` is timed on a few pairs, before and after ours, in a process of its
own without our settings of the memory allocator, and extrapolated. Quote the ratios: times depend on the
machine. Needs timm and transformers, no network; with PyTorch 2.6 or later.
"""

from __future__ import annotations

import argparse
import functools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from zsiqa import distances
from zsiqa.backbones.timm_backbone import TimmBackbone
from zsiqa.perturbations import Original
from zsiqa.runs.machine import keep_freed_memory, pick_device
from zsiqa.scoring.engine import Failed, Scorer
from zsiqa.scoring.precision import arithmetic
from zsiqa.scoring.profiling import Profile, unmeasured
from zsiqa.types import ImagePair

FLOP_PER_TILE = 35.1e9  # of a ViT-B/16 on 224 x 224 pixels: two for each multiplication with addition
BATCH_TILES = {"cpu": 8, "cuda": 128}  # as in configs/backbone
FIVE: dict[str, distances.Distance] = {"l2": distances.L2(), "cosine": distances.Cosine(),
                                       "skld": distances.SKLD(),
                                       "jsd": distances.JSD(), "wsd": distances.WSD()}
COSINE: dict[tuple[str, ...], distances.Distance] = {("features", "cosine"): FIVE["cosine"]}
ALL: dict[tuple[str, ...], distances.Distance] = {**{("features", name): one for name, one in FIVE.items()},
                                                    ("embedding", "cosine"): FIVE["cosine"]}


def make_pairs(folder: Path, references: int, distorted: int, size: tuple[int, int]) -> list[ImagePair]:
    """Images of blobs with noise, as BMP, in a new folder: `references` x `distorted` pairs."""
    folder.mkdir()
    random = np.random.default_rng(0)
    pairs = []
    for r in range(references):
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
        ref = folder / f"r{r}.bmp"
        Image.fromarray(pixels.astype(np.uint8)).save(ref)
        for d in range(distorted):
            most = 3 + d % 24
            noisy = pixels + random.integers(-most, most + 1, pixels.shape, dtype=np.int8)
            dis = folder / f"r{r}_{d}.bmp"
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(dis)
            pairs.append(ImagePair(f"{r}_{d}", ref.name, dis.name, 0.0, ref, dis))
    return pairs


def make_backbone(device: str) -> TimmBackbone:
    """DINOv1 as in configs/backbone, with random weights."""
    torch.manual_seed(0)
    return TimmBackbone(model_name="vit_base_patch16_224.dino", weights=None, layers="blocks.*",
                        embedding="tokens",
                        norm_eps=1e-12).to(device)


def ours(backbone: TimmBackbone, pairs: list[ImagePair], metrics: dict[tuple[str, ...], distances.Distance],
         device: str, precision: Any = "fp32", *, compiled: bool = False, measure: Any = unmeasured) -> float:
    """Seconds for scoring the pairs, decoding included."""
    scorer = Scorer(backbone, distances=metrics, perturbations={"original": Original()}, device=device,
                    batch_tiles=BATCH_TILES[device], precision=precision, compile=compiled, measure=measure,
                    workers=2 if device == "cpu" else min(16, os.cpu_count() or 1))
    start = time.perf_counter()
    for outcome in scorer.score(pairs):
        if isinstance(outcome, Failed):
            raise outcome.error
    _wait(device)
    return time.perf_counter() - start


def official(folder: Path, count: int, what: str, device: str) -> float:
    """Seconds of the official loop on the first `count` pairs, in a process of its own."""
    done = subprocess.run([sys.executable, str(Path(__file__).with_name("official_loop.py")), str(folder),
                           str(count), what, device],
                          check=True, capture_output=True, text=True)
    return float(done.stdout)


def peak_matmul(device: str, precision: str = "fp32") -> float:
    """FLOP/s of a plain matrix product, the best of ten."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    n = 2048 if device == "cpu" else 8192
    a, b = (torch.rand(n, n, device=device) for _ in range(2))
    best = min(_seconds(lambda: torch.nn.functional.linear(a, b), device) for _ in range(10))
    torch.backends.cuda.matmul.allow_tf32 = False
    return 2 * n**3 / best


def _seconds(work: Callable[[], object], device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def rows_of_the_loop(folder: Path, device: str, *, quick: bool) -> Iterator[tuple[str, str]]:
    """The rows of TID2013's or PIPAL's shape: (what, figure)."""
    backbone = make_backbone(device)
    gpu = device == "cuda"
    shape, size, tiles_of_image = (((200, 116), (288, 288), 4) if gpu else ((2, 120), (512, 384), 6))
    pairs = make_pairs(folder / "pairs", *((2, 4) if quick else shape), size)
    few = (200 if gpu else 4) if not quick else 2
    precision = "tf32" if gpu else "fp32"
    ours(backbone, pairs[:2], ALL, device, precision)  # warm
    tiles = tiles_of_image * count_images(pairs)
    yield "pairs", (f"{len(pairs)} of {size[0]} x {size[1]}, {tiles} tiles; {precision}; the official loop "
                    f"on {few}")
    peak = peak_matmul(device, precision)
    yield "a matrix product", f"{peak / 1e12:.2f} TFLOP/s"
    for what, label, metrics in (("cosine", "cosine", COSINE),
                                 ("all", "five distances and the embedding", ALL)):
        before = official(folder / "pairs", few, what, device)
        our_seconds = ours(backbone, pairs, metrics, device, precision)
        after = official(folder / "pairs", few, what, device)
        their_seconds = (before + after) / 2 / few * len(pairs)
        ratio, share = their_seconds / our_seconds, tiles * FLOP_PER_TILE / our_seconds / peak
        yield label, (f"{our_seconds:.1f} s, the official loop {their_seconds:.0f} s: {ratio:.1f} times as "
                      f"fast; all steps at {share:.0%} of the product's speed, at which it would be "
                      f"{ratio / share:.1f} times")
    some = pairs if gpu else pairs[:48]
    profile = Profile(torch.cuda.synchronize if gpu else lambda: None)
    total = ours(backbone, some, ALL, device, precision, measure=profile)
    yield f"{len(some)} pairs, five distances and the embedding, {precision}", f"{total:.1f} s"
    yield "of it, distances", f"{profile.seconds['distances'] / total:.1%}"
    model = tiles_of_image * count_images(some) * FLOP_PER_TILE / profile.seconds["model"]
    yield "of it, the model: its share of a matrix product", f"{model / peak_matmul(device, precision):.0%}"
    for other in (*(("fp32",) if gpu else ()), "bf16", "fp16"):
        yield f"the same, {other}", f"{ours(backbone, some, ALL, device, other):.1f} s"
    compiled = make_backbone(device)
    first = ours(compiled, some, ALL, device, precision, compiled=True)
    again = ours(compiled, some, ALL, device, precision, compiled=True)
    yield f"the same, {precision}, compiled", f"{again:.1f} s; the first time {first:.1f} s"


def count_images(pairs: list[ImagePair]) -> int:
    """Distorted images, and references, each once."""
    return len(pairs) + len({pair.ref for pair in pairs})


def rows_of_batches(device: str) -> Iterator[tuple[str, str]]:
    """The model alone, at several batch sizes."""
    backbone = make_backbone(device)
    precision: Any = "tf32" if device == "cuda" else "fp32"

    for size in (1, 2, 4, 8, 16, *((32, 64, 128, 256, 512) if device == "cuda" else ())):
        batch = torch.rand(size, 3, 224, 224, device=device)
        with torch.inference_mode(), arithmetic(precision, device):
            best = min(_seconds(functools.partial(backbone, batch), device) for _ in range(4))
        yield f"tiles a second, {size} a batch, model alone", f"{size / best:.1f}"


def rows_of_the_command(folder: Path) -> Iterator[tuple[str, str]]:
    """What a whole process costs: memory at two sizes of data set, and a finished run asked again."""
    run = [sys.executable, str(Path(__file__).parent.parent / "run.py"), "dataset=pairs",
           "backbone.pretrained=false",
           "device=cpu"]
    peaks = []
    for distorted in (4, 40):
        pairs = make_pairs(folder / f"memory{distorted}", 2, distorted, (300, 240))
        table = folder / f"memory{distorted}" / "pairs.csv"
        rows = "".join(f"{pair.ref},{pair.dis},{i}\n" for i, pair in enumerate(pairs))
        table.write_text(f"ref,dis,mos\n{rows}")
        command = [*run, f"dataset.csv={table}", "backbone=dinov1", "distance=all", "representation=all",
                   f"results_dir={folder}/results{distorted}"]
        peaks.append(_peak_memory(command))
    yield "memory at 8 and at 80 pairs, DINOv1", " and ".join(f"{peak:.2f} GiB" for peak in peaks)
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    yield "a finished run asked again", f"{time.perf_counter() - start:.1f} s"


def _peak_memory(command: list[str]) -> float:
    """GiB of the process at its largest."""
    code = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
            "capture_output=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    done = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024) / 2**30


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true", help="a few pairs: does it run?")
    options = parser.parse_args()
    device, described = pick_device(options.device)
    if device == "cpu":
        keep_freed_memory()
    print(f"{described}; torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        rows = [rows_of_batches(device), rows_of_the_loop(Path(folder), device, quick=options.quick)]
        rows += [] if device == "cuda" else [rows_of_the_command(Path(folder))]
        for part in rows:
            for what, figure in part:
                print(f"| {what} | {figure} |", flush=True)
    print(f"this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30:.2f} GiB at its "
          f"largest")


if __name__ == "__main__":
    main()
