"""Compiled distances: one graph for any number of tiles, and PyTorch's constants in memory."""

import functools
import platform
import re
import subprocess
import sys

import pytest
import torch

from zsiqa.distances import JSD, L2, SKLD, WSD, Cosine, compare, compiled_compare

pytestmark = pytest.mark.numeric

LINUX = (tuple(map(int, re.findall(r"\d+", platform.release())[:2])) if sys.platform == "linux" else (0,))


def test_distances_are_compiled_once_for_any_number_of_tiles(monkeypatch):
    graphs = []

    def keep(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=keep))
    compiled = compiled_compare()
    every = [L2(), Cosine(), SKLD(), JSD(), WSD()]
    random = torch.Generator().manual_seed(0)
    for tiles in (5, 2, 8, 3):
        ref, dis = ((torch.randn(tiles, 2, 5, 16, generator=random),
                     torch.randn(9, 1, 4, 9, 8, generator=random)[-tiles:])  # a part of another
                    for _ in range(2))
        # Sums of hundreds of float32 values, in another order: a few roundings of 6e-8.
        torch.testing.assert_close(compiled(every, ref, dis), compare(every, ref, dis),
                                   rtol=1e-6, atol=0)
    assert len(graphs) == 1


# In a new process: in this one, something may have read all constants before.
ABSENT = """
from pathlib import Path
from zsiqa.distances import compiled_compare

def absent():
    found = [dict(line.split(":", 1) for line in one.splitlines() if line.endswith(" kB"))
             for one in Path("/proc/self/smaps").read_text().split("VmFlags")
             if "libtorch_cpu.so" in one and " r--p " in one]
    return sum(int(one["Size"].split()[0]) - int(one["Rss"].split()[0]) for one in found)

before = absent()
compiled_compare()
print(before, absent())
"""


@pytest.mark.skipif(LINUX < (5, 14), reason="only Linux 5.14 or later maps pages on request")
def test_constants_are_mapped():
    done = subprocess.run([sys.executable, "-c", ABSENT], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())  # kB of constants that are not in memory
    assert before > 0
    assert after == 0
