"""Speed of scoring: `python scripts/benchmark.py [--device cuda] [--sections speed,switches] [--json FILE]`.

All figures come from one run on one machine, on made-up images and DINOv1 with random weights (which are as
fast as the real ones). Quote the ratios: times depend on the machine. Needs PyTorch 2.6 or later, timm, for
the official loop transformers, and for `command` Hydra; no network.

- speed: seconds of all pairs, and the share of the arithmetic limit. The limit is the time of all products of
  the model at the speed of plain products of the same shapes, with everything else free. Also a profile, with
  and without compiled distances; on a GPU also memory.
- official: `official_loop.py` on a few pairs, before and after ours. It runs in a process of its own, without
  our settings of the memory allocator; its time is extrapolated.
- precision: seconds at each precision, and the largest differences of scores from fp32.
- switches: batch, memory and compilation, on and off.
- decoding: without a model, by threads and by processes.
- command: memory of whole runs, and a finished run asked again (CPU).
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from zsiqa import distances
from zsiqa.backbones.timm_backbone import TimmBackbone
from zsiqa.datasets.images import open_rgb
from zsiqa.perturbations import Original
from zsiqa.runs.machine import keep_freed_memory, pick_device
from zsiqa.scoring.engine import Failed, Scorer
from zsiqa.scoring.loading import Loader
from zsiqa.scoring.precision import arithmetic
from zsiqa.scoring.profiling import Profile, unmeasured
from zsiqa.scoring.tiling import extract_tiles
from zsiqa.types import ImagePair

BATCH_TILES = {"cpu": 8, "cuda": 128}  # as in configs/backbone
FIVE: dict[str, distances.Distance] = {"l2": distances.L2(), "cosine": distances.Cosine(),
                                       "skld": distances.SKLD(),
                                       "jsd": distances.JSD(), "wsd": distances.WSD()}
COSINE: dict[tuple[str, ...], distances.Distance] = {("features", "cosine"): FIVE["cosine"]}
ALL: dict[tuple[str, ...], distances.Distance] = {**{("features", name): one for name, one in FIVE.items()},
                                                    ("embedding", "cosine"): FIVE["cosine"]}


def make_pairs(folder: Path, references: int, distorted: int, size: tuple[int, int]) -> list[ImagePair]:
    """Images of blobs with noise, as BMP: `references` x `distorted` pairs. Files that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)

    def make_group(r: int) -> list[ImagePair]:
        random = np.random.default_rng(r)
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
        noise = random.integers(-96, 97, pixels.shape, dtype=np.int8).astype(np.float32)
        ref = folder / f"r{r}.bmp"
        paths = [folder / f"r{r}_{d}.bmp" for d in range(distorted)]
        if not all(path.exists() for path in (ref, *paths)):
            Image.fromarray(pixels.astype(np.uint8)).save(ref)
            for d, path in enumerate(paths):
                noisy = pixels + np.roll(noise, d, 0) * ((1 + d % 24) / 96)
                Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
        return [ImagePair(path.stem, ref.name, path.name, 0.0, ref, path) for path in paths]

    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        return [pair for group in pool.map(make_group, range(references)) for pair in group]


def make_backbone(device: str) -> TimmBackbone:
    """DINOv1 as in configs/backbone, with random weights."""
    torch.manual_seed(0)
    return TimmBackbone(model_name="vit_base_patch16_224.dino", weights=None, layers="blocks.*",
                        embedding="tokens",
                        norm_eps=1e-12).to(device)


def make_small_backbone(device: str) -> TimmBackbone:
    """EfficientNet-Lite0 as in configs/backbone, with random weights. Distances take a third of its time."""
    torch.manual_seed(0)
    return TimmBackbone(model_name="tf_efficientnet_lite0", weights=None, layers="blocks.*").to(device)


@dataclass
class Row:
    """A line of the table: what was measured, the figure as text and as a number, and the target if any."""

    what: str
    figure: str
    value: float | None = None
    target: str = ""
    met: bool | None = None

    def __str__(self) -> str:
        met = {True: " (met)", False: " (missed)", None: ""}[self.met]
        return f"| {self.what} | {self.figure} | {self.target}{met} |"


