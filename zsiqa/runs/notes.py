"""Facts and notes that a run stores with its scores."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from zsiqa.config import plain, protocol_deviations
from zsiqa.results.files import digest
from zsiqa.types import Dataset


def describe(cfg: DictConfig, dataset: Dataset) -> dict[str, Any]:
    """Describe the data set and the configuration, for sidecars."""
    return {
        "dataset": {"name": dataset.name, "label": dataset.label,
                    "higher_is_better": dataset.higher_is_better, "pairs": len(dataset.pairs),
                    **({} if dataset.labelled else {"labelled": False}),
                    "labels_sha256": digest([pair.mos for pair in dataset.pairs])},
        "config": plain(cfg),
    }


def backbone_notes(cfg: DictConfig, distance: str) -> list[str]:
    """List the notes that must be shown with every score of the backbone under a distance."""
    random_weights = f"{cfg.backbone.label}: RANDOM WEIGHTS (seed {cfg.seed}): these scores mean nothing"
    train_mode = (f"official_train_mode=true: {cfg.backbone.label} in training mode, as the authors ran it, "
                  f"and so partly random (seed {cfg.seed}): another seed, other scores")
    node = cfg.distances[distance]
    steps = f"{node.get('in_half', 'all steps')} in half precision" if node.fn.get("half") else "in fp32"
    half = (f"precision=clip_fp16_official: {cfg.backbone.label} in half precision, as the authors ran it; "
            f"of {node.label}, {steps}")
    reduced = f"precision={cfg.precision}, where the paper has fp32"
    tiles = (f"whole images, where the paper has tiles of {cfg.backbone.window}" if cfg.window is None else
             f"window={cfg.window}, stride={cfg.stride}, where the paper has {cfg.backbone.window}, "
             f"{cfg.backbone.stride}")
    notes = {random_weights: not cfg.backbone.pretrained, protocol_note(cfg): True,
             train_mode: cfg.official_train_mode, half: cfg.precision == "clip_fp16_official",
             reduced: cfg.precision in ("tf32", "bf16", "fp16"),
             tiles: (cfg.window, cfg.stride) != (cfg.backbone.window, cfg.backbone.stride)}
    return [note for note, applies in notes.items() if note and applies]


def protocol_note(cfg: DictConfig) -> str:
    """Return the note on a protocol other than the paper's; "" for the paper's."""
    if others := protocol_deviations(cfg):
        return f"protocol={cfg.protocol.name} except for {', '.join(others)}"
    return str(cfg.protocol.note)
