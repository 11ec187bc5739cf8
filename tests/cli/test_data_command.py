import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trees
from PIL import Image

from zsiqa.cli.main import main

NAMES = ("live", "tid2013", "pipal", "kadid10k", "csiq")
SIZE = (240, 232)


@pytest.fixture
def data(tmp_path, replace_published):
    """A folder `datasets` with all five sets in miniature, and the facts of these in place of the published
    ones."""
    replace_published({name: {**getattr(trees, name)(tmp_path / "datasets" / name, size=SIZE),
                              "sizes": {"240x232": None}} for name in NAMES})
    return tmp_path / "datasets"


def test_list(data, capsys, monkeypatch):
    shutil.rmtree(data / "csiq")
    (data / "kadid10k/dmos.csv").unlink()
    label = data / "tid2013/mos_with_names.txt"
    label.write_text(label.read_text().replace("5.51429", "5.51428"))
    (data / "tid2013/mos.txt").unlink()
    monkeypatch.setenv("ZSIQA_LIVE", str(data / "live"))
    assert main(["data", "list"]) == 0
    _, live, tid2013, pipal, kadid10k, csiq, *_ = capsys.readouterr().out.splitlines()
    assert live.endswith(f"{data / 'live'} ($ZSIQA_LIVE)  labels as released")
    assert tid2013.endswith("labels, but not the release's")
    assert pipal.split()[:5] == ["pipal", "12", "higher", "=", "better"]
    assert pipal.split()[5:] == [f"{Path.cwd()}/datasets/pipal", "labels", "as", "released"]
    assert f"[kadid10k] no dmos.csv in {Path.cwd()}/datasets/kadid10k or below" in kadid10k
    assert csiq.split()[-2:] == [f"{Path.cwd()}/datasets/csiq", "no"]