@dataclass
class Bench:
    """Settings and paths that all sections share.

    Attributes:
        pairs: images of the data set's shape: TID2013's on a CPU, PIPAL's on a GPU.
        some: as many of them as the secondary rows take.
        few: number of pairs for the official loop.
        tiles_of_image: tiles of each image.
        quick: leave out repetitions.
    """

    device: str
    folder: Path
    pairs: list[ImagePair]
    some: list[ImagePair]
    few: int
    tiles_of_image: int
    quick: bool

    @property
    def precision(self) -> Any:
        """Precision of the main rows."""
        return "tf32" if self.device == "cuda" else "fp32"

    def tiles(self, pairs: list[ImagePair]) -> int:
        """Number of tiles that are encoded: distorted images, and references, each once."""
        return self.tiles_of_image * (len(pairs) + len({pair.ref for pair in pairs}))


def score(backbone: TimmBackbone, pairs: list[ImagePair], metrics: dict[tuple[str, ...], distances.Distance],
          device: str, precision: Any = "fp32", *, compiled: Any = False, measure: Any = unmeasured,
          batch_tiles: int | None = None) -> tuple[float, dict[tuple[str, ...], np.ndarray]]:
    """Seconds for scoring the pairs, decoding included, and the scores by metric."""
    scorer = Scorer(backbone, distances=metrics, perturbations={"original": Original()}, device=device,
                    batch_tiles=batch_tiles or BATCH_TILES[device], precision=precision, compile=compiled,
                    measure=measure, workers=_workers(device))
    scores = {metric: np.full(len(pairs), np.nan) for metric in metrics}
    start = time.perf_counter()
    for outcome in scorer.score(pairs):
        if isinstance(outcome, Failed):
            raise outcome.error
        for metric, value in outcome.scores.items():
            scores[metric][outcome.index] = value
    _wait(device)
    return time.perf_counter() - start, scores


def ours(*arguments: Any, **settings: Any) -> float:
    """Seconds of `score`."""
    return score(*arguments, **settings)[0]


def _workers(device: str) -> int:
    return 2 if device == "cpu" else min(16, os.cpu_count() or 1)


def official(folder: Path, count: int, what: str, device: str) -> float:
    """Seconds of the official loop on the first `count` pairs, in a process of its own."""
    done = subprocess.run([sys.executable, str(Path(__file__).with_name("official_loop.py")), str(folder),
                           str(count), what, device],
                          check=True, capture_output=True, text=True)
    return float(done.stdout)


def limit_of_a_tile(device: str, precision: Any, repeats: int = 3) -> float:
    """Seconds of a tile if the model were nothing but plain matrix products of its own shapes (ViT-B/16)."""
    n = BATCH_TILES[device]
    shapes = [*((n * 197, *sides) for sides in ((768, 2304), (768, 768), (768, 3072), (3072, 768))),
              (n * 12, 197, 64, 197), (n * 12, 197, 197, 64)]
    total = 0.0
    with torch.inference_mode(), arithmetic(precision, device):
        for *batch, rows, inner, columns in shapes:
            a = torch.rand(*batch, rows, inner, device=device)
            if batch:
                b = torch.rand(*batch, inner, columns, device=device)
                work = functools.partial(torch.bmm, a, b)
            else:
                work = functools.partial(torch.nn.functional.linear, a,
                                         torch.rand(columns, inner, device=device))
            work()
            total += 12 * min(_seconds(work, device) for _ in range(repeats))
        patches, kernel = torch.rand(n * 196, 768, device=device), torch.rand(768, 768, device=device)
        total += min(_seconds(functools.partial(torch.mm, patches, kernel), device) for _ in range(repeats))
    return total / n


