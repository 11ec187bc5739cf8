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
from zsiqa.results.scores import ScoreKey, Scores, align

DATASETS = {"live": "LIVE", "tid2013": "TID2013", "pipal": "PIPAL"}
MEASURES = {"skld": "deepkld", "jsd": "deepjsd", "wsd": "deepwsd"}


def compare(ours: Scores, theirs: Scores) -> str:
    """Return the cells of a row: pairs, both SRCC, difference, interval, correlation of the two scores."""
    other = -align(theirs, ours.pairs).values
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
    liao, official = (open_folder(Path(folder)) for folder in sys.argv[1:])
    print("| set | measure | pairs | as it is | pooled | difference | SRCC of the two |\n"
          "|---|---|---|---|---|---|---|")
    for dataset, title in DATASETS.items():
        for network in ("vgg19", "efficientnet_b7"):
            for distance, measure in MEASURES.items():
                ours, theirs = (folder.load_fullest(ScoreKey(dataset, metric, "original"))
                                for folder, metric in ((official, f"{network}-features-{distance}"),
                                                       (liao, f"{measure}_{network}")))
                print(f"| {title} | {network} {distance} | {compare(ours, theirs)} |", flush=True)


if __name__ == "__main__":
    main()
