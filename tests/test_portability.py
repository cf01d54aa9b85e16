"""Systems other than Linux: nothing that only POSIX has is on the way of a run, and texts and paths are of any system."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from budgetlens.runs.known_models import last_part
from tests.conftest import write_corpus
from tests.test_runs import assert_same_run, command

ROOT = Path(__file__).parents[1]
PACKAGES = ("budgetlens", "probes", "interventions", "analyses", "figures")

#: Modules of the standard library that Windows lacks.
POSIX_MODULES = (
    "crypt",
    "fcntl",
    "grp",
    "pty",
    "pwd",
    "readline",
    "resource",
    "spwd",
    "syslog",
    "termios",
    "tty",
)

#: What `os` and `signal` have on POSIX systems alone.
POSIX_NAMES = {
    "os": {
        "fork",
        "forkpty",
        "getuid",
        "geteuid",
        "getgid",
        "getpgid",
        "killpg",
        "mkfifo",
        "nice",
        "setsid",
        "uname",
    }
    | {"sched_getaffinity", "statvfs", "sysconf", "wait", "WNOHANG", "chown", "getloadavg"},
    "signal": {"SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1", "alarm", "pthread_kill", "setitimer"},
}

#: The one place that may use one: the peak of memory on systems that have no record of it in a file.
ALLOWED = {("budgetlens/command/bench.py", "resource")}

#: What a text is written or read with; without an encoding the system's own is taken, which differs.
TEXT_METHODS = ("read_text", "write_text")


def sources() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def posix_uses(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name in POSIX_MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in POSIX_MODULES:
            yield str(node.module)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.attr in POSIX_NAMES.get(node.value.id, ())
        ):
            yield f"{node.value.id}.{node.attr}"


def test_no_module_asks_for_what_only_posix_has() -> None:
    found = {(path, use) for path, tree in sources() for use in posix_uses(tree)}
    assert found == ALLOWED
    assert set(
        posix_uses(ast.parse("import fcntl\nfrom pwd import getpwnam\nos.fork()\nsignal.SIGKILL"))
    ) == {
        "fcntl",
        "pwd",
        "os.fork",
        "signal.SIGKILL",
    }


def test_texts_have_an_encoding_of_their_own() -> None:
    bare = [
        (path, node.lineno)
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in TEXT_METHODS
        and not any(keyword.arg == "encoding" for keyword in node.keywords)
        # A module's own function of that name.
        and not isinstance(node.func.value, ast.Name | ast.Attribute)
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("google/t5gemma-2-270m-270m", "t5gemma-2-270m-270m"),
        ("C:\\models\\mine", "mine"),
        ("C:\\models\\mine\\", "mine"),
        ("/models/mine/", "mine"),
        ("..\\..", "model"),
        ("..", "model"),
    ],
)
def test_a_run_is_named_after_the_last_part_of_any_path(name: str, label: str) -> None:
    assert last_part(name) == label


#: Read by every Python that finds it first on its path, the workers' as well.
WITHOUT_POSIX = f"""
import sys

# A library's module for Linux itself, which it imports on no other system.
OWN = ("_pslinux.py", "_psposix.py")

class Missing:
    def find_spec(self, name, path=None, target=None):
        frame = sys._getframe(1)
        while frame and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        if name in {POSIX_MODULES} and not (frame and frame.f_code.co_filename.endswith(OWN)):
            raise ModuleNotFoundError(f"No module named {{name!r}}: this system is no POSIX", name=name)

# Built-in ones are found before any other, but not before this.
for name in {POSIX_MODULES}:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Missing())
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [[], ["--workers", "1"]], ids=["here", "worker"])
def test_a_run_without_any_posix_module(workers: list[str], tmp_path: Path, tiny_directory: Path) -> None:
    """The whole of a run, on a console that knows no other letters than ours."""
    corpus = write_corpus(tmp_path / "corpus.jsonl", 3)
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_POSIX, encoding="utf-8")

    def run(out: Path, path: str, *more: str) -> subprocess.CompletedProcess[bytes]:
        given = command(out, tiny_directory, corpus, "--layers", "0", "--no-report", *more)
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "PYTHONIOENCODING": "cp1252:strict",
            "PYTHONUTF8": "0",
        }
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "budgetlens", *given],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    gone = subprocess.run(
        [sys.executable, "-c", "import fcntl"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
    )
    assert b"this system is no POSIX" in gone.stderr
    run(tmp_path / "plain", str(ROOT))
    run(tmp_path / "bare", os.pathsep.join([str(tmp_path), str(ROOT)]), *workers)
    assert_same_run(tmp_path / "bare", tmp_path / "plain")
