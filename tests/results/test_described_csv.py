import numpy as np
import pytest
from conftest import noisy, official_rows, write_official

from zsiqa.cli.main import main
from zsiqa.evaluation.ranking import rank
from zsiqa.results.combined_sources import Sources, open_sources
from zsiqa.results.described_csv import DescribedFile, parse_source
from zsiqa.results.scores import ScoreKey
from zsiqa.types import StoreError

ABOUT = "metric=mine,dataset=tid2013,higher_is_better=true"


def load(path, text=ABOUT):
    folder = open_sources([f"{path},{text}" if text else str(path)])
    (key,) = folder.files
    return folder.load(key, folder.files[key])


@pytest.fixture
def table(tmp_path):
    def write(content):
        path = tmp_path / "mine.csv"
        path.write_text(content)
        return path
    return write


def test_a_csv_described_on_the_command_line(table):
    found = load(table("name,score,mos\nfolder/I01_01_1.BMP,0.5,5.5\ni02_10_3.bmp,,6\n"))
    assert found.key == ScoreKey("tid2013", "mine", "original")
    assert found.pairs.ids.tolist() == ["tid2013/i01_01_1", "tid2013/i02_10_3"]
    assert found.pairs.labels.tolist() == [94.5, 94.0], "the release's MOS, converted as zsiqa does"
    assert found.values[0] == 0.5
    assert np.isnan(found.values[1])
    assert (found.higher_is_better, found.expected, found.source) == (True, 3000, "mine")
    assert any("1 images have no finite score" in note for note in found.notes)
    assert any("no image of the distortion type 02, 03" in note for note in found.notes)


def test_a_yaml_file_beside_describes_several_metrics(table):
    path = table("image,ssim,lp\ni01_01_1.bmp,1,2\ni01_01_2.bmp,3,4\n")
    path.with_suffix(".yaml").write_text(
        "dataset: tid2013\nmetrics:\n  ssim: {higher_is_better: true, title: SSIM}\n"
        "  lpips: {score: lp, higher_is_better: false, perturbation: rotate, trained_on: tid2013}\n")
    folder = open_sources([str(path)])
    ssim, lpips = (folder.load(key, path) for key in folder.files)
    assert (ssim.key, ssim.values.tolist(), ssim.facts.title) == (
        ScoreKey("tid2013", "ssim", "original"), [1, 3], "SSIM")
    assert ((lpips.key.perturbation, lpips.values.tolist(), lpips.facts.trained_on)
            == ("rotate", [2, 4], ("tid2013",)))
    assert np.isnan(ssim.pairs.labels).all()


@pytest.mark.parametrize(("text", "message"), [
    ("", r"say metric \(such as my_metric\) and dataset .* in mine\.yaml beside it, or as FILE"),
    ("metric=a,dataset=live,higher_is_beter=true",
     r"says higher_is_beter \(did you mean higher_is_better\?\)"),
    ("metric=a,dataset=live,higher_is_better=up", "higher_is_better must be true or false, found 'up'"),
    ("metric", "expected key=value after each comma, found 'metric'"),
    (f"{ABOUT},score=prediction", "no column prediction for score; it has name, score, mos; say score="),
    ("metric=a,dataset=mine,higher_is_better=true", r"say label_higher_is_better=true \(MOS\) or false"),
])
def test_descriptions_that_are_refused(table, text, message):
    with pytest.raises(StoreError, match=message):
        load(table("name,score,mos\ni01_01_1.bmp,1,5\n"), text)


@pytest.mark.parametrize(("content", "message"), [
    ("name,score\na.bmp,1\n", r"no name is an image of tid2013, such as 'a\.bmp'"),
    ("name,score\n", "no rows"),
    ("name,score\ni01_01_1.bmp,1\nI01_01_1.BMP,2\n", "tid2013/i01_01_1 is listed twice, in lines 2 and 3"),
    ("name,score\ni01_01_1.bmp,good\n", "line 2: expected a number for score, found 'good'"),
    ("name,score,mos\ni01_01_1.bmp,1,\n", "1 images have no finite label"),
    ("name;score\ni01_01_1.bmp;1\n", "no column image or .*separate columns by commas"),
    ('name,score\n"i01_01_1.bmp,1\n', "not a CSV file"),
])
def test_files_that_are_refused(table, content, message):
    with pytest.raises(StoreError, match=message):
        load(table(content))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_refused(table, encoding):
    path = table("")
    path.write_bytes("name,score\nété.bmp,1\n".encode(encoding))
    with pytest.raises(StoreError, match=r"not a UTF-8 file .*save it as UTF-8"):
        load(path)


