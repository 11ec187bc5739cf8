import threading

from zsiqa.scoring.profiling import Profile, unmeasured


class Clock:
    """A synchronize() that counts."""

    calls = 0

    def __call__(self):
        self.calls += 1


def test_seconds_add_up_by_name_from_any_thread():
    clock = Clock()
    profile = Profile(clock)

    def work():
        with profile("decode"):
            pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.calls == 0, "other threads do not wait for the GPU"
    before = profile.seconds["model"]
    with profile("model"):
        pass
    assert clock.calls == 2
    assert profile.seconds["model"] > before
    assert set(profile.seconds) == {"decode", "model"}


def test_a_report_accounts_for_all_of_the_time():
    profile = Profile()
    profile._started -= 10
    profile.seconds.update(model=6.0, distances=3.0, decode=5.0)
    first, *lines = profile.report(aside=("decode",)).splitlines()
    assert first == "10.0 s in all:"
    assert [(line[:22].strip(), line[22:].split()) for line in lines] == [
        ("model", ["6.00", "s", "60%"]), ("distances", ["3.00", "s", "30%"]),
        ("everything else", ["1.00", "s", "10%"]),
        ("decode", ["5.00", "s", "in", "other", "threads"])]


def test_a_failure_inside_is_passed_on_and_its_time_counted():
    profile = Profile()
    try:
        with profile("model"):
            raise KeyError
    except KeyError:
        assert profile.seconds["model"] > 0
    with unmeasured("model"):
        pass
