"""A small store of scores at levels, written as a run writes it."""

import math

import numpy as np
from conftest import write_stored

from zsiqa.perturbations import Level, name_of
from zsiqa.results.scores import ScoreKey

LEVELS = {("translate_x", "px"): [2, 4, 8], ("translate_y", "px"): [2, 4, 8],
          ("dilate", "pct"): [1, 2, 3], ("rotate", "deg"): [1, 3, 5]}
REFERENCES, VERSIONS = 9, 6
REFS = np.repeat([f"r{number}.png" for number in range(REFERENCES)], VERSIONS)
LABELS = np.random.default_rng(5).permutation(np.arange(REFERENCES * VERSIONS)).astype(float)
# Noise on original images, noise that a full level adds, response of a reference at a full level.
METRICS = {"tolerant": (1.0, 0.5, 0.5), "fragile": (0.1, 60.0, 90.0), "wrong": (500.0, 0.5, 0.61)}


def write(root, dataset, metric, perturbation, refs, labels, values, higher_is_better=False,
          notes=()):
    labelled = not dataset.endswith("_references")
    write_stored(root, ScoreKey(dataset, metric, perturbation), values,
                 labels if labelled else [math.nan] * len(labels), refs=refs, types=["blur"] * len(refs),
                 ids=[f"{dataset}/{number}" for number in range(len(refs))] if labelled else list(refs),
                 notes=notes, identity={"perturbation": perturbation},
                 about={"score": {"higher_is_better": higher_is_better}})


def names():
    """Each perturbation with the share of its curve's last level."""
    return {name_of(Level(family, float(level), unit)): level / levels[-1]
            for (family, unit), levels in LEVELS.items() for level in levels}


def write_store(root, dataset="mine", references=True):
    """Three metrics of kinds: hardly moved, good but moved, and wrong everywhere."""
    rng = np.random.default_rng(0)
    own = sorted(set(REFS))
    for metric, (noise, moved, response) in METRICS.items():
        base = 60 - LABELS + np.abs(rng.normal(0, noise, len(LABELS)))
        for place, (name, share) in enumerate({"original": 0.0, **names()}.items()):
            write(root, dataset, metric, name, REFS, LABELS, base + rng.normal(0, moved * share, len(LABELS)))
            if references:
                write(root, f"{dataset}_references", metric, name, own, [0.0] * len(own),
                      response * share * (1 + np.arange(len(own)) / 10)
                      + place / 1024 * (not name.startswith("rotate")))  # no two files with equal scores
    return root
