"""A service as a process, and its page as a user sees it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

PROJECT = Path(__file__).resolve().parents[3]
MODELS = "tags,key,mood,beats,texture"
LONG = 600  # seconds of the longest recording
HIDES = '=1+1, <b>bold and "more".wav'  # a file name that would be a formula in a spreadsheet, and markup in a page


class ServiceProcess:
    """A service of its own process; ends with the tests."""

    def __init__(self, folder: Path, models: str = MODELS, *settings: str, **environment: str) -> None:
        folder.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "tests.browser.page.serving", str(folder), models, *settings],
            cwd=PROJECT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OSTINATO_HOME": str(folder / "home"), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, f"the service ended without an address: {line}"
        self.url = found[0]

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Listening:
    """The page as a user sees it."""

    def __init__(self, browser: webdriver.Chrome, until: Callable[..., Any], url: str) -> None:
        self.browser, self.until, self.url = browser, until, url

    def open(self, path: str = "/") -> None:
        self.browser.get(self.url + path)
        self.browser.execute_script(
            "window.violations = []; document.addEventListener('securitypolicyviolation',"
            " event => window.violations.push(event.violatedDirective + ' ' + event.blockedURI))"
        )

    def run(self, script: str, *given: Any) -> Any:
        return self.browser.execute_script(script, *given)

    def one(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def ready(self) -> None:
        self.until(lambda: self.all("#models .card"), "the models that are served")

    def add(self, *files: Path) -> None:
        self.one("#choose").send_keys("\n".join(map(str, files)))

    def row(self, name: str) -> WebElement:
        for row in self.all("#list li"):
            if row.find_element(By.CSS_SELECTOR, ".name").text == name:
                return row
        raise NoSuchElementException(name)

    def state(self, name: str) -> str:
        return self.row(name).find_element(By.CSS_SELECTOR, ".state").text

    def wait(self, name: str, state: str = "done") -> str:
        """Wait for the state of a file, or another one that is an end too."""
        ends = (state, "done", "error", "cancelled")
        said = self.until(lambda: (said := self.state(name)).startswith(ends) and said, f"{name}: {state}", 60)
        assert said.startswith(state)
        return said

    def press(self, name: str, label: str) -> None:
        """Press a button in the row of a file."""
        buttons = self.row(name).find_elements(By.TAG_NAME, "button")
        next(button for button in buttons if label in (button.text, button.accessible_name)).click()

    def show(self, name: str) -> None:
        self.press(name, name)
        self.until(lambda: self.one("#opened-title").text == name, f"{name} open")

    def card(self, model: str) -> WebElement:
        return self.until(lambda: self.one(f'[data-model="{model}"]'), f"what {model} says")

    def bars(self, model: str) -> dict[str, tuple[float, bool]]:
        """Numbers of classes, and whether they are selected."""
        script = """
            return [...arguments[0].querySelectorAll('.bars li')].map(item => {
                const text = item.querySelector('.label').cloneNode(true);
                text.querySelector('.mark')?.remove();
                return [text.textContent, +item.querySelector('.number').title, item.classList.contains('selected')];
            });
        """
        return {label: (value, selected) for label, value, selected in self.run(script, self.card(model))}

    def table(self, model: str, title: str) -> list[list[str]]:
        """Open a table of a card; the texts of its cells."""
        details = next(
            one for one in self.card(model).find_elements(By.CSS_SELECTOR, ".table") if one.text.startswith(title)
        )
        details.find_element(By.TAG_NAME, "summary").click()
        script = "return [...arguments[0].rows].map(row => [...row.cells].map(cell => cell.textContent))"
        table = self.until(lambda: details.find_element(By.TAG_NAME, "table"), title)
        return self.run(script, table)

    def time(self) -> float:
        return self.run("return document.querySelector('audio').currentTime")

    def overflow(self) -> int:
        return self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def size(self, width: int, height: int = 900) -> None:
        how = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", how)

    def picture(self, name: str) -> None:
        if folder := os.environ.get("OSTINATO_SCREENSHOTS"):
            self.browser.save_screenshot(str(Path(folder) / name))


def answers_of(service: ServiceProcess, file: Path) -> dict[str, Any]:
    """What the service says of a file without a browser."""
    with file.open("rb") as audio:
        given = {"audio": (file.name.encode("ascii", "replace").decode(), audio)}
        answer = httpx.post(f"{service.url}/v1/predict?over_time=true", files=given, timeout=120)
    assert answer.status_code == 200
    return answer.json()["answers"]
