"""`zsiqa completion`, asked by a real bash what it would complete."""

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
def complete(tmp_path, capsys):
    """A function from the words of a command line to what bash would put in place of the last."""
    assert main(["completion", "bash"]) == 0
    (tmp_path / "completion.bash").write_text(capsys.readouterr().out)
    (tmp_path / "cat one.png").touch()
    (tmp_path / "scores").mkdir()

    def words(*line):
        done = subprocess.run(["bash", "--norc", "-c", TRY, "bash", "zsiqa", *line], cwd=tmp_path, text=True,
                              capture_output=True, check=True)
        return done.stdout.split("\n")[:-1]

    return words


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(("line", "expected"), [
    (["ta"], ["tables"]), (["weights", "ver"], ["verify"]), (["completion", ""], ["bash", "zsh", "tcsh"]),
    (["score", "a", "b", "--basel"], ["--baseline"]), (["score", "ca"], ["cat one.png"]),
    (["score", "a", "b", "--backbone", "dino"], ["dinov1", "dinov2"]),
    (["score", "a", "b", "--distance", "wsd,js"], ["wsd,jsd"]),
    (["score", "a", "b", "--distance", "wsd,jsd,ws"], [""]), (["score", "a", "b", "--distance", "ws"], ["wsd"]),
    (["score", "a", "b", "--backbone", "dinov1,dino"], ["dinov1,dinov2"]),
    (["tables", "--scores", "s"], ["scores"]), (["tables", "--scores", "ca"], [""]),
    (["tables", "--table", "table1", "--table", "ext"], ["extended"]),
    (["weights", "fetch", "dinov1", "lpips"], ["lpips_alex", "lpips_vgg"]),
])
def test_bash_completes(complete, line, expected):
    assert complete(*line) == expected


def test_every_command_is_offered(complete):
    assert {"score", "run", "data", "weights", "tables", "audit", "verify", "stats"} <= set(complete(""))


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_get_a_script_with_the_names(capsys, shell):
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("heatmap", "clip_vitb32", "skld", "zsiqa"))
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=said, text=True, check=True)


def test_an_unknown_shell_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["completion", "cmd"])
    assert "invalid choice: 'cmd'" in capsys.readouterr().err
