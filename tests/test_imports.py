"""Who may import whom, and what must not be imported on the way to an early answer."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Each module may import those named; nothing else of zsiqa.
ALLOWED = {
    "types": set(),
    "console": {"types", "folder", "measurement", "wording"},
    "perturbations": set(),
    "tiling": set(),
    "correlation": set(),
    "half_precision": set(),
    "distances": {"half_precision"},
    "progress": set(),
    "machine": {"types"},
    "weights": {"types"},
    "parts": {"types"},
    "pair_list": {"types"},
    "background": set(),
    "wording": set(),
    "slurm": set(),
    "journal": {"slurm"},
    "gpus": set(),
    "store": {"types", "parts", "pair_list"},
    "scores": {"types"},
    "mapping": set(),
    "bootstrap": set(),
    "comparison": set(),
    "identical": set(),
    "half_grid": {"scores", "correlation"},
    "figures": set(),
    "published": set(),
    "official": {"types", "scores", "published"},
    "folder": {"types", "scores", "store", "official", "published"},
    "measurement": {"types", "scores", "store", "folder", "correlation", "mapping", "bootstrap"},
    "verdicts": {"scores", "measurement"},
    "settings": {"types"},
    "datasets.pairs": {"types"},
    "datasets.demo": {"types", "datasets"},
    "datasets.release": {"types"},
    "datasets.matlab": set(),
    "datasets.live": {"types", "published", "datasets.release", "datasets.matlab"},
    **{f"datasets.{name}": {"types", "published", "datasets.release"}
       for name in ("tid2013", "pipal", "kadid10k", "csiq")},
    "selection": {"types", "sharding"},
    "backbones.liao": {"backbones.frozen", "backbones.state_dicts"},
    "backbones.vit_state_dicts": {"backbones.state_dicts"},
    "backbones.torchscript": set(),
    "backbones.state_dicts": {"types", "backbones.torchscript"},
    "backbones.frozen": {"types"},
    "backbones.timm_backbone": {"backbones.frozen", "backbones.state_dicts"},
    "backbones.open_clip_backbone": {"types", "backbones.frozen", "backbones.state_dicts"},
    "baselines.baseline": set(),
    "baselines.psnr": {"baselines.baseline"},
    "baselines.ms_ssim": {"baselines.baseline"},
    "baselines.fsimc": {"baselines.baseline"},
    "baselines.dists": {"baselines.baseline", "baselines.lpips", "backbones.liao", "backbones.state_dicts"},
    "baselines.lpips": {"baselines.baseline", "backbones.liao", "backbones.state_dicts"},
    "baselines.stlpips": {"baselines.lpips", "backbones.liao", "backbones.state_dicts"},
    "loading": {"types", "tiling", "profiling"},
    "scoring": {"types", "distances", "loading", "profiling", "warmup"},
    "tables": {"types", "scores", "measurement", "verdicts"},
    "rendering": {"tables", "verdicts"},
    "audit": {"types", "scores", "official", "folder", "measurement", "verdicts", "tables", "identical", "correlation",
              "half_grid"},
    "verification": {"types", "scores", "official", "folder", "correlation"},
    "analysis": {"types", "scores", "published", "folder", "correlation", "mapping", "bootstrap", "comparison",
                 "progress"},
    "analysis_report": {"analysis", "correlation", "figures"},
    "audit_report": {"audit", "correlation", "half_grid", "identical", "tables", "wording"},
    "provenance": {"types", "scores", "store"},
    "report.points": {"scores", "mapping"},
    "report.data": {"types", "scores", "published", "folder", "measurement", "store", "analysis", "tables",
                    "provenance", "report.points"},
    "report.images": {"types", "scores", "published", "store", "loading", "composition", "runner"},
    "report.page": {"analysis", "correlation", "provenance", "rendering", "tables", "report.data", "report.images",
                    "report.points"},
    "report.figures": {"figures", "mapping", "report.data", "report.points"},
    "commands.report": {"types", "console", "analysis", "report.data", "report.images", "report.page",
                        "report.figures"},
    "composition": {"types", "weights", "gpus", "machine"},
    "commands.weights": {"types", "weights", "composition"},
    "metric": {"types", "composition", "settings", "distances", "scoring", "tiling"},
    "torchmetrics": {"metric"},
    "heatmap": {"distances", "metric"},
    "targets": {"types", "settings", "store", "weights"},
    "sharding": {"types", "loading"},
    "cells": {"types", "scores", "store", "pair_list", "composition", "journal", "selection", "targets"},
    "sweeps": {"types", "scores", "settings", "composition", "cells"},
    "commands.status": {"cells", "sweeps", "wording"},
    "commands.merge": {"types", "store", "pair_list", "sharding", "journal", "wording"},
    "outcomes": {"types"},
    "commands.score": {"types", "console", "outcomes", "composition", "description", "inspection", "settings",
                       "machine", "pairing", "perturbations", "runner", "filling", "progress", "scoring", "heatmap",
                       "loading", "metric"},
    "profiling": set(),
    "warmup": set(),
    "pairing": {"types"},
    "description": {"types", "settings", "store", "targets", "correlation", "wording"},
    "filling": {"types", "background", "composition", "description", "journal", "machine", "profiling", "progress",
                "scoring", "slurm", "targets"},
    "runner": {"types", "composition", "console", "description", "filling", "journal", "machine", "settings", "slurm",
               "store", "scoring", "selection", "targets", "baselines.baseline"},
    "inspection": {"types", "loading", "datasets.release", "wording"},
    "commands.data": {"types", "published", "inspection", "datasets.release", "wording"},
    "commands.run": {"runner"},
    "commands.completion": set(),
    "commands.tables": {"types", "console", "wording", "measurement", "rendering", "tables"},
    "commands.audit": {"console", "audit", "audit_report"},
    "commands.verify": {"console", "folder", "verification"},
    "commands.stats": {"console", "folder", "analysis", "analysis_report"},
    "cli": {"types", "console", "commands"},
    "__main__": {"cli"},
}


def modules():
    for file in sorted((ROOT / "zsiqa").rglob("*.py")):
        name = ".".join(file.relative_to(ROOT / "zsiqa").with_suffix("").parts)
        if not name.endswith("__init__"):
            yield name, file


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            yield node.module


@pytest.mark.parametrize(("name", "file"), list(modules()), ids=[name for name, _ in modules()])
def test_layers(name, file):
    found = set(imports(file))
    own = {module.removeprefix("zsiqa.") for module in found if module.startswith("zsiqa.")}
    assert own <= ALLOWED[name], "a new dependency between modules: is it downward? then allow it here"
    assert "scripts" not in {module.split(".")[0] for module in found}
    assert ("hydra" in {module.split(".")[0] for module in found}) == (
        name in ("composition", "runner", "sweeps")), "sweeps: what Hydra would run is asked of Hydra"


PROBE = """
import atexit, runpy, sys
atexit.register(lambda: print("torch imported:", "torch" in sys.modules))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("arguments", [
    ["--help"], ["--cfg", "job"], ["backbone=nonsense"], ["dataset=pairs"], ["dataset=pairs", "dataset.csv=no.csv"],
    ["precision=fp128"], ["dataset=pipal", "dataset.root=nowhere"],
    ["backbone=dinov1", "distance=wsd", "dataset=tid2013", "dataset.root=nowhere"],
    ["baseline=all", "dataset=pipal", "dataset.root=nowhere"], ["baseline=stlpips_vgg", "distance=wsd"],
])
def test_no_torch_before_there_is_work(arguments, tmp_path):
    done = subprocess.run([sys.executable, "-c", PROBE, str(ROOT / "run.py"), *arguments], cwd=tmp_path,
                          capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "torch imported: False", done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_tables_never_import_torch(tmp_path):
    code = "import sys; from zsiqa.cli import main; main(['tables', '--scores', '.']); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
