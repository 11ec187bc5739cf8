"""The report: what is computed, what the page holds, and the page in a browser."""

import base64
import csv
import html
import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import make_image, noisy, official_rows, write_official, write_pairs, write_stored
from PIL import Image
from scipy import stats

from zsiqa.cli.main import main
from zsiqa.cli.thumbnails import SIDE, encode_thumbnail, find_images
from zsiqa.datasets.pairs import read
from zsiqa.evaluation.analysis import AnalysisSettings
from zsiqa.evaluation.claim_files import read_claims
from zsiqa.evaluation.claims import claims_on, judge
from zsiqa.report.data import collect
from zsiqa.report.overview import overview
from zsiqa.report.page import to_json, to_page
from zsiqa.results.folder import open_folder
from zsiqa.results.score_file import ScoreFile, read_about
from zsiqa.results.scores import ScoreKey
from zsiqa.types import StoreError

HOSTILE = "$a</script><script>document.title='owned'</script>&\u2028\"'<img src=x onerror=fail()>$HOME`${1}`"
QUICK = AnalysisSettings(replicates=20)
LABELS = list(np.random.default_rng(7).uniform(0, 100, 24))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def scores_like(labels, seed, spread):
    """Distances that fall with the labels, more or less."""
    return list(200 - np.array(labels) + np.random.default_rng(seed).normal(0, spread, len(labels)))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three metrics on a data set of one's own: psnr suffers when images move, two distances do not. Read
    only."""
    root = tmp_path_factory.mktemp("store") / "scores"
    for perturbation, psnr_spread in (("original", 5), ("translate", 200), ("dilate", 100), ("rotate", 150)):
        for seed, (metric, spread) in enumerate([("psnr", psnr_spread), ("dinov1-features-wsd", 10),
                                                 ("dinov1-features-l2", 12)]):
            write_stored(root, ScoreKey("mine", metric, perturbation),
                         scores_like(LABELS, seed, spread), LABELS,
                         about={"sessions": [{"id": "1", "started": "2026-01-02", "device": "a device",
                                              "versions": {"torch": "9.9"},
                                              "git_commit": "abc123", "seconds": 3.2}]},
                         notes=["RANDOM WEIGHTS (seed 0)"] if metric.startswith("dino") else [])
    return root


@pytest.fixture
def copied(store, tmp_path):
    """The store, to be changed."""
    return shutil.copytree(store, tmp_path / "scores")


@pytest.fixture(scope="module")
def report(store):
    return collected(store)


@pytest.fixture(scope="module")
def page(report):
    return to_page(report, {}, encode_thumbnail)


def test_the_ranking_has_each_metric_with_its_values_and_can_be_downloaded(report, page):
    (one, *_) = report.datasets
    methods = one.analyses["original"].methods
    section = page[page.index('id="ranking"'):page.index('id="tables"')]
    for metric, row in methods.iterrows():
        assert f"<th scope='row'>{metric}</th><td data-value='{float(row['srcc'])!r}'" in section
    assert section.count("</tr>") == 1 + len({name for each in report.datasets
                                              for name in each.analyses["original"].methods.index})
    link = re.search(r'base64,([^"]+)"', section)[1]
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(link).decode())))
    best = [row["metric"] for row in rows if row[f"{one.name}_best"] == "True"]
    assert best == list(methods.index[methods["not_worse_than_best"]])


def test_the_ranking_says_which_metrics_are_run_as_their_authors_run_them(tmp_path):
    reason = "scale native, its authors use short_256"
    uses = {"psnr": ("unknown", ""), "dists": ("no", reason), "dists@short_256": ("yes", "")}
    for seed, metric in enumerate(uses):
        write_stored(tmp_path, ScoreKey("mine", metric, "original"), scores_like(LABELS, seed, 9), LABELS)
    section = overview(collected(tmp_path).datasets)
    link = re.search(r'base64,([^"]+)"', section)[1]
    rows = csv.DictReader(io.StringIO(base64.b64decode(link).decode()))
    assert {row["metric"]: (row["as_authors"], row["unlike_authors"]) for row in rows} == uses
    for metric, (answer, why) in uses.items():
        (line,) = [line for line in section.split("<tr>") if f">{metric}</th>" in line]
        assert line.split("</tr>")[0].endswith(f"title='{why}'>{answer}</td>")


def collected(root, **options):
    return collect(open_folder(root), QUICK, **options)


def data_of(page):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


# ---- what is computed


def test_worst_are_the_pairs_farthest_from_the_curve(tmp_path):
    labels = list(np.linspace(0, 100, 60))
    scores = [100 - label for label in labels]
    scores[7], scores[40] = scores[40], scores[7]
    write_stored(tmp_path / "s", ScoreKey("mine", "m", "original"), scores, labels)
    (points,) = collected(tmp_path / "s").datasets[0].points
    assert set(points.worst[:2].tolist()) == {7, 40}
    assert len(points.worst) == 10
    assert not points.fit.problem


def test_without_a_curve_the_worst_are_found_by_rank(tmp_path):
    labels = list(np.linspace(0, 100, 30))
    # a distance of the wrong sign
    write_stored(tmp_path / "s", ScoreKey("mine", "wrong", "original"), labels, labels)
    (points,) = collected(tmp_path / "s").datasets[0].points
    assert points.fit.problem
    assert "wrong sign" in points.fit.problem
    assert set(points.worst[:2].tolist()) == {0, 29}


def test_the_statistics_are_those_of_the_files(report):
    (found,) = report.datasets
    analysis = found.analyses["original"]
    expected = stats.spearmanr(-np.array(scores_like(LABELS, 1, 10)), LABELS).statistic
    assert analysis.methods.loc["dinov1-features-wsd", "srcc"] == pytest.approx(expected, abs=1e-12)
    assert list(found.analyses) == ["original", "translate", "dilate", "rotate"]
    assert analysis.within.shape == (3, 12)


def test_other_pairs_or_labels_make_no_scatter_plot_and_are_said(tmp_path):
    for metric, labels in (("a", LABELS), ("b", LABELS), ("c", LABELS[::-1])):
        write_stored(tmp_path / "s", ScoreKey("mine", metric, "original"), scores_like(LABELS, 1, 9), labels)
    (found,) = collected(tmp_path / "s").datasets
    assert [one.metric for one in found.points] == ["a", "b"]
    assert any("c" in note and "labels are not those of most" in note for note in found.notes)


def test_order_of_the_rows_does_not_matter(tmp_path):
    scores, ids = scores_like(LABELS, 1, 9), [f"p{number}" for number in range(24)]
    write_stored(tmp_path / "s", ScoreKey("mine", "a", "original"), scores, LABELS, ids=ids)
    write_stored(tmp_path / "s", ScoreKey("mine", "b", "original"), scores[::-1], LABELS[::-1], ids=ids[::-1])
    write_stored(tmp_path / "s", ScoreKey("mine", "c", "original"), scores, LABELS, ids=ids)
    points = {one.metric: one for one in collected(tmp_path / "s").datasets[0].points}
    assert np.array_equal(points["a"].scores, points["b"].scores)


def test_points_beyond_the_bound_are_named(store, monkeypatch):
    monkeypatch.setattr("zsiqa.report.data.MOST_POINTS", 24 * 5)
    (found,) = collected(store).datasets
    assert [one.shown for one in found.points] == [True] * 5 + [False] * 7
    assert [one.perturbation for one in found.points[:3]] == ["original"] * 3
    (note,) = [note for note in found.notes if "at most 120 points" in note]
    assert all(f"{one.metric}/{one.perturbation}" in note for one in found.points[5:])


def test_constant_few_and_missing_scores_are_said_and_the_rest_is_there(copied):
    nan = float("nan")
    write_stored(copied, ScoreKey("mine", "constant", "original"), [1.0] * 24, LABELS)
    write_stored(copied, ScoreKey("mine", "few", "original"), [1.0, 2.0] + [nan] * 22, LABELS)
    write_stored(copied, ScoreKey("mine", "gaps", "original"), [nan, *scores_like(LABELS, 5, 9)[1:]], LABELS)
    report = collected(copied)
    (found,) = report.datasets
    notes = " ".join([*found.notes, *found.analyses["original"].notes])
    assert "few/original: left out, only 2 pairs have a usable score" in notes
    assert "gaps: 1 of 24 pairs have no usable score" in notes
    assert found.analyses["original"].n == 23
    assert found.analyses["translate"].n == 24
    page = to_page(report, {}, encode_thumbnail)
    constant = next(one for one in data_of(page)["datasets"][0]["points"] if one["metric"] == "constant")
    assert constant["fit"] is None
    assert "fewer than 4 different scores" in constant["problem"]
    assert "few/original" in page
    assert report.problems == []


def test_nothing_but_two_pairs(tmp_path):
    write_stored(tmp_path / "s", ScoreKey("mine", "few", "original"), [1.0, 2.0])
    report = collected(tmp_path / "s")
    assert report.datasets == []
    assert any("only 2 pairs" in note for note in report.notes)
    assert "only 2 pairs" in to_page(report, {}, encode_thumbnail)


def test_an_empty_folder_is_one_error(tmp_path, capsys):
    with pytest.raises(StoreError, match="holds no scores"):
        collected(tmp_path)
    assert main(["report", "--scores", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_tables_are_those_with_a_cell_and_all_metrics_of_the_other_data_sets(report, tmp_path):
    assert [table.title for table in report.tables] == ["Stored scores: mine"]
    rows = official_rows("live")
    write_official(tmp_path / "theirs/live_dinov1_l2.csv", rows, noisy(rows, 1))
    write_official(tmp_path / "theirs/live_psnr.csv", rows, noisy(rows, 2))
    tables = collected(tmp_path / "theirs").tables
    assert [table.name for table in tables] == ["table2", "stored_live"]


def test_runs_of_the_same_origin_are_one_line(report, page):
    plain, random = sorted(report.runs, key=lambda run: run.notes)
    assert plain.metrics == ("psnr",)
    assert random.metrics == ("dinov1-features-l2", "dinov1-features-wsd")
    assert random.sessions[0]["git_commit"] == "abc123"
    assert "RANDOM WEIGHTS" in page.partition("<nav")[0], "a caveat stands at the top"
    for word in ("abc123", "torch 9.9", "a device", "2026-01-02"):
        assert word in page.partition('id="runs"')[2]


# ---- the page


def test_each_table_downloads_as_csv(report, page):
    links = re.findall(r'<a class="csv" download="([^"]*)" '
                       r'href="data:text/csv;charset=utf-8;base64,([^"]*)">', page)
    assert [name for name, _ in links] == ["ranking.csv", *(f"{table.name}.csv" for table in report.tables)]
    frame = pd.read_csv(io.BytesIO(base64.b64decode(links[1][1])))
    cells = report.tables[0].cells
    assert frame["value"].tolist() == pytest.approx([cell.value for cell in cells], nan_ok=True)
    assert frame["dataset"].tolist() == [cell.column.dataset for cell in cells]


def test_claims_are_judged_on_a_set_of_ones_own_and_contradictions_are_said(store, tmp_path):
    path = tmp_path / "claims.yaml"
    one = {"text": "It <is> so.", "place": "Table 1", "rule": "each", "datasets": ["tid2013"]}
    path.write_text(yaml.safe_dump({"claims": [
        one | {"name": "right", "better": ["dinov1-features-wsd"], "than": ["psnr"],
               "perturbations": ["rotate"]},
        one | {"name": "wrong", "better": ["psnr"], "than": ["dinov1-features-wsd"],
               "perturbations": ["rotate"]},
        one | {"name": "unknown", "better": ["psnr"], "than": ["nothing"]}]}))
    report = collected(store, claims=str(path))
    assert [one.on("mine").verdict for one in report.verdicts] == ["holds", "contradicted", "undecidable"]
    page = section(to_page(report, {}, encode_thumbnail), "claims")
    assert "On mine the numbers contradict the paper's message: wrong.</p>" in page
    assert "Without the scores that they need: unknown." in page
    assert re.findall(r'<tr><td>It &lt;is&gt; so.</td><td>Table 1</td><td class="(\w+)"', page) == [
        "holds", "contradicted"]
    direct, _ = judge(open_folder(store), claims_on(read_claims(str(path)), ["mine"]), QUICK.replicates)
    for one, shared in zip(direct, report.verdicts, strict=True):
        assert [comparison[6:] for comparison in one.comparisons] == [
            pytest.approx(comparison[6:], nan_ok=True) for comparison in shared.comparisons], "the same draws"


def test_json_cannot_end_its_script():
    text = to_json({"name": HOSTILE})
    assert not re.search(r"[<>&\u2028\u2029]", text)
    assert json.loads(text)["name"] == HOSTILE


def test_scores_and_labels_survive_packing(page):
    (found,) = data_of(page)["datasets"]
    points = next(one for one in found["points"] if one["metric"] == "psnr"
                  and one["perturbation"] == "original")
    steps = np.frombuffer(base64.b64decode(points["scores"]["data"]), "<u2")
    scores = points["low"] + steps * (points["high"] - points["low"]) / 65534
    # Half of one of 65,534 steps.
    np.testing.assert_allclose(scores, scores_like(LABELS, 0, 5),
                               atol=(points["high"] - points["low"]) / 131_000)
    labels = np.frombuffer(base64.b64decode(found["labels"]["data"]), "<f4")
    np.testing.assert_allclose(labels, LABELS, rtol=1e-7)  # float32


def test_the_page_asks_for_nothing(page):
    # plotly.js names addresses, and asks for none
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", own)
    assert not re.search(r"@import|url\(", own)
    assert "default-src 'none'" in own, "the browser would refuse it, too"
    assert page.count("plotly.js v") == 1


def test_damaged_and_partial_files_are_said_and_the_rest_is_rendered(copied, tmp_path, capsys):
    (copied / "mine/psnr/rotate.csv").write_text("nonsense\n1,2\n")
    (copied / "mine/dinov1-features-l2/dilate.json").write_text("{}")
    cut = copied / "mine/dinov1-features-wsd/dilate.csv"
    cut.write_text("".join(cut.read_text().splitlines(keepends=True)[:21]))
    for perturbation in ("translate", "dilate"):
        write_stored(copied, ScoreKey("mine", "three", perturbation),
                     [1.0, 2.0, 4.0] + [float("inf")] * 21, LABELS)
    assert main(
            ["report", "--scores", str(copied), "--out", str(tmp_path / "out"), "--replicates", "100"]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("metrics (")]
    notes = ["p: scores of 3 of 24 pairs: mine (translate, dilate): three"]
    left_out = [
        f"mine ({name}): few pairs: three has scores of 3 of 24, and is left out (--metric keeps it in)"
                for name in ("translate", "dilate")]
    assert {line for line in said
            if line.startswith("note: ")} == {f"note: {note}" for note in [*notes, *left_out]}
    assert sum(line.startswith("error: ") for line in said) == 3
    page = (tmp_path / "out/index.html").read_text()
    assert page.count("could not be read") == 3
    assert "rotate.csv" in page
    assert all(f"<li>{note}</li>" in page for note in notes)
    assert len(data_of(page)["datasets"][0]["points"]) == 11


def test_runs_that_are_not_complete_are_told_apart(copied):
    for perturbation, when in (("original", "1"), ("rotate", "2")):
        path = copied / "mine/psnr" / f"{perturbation}.csv"
        about = read_about(path)
        begun = ScoreFile(path, about["identity"])
        scores = begun.read()
        path.unlink()
        begun.sidecar.unlink()
        begun.begin({name: about[name] for name in ("dataset", "notes", "pairs_file")}, {"started": when})
        begun.append(*next(iter(scores.items())))
        begun.close()
    warnings = re.findall(r'<p class="warning">(mine .*?)</p>',
                          to_page(collected(copied), {}, encode_thumbnail))
    assert warnings == [f"mine ({name}): not all pairs have a score yet (see Runs): psnr" for name
                        in ("original", "rotate")]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--dataset", "other"], "no scores of other in"), (["--root", "other=x"], "--root: no scores of other"),
])
def test_arguments_that_fit_nothing(store, tmp_path, capsys, arguments, message):
    assert main(["report", "--scores", str(store), "--out", str(tmp_path / "out"), *arguments]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_no_torch(store, tmp_path):
    some = shutil.copytree(store, tmp_path / "some", ignore=shutil.ignore_patterns("translate.*", "dilate.*"))
    code = ("import sys; from zsiqa.cli.main import main; print(main(sys.argv[1:])); print('torch' in "
            "sys.modules)")
    done = subprocess.run(
        [sys.executable, "-c", code, "report", "--scores", str(some), "--out", "out", "--replicates",
                           "100"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-2:] == ["0", "False"], done.stderr


# ---- thumbnails


@pytest.fixture
def pictured(tmp_path):
    """A store whose data set is a CSV of pairs that is at hand."""
    csv = write_pairs(tmp_path / "images", [(64, 48)] * 3, 4)
    pairs = read(csv).pairs
    key = ScoreKey("pairs", "psnr", "original")
    write_stored(tmp_path / "scores", key, scores_like([pair.mos for pair in pairs], 3, 1.0),
                 [pair.mos for pair in pairs], ids=[pair.pair_id for pair in pairs],
                 about={"config": {"dataset": {"name": "pairs", "csv": str(csv)}}})
    return tmp_path


def images_of(folder, data_dir=None, root=None):
    return find_images("pairs", open_folder(folder / "scores").files, data_dir, root)


def test_thumbnails_are_found_by_the_sidecar(pictured):
    found, why = images_of(pictured)
    assert why == ""
    data = data_of(to_page(collected(pictured / "scores"), {"pairs": (found, why)}, encode_thumbnail))
    (one,) = data["datasets"]
    assert sorted(map(int, one["images"])) == sorted(one["points"][0]["worst"])
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in data["thumbnails"])
    assert len(data["thumbnails"]) <= 13
    assert one["imagesNote"] == ""


def test_images_that_moved_are_said_and_can_be_pointed_at(pictured):
    (pictured / "images").rename(pictured / "it's elsewhere")
    found, why = images_of(pictured)
    assert found == {}
    assert "pairs.csv here" in why
    page = to_page(collected(pictured / "scores"), {"pairs": (found, why)}, encode_thumbnail)
    assert "No pictures: no " in data_of(page)["datasets"][0]["imagesNote"]
    for options in ({"root": pictured / "it's elsewhere/pairs.csv"},
                    {"data_dir": pictured / "it's elsewhere"}):
        found, why = images_of(pictured, **options)
        assert why == ""
        assert all(path.is_file() for pair in found.values() for path in pair)


def test_a_sidecar_cannot_have_anything_executed(pictured):
    sidecar = pictured / "scores/pairs/psnr/original.json"
    said = json.loads(sidecar.read_text())
    said["config"]["dataset"]["read"] = {"_target_": "pathlib.Path.mkdir", "self": str(pictured / "owned")}
    del said["checksum"], said["csv_sha256"]
    sidecar.write_text(json.dumps(said))
    assert images_of(pictured)[1] == ""
    assert not (pictured / "owned").exists()


def test_images_that_cannot_be_decoded_have_no_thumbnail(pictured):
    for path in (pictured / "images").glob("dis0*.png"):
        path.write_bytes(b"no image")
    one = data_of(to_page(collected(pictured / "scores"), {"pairs": images_of(pictured)}, encode_thumbnail))[
        "datasets"][0]
    assert one["images"]
    assert all("dis0" not in one["ids"][int(row)] for row in one["images"])


def test_the_demo_is_not_built_for_a_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_images("demo", {}, None, None) == ({}, "no folder datasets/demo here")
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_of_unknown_origin(tmp_path):
    found, why = find_images("mine", {}, tmp_path, None)
    assert found == {}
    assert "no data set that can be read" in why


# ---- in a browser


def opened(page, tmp_path, address=""):
    """The page's DOM after its scripts have run. Fails on any error that the page has noted."""
    if CHROMIUM is None:
        pytest.skip("no chromium here; apt-get install chromium")
    file, profile = tmp_path / "page.html", tmp_path / f"profile{len(list(tmp_path.glob('profile*')))}"
    file.write_text(page, encoding="utf-8")
    profile.mkdir()
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={profile}", "--window-size=1280,2000", "--virtual-time-budget=30000", "--dump-dom",
         f"{file.as_uri()}{address}"], capture_output=True, text=True, check=False, timeout=300)
    head = re.search(r'<html lang="en"([^>]*)>', done.stdout)
    assert head, done.stderr
    assert 'data-errors=""' in head[1]
    assert 'data-ready="yes"' in head[1]
    return re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)


