"""Published data sets in miniature, in the layouts of their releases; nothing in them is from the real ones.

Each builder writes a folder and returns the facts that a reader needs for it, in place of those of the real
release.
"""

import hashlib
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from PIL import Image
from scipy.io import savemat

from zsiqa.releases import published
from zsiqa.types import DatasetError


def write_images(root: Path, names, size=(8, 8)) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (len(name), 0, 0)).save(root / name)


def facts_of(name: str, lines, *, references: int, **changes):
    """The published facts, with the numbers and the digest of a miniature: lines "pair_id,ref_id,mos"."""
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    which = "names_sha256" if "names_sha256" in published()[name] else "sha256"
    return {**published()[name], "pairs": len(lines), "references": references, which: digest, **changes}


# LIVE: three images a folder, one of them an original; scores below 0 and above 100, as in the release.
LIVE_FOLDERS = ("jp2k", "jpeg", "wn", "gblur", "fastfading")
LIVE_ORIGINALS = {"jp2k": 1, "jpeg": 2, "wn": 3, "gblur": 3, "fastfading": 3}
LIVE_SCORES = {("jp2k", 2): 30.5, ("jp2k", 3): 61.25, ("jpeg", 1): -2.5, ("jpeg", 3): 20.125,
               ("wn", 1): 110.75,
               ("wn", 2): 44.0, ("gblur", 1): 55.5, ("gblur", 2): 12.0625, ("fastfading", 1): 70.0,
               ("fastfading", 2): 33.3}
LIVE_REFERENCES = {1: "bikes.bmp", 2: "womanhat.bmp", 3: "bikes.bmp"}  # by the image's number: names repeat


def expect_error(read, root: Path, facts, message: str) -> None:
    """Reading fails with one error in the form of all of a data set, and with this message."""
    with pytest.raises(DatasetError, match=message) as caught:
        read(root, facts)
    assert str(caught.value).startswith(f"[{facts['name']}] ")
    assert "Fix: " in str(caught.value)


def live_arrays():
    """What the two .mat files hold; refnames_all as (1, N) cells, each with one text."""
    places = [(folder, index) for folder in LIVE_FOLDERS for index in (1, 2, 3)]
    cells = np.empty((1, len(places)), dtype=object)
    cells[0] = [LIVE_REFERENCES[index] for _, index in places]
    return {"dmos_new": np.array([[LIVE_SCORES.get(place, 0.0) for place in places]]),
            "dmos_std": np.array([[1.0 + number / 4 for number in range(len(places))]]),
            "orgs": np.array([[int(place not in LIVE_SCORES) for place in places]], dtype=np.uint8)}, cells


def live(root: Path, *, realigned: bool = True, blur: str = "gblur", size=(8, 8)):
    folders = {name: blur if name == "gblur" else name for name in LIVE_FOLDERS}
    write_images(root, [f"refimgs/{name}" for name in LIVE_REFERENCES.values()], size)
    write_images(
        root, [f"{folders[name]}/img{index}.bmp" for name in LIVE_FOLDERS for index in (1, 2, 3)], size)
    for name in LIVE_FOLDERS:  # not in the order of the images
        lines = [
            f"{LIVE_REFERENCES[index]} img{index}.bmp {'0' if index == LIVE_ORIGINALS[name] else index / 8}\n"
                 for index in (3, 1, 2)]
        (root / folders[name] / "info.txt").write_text("".join(lines) + "\n")
    arrays, cells = live_arrays()
    savemat(root / "refnames_all.mat", {"refnames_all": cells})
    savemat(root / "dmos.mat", {"dmos": np.where(arrays["orgs"] == 1, 0, 50 - arrays["dmos_new"] / 2),
                                "orgs": arrays["orgs"]})
    if realigned:
        savemat(root / "dmos_realigned.mat", arrays)
    lines = [f"live/{folder}/img{index},{LIVE_REFERENCES[index][:-4]},{score:.6f}"
             for (folder, index), score in LIVE_SCORES.items()]
    return facts_of("live", lines, references=2, images=dict.fromkeys(LIVE_FOLDERS, 3),
                    originals=dict.fromkeys(LIVE_FOLDERS, 1), sizes={"8x8": None})


def live_table(path: Path, prefix: str = "LIVE/") -> None:
    """Waterloo's LIVE.txt, or the official code's live.txt."""
    rows = [f"{prefix}{folder}/img{index}.bmp,{folder},{prefix}refimgs/{LIVE_REFERENCES[index]},{score!r}"
            for (folder, index), score in LIVE_SCORES.items()]
    path.write_text("\n".join(["dis_img_path,dis_type,ref_img_path,score", *rows]) + "\n")


# TID2013: reference 25 and the odd names; labels in another case than the files.
TID_LABELS = {"I01_01_1.bmp": "5.51429", "i01_08_2.bmp": "4.02439", "I01_11_1.BMP": "4.37838",
              "I25_11_1.BMP": "5.00000", "i25_13_2.bmp": "0.24242"}
TID_FILES = ("I01_01_1.bmp", "i01_08_2.bmp", "i01_11_1.bmp", "i25_11_1.BMP", "I25_13_2.BMP")


def tid2013(root: Path, *, newline: str = "\n", last: bool = True, size=(8, 8)):
    write_images(root / "reference_images", ["I01.BMP", "i25.bmp"], size)
    write_images(root / "distorted_images", TID_FILES, size)
    text = newline.join(f"{mos} {name}" for name, mos in TID_LABELS.items()) + newline * last
    (root / "mos_with_names.txt").write_bytes(text.encode())
    (root / "mos.txt").write_text("".join(f"{mos}\n" for mos in TID_LABELS.values()))
    (root / "mos_std.txt").write_text(
        "".join(f"{0.1 * (number + 1):.5f}\n" for number in range(len(TID_LABELS))))
    lines = [f"tid2013/{name[:-4].lower()},{name[:3].lower()},{100 - float(mos):.6f}"
             for name, mos in TID_LABELS.items()]
    return facts_of("tid2013", lines, references=2, sizes={"8x8": None})


