"""Omniboard as a user sees it: a real database, a real launcher, a real (headless) Chromium."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

PROJECT = Path(__file__).resolve().parents[2]
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1720,900",
)


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
    """Return the condition's first true value; errors of a page in the midst of drawing count as false."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if value := condition():
                return value
        except WebDriverException:
            pass
        assert time.monotonic() < deadline, f"not seen within {seconds:.0f} s: {what}"
        time.sleep(0.05)


class Launcher:
    """`dashboard` as a process of its own; ends with the test."""

    def __init__(self, environment: dict[str, str], script: str | None = None):
        script = script or "import sys; from experiments.tracking.dashboard import main; sys.exit(main([]))"
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", script],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said = ""
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/\S+", self.said)):
            line = self.process.stdout.readline()
            assert line, f"the dashboard ended without an address: {self.said}"
            self.said += line
        self.url, self.port = found[0], int(found[1])

    def close(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(120)
        self.process.stdout.close()
        return code


class Page:
    """Omniboard's page: the table, one run's tabs, the comparison."""

    def __init__(self, browser: webdriver.Chrome, url: str):
        self.browser, self.url = browser, url

    def forget(self) -> None:
        """Be a browser that has not been here before."""
        self.browser.get("about:blank")
        origin = self.url.rpartition("/")[0]
        self.browser.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "local_storage"})

    def open_table(self) -> list[list[str]]:
        """Load the table; the texts of its rows."""
        self.browser.get(self.url)
        wait_for(self.rows, "a run in the table")
        return self.rows()

    def titles(self) -> list[str]:
        """The titles of the columns in sight, after the box and the arrow."""
        script = "return [...document.querySelectorAll('[role=columnheader]')].map(cell => cell.innerText.trim())"
        return [text for text in self.browser.execute_script(script) if text]

    def rows(self) -> list[list[str]]:
        """The texts of the rows in sight, by cell."""
        script = """
            const rows = [...document.querySelectorAll('[role=row]')].slice(1);
            return rows.map(row => [...row.querySelectorAll('[role=gridcell]')].map(cell => cell.innerText.trim()));
        """
        return [row for row in self.browser.execute_script(script) if sum(map(bool, row)) > 2]

    def hide_column(self, title: str) -> None:
        """Take a column out of the table, as a user does."""
        self.browser.find_element(By.XPATH, "//button[contains(., 'Show/Hide Columns')]").click()
        choice = f"//div[contains(@class, 'open')]//label[normalize-space()='{title}']"
        wait_for(lambda: self.browser.find_element(By.XPATH, choice).click() or True, f"the choice {title}")
        wait_for(lambda: (seen := self.titles()) and title not in seen, f"the table without {title}")

    def open_run(self, number: int, tab: str = "Metrics Plot") -> None:
        """Open one run by its deep link, at a tab."""
        self.browser.get(f"{self.url}?showDrillDownRunModal=true&runIdToExpand={number}&runIdStatus=COMPLETED")
        self.open_tab(tab)

    def open_comparison(self, tab: str = "Metrics Plot") -> None:
        """Compare the first two runs of the table."""
        self.browser.get(f"{self.url}?selectedRows=[0,1]&showCompareModal=true")
        self.open_tab(tab)

    def open_tab(self, name: str) -> None:
        def click() -> bool:
            links = self.browser.find_elements(By.CSS_SELECTOR, ".modal li a, .modal a[role=tab]")
            next(link for link in links if link.text == name).click()
            return True

        def present() -> bool:
            return bool(self.browser.find_elements(By.LINK_TEXT, name))

        wait_for(present, f"the tab {name}")
        wait_for(click, f"the tab {name}")

    def open_artifact(self, name: str, tag: str) -> WebElement:
        """Unfold an artifact and return its preview, once it is visible."""
        title = wait_for(
            lambda: self.browser.find_element(
                By.XPATH, f"//*[contains(@class,'accordion__title')][.//*[text()='{name}']]"
            ),
            f"the artifact {name}",
        )
        title.click()
        body = self.browser.find_element(By.ID, title.get_attribute("id").replace("__title", "__body"))
        preview = wait_for(lambda: body.find_element(By.CSS_SELECTOR, tag), f"the preview of {name}")
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'nearest'})", preview)
        still = "return arguments[0].getAnimations({subtree: true}).length === 0"
        wait_for(lambda: preview.is_displayed() and self.browser.execute_script(still, body), f"the preview of {name}")
        return preview

    def text(self) -> str:
        """What the open run or comparison says."""
        return self.browser.find_element(By.CSS_SELECTOR, ".modal").text

    def series(self) -> dict[str, tuple[list[float], list[float]]]:
        """Steps and values of the curves that the plot draws."""
        script = """
            const plot = document.querySelector('.modal .js-plotly-plot');
            if (!plot || !plot.querySelectorAll('path.js-line').length) return [];
            const named = plot.data.filter(curve => curve.showlegend !== false);
            return named.map(curve => [curve.name, curve.x, curve.y]);
        """
        drawn = wait_for(lambda: self.browser.execute_script(script), "a curve in the metric plot")
        return {name: (steps, values) for name, steps, values in drawn}


def _binary(*names: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.fail(
        f"{names[0]} is missing: apt-get install --no-install-recommends chromium chromium-driver", pytrace=False
    )


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = _binary("chromium", "chromium-browser", "google-chrome")
    for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(_binary("chromedriver")))
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[..., Launcher]]:
    """`start(home, script=None, **environment)`: a dashboard that ends with the tests."""
    started: list[Launcher] = []

    def start(home: Path, script: str | None = None, **environment: str) -> Launcher:
        started.append(Launcher({**os.environ, "OSTINATO_HOME": str(home), **environment}, script))
        return started[-1]

    yield start
    for launcher in started:
        launcher.close()


@pytest.fixture
def page_at(browser) -> Callable[[str], Page]:
    """The page at an address."""
    return lambda url: Page(browser, url)


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """`until(condition, what, seconds=120)`: the condition's first true value."""
    return wait_for
