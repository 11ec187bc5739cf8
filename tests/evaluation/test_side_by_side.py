"""The table of Liao et al.: our scores and the public ones, each beside the other."""

import numpy as np
import pytest
from conftest import write_stored
from scipy import stats

from zsiqa.evaluation.measurement import Measurer
from zsiqa.evaluation.table_specs import choose_specs, read_specs
from zsiqa.evaluation.tables import build_table, count_verdicts, to_frame
from zsiqa.report.tables import to_markdown
from zsiqa.report.text_tables import text_legend, to_text
from zsiqa.results.combined_sources import open_sources
from zsiqa.results.folder import open_folder
from zsiqa.results.scores import ScoreKey

METRIC, FILE = "deepwsd_vgg19", "DeepWSD_VGG.txt"
KEY = ScoreKey("tid2013", METRIC, "original")
ROUNDING = 1e-12  # the same numbers, summed in another order


def tid_names():
    return [f"i{ref:02}_{kind:02}_{level}" for ref in range(1, 26) for kind in range(1, 25)
            for level in range(1, 6)]


@pytest.fixture
def scores():
    """Names of TID2013's images, labels, and scores that go with them."""
    random = np.random.default_rng(0)
    labels = 100 - random.uniform(0, 9, 3000)  # 100 - MOS
    return tid_names(), labels, labels / 10 + random.normal(0, 0.2, 3000)


def write_public(root, names, native, values, dataset="TID2013", file=FILE):
    (root / dataset).mkdir(parents=True, exist_ok=True)
    (root / dataset / "ref_name.txt").write_text(
        "".join(f"{label!r} {name}.bmp\n" for name, label in zip(names, native.tolist(), strict=True)))
    (root / dataset / file).write_text("".join(f"{value!r}\n" for value in values.tolist()))
    return root


def write_own(root, names, labels, values, key=KEY, config=None):
    write_stored(root, key, values, labels, ids=[f"{key.dataset}/{name}" for name in names],
                 higher_is_better=False,
                 about={"score": {"higher_is_better": False}, "config": config or {"baselines": {}}})
    return root


def table(*roots):
    (spec,) = read_specs("liao2024")
    return build_table(spec, Measurer(open_sources([str(root) for root in roots])))


def cell(found, name, dataset="tid2013", statistic="srcc"):
    (row,) = [row for row in found.rows if row.metric == name]
    (one,) = [one for one in row.cells if one.column == (dataset, "original", statistic)]
    return one


def srcc(values, labels):
    return stats.spearmanr(values, labels).statistic


@pytest.mark.parametrize("ours_first", [True, False])
def test_each_side_has_its_row_in_any_order_of_the_sources(tmp_path, scores, ours_first):
    names, labels, values = scores
    other = values + np.random.default_rng(1).normal(0, 0.02, 3000)
    roots = [write_own(tmp_path / "own", names, labels, values),
             write_public(tmp_path / "public", names, 100 - labels, other)]
    found = table(*roots[::1 if ours_first else -1])
    assert len(found.rows) == 24, "4 backbones x 3 measures x 2 sides"
    ours, theirs = cell(found, METRIC), cell(found, f"liao2024:{METRIC}")
    assert ours.value == pytest.approx(srcc(values, labels), abs=ROUNDING)
    assert theirs.value == pytest.approx(srcc(other, labels), abs=ROUNDING)
    assert (theirs.printed, theirs.verdict) == (None, "")
    assert ours.printed == round(theirs.value, 3) != round(ours.value, 3)
    assert (ours.verdict, ours.n) == ("drift", 3000)
    text = to_text(found)
    assert f"{ours.value:.3f} [{ours.printed:.3f}]" in text
    assert "[0.000]: the public scores of Liao et al. give this instead." in text_legend([found])
    assert "the public scores of Liao et al. give this instead" in to_markdown([found])
    assert "printed figures of the paper: none, for want of a source" in text
    assert count_verdicts([found])["drift"] == 3, "PLCC, SRCC, KRCC"
    frame = to_frame([found]).set_index(["method", "dataset", "metric"])
    assert frame.loc[(METRIC, "tid2013", "srcc"), "paper"] == ours.printed
    assert frame.loc[(METRIC, "tid2013", "srcc"), "as_authors"] == "yes"
    assert frame.loc[(METRIC, "pipal", "srcc"), "as_authors"] == "", "nothing was made"


