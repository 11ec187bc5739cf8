"""Who is at work on which score files, and who gave up why: a small file for each run, beside the scores.

    <results_dir>/scores/<dataset>/<id>.run    JSON: score files, host, process, SLURM job, shard, error

Its modification time is a sign of life, renewed while the run works. A run that ends well removes its file; one that
fails leaves it with the error; that of a killed run grows old. Nothing here decides a score.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsiqa.runs.slurm import job_name

SECONDS_BETWEEN_SIGNS = 15.0
SECONDS_UNTIL_DEAD = 120.0  # clocks of nodes and file servers differ by less, and NFS shows a change within a minute


@dataclass(frozen=True)
class Entry:
    """A run as its file tells.

    Attributes:
        cells: `metric/perturbation` of its score files.
        about: `host`, `pid`, `job`, `started`, `shard`: (which, of how many); `error` of one that failed.
        age: seconds since its last sign of life.
    """

    path: Path
    cells: frozenset[str]
    about: Mapping[str, Any]
    age: float

    @property
    def error(self) -> str:
        """Why it failed; "" if it did not, or could not say."""
        return str(self.about.get("error", ""))

    @property
    def alive(self) -> bool:
        """Whether it is at work. A process on this host can be asked; of another, only signs of life tell."""
        if self.error or self.age > SECONDS_UNTIL_DEAD:
            return False
        if self.about.get("host") != socket.gethostname():
            return True
        try:
            os.kill(int(self.about["pid"]), 0)
        except ProcessLookupError:
            return False
        except (PermissionError, KeyError, ValueError):
            pass
        return True

    def __str__(self) -> str:
        where = f"{self.about.get('job') or 'process {}'.format(self.about.get('pid'))} on {self.about.get('host')}"
        which, number = self.about.get("shard") or (0, 1)
        return f"{where}, shard {which} of {number}" if number > 1 else where


class Journal:
    """The file of this run.

    Args:
        folder: of the data set's scores.
        cells: `metric/perturbation` of its score files.
        shard: which, of how many.
    """

    def __init__(self, folder: Path, cells: Iterable[str], shard: tuple[int, int]) -> None:
        self.path = folder / f"{uuid.uuid4().hex[:12]}.run"
        self._cells, self._shard, self._signed = sorted(cells), shard, 0.0
        self._started = time.strftime("%Y-%m-%dT%H:%M:%S%z")

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Say that this run is at work; at the end that it is not, or that it failed and why."""
        self._remove_dead()
        self._write()
        try:
            yield
        except Exception as error:
            self.fail(error)
            raise
        except BaseException:  # interrupted, or to be queued again
            self.path.unlink(missing_ok=True)
            raise
        self.path.unlink(missing_ok=True)

    def sign(self) -> None:
        """Give a sign of life, if the last is some time ago."""
        if time.monotonic() - self._signed >= SECONDS_BETWEEN_SIGNS:
            self._signed = time.monotonic()
            with suppress(OSError):  # it is but a sign; scores that cannot be written are an error elsewhere
                os.utime(self.path)

    def fail(self, error: Exception) -> None:
        """Say that it failed, and why. Nothing happens where that cannot be written."""
        with suppress(OSError):
            self._remove_dead()
            self._write(error=str(error) or type(error).__name__)

    def settle(self) -> None:
        """Say that every file is whole: what dead runs left of them, of any shard, is removed."""
        self._remove_dead(of_any_shard=True)

    def _remove_dead(self, *, of_any_shard: bool = False) -> None:
        """Remove what dead runs left of the same files and pairs."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for entry in read_journal(self.path.parent):
            if not entry.alive and entry.cells <= set(self._cells) and (
                    of_any_shard or self._shard[1] == 1 or list(self._shard) == list(entry.about.get("shard", ()))):
                entry.path.unlink(missing_ok=True)

    def alone(self) -> bool:
        """Whether nobody else is at work on any of these files."""
        return not any(entry.alive and entry.cells & set(self._cells) and entry.path != self.path
                       for entry in read_journal(self.path.parent))

    def _write(self, **more: str) -> None:
        about = {"cells": self._cells, "host": socket.gethostname(), "pid": os.getpid(), "job": job_name(),
                 "started": self._started, "shard": list(self._shard), **more}
        beside = self.path.with_suffix(".tmp")
        beside.write_text(json.dumps(about), encoding="utf-8")
        beside.replace(self.path)


def read_journal(folder: Path) -> Sequence[Entry]:
    """All that runs say of themselves in the folder of a data set's scores."""
    found = []
    for path in sorted(folder.glob("*.run")):
        with suppress(OSError, ValueError, KeyError, TypeError):  # gone meanwhile, or half a file of a full disk
            about = json.loads(path.read_text(encoding="utf-8"))
            found.append(Entry(path, frozenset(about.pop("cells")), about, time.time() - path.stat().st_mtime))
    return found
