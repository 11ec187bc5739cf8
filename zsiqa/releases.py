"""Facts of the published data sets (counts, directions, distortion types, digests) and of metrics."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import yaml

from zsiqa import CONFIGS

FILE = CONFIGS / "published.yaml"
UNKNOWN = "unknown"  # value of a setting that a score file does not have


@functools.cache
def published() -> Mapping[str, Mapping[str, Any]]:
    """Load `configs/published.yaml` (cached): facts by data set, including its `name`."""
    read: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {name: {"name": name, **facts} for name, facts in read.items()}


class MetricFacts(NamedTuple):
    """Facts about a metric that a reader of its numbers must know.

    Attributes:
        title: its name in print; "" for the name of its scores.
        trained_on: data sets of human opinion that it learned from.
        unlike_authors: difference from how the metric's authors make such scores, or why it is not known; ""
            if there is nothing to say.
        as_authors: whether they were made as the metric's authors make them; None if that is not known.
    """

    title: str = ""
    trained_on: tuple[str, ...] = ()
    unlike_authors: str = ""
    as_authors: bool | None = None

    @property
    def use(self) -> dict[str, str]:
        """Columns of a table: `as_authors` (yes, no or unknown) and its reason, `unlike_authors`."""
        answer = {True: "yes", False: "no", None: UNKNOWN}[self.as_authors]
        return {"as_authors": answer, "unlike_authors": self.unlike_authors}


def metric_facts(metric: str, config: Mapping[str, Any] | None = None,
                 changed: Iterable[tuple[str, Any, Any]] = (), own_weights: bool = False) -> MetricFacts:
    """Return the facts about a metric from `configs/metrics.yaml`; none if it is not there.

    Args:
        metric: its name, with its scale.
        config: of the run that made the scores; None if they are published.
        changed: settings of the metric that are not as shipped: name, value, shipped value.
        own_weights: whether the weights are not known to be the shipped ones.

    Examples:
        >>> metric_facts("dists").unlike_authors, metric_facts("dists@short_256").as_authors
        ('scale native, its authors use short_256', True)
    """
    name, _, scale = metric.partition("@")
    entry = _entry(name)
    known = _entry(entry.get("variant_of", name))
    reasons = [entry["unlike_authors"]] if "unlike_authors" in entry else []
    as_authors = False if reasons else None
    if theirs := entry.get("authors"):
        ours = {"scale": scale or "native"}
        if config is not None:
            settings = config.get("baselines", {}).get(name, config)
            ours |= {key: select(settings, key) for key in theirs if key != "scale"}
        others = [key for key, value in ours.items() if value not in (*_listed(theirs[key]), UNKNOWN)]
        if config and not others:  # the default is not what was run
            reasons = []
        # Where a sentence explains the default, only another scale has to be added to it.
        reasons += [f"{key} {_spelt(ours[key])}, its authors use {_spelt(theirs[key])}" for key in others
                    if key == "scale" or not reasons]
        reasons += [f"{key} {_spelt(value)}, its authors use {_spelt(shipped)}"
                    for key, value, shipped in changed if key not in theirs]
        as_authors = False if reasons else None if own_weights or UNKNOWN in ours.values() else True
        reasons += ["weights of your own"] if own_weights else []
    return MetricFacts(known.get("title", ""), tuple(known.get("trained_on", ())), "; ".join(reasons),
                       as_authors)


def joint_use(uses: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Join the columns of several sets of scores: the worst answer, "" if there are none, and all reasons."""
    uses = list(uses)
    answers = {use["as_authors"] for use in uses}
    return {"as_authors": next((answer for answer in ("no", UNKNOWN, "yes") if answer in answers), ""),
            "unlike_authors": "; ".join(dict.fromkeys(use["unlike_authors"] for use in uses
                                                      if use["unlike_authors"]))}


def describe_uses(uses: Iterable[tuple[str, Mapping[str, str]]]) -> list[str]:
    """Name the metrics that were not run as by their authors, with the difference, or why it is not known.

    Equal reasons share a line.

    Args:
        uses: name of a metric, and the columns of `MetricFacts.use`.
    """
    reasons: dict[tuple[str, str], dict[str, None]] = {}
    for metric, use in uses:
        if why := use["unlike_authors"]:
            what = "unlike its authors" if use["as_authors"] == "no" else "authors' use unknown"
            reasons.setdefault((what, why), {})[metric] = None
    return [f"{what}: {', '.join(metrics)}: {why}" for (what, why), metrics in reasons.items()]


def variant_of(metric: str) -> str:
    """Return the metric that another one is a variant of, by `configs/metrics.yaml`; else its own name."""
    return str(_entry(metric).get("variant_of", metric))


@functools.cache
def _entry(name: str) -> Mapping[str, Any]:
    """Return the entry of a metric in `configs/metrics.yaml`, by its name or the first pattern that fits."""
    known = _metrics()
    fitting = [name] if name in known else [one for one in known if fnmatch.fnmatchcase(name, one)]
    return known[fitting[0]] if fitting else {}


@functools.cache
def _metrics() -> Mapping[str, Mapping[str, Any]]:
    read: dict[str, dict[str, Any]] = yaml.safe_load((CONFIGS / "metrics.yaml").read_text(encoding="utf-8"))
    return read


def select(settings: Any, name: str) -> Any:
    """Return a setting by its dotted name; `UNKNOWN` if there is none."""
    for part in name.split("."):
        settings = settings.get(part, UNKNOWN) if isinstance(settings, Mapping) else UNKNOWN
    return settings


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _spelt(value: Any) -> str:
    """Spell a value as on the command line, and a list of possible values."""
    if isinstance(value, list):
        return " or ".join(map(_spelt, value))
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


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
