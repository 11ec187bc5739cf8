"""Jobs through submitit, as under SLURM, with its executor for one machine; scripts/slurm_smoke.sh has a real
SLURM."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from commands import ROOT
from commands import run_process as run
from conftest import write_pairs
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from test_sharding import ARGUMENTS, score_files

from zsiqa import CONFIGS
from zsiqa.cli.main import main
from zsiqa.runs.machine import SUBMITTED_CODE, code_digest

submitit = pytest.importorskip("submitit", reason="needs the extra `cluster`: pip install -e '.[cluster]'")
# A part of whose time limit below 10 minutes would make of every warning a timeout.
SUBMITIT = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=30"]
SLOW = ["dataset=pairs", "dataset.csv=pairs.csv", "batch_tiles=1"]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    """Several processes at once, each with as many threads as cores, would wait for each other for
    minutes."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def folder(tmp_path):
    write_pairs(tmp_path, [(24, 24)] * 4, levels=40)
    return tmp_path


def wait_for(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)
    return found


def logs(folder):
    return "".join(path.read_text() for path in folder.rglob("*_log.*"))


@pytest.mark.slow
def test_shards_as_jobs_are_joined(folder):
    run("-m", *SUBMITIT, *ARGUMENTS, "num_shards=2", "shard=range(2)", cwd=folder)
    run(*ARGUMENTS, "results_dir=whole", cwd=folder)
    assert score_files(folder / "results") == score_files(folder / "whole")


@pytest.mark.slow
def test_a_job_that_fails_ends_with_status_1_and_the_others_go_on(folder, monkeypatch, capsys):
    """Trap: Hydra hands a failure on as a result, so submitit and SLURM would take the job for COMPLETED."""
    run("-m", *SUBMITIT, *ARGUMENTS[:2], "baseline=ms_ssim,psnr", cwd=folder, status=1)
    ends = {path.parent.name: path for path in folder.rglob("*_result.pkl")}
    assert len(ends) == 2, "both ended by themselves"
    assert "needs sides of at least 161 pixels" in logs(folder)
    assert "could be scored" not in logs(folder)  # for there are no others
    assert (folder / "results/scores/pairs/psnr/original.csv").is_file()
    monkeypatch.chdir(folder)
    assert main(["status", *ARGUMENTS[:2], "baseline=ms_ssim,psnr"]) == 1
    text = capsys.readouterr().out
    assert "failed     1 file: ref0.png|dis0_1.png (original): " in text
    assert "done       1 file, 160 of 160 pairs" in text


@pytest.mark.slow
@pytest.mark.parametrize(("baseline", "status"), [("ms_ssim", 1), ("psnr", 0)])
def test_the_status_of_a_jobs_process(folder, baseline, status):
    """What SLURM sees: the status of the process that submitit starts for a job."""
    run("-m", *SUBMITIT, *ARGUMENTS[:2], f"baseline={baseline}", cwd=folder, status=status)
    (pickle,) = folder.rglob("*_submitted.pkl")
    job = pickle.name.partition("_")[0]
    done = subprocess.run(
        [sys.executable, "-m", "submitit.core._submit", str(pickle.parent)], cwd=folder, check=False,
        capture_output=True, text=True, env={
            **os.environ, "PYTHONPATH": str(ROOT), "SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": job,
            "SUBMITIT_LOCAL_NTASKS": "1", "SUBMITIT_LOCAL_GLOBALID": "0", "SUBMITIT_LOCAL_LOCALID": "0"})
    assert done.returncode == status, done.stdout + done.stderr


@pytest.mark.slow
def test_a_bug_in_a_job_is_a_failure_with_its_traceback(folder):
    command = [sys.executable, str(ROOT / "run.py"), "-m", *SUBMITIT, *ARGUMENTS]
    done = subprocess.run([*command, "baselines.psnr.model._target_=nothing.Such"], cwd=folder, check=False,
                          capture_output=True)
    assert done.returncode == 1
    (record,) = (folder / "results/scores/pairs").glob("*.run")
    assert "nothing" in json.loads(record.read_text())["error"]


