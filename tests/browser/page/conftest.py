"""The page of the service in a real (headless) Chromium, with a real service of small networks.

With OSTINATO_SCREENSHOTS=FOLDER pictures of it are kept there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.browser.page.listening import HIDES, LONG, Listening, ServiceProcess
from tests.models.click_toys import clicks


@pytest.fixture(scope="session")
def service(tmp_path_factory) -> Iterator[ServiceProcess]:
    running = ServiceProcess(tmp_path_factory.mktemp("service") / "one")
    yield running
    running.close()


@pytest.fixture(scope="session")
def songs(tmp_path_factory) -> dict[str, Path]:
    """Recordings: as wav, mp3 and ogg, one that is none, and one of ten minutes."""
    folder = tmp_path_factory.mktemp("songs")
    files = {name: folder / name for name in ("song.wav", "song.mp3", "song.ogg", "long.wav", "broken.mp3", HIDES)}
    clicks(files["song.wav"], 22_050, 21.0, 120, 2)
    samples, rate = soundfile.read(files["song.wav"])
    for name in ("song.mp3", "song.ogg", HIDES):
        soundfile.write(files[name], samples, rate)
    tone = 0.3 * np.sin(2 * np.pi * 330 * np.arange(LONG * 8000) / 8000)
    soundfile.write(files["long.wav"], tone.astype(np.float32), 8000)
    files["broken.mp3"].write_bytes(b"no audio at all" * 50)
    return files


@pytest.fixture
def page(browser, until, service) -> Iterator[Listening]:
    """The page of the service with all models; what it loaded and what was forbidden are looked at afterwards."""
    browser.get_log("browser")
    page = Listening(browser, until, service.url)
    page.open()
    page.ready()
    yield page
    loaded = page.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(name.startswith((service.url, f"blob:{service.url}")) for name in loaded)
    assert page.run("return window.violations") == []
    said = [entry["message"] for entry in browser.get_log("browser") if entry["source"] != "rendering"]
    assert [text for text in said if " 422 " not in text] == []
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def saved(browser, tmp_path, until) -> Callable[[str], str]:
    """`saved(name)`: the text of a file that the browser saved."""
    how = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", how)

    def read(pattern: str) -> str:
        (file,) = until(lambda: list(tmp_path.glob(pattern)), f"the file {pattern}", 20)
        return file.read_bytes().decode()

    return read