def _seconds(work: Callable[[], object], device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def rows_of_speed(bench: Bench) -> Iterator[Row]:
    """Measure the whole loop, its share of the arithmetic limit, and the time of its parts."""
    device, precision, gpu = bench.device, bench.precision, bench.device == "cuda"
    backbone = make_backbone(device)
    ours(backbone, bench.pairs[:4], ALL, device, precision)  # warm
    yield Row("pairs", f"{len(bench.pairs)} on {len({pair.ref for pair in bench.pairs})} references, "
                       f"{bench.tiles(bench.pairs)} tiles, {precision}")
    peaks = []
    if gpu:
        torch.cuda.reset_peak_memory_stats()
        ours(backbone, bench.some, ALL, device, precision)
        peaks.append(torch.cuda.max_memory_allocated() / 2**30)
        torch.cuda.reset_peak_memory_stats()
    five = "five distances and the embedding"
    cases: tuple[tuple[str, Any, Any, float], ...] = (
        (five, ALL, False, 0.80), ("cosine", COSINE, False, 0.85),
        (f"{five}, compile=distances", ALL, "distances", 0.80))
    for label, metrics, compiled, least in cases:
        if compiled:
            first = ours(backbone, bench.pairs[:4], metrics, device, precision, compiled=compiled)
            yield Row("compile=distances, the first pairs", f"{first:.1f} s", first)
        before = limit_of_a_tile(device, precision)
        profile = unmeasured if gpu else Profile()  # which waits for a GPU at each step
        seconds = ours(backbone, bench.pairs, metrics, device, precision, compiled=compiled, measure=profile)
        if gpu and not peaks[1:]:
            peaks.append(torch.cuda.max_memory_allocated() / 2**30)
        limit = (before + limit_of_a_tile(device, precision)) / 2 * bench.tiles(bench.pairs)
        full = gpu and len(bench.pairs) == 23_200 and metrics is ALL
        yield Row(label, f"{seconds:.1f} s, {bench.tiles(bench.pairs) / seconds:.4g} tiles a second", seconds,
                  "at most 25 s" if full else "", seconds <= 25 if full else None)
        yield Row(f"{label}: share of the arithmetic limit", f"{limit / seconds:.0%} (limit {limit:.1f} s)",
                  limit / seconds, "" if gpu else f"at least {least:.0%}",
                  None if gpu else limit / seconds >= least)
        if isinstance(profile, Profile):
            yield from rows_of_a_profile(profile, seconds, label, limit, most_in_distances=0.10)
    if gpu:
        yield Row("GPU memory, an eighth of the pairs and all", f"{peaks[0]:.2f} and {peaks[1]:.2f} GiB",
                  peaks[1] / peaks[0], "flat: at most 5 % more", peaks[1] <= 1.05 * peaks[0])
        for compiled in (False, "distances"):
            label = "profile, compile=distances" if compiled else "profile"
            profile = Profile(torch.cuda.synchronize)
            seconds = ours(backbone, bench.some, ALL, device, precision, compiled=compiled, measure=profile)
            limit = limit_of_a_tile(device, precision) * bench.tiles(bench.some)
            yield Row(f"{label}: {len(bench.some)} pairs", f"{seconds:.1f} s", seconds)
            yield from rows_of_a_profile(profile, seconds, label, limit)


def rows_of_a_profile(profile: Profile, total: float, label: str, limit: float,
                      most_in_distances: float | None = None) -> Iterator[Row]:
    """Seconds and shares of the steps that take half a percent or more; decoding is done in other threads."""
    for name, spent in sorted(profile.seconds.items(), key=lambda item: -item[1]):
        share = spent / total
        if share < 0.005:
            continue
        held = name == "distances" and most_in_distances is not None
        yield Row(f"{label}: {name}", f"{spent:.2f} s, {share:.1%}"
                  + (f"; at {limit / spent:.0%} of the products' speed" if name == "model" else ""), share,
                  f"at most {most_in_distances:.0%}" if held else "",
                  share <= most_in_distances if held and most_in_distances is not None else None)


def rows_of_the_official_loop(bench: Bench) -> Iterator[Row]:
    """Ours and the official loop, before and after."""
    gpu = bench.device == "cuda"
    backbone = make_backbone(bench.device)
    ours(backbone, bench.pairs[:4], ALL, bench.device, bench.precision)  # warm
    for what, label, metrics in (("all", "five distances and the embedding", ALL),
                                 ("cosine", "cosine", COSINE)):
        few = bench.few if what == "all" or not gpu else bench.few // 4
        before = official(bench.folder, few, what, bench.device)
        our_seconds = ours(backbone, bench.pairs, metrics, bench.device, bench.precision)
        both = [before] if gpu else [before, official(bench.folder, few, what, bench.device)]
        their_seconds = sum(both) / len(both) / few * len(bench.pairs)
        full = gpu and what == "all"
        yield Row(f"{label}, against the official loop on {few} pairs",
                  f"{our_seconds:.1f} s and {their_seconds:.0f} s: {their_seconds / our_seconds:.1f} times",
                  their_seconds / our_seconds, "at least 50 times" if full else "",
                  their_seconds >= 50 * our_seconds if full else None)


def rows_of_precision(bench: Bench) -> Iterator[Row]:
    """Seconds at each precision, and the largest relative differences of scores from fp32."""
    backbone, gpu = make_backbone(bench.device), bench.device == "cuda"
    for precision in ("fp32", "tf32", "bf16", "fp16") if gpu else ("fp32", "bf16"):
        ours(backbone, bench.some[:16], ALL, bench.device, precision)  # warm
        seconds = ours(backbone, bench.some, ALL, bench.device, precision)
        off = " (TF32 off)" if gpu and precision == "fp32" else ""
        yield Row(f"{len(bench.some)} pairs, {precision}{off}", f"{seconds:.1f} s", seconds)
    part = bench.some[:240 if gpu else 12]
    exact = score(backbone, part, ALL, bench.device)[1]
    for precision in ("tf32", "bf16", "fp16", "compile=distances") if gpu else ("bf16", "compile=distances"):
        compiled = "distances" if precision.startswith("compile") else False
        _, found = score(backbone, part, ALL, bench.device, "fp32" if compiled else precision,
                         compiled=compiled)
        yield _row_of_differences(f"{precision} against fp32, {len(part)} pairs", found, exact)
    if gpu:
        part = part[:24]
        on_cpu = score(make_backbone("cpu"), part, ALL, "cpu")[1]
        yield _row_of_differences(f"GPU against CPU, fp32, {len(part)} pairs",
                                  {metric: values[:len(part)] for metric, values in exact.items()}, on_cpu)


def _row_of_differences(what: str, found: dict[tuple[str, ...], np.ndarray],
                        exact: dict[tuple[str, ...], np.ndarray]) -> Row:
    worst = {"-".join(metric): float(np.abs(found[metric] / exact[metric] - 1).max()) for metric in exact}
    return Row(f"largest relative difference: {what}",
               ", ".join(f"{name} {value:.1e}" for name, value in worst.items()), max(worst.values()))


def rows_of_switches(bench: Bench) -> Iterator[Row]:
    """Batch sizes, memory and compilation, each on and off."""
    device, precision, gpu = bench.device, bench.precision, bench.device == "cuda"
    backbone = make_backbone(device)
    for size in (1, 8) if bench.quick else (1, 2, 4, 8, 16, *((32, 64, 128, 256, 512) if gpu else ())):
        batch = torch.rand(size, 3, 224, 224, device=device)
        with torch.inference_mode(), arithmetic(precision, device):
            best = min(_seconds(functools.partial(backbone, batch), device) for _ in range(4))
        yield Row(f"model alone, {size} tiles a batch", f"{size / best:.1f} tiles a second", size / best)
    part = bench.some if gpu else bench.some[:15]
    for size in (64, 128, 256) if gpu else (8,) if bench.quick else (4, 8, 16):
        seconds = ours(backbone, part, ALL, device, precision, batch_tiles=size)
        yield Row(f"{len(part)} pairs, batch_tiles={size}", f"{seconds:.1f} s", seconds)
    if not gpu and not bench.quick:
        done = subprocess.run([sys.executable, str(Path(__file__).with_name("benchmark_memory.py"))],
                              check=True, capture_output=True, text=True)
        yield Row("EfficientNet-Lite0 and five distances, freed memory kept", done.stdout.strip())
    choices: list[tuple[str, Callable[[str], TimmBackbone], list[bool | str]]] = [
        ("DINOv1", make_backbone, [False, "distances", *([] if bench.quick else [True])])]
    if not gpu and not bench.quick:  # compiling for each shape of a CNN's maps takes too long for `make gpu`
        choices.append(("EfficientNet-Lite0", make_small_backbone, [False, "distances", True]))
    for name, make, switches in choices:
        torch.compiler.reset()  # code compiled for the shapes of several models at once is slow
        for compiled in switches:
            chosen = make(device)
            first = ours(chosen, part, ALL, device, precision, compiled=compiled) if compiled else None
            seconds = ours(chosen, part, ALL, device, precision, compiled=compiled)
            yield Row(f"{name}, {len(part)} pairs, compile={str(compiled).lower()}", f"{seconds:.1f} s"
                      + (f"; the first time {first:.1f} s" if first else ""), seconds)


def rows_of_decoding(bench: Bench) -> Iterator[Row]:
    """Decoding and tiling alone: the engine's loader, and plain decoding by threads and by processes."""
    paths = [str(pair.dis_path) for pair in bench.some]
    most = _workers(bench.device)
    counts = [count for count in (1, 2, 4, 8, 16) if count <= most]
    for workers in counts:
        loader = Loader(bench.some, {"original": Original()}, 224, 200, workers, ahead=2 * workers)
        start = time.perf_counter()
        images = sum(len(variants) for block in loader.blocks(lambda *_: True) for variants in block)
        rate = images / (time.perf_counter() - start)
        yield Row(f"loader, {workers} threads", f"{rate:.0f} images a second", rate)
    for kind in (ThreadPoolExecutor, functools.partial(ProcessPoolExecutor,
                                                       mp_context=multiprocessing.get_context("spawn"))):
        with kind(most) as pool:
            list(pool.map(_decode, paths[:most] * 4, chunksize=1))  # start them
            start = time.perf_counter()
            list(pool.map(_decode, paths, chunksize=16))
            rate = len(paths) / (time.perf_counter() - start)
        name = "threads" if kind is ThreadPoolExecutor else "processes, pixels not handed over"
        yield Row(f"decoding alone, {most} {name}", f"{rate:.0f} images a second", rate)


def _decode(path: str) -> int:
    return len(extract_tiles(np.asarray(open_rgb(Path(path)))))


def rows_of_the_command(bench: Bench) -> Iterator[Row]:
    """Measure whole processes: memory at two sizes of data set, and a finished run asked again."""
    folder = bench.folder.parent
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
    yield Row("memory at 8 and at 80 pairs, DINOv1", " and ".join(f"{peak:.2f} GiB" for peak in peaks),
              max(peaks), "at most 3 GiB", max(peaks) <= 3)
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.perf_counter() - start
    yield Row("a finished run asked again", f"{seconds:.1f} s", seconds, "at most 3 s", seconds <= 3)


def _peak_memory(command: list[str]) -> float:
    """GiB of the process at its largest."""
    code = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
            "capture_output=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    done = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024) / 2**30


SECTIONS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "speed": rows_of_speed, "official": rows_of_the_official_loop, "precision": rows_of_precision,
    "decoding": rows_of_decoding, "switches": rows_of_switches, "command": rows_of_the_command}