@pytest.mark.slow
@pytest.mark.parametrize("word", [signal.SIGUSR2, signal.SIGTERM])
def test_queued_again_by_a_signal_it_goes_on_from_its_own_files(tmp_path, word):
    """Trap: the task starts from zero. SLURM sends SIGUSR2 before the time limit, SIGTERM before a
    preemption."""
    write_pairs(tmp_path, [(224, 224)], levels=40)
    run(*SLOW, "results_dir=whole", cwd=tmp_path)
    command = [sys.executable, str(ROOT / "run.py"), "-m", *SUBMITIT, *SLOW, "device=cpu"]
    driver = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)

    def rows():
        return sum(line[:1] != b"#" for part in tmp_path.rglob("*.part") for line
                   in part.read_bytes().splitlines())

    wait_for(rows, "scores")
    (record,) = tmp_path.rglob("*.run")
    pid = json.loads(record.read_text())["pid"]
    os.kill(pid, word)
    wait_for(lambda: "Requeued job" in logs(tmp_path), "its place in the queue")
    output, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, output + logs(tmp_path)
    assert score_files(tmp_path / "results") == score_files(tmp_path / "whole")
    sidecar = json.loads(next((tmp_path / "results").rglob("original.json")).read_text())
    assert len(sidecar["sessions"]) == 2, "the first one's scores are in it"
    assert not list(tmp_path.rglob("*.run"))


@pytest.mark.slow
def test_sigterm_outside_of_a_cluster_keeps_all_scores(tmp_path):
    write_pairs(tmp_path, [(224, 224)], levels=40)
    process = subprocess.Popen([sys.executable, str(ROOT / "run.py"), *SLOW, "device=cpu"], cwd=tmp_path,
                               stderr=subprocess.PIPE, text=True)
    (part,) = wait_for(lambda: [file for file in tmp_path.rglob("*.part") if file.stat().st_size], "scores")
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "the same command goes on from here" in errors
    assert "seconds" in part.read_text().splitlines()[-1], "closed in good order"
    assert not list(tmp_path.rglob("*.run"))


@pytest.mark.slow
def test_other_code_than_was_submitted_is_refused(folder, monkeypatch, capsys):
    """Trap: a job reads the source when it starts."""
    run(*ARGUMENTS, cwd=folder, **{SUBMITTED_CODE: code_digest()})
    output = run("-m", *ARGUMENTS, "results_dir=other", cwd=folder, status=1,
                 **{SUBMITTED_CODE: "0123456789ab"})
    assert "the code has changed since this job was submitted (then 0123456789ab, now " in output
    assert not list((folder / "other").rglob("*.csv"))
    monkeypatch.chdir(folder)
    main(["status", *ARGUMENTS, "results_dir=other"])
    assert "failed     2 files: the code has changed" in capsys.readouterr().out


def hydra_of(*arguments):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        found = compose("config", overrides=list(arguments), return_hydra_config=True).hydra
    found.job.name = "run"
    return {name: OmegaConf.to_container(found[name], resolve=True) for name in ("launcher", "callbacks")}


def test_the_launcher_for_slurm_resumes_often_and_jobs_download_nothing():
    """Trap: with a limit of ten minutes or less, every warning counts as a timeout; and none is granted by
    default."""
    launcher = hydra_of("hydra/launcher=slurm", "hydra.launcher.partition=gpu")["launcher"]
    assert launcher["_target_"].endswith(".SlurmLauncher")
    assert launcher["timeout_min"] >= 20
    assert launcher["max_num_timeout"] >= 3
    assert (launcher["tasks_per_node"], launcher["gpus_per_node"], launcher["partition"]) == (1, 1, "gpu")
    assert launcher["setup"][0] == "export HF_HUB_OFFLINE=1"
    assert launcher["setup"][2] == f"export {SUBMITTED_CODE}={code_digest()}"


@pytest.mark.slow
def test_on_a_workstation_as_many_jobs_at_once_as_gpus(folder, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    found = hydra_of("hydra/launcher=slurm_local")
    assert found["launcher"]["n_jobs"] == 3
    assert found["callbacks"]["one_gpu"]["_target_"] == "zsiqa.runs.gpus.OneGpuEach"
    run("-m", "hydra/launcher=slurm_local", *ARGUMENTS, "num_shards=2", "shard=range(2)", cwd=folder,
        CUDA_VISIBLE_DEVICES="")
    assert len(score_files(folder / "results")) == 2


WITHOUT = """
import sys, runpy
class Absent:
    def find_spec(self, name, *_):
        if (name.split(".")[0] in ("hydra_submitit_launcher", "submitit", "joblib")
                or "hydra_joblib" in name or "hydra_submitit" in name):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import hydra_plugins
hydra_plugins.__path__ = [path for path in hydra_plugins.__path__ if "site-packages" not in path]
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["slurm", "slurm_local"])
def test_without_the_extra_it_is_one_clear_error(folder, launcher):
    command = [sys.executable, "-c", WITHOUT, str(ROOT / "run.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, "-m", f"hydra/launcher={launcher}", *ARGUMENTS], cwd=folder,
                          capture_output=True,
                          text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "pip install 'zsiqa[cluster]'" in done.stderr
    assert "Traceback" not in done.stderr
    for arguments in (["--help"], ["-m", *ARGUMENTS]):
        subprocess.run([*command, *arguments], cwd=folder, capture_output=True, check=True, env=environment)
