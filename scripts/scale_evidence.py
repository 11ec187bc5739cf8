"""Public per-image scores of one measure at two scales: `python scripts/scale_evidence.py LIAO ZSIQA`.

LIAO is the folder `results/Quality assessment` of the repository of Liao et al.,
Buka-Xing/Deep-network-based-distribution-measures-for-full-reference-image-quality-assessment, whose code
pools images to a long side of about 256 pixels. ZSIQA is the folder `results` of abhijay9/ZS-IQA, whose
scores of the same measures are of images as they are. Prints SRCC of both, and the difference with a 95 %
interval: percentiles of 2,000 resamples of the references, the same for both. docs/scale.md shows the result.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from zsiqa.evaluation.bootstrap import draw, percentile_interval, replicate
from zsiqa.results.folder import open_folder
from zsiqa.results.scores import ScoreKey, Scores

FOLDERS = {"live": "LIVE", "tid2013": "TID2013", "pipal": "PIPAL"}
NETWORKS = {"vgg19": ("VGG",), "efficientnet_b7": ("EfficientNet", "Efficient")}
MEASURES = {"skld": "KLD", "jsd": "JSD", "wsd": "WSD"}


def liaos(folder: Path, network: str, distance: str) -> dict[str, float]:
    """Read their scores, by the lower-case name of the image, `i01_01_1` or `jp2k/img2`."""
    raw = (folder / "ref_name.txt").read_bytes()
    names = raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8")
    # A line is a name and a label, in either order.
    images = [next(part for part in line.split() if part[-4:].lower() in (".bmp", ".png"))[:-4].lower()
              for line in names.splitlines() if line.strip()]
    [file] = [path for name in NETWORKS[network]
              if (path := folder / f"Deep{MEASURES[distance]}_{name}.txt").is_file()]
    scores = np.loadtxt(file)
    if len(scores) != len(images):
        sys.exit(f"{file} has {len(scores)} scores, ref_name.txt has {len(images)} names")
    return dict(zip((name.replace("_img", "/img") for name in images), scores.tolist(), strict=True))


def compare(ours: Scores, theirs: dict[str, float]) -> str:
    """Return the cells of a row: pairs, both SRCC, difference, interval, correlation of the two scores."""
    names = [pair_id.partition("/")[2].lower() for pair_id in ours.pairs.ids]
    if lacking := [name for name in names if name not in theirs]:
        sys.exit(f"{len(lacking)} pairs without a score, e.g. {lacking[0]}")
    other = -np.array([theirs[name] for name in names])
    use = np.isfinite(ours.quality) & np.isfinite(other)
    refs, groups = np.unique(ours.pairs.refs[use], return_inverse=True)
    weights = np.vstack([np.ones(len(refs), int), draw(len(refs))])
    methods = np.stack([ours.quality[use], other[use]])
    native, pooled = replicate(methods, ours.oriented_labels[use], groups, weights, ["srcc"])["srcc"]
    interval = percentile_interval((pooled - native)[1:])
    [[agreement]] = replicate(methods[:1], methods[1], groups, weights[:1], ["srcc"])["srcc"]
    return (f"{use.sum()} | {native[0]:.3f} | {pooled[0]:.3f} | {pooled[0] - native[0]:+.3f} "
            f"[{interval.low:+.3f}, {interval.high:+.3f}] | {agreement:.3f}")


def main() -> None:
    """Print the table."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    liao, official = Path(sys.argv[1]), open_folder(Path(sys.argv[2]))
    print("| set | measure | pairs | as it is | pooled | difference | SRCC of the two |\n"
          "|---|---|---|---|---|---|---|")
    for dataset, folder in FOLDERS.items():
        for network in NETWORKS:
            for distance in MEASURES:
                key = ScoreKey(dataset, f"{network}-features-{distance}", "original")
                scores = official.load_whole(key)
                if scores is None:
                    print(f"{key}: no complete file", file=sys.stderr)
                    continue
                print(f"| {folder} | {network} {distance} | "
                      f"{compare(scores, liaos(liao / folder, network, distance))} |", flush=True)


if __name__ == "__main__":
    main()
