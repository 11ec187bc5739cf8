"""The distributions: an sdist builds a wheel, which works outside of the checkout, with configurations and
types."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest
from commands import run as run_here
from conftest import write_pairs
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from setuptools import find_packages

from zsiqa import CONFIGS, __version__
from zsiqa.types import EXTRAS

ROOT = Path(__file__).parent.parent
SOURCES = ["zsiqa", "configs", "hydra_plugins", "pyproject.toml", "README.md", "LICENSE"]


def run(*command, cwd, check=True):
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([*map(str, command)], cwd=cwd, check=check, capture_output=True,
                          text=True, env=clean)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel that was built from an sdist."""
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
    return next(work.glob("*.whl"))


def environment(wheel, work):
    """Install the wheel alone into a new environment; returns its Python and its site-packages."""
    run(sys.executable, "-m", "venv", "--without-pip", work / "env", cwd=work)
    python = work / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel,
        cwd=work)
    [site] = (work / "env").rglob("site-packages")
    return python, site


@pytest.fixture(scope="module")
def outside(wheel, tmp_path_factory):
    """An environment with zsiqa from the wheel; dependencies are ours."""
    work = tmp_path_factory.mktemp("outside")
    python, site = environment(wheel, work)
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
                                  (ROOT / "zsiqa", site / "zsiqa", "*.csv"),
                                  (CONFIGS, site / "zsiqa/configs", "*.yaml")):
        names = {file.relative_to(ours) for file in ours.rglob(pattern)}
        assert names == {file.relative_to(theirs) for file in theirs.rglob(pattern)}
        assert names
    assert {file.name for file in site.iterdir() if "zsiqa" in file.name} == {
        "zsiqa", f"zsiqa-{__version__}.dist-info"}, "nothing beside the package"
    assert set(find_packages(str(site))) >= set(find_packages(str(ROOT), include=["zsiqa*"]))


@pytest.mark.slow
def test_a_run_of_the_wheel_equals_one_of_the_checkout(command, tmp_path):
    settings = ["dataset=pairs", f"dataset.csv={write_pairs(tmp_path / 'mine', [(224, 224)], levels=2)}",
                "distance=[wsd,l2]", "perturbation=[original,rotate]", "baseline=psnr",
                "backbone=efficientnet_lite0"]
    said = command("run", *settings, "device=cpu").stdout
    assert "2 pairs, EfficientNet-Lite0, PSNR: scored; 6 files" in said
    run_here(*settings, f"results_dir={tmp_path / 'checkout'}", cwd=tmp_path)
    files = sorted((tmp_path / "results").rglob("*.csv"))
    assert len(files) == 6
    for file in files:
        assert file.read_bytes() == (
                tmp_path / "checkout" / file.relative_to(tmp_path / "results")).read_bytes()
    assert "efficientnet_lite0-" in command("tables", "--table", "demo").stdout


@pytest.mark.slow
def test_a_pair_is_scored(command, tmp_path):
    write_pairs(tmp_path, [(176, 176)], levels=1)
    said = command("score", "ref0.png", "dis0_1.png", "--baseline", "psnr,ms_ssim").stdout
    assert [line.split()[0] for line in said.splitlines()] == ["psnr", "ms_ssim"]


@pytest.mark.slow
def test_tables_data_weights_and_completion(command, tmp_path):
    (tmp_path / "scores").mkdir()
    assert "256 missing" in command("tables", "--scores", "scores", "--table", "table2").stdout, "as printed"
    assert "tid2013" in command("data", "list").stdout
    assert "dinov1" in command("weights", "list", "dinov1").stdout
    assert "zsiqa" in command("--print-completion", "bash").stdout
    assert command("--version").stdout == f"zsiqa {__version__}\n"


@pytest.mark.slow
def test_errors_and_help_of_runs_come_from_hydra(outside, tmp_path):
    zsiqa = outside.with_name("zsiqa")
    wrong = run(zsiqa, "run", "backbone=nobody", cwd=tmp_path, check=False)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith(
            "error: no backbone/nobody in the configuration; backbone can be: clip_convnext")
    assert "== What to choose from" in run(zsiqa, "run", "--help", cwd=tmp_path).stdout
    pairs = write_pairs(tmp_path, [(24, 24)], levels=3)
    sweep = run(zsiqa, "run", "-m", "baseline=psnr", "dataset=pairs", f"dataset.csv={pairs}",
                "dataset.limit=1,2", cwd=tmp_path)
    assert re.findall("(. of 3) pairs, PSNR: scored", sweep.stdout) == ["1 of 3", "2 of 3"]
    assert not list(tmp_path.glob("multirun*"))


@pytest.mark.slow
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


def closure(requirements, extra=""):
    """The installed distributions that requirements ask for, with all that those ask for."""
    todo, found = [(text, extra) for text in requirements], {}
    while todo:
        text, extra = todo.pop()
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        for one in ("", *wanted.extras):
            if (wanted.name, one) not in found:
                distribution = importlib.metadata.distribution(wanted.name)
                found[wanted.name, one] = distribution
                todo += [(requirement, one) for requirement in distribution.requires or []]
    return found.values()


@pytest.fixture(scope="module")
def lean(wheel, tmp_path_factory):
    """An environment with the wheel and links to what it asks for without extras: nothing else is there."""
    python, site = environment(wheel, tmp_path_factory.mktemp("lean"))
    [ours] = importlib.metadata.distributions(name="zsiqa", path=[str(site)])
    for distribution in closure(ours.requires):
        for top in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    return python


