"""Completion, asked by a real bash what it would complete."""

import shutil
import subprocess

import pytest

from zsiqa.cli.main import main

TRY = """
source ./completion.bash
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
_shtab_zsiqa 2>errors  # compopt complains: no completion is under way
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def script(capsys):
    def print_script(shell):
        with pytest.raises(SystemExit) as ended:
            main(["--print-completion", shell])
        assert ended.value.code == 0
        return capsys.readouterr().out
    return print_script


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(("line", "expected"), [
    (["ta"], ["tables"]), (["weights", "ver"], ["verify"]), (["score", "a", "b", "--basel"], ["--baseline"]),
    (["score", "ca"], ["cat one.png"]), (["tables", "--scores", "s"], ["scores"]),
    (["tables", "--out", "ca"], [""]),
])
def test_bash_completes(script, tmp_path, line, expected):
    (tmp_path / "completion.bash").write_text(script("bash"))
    (tmp_path / "cat one.png").touch()
    (tmp_path / "scores").mkdir()
    done = subprocess.run(["bash", "--norc", "-c", TRY, "bash", "zsiqa", *line], cwd=tmp_path, text=True,
                          capture_output=True, check=True)
    assert done.stdout.split("\n")[:-1] == expected


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_get_a_script(script, shell):
    said = script(shell)
    assert all(word in said for word in ("heatmap", "tables", "zsiqa"))
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=said, text=True, check=True)
