import math

import numpy as np
import pandas as pd
import pytest
from conftest import noisy, official_rows, write_official

from zsiqa.evaluation import bootstrap
from zsiqa.evaluation.analysis import AnalysisSettings, analyse
from zsiqa.evaluation.findings import find_in_labels
from zsiqa.evaluation.identical_images import find_identical
from zsiqa.evaluation.ranking import rank
from zsiqa.evaluation.score_table import load_table
from zsiqa.report.ranking import to_csv, to_markdown, to_text
from zsiqa.results.folder import open_folder
from zsiqa.terminal import fit
from zsiqa.types import StoreError

ROUNDING = 1e-12  # the same numbers, summed in another order


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """TID2013 and LIVE by three metrics and half precision, and one file cut short."""
    root = tmp_path_factory.mktemp("ranking")
    for dataset in ("tid2013", "live"):
        rows = official_rows(dataset)
        for seed, (name, sigma) in enumerate({"dists": 5.0, "lpips": 20.0, "fsim": 5.5}.items()):
            values = noisy(rows, seed, sigma)
            write_official(root / f"{dataset}_{name}.csv", rows,
                           values.astype(np.float16) if name == "lpips" else values)
    write_official(root / "live_lpips_vgg.csv", official_rows("live")[:9], range(9))
    return open_folder(root)


@pytest.fixture(scope="module")
def found(folder):
    return rank(folder, replicates=200)


def test_numbers_equal_those_of_the_detailed_analysis(folder, found):
    for dataset in ("tid2013", "live"):
        one = found.rows[found.rows["dataset"] == dataset].set_index("metric")
        other = analyse(folder, dataset, "original", None, AnalysisSettings(replicates=200)).methods
        assert list(one.index) == list(other.index)
        for mine, theirs in (("srcc", "srcc"), ("plcc", "plcc"), ("krcc", "krcc"), ("srcc_low", "srcc_low"),
                             ("srcc_high", "srcc_high"), ("srcc_per_ref", "srcc_per_ref"),
                             ("in_best_group", "not_worse_than_best")):
            np.testing.assert_allclose(one[mine].astype(float), other[theirs].astype(float), atol=ROUNDING)


def test_rank_intervals_are_those_of_a_direct_computation(folder, found):
    table = load_table(folder, "tid2013", "original", None, [])
    drawn = bootstrap.draw(25, 200)
    values = bootstrap.replicate(table.quality, table.labels, table.groups, drawn, ["srcc"])["srcc"]
    ranks = np.array([[1 + sum(other > own for other in column) for own in column] for column in values.T])
    rows = found.rows[found.rows["dataset"] == "tid2013"].set_index("metric")
    for place, metric in enumerate(table.metrics):
        low, high = np.quantile(ranks[:, place], [0.025, 0.975], method="nearest")
        assert tuple(rows.loc[metric, ["rank_low", "rank_high"]]) == (low, high)


def test_flags(found):
    flags = found.rows.set_index(["dataset", "metric"])["flags"]
    assert flags["tid2013", "lpips_alex"] == ("quantised", "unlike its authors", "unchecked")
    assert flags["tid2013", "dists"] == ("unlike its authors", "unchecked")
    assert flags["live", "fsimc"] == ("authors' use unknown", "unchecked")
    assert any("live_lpips_vgg.csv has 9 of 779 pairs" in note for note in found.notes)


def test_one_reference_has_no_interval_and_no_rank_interval(tmp_path):
    rows = official_rows("tid2013")[:120]
    for name in ("dists", "lpips"):
        write_official(tmp_path / f"tid2013_{name}.csv", rows, noisy(rows, len(name)))
    rows = rank(open_folder(tmp_path), replicates=100).rows
    assert rows[["srcc_low", "srcc_high", "rank_low", "rank_high"]].isna().all(axis=None)
    assert rows["flags"].map(lambda flags: "partial" in flags).all()
    assert "n/a" not in to_text(rank(open_folder(tmp_path), replicates=100), 100)