USUAL = {"cpu": "speed,switches,command", "cuda": "speed,precision,official,decoding,switches"}


def make_bench(device: str, folder: Path, *, quick: bool) -> Bench:
    """Return the data set of a device; make it in `folder` unless it is there."""
    shape, size, tiles = ((200, 116), (288, 288), 4) if device == "cuda" else ((1, 47), (512, 384), 6)
    if quick:
        shape, size, tiles = (1, 3), (256, 240), 4
    pairs = make_pairs(folder, *shape, size)
    some = pairs[:len(pairs) // 8] if device == "cuda" and not quick else pairs
    return Bench(device, folder, pairs, some, 1 if quick else 200 if device == "cuda" else 4, tiles, quick)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--sections", help=f"of {','.join(SECTIONS)}; by default {USUAL['cpu']}, on a GPU "
                                           f"{USUAL['cuda']}")
    parser.add_argument("--quick", action="store_true", help="a few pairs: does it run?")
    parser.add_argument("--images", type=Path, help="folder for the images, kept (default: a temporary one)")
    parser.add_argument("--json", type=Path, help="file for the rows, rewritten after each")
    options = parser.parse_args()
    device, described = pick_device(options.device)
    if device == "cpu":
        keep_freed_memory()
    sections = (options.sections or USUAL[device]).split(",")
    if unknown := [name for name in sections if name not in SECTIONS]:
        parser.error(f"unknown section {unknown[0]!r}; choose from {', '.join(SECTIONS)}")
    print(f"{described}; torch {torch.__version__}\n\n| | | target |\n|---|---|---|", flush=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = make_bench(device, options.images or Path(folder) / "pairs", quick=options.quick)
        for section in sections:
            for row in SECTIONS[section](bench):
                print(row, flush=True)
                rows.append({"section": section, **asdict(row)})
                if options.json:
                    options.json.write_text(json.dumps({"device": described, "torch": torch.__version__,
                                                        "rows": rows}, indent=1))
    print(f"\nthis process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30:.2f} GiB at "
          f"its largest")


if __name__ == "__main__":
    main()
