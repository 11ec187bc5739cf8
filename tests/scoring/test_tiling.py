import numpy as np
import pytest

from zsiqa.scoring.tiling import extract_tiles, tile_starts


def _reference_starts(length):
    """docs/protocol.md section 3, step by step."""
    starts, at = [], 0
    while at < length - 224:
        starts.append(at)
        at += 200
    return [*starts, length - 224]


def test_starts_follow_the_protocol_and_cover_the_side():
    for length in range(224, 6000):
        starts = tile_starts(length)
        assert starts == _reference_starts(length)
        covered = np.zeros(length, bool)
        for start in starts:
            assert 0 <= start <= length - 224
            covered[start:start + 224] = True
        assert covered.all()


@pytest.mark.parametrize(("size", "count"), [
    ((512, 384), 6), ((288, 288), 4), ((768, 512), 12), ((480, 720), 12), ((618, 453), 9), ((627, 482), 12),
    ((620, 482), 9), ((512, 512), 9), ((224, 224), 1),
])
def test_counts_of_the_data_sets(size, count):
    """TID2013, PIPAL, sizes of LIVE (one under translation), CSIQ."""
    assert len(extract_tiles(np.zeros((size[1], size[0], 3), np.uint8))) == count


def test_tiles_are_the_windows_row_by_row():
    image = np.random.default_rng(0).integers(0, 256, (450, 633, 3), dtype=np.uint8)
    expected = [image[y:y + 224, x:x + 224] for y in _reference_starts(450) for x in _reference_starts(633)]
    np.testing.assert_array_equal(extract_tiles(image), np.stack(expected))


@pytest.mark.parametrize("length", [0, 1, 200, 223])
def test_a_short_side_is_refused(length):
    with pytest.raises(ValueError, match=f"a side of {length} pixels is shorter than the 224-pixel tile"):
        tile_starts(length)
