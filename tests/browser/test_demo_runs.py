"""The runs of `make demo`, seen in Omniboard: OSTINATO_HOME or OSTINATO_MONGO_URL says where they are.

With OSTINATO_SCREENSHOTS=FOLDER the pages are kept there as `omniboard.png`, `omniboard_run.png` and
`omniboard_picture.png`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pymongo import DESCENDING

from experiments.tracking import TrackingSettings
from experiments.tracking.database import VIEW
from experiments.tracking.home import home
from experiments.tracking.location import located, open_database


@pytest.fixture(scope="module")
def completed() -> dict[str, dict]:
    """The newest completed run of each experiment that has curves or pictures, by the experiment's name."""
    with located(TrackingSettings()) as location:
        runs = open_database(location.url).runs
        found: dict[str, dict] = {}
        for name in ("ex_pretrain", "ex_transfer", "ex_probe"):
            wanted = {"experiment.name": name, "command": "main", "status": "COMPLETED"}
            run = runs.find_one(wanted, sort=[("_id", DESCENDING)])
            assert run, f"no completed run of {name} in {location.masked_url}: make demo"
            found[name] = run
    return found


@pytest.fixture(scope="module")
def dashboard(completed, start):
    return start(home())


@pytest.fixture
def page(page_at, dashboard):
    return page_at(dashboard.url)


@pytest.fixture
def keep(page):
    """Keep a picture of the page as it is, where pictures are wanted."""
    folder = os.environ.get("OSTINATO_SCREENSHOTS")

    def keep(name: str) -> None:
        if folder:
            page.browser.save_screenshot(str(Path(folder) / name))

    return keep


def picture_of(run: dict) -> str:
    names = [entry["name"] for entry in run["artifacts"] if entry["name"].endswith(".png")]
    assert names, f"run {run['_id']} has no picture"
    return names[0]


def test_the_runs_of_the_demo_are_in_the_table(page, completed, keep):
    rows = [dict(zip(VIEW, row[2:], strict=True)) for row in page.open_table()]
    keep("omniboard.png")
    for name, run in completed.items():
        (row,) = [row for row in rows if row["_id"] == str(run["_id"])]
        assert (row["experiment_name"], row["status"]) == (name, "COMPLETED")
        assert row["target"].startswith("tagging")


@pytest.mark.parametrize("experiment", ["ex_transfer", "ex_pretrain"])
def test_the_curves_of_the_trainings_are_drawn(page, completed, keep, experiment):
    page.open_run(completed[experiment]["_id"])
    series = page.series()
    keep("omniboard_run.png")
    assert "train/loss" in series
    assert any(name.startswith("val/") for name in series)
    assert all(len(values) > 0 for _, values in series.values())


@pytest.mark.parametrize("experiment", ["ex_pretrain", "ex_transfer", "ex_probe"])
def test_a_picture_of_each_experiment_is_seen(page, completed, until, keep, experiment):
    run = completed[experiment]
    page.open_run(run["_id"], "Artifacts")
    picture = page.open_artifact(picture_of(run), "img")
    assert until(lambda: page.browser.execute_script("return arguments[0].naturalWidth", picture) > 0, "the picture")
    keep("omniboard_picture.png")
