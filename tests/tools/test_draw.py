"""Pictures without what says nothing, and the page of `dvc plots show`, which a browser draws without a network."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import REPO, copy_project, made_once, run

from tools.draw import without_revision

HOSTS = ("jsdelivr", "vega.github.io", "unpkg")


def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "no Chromium: `apt-get install chromium`, then run this test again"
    return found


@pytest.fixture(scope="module")
def drawn(finished_project: Path, warm: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a page of `dvc plots show`, and Vega where `make env` puts it."""

    def make(folder: Path) -> None:
        copy_project(finished_project, folder)
        (folder / ".venv").mkdir()
        run([sys.executable, "-m", "tools.draw", "--script", ".venv/vega.js"], folder)
        run(["dvc", "plots", "show", "-q"], folder, **warm)

    return made_once(tmp_path_factory, "drawn", make)


def open_page(folder: Path, profile: Path) -> tuple[str, set[str]]:
    """(the page after its scripts ran, addresses that the browser asked for), in a browser that reaches no network."""
    log = profile / "net.json"
    command = [
        browser(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}",
        f"--log-net-log={log}", "--virtual-time-budget=20000", "--dump-dom", (folder / "dvc_plots/index.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout, {host for host in HOSTS if host in log.read_text(encoding="utf-8", errors="replace")}


@pytest.mark.slow
def test_the_page_of_plots_is_drawn_without_a_network(drawn: Path, tmp_path: Path) -> None:
    page, asked = open_page(drawn, tmp_path)
    plots = json.loads(run(["dvc", "plots", "show", "--json"], drawn).stdout)["data"]
    defined = yaml.safe_load((drawn / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    assert page.count('class="marks"') == len(plots) == len(defined)
    assert asked == set()


@pytest.mark.slow
def test_without_vega_the_page_says_what_puts_it_there(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(drawn / "dvc_plots", tmp_path / "project/dvc_plots")
    page, asked = open_page(tmp_path / "project", tmp_path / "profile")
    assert "Vega, which draws the plots, could not be loaded: `make env`" in page
    assert "jsdelivr" in asked


def test_one_revision_alone_is_not_told_apart_from_others() -> None:
    inner = {"encoding": {"x": {"field": "share"}, "color": {"field": "rev", "title": "revision"}, "tooltip": [{"field": "rev"}]}}
    faceted = {"data": {"values": [{"rev": "workspace", "share": 1}]}, "facet": {"column": {"field": "rev"}}, "spec": inner}
    expected = {"encoding": {"x": {"field": "share"}, "tooltip": []}}
    assert without_revision(inner) == expected
    assert without_revision(faceted) == expected | {"data": {"values": [{"rev": "workspace", "share": 1}]}}


@pytest.mark.parametrize("path", sorted((REPO / ".dvc/plots").glob("*.json")), ids=lambda path: path.stem)
def test_no_template_of_ours_shows_one_revision_alone(path: Path) -> None:
    specification = json.dumps(without_revision(json.loads(path.read_text(encoding="utf-8"))))
    assert '"field": "rev"' not in specification
    assert "facet" not in specification


def test_without_plots_what_makes_them_is_named_whether_or_not_the_environment_is_active(tmp_path: Path) -> None:
    done = run([sys.executable, "-m", "tools.draw"], tmp_path, check=False, PATH="/nowhere", PYTHONPATH=str(REPO))
    assert done.stderr.startswith("error: no plots: run it in the project's folder")
