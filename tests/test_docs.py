"""README and docs: their commands and examples run, or at least are commands that exist; their links lead
somewhere.

A page is run from top to bottom in a folder of its own: blocks with a title are written to the file that it
names; then all bash blocks, line by line; then all Python blocks as one. A block after `<!-- not run: WHY
-->` is not run, but its lines are still held against the parsers of `zsiqa` and `run.py`, and the Makefile.
"""

import functools
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import add_noise, make_image, write_pairs
from hydra.core.override_parser.overrides_parser import OverridesParser

from zsiqa.cli.main import main, make_parser
from zsiqa.config import check_settings, compose
from zsiqa.datasets import demo as demo_images
from zsiqa.runs.sweep import expand

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<why>.+?) -->\n)?^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n"
                   r"(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PLAIN = {"git", "cd", "export", "unzip", "7z", "pip", "eval", "python3", "curl"}  # programs that are not ours


@dataclass(frozen=True)
class Block:
    language: str
    title: str
    text: str
    why: str


def blocks(page):
    return [Block(found["language"], found["title"] or "", found["text"], found["why"] or "")
            for found in FENCE.finditer(page.read_text(encoding="utf-8"))]


def runnable(page, language):
    return [block.text for block in blocks(page) if block.language == language and not block.why
            and not block.title]


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The demo's images, built once, and of two tiles each: whole ones would take minutes."""
    root = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_images, "WIDTH", 228)
        patch.setattr(demo_images, "HEIGHT", 224)
        demo_images.read(root)
    return root


@pytest.fixture
def folder(tmp_path, demo):
    """Where a page's examples run: the images and files that its text speaks of."""
    for name, sigma in (("ref.png", 0), ("dis.png", 8)):
        add_noise(make_image(224, 224, 0), sigma, seed=1).save(tmp_path / name)
        for place in ("refs", "distorted"):
            (tmp_path / place).mkdir(exist_ok=True)
            add_noise(make_image(224, 224, 1), sigma if place == "distorted" else 0,
                      2).save(tmp_path / place / name)
    write_pairs(tmp_path / "mine", [(224, 224)] * 2, levels=2)
    (tmp_path / "mine/pairs.csv").rename(tmp_path / "mine/my_pairs.csv")
    own = tmp_path / "datasets/my_set"
    own.mkdir(parents=True)
    (tmp_path / "datasets/demo").symlink_to(demo)
    opinions = []
    for number, name in enumerate(("cat", "dog")):
        image = make_image(224, 224, number)
        image.save(own / f"{name}.png")
        for level in range(1, 4):
            add_noise(image, 4 * level, level).save(own / f"{name}_noise_{level}.png")
            opinions.append(f"{name} noise {level} {5 - level}\n")
    (own / "opinions.txt").write_text("".join(opinions))
    return tmp_path


