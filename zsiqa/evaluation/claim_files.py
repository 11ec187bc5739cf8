"""Files of claims: configs/claims, or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from zsiqa import CONFIGS
from zsiqa.evaluation.correlation import COEFFICIENTS
from zsiqa.types import ZsiqaError, did_you_mean

# Entries that each rule needs, beside name, text, place in the paper, rule and data sets.
RULES = {"each": {"better", "than"}, "all": {"groups"}, "best": {"better", "than"}, "order": {"lists"},
         "equal": {"better", "than", "margin"}, "drop": {"metrics", "margin"}}
NEEDED = {"name", "text", "place", "rule", "datasets"}
OPTIONAL = {"perturbations", "coefficients"}


def read_claims(name: str) -> dict[str, Any]:
    """Read claims, checked.

    Args:
        name: of a file of configs/claims without suffix, or the path of a YAML file.

    Returns:
        `paper`, `claims`, and `counterparts` where there are any.

    Raises:
        ZsiqaError: if there is no such file, or it is not as docs/claims.md says.
    """
    known = sorted(path.stem for path in (CONFIGS / "claims").glob("*.yaml"))
    path = CONFIGS / "claims" / f"{name}.yaml" if name in known else Path(name)
    if not path.is_file():
        raise ZsiqaError(f"no claims {name}{did_you_mean(name, known)}; known are {', '.join(known)}, or "
                         f"give the path of a YAML file")
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ZsiqaError(f"{path}: not YAML ({error})") from error
    if not isinstance(read, dict) or not isinstance(read.get("claims"), list) or not read["claims"]:
        raise ZsiqaError(f"{path}: expected `paper` and a list of `claims`; docs/claims.md shows one")
    if unknown := sorted(set(read) - {"paper", "claims", "counterparts"}):
        raise ZsiqaError(f"{path}: unknown {', '.join(unknown)}; known are paper, claims, counterparts")
    for number, claim in enumerate(read["claims"], 1):
        if problem := _problem(claim):
            raise ZsiqaError(f"{path}: claim {number}: {problem}")
    return {"paper": str(read.get("paper", path.stem)), **read}


def _problem(claim: Any) -> str:
    """Return what is wrong with a claim; "" if nothing."""
    if not isinstance(claim, Mapping):
        return f"expected a mapping with {', '.join(sorted(NEEDED))}, found {claim!r}"
    if lacking := sorted(NEEDED - set(claim)):
        return f"lacks {', '.join(lacking)}"
    if claim["rule"] not in RULES:
        return f"rule {claim['rule']!r}; known are {', '.join(RULES)}"
    needed = RULES[claim["rule"]]
    if lacking := sorted(needed - set(claim)):
        return f"rule {claim['rule']} needs {', '.join(lacking)}"
    if unknown := sorted(set(claim) - NEEDED - OPTIONAL - needed):
        return f"unknown {', '.join(unknown)} under rule {claim['rule']}"
    if wrong := sorted(set(claim.get("coefficients", ())) - set(COEFFICIENTS)):
        return f"coefficients {', '.join(wrong)}; known are {', '.join(COEFFICIENTS)}"
    if claim["rule"] in ("each", "equal") and len(claim["better"]) != len(claim["than"]):
        return (f"`better` has {len(claim['better'])} metrics and `than` has {len(claim['than'])}; expected "
                f"pairs")
    if claim["rule"] == "order" and len({len(metrics) for metrics in claim["lists"]}) != 1:
        return "the lists have different lengths"
    return ""
