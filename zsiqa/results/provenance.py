"""Origin of score files, from their sidecars or parts: one entry for all files of the same origin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsiqa.results.score_file import read_about
from zsiqa.results.scores import ScoreKey
from zsiqa.types import StoreError


@dataclass(frozen=True)
class Run:
    """Origin of the score files whose sidecars differ in metric and perturbation only."""

    dataset: str
    metrics: tuple[str, ...]
    perturbations: tuple[str, ...]
    complete: bool
    weights: str
    sessions: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]


def read_runs(files: Mapping[ScoreKey, Path]) -> list[Run]:
    """Read the origin of score files; those that do not state it, such as the authors', are left out.

    Args:
        files: paths by key.
    """
    groups: dict[str, list[tuple[ScoreKey, dict[str, Any]]]] = {}
    for key, path in sorted(files.items()):
        try:
            stated = read_about(path)
        except StoreError:
            continue
        about: dict[str, Any] = {
            "dataset": key.dataset, "complete": path.with_suffix(".json").is_file(),
            "weights": _weights(stated["identity"]), "sessions": list(stated.get("sessions", ())),
            "notes": stated["notes"]}
        groups.setdefault(json.dumps(about, sort_keys=True), []).append((key, about))
    runs = []
    for members in groups.values():
        about = members[0][1]
        runs.append(Run(about["dataset"], _names(key.metric for key, _ in members),
                        _names(key.perturbation for key, _ in members), about["complete"], about["weights"],
                        tuple(about["sessions"]), tuple(about["notes"])))
    return runs


def _weights(identity: Mapping[str, Any]) -> str:
    """Describe the weights of an identity: their SHA-256, or a random seed."""
    weights = identity.get("weights")
    if isinstance(weights, Mapping):
        return ", ".join(f"{name} {value}" for name, value in weights.items())
    return "" if weights is None else str(weights)


def _names(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
