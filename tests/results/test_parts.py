import json

from zsiqa.results.parts import PartWriter, read_part


def test_a_part_says_who_wrote_it_and_how_it_ended(tmp_path):
    part = PartWriter(tmp_path / "a.part", {"id": "x", "device": "cpu"})
    part.append('dis,"1"', 0.1 + 0.2)
    part.flush()
    found = read_part(part_path := tmp_path / "a.part")
    assert (found.scores, found.session,
            found.failed) == ({'dis,"1"': 0.1 + 0.2}, {"id": "x", "device": "cpu"}, {})
    part.close({"seconds": 1.5, "failed": {"dis2": "torn"}})
    found = read_part(part_path)
    assert found.session == {"id": "x", "device": "cpu", "seconds": 1.5}
    assert found.failed == {"dis2": "torn"}


def test_every_prefix_of_a_part_can_be_read(tmp_path):
    part = PartWriter(tmp_path / "a.part", {"id": "x"})
    for number in range(3):
        part.append(f"dis{number}", number / 3)
    part.close({"seconds": 1.0})
    content = (tmp_path / "a.part").read_bytes()
    (tmp_path / "b.part").write_bytes(b"")
    for size in range(len(content) + 1):
        (tmp_path / "b.part").write_bytes(content[:size])
        found = read_part(tmp_path / "b.part")
        assert found.scores == {f"dis{number}": number / 3 for number in range(len(found.scores))}
        assert found.session in ({}, {"id": "x"}, {"id": "x", "seconds": 1.0})


def test_a_part_that_is_gone_is_empty(tmp_path):
    assert read_part(tmp_path / "none.part").scores == {}


def test_the_notes_are_json_lines(tmp_path):
    PartWriter(tmp_path / "a.part", {"id": "x"}).close({})
    assert json.loads((tmp_path / "a.part").read_text().removeprefix("#zsiqa ")) == {"id": "x"}
