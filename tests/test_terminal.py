from zsiqa import terminal as progress


def test_plain_lines_when_not_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    assert list(progress.track(iter("abc"), total=3, unit="images")) == ["a", "b", "c"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["1/3", "2/3", "3/3"]
    assert lines[-1].startswith("3/3 images (100%), ")
    assert lines[-1].endswith("/s, 0 s left")


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True)
    assert list(progress.track([1, 2], total=2, unit="images")) == [1, 2]
    assert "2/2" in capsys.readouterr().err
