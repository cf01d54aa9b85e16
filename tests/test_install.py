"""What others install: a wheel and an editable install work where Python is started, whatever lies there.

Nothing here needs a network: the environments see the packages of the one that runs the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

from budgetlens.model.observation import available_probes
from budgetlens.registry.folders import FOLDERS, HiddenFolderError, require_own_folders

ROOT = Path(__file__).parents[1]
#: Offline, with nothing installed against the wish of the one who runs the tests, and no path that finds this checkout.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")},
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
KINDS = ("wheel", "editable")


def call(
    *command: str | Path, cwd: Path, path: Path | str | None = None, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """A finished process, with what is on PYTHONPATH; AssertionError where it does not end with ``status``."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=ENVIRONMENT if path is None else {**ENVIRONMENT, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


def bare_folders(folder: Path) -> Path:
    """A folder with one of each of our packages' names, as notebooks and results lie about in."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
        (folder / name / "mine.py").write_text("raise AssertionError('nobody asked for it')\n")
    return folder


def hiding_package(folder: Path, name: str) -> Path:
    """A package of that name in the folder."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("")
    return folder / name


# In this checkout: a package that hides one of ours, and folders that don't.


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("form", ["package", "module"])
def test_the_command_names_what_hides_a_package(name: str, form: str, tmp_path: Path) -> None:
    """Python puts the folder where it is started first with -m. Told before anything else, whatever is asked for."""
    if form == "package":
        other = hiding_package(tmp_path, name)
    else:
        other = tmp_path / f"{name}.py"
        other.write_text("")
    done = call(sys.executable, "-m", "budgetlens", "--help", cwd=tmp_path, path=ROOT, status=2)
    assert done.stdout == ""
    assert done.stderr == (
        f"budgetlens: {other} hides the package '{name}' of budgetlens, which is {ROOT / name}, because Python looks "
        f"in {tmp_path} first; rename it, or start from another directory, with that one off PYTHONPATH\n"
    )


def test_a_library_s_user_is_told_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = hiding_package(tmp_path, "figures")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "figures"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(
        HiddenFolderError, match=f"^{other} hides the package 'figures' of budgetlens, which is "
    ):
        available_probes()


def test_a_package_that_is_not_there(tmp_path: Path) -> None:
    """Half a copy of the project, on a path with nothing else of it; a bare folder is no package."""
    shutil.copytree(ROOT / "budgetlens" / "registry", tmp_path / "budgetlens" / "registry")
    (tmp_path / "budgetlens" / "__init__.py").write_text("")
    (tmp_path / "probes").mkdir()
    code = "from budgetlens.registry.folders import require_own_folders as ask; ask()"
    done = call(sys.executable, "-S", "-c", code, cwd=tmp_path, status=1)
    assert done.stderr.splitlines()[-1].endswith(
        f"the package 'probes' of budgetlens is missing, expected in {tmp_path / 'probes'}; install budgetlens again"
    )


