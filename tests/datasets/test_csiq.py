from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import CSIQ_FILES, CSIQ_HEADER, CSIQ_ROWS, csiq, expect_error

from zsiqa.datasets.csiq import parse_list, parse_sheet, read
from zsiqa.types import DatasetError

EXPECTED = [("csiq/1600.awgn.1", "1600.AWGN.1.png", 0.062),
            ("csiq/1600.jpeg2000.3", "1600.jpeg2000.3.png", 0.5),
            ("csiq/elk.blur.5", "elk.BLUR.5.png", 1.0), ("csiq/elk.contrast.2", "elk.contrast.2.png", 0.0)]


expect = partial(expect_error, read)


def test_the_release(tmp_path):
    found = read(tmp_path, csiq(tmp_path))
    assert [(p.pair_id, p.dis, p.mos) for p in found.pairs] == EXPECTED
    assert [(p.ref, p.type, p.level, p.mos_std) for p
            in found.pairs][1] == ("1600.png", "jpeg2000", "3", 0.05)
    assert [p.dis_path.relative_to(tmp_path).as_posix() for p in found.pairs] == [
        f"dst_imgs/{name}" for name in sorted(CSIQ_FILES, key=lambda name: name.split("/")[1].lower())]
    assert (found.warnings, found.unnamed) == ((), ())


@pytest.mark.parametrize(("name", "content"), [
    ("csiq_label.txt", "\n".join(f"{name.split('/')[1]} {dmos:.6f}" for name, dmos in CSIQ_FILES.items())),
    ("CSIQ.txt", "\n".join(["dis_img_path,dis_type,ref_img_path,score", *(
        f"CSIQ/dst_imgs/{name},X,CSIQ/src_imgs/{name.split('/')[1].split('.')[0]}.png,{dmos}"
        for name, dmos in CSIQ_FILES.items())])),
    ("meta_info_CSIQDataset.csv", "\n".join(["ref_name,dist_name,dmos", *(
        f"{name.split('/')[1].split('.')[0]}.png,{name.split('/')[1]},{dmos}" for name,
        dmos in CSIQ_FILES.items())])),
])
def test_labels_of_other_toolboxes(tmp_path, name, content):
    facts = csiq(tmp_path)
    (tmp_path / "csiq.DMOS.xlsx").unlink()
    expect(tmp_path, facts, "no csiq.DMOS.xlsx in")
    (tmp_path / name).write_text(content)
    found = read(tmp_path, facts)
    assert [(p.pair_id, p.dis, p.mos) for p in found.pairs] == EXPECTED
    assert found.warnings == (), "of CSIQ, the names alone are held against the release"
    assert found.layout.endswith("of another toolbox")


@pytest.mark.parametrize(("change", "message"), [
    ({"sheet": "other"}, "sheet all_by_image not found in csiq.DMOS.xlsx"),
    ({"header": ("image", "a", "b", "c", "d", "e")},
     "no row with image, dst_idx, dst_type, dst_lev, dmos_std, dmos"),
    ({"rows": [*CSIQ_ROWS, ("elk", 1, "rain", 1, 0, 0)]},
     "row 9: expected .* dst_type of .*; got elk, 1, rain, 1, 0"),
    ({"rows": [*CSIQ_ROWS, ("elk", 1, "blur", 1, 0, None)]}, "row 9: expected"),
    ({"rows": [*CSIQ_ROWS, ("elk", 1, "blur", 1, 0, "high")]}, "row 9: expected a finite number, got 'high'"),
    ({"rows": [*CSIQ_ROWS, ("elk", 1, "blur", 1, 0, 1.5)]}, r"row 9: score 1.5, expected 0..1"),
    ({"rows": [*CSIQ_ROWS, ("../elk", 1, "blur", 1, 0, 1)]},
     r"row 9: '../elk.BLUR.1.png' is no image of CSIQ"),
    ({"rows": [*CSIQ_ROWS, CSIQ_ROWS[0]]}, "the pair csiq/1600.awgn.1 is listed twice in csiq.DMOS.xlsx"),
    ({"header": (*CSIQ_HEADER, "dmos")}, "column 'dmos' twice in the header of csiq.DMOS.xlsx"),
    ({"rows": CSIQ_ROWS[:3]}, "3 label rows in csiq.DMOS.xlsx, expected 4"),
])
def test_wrong_sheets(tmp_path, change, message):
    expect(tmp_path, csiq(tmp_path, **change), message)


def test_not_an_excel_file(tmp_path):
    facts = csiq(tmp_path)
    (tmp_path / "csiq.DMOS.xlsx").write_text("<html>Not found</html>")
    expect(tmp_path, facts, "csiq.DMOS.xlsx is not a readable Excel file")


@pytest.fixture(scope="module")
def sheet(tmp_path_factory):
    root = tmp_path_factory.mktemp("csiq")
    csiq(root)
    return (root / "csiq.DMOS.xlsx").read_bytes()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_bytes_are_labels_or_one_error(sheet, data):
    if data.draw(st.booleans()):
        content = bytearray(sheet)
        for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(sheet) - 1), st.integers(0, 255)),
                                               min_size=1, max_size=3)):
            content[place] = value
    else:
        content = data.draw(st.binary(max_size=100))
    try:
        labels = parse_sheet(bytes(content))
    except DatasetError:
        return
    assert len(labels) == len(CSIQ_ROWS)


@given(st.one_of(st.binary(max_size=200), st.lists(st.builds(
    "{} {}".format, st.sampled_from(("elk.BLUR.1.png", "x")),
    st.sampled_from(("0.5", "1e-3", "nan", ""))), max_size=5)
    .map(lambda lines: "\n".join(lines).encode())))
def test_any_list_is_labels_or_one_error(data):
    try:
        labels = parse_list(data)
    except DatasetError:
        return
    assert len(labels) == (data.rstrip().count(b"\n") + 1 if data.strip() else 0)
