"""Comparisons that a claim consists of: their text, their metrics, and the effect that must be above 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, product
from typing import Any

import numpy as np

# (metric, perturbation) -> coefficients: the value, then one of each resample, or of each reference.
Lookup = Callable[[str, str], np.ndarray]
Effect = Callable[[Lookup], np.ndarray]


def contrasts(claim: Mapping[str, Any], perturbation: str,
               name: Callable[[str], str]) -> Iterator[tuple[str, list[str], Effect]]:
    """List text, metrics and effect of each comparison of a claim under a perturbation.

    Args:
        claim: as in a file of configs/claims.
        perturbation: of the scores.
        name: maps a metric of the claim to the one that is used.
    """
    rule, margin = claim["rule"], claim.get("margin", 0.0)
    if rule == "each":
        for a, b in zip(map(name, claim["better"]), map(name, claim["than"]), strict=True):
            yield f"{a} > {b}", [a, b], partial(_difference, a, b, perturbation)
    elif rule == "all":
        for group in claim["groups"]:
            for a, b in product(map(name, group["better"]), map(name, group["than"])):
                yield f"{a} > {b}", [a, b], partial(_difference, a, b, perturbation)
    elif rule == "equal":
        for a, b in zip(map(name, claim["better"]), map(name, claim["than"]), strict=True):
            yield f"{a} = {b} to {margin}", [a, b], partial(_closeness, a, b, perturbation, margin)
    elif rule == "best":
        better, than = list(map(name, claim["better"])), list(map(name, claim["than"]))
        yield (f"best of {len(better)} > best of {', '.join(than)}", [*better, *than],
               partial(_between_best, better, than, perturbation))
    elif rule == "drop":
        for a in map(name, claim["metrics"]):
            yield f"{a} loses at most {margin}", [a], partial(_room, a, perturbation, margin)
    elif rule == "order":
        lists = [list(map(name, metrics)) for metrics in claim["lists"]]
        for i, j in combinations(range(len(lists[0])), 2):
            pairs = [(metrics[i], metrics[j]) for metrics in lists]
            yield (f"one order: {'; '.join(f'{a}, {b}' for a, b in pairs)}",
                   [metric for pair in pairs for metric in pair], partial(_weakest, pairs, perturbation))


def _difference(a: str, b: str, perturbation: str, at: Lookup) -> np.ndarray:
    return at(a, perturbation) - at(b, perturbation)


def _closeness(a: str, b: str, perturbation: str, margin: float, at: Lookup) -> np.ndarray:
    """Return by how much the distance of two metrics is below the margin."""
    difference = _difference(a, b, perturbation, at)
    return np.asarray(margin - np.copysign(1.0, difference[0]) * difference)


def _room(a: str, perturbation: str, margin: float, at: Lookup) -> np.ndarray:
    """Return by how much the loss under a perturbation is below the margin."""
    return at(a, perturbation) - at(a, "original") + margin


def _between_best(better: Sequence[str], than: Sequence[str], perturbation: str, at: Lookup) -> np.ndarray:
    """Return the difference of the best of some metrics and the best of others, chosen by their estimates."""
    one, other = (max((at(metric, perturbation) for metric in side), key=lambda values: float(values[0]))
                  for side in (better, than))
    return one - other


def _weakest(pairs: Sequence[tuple[str, str]], perturbation: str, at: Lookup) -> np.ndarray:
    """Return the smallest of differences, each oriented by the sign of their sum: below 0 if signs differ."""
    differences = [at(a, perturbation) - at(b, perturbation) for a, b in pairs]
    sign = np.copysign(1.0, sum(float(values[0]) for values in differences))
    return min((sign * values for values in differences), key=lambda values: float(values[0]))
