"""Who may import whom, and what must not be imported on the way to an early answer."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the bottom to the top: the layers of zsiqa, and the layers below that each may use.
LAYERS = {
    "types": set(),
    "terminal": set(),
    "perturbations": set(),
    "distances": {"types"},
    "config": {"types"},
    "releases": {"types"},
    "datasets": {"types", "terminal", "releases"},
    "backbones": {"types", "config"},
    "baselines": {"types", "backbones", "distances"},
    "scoring": {"types", "terminal", "config", "distances", "datasets", "backbones"},
    "torchmetrics": {"types", "scoring"},
    "results": {"types", "terminal", "releases"},
    "evaluation": {"types", "terminal", "releases", "perturbations", "results"},
    "report": {"types", "terminal", "releases", "perturbations", "results", "evaluation"},
    "runs": {"types", "terminal", "config", "releases", "perturbations", "distances", "datasets",
             "backbones", "baselines", "scoring", "results", "evaluation"},
    "cli": {"types", "terminal", "config", "releases", "perturbations", "distances", "datasets", "backbones",
            "baselines", "scoring", "results", "runs", "evaluation", "report"},
    "__main__": {"cli"},
}


def modules():
    for file in sorted((ROOT / "zsiqa").rglob("*.py")):
        if file != ROOT / "zsiqa/__init__.py":
            yield file.relative_to(ROOT / "zsiqa").with_suffix("").parts, file


def imports(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            yield node.module


@pytest.mark.parametrize(("place", "file"), list(modules()), ids=[".".join(place) for place, _ in modules()])
def test_imports_run_downward(place, file):
    layer = place[0]
    found = [module.split(".") for module in imports(file)]
    own = {parts[1] for parts in found if parts[0] == "zsiqa" and len(parts) > 1}
    assert own <= LAYERS[layer] | {layer}, f"{layer} may use {', '.join(sorted(LAYERS[layer]))} alone"
    assert "scripts" not in {parts[0] for parts in found}
    assert layer in ("config",
                     "runs") or "hydra" not in {parts[0] for parts in found}, "config and runs know Hydra"


def test_a_small_first_floor_and_small_modules():
    files = [file for _, file in modules()]
    assert len(
            [file for file in files if file.parent == ROOT / "zsiqa"]) < 8, "with __init__.py, at most eight"
    large = {file.name: lines for file in files if (lines := len(file.read_text().splitlines())) > 300}
    assert not large, "one idea a module takes at most 300 lines"


PROBE = """
import atexit, runpy, sys
atexit.register(lambda: print("torch imported:", "torch" in sys.modules))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.sample("arguments0", "arguments7", "arguments8")
@pytest.mark.parametrize("arguments", [
    ["--help"], ["--cfg", "job"], ["backbone=nonsense"], ["dataset=pairs"],
    ["dataset=pairs", "dataset.csv=no.csv"],
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
    code = ("import sys; from zsiqa.cli.main import main; main(['tables', '--scores', '.']); "
            "sys.exit('torch' in sys.modules)")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
