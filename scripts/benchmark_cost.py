"""Cost of every metric: `python scripts/benchmark_cost.py [NAME ...]` writes zsiqa/evaluation/cost.csv.

NAME: backbones and baselines to measure again (all). Each is measured in a process of its own, on one core,
with random weights where the real ones are not on this machine: they are as fast. Times are CPU time, the
least of several repetitions: other work on the machine prolongs it less than wall time. What the columns mean
is in zsiqa/evaluation/cost.py. Needs the extra `baselines`, no network.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zsiqa import CONFIGS
from zsiqa.evaluation.cost import FILE

NO_MODEL = {"timm", "open_clip", "none", "all", "extended"}
WIDTH, HEIGHT = 512, 384
SECONDS, LEAST, MOST = 4.0, 2, 20  # repetitions: for so long, but at least and at most so many
COLUMNS = ["metric", "ms_pair", "ms_further", "peak_mib", "parameters", "download_mib", "machine"]


def images() -> Any:
    """Make a smooth image and the same with noise, (2, H, W, 3) uint8."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.float32)
    grain = random.normal(0, [[[[3]]], [[[12]]]], (2, HEIGHT, WIDTH, 3))
    return (smooth + grain).clip(0, 255).astype(np.uint8)


def milliseconds(work: Callable[[], object]) -> float:
    """CPU time of one call, the least of several."""
    work()
    times: list[float] = []
    while len(times) < LEAST or (len(times) < MOST and sum(times) < SECONDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def measure(name: str) -> Iterator[list[Any]]:
    """Rows of one backbone or baseline, without the machine; see `COLUMNS`."""
    import torch

    from zsiqa.config import compose, instantiate
    from zsiqa.distances import compare
    from zsiqa.runs.machine import keep_freed_memory
    from zsiqa.scoring.tiling import extract_tiles

    keep_freed_memory()
    torch.set_num_threads(1)
    is_backbone = (CONFIGS / f"backbone/{name}.yaml").exists()
    distances: dict[str, Any]
    if is_backbone:
        cfg = compose(f"backbone={name}", "backbone.pretrained=false", "distance=all")
        model = instantiate(cfg.backbone.model, weights=None)
        tiles = torch.cat([torch.from_numpy(extract_tiles(image, window=cfg.window, stride=cfg.stride))
                           for image in images()])
        distances = {f"{name}-{representation}-{distance}": (representation, instantiate(node.fn))
                     for representation in cfg.backbone.representations
                     for distance, node in cfg.distances.items()}
    else:
        cfg = compose(f"baseline={name}")
        files = files_here(cfg, name)
        baseline = instantiate(cfg.baselines[name].model, **files)
        tiles, distances = torch.from_numpy(images()), {name: (name, baseline.compare)}
        model = torch.nn.ModuleDict({name: baseline})
        model.forward = lambda x: {name: baseline.encode(x)}
    pixels = tiles.permute(0, 3, 1, 2).float() / 255  # channels last in memory, as in the engine
    half = len(pixels) // 2
    rows = []
    with torch.inference_mode():
        encode = milliseconds(lambda: model(pixels)) / 2
        encoded = model(pixels)
        for metric, (representation, distance) in distances.items():
            ref, dis = ([stack[part] for stack in encoded[representation]]
                        for part in (slice(half), slice(half, None)))
            compared = milliseconds(lambda: compare([distance], tuple(ref), tuple(dis)))  # noqa: B023
            rows.append((metric, 2 * encode + compared, encode + compared))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**20
    parameters = sum(parameter.numel() for parameter in model.parameters())
    node = cfg.backbone if is_backbone else cfg.baselines[name]
    size = download_bytes(node) if node.weights else 0
    if "calibration" in node and node.calibration:
        size += instantiate(node.calibration).stat().st_size
    for metric, pair, further in rows:
        yield [metric, *(f"{float(f'{value:.3g}'):g}" for value in (pair, further)), round(peak), parameters,
               f"{size / 2**20:.1f}"]


def files_here(cfg: Any, name: str) -> dict[str, Path | None]:
    """Files of a baseline, None for weights that are not on this machine."""
    from zsiqa.backbones.weights import find_baseline_files
    from zsiqa.types import WeightsError

    try:
        return dict(find_baseline_files(cfg.baselines, download=False)[name])
    except WeightsError:
        without = cfg.copy()
        without.baselines[name].weights = None
        return {**find_baseline_files(without.baselines, download=False)[name], "weights": None}


def download_bytes(node: Any) -> float:
    """Size of the file with weights; if it is not here, torchvision's figure, or the model in float32."""
    import open_clip
    import timm
    from torchvision.models import get_model_weights, list_models

    from zsiqa.config import instantiate
    from zsiqa.types import WeightsError

    try:
        return float(instantiate(node.weights, download=False).stat().st_size)
    except WeightsError:
        pass
    source = str(node.weights.source)
    for name in list_models():
        for weights in get_model_weights(name) if source.startswith("https:") else ():
            if weights.url == source:
                return float(weights.meta["_file_size"]) * 2**20
    build = timm.create_model if "TimmBackbone" in node.model._target_ else open_clip.create_model
    model = build(node.model_name)
    return float(sum(tensor.numel() * 4 for tensor in model.state_dict().values()))


def processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines()
             if line.startswith("model name")] if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    """Measure, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="backbones and baselines (all)")
    parser.add_argument("--here", action="store_true", help="measure in this process, and print")
    options = parser.parse_args()
    names = [file.stem for group in ("baseline", "backbone")
             for file in sorted((CONFIGS / group).glob("*.yaml")) if file.stem not in NO_MODEL]
    if unknown := set(options.names) - set(names):
        parser.error(f"no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if options.here:
        csv.writer(sys.stdout, lineterminator="\n").writerows(row for name in options.names
                                                              for row in measure(name))
        return
    import torch

    machine = f"one core of an {processor()}, PyTorch {torch.__version__}"
    found: dict[str, list[list[str]]] = {name: [] for name in names}  # rows, by backbone or baseline
    if FILE.exists():
        with FILE.open(newline="", encoding="utf-8") as stream:
            for row in csv.reader(stream):
                found.get(row[0].split("-")[0], []).append(row)
    for name in options.names or names:
        done = subprocess.run([sys.executable, __file__, "--here", name], check=True, stdout=subprocess.PIPE,
                              text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        found[name] = [[*row, machine] for row in csv.reader(done.stdout.splitlines())]
        print(*(" ".join(row[:4]) for row in found[name]), f"load {os.getloadavg()[0]:.1f}", sep="\n",
              flush=True)
        with FILE.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *(row for rows in found.values()
                                                                          for row in rows)])


if __name__ == "__main__":
    main()