@pytest.mark.parametrize(("said", "expected"), [
    ("", (None, "")), (",as_authors=true", (True, "")), (",as_authors=false", (False, "")),
    (",unlike_authors=at 64 pixels", (False, "at 64 pixels")),
])
def test_only_its_description_tells_how_a_file_was_made(table, said, expected):
    """Not its name: zsiqa's own `dists` is unlike its authors."""
    path = table("name,score,mos\ni01_01_1.bmp,0.5,5.5\n")
    facts = load(path, f"metric=dists,dataset=tid2013,higher_is_better=false{said}").facts
    assert (facts.as_authors, facts.unlike_authors) == expected
    assert facts.trained_on == ("kadid10k",)


@pytest.mark.parametrize(("said", "message"), [
    ("as_authors=maybe", "as_authors must be true or false, found 'maybe'"),
    ("as_authors=true,unlike_authors=x", "as_authors=true and unlike_authors contradict each other"),
])
def test_a_contradictory_use_is_refused(table, said, message):
    with pytest.raises(StoreError, match=message):
        load(table("name,score\ni01_01_1.bmp,0.5\n"), f"{ABOUT},{said}")


def test_names_that_are_no_distorted_images_are_counted_and_left_out(table):
    found = load(table("name,score\nI01.BMP,1\ni01_01_1.bmp,2\nreadme,3\n"))
    assert found.values.tolist() == [2]
    assert ("mine.csv: 2 names are no distorted images of tid2013, left out: 'I01.BMP', 'readme'"
            in found.notes)


def test_names_of_live_need_their_folder(table):
    path = table("name,score\njp2k/img5.bmp,1\nLIVE/wn/img5.bmp,2\ngblur_img5.bmp,3\nimg5.bmp,4\n")
    found = load(path, "metric=a,dataset=live,higher_is_better=false")
    assert found.pairs.ids.tolist() == ["live/jp2k/img5", "live/wn/img5", "live/gblur/img5"]
    assert found.notes[0].endswith("1 names are no distorted images of live, left out: 'img5.bmp'")


def test_more_images_than_pairs_are_copies_of_references(table):
    names = [f"{folder}/img{number}.bmp" for folder in ("jp2k", "wn", "gblur", "jpeg")
             for number in range(1, 201)]
    with pytest.raises(StoreError, match="800 images, but live has 779 pairs; remove copies of references"):
        load(table("name,score\n" + "".join(f"{name},1\n" for name in names)),
             "metric=a,dataset=live,higher_is_better=false")


def test_a_source_is_a_path_before_anything_else(tmp_path):
    path = tmp_path / "a,metric=b.csv"
    path.write_text("")
    assert parse_source(str(path)) == (path, {})
    with pytest.raises(StoreError, match=r"no folder .*nowhere"):
        open_sources([str(tmp_path / "nowhere")])
    with pytest.raises(StoreError, match="no file .*nowhere; a description belongs to a CSV file"):
        open_sources([f"{tmp_path / 'nowhere'},metric=a"])


def test_scores_of_one_name_from_two_sources_stand_side_by_side(table, tmp_path):
    rows = official_rows("tid2013")
    write_official(tmp_path / "official/tid2013_psnr.csv", rows, noisy(rows, 1))
    values = noisy(rows, 2)
    path = table("image,score\n" + "".join(
        f"{dis},{value!r}\n" for (dis, *_), value in zip(rows[::-1], values.tolist()[::-1], strict=True)))
    sources = open_sources([str(tmp_path / "official"),
                            f"{path},metric=psnr,dataset=tid2013,higher_is_better=true"])
    assert isinstance(sources, Sources)
    assert {key.metric for key in sources.files} == {"psnr", "mine:psnr"}
    assert sources.copies(ScoreKey("pipal", "nobody", "original")) == []
    for command in ("tables", "audit", "report"):  # a missing cell of the paper is looked for in all sources
        assert main([command, "--scores", str(tmp_path / "official"),
                     f"{path},metric=psnr,dataset=tid2013,higher_is_better=true",
                     *(["--out", str(tmp_path / "page")] if command == "report" else [])]) in (0, 1)
    found = rank(sources, replicates=100).rows.set_index("metric")
    alone = rank(open_sources([str(tmp_path / "official")]), replicates=100).rows.set_index("metric")
    # Of equal pairs, summed in another order.
    assert found.loc["psnr", "srcc"] == pytest.approx(alone.loc["psnr", "srcc"], abs=1e-12)
    assert (found.loc["mine:psnr", "source"], found.loc["mine:psnr", "pairs"]) == ("mine", 3000)


def test_no_labels_anywhere_is_said(table):
    with pytest.raises(StoreError, match="its images have no labels; add a source that has them"):
        rank(DescribedFile(table("name,score\ni01_01_1.bmp,1\n"),
                           {"metric": "a", "dataset": "tid2013", "higher_is_better": True}), replicates=100)
