"""Runs: plan score files, fill them, resume, sweep."""

from omegaconf import OmegaConf

from zsiqa.runs.gpus import list_gpus
from zsiqa.runs.machine import code_digest

# For configs/hydra/launcher.
OmegaConf.register_new_resolver("code_digest", code_digest, replace=True)
OmegaConf.register_new_resolver("count_gpus", lambda: max(1, len(list_gpus())), replace=True)
