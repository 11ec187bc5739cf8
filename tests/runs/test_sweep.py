"""What a sweep's arguments become: jobs, of which none does what another could do in passing."""

import itertools

import pytest
import yaml
from test_configs import composed

from zsiqa import CONFIGS
from zsiqa.config import check_settings
from zsiqa.evaluation.table_specs import PAPER
from zsiqa.runs.progress import read_progress
from zsiqa.runs.sweep import expand, jobs_of
from zsiqa.types import ZsiqaError


def spec(name):
    return yaml.safe_load((CONFIGS / f"table/{name}.yaml").read_text())


def needed(names):
    return {(dataset, row["metric"], perturbation) for table in map(spec, names) for group in table["groups"]
            for row in group["rows"] for dataset in table["datasets"] for perturbation
            in table["perturbations"]}


@pytest.mark.slow
@pytest.mark.parametrize(("sweep", "tables", "jobs"), [
    ("table1", ["table1"], 10), ("table2", ["table2"], 8), ("table3", ["table3"], 10), ("all", PAPER, 21),
    ("demo", ["demo"], 3), ("liao2024", ["liao2024"], 5)])
def test_a_sweep_has_every_cell_of_its_tables_in_one_job_for_each_backbone_and_data_set(sweep, tables, jobs):
    found = expand([f"+sweep={sweep}"])
    configurations = [composed(*job) for job in found]
    for cfg in configurations:
        check_settings(cfg)
    files = [tuple(file.key) for cfg in configurations for file in read_progress(cfg)]
    assert len(files) == len(set(files)), "no score file is two jobs' work"
    assert needed(tables) <= set(files)
    assert len({(cfg.backbone.name, cfg.dataset.name, *cfg.scales) for cfg in configurations
                }) == len(found) == jobs
    kinds = {tuple(metric.split("-")[1:]) for _, metric, _ in needed(tables)} - {()}
    for dataset, metric, perturbation in set(files) - needed(tables):  # what one pass serves anyway
        _, representation, distance = metric.split("-")
        assert any(representation == one for one, _ in kinds)
        assert any(distance == one for _, one in kinds)
        assert perturbation in spec(tables[0])["perturbations"]
        assert dataset in {name for table in tables for name in spec(table)["datasets"]}


def test_every_sweep_of_configs_is_tested_above():
    assert {file.stem for file
            in (CONFIGS / "sweep").glob("*.yaml")} == {"table1", "table2", "table3", "all", "demo",
                                                    "liao2024"}


def test_a_table_of_ones_own_needs_no_file_of_its_own():
    jobs = jobs_of([{"groups": [{"rows": [{"metric": "a-features-wsd"}, {"metric": "a-embedding-l2"}]}],
                     "datasets": ["one", "two"], "perturbations": ["original"]}])
    assert jobs == [{"backbone": "a", "dataset": dataset, "representation": "[features,embedding]",
                     "distance": "[wsd,l2]", "perturbation": "[original]"} for dataset in ("one", "two")]


@pytest.mark.slow
@pytest.mark.parametrize(("given", "jobs"), [
    (["backbone=dinov1,vgg19"], 2), (["backbone=none"], 1), (["num_shards=3", "shard=range(3)"], 30),
    (["dataset=pipal", "perturbation=original"], 10), (["distance=cosine"], 10),
])
def test_arguments_pick_jobs_or_hold_for_all(given, jobs):
    found = expand(["+sweep=table3", *given])
    assert len(found) == jobs
    for job in found:
        check_settings(composed(*job))
    if "distance=cosine" in given:  # which baselines have not
        assert ["distance=cosine" in job for job in found] == ["backbone=none" not in job for job in found]


@pytest.mark.parametrize(("given", "message"), [
    (["dataset=live"], "has no such job; it has backbone=none, vgg19, .* and dataset=pipal"),
    (["baseline=psnr"], "backbone=none picks"),
    (["a="], None), (["a b"], "needs its own quotes"),
])
def test_what_a_sweep_cannot_be_is_one_clear_error(given, message):
    if message is None:
        assert len(expand(["+sweep=table3", *given])) == 10
        return
    with pytest.raises(ZsiqaError, match=message):
        expand(["+sweep=table3", *given])


def test_an_unknown_sweep_names_those_there_are():
    with pytest.raises(ZsiqaError, match="sweep can be: all, demo, liao2024, table1, table2, table3"):
        expand(["+sweep=table4"])


def test_without_a_named_sweep_jobs_are_all_combinations():
    found = expand(["backbone=dinov1,dinov2", "dataset=[a,b]", "shard=range(2)", "hydra/launcher=slurm"])
    assert found == [[f"backbone={name}", "dataset=[a,b]", f"shard={shard}"]
                     for name, shard in itertools.product(("dinov1", "dinov2"), "01")]
