"""Scales in runs: names, identities, places in the store, and the jobs of sweeps."""

import csv
import json

import pytest
from conftest import tensor, write_pairs
from test_configs import composed

from zsiqa.baselines.psnr import PSNR
from zsiqa.config import check_settings, compose
from zsiqa.results.folder import open_folder
from zsiqa.runs.plan import planned_files
from zsiqa.runs.runner import run
from zsiqa.runs.sweep import expand, jobs_of
from zsiqa.scoring.metric import Metric
from zsiqa.scoring.scaling import ShortSide
from zsiqa.types import StoreError, ZsiqaError

TINY = ["backbone=timm", "backbone.model_name=test_vit.r160_in1k", "backbone.pretrained=false",
        "window=160", "stride=140"]
NAME = "test_vit.r160_in1k_RANDOM_WEIGHTS-features-l2"


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Two pairs under an image and a backbone metric, at two scales of one pass."""
    folder = tmp_path_factory.mktemp("runs")
    file = write_pairs(folder / "images", [(431, 330)], levels=2)
    settings = [*TINY, "distance=l2", "baseline=psnr", "dataset=pairs", f"dataset.csv={file}",
                f"results_dir={folder}", "device=cpu"]
    run(compose(*settings, "scale=[native,short]", "scales.short.side=200"))
    return file, settings, folder / "scores"


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(line for line in stream if not line.startswith("#")))


def test_native_names_and_identities_are_those_without_scales(scored):
    _, settings, _ = scored
    for file in planned_files(compose(*settings)):
        assert file.path.parent.name in ("psnr", NAME)
        assert "scale" not in file.identity
        assert "scale" not in file.labels


def test_each_scale_has_its_own_place_and_identity(scored):
    file, _, store = scored
    folders = sorted(path.parent.name for path in store.glob("*/*/original.csv"))
    assert folders == sorted(["psnr", "psnr@short_200", NAME, f"{NAME}@short_200"])
    metrics = {NAME: Metric("timm", "l2", pretrained=False, overrides=TINY[1:2] + TINY[3:]),
               f"{NAME}@short_200": Metric("timm", "l2", pretrained=False, scale="short", overrides=[
                   *TINY[1:2], *TINY[3:], "scales.short.side=200"])}
    for folder in folders:
        [path] = store.glob(f"*/{folder}/original.csv")
        identity = json.loads(path.with_suffix(".json").read_text())["identity"]
        assert identity.get("scale") == (
            {"name": "short_200", "side": 200, "enlarge": False} if "@" in folder else None)
        for row in read(path):
            pair = tensor(file.parent / row["ref"]), tensor(file.parent / row["dis"])
            if folder in metrics:
                assert metrics[folder].name == folder
                expected = metrics[folder](*pair).item()
            else:
                expected = PSNR()(*(ShortSide(200)(one) if "@" in folder else one for one in pair)).item()
            # Batches and the unit of resampling (255 or 1) change float32's rounding.
            assert float(row["score"]) == pytest.approx(expected, rel=2e-6), folder
    loaded = open_folder(store)
    assert {key.metric for key in loaded.files} == set(folders)


def test_a_scale_does_not_continue_another(scored):
    """Two scales with one name differ in their identities."""
    _, settings, _ = scored
    with pytest.raises(StoreError, match=r"scale.enlarge: stored False, now True"):
        run(compose(*settings, "scale=short", "scales.short.side=200", "scales.short.fn.enlarge=true"))


@pytest.mark.parametrize(("settings", "message"), [
    (["scale=short"], r"missing on the command line: scales.short.side=\.\.\."),
    (["scale=[short,short_224]", "scales.short.side=224"], "have one name.*short_224, short_224; leave one"),
    (["scale=300"], "scale can be: all, average, average_256, native, short, short_224, short_256"),
    (["scale=[]"], "scale must name at least one"),
])
def test_wrong_scales_are_refused(settings, message):
    def plan_it():
        cfg = compose("baseline=psnr", *settings)
        check_settings(cfg)
        planned_files(cfg)
    with pytest.raises(ZsiqaError, match=message):
        plan_it()


@pytest.mark.slow
def test_sweeps_at_other_scales():
    """Of whole tables by the command line, and of rows by their names."""
    for job in expand(["+sweep=table2", "scale=[native,average_256]"]):
        assert "scale=[native,average_256]" in job
        assert set(composed(*job).scales) == {"native", "average_256"}
    rows = ["psnr", "psnr@short_256", "a-features-l2", "a-features-wsd@short_256"]
    jobs = jobs_of([{"groups": [{"rows": [{"metric": name} for name in rows]}], "datasets": ["one"],
                     "perturbations": ["original"]}])
    common = {"dataset": "one", "perturbation": "[original]"}
    features = {"backbone": "a", "representation": "[features]"}
    assert jobs == [{"backbone": "none", "baseline": "[psnr]", **common},
                    {"backbone": "none", "baseline": "[psnr]", "scale": "short_256", **common},
                    {**features, "distance": "[l2]", **common},
                    {**features, "distance": "[wsd]", "scale": "short_256", **common}]