def section(dom, name):
    return re.search(rf'<section id="{name}">.*?</section>', dom, re.DOTALL)[0]


def shown_rows(dom):
    return re.findall(r'<tr data-metric="([^"]*)">', dom)


def test_in_a_browser_tables_and_plots_are_there_and_the_mouse_tells_the_pair(page, tmp_path):
    hover = """<script>new MutationObserver((_, observer) => {
        if (document.documentElement.dataset.ready !== "yes") return;
        observer.disconnect();
        Plotly.Fx.hover("scatter-plot", [{curveNumber: 0, pointNumber: 0}]);
        Plotly.toImage("robustness-plot", {format: "svg"})
          .then(uri => { document.body.dataset.saved = uri; });
    }).observe(document.documentElement, {attributes: true});</script>"""
    dom = opened(page.replace("<script type", f"{hover}<script type", 1), tmp_path)
    assert len(shown_rows(dom)) == 3
    assert re.search(r'<body data-saved="data:image/svg\+xml,[^"]*dinov1-features-wsd', dom), "a plot as SVG"
    for name in ("scatter", "robustness", "types", "references", "significance"):
        assert 'class="main-svg"' in section(dom, name), name
    assert len(re.findall(r'<path class="point"', section(dom, "scatter"))) == 24
    assert section(dom, "worst").count("<li>") == 10
    assert "most is lost by psnr" in section(dom, "robustness")
    assert len(re.findall(r'<g class="point"', section(dom, "robustness"))) == 12
    assert "dis0" in re.search(r'<g class="hoverlayer">.*?</g></g>', section(dom, "scatter"), re.DOTALL)[0]