SEVERAL = """
import contextlib, io, json, sys
from zsiqa.cli.main import main
ends = {}
for command in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            status = main(command.split())
        except SystemExit as error:
            status = error.code
            if isinstance(status, str):
                print(status)
    ends[command] = status, said.getvalue()
print(json.dumps(ends), "torch" in sys.modules)
"""


def several(python, commands, cwd):
    """Run commands in one process, because it starts in seconds: by command, its status and what it said."""
    done = subprocess.run([python, "-c", SEVERAL], cwd=cwd, check=True, capture_output=True, text=True,
                          input=json.dumps(list(commands)))
    ends, _, torch = done.stdout.splitlines()[-1].rpartition(" ")
    assert torch == "False"
    return json.loads(ends)


@pytest.mark.slow
def test_the_core_scores_and_reads_scores(lean, tmp_path):
    """Trap: a module that only an extra brings, imported where it is not needed."""
    probe = "import importlib.util, sys; print(*filter(importlib.util.find_spec, sys.argv[1:]))"
    assert run(lean, "-c", probe, *EXTRAS, cwd=tmp_path).stdout == "\n"
    pairs = write_pairs(tmp_path / "mine", [(224, 224)], levels=4)
    settings = ["dataset=pairs", f"dataset.csv={pairs}", "distance=[wsd,l2]", "baseline=ms_ssim",
                "backbone=efficientnet_lite0", "device=cpu"]
    assert "scored; 3 files" in run(lean.with_name("zsiqa"), "run", *settings, cwd=tmp_path).stdout
    ends = several(lean, [" ".join(["status", *settings]), "tables", "audit", "rank --dataset pairs",
                          "data list", "weights list"], tmp_path)
    for command, (_, said) in ends.items():
        assert said, command
        assert "pip install" not in said, command


WITHOUT_EXTRA = {
    "run baseline=psnr dataset=pairs dataset.csv=pairs.csv": "baselines",
    "run baseline=all dataset=pairs dataset.csv=pairs.csv": "baselines",
    "run baseline=stlpips_alex dataset=pairs dataset.csv=pairs.csv": "baselines",
    "status baseline=psnr dataset=pairs dataset.csv=pairs.csv": "baselines",
    "score ref0.png dis0_1.png --baseline fsimc": "baselines",
    "score ref0.png dis0_1.png --baseline stlpips_vgg": "baselines",
    "score ref0.png dis0_1.png --heatmap map.png": "report",
    "report": "report",
    "rank --dataset pairs --out statistics": "report",
    "run dataset=demo": "demo",
    "run -m hydra/launcher=slurm dataset=pairs dataset.csv=pairs.csv": "cluster",
    "run -m hydra/launcher=slurm_local dataset=pairs dataset.csv=pairs.csv": "cluster",
    "--print-completion bash": "completion",
}


@pytest.mark.slow
def test_what_an_extra_brings_is_refused_with_the_command_that_installs_it(lean, tmp_path):
    write_pairs(tmp_path, [(224, 224)], levels=1)
    ends = several(lean, WITHOUT_EXTRA, tmp_path)
    assert ends.keys() == WITHOUT_EXTRA.keys()
    for command, (status, said) in ends.items():
        *before, last = said.splitlines()
        assert status not in (0, None), command
        assert "error: " in last, said
        assert f"`pip install 'zsiqa[{WITHOUT_EXTRA[command]}]'`" in last, said
        assert len(before) <= 1, said  # argparse's usage


@pytest.mark.slow
def test_classes_say_what_to_install(lean, tmp_path):
    code = """
        import zsiqa.types
        for name in ("psnr", "fsimc", "piq_function"):
            try:
                __import__(f"zsiqa.baselines.{name}")
            except zsiqa.types.ZsiqaError as error:
                print(error)
        import zsiqa.baselines.dists, zsiqa.baselines.lpips, zsiqa.baselines.stlpips, zsiqa.scoring.heatmap
        import zsiqa.baselines.deepdc, zsiqa.baselines.dmm
        zsiqa.Metric(distance="l2")
    """
    said = run(lean, "-c", textwrap.dedent(code), cwd=tmp_path).stdout.splitlines()
    assert ["pip install 'zsiqa[baselines]'" in line for line in said] == [True] * 3


def test_every_package_is_in_the_extra_that_the_message_names(outside):
    """Trap: a message that installs something else."""
    [site] = outside.parent.parent.rglob("site-packages")
    [ours] = importlib.metadata.distributions(name="zsiqa", path=[str(site)])
    names = {}
    for requirement in map(Requirement, ours.requires):
        for extra in ours.metadata.get_all("Provides-Extra"):
            if requirement.marker and requirement.marker.evaluate({"extra": extra}):
                names.setdefault(extra, set()).add(requirement.name.lower().replace("_", "-"))
    renamed = {"skimage": "scikit-image", "sklearn": "scikit-learn"}
    for package, extra in EXTRAS.items():
        assert renamed.get(package, package).lower().replace("_", "-") in names[extra]
    wanted = {extra for requirement in map(Requirement, ours.requires) if requirement.name == "zsiqa"
              for extra in requirement.extras}
    assert wanted == {"all", *EXTRAS.values()}, "`test` has `all`, which has every other"


def test_the_lock_installs_on_the_oldest_python():
    """Debian 12 has Python 3.11.2; a pin that needs 3.11.5 stopped `make setup` there."""
    pins = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines()
            if line and not line.startswith("#")]
    needs = {pin.name: importlib.metadata.metadata(pin.name)["Requires-Python"] for pin in pins}
    assert {name: python for name, python in needs.items()
            if "3.11.0" not in SpecifierSet(python or "")} == {}