# PIPAL: two references in different archives.
PIPAL_SCORES = {f"A{ref:04}_{kind:02}_{number:02}": 1400.0 + ref + 7.0625 * kind + number for ref in (1, 200)
                for kind in (0, 3, 6) for number in (0, 1)}
PIPAL_FOLDERS = {"A0001": "Distortion_1", "A0200": "Distortion_4"}


def pipal(root: Path, *, folders=None, last: bool = True, size=(8, 8)):
    folders = folders or PIPAL_FOLDERS
    write_images(root / "Train_Ref", [f"{ref}.bmp" for ref in PIPAL_FOLDERS], size)
    write_images(root, [f"{folders[stem[:5]]}/{stem}.bmp" for stem in PIPAL_SCORES], size)
    (root / "Train_Label").mkdir()
    for ref in PIPAL_FOLDERS:
        text = "\n".join(f"{stem}.bmp,{score:.4f}" for stem,
                         score in PIPAL_SCORES.items() if stem.startswith(ref))
        (root / "Train_Label" / f"{ref}.txt").write_text(text + "\n" * last)
    lines = [f"pipal/{stem},{stem[:5]},{score:.6f}" for stem, score in PIPAL_SCORES.items()]
    return facts_of("pipal", lines, references=2, sizes={"8x8": None})


# KADID-10k: one reference, two types.
KADID_SCORES = {"I01_01_01": (4.57, 0.496), "I01_01_02": (4.33, 0.479), "I01_25_01": (3.4, 1.2),
                "I01_25_02": (1, 0)}


def kadid10k(root: Path, *, size=(8, 8)):
    write_images(root / "images", ["I01.png", *(f"{stem}.png" for stem in KADID_SCORES)], size)
    rows = [f"{stem}.png,I01.png,{dmos},{std}" for stem, (dmos, std) in KADID_SCORES.items()]
    (root / "dmos.csv").write_text("\n".join(["dist_img,ref_img,dmos,var", *rows]) + "\n")
    lines = [f"kadid10k/{stem.lower()},i01,{dmos:.6f}" for stem, (dmos, _) in KADID_SCORES.items()]
    return facts_of("kadid10k", lines, references=1, sizes={"8x8": None})


# CSIQ: an image whose name is a number, a type with a blank, empty rows at the end.
CSIQ_ROWS = [(1600, 1, "noise", 1, 0.061, 0.062), (1600, 5, "jpeg 2000", 3, 0.05, 0.5),
             ("elk", 6, "contrast", 2, 0, 0),
             ("elk", 2, "blur", 5, 0.1, 1)]
CSIQ_FILES = {"AWGN/1600.AWGN.1.png": 0.062, "jpeg2000/1600.jpeg2000.3.png": 0.5, "BLUR/elk.BLUR.5.png": 1.0,
              "contrast/elk.contrast.2.png": 0.0}
CSIQ_HEADER = ("image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos")


def csiq(root: Path, *, rows=CSIQ_ROWS, header=CSIQ_HEADER, sheet: str = "all_by_image", size=(8, 8)):
    write_images(root / "src_imgs", ["1600.png", "elk.png"], size)
    write_images(root / "dst_imgs", CSIQ_FILES, size)
    book = openpyxl.Workbook()
    page = book.create_sheet(sheet)
    page.append(["CSIQ in miniature"])
    page.append([])
    page.append(["", "", "", "a title"])
    for row in (header, *rows, *[[""] * 6] * 3):
        page.append([None, None, None, *row])
    book.save(root / "csiq.DMOS.xlsx")
    ids = sorted(f"csiq/{name.split('/')[1][:-4].lower()}" for name in CSIQ_FILES)
    return facts_of("csiq", ids, references=2, sizes={"8x8": None})


# RAID: level 1 is the reference itself; two columns that the reader does not need.
RAID_HEADER = "Reference,Distorted,Curve_Value,Sigmas,Response,Estimated_MOS"
RAID_LEVELS = (1, 2, 3)
RAID_FAMILIES = ("rot", "trans", "scale", "gn")


def raid_response(kind: str, reference: int, level: int) -> float:
    return round((level - 1) * (1 + RAID_FAMILIES.index(kind) / 8) + (level > 1) * reference / 16, 6)


def raid(root: Path, *, size=(8, 8)):
    rows, lines = [], []
    for kind in RAID_FAMILIES:
        for reference in (1, 2):
            for level in RAID_LEVELS:
                stem, own = f"{kind}_img_{reference:02}_level_{level:02}", f"img_{reference:02}"
                response = raid_response(kind, reference, level)
                rows.append(f"{own}.png,{stem}.png,{response / 4},0.25,{response},5")
                if level > 1:
                    lines.append((own, kind, level, f"raid/{stem},{own},{response:.6f}"))
    images = ["img_01.png", "img_02.png", *(row.split(",")[1] for row in rows)]
    write_images(root / "imagenes_bd", images, size)
    (root / "responses.csv").write_text("\r\n".join([RAID_HEADER, *rows]) + "\r\n")
    return facts_of("raid", [line for *_, line in sorted(lines)], references=2,
                    sizes={f"{size[0]}x{size[1]}": None})
