"""`zsiqa score` on pairs and folders, with every kind of image and mistake."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import add_noise, make_image, tensor
from PIL import Image

from zsiqa.baselines.psnr import PSNR
from zsiqa.cli.main import main
from zsiqa.datasets.pairing import pair_up
from zsiqa.scoring.metric import Metric
from zsiqa.scoring.scaling import Native, ReflectPad
from zsiqa.types import ZsiqaError

NAME = "efficientnet_lite0-features-cosine"
TINY = ["--backbone", "timm", "--override", "backbone.model_name=test_vit.r160_in1k", "--override",
        "backbone.pretrained=false", "--override", "window=160", "--override", "stride=140"]
TURNED = Image.Exif()
TURNED[0x0112] = 3  # upside down
FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (170, 160))]}
TINY_NAME = "test_vit.r160_in1k_RANDOM_WEIGHTS-features"


@pytest.fixture
def pair(tmp_path):
    ref = make_image(300, 240, 1)
    dis = add_noise(ref, 12, 2)
    ref.save(tmp_path / "ref.png")
    dis.save(tmp_path / "dis.png")
    return tmp_path / "ref.png", tmp_path / "dis.png"


@pytest.fixture
def folders(tmp_path):
    """Three sizes, of which one is below the window, in folders ref and dis."""
    for number, size in enumerate([(170, 160), (160, 165), (100, 165)]):
        for folder, sigma in (("ref", 0), ("dis", 10)):
            (tmp_path / folder / "sub").mkdir(parents=True, exist_ok=True)
            name = f"sub/{number}.png" if number == 1 else f"{number}.png"
            add_noise(make_image(*size, number), sigma, number).save(tmp_path / folder / name)
    return tmp_path / "ref", tmp_path / "dis"


def score(*arguments):
    return main(["score", *map(str, arguments)])


def test_one_pair_several_metrics_and_baselines(pair, tmp_path, capsys):
    assert score(*pair, "--backbone", "efficientnet_lite0", "--distance", "cosine,l2", "--baseline",
                 "psnr", "--csv",
                 tmp_path / "new" / "out.csv", "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    scores = found["pairs"][0]["scores"]
    images = [tensor(Image.open(path)) for path in pair]
    # rel: other batches, tests/scoring/test_metric.py
    assert scores[NAME] == pytest.approx(Metric()(*images).item(), rel=1e-6)
    assert scores["efficientnet_lite0-features-l2"] == pytest.approx(
            Metric(distance="l2")(*images).item(), rel=1e-6)
    assert scores["psnr"] == pytest.approx(PSNR()(*images).item(), rel=1e-6)
    assert found["metrics"]["psnr"] == {"higher_is_better": True}
    assert found["metrics"][NAME] == {"higher_is_better": False}
    with (tmp_path / "new" / "out.csv").open(newline="") as stream:
        [row] = csv.DictReader(stream)
    assert {name: float(row[name]) for name in scores} == scores, "all digits"
    assert (row["ref"], row["error"]) == (str(pair[0]), "")


def test_the_default_is_that_of_metric_and_said_to_be_unvalidated(pair, capsys):
    assert score(*pair) == 0
    streams = capsys.readouterr()
    [note] = [line for line in streams.err.splitlines() if "validated against human opinion" in line]
    assert note.startswith("note: EfficientNet-Lite0 has not been validated")
    name, value, *direction = streams.out.split()
    assert (name, direction) == (NAME, ["lower", "is", "better"])
    assert float(value) == pytest.approx(
            Metric()(*(tensor(Image.open(path)) for path in pair)).item(), rel=1e-6)


def test_what_differs_from_the_paper_is_said(pair, capsys):
    assert score(*pair, "--override", "stride=112", "--override", "protocol.padding=up") == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert any("stride=112" in note for note in notes)
    assert any("protocol.padding=up" in note for note in notes)


def test_random_weights_are_named_as_such(pair, capsys):
    assert score(*pair, *TINY, "--distance", "cosine") == 0
    streams = capsys.readouterr()
    assert streams.out.startswith(f"{TINY_NAME}-cosine ")
    assert "RANDOM WEIGHTS (seed 0): these scores mean nothing" in streams.err


@pytest.mark.parametrize(("mode", "seen"), [
    ("L", lambda image: image.convert("L").convert("RGB")),
    ("P", lambda image: image.convert("P").convert("RGB")),
    ("RGBA", lambda image: image),
])
def test_grey_palette_and_alpha(mode, seen, tmp_path, capsys):
    """Grey is repeated, palettes are resolved, alpha is dropped, however transparent."""
    image, ref = make_image(170, 160, 3), make_image(170, 160, 4)
    converted = image.convert(mode)
    if mode == "RGBA":
        converted.putalpha(7)
    converted.save(tmp_path / "dis.png")
    ref.save(tmp_path / "ref.png")
    assert score(tmp_path / "ref.png", tmp_path / "dis.png", "--baseline", "psnr", "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)["pairs"][0]["scores"]["psnr"]
    assert found == pytest.approx(PSNR()(tensor(ref), tensor(seen(image))).item(), rel=1e-6)


@pytest.mark.parametrize(("name", "options", "note"), [
    ("turned.jpg", {"exif": TURNED}, "scored as stored, not as turned by EXIF"),
    ("turned.png", {"exif": TURNED}, "scored as stored, not as turned by EXIF"),
    ("upright.jpg", {"exif": Image.Exif()}, None),
    ("many.gif", FRAMES, "scored by the first frame alone"),
    ("many.tif", FRAMES, "scored by the first frame alone"),
    ("one.gif", {}, None),
])
def test_what_is_left_out_of_a_file_is_a_note(name, options, note, tmp_path, capsys):
    image, ref, dis = make_image(170, 160, 3), tmp_path / "ref.png", tmp_path / name
    image.save(ref)
    image.save(dis, **options)
    assert score(ref, dis, "--baseline", "psnr", "--json", "-") == 0
    streams = capsys.readouterr()
    assert streams.err.splitlines() == ([f"note: {note}: {dis}"] if note else [])
    found = json.loads(streams.out)["pairs"][0]["scores"]["psnr"]
    with Image.open(dis) as stored:
        assert found == pytest.approx(PSNR()(tensor(image), tensor(stored)).item(), rel=1e-6)


def test_sixteen_bits_are_refused(pair, tmp_path, capsys):
    Image.fromarray(np.zeros((240, 300), np.uint16)).save(tmp_path / "deep.png")
    assert score(pair[0], tmp_path / "deep.png", "--baseline", "psnr") == 1
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "Pillow mode I;16, expected 8 bits a channel; convert it" in streams.err


def test_a_named_pipe_in_place_of_an_image_is_an_error(pair, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.png")
    assert score(pair[0], tmp_path / "pipe.png", "--baseline", "psnr") == 1
    assert capsys.readouterr().err == (
        f"error: pipe.png: distorted image {tmp_path}/pipe.png: is a named pipe, expected an "
        f"image file; give the path of a file\n")


def test_large_images_need_an_option_that_the_message_names(tmp_path, capsys):
    for name, size in {"ref": (1500, 1000), "dis": (1500, 1000), "other": (1000, 1500)}.items():
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    ref, dis, other = (tmp_path / f"{name}.png" for name in ("ref", "dis", "other"))
    assert score(ref, dis, "--baseline", "psnr", "--max-megapixels", "1") == 1
    assert "1500 x 1000 pixels, expected at most 1 megapixels; " in (said := capsys.readouterr().err)
    option = re.search("(--max-megapixels) ([0-9]+)", said).groups()
    assert score(ref, dis, "--baseline", "psnr", *option) == 0
    assert score(ref, other, "--baseline", "psnr", "--max-megapixels", "1", "--pad", "reflect") == 1
    assert capsys.readouterr().err.endswith(
        "the distorted image is 1000 x 1500 but its reference is 1500 x 1000; they must have the same "
        "size\n"), "which no option would correct"
    assert score(ref, dis, "--baseline", "psnr", "--max-megapixels", "much") == 1
    assert "max_megapixels must be a whole number of at least 1, found 'much'" in capsys.readouterr().err


def test_folders_one_error_a_problem_and_the_others_go_on(folders, tmp_path, capsys):
    ref, dis = folders
    (dis / "broken.png").write_bytes(b"no image")
    make_image(170, 160, 0).save(ref / "broken.png")
    make_image(170, 160, 0).save(ref / "alone.png")
    make_image(170, 160, 0).save(ref / "size.png")
    make_image(170, 161, 0).save(dis / "size.png")
    make_image(170, 160, 0).save(ref / "smaller.png")
    make_image(170, 150, 0).save(dis / "smaller.png")
    (dis / "notes.txt").write_text("no image, and not missed")
    files = ["--csv", tmp_path / "out.csv", "--json", tmp_path / "o.json"]
    assert score(ref, dis, *TINY, "--baseline", "psnr", *files) == 1
    streams = capsys.readouterr()
    errors = [line for line in streams.err.splitlines() if line.startswith("error:")]
    assert errors[0] == f"error: {ref / 'alone.png'} has no counterpart in {dis}"
    assert [line.split()[1] for line in errors[1:]] == ["2.png:", "broken.png:", "size.png:", "smaller.png:"]
    assert "2.png: the image has 100 x 165 pixels" in errors[1]
    assert errors[1].endswith("; --pad reflect enlarges it")
    assert "not a readable image" in errors[2]
    assert "170 x 161 but its reference is 170 x 160" in errors[3]
    assert errors[4].endswith(
            "the distorted image is 170 x 150 but its reference is 170 x 160; they must have the "
                              "same size")
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = {row["dis"].rpartition("dis/")[2]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["0.png", "2.png", "broken.png", "size.png", "smaller.png", "sub/1.png"]
    assert (rows["2.png"][f"{TINY_NAME}-cosine"], rows["broken.png"]["psnr"]) == ("", "")
    assert float(rows["2.png"]["psnr"]) > 20, "PSNR takes any size"
    stored = json.loads((tmp_path / "o.json").read_text())
    assert [len(one["errors"]) for one in stored["pairs"]] == [0, 1, 1, 1, 1, 0]
    values = [one["scores"][f"{TINY_NAME}-cosine"] for one in stored["pairs"] if not one["errors"]]
    mean = next(line for line in streams.out.splitlines() if line.startswith("mean")).split()[1]
    assert float(mean) == pytest.approx(sum(values) / 2, rel=1e-6), "printed with seven digits"


@pytest.fixture
def odd_names(tmp_path):
    """Bytes that are not UTF-8, control characters, and formulas, as names in the folders ref and dis."""
    names = [b"caf\xe9.png", b"a\nb\x1b[31m.png", b"=1+1.png", b"-1.png", b"plain.png"]
    for folder, sigma in (("ref", 0), ("dis", 10)):
        (tmp_path / folder).mkdir()
        for name in names:
            with Path(os.fsdecode(os.fsencode(tmp_path / folder) + b"/" + name)).open("wb") as stream:
                add_noise(make_image(160, 160, 1), sigma, 1).save(stream, "png")
    return tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, names are always Unicode")
def test_odd_names_are_scored_and_escaped(odd_names, monkeypatch, capsys):
    monkeypatch.chdir(odd_names)
    (odd_names / "ref" / os.fsdecode(b"alone\x1b\xff.png")).write_bytes(b"")
    (odd_names / "dis" / os.fsdecode(b"bad\xff.png")).write_bytes(b"no image")
    (odd_names / "ref" / os.fsdecode(b"bad\xff.png")).write_bytes(b"no image")
    assert score("ref", "dis", "--baseline", "psnr", "--csv", "out.csv", "--json", "out.json") == 1
    streams = capsys.readouterr()
    escaped = [r"-1.png", "=1+1.png", r"a\nb\x1b[31m.png", r"bad\xff.png", r"caf\xe9.png", "plain.png"]
    for name in escaped:
        assert any(line.startswith(name) for line in streams.out.splitlines()), name
    assert r"error: ref/alone\x1b\xff.png has no counterpart in dis" in streams.err.splitlines()
    assert r"error: bad\xff.png: " in streams.err
    assert b"\x1b" not in (streams.out + streams.err).encode(), "and all of it is UTF-8"
    stored = json.loads((odd_names / "out.json").read_bytes())["pairs"]
    assert [one["dis"] for one in stored] == [f"dis/{name}" for name in escaped]
    assert [bool(one["scores"]) for one in stored] == [name != r"bad\xff.png" for name in escaped]
    with (odd_names / "out.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["dis"] for row in rows] == [f"dis/{name}" for name in escaped]
    assert [row["psnr"] != "" for row in rows] == [name != r"bad\xff.png" for name in escaped]


def test_formulas_have_an_apostrophe_in_the_csv(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in (".", "-d"):
        Path(folder).mkdir(exist_ok=True)
        make_image(160, 160, 1).save(f"{folder}/=1+1.png")
    assert score("=1+1.png", "./-d/=1+1.png", "--baseline", "psnr", "--csv", "out.csv") == 0
    with Path("out.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["ref"], row["dis"], row["error"]) == ("'=1+1.png", "'-d/=1+1.png", "")
    assert float(row["psnr"]) > 0, "numbers stay numbers"
    assert "'" not in capsys.readouterr().out


@pytest.mark.slow
def test_a_terminal_without_a_character_loses_no_score(pair, tmp_path):
    Path(tmp_path / "ref").mkdir()
    pair[0].rename(tmp_path / "ref" / "é.png")
    (tmp_path / "dis").mkdir()
    pair[1].rename(tmp_path / "dis" / "é.png")
    make_image(160, 160, 1).save(tmp_path / "ref" / "e.png")
    make_image(160, 160, 1).save(tmp_path / "dis" / "e.png")
    done = subprocess.run([sys.executable, "-m", "zsiqa", "score", "ref", "dis", "--baseline", "psnr"],
                          cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True,
                          text=True, check=True)
    assert r"\xe9.png" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("distance", "drawn"), [("cosine", "cosine"), ("l2", "l2"), ("wsd", "l2")])
def test_a_heatmap_of_a_distance_without_positions_is_that_of_l2(pair, tmp_path, capsys, distance, drawn):
    assert score(*pair, *TINY, "--distance", distance, "--heatmap", tmp_path / "map.png") == 0
    streams = capsys.readouterr()
    assert streams.out.startswith(f"{TINY_NAME}-{distance} ")
    assert streams.err.splitlines()[-1] == f"wrote {tmp_path}/map.png, by {TINY_NAME}-{drawn}"
    assert Image.open(tmp_path / "map.png").size[0] > 500


def test_padding_by_reflection(folders, capsys):
    ref, dis = folders
    assert score(ref, dis, *TINY, "--baseline", "psnr", "--pad", "reflect", "--json", "-") == 0
    pairs = {one["dis"].rpartition("dis/")[2]: one["scores"] for one
             in json.loads(capsys.readouterr().out)["pairs"]}
    metric = Metric("timm", pretrained=False,
                    overrides=["backbone.model_name=test_vit.r160_in1k", "window=160", "stride=140"])
    images = [tensor(Image.open(folder / "2.png")) for folder in folders]
    grown = [torch.nn.functional.pad(image, (0, 60, 0, 0), mode="reflect") for image in images]
    assert pairs["2.png"][f"{TINY_NAME}-cosine"] == pytest.approx(metric(*grown).item(), rel=1e-6)
    assert pairs["2.png"]["psnr"] == pytest.approx(PSNR()(*images).item(),
                                                   rel=1e-6), "large enough for PSNR as it is"


@pytest.mark.parametrize(("size", "least"), [((3, 2), 50), ((1, 1), 8), ((9, 40), 20)])
def test_padding_of_any_size(size, least):
    """Also by several reflections; the original stays in the upper left."""
    image = make_image(*size, 0)
    pixels = np.asarray(image)
    missing = [max(0, least - side) for side in size]
    expected = np.pad(pixels, [(0, missing[1]), (0, missing[0]), (0, 0)],
                      mode="reflect" if min(size) > 1 else "edge")
    np.testing.assert_array_equal(ReflectPad(Native(), least).pixels(image), expected)
    np.testing.assert_array_equal(expected[:size[1], :size[0]], pixels)
    assert ReflectPad(Native(), 1).pixels(image).dtype == np.uint8


def test_pairs_are_found_by_name(tmp_path):
    for folder, names in {"r": ["a.png", "b.png", "c.png", "e.png", "e.bmp"],
                          "d": ["c.png", "b.jpg", "A.png", "e.jpg", "x.png"]}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            Image.new("RGB", (4, 4)).save(tmp_path / folder / name)
    problems, pairs = pair_up(tmp_path / "r", tmp_path / "d")
    assert [(pair.ref, pair.dis) for pair in pairs] == [("b.png", "b.jpg"), ("c.png", "c.png")]
    assert {problem.split()[0].removeprefix(f"{tmp_path}/") for problem in problems} == {
        "r/a.png", "r/e.png", "r/e.bmp", "d/A.png", "d/e.jpg", "d/x.png"}, "e.jpg could be two"


def test_one_reference_against_a_folder(folders, pair, tmp_path, capsys):
    reference = folders[1] / "ref.png"
    pair[0].rename(reference)
    problems, pairs = pair_up(reference, folders[1])
    assert problems == []
    assert [(pair.ref_path, pair.dis) for pair in pairs] == [
        (reference, name) for name in ("0.png", "2.png", "sub/1.png")], "the reference is not its own copy"
    assert score(folders[0] / "0.png", folders[0], "--baseline", "psnr", "--csv", "-") == 1, "of other sizes"
    said = capsys.readouterr()
    assert "2.png: " in said.err
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZsiqaError, match="no images in .*empty"):
        pair_up(folders[0] / "0.png", tmp_path / "empty")


def test_files_left_out_by_their_extension_are_named(folders, pair, tmp_path, capsys):
    ref, dis = folders
    (dis / "notes.txt").touch()
    (ref / "sub").mkdir(exist_ok=True)
    (ref / "sub/.hidden").touch()
    assert score(ref, dis, "--baseline", "psnr") == 0
    assert (f"note: left out, by their extensions: {ref}/sub/.hidden, {dis}/notes.txt\n"
            in capsys.readouterr().err)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/a.xyz").touch()
    for reference in (pair[0], ref):
        with pytest.raises(ZsiqaError, match=r"no images by their extensions: .*/empty/a\.xyz$"):
            pair_up(reference, tmp_path / "empty")


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_printed_table_is_all_that_is_printed(pair, kind, capsys, tmp_path):
    other = {"csv": "json", "json": "csv"}[kind]
    assert score(*pair, "--baseline", "psnr", f"--{kind}", "-", f"--{other}", tmp_path / "file") == 0
    said = capsys.readouterr().out
    with (tmp_path / "file").open(newline="") as stream:
        texts = {kind: said, other: stream.read()}
    [row] = csv.DictReader(texts["csv"].splitlines())
    assert json.loads(texts["json"])["pairs"][0]["scores"] == {"psnr": float(row["psnr"])}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
@pytest.mark.parametrize("full", ["csv", "json"])
def test_a_full_disk_loses_no_other_output(pair, full, capsys, tmp_path):
    other = {"csv": "json", "json": "csv"}[full]
    assert score(*pair, "--baseline", "psnr", f"--{full}", "/dev/full", f"--{other}", tmp_path / "file") == 1
    said = capsys.readouterr()
    assert said.out.startswith("psnr  ")
    assert said.out.split()[1][:4] in (tmp_path / "file").read_text()
    assert f"error: --{full} /dev/full is not complete: No space left on device" in said.err


def test_folders_without_a_common_name(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZsiqaError, match=r"\(0 images\) is in .*ref \(3 images\); pairs are found by name"):
        pair_up(folders[0], tmp_path / "empty")


@pytest.mark.parametrize(("arguments", "message"), [
    (["{tmp}", "{dis}"], "give two files, two folders, or one reference and a folder"),
    (["{ref}", "{tmp}/nothing.png"], "no file or folder"),
    (["{ref}", "{dis}", "--distance", "wsdd"], "distance can be: all, cosine"),
    (["{ref}", "{dis}", "--baseline", "psnr", "--distance", "l2"], "--distance needs a backbone"),
    (["{ref}", "{dis}", "--backbone", "none"], "nothing to score"),
    (["{ref}", "{dis}", "--override", "perturbation=all"], "this setting has no effect here"),
    (["{ref}", "{dis}", "--override", "backbone.checkpoint=no.pth"], "no.pth"),
    (["{ref}", "{dis}", "--csv", "/dev/null/x.csv"], "/dev/null"),
    (["{ref}", "{dis}", "--distance", "l2,wsd", "--heatmap", "x.png"], "--heatmap is of one metric"),
    (["{ref}", "{dis}", "--heatmap", "x.doc"], "unknown kind of picture"),
    (["{tmp}", "{tmp}", "--heatmap", "x.png"], "--heatmap is of one pair"),
    (["{ref}", "{tmp}", "--heatmap", "x.png"], "--heatmap is of one pair"),
    (["{ref}", "{dis}", "--csv", "-", "--json", "-"], "--csv - and --json - cannot both be printed"),
    (["{ref}", "{dis}", "--backbone", "dinov"], "(did you mean dinov1 or dinov2?)"),
    (["{ref}", "{dis}", "--override", "strid=9"], "(did you mean stride?)"),
])
def test_mistakes_are_one_message(arguments, message, pair, tmp_path, capsys):
    names = {"ref": pair[0], "dis": pair[1], "tmp": tmp_path}
    assert score(*(argument.format(**names) for argument in arguments)) == 1
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("error: ")
    assert message in streams.err


def test_several_backbones_and_what_was_scored_before_a_failure(pair, monkeypatch, capsys):
    """The second backbone's weights are damaged: the first one's score is not lost."""
    import zsiqa.runs.plan

    broken = pair[0]  # a picture is no state dict
    find = zsiqa.runs.plan.find_weights
    monkeypatch.setattr(zsiqa.runs.plan, "find_weights",
                        lambda cfg: broken if cfg.backbone.name == "vgg19" else find(cfg))
    assert score(*pair, "--backbone", "efficientnet_lite0,vgg19") == 1
    streams = capsys.readouterr()
    assert streams.out.startswith(f"{NAME} ")
    assert str(broken) in streams.err


def test_a_heatmap_of_one_pair(pair, tmp_path, capsys):
    assert score(*pair, *TINY, "--distance", "cosine", "--heatmap", tmp_path / "new" / "map.png") == 0
    assert "wrote" in capsys.readouterr().err
    with Image.open(tmp_path / "new" / "map.png") as picture:
        assert min(picture.size) > 300
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3),
                             axis=0)) > 500, "colours, not a blank"


def test_nothing_heavy_before_it_is_needed(pair, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it fails
    assert score(pair[0], pair[1].with_name("nothing.png")) == 1
    assert score(*pair, "--distance", "nothing") == 1


@pytest.mark.parametrize("options",
                         [["--csv", "ref.png"], ["--heatmap", "dis.png"], ["--csv", "a", "--json", "./a"]])
def test_no_image_and_no_other_output_is_written_over(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("ref.png", "dis.png"):
        Image.new("RGB", (224, 224)).save(name)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert main(["score", "ref.png", "dis.png", *options]) == 1
    assert "is one of the images, or another output; name another file" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
