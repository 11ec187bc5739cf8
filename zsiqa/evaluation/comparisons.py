"""Comparisons that a claim consists of, each with the effect that must be above 0."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np

# (metric, perturbation) -> coefficients: the value, then one of each resample, or of each reference.
Lookup = Callable[[str, str], np.ndarray]
Effect = Callable[[Lookup], np.ndarray]


class Comparison(NamedTuple):
    """One comparison of a claim.

    Attributes:
        text: the comparison in words.
        dataset, perturbation, coefficient: of the scores.
        metrics: all metrics in it.
        effect: computes the effect, in the same layout as its `Lookup`.
        value, low, high: the effect, with its interval over resampled references; NaN without scores.
        p: p-value of no effect, by Student's t over resampled references, after Holm's correction over all
            comparisons of all claims.
        within, p_within: mean of the effect within each reference, and its p-value by Student's t over
            references, after the same correction.
        missing: why there is no value.
    """

    text: str
    dataset: str
    perturbation: str
    coefficient: str
    metrics: frozenset[str]
    effect: Effect
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    within: float = math.nan
    p_within: float = math.nan
    missing: str = ""


def list_comparisons(claim: Mapping[str, Any],
                     swapped: Mapping[str, str] | None = None) -> Iterator[Comparison]:
    """List the comparisons of a claim, without values.

    Args:
        claim: as in a file of configs/claims.
        swapped: metrics to replace by others.
    """
    def name(metric: str) -> str:
        return (swapped or {}).get(metric, metric)

    for dataset, perturbation, coefficient in product(
            claim["datasets"], claim.get("perturbations", ["original"]), claim.get("coefficients", ["srcc"])):
        for text, metrics, effect in _effects(claim, perturbation, name):
            yield Comparison(text, dataset, perturbation, coefficient, frozenset(metrics), effect)


def _effects(claim: Mapping[str, Any], perturbation: str,
             name: Callable[[str], str]) -> Iterator[tuple[str, list[str], Effect]]:
    """List text, metrics and effect of each comparison of a claim under a perturbation.

    Args:
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
