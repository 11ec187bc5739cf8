"""Tiles side by side: the same scores, and PyTorch's settings are as before."""

from concurrent.futures import ThreadPoolExecutor
from threading import get_ident

import pytest
import torch

from zsiqa import distances
from zsiqa.distances import comparison
from zsiqa.distances.threads import map_side_by_side

PARTS = [slice(start, start + 1) for start in range(5)]


@pytest.fixture(autouse=True)
def three_threads():
    """Let PyTorch have three threads, on any machine, and check that it still has them afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 3, "also a new thread has three"
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def describe(part):
    """The number of the part, and the settings under which it is computed."""
    return torch.tensor([part.start, get_ident(), torch.get_num_threads(), torch.is_grad_enabled(),
                         torch.is_inference_mode_enabled()])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_each_part_is_computed_by_one_thread(mode):
    with mode():
        number, thread, threads, gradients, inference = torch.stack(map_side_by_side(describe, PARTS)).T
    assert number.tolist() == [0, 1, 2, 3, 4]
    assert get_ident() not in thread
    assert (threads == 1).all()
    assert not gradients.any()
    assert (inference == (mode is torch.inference_mode)).all()


def test_with_gradients_or_a_single_part_the_calling_thread_computes():
    with torch.no_grad():
        single = map_side_by_side(describe, PARTS[:1])
    for values in (*single, *map_side_by_side(describe, PARTS)):
        assert values[1:3].tolist() == [get_ident(), 3]


def test_an_error_in_a_part_is_raised():
    def fail(part):
        raise ArithmeticError(f"part {part.start}")

    with torch.no_grad(), pytest.raises(ArithmeticError, match="part 0"):
        map_side_by_side(fail, PARTS)


def test_scores_are_equal_to_the_bit(monkeypatch):
    """Large tiles, one thread each, and the same tiles in the calling thread, which has three."""
    random = torch.Generator().manual_seed(0)
    ref = (torch.randn(4, 3, 197, 768, generator=random),)
    dis = (ref[0] + 0.1 * torch.randn(ref[0].shape, generator=random),)
    monkeypatch.setitem(comparison.TILES_AT_ONCE, "cpu", ref[0][0].numel())
    every = [distances.L2(), distances.SKLD(), distances.WSD(padding="up"), distances.Cosine(),
             distances.JSD(), distances.WSD()]
    used = []
    monkeypatch.setattr(comparison, "map_side_by_side",
                        lambda *arguments: used.append(True) or map_side_by_side(*arguments))
    with torch.inference_mode():
        side_by_side = distances.compare(every, ref, dis)
    assert len(used) == 2, "once for each padding"
    assert torch.equal(distances.compare(every, ref, dis), side_by_side)
