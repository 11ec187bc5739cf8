"""Command `python run.py ...`: compose the configuration, compute missing scores, print a summary.

A run makes one pass over the images for its backbone, and one for its baselines; either may be missing. torch
and the models are imported only when there are scores to compute, so help, `--cfg job`, early errors and
finished runs are fast.
"""

from __future__ import annotations

import functools
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import zsiqa
from zsiqa import CONFIGS
from zsiqa.config import check_added, check_choices, check_names, check_settings, explain, settings
from zsiqa.config.hints import not_an_override
from zsiqa.runs.gpus import list_gpus
from zsiqa.runs.heartbeats import Journal
from zsiqa.runs.inputs import by_cause, find_inputs
from zsiqa.runs.machine import check_code, code_digest
from zsiqa.runs.notes import describe
from zsiqa.runs.plan import file_names, identify_images, planned_files, read_target
from zsiqa.runs.resume import resume
from zsiqa.runs.slurm import fail_at_exit, requeue_when_preempted
from zsiqa.runs.summary import summary
from zsiqa.terminal import exit_on_broken_pipe, fit, print_error
from zsiqa.types import ZsiqaError

# For configs/hydra/launcher.
OmegaConf.register_new_resolver("code_digest", code_digest, replace=True)
OmegaConf.register_new_resolver("count_gpus", lambda: max(1, len(list_gpus())), replace=True)


@exit_on_broken_pipe()
def main() -> None:
    """Run the command. An error that the user can fix prints one message.

    Exit status: 1 after an error, 130 if interrupted, 143 if terminated.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them with a traceback
    # So Hydra finds the sweeper beside zsiqa, and jobs in other processes import this code, even if zsiqa
    # is also installed.
    root = str(Path(zsiqa.__file__).parent.parent)
    sys.path.append(root)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    signal.signal(signal.SIGTERM, _terminated)
    options, unknown = get_args_parser().parse_known_args()
    if option := next((argument for argument in unknown if argument.startswith("-")), None):
        after = sys.argv[sys.argv.index(option) + 1:][:1]  # its value, if it is not another option
        given = option.replace("=", " ", 1) if "=" in option else " ".join(
            [option, *(value for value in after if value[0] != "-")])
        sys.exit(f"error: {not_an_override(given, settings())}")
    if unknown:  # settings after an option that stands between settings
        pairs = [argument for argument in sys.argv[1:] if "=" in argument and argument[0] != "-"]
        sys.argv[1:] = pairs + [argument for argument in sys.argv[1:] if argument not in pairs]
    try:
        check_choices(sys.argv[1:])
        with _folded_output() if options.help else nullcontext():
            _job()
    except JobFailedError:
        sys.exit(1)  # the job has printed the error
    except BrokenPipeError:
        raise
    except (HydraException, OmegaConfBaseException, ZsiqaError, OSError) as error:
        sys.exit(f"error: {explain(error, sys.argv[1:])}")
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not type(error).__module__.startswith("submitit."):
            raise
        if isinstance(error.__cause__, subprocess.CalledProcessError):  # sbatch
            sys.exit(f"error: SLURM did not accept the job: {error}")
        sys.exit("error: a job did not finish; `zsiqa status` says more, and the same command goes on from "
                 f"there\n{error}")


@contextmanager
def _folded_output() -> Iterator[None]:
    """Fold long lines of the output: Hydra's help lists all names of a group in one line."""
    output = io.StringIO()
    try:
        with redirect_stdout(output):
            yield
    finally:
        if text := output.getvalue().rstrip("\n"):
            print(fit(text))


def _terminated(*_: object) -> None:
    print("terminated; the same command goes on from here", file=sys.stderr)
    sys.exit(143)


class JobFailedError(Exception):
    """A job of a sweep failed and has printed its error. The sweep continues with its other jobs."""


@hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="config")
def _job(cfg: DictConfig) -> None:
    requeue_when_preempted()
    sweeping = HydraConfig.get().mode is RunMode.MULTIRUN
    try:
        given = HydraConfig.get().overrides.task
        check_added(cfg, given)
        sharded = isinstance(cfg.num_shards, int) and cfg.num_shards > 1
        if sharded and not any(argument.startswith("shard=") for argument in given):
            raise ZsiqaError(f"num_shards={cfg.num_shards}, but no shard=...: all of them are -m "
                             f"num_shards={cfg.num_shards} 'shard=range({cfg.num_shards})'")
        if cfg.backbone.model is None:
            unused = [argument for argument in given if argument.startswith(("distance=", "representation="))]
            if unused:
                raise ZsiqaError(f"{' '.join(unused)} needs a backbone; baseline=... alone has none: "
                                 f"add backbone=NAME")
        with exit_on_broken_pipe():  # here, because Hydra prints a line for every error that reaches it
            run(cfg)
        return
    except (ZsiqaError, OSError) as error:  # OSError: the disk is full, the results folder is read-only, ...
        print_error(error)
        if sweeping:
            _note_failure(cfg, error)
    except Exception as error:  # a bug, or submitit gave up a job that timed out too often
        _note_failure(cfg, error)
        raise
    # Outside the handler: Hydra keeps the exception, and its traceback would keep the model in memory.
    if sweeping:
        raise JobFailedError
    sys.exit(1)


def _note_failure(cfg: DictConfig, error: Exception) -> None:
    """Write the error to the heartbeat file, for `zsiqa status`, and let SLURM know that the job failed."""
    fail_at_exit()
    with suppress(ZsiqaError, OmegaConfBaseException):  # errors of the configuration are already printed
        check_names(cfg)
        folders: dict[Path, list[Path]] = {}
        for file in planned_files(cfg):
            folders.setdefault(file.path.parent.parent, []).append(file.path)
        for folder, paths in folders.items():
            Journal(folder, file_names(paths), (cfg.shard, cfg.num_shards)).fail(error)


def run(cfg: DictConfig) -> None:
    """Score one backbone and any baselines on one data set, with the metrics and perturbations of `cfg`.

    Raises:
        ZsiqaError: for any error that the user can fix; scores computed before it are kept.
    """
    check_code()
    check_settings(cfg)
    dataset, selected, passes = find_inputs(cfg)  # all data and weights before any work
    if not passes:
        print(f"{dataset.label}, shard {cfg.shard} of {cfg.num_shards}: no pairs, so nothing to do")
        return
    about, images = describe(cfg, dataset), identify_images(cfg, dataset)
    targets = [{key: read_target(planned.files[key], file, dataset, about, overwrite=cfg.overwrite)
                for key, file in planned.score_files(images, weights).items()} for planned, weights in passes]
    all_targets = [target for of_pass in targets for target in of_pass.values()]
    fresh = any(target.missing[selected].any() for target in all_targets)
    failures: dict[str, str] = {}
    for (planned, weights), of_pass in zip(passes, targets, strict=True):
        build = functools.partial(planned.build, weights)
        for errors in resume(cfg, dataset, build, of_pass, selected).values():
            failures = {**errors, **failures}
    print(summary(cfg, dataset, all_targets, selected, fresh=fresh))
    if failures:
        causes = by_cause(failures, {pair.pair_id: pair for pair in dataset.pairs})
        listed = "".join(f"\n  {cause}" for cause in causes)
        raise ZsiqaError(f"{len(failures):,} of {selected.sum():,} pairs lack a score under at least one "
                         f"perturbation; fix them and run the same command again:{listed}")
