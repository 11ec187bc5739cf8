import math

import numpy as np
import pytest
import yaml
from conftest import official_rows, write_official
from scipy import stats

from zsiqa import CONFIGS
from zsiqa.cli.main import main
from zsiqa.evaluation.bootstrap import draw
from zsiqa.evaluation.claim_files import read_claims
from zsiqa.evaluation.claims import Count, count, judge
from zsiqa.evaluation.correlation import correlate
from zsiqa.evaluation.paired_tests import holm
from zsiqa.report.claims import conclude, to_csv, to_markdown, to_text
from zsiqa.results.combined_sources import open_sources
from zsiqa.results.folder import open_folder
from zsiqa.terminal import fit
from zsiqa.types import ZsiqaError

ROUNDING = 1e-12  # the same numbers, summed in another order
SIGMA = {"dists": 5.0, "fsim": 5.2, "lpips": 40.0, "msssim": 60.0}  # errors; labels are 0 to 100


def claim(rule, **fields):
    return {"name": rule, "text": "It is so.", "place": "Table 1", "rule": rule, "datasets": ["tid2013"],
            **fields}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """TID2013 by four metrics; under translation, a metric errs by another constant on each reference."""
    root, rows = tmp_path_factory.mktemp("claims"), official_rows("tid2013")
    labels = np.array([label for *_, label in rows])
    refs = np.unique([ref for _, ref, _ in rows], return_inverse=True)[1]
    for seed, (name, sigma) in enumerate(SIGMA.items()):
        random = np.random.default_rng(seed)
        scores = labels + sigma * random.normal(size=len(rows))
        write_official(root / f"tid2013_{name}.csv", rows, scores)
        moved = scores + 100 * np.random.default_rng(9).normal(size=25)[refs]
        write_official(root / f"tid2013_{name}_tra-1.csv", rows, moved)
    return open_folder(root)


def verdicts_on(folder, *claims, **paper):
    return judge(folder, {"paper": "A paper", "claims": list(claims), **paper}, replicates=200)[0]


@pytest.mark.parametrize(("one", "pooled", "within"), [
    (claim("each", better=["dists"], than=["lpips_alex"]), "holds", "holds"),
    (claim("each", better=["lpips_alex"], than=["dists"]), "contradicted", "contradicted"),
    (claim("each", better=["dists", "ms_ssim"], than=["lpips_alex", "lpips_alex"]), "mixed", "mixed"),
    (claim("all", groups=[{"better": ["dists", "fsimc"], "than": ["lpips_alex", "ms_ssim"]}]), "holds",
     "holds"),
    (claim("all", groups=[{"better": ["ms_ssim"], "than": ["dists", "fsimc"]}]), "contradicted",
     "contradicted"),
    (claim("best", better=["ms_ssim", "dists"], than=["lpips_alex"]), "holds", "holds"),
    (claim("best", better=["ms_ssim", "lpips_alex"], than=["dists", "fsimc"]), "contradicted",
     "contradicted"),
    (claim("equal", better=["dists"], than=["fsimc"], margin=0.02), "holds", "holds"),
    (claim("equal", better=["dists"], than=["ms_ssim"], margin=0.02), "contradicted", "contradicted"),
    (claim("order", lists=[["dists", "lpips_alex"], ["fsimc", "ms_ssim"]]), "holds", "holds"),
    (claim("order", lists=[["dists", "lpips_alex"], ["ms_ssim", "fsimc"]]), "contradicted", "contradicted"),
    (claim("drop", metrics=["dists"], margin=0.05, perturbations=["translate"]), "contradicted", "holds"),
    (claim("each", better=["dists"], than=["psnr"]), "undecidable", "undecidable"),
])
def test_verdicts_of_claims_whose_truth_is_known(folder, one, pooled, within):
    (found,) = verdicts_on(folder, one)
    assert (found.pooled.verdict, found.within.verdict) == (pooled, within)
    if pooled == "contradicted":
        assert found.pooled.against == found.pooled.total


def test_an_effect_is_that_of_a_direct_computation(folder):
    """Difference, interval and p-values of two metrics, from pairs resampled one by one."""
    better, than, third = "fsimc", "dists", "lpips_alex"
    (found,) = verdicts_on(folder, claim("each", better=[better, better], than=[than, third]))
    loaded = {key.metric: folder.load(key, path) for key, path in folder.files.items()
              if key.perturbation == "original"}
    pairs = loaded[better].pairs
    rows_of = [np.flatnonzero(pairs.refs == ref) for ref in np.unique(pairs.refs)]

    def srcc(metric, rows):
        return correlate(loaded[metric].quality[rows], pairs.oriented_labels[rows]).srcc

    p_values, p_within = [], []
    for one, other in zip(found.comparisons, (than, third), strict=True):
        every = np.arange(len(pairs.ids))
        assert one.value == pytest.approx(srcc(better, every) - srcc(other, every), abs=ROUNDING)
        drawn = []
        for counts in draw(25, 200):
            rows = np.concatenate([np.tile(rows_of[group], times) for group, times in enumerate(counts)])
            drawn.append(srcc(better, rows) - srcc(other, rows))
        assert (one.low, one.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=ROUNDING)
        error = np.std(drawn, ddof=1) * math.sqrt(25 / 24)
        p_values.append(2 * stats.t.sf(abs(one.value) / error, 24))
        inside = [srcc(better, rows) - srcc(other, rows) for rows in rows_of]
        assert one.within == pytest.approx(np.mean(inside), abs=ROUNDING)
        p_within.append(stats.ttest_1samp(inside, 0).pvalue)
    assert [one.p for one in found.comparisons] == pytest.approx(list(holm(p_values)), rel=1e-9)  # t of 1e-12
    assert [one.p_within for one in found.comparisons] == pytest.approx(list(holm(p_within)), rel=1e-9)


