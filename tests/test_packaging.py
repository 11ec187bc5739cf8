"""The distributions: an sdist builds a wheel, which works outside of the checkout, with configurations and
types."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest
from conftest import write_pairs
from setuptools import find_packages

from zsiqa import CONFIGS, __version__

ROOT = Path(__file__).parent.parent
SOURCES = ["zsiqa", "configs", "hydra_plugins", "pyproject.toml", "README.md", "LICENSE"]


def run(*command, cwd, check=True):
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([*map(str, command)], cwd=cwd, check=check, capture_output=True,
                          text=True, env=clean)


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """An environment with zsiqa installed from a wheel that was built from an sdist; dependencies are
    ours."""
    work = tmp_path_factory.mktemp("packaging")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, work / "sources" / name if copy is shutil.copytree else (work / "sources"))
    build = "import setuptools.build_meta as build; build.build_sdist('..')"
    run(sys.executable, "-c", build, cwd=work / "sources")
    shutil.rmtree(work / "sources")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index",
        "--wheel-dir", work,
        work / f"zsiqa-{__version__}.tar.gz", cwd=work)
    run(sys.executable, "-m", "venv", "--without-pip", work / "env", cwd=work)
    python = work / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
        next(work.glob("*.whl")), cwd=work)
    [site] = (work / "env").rglob("site-packages")
    # Our own dependencies, but not what is editable there: .pth files in a folder that a .pth file names are
    # idle.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert run(python, "-c", "import zsiqa; print(zsiqa.__file__)",
               cwd=work).stdout.strip().startswith(str(site))
    return python


@pytest.fixture
def command(outside, tmp_path):
    """A function that runs the installed `zsiqa` in an empty folder."""
    return lambda *arguments: run(outside.with_name("zsiqa"), *arguments, cwd=tmp_path)


def test_all_packages_and_configurations_are_in_the_wheel(outside):
    [site] = outside.parent.parent.rglob("site-packages")
    for ours, theirs, pattern in ((ROOT / "zsiqa", site / "zsiqa", "*.py"),
                                  (CONFIGS, site / "zsiqa/configs", "*.yaml")):
        names = {file.relative_to(ours) for file in ours.rglob(pattern)}
        assert names == {file.relative_to(theirs) for file in theirs.rglob(pattern)}
        assert names
    assert {file.name for file in site.iterdir() if "zsiqa" in file.name} == {
        "zsiqa", f"zsiqa-{__version__}.dist-info"}, "nothing beside the package"
    assert set(find_packages(str(site))) >= set(find_packages(str(ROOT), include=["zsiqa*"]))


def test_a_run_of_the_wheel_equals_one_of_the_checkout(command, tmp_path):
    settings = ["dataset=pairs", f"dataset.csv={write_pairs(tmp_path / 'mine', [(224, 224)], levels=2)}",
                "distance=[wsd,l2]", "perturbation=[original,rotate]", "baseline=psnr",
                "backbone=efficientnet_lite0",
                "device=cpu"]
    said = command("run", *settings).stdout
    assert "2 pairs, EfficientNet-Lite0, PSNR: scored; 6 files" in said
    run(sys.executable, ROOT / "run.py", *settings, f"results_dir={tmp_path / 'checkout'}", cwd=tmp_path)
    files = sorted((tmp_path / "results").rglob("*.csv"))
    assert len(files) == 6
    for file in files:
        assert file.read_bytes() == (
                tmp_path / "checkout" / file.relative_to(tmp_path / "results")).read_bytes()
    assert "efficientnet_lite0-" in command("tables", "--table", "demo").stdout


def test_a_pair_is_scored(command, tmp_path):
    write_pairs(tmp_path, [(176, 176)], levels=1)
    said = command("score", "ref0.png", "dis0_1.png", "--baseline", "psnr,ms_ssim").stdout
    assert [line.split()[0] for line in said.splitlines()] == ["psnr", "ms_ssim"]


def test_tables_data_weights_and_completion(command, tmp_path):
    (tmp_path / "scores").mkdir()
    assert "756 missing" in command("tables", "--scores", "scores").stdout, "the printed figures"
    assert "tid2013" in command("data", "list").stdout
    assert "dinov1" in command("weights", "list", "dinov1").stdout
    assert "zsiqa" in command("--print-completion", "bash").stdout
    assert command("--version").stdout == f"zsiqa {__version__}\n"


def test_errors_and_help_of_runs_come_from_hydra(outside, tmp_path):
    zsiqa = outside.with_name("zsiqa")
    wrong = run(zsiqa, "run", "backbone=nonsense", cwd=tmp_path, check=False)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith(
            "error: no backbone/nonsense in the configuration; backbone can be: clip_convnext")
    assert "== What to choose from" in run(zsiqa, "run", "--help", cwd=tmp_path).stdout
    sweep = run(zsiqa, "run", "-m", "baseline=psnr", "dataset.limit=1,2", cwd=tmp_path)
    assert re.findall("(Demo, . of 240) pairs, PSNR: scored",
                      sweep.stdout) == ["Demo, 1 of 240", "Demo, 2 of 240"]
    assert not list(tmp_path.glob("multirun*"))


def test_its_types_are_seen(outside, tmp_path):
    pytest.importorskip("mypy")
    # slow
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\n[mypy-torch.*]\nfollow_imports = skip\n")
    (tmp_path / "user.py").write_text(textwrap.dedent("""
        import zsiqa

        metric = zsiqa.Metric("dinov1", distance="wsd", overrides=["stride=112"])
        reveal_type(metric)
        reveal_type(metric.name)
        zsiqa.Metric(backbone=3)
    """))
    done = run(sys.executable, "-m", "mypy", "--python-executable", outside, "user.py", cwd=tmp_path,
               check=False)
    assert 'Revealed type is "zsiqa.scoring.metric.Metric"' in done.stdout, done.stdout
    assert 'Revealed type is "str"' in done.stdout.replace("builtins.", "")
    assert 'Argument "backbone" to "Metric" has incompatible type "int"' in done.stdout
    assert "py.typed" not in done.stdout
    assert done.stdout.count("error:") == 1