def test_equal_scores_match_and_other_labels_of_the_release_make_no_difference(tmp_path, scores):
    """LIVE: Liao et al. have the original DMOS, zsiqa the realigned."""
    names, labels, values = scores
    worn = (100 - labels) / 2 + np.random.default_rng(2).uniform(0, 4, 3000)
    found = table(write_own(tmp_path / "own", names, labels, values),
                  write_public(tmp_path / "public", names, worn, values))
    assert cell(found, METRIC).verdict == "match"
    assert cell(found, f"liao2024:{METRIC}").value == pytest.approx(srcc(values, labels), abs=ROUNDING)
    assert "tid2013: the labels of liao2024 are not those of own, which are used for both" in found.notes


def test_both_sides_use_the_pairs_that_both_have(tmp_path, scores):
    names, labels, values = scores
    kept = np.array([name.split("_")[1] != "17" for name in names])  # as CSIQ there, without one type
    other = values[kept] + np.random.default_rng(1).normal(0, 0.1, kept.sum())
    found = table(write_own(tmp_path / "own", names, labels, values),
                  write_public(tmp_path / "public", np.array(names)[kept], 100 - labels[kept], other))
    ours, theirs = cell(found, METRIC), cell(found, f"liao2024:{METRIC}")
    assert (ours.n, theirs.n, ours.expected, ours.mark, theirs.mark) == (2875, 2875, 3000, "p", "p")
    assert ours.value == pytest.approx(srcc(values[kept], labels[kept]), abs=ROUNDING)
    assert theirs.value == pytest.approx(srcc(other, labels[kept]), abs=ROUNDING)
    assert ours.verdict == "partial"


def test_one_side_alone_fills_the_table(tmp_path, scores):
    names, labels, values = scores
    own = write_own(tmp_path / "own", names, labels, values)
    found = table(own)
    assert [row.metric for row in found.rows if ":" in row.metric] == []
    assert (cell(found, METRIC).verdict, cell(found, METRIC).printed) == ("", None)
    public = write_public(tmp_path / "public", names, 100 - labels, values)
    found = table(public)
    assert {row.metric.split(":")[0] for row in found.rows} == {"liao2024"}
    assert cell(found, f"liao2024:{METRIC}").value == pytest.approx(srcc(values, labels), abs=ROUNDING)
    assert [spec["name"] for spec in choose_specs(open_folder(public).held())[0]] == ["liao2024"]
    assert len(table(tmp_path).rows) == 12, "without scores, what is needed is listed"
    assert all(one.verdict == "missing" for one in table(tmp_path).cells)


def test_a_row_that_agrees_with_another_metric_is_said_to_be_mislabelled(tmp_path, scores):
    names, labels, values = scores
    other = labels / 10 + np.random.default_rng(3).normal(0, 0.4, 3000)
    own = write_own(tmp_path / "own", names, labels, values)
    write_own(own, names, labels, other, KEY._replace(metric="deepjsd_vgg19"))
    public = write_public(tmp_path / "public", names, 100 - labels, other)
    write_public(public, names, 100 - labels, values, file="DeepJSD_VGG.txt")
    found = table(own, public)
    assert {cell(found, metric).verdict for metric in (METRIC, "deepjsd_vgg19")} == {"mislabelled"}
    assert "those of deepjsd_vgg19 agree in all 3" in cell(found, METRIC).why


def test_a_damaged_file_of_one_side_is_named_and_the_other_side_is_filled(tmp_path, scores):
    names, labels, values = scores
    own = write_own(tmp_path / "own", names, labels, values)
    public = write_public(tmp_path / "public", names, 100 - labels, values)
    (public / "TID2013" / FILE).write_text("x\n")
    found = table(own, public)
    assert any("line 1: expected a number, found x" in problem for problem in found.problems)
    assert cell(found, METRIC).value == pytest.approx(srcc(values, labels), abs=ROUNDING)