def test_a_bare_folder_where_ours_are_not_on_the_path(tmp_path: Path) -> None:
    """As in setuptools' other editable modes, whose finder is asked after Python's own."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); from budgetlens.registry.folders import require_own_folders; "
    code += "sys.path.remove(sys.argv[1]); require_own_folders()"
    done = call(sys.executable, "-S", "-c", code, ROOT, cwd=bare_folders(tmp_path), status=1)
    told = done.stderr.splitlines()[-1]
    assert (
        f"{tmp_path / 'probes'} hides the package 'probes' of budgetlens, which is {ROOT / 'probes'}, "
        in told
    )


def test_the_same_folder_by_a_link_hides_nothing(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(ROOT)
    code = "import probes, sys; sys.path.insert(0, sys.argv[1]); from budgetlens.registry import folders; "
    code += "print(probes.__file__, folders.__file__); folders.require_own_folders()"
    done = call(sys.executable, "-c", code, ROOT, cwd=tmp_path, path=link)
    assert done.stdout.startswith(str(link))
    require_own_folders()


def test_bare_folders_and_python_m(tmp_path: Path) -> None:
    done = call(sys.executable, "-m", "budgetlens", "list", "probes", cwd=bare_folders(tmp_path), path=ROOT)
    assert "budgets" in done.stdout
    assert call(sys.executable, "-m", "budgetlens", "--help", cwd=tmp_path, path=ROOT).stdout.startswith(
        "usage: budgetlens "
    )


# Installed, in an environment of its own.


@dataclass(frozen=True)
class Installed:
    """An environment with this project in it, and the folder where Python should find it."""

    environment: Path
    home: Path

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    @property
    def command(self) -> Path:
        return self.environment / "bin" / "budgetlens"


def copy_of_the_tree(folder: Path) -> Path:
    """What git tracks or would: building leaves nothing in this checkout, and takes nothing from earlier builds."""
    listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in call(*listing, cwd=ROOT).stdout.split("\0"):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module", params=KINDS)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The project as a wheel or editable, beside everything that it needs but not beside this checkout."""
    folder = tmp_path_factory.mktemp(request.param)
    source = copy_of_the_tree(folder / "source")
    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    # By this line other packages are found, among them pip; files with such lines that lie among them are not read, so
    # that an editable install of this checkout is not in the new environment. Last by its name: ours comes first.
    (site / "zz_packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # --ignore-installed: pip must not take the checkout's own installation for one to replace.
    pip = (
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--ignore-installed",
    )
    if request.param == "editable":
        call(*pip, "--editable", source, cwd=folder)
        return Installed(environment, source)
    building = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "wheels", source)
    call(sys.executable, "-m", "pip", "wheel", *building, cwd=folder)
    (wheel,) = (folder / "wheels").glob("budgetlens-*.whl")
    call(*pip, wheel, cwd=folder)
    shutil.rmtree(source)
    return Installed(environment, site)


@pytest.mark.slow
def test_from_anywhere_the_install_is_imported(installed: Installed, tmp_path: Path) -> None:
    code = "import budgetlens, probes, interventions, analyses, figures as f\n"
    code += "print(*[m.__file__ for m in (budgetlens, probes, interventions, analyses, f)], sep='\\n')"
    done = call(installed.python, "-c", code, cwd=bare_folders(tmp_path))
    names = ("budgetlens", "probes", "interventions", "analyses", "figures")
    assert done.stdout.splitlines() == [str(installed.home / name / "__init__.py") for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("bare", [False, True])
def test_list_and_design(installed: Installed, bare: bool, tmp_path: Path) -> None:
    folder = bare_folders(tmp_path) if bare else tmp_path
    # The command itself does not look where it is started, unless it is told to.
    listed = call(installed.command, "list", cwd=folder, path=folder).stdout
    assert all(name in listed for name in ("exp08", "prefix", "renormalised", "reference"))
    design = call(installed.command, "design", "exp08", cwd=folder).stdout
    assert "oracle" in design
    assert call(installed.python, "-m", "budgetlens", "design", "exp08", cwd=folder).stdout == design


@pytest.mark.slow
def test_an_analysis_runs_beside_bare_folders(installed: Installed, tmp_path: Path) -> None:
    """By the file's own module, on the built-in model: what is no Python must have been installed as well."""
    folder = bare_folders(tmp_path)
    given = ("--n", "8", "--out", folder / "run", "--quiet", "--device", "cpu")
    call(installed.python, "-m", "analyses.exp08_decoder_length_control", *given, cwd=folder)
    assert json.loads((folder / "run" / "run.json").read_text())["identity"]["analysis"]
    assert (folder / "run" / "report.html").exists()
    assert list((folder / "run").rglob("*.csv"))


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLDERS)
def test_an_install_names_what_hides_a_package(installed: Installed, name: str, tmp_path: Path) -> None:
    other = hiding_package(tmp_path, name)
    told = f"budgetlens: {other} hides the package '{name}' of budgetlens, which is {installed.home / name}, because "
    by_module = call(installed.python, "-m", "budgetlens", "list", cwd=tmp_path, status=2)
    by_command = call(installed.command, "list", cwd=tmp_path, path=tmp_path, status=2)
    found = [by_module, by_command]
    # Where the analyses themselves are hidden, Python looks for the analysis in the stranger's package.
    if name != "analyses":
        analysis = "analyses.exp05_truncation_wound"
        found.append(call(installed.python, "-m", analysis, "--help", cwd=tmp_path, status=2))
    for done in found:
        assert done.stderr.startswith(told)
        assert done.stderr.count("\n") == 1
    # The command alone does not look here.
    assert call(installed.command, "--help", cwd=tmp_path).stdout.startswith("usage: budgetlens ")
