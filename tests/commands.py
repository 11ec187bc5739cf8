"""`python run.py` for tests: in a process of its own as its users run it, or in this one, which saves the
seconds that the imports take."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

from huggingface_hub import constants
from hydra.core.singleton import Singleton

from zsiqa.runs.runner import main

ROOT = Path(__file__).parent.parent


def command(*arguments):
    return [sys.executable, str(ROOT / "run.py"), *on_cpu(arguments)]


def on_cpu(arguments):
    """The arguments as text, with device=cpu unless they name a device."""
    texts = [*map(str, arguments)]
    return texts if any(text.startswith("device=") for text in texts) else [*texts, "device=cpu"]


def run_process(*arguments, cwd, status=0, **environment):
    """Run in a process of its own; returns what it said."""
    done = subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True, check=False,
                          env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "hub"),
                               **environment})
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


def run(*arguments, cwd, status=0, **environment):
    """Run in this process, and leave it as it was; returns what the command said."""
    found, output, errors = run_here(on_cpu(arguments), cwd, environment)
    assert found == status, output + errors
    return output + errors


def run_here(arguments, cwd, environment=()):
    """Run in this process; returns status, output and errors."""
    output, errors = io.StringIO(), io.StringIO()
    singletons, path, handler = Singleton.get_state(), list(sys.path), signal.getsignal(signal.SIGTERM)
    status = 0
    with (contextlib.chdir(cwd), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors),
          mock.patch.dict(os.environ, {"HF_HUB_OFFLINE": "1", **dict(environment)}),
          mock.patch.object(constants, "HF_HUB_CACHE", str(Path(cwd) / "hub")),  # HF_HOME was read long ago
          mock.patch.object(sys, "argv", [str(ROOT / "run.py"), *arguments])):
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
            if isinstance(status, str):  # Python would print it
                print(status, file=errors)
                status = 1
        finally:
            Singleton.set_state(singletons)
            sys.path[:] = path
            signal.signal(signal.SIGTERM, handler)
    return status, output.getvalue(), errors.getvalue()
