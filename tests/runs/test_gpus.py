import os
import subprocess
import sys

from zsiqa.runs.gpus import OneGpuEach, list_gpus

HOLD = """
import os, pathlib, sys
from zsiqa.runs.gpus import take_gpu
print(take_gpu(["0", "1"], pathlib.Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def holder(folder):
    return subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def test_each_worker_holds_a_gpu_of_its_own_and_one_too_many_waits(tmp_path):
    first, second = holder(tmp_path), holder(tmp_path)
    assert {first.stdout.readline(), second.stdout.readline()} == {"0\n", "1\n"}
    third = holder(tmp_path)
    assert third.stderr.readline() == "waiting for one of the GPUs 0, 1\n"
    second.kill()  # however a worker ends, its GPU is free
    second.wait()
    assert third.stdout.readline() in ("0\n", "1\n")
    for process in (first, third):
        process.communicate("")


def test_gpus_are_those_that_the_user_left_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-abc")
    assert list_gpus() == ["2", "GPU-abc"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert list_gpus() == []
    OneGpuEach().on_job_start(config=None, task_function=None)
    OneGpuEach().on_multirun_start(config=None)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "", "without a GPU, nothing changes"


def test_a_worker_sees_only_the_gpu_that_it_took(tmp_path):
    code = ("import os; from zsiqa.runs.gpus import OneGpuEach\n"
            "callback = OneGpuEach(); callback.on_job_start(); print(os.environ['CUDA_VISIBLE_DEVICES'])\n"
            "callback.on_job_start(); print(os.environ['CUDA_VISIBLE_DEVICES'])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "CUDA_VISIBLE_DEVICES": "3,5", "TMPDIR": str(tmp_path)})
    assert done.stdout == "3\n3\n"
