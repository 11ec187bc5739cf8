"""Part files: what one run has appended, at any moment of it, and after any damage."""

import json
import math

import pytest

from zsiqa.results.part_files import Part, PartWriter, read_part
from zsiqa.types import StoreError

HEADER = {"schema": 4, "identity": {"a": 1}, "notes": [], "dataset": {"pairs": 4, "higher_is_better": True},
          "session": {"id": "x", "device": "cpu"}}
SCORES = {'dis,"1"': 0.1 + 0.2, "two\nlines": 1e-17, "ünicode": 2.0 / 3.0, "\udcff": 1e300}


@pytest.fixture
def path(tmp_path):
    """A whole part of four scores, and the place of each line's end."""
    part = PartWriter(tmp_path / "a.part", HEADER)
    for pair_id, score in SCORES.items():
        part.append(pair_id, score)
    part.close({"seconds": 1.5, "failed": {"five": "torn"}})
    return tmp_path / "a.part"


def test_a_part_says_who_wrote_it_and_how_it_ended(tmp_path):
    path = tmp_path / "a.part"
    part = PartWriter(path, HEADER)
    part.append("one", 0.5)
    part.append("two", math.inf)
    part.append("three", math.nan, "no contrast")
    part.flush()
    found = read_part(path)
    assert (found.header, found.session, found.failed) == (HEADER, HEADER["session"], {})
    assert found.scores == pytest.approx({"one": 0.5, "two": math.nan, "three": math.nan}, nan_ok=True, abs=0)
    assert found.undefined == {"two": "it is inf", "three": "no contrast"}
    part.close({"seconds": 1.5, "failed": {"four": "torn"}})
    assert read_part(path).session == {"id": "x", "device": "cpu", "seconds": 1.5}
    assert read_part(path).failed == {"four": "torn"}


def test_any_name_and_every_digit_read_back(path):
    assert read_part(path).scores == SCORES


def test_every_prefix_of_a_part_is_what_a_kill_leaves(path):
    content = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(content) if byte == ord("\n")]
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        lines = sum(end <= size for end in ends)
        found = read_part(path)
        assert list(found.scores.items()) == list(SCORES.items())[:max(lines - 1, 0)]
        assert found.header == (HEADER if lines else {})
        assert found.session.get("seconds") == (1.5 if lines == len(ends) else None)


def test_every_flipped_bit_is_found(path):
    """Each bit of each byte, also of the last line break, which a kill may leave out but not change."""
    content = path.read_bytes()
    for index in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[index] ^= 1 << bit
            path.write_bytes(bytes(damaged))
            with pytest.raises(StoreError, match=r"a\.part .* damaged.*overwrite=true"):
                read_part(path)


@pytest.mark.parametrize("change", [
    lambda lines: [*lines[:2], *lines[3:]],
    lambda lines: [*lines[:2], lines[1], *lines[2:]],
    lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
    lambda lines: lines[1:],
    lambda lines: [*lines[:3], bytes(64), *lines[3:]],
    lambda lines: [*lines, lines[1]],
], ids=["lost", "doubled", "swapped", "no header", "blank block", "appended"])
def test_lines_that_moved_are_found(path, change):
    path.write_bytes(b"\n".join([*change(path.read_bytes().splitlines()), b""]))
    with pytest.raises(StoreError, match=r"a\.part line \d is damaged: it does not match its checksum"):
        read_part(path)


def test_the_part_of_another_file_is_refused(path):
    path.rename(path.with_name("b.part"))
    with pytest.raises(StoreError, match=r"b\.part line 1 is damaged"):
        read_part(path.with_name("b.part"))


def test_a_part_that_is_gone_is_empty(tmp_path):
    assert read_part(tmp_path / "none.part") == Part(tmp_path / "none.part")


def test_the_lines_are_json_and_a_checksum(path):
    lines = [line.rpartition(" ")[0] for line in path.read_text().splitlines()]
    assert json.loads(lines[0]) == HEADER
    assert [json.loads(line) for line in lines[1:-1]] == [list(row) for row in SCORES.items()]
