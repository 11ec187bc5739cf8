import numpy as np
import pytest
from commands import run
from PIL import Image
from trees import RAID_FAMILIES, raid, raid_response

from zsiqa.cli.main import main
from zsiqa.datasets.raid import read
from zsiqa.releases import published
from zsiqa.report.robustness_page import robustness_part
from zsiqa.results.folder import open_folder
from zsiqa.types import DatasetError

SIDE = 240  # `zsiqa data check` wants at least the window of 224 pixels


@pytest.mark.parametrize("inside", ["", "raid/data"])
def test_the_release(tmp_path, inside):
    found = read(tmp_path, raid(tmp_path / inside))
    assert found.warnings == ()
    assert [(p.pair_id, p.mos, p.type, p.level) for p in found.pairs[:3]] == [
        ("raid/gn_img_01_level_02", raid_response("gn", 1, 2), "gn", "2"),
        ("raid/gn_img_01_level_03", raid_response("gn", 1, 3), "gn", "3"),
        ("raid/rot_img_01_level_02", raid_response("rot", 1, 2), "rot", "2")]
    assert len(found.pairs) == 2 * 4 * 2  # without level 1
    assert all(p.ref_path.is_file() and p.dis_path.is_file() for p in found.pairs)
    assert {p.subsets for p in found.pairs} == {(), ("Affine",)}
    assert {path.stem[-2:] for path in found.unnamed} == {"01"}  # images of level 1


def test_the_counts_of_the_release():
    facts = published()["raid"]
    assert facts["pairs"] == facts["references"] * len(facts["types"]) * 9


@pytest.mark.parametrize(("old", "new", "message"), [
    ("Response", "Answer", "responses.csv has the columns .*; expected also Response"),
    ("img_01.png,rot_img_01_level_01.png,0.0,0.25,0.0", "img_01.png,rot_img_01_level_01.png,0.0,0.25,0.1",
     "line 2: the response of an undistorted image is 0.1, expected 0"),
    ("rot_img_01_level_02", "turn_img_01_level_02", "'turn_img_01_level_02.png' is no image of RAID"),
    ("img_01.png,rot_img_01_level_02", "img_02.png,rot_img_01_level_02", "the reference of .* not img_02"),
    ("rot_img_01_level_03", "rot_img_01_level_02", "is listed twice"),
    (",5\r\nimg_01.png,rot_img_01_level_03", "\r\nimg_01.png,rot_img_01_level_03",
     "line 3: 5 fields, expected 6"),
    (f"{raid_response('rot', 1, 3)},5", "99,5", "score 99.0, expected -1..10"),
    (f"{raid_response('rot', 1, 3)},5", "x,5", "expected a finite number, got 'x'")])
def test_wrong_lines(tmp_path, old, new, message):
    facts = raid(tmp_path)
    labels = tmp_path / "responses.csv"
    text = labels.read_bytes().decode()
    assert old in text
    labels.write_bytes(text.replace(old, new, 1).encode())
    with pytest.raises(DatasetError, match=message) as caught:
        read(tmp_path, facts)
    assert "Fix: " in str(caught.value)


def test_other_labels_are_a_warning(tmp_path):
    facts = raid(tmp_path)
    labels = tmp_path / "responses.csv"
    labels.write_text(labels.read_text().replace(str(raid_response("gn", 2, 3)), "2.9"))
    assert "not those of the release" in read(tmp_path, facts).warnings[0]


@pytest.fixture
def miniature(tmp_path, replace_published):
    """RAID in miniature with real changes of the images, and its facts in place of the published ones."""
    facts = raid(tmp_path / "raid", size=(SIDE, SIDE))
    folder = tmp_path / "raid/imagenes_bd"
    for reference in (1, 2):
        rng = np.random.default_rng(reference)
        image = Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        image = image.resize((60, 60)).resize((SIDE, SIDE))
        image.save(folder / f"img_{reference:02}.png")
        for level in (2, 3):
            step = level - 1
            noise = rng.normal(0, 20 * step, (SIDE, SIDE, 3))
            changed = {"rot": image.rotate(2 * step), "trans": image.transform(
                image.size, Image.Transform.AFFINE, (1, 0, 2 * step, 0, 1, 0)),
                "scale": image.crop((step, step, SIDE - step, SIDE - step)).resize(image.size),
                "gn": Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))}
            for kind in RAID_FAMILIES:
                changed[kind].save(folder / f"{kind}_img_{reference:02}_level_{level:02}.png")
    replace_published({"raid": facts})
    return tmp_path


def test_scored_and_compared_with_people_as_a_user_does(miniature, capsys):
    assert main(["data", "check", "raid", "--root", "raid", "--images", "--strict"]) == 0
    run("dataset=raid", "dataset.root=raid", "backbone=none", "baseline=psnr", cwd=miniature)
    capsys.readouterr()
    assert main(["robustness", "--replicates", "100", "--json", "all.json", "--figures", "."]) == 0
    text = capsys.readouterr().out
    head = next(line for line in text.splitlines() if "rotation" in line)
    assert head.split() == ["Gaussian", "noise", "rotation", "scaling", "translation", "all"]
    rows = [line.split() for line in text.splitlines() if line.startswith("psnr")]
    # More change, less PSNR, and people see more: SRCC is above 0 in every family.
    assert all(float(value) > 0.5 for value in rows[0][1:-1])
    assert len(rows) == 4  # SRCC, two errors, bias
    assert ">people<" in (miniature / "raid_people.svg").read_text()
    part = robustness_part(open_folder(miniature / "results/scores"), 100)
    assert rows[0][-1] in part[part.index("people's response curves"):]
