"""Facts of the published data sets (counts, directions, distortion types, digests) and of metrics."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import yaml

from zsiqa import CONFIGS

FILE = CONFIGS / "published.yaml"


@functools.cache
def published() -> Mapping[str, Mapping[str, Any]]:
    """Load `configs/published.yaml` (cached): facts by data set, including its `name`."""
    read: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {name: {"name": name, **facts} for name, facts in read.items()}


class MetricFacts(NamedTuple):
    """Facts about a metric that change how its numbers may be read.

    Attributes:
        title: its name in print; "" for the name of its scores.
        trained_on: data sets of human opinion that it learned from.
        unlike_authors: how these scores were made otherwise than the metric's authors make them; "" if not.
    """

    title: str = ""
    trained_on: tuple[str, ...] = ()
    unlike_authors: str = ""


@functools.cache
def metric_facts(metric: str) -> MetricFacts:
    """Load the facts about a metric from `configs/metrics.yaml` (cached); none if it is not there."""
    known: dict[str, dict[str, Any]] = yaml.safe_load((CONFIGS / "metrics.yaml").read_text(encoding="utf-8"))
    facts = known.get(metric, {})
    return MetricFacts(facts.get("title", ""), tuple(facts.get("trained_on", ())),
                       facts.get("unlike_authors", ""))


def labels_sha256(ids: Iterable[str], refs: Iterable[str], labels: Iterable[float],
                  facts: Mapping[str, Any]) -> tuple[str, str]:
    """Compute the SHA-256 of the labels; return it and the release's.

    The lines are `pair_id,ref_id,mos`, or `pair_id` (configs/published.yaml).

    Args:
        ids: pair_id of each pair, in the release's order.
        refs: names of the references, with or without suffix.
        labels: as the evaluator uses them.
        facts: of the data set.
    """
    released = facts.get("names_sha256")
    text = "\n".join(pair_id if released else f"{pair_id},{ref_id(ref, facts)},{label:.6f}"
                     for pair_id, ref, label in zip(ids, refs, labels, strict=True))
    return hashlib.sha256(text.encode()).hexdigest(), released or facts["sha256"]


def ref_id(ref: str, facts: Mapping[str, Any]) -> str:
    """Name a reference as the digests do: the stem, in lower case where the release mixes cases."""
    stem = ref.rsplit(".", 1)[0]
    return stem.lower() if facts["case"] == "lower" else stem