def test_what_is_not_there_is_answered_with_what_is(folder, tmp_path):
    with pytest.raises(StoreError, match="no scores of pipal, original in .*; there are data sets live"):
        rank(folder, ["pipal"])
    with pytest.raises(StoreError, match="no scores of rotate, psnr in .*; perturbations original"):
        rank(folder, None, ["rotate"], ["psnr"])
    with pytest.raises(StoreError, match="holds no scores; score something first"):
        rank(open_folder(tmp_path))


def test_images_that_no_metric_tells_apart_are_found(tmp_path):
    rows = official_rows("tid2013")
    twin = {17: 16, 140: 139}  # rows of one reference with the scores of another row
    for seed, name in enumerate(("dists", "lpips", "fsim")):
        values = noisy(rows, seed)
        values[list(twin)] = values[list(twin.values())]
        values[[50, 51]] = 0.0
        write_official(tmp_path / f"tid2013_{name}.csv", rows, values)
    table = load_table(open_folder(tmp_path), "tid2013", "original", None, [])
    reference, equal = find_in_labels(table, find_identical(table.quality, table.refs))
    assert (reference.kind, reference.images) == ("as reference", 2)
    assert (equal.kind, equal.images, equal.references) == ("equal images", 4, 2)
    labels = table.labels
    inside = sum(((labels[[a, b]] - labels[[a, b]].mean()) ** 2).sum() for a, b in twin.items())
    assert equal.label_sd == pytest.approx(math.sqrt(inside / 2), rel=ROUNDING)
    # No scores with equal values for the twins correlate better than the labels with the twins' means.
    best = labels.copy()
    for a, b in twin.items():
        best[[a, b]] = labels[[a, b]].mean()
    assert equal.highest_plcc == pytest.approx(np.corrcoef(best, labels)[0, 1], abs=ROUNDING)


def test_the_text_fits_its_width_and_says_each_flag(found):
    text = fit(to_text(found, 80))
    assert max(map(len, text.splitlines())) <= 100
    assert "q: half precision or coarser" in text
    assert "all: no checksum" in text
    reasons = [line for line in text.splitlines() if line.startswith("unlike its authors")]
    assert reasons == ["unlike its authors: dists: scale native, its authors use short_256",
                       "unlike its authors: lpips_alex: input in [0, 1]; LPIPS expects [-1, 1]"]
    lines = [line.split() for line in text.splitlines()
             if line.startswith(("dists ", "fsimc ", "lpips_alex "))]
    assert {line[0] for line in lines} == {"dists", "fsimc", "lpips_alex"}
    by_name = found.rows.set_index("metric").loc["fsimc"]
    shown = [line[-1] for line in lines if line[0] == "fsimc"]  # the means of both blocks
    assert shown == [f"{by_name[name].mean():.3f}" for name in ("srcc", "srcc_per_ref")]
    other = fit(to_text(found, 80, "krcc"))
    assert f"{by_name['krcc'].mean():.3f}" in other


def test_csv_and_markdown_hold_every_number(found, tmp_path):
    (tmp_path / "a.csv").write_text(to_csv(found))
    read = pd.read_csv(tmp_path / "a.csv")
    assert ",".join(read.columns) == (
        "dataset,metric,perturbation,pairs,plcc,srcc,krcc,srcc_low,srcc_high,srcc_per_ref,rank,rank_low,"
        "rank_high,in_best_group,flags,as_authors,unlike_authors,title,source,ms_pair")
    np.testing.assert_array_equal(read["srcc"], found.rows["srcc"])
    assert read.loc[read["metric"] == "lpips_alex", "flags"].tolist() == [
        "quantised; unlike its authors; unchecked"] * 2
    use = read.groupby("metric")[["as_authors", "unlike_authors"]].first()
    assert use["as_authors"].to_dict() == {"dists": "no", "fsimc": "unknown", "lpips_alex": "no"}
    assert use.loc["dists", "unlike_authors"] == "scale native, its authors use short_256"
    table = to_markdown(found)
    assert "| SRCC, original | tid2013 (3,000) | live (779) |" in table or (
        "| SRCC, original | live (779) | tid2013 (3,000) |" in table)
    row = found.rows.iloc[0]
    assert f"{row['srcc']:.3f}* [{row['srcc_low']:.3f}, {row['srcc_high']:.3f}]" in table