@pytest.mark.parametrize("name", NAMES)
def test_check_of_a_whole_set(data, capsys, name):
    assert main(["data", "check", name, "--images", "--strict"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "digest   equals that of the release" in out
    images = [path for path in (data / name).rglob("*") if path.suffix.lower() in (".bmp", ".png")]
    assert f"sizes    240x232 ({len(images) - (5 if name == 'live' else 0)})" in out, (
        "but for LIVE's originals")
    assert out.endswith("complete and as released\n")
    assert "others" not in out


def test_check_of_a_set_with_a_named_pipe(data, capsys):
    image = data / "tid2013/distorted_images/i01_11_1.bmp"
    image.unlink()
    os.mkfifo(image)
    assert main(["data", "check", "tid2013", "--images"]) == 1
    assert "1 distorted image named in mos_with_names.txt missing" in capsys.readouterr().err


def test_check_of_a_damaged_set(data, capsys):
    root = data / "tid2013"
    (root / "distorted_images/i01_08_2.bmp").unlink()
    (root / "distorted_images/Thumbs.db").touch()
    (root / "distorted_images/extra.bmp").touch()
    (root / "reference_images/i25.bmp").write_bytes(b"torn")
    Image.new("RGB", (240, 240)).save(root / "distorted_images/I01_01_1.bmp")
    whole = (root / "distorted_images/i01_11_1.bmp").read_bytes()
    (root / "distorted_images/i01_11_1.bmp").write_bytes(whole[:5000])
    assert main(["data", "check", "tid2013", "--images"]) == 1
    out, err = capsys.readouterr()
    assert "others   1 image that no label names, left out, e.g. extra.bmp" in out
    assert "images   6 of 7" in out
    assert err.startswith("error: [tid2013] 1 distorted image named in mos_with_names.txt missing, "
                          "e.g. distorted_images/i01_08_2.bmp. Fix: unpack the archive again")
    for problem in (
            "1 image not readable, e.g. reference_images/i25.bmp (not a readable image (4 bytes)). Fix: ",
            "1 image of another size than the reference, e.g. distorted_images/I01_01_1.bmp (240x240, the "
            "reference "
            "240x232). Fix: ", "1 image not to be decoded, e.g. distorted_images/i01_11_1.bmp (not a "
                                   "readable image (OSError: image file is trunc"):
        assert f"error: [tid2013] {problem}" in err
    assert out.endswith("not complete and as released: see the errors\n")


def test_check_of_resized_and_small_images(data, capsys):
    for path in (data / "kadid10k/images").iterdir():
        Image.new("RGB", (200, 100)).save(path)
    Image.new("I;16", (200, 100)).save(data / "kadid10k/images/I01_01_01.png")
    assert main(["data", "check", "kadid10k"]) == 1
    err = capsys.readouterr().err
    assert ("1 image of another size than in the release, e.g. images/I01.png (200x100, expected 240x232)"
            in err)
    assert "4 images smaller than the window of 224 pixels, e.g. images/I01.png (200x100)" in err
    assert ("1 image with more than 8 bits a channel, expected 8-bit RGB, e.g. images/I01_01_01.png (mode "
            "I;16)" in err)


def test_check_names_the_missing_archive(data, capsys):
    shutil.rmtree(data / "pipal/Distortion_4")
    assert main(["data", "check", "pipal"]) == 1
    assert capsys.readouterr().err == (
            "error: [pipal] Distortion_4 (A0185-A0248) is missing: 6 images. Fix: unpack it "
                                       "here, too\n")


def test_other_labels_are_a_warning_or_with_strict_an_error(data, capsys):
    label = data / "kadid10k/dmos.csv"
    label.write_text(label.read_text().replace("4.57", "4.56"))
    assert main(["data", "check", "kadid10k"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("warning: [kadid10k] the labels in dmos.csv are not those of the release")
    assert "digest   differs from that of the release" in out
    assert out.endswith("complete\n")
    assert main(["data", "check", "kadid10k", "--strict"]) == 1
    assert capsys.readouterr().err.startswith("error: [kadid10k] the labels")
    assert main(["data", "manifest", "kadid10k", "--strict"]) == 1
    assert capsys.readouterr().out == ""


def test_equal_images(data, capsys):
    for number, path in enumerate(sorted(data.glob("csiq/dst_imgs/*/*"))):
        Image.new("RGB", SIZE, (min(number, 2), 7, 7)).save(path)
    shutil.copy(data / "csiq/src_imgs/elk.png", data / "csiq/src_imgs/1600.png")
    assert main(["data", "check", "csiq", "--hash"]) == 0
    assert "equal    4 images with the pixels of another one, e.g. " in capsys.readouterr().out


def test_manifest(data, capsys):
    out = data.parent / "new/live.csv"
    assert main(["data", "manifest", "live", "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [float(row["mos"]) for row in rows] == list(trees.LIVE_SCORES.values())
    assert rows[0] == {
        "row": "0", "dataset": "live", "pair_id": "live/jp2k/img2", "ref_id": "womanhat",
        "ref": "womanhat.bmp",
        "dis": "img2.bmp", "mos": "30.5", "native_mos": "30.5", "mos_std": "1.25",
        "higher_is_better": "False",
        "type": "jp2k", "type_name": "JPEG 2000", "level": "0.25", "subsets": "",
        "ref_path": "refimgs/womanhat.bmp",
        "dis_path": "jp2k/img2.bmp", "width": "240", "height": "232"}
    about = json.loads(out.with_suffix(".json").read_text())
    assert about["labels_sha256"] == about["released_sha256"]
    assert (about["schema"], about["dataset"], about["pairs"], about["notes"]) == (1, "live", 10, [])
    assert about["label_files"].keys() == {"dmos_realigned.mat", "refnames_all.mat"}
    assert f"wrote {out}" in capsys.readouterr().out


def test_manifest_on_standard_output_has_the_same_columns_for_every_set(data, capsys):
    headers, ids = set(), []
    for name in NAMES:
        assert main(["data", "manifest", name, "--root", str(data / name)]) == 0
        header, *rows = csv.reader(capsys.readouterr().out.splitlines())
        headers.add(tuple(header))
        assert [row[0] for row in rows] == [str(number) for number in range(len(rows))]
        ids += [row[2] for row in rows]
        paths = [row[header.index(column)] for row in rows for column in ("ref_path", "dis_path")]
        assert all((data / name / path).is_file() for path in paths)
    assert len(headers) == 1
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("arguments", "message"), [
    (["check", "mnist"], "error: unknown data set mnist; there are live, tid2013, pipal, kadid10k, csiq"),
    (["check", "live", "--root", "nowhere"],
     "error: [live] folder not found: {here}/nowhere. Fix: get databaserelease2.zip (0.7 GB)"),
    (["manifest", "live", "--out", "x.json"], "error: --out x.json: expected a name that ends in .csv"),
])
@pytest.mark.usefixtures("data")
def test_mistakes(capsys, arguments, message):
    assert main(["data", *arguments]) == 1
    assert capsys.readouterr().err.startswith(message.replace("{here}", str(Path.cwd())))


def test_manifest_needs_all_images(data, capsys):
    (data / "live/refimgs/bikes.bmp").unlink()
    assert main(["data", "manifest", "live"]) == 1
    assert ("1 reference image named in dmos_realigned.mat ... refnames_all.mat missing, e.g. "
            "refimgs/bikes.bmp"
            in capsys.readouterr().err)


def test_it_starts_fast(tmp_path):
    """No torch, and what reads images only where images are read."""
    code = ("import sys; from zsiqa.cli.main import main; main(['data', 'list']); "
            "sys.exit(bool({'torch', 'PIL', 'pandas', 'scipy'} & set(sys.modules)))")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    code = "import sys; import zsiqa.datasets.inspection; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