@pytest.mark.slow
def test_in_a_browser_the_address_decides_what_is_shown(page, tmp_path):
    dom = opened(page, tmp_path, "#q=DINO%20l2&perturbation=translate&columns=chosen")
    assert shown_rows(dom) == ["dinov1-features-l2"]
    assert "1 of 3 rows" in dom
    assert "dinov1-features-l2, translate images: 24 of 24" in section(dom, "scatter")
    headings = re.findall(r'<th colspan="\d+" data-span="\d+">([^<]*)</th>', section(dom, "tables"))
    assert "translate" in headings
    assert "rotate" not in headings
    assert len(re.findall(r'<g class="point"', section(dom, "robustness"))) == 4
    dom = opened(page, tmp_path,
                 "#q=nosuchmetric&dataset=nosuchset&coefficient=%00&order=<b>&perturbation=rotate"
                                 "&metric=dinov1-features-wsd")
    assert shown_rows(dom) == []
    assert "0 of 3 rows" in dom
    assert "dinov1-features-wsd, rotate images" in section(dom, "scatter")


@pytest.mark.slow
def test_in_a_browser_hostile_names_are_names(tmp_path):
    name = HOSTILE.replace("/", "|")
    root = tmp_path / "scores"
    for metric in (name, "psnr"):
        write_stored(root, ScoreKey(name[:100], metric[:40], "original"), scores_like(LABELS, 1, 9), LABELS,
                     ids=[f"{HOSTILE}{number}" for number in range(24)], notes=[HOSTILE],
                     about={"sessions": [{"id": HOSTILE, "device": HOSTILE, "versions": {HOSTILE: HOSTILE}}]})
    report = collected(root)
    dom = opened(to_page(report, {name[:100]: ({}, HOSTILE)}, encode_thumbnail), tmp_path)
    assert "<title>zsiqa: report</title>" in dom
    assert "<img src" not in dom
    assert html.escape(HOSTILE, quote=False) in dom