@pytest.fixture
def execute(folder, monkeypatch):
    """A function that executes a simple command line. `zsiqa` in this process, as importing torch takes
    seconds."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", sys.argv)

    def execute(line):
        if line.startswith("export PYTHONPATH="):
            return monkeypatch.syspath_prepend(str(folder / line.partition("=")[2]))
        name, *arguments = shlex.split(line, comments=True)
        if [name, *arguments[:1]] == ["python", "run.py"]:
            name, arguments = "zsiqa", ["run", *arguments[1:]]
        assert name == "zsiqa", (
            f"{line}: mark the block as not run, or write it with simple commands of zsiqa")
        try:
            status = main(arguments)
        except SystemExit as left:
            status = left.code
        assert not status, line
        return None

    return execute


def lines(script):
    """The command lines of a script, without comments."""
    joined = script.replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.sample("README.md")
@pytest.mark.parametrize("page",
                         [page for page in PAGES if runnable(page, "bash") or runnable(page, "python")],
                         ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_examples_of_a_page_run(page, folder, execute):
    for block in blocks(page):
        if block.title:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text)
    for script in runnable(page, "bash"):
        for line in lines(script):
            execute(line)
    exec(compile("\n".join(runnable(page, "python")), page.name, "exec"), {})  # noqa: S102


def commands():
    """(page, command line) of every line of every block in bash."""
    for page in PAGES:
        for block in blocks(page):
            if block.language == "bash":
                yield from ((page.relative_to(ROOT).as_posix(), line) for line in lines(block.text))


@pytest.mark.parametrize(("page", "line"), list(commands()))
def test_commands_exist(page, line):
    if line.startswith("eval "):
        return
    words = shlex.split(line.partition(" | ")[0].partition(" && ")[0], comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[:2] == ["python", "run.py"] or words[:2] == ["zsiqa", "run"]:
        _check_run(words[2:])
    elif words[0] == "zsiqa":
        options = make_parser().parse_args(words[1:])
        assert options.command
    elif words[0] == "make":
        for target in (word for word in words[1:] if "=" not in word):
            assert f"\n{target}:" in (ROOT / "Makefile").read_text()
    elif words[:2] == ["python", "-m"]:
        assert words[2] in ("pytest", "pip", "venv")
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file()
    else:
        assert words[0] in {*PLAIN, "."}, f"{page}: what is {words[0]}?"


def _check_run(words):
    if set(words) & {"--help", "-sc"}:
        return
    overrides = [word for word in words if word not in ("-m", "--cfg", "job")]
    if any(word.startswith("hydra.searchpath") for word in overrides):
        return  # with files of the page: those blocks run
    if any(word.startswith("+sweep=") for word in overrides):
        assert "-m" in words
        for job in expand(overrides):
            _check_job(*job)
        return
    chosen = []
    for one in OverridesParser.create().parse_overrides(overrides):
        values = list(one.sweep_string_iterator()) if one.is_sweep_override() else [None]
        assert len(values) == 1 or "-m" in words
        chosen.append(
            [one.input_line if value is None else f"{one.get_key_element()}={value}" for value in values])
    for number in range(max(map(len, chosen), default=0)):
        _check_job(*(values[min(number, len(values) - 1)] for values in chosen))


@functools.cache
def _check_job(*overrides):
    check_settings(compose(*overrides))


def test_blocks_in_no_language_hold_no_commands():
    """They would be checked by nothing."""
    for page in PAGES:
        for block in blocks(page):
            assert block.language in ("", "bash", "console", "python", "yaml"), page
            if not block.language:
                assert not re.search(r"^(zsiqa|make|python|git) ", block.text,
                                     re.MULTILINE), f"{page}: {block.text}"


def anchors(page):
    """Of a page, with what it includes; of the reference, with the names that it documents."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    text = re.sub(r"^--8<-- \"(.+)\"$", lambda found: (ROOT / found[1]).read_text(), text, flags=re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
    return slugs | set(re.findall(r'<a id="([^"]+)"', text)) | set(
        re.findall(r"^::: (\S+)$", text, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}"


def test_what_code_and_configurations_say_of_the_docs_is_there():
    for file in [*ROOT.rglob("zsiqa/**/*.py"), *ROOT.glob("configs/**/*.yaml"), ROOT / "run.py",
                 ROOT / "Makefile"]:
        for name in re.findall(r"\b(?:docs|datasets|results)/\w+\.md\b", file.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), f"{file}: {name}"


def test_every_page_is_in_the_navigation():
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert all(f": {page.name}\n" in yaml.safe_dump(navigation) for page in ROOT.glob("docs/*.md"))


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_the_network(tmp_path):
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > len(list(ROOT.glob("docs/*.md")))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r'href="[^":]+\.md["#]', text), f"{page.name}: a link to a source"
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", text):
            assert not re.search(r"(?:src|href)=\"?(?:https?:)?//", tag), f"{page.name}: {tag}"
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import",
                             style.read_text(encoding="utf-8")), style.name