def test_holm_is_over_all_claims(folder):
    near = claim("each", better=["dists"], than=["fsimc"])
    (alone,) = verdicts_on(folder, near)
    among = verdicts_on(folder, near, *[claim("each", better=["fsimc"], than=["dists"])] * 3)[0]
    four = min(1.0, 4 * alone.comparisons[0].p)  # Holm's correction of four equal p-values
    assert among.comparisons[0].p == pytest.approx(four, rel=1e-9)


def test_a_claim_is_judged_again_with_the_scores_of_the_metrics_own_authors(folder, tmp_path):
    rows = official_rows("tid2013")
    path = tmp_path / "own.csv"
    values = 100 - np.array([label for *_, label in rows]) + np.random.default_rng(7).normal(size=len(rows))
    path.write_text("image,score\n" + "".join(f"{dis},{value}\n" for (dis, *_), value in zip(
        rows, values, strict=True)))
    sources = open_sources([str(folder.root), f"{path},metric=own,dataset=tid2013,higher_is_better=true"])
    (found,) = verdicts_on(sources, claim("each", better=["lpips_alex"], than=["dists"]),
                           counterparts={"lpips_alex": "own", "dists": "nobody"})
    assert found.pooled.verdict == "contradicted"
    assert found.other.pooled.verdict == "holds"
    assert found.other.comparisons[0].text == "own > dists"
    assert found.causes == ["input in [0, 1]; LPIPS expects [-1, 1]"], "of the metric that is replaced alone"
    (other,) = verdicts_on(sources, claim("each", better=["lpips_alex"], than=["dists"]),
                           counterparts={"dists": "own"})
    assert other.causes == ["scale native, its authors use short_256"]


def test_counts():
    assert conclude(Count("contradicted", 3, 0, 0, 2)) == "contradicted (0 of 3; 2 significantly against)"
    assert count([]).verdict == "undecidable"


@pytest.mark.parametrize(("change", "message"), [
    ({"rule": "better"}, "claim 1: rule 'better'; known are each, all, best"),
    ({"place": None, "than": ["a", "b"]}, "`better` has 1 metrics and `than` has 2; expected pairs"),
    ({"coefficients": ["rmse"]}, "coefficients rmse; known are plcc, srcc, krcc"),
    ({"margins": 1}, "unknown margins under rule each"),
])
def test_a_file_of_claims_that_is_wrong(tmp_path, change, message):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": [claim("each", better=["a"], than=["b"]) | change]}))
    with pytest.raises(ZsiqaError, match=message):
        read_claims(str(path))


def test_files_that_are_no_claims(tmp_path):
    with pytest.raises(ZsiqaError, match=r"no claims ghildyal \(did you mean ghildyal2025\?\)"):
        read_claims("ghildyal")
    for content, message in {"a: [": "not YAML", "paper: x": "a list of `claims`",
                             "claims: [1]": "claim 1: expected a mapping",
                             "claims: [{name: a}]": "lacks datasets",
                             "claims: []": "a list of `claims`"}.items():
        (tmp_path / "a.yaml").write_text(content)
        with pytest.raises(ZsiqaError, match=message):
            read_claims(str(tmp_path / "a.yaml"))
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"claims": [claim("order", lists=[["a"], ["b", "c"]])]}))
    with pytest.raises(ZsiqaError, match="the lists have different lengths"):
        read_claims(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIGS / "claims").glob("*.yaml")))
def test_the_files_of_claims_are_sound(name):
    paper = read_claims(name)
    names = [one["name"] for one in paper["claims"]]
    assert len(set(names)) == len(names)
    assert name != "ghildyal2025" or len(names) >= 12


def test_the_command_shows_and_writes(folder, tmp_path, capsys):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": [
        claim("each", better=["ms_ssim", "psnr", "fsimc"], than=["dists", "dists", "lpips_alex"])]}))
    assert main(["claims", str(path), "--scores", str(folder.root), "--replicates", "100", "--csv",
                 str(tmp_path / "comparisons.csv"), "--markdown", str(tmp_path / "claims.md")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("mixed (1 of 2, 1 significantly; 1 significantly against): each\n")
    assert "not judged: 1 of 3 comparisons: no scores of psnr on tid2013/original" in said
    assert (tmp_path / "comparisons.csv").read_text().count("\n") == 4
    assert "| It is so. | Table 1 | mixed (1 of 2" in (tmp_path / "claims.md").read_text()
    assert main(["claims", str(path), "--scores", str(folder.root), "--replicates", "100", "--csv", "-"]) == 0
    assert capsys.readouterr().out == (tmp_path / "comparisons.csv").read_text()


def test_text_fits_the_terminal(folder):
    found = verdicts_on(folder, claim("each", better=["ms_ssim"], than=["dists"]))
    assert max(map(len, fit(to_text(found, ["a " * 70])).splitlines())) <= 100
    assert to_markdown(found).count("\n") == 3
    assert to_csv(found).splitlines()[1].startswith("each,paper,ms_ssim > dists,tid2013,original,srcc,-")