@pytest.mark.slow
def test_in_a_browser_the_papers_figures_and_differences(tmp_path):
    rows = official_rows("live")
    for file, seed in (("live_dinov1_l2.csv", 1), ("live_psnr.csv", 2)):
        write_official(tmp_path / "theirs" / file, rows, noisy(rows, seed))
    report = collected(tmp_path / "theirs")
    page = to_page(report, {}, encode_thumbnail)
    (cell,) = [cell for table in report.tables[:1] for cell in table.cells
               if cell.verdict == "drift" and cell.column.statistic == "srcc"]
    assert f">{cell.value:.3f}</span> <small>[{cell.printed:.3f}]</small>" in section(page, "tables")
    dom = opened(page, tmp_path, "#show=difference")
    (shown,) = re.findall(
        r'<td class="drift" title="live/original/srcc[^>]*style="([^"]*)">([^<]*)</td>', dom)
    assert shown[1] == f"{cell.value - cell.printed:+.3f}"
    assert "213, 94, 0" in shown[0], "orange: lower than the paper's"
    assert "no sidecars" in section(dom, "runs")
    assert "No pictures" in section(dom, "worst")


def test_in_a_browser_thumbnails_are_shown(pictured):
    page = to_page(collected(pictured / "scores"), {"pairs": images_of(pictured)}, encode_thumbnail)
    dom = opened(page, pictured)
    assert len(
            re.findall(
                r'<img src="data:image/jpeg;base64,[^"]+" alt="(?:reference|distorted) image', dom)) == 20


@pytest.mark.slow
def test_in_a_browser_nothing_breaks_without_anything_to_plot(tmp_path):
    write_stored(tmp_path / "s", ScoreKey("mine", "few", "original"), [1.0, 2.0])
    dom = opened(to_page(collected(tmp_path / "s"), {}, encode_thumbnail), tmp_path)
    assert "only 2 pairs" in section(dom, "notes")


def test_a_thumbnail_is_small(tmp_path):
    make_image(900, 300, 1).save(tmp_path / "a.png")
    uri = encode_thumbnail(tmp_path / "a.png")
    assert Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size == (SIDE, round(SIDE / 3))
