import threading

import pytest

from zsiqa.runs.background import repeating


def test_it_happens_again_and_again_and_then_no_more():
    thrice, count = threading.Event(), [0]

    def action():
        count[0] += 1
        if count[0] >= 3:
            thrice.set()

    with repeating(0.01, action) as check:
        assert thrice.wait(30)
        check()
    after = count[0]
    assert not any(thread.name == "zsiqa-background" for thread in threading.enumerate())
    assert count[0] == after


def test_what_it_raises_reaches_the_main_thread():
    raised = threading.Event()

    def action():
        raised.set()
        raise ValueError("disk full")

    with repeating(0.01, action) as check:
        assert raised.wait(30)
        with pytest.raises(ValueError, match="disk full"):  # noqa: PT012 - it comes with the next look
            while True:
                check()
