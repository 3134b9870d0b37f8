"""The page of the service in a real (headless) Chromium: real uploads to a real service of small networks."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.models.click_toys import clicks

PROJECT = Path(__file__).resolve().parents[2]
MODELS = "tags,key,mood,beats,texture"
TOKEN = "a token that nobody guesses"
LONG = 600  # seconds
HIDES = '=1+1, <b>bold and "more".wav'  # a file name that would be a formula in a spreadsheet, and markup in a page


class ServiceProcess:
    """A service of its own process; ends with the tests."""

    def __init__(self, folder: Path, models: str = MODELS, *settings: str, **environment: str) -> None:
        folder.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "tests.browser.page_service", str(folder), models, *settings],
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


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[ServiceProcess]:
    running = ServiceProcess(tmp_path_factory.mktemp("service") / "one")
    yield running
    running.close()


@pytest.fixture(scope="module")
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
        return next(row for row in self.all("#list li") if row.find_element(By.CSS_SELECTOR, ".name").text == name)

    def state(self, name: str) -> str:
        return self.row(name).find_element(By.CSS_SELECTOR, ".state").text

    def wait(self, name: str, state: str = "done") -> str:
        return self.until(lambda: (said := self.state(name)).startswith(state) and said, f"{name}: {state}", 60)

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
        """Numbers of classes, and whether they are given."""
        script = """
            return [...arguments[0].querySelectorAll('.bars li')].map(item => {
                const text = item.querySelector('.label').cloneNode(true);
                text.querySelector('.mark')?.remove();
                return [text.textContent, +item.querySelector('.number').title, item.classList.contains('given')];
            });
        """
        return {label: (value, given) for label, value, given in self.run(script, self.card(model))}

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


def answers_of(service: ServiceProcess, file: Path) -> dict[str, Any]:
    """What the service says of a file without a browser."""
    with file.open("rb") as audio:
        given = {"audio": (file.name.encode("ascii", "replace").decode(), audio)}
        answer = httpx.post(f"{service.url}/v1/predict?over_time=true", files=given, timeout=120)
    assert answer.status_code == 200
    return answer.json()["answers"]


def test_it_says_what_the_service_serves_before_anything_is_added(page):
    cards = {card.find_element(By.TAG_NAME, "h3").text: card.text for card in page.all("#models .card")}
    assert list(cards) == MODELS.split(",")
    for name, words in {"tags": "tagging", "key": "24 labels", "mood": "emotion", "beats": "2 labels"}.items():
        assert words in cards[name]
    assert all("licence" in text for text in cards.values())
    assert f"curl -F audio=@song.mp3 {page.url}/v1/texture/embed" in cards["texture"]
    assert f"curl -F audio=@song.mp3 {page.url}/v1/predict" in [line.text for line in page.all("#models > .line pre")]
    page.picture("page_empty.png")


@pytest.mark.parametrize("name", ["song.wav", "song.mp3", "song.ogg"])
def test_what_is_shown_of_a_recording_are_the_numbers_of_the_service(page, service, songs, name):
    page.add(songs[name])
    page.wait(name)
    answers = answers_of(service, songs[name])
    for model in ("tags", "key"):
        answer = answers[model]
        assert page.bars(model) == {
            label: (value, label in answer["selected"]) for label, value in answer["ranked"].items()
        }
        head, *rows = page.table(model, "Over time")
        assert head[1:] == list(answer["ranked"])
        assert [[float(cell) for cell in row] for row in rows] == [list(row.values()) for row in answer["over_time"]]
    assert page.card("key").find_element(By.CSS_SELECTOR, ".headline").text == next(iter(answers["key"]["selected"]))
    mood = page.card("mood").text
    assert all(f"{label}\n{value:.2f}" in mood for label, value in answers["mood"]["values"].items())
    beats = answers["beats"]
    assert len(beats["beats"]) > 30
    assert f"{beats['tempo']:.1f} BPM" in page.card("beats").text
    assert f"{beats['metre']} beats a bar" in page.card("beats").text
    _, *rows = page.table("beats", "Beats")
    assert [[float(cell) for cell in row] for row in rows] == [list(beat.values()) for beat in beats["beats"]]
    lanes = [lane.text for lane in page.all(".lane-name")]
    assert len(lanes) == 2 + 10 + 10 + 2 + 3
    page.picture("page_1280.png")


def test_a_broken_file_is_refused_in_the_words_of_the_service_and_the_others_are_answered(page, songs):
    page.add(songs["broken.mp3"], songs["song.mp3"], songs["song.ogg"])
    assert "not audio, or damaged" in page.wait("broken.mp3", "error")
    page.wait("song.mp3")
    page.wait("song.ogg")
    page.show("broken.mp3")
    assert "not audio, or damaged" in page.one("#said").text
    assert "cannot play" in page.until(lambda: page.one("#wave-note").text, "why it cannot be played")
    page.press("broken.mp3", "Retry")
    page.wait("broken.mp3", "error")


def test_a_long_recording_is_drawn_and_the_page_answers_meanwhile(page, songs):
    page.run("""
        window.slowest = 0;
        let last = performance.now();
        setInterval(() => {
            window.slowest = Math.max(window.slowest, performance.now() - last);
            last = performance.now();
        }, 20);
    """)
    page.add(songs["long.wav"])
    page.wait("long.wav")
    drawn = """
        const canvas = document.querySelector('[role=slider] canvas');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, 1).data;
        const middle = canvas.getContext('2d').getImageData(0, canvas.height / 4 | 0, canvas.width, 1).data;
        return pixels.some((value, i) => value !== middle[i]);
    """
    page.until(lambda: page.run(drawn), "the waveform")
    assert page.one("[role=slider]").get_attribute("aria-valuemax") == str(LONG)
    assert page.run("return window.slowest") < 1000
    assert len(page.table("tags", "Over time")) > 100


def test_it_is_said_why_there_is_no_waveform_of_a_recording_of_an_hour(page, tmp_path):
    file = tmp_path / "hour.wav"
    soundfile.write(file, np.zeros(3600 * 4000, np.int16), 4000, subtype="PCM_U8")
    page.add(file)
    page.until(lambda: "longer than 20 minutes" in page.one("#wave-note").text, "why there is no waveform")
    page.press(file.name, f"Remove {file.name}")
    assert not page.one("#opened").is_displayed()


def test_names_and_labels_are_texts_wherever_they_are_shown_or_saved(page, songs, saved):
    page.add(songs[HIDES])
    page.wait(HIDES)
    assert "<img src=x onerror=alert(1)>" in page.bars("tags")
    assert page.one("#opened-title").text == HIDES
    assert not page.all("#opened img, #list b, #opened b")
    page.one("#all-csv").click()
    text = saved("ostinato.csv")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {row["file"] for row in rows} == {f"'{HIDES}"}
    labels = {row["label"] for row in rows if row["model"] == "tags"}
    assert "'=HYPERLINK(1)" in labels
    assert not any(cell[:1] in "=+@" for row in rows for key, cell in row.items() if cell and key in ("file", "label"))


def test_cells_of_a_table_are_never_formulas_and_numbers_stay_numbers(page):
    given = ["=1", "+1", "-1", "@x", "\t=1", "  =1", "plain", 'a "b", c', "line\nend", -0.5, 0, None, ""]
    script = """
        const done = arguments[1];
        import('/exports.js').then(({ cell }) => done(arguments[0].map(cell)));
    """
    cells = page.browser.execute_async_script(script, given)
    (read,) = csv.reader(io.StringIO(",".join(cells), newline=""))
    expected = ["'=1", "'+1", "'-1", "'@x", "'\t=1", "'  =1", "plain", 'a "b", c', "line\nend", "-0.5", "0", "", ""]
    assert read == expected


def test_results_are_saved_as_the_service_gave_them(page, service, songs, saved):
    page.add(songs["song.wav"], songs["song.ogg"])
    page.wait("song.wav")
    page.wait("song.ogg")
    page.show("song.wav")
    answers = answers_of(service, songs["song.wav"])
    for button in page.all("#exports button")[:3]:
        button.click()
    assert json.loads(saved("song.wav.json")) == {"file": "song.wav", "answers": answers, "problems": {}}
    rows = list(csv.DictReader(io.StringIO(saved("song.wav.csv"), newline="")))
    whole = {
        row["label"].lstrip("'"): float(row["value"]) for row in rows if row["model"] == "tags" and not row["start"]
    }
    assert whole == answers["tags"]["ranked"]
    beats = [f"{beat['seconds']:.4f}\t{beat['position']}" for beat in answers["beats"]["beats"]]
    assert saved("song.wav.beats").splitlines() == beats
    page.one("#all-json").click()
    assert {one["file"] for one in json.loads(saved("ostinato.json"))} == {"song.wav", "song.ogg"}


def test_only_the_models_that_are_wanted_are_asked(page, songs):
    for box in page.all("#wanted input"):
        if box.get_attribute("value") not in ("tags", "beats"):
            box.click()
    page.add(songs["song.mp3"])
    page.wait("song.mp3")
    assert [card.get_attribute("data-model") for card in page.all("#opened .card")] == ["tags", "beats"]
    asked = page.run("return performance.getEntriesByType('resource').map(entry => new URL(entry.name).pathname)")
    assert {path for path in asked if path.endswith("/predict")} == {"/v1/tags/predict", "/v1/beats/predict"}
    for box in page.all("#wanted input"):
        if box.is_selected():
            box.click()
    assert sum(box.is_selected() for box in page.all("#wanted input")) == 1, "one is always asked"


def test_an_upload_can_be_cancelled_and_retried(page, songs):
    page.add(songs["long.wav"], songs["song.ogg"], songs["song.mp3"])
    page.press("long.wav", "Cancel long.wav")
    assert page.state("long.wav") == "cancelled"
    page.wait("song.ogg")
    page.wait("song.mp3")
    assert page.state("long.wav") == "cancelled"
    page.press("long.wav", "Retry long.wav")
    page.wait("long.wav")


def test_two_files_are_sent_at_a_time_and_none_twice(page, songs):
    page.run("""
        window.sent = 0, window.most = 0;
        let now = 0;
        const send = XMLHttpRequest.prototype.send;
        XMLHttpRequest.prototype.send = function (body) {
            window.sent += 1;
            window.most = Math.max(window.most, ++now);
            this.addEventListener('readystatechange', () => (now -= this.readyState === 4));
            send.call(this, body);
        };
    """)
    names = ("song.wav", "song.mp3", "song.ogg", HIDES)
    page.add(*(songs[name] for name in names))
    page.add(songs["song.wav"])
    for name in names:
        page.wait(name)
    assert page.run("return [window.sent, window.most]") == [4, 2]


def test_files_of_a_folder_are_taken_where_they_are_audio(page, songs, tmp_path):
    (tmp_path / "album" / "disc 1").mkdir(parents=True)
    for name in ("album/b.mp3", "album/disc 1/a.mp3"):
        (tmp_path / name).write_bytes(songs["song.mp3"].read_bytes())
    (tmp_path / "album" / "cover.jpg").write_bytes(b"x")
    page.one("#folder").send_keys(str(tmp_path / "album"))
    page.wait("album/b.mp3")
    page.wait("album/disc 1/a.mp3")
    assert len(page.all("#list li")) == 2


def test_dropped_files_are_taken(page, songs):
    script = """
        const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], 'dropped.mp3'));
        document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }));
    """
    page.run(script, base64.b64encode(songs["song.mp3"].read_bytes()).decode())
    page.wait("dropped.mp3")


def test_all_can_be_done_with_the_keyboard(page, songs):
    page.add(songs["song.wav"], songs["song.mp3"])
    page.wait("song.wav")
    page.wait("song.mp3")
    page.until(lambda: page.run("return document.querySelector('audio').duration") > 20, "the length")

    def press(*keys: str) -> None:
        ActionChains(page.browser).send_keys(*keys).perform()

    def focused() -> WebElement:
        return page.browser.switch_to.active_element

    def tab_to(selector: str) -> None:
        for _ in range(60):
            press(Keys.TAB)
            here = focused()
            outline = "return getComputedStyle(arguments[0].closest('.button') ?? arguments[0]).outlineStyle"
            assert page.run(outline, here) != "none", f"the focus on {here.accessible_name} is not seen"
            assert here.accessible_name or here.tag_name == "summary", here.get_attribute("outerHTML")[:200]
            if page.run("return arguments[0].matches(arguments[1])", here, selector):
                return
        raise AssertionError(f"{selector} is not reached")

    page.run("document.activeElement.blur()")
    tab_to("#list li:last-child .name")
    press(Keys.ENTER)
    assert focused().text == "song.wav"
    press(Keys.SPACE)
    page.until(lambda: page.time() > 0.3, "the recording plays")
    press(Keys.SPACE)
    assert page.run("return document.querySelector('audio').paused")
    at = page.time()
    press(Keys.ARROW_RIGHT)
    assert page.time() == pytest.approx(at + 5, abs=0.1)
    tab_to("#clicks")
    press(Keys.SPACE)
    assert focused().is_selected()
    assert page.run("return document.querySelector('audio').paused"), "the space bar pressed the control alone"
    tab_to("[role=slider]")
    press(Keys.END)
    assert page.time() == pytest.approx(21, abs=0.2)
    press(Keys.HOME)
    assert page.time() == 0
    press(Keys.PAGE_UP)
    assert page.time() == pytest.approx(21, abs=0.2)
    assert focused().get_attribute("aria-valuetext").endswith(" of 21 s")
    tab_to(".card .table summary")
    press(Keys.ENTER)
    page.until(lambda: page.all(".card table"), "a table")


def test_clicks_are_heard_at_the_beats(page, service, songs):
    page.add(songs["song.wav"])
    page.wait("song.wav")
    page.run("""
        window.started = [];
        const start = AudioBufferSourceNode.prototype.start;
        AudioBufferSourceNode.prototype.start = function (when) {
            const audio = document.querySelector('audio');
            const loud = this.buffer.getChannelData(0).reduce((one, other) => Math.max(one, Math.abs(other)), 0);
            window.started.push([audio.currentTime, when - this.context.currentTime, when, loud]);
            return start.call(this, when);
        };
    """)
    page.one("#clicks").click()
    page.one(".play").click()
    page.until(lambda: len(page.run("return window.started")) > 9, "ten clicks", 30)
    page.one(".play").click()
    started = np.array(page.run("return window.started"))
    beats = answers_of(service, songs["song.wav"])["beats"]["beats"]
    times = np.array([beat["seconds"] for beat in beats[: len(started)]])
    assert np.abs(np.diff(started[1:, 2]) - np.diff(times[1:])).max() < 0.03, "as far from each other as the beats are"
    loud = started[:, 3] > 0.7
    assert loud.tolist() == [beat["position"] == 1 for beat in beats[: len(started)]], "downbeats are louder"
    due = started[1:, 0] + started[1:, 1]  # in the recording, but for what sound takes to the loudspeaker
    assert np.abs(due - times[1:]).max() < 0.2


def test_the_recording_is_sought_by_pointer_and_seen_larger(page, songs):
    page.add(songs["song.wav"])
    page.wait("song.wav")
    page.until(lambda: page.run("return document.querySelector('audio').duration") > 20, "the length")
    lane = page.all(".picture")[4]
    ActionChains(page.browser).move_to_element(lane).click().perform()
    assert page.time() == pytest.approx(10.5, abs=0.3)
    page.one('[aria-label="Zoom in"]').click()
    page.one('[aria-label="Zoom in"]').click()
    ActionChains(page.browser).move_to_element(lane).click().perform()
    assert page.time() == pytest.approx(10.5, abs=0.3), "what is seen larger is around the cursor"
    ActionChains(page.browser).move_to_element_with_offset(lane, 100, 0).click().perform()
    width = lane.size["width"]
    assert page.time() == pytest.approx(10.5 + 21 / 4 * 100 / width, abs=0.3)


def test_a_phone_needs_no_scrolling_sideways_and_seeks_by_touch(page, songs):
    page.size(360, 740)
    assert page.overflow() <= 0
    page.add(songs["song.wav"], songs["broken.mp3"], songs[HIDES])
    page.wait("song.wav")
    page.wait("broken.mp3", "error")
    page.wait(HIDES)
    page.show("song.wav")
    for summary in page.all("#opened summary"):
        page.run("arguments[0].click()", summary)
    assert page.overflow() <= 0
    wide = """
        return [...document.querySelectorAll('#opened *')].filter(node => !node.closest('.scroll') &&
            node.getBoundingClientRect().right > innerWidth + 1).map(node => node.className)
    """
    assert page.run(wide) == []
    page.until(lambda: page.run("return document.querySelector('audio').duration") > 20, "the length")
    lane = page.one("[role=slider]")
    page.run("arguments[0].scrollIntoView({ block: 'center' })", lane)
    box = page.run("const b = arguments[0].getBoundingClientRect(); return [b.x, b.y, b.width, b.height]", lane)
    point = {"x": box[0] + box[2] / 4, "y": box[1] + box[3] / 2}
    page.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    page.browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.until(lambda: page.time() == pytest.approx(21 / 4, abs=0.3), "the place that was touched")
    page.picture("page_360.png")


def test_states_are_said_to_screen_readers(page, songs):
    page.add(songs["song.mp3"])
    page.wait("song.mp3")
    assert page.one("[role=status]").get_attribute("textContent") == "song.mp3: done"
    unnamed = """
        return [...document.querySelectorAll('button, input, [role=slider], [role=region], section')]
            .filter(node => node.checkVisibility())
    """
    assert [node.get_attribute("outerHTML") for node in page.run(unnamed) if not node.accessible_name] == []
    levels = [int(node.tag_name[1]) for node in page.all("h1, h2, h3") if node.is_displayed()]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_a_busy_service_is_asked_again_when_it_says(browser, until, songs, tmp_path):
    running = ServiceProcess(tmp_path / "busy", "tags", BUSY="2")
    try:
        page = Listening(browser, until, running.url)
        page.open()
        page.ready()
        assert not page.one("#wanted").is_displayed(), "one model alone is not chosen"
        page.add(songs["song.mp3"])
        assert "the service is busy" in page.wait("song.mp3", "waiting: ")
        page.wait("song.mp3")
        assert page.bars("tags")
    finally:
        running.close()


def test_the_schema_is_readable_without_another_host(page):
    page.open("/docs")
    page.until(lambda: page.all("#paths article"), "addresses")
    text = page.one("#paths").text
    for path in ("GET /health", "POST /v1/predict", "POST /v1/tags/predict", "POST /v1/texture/embed"):
        assert path in text
    assert f"curl -F audio=@song.mp3 {page.url}/v1/tags/predict" in text
    page.size(360, 740)
    assert page.overflow() <= 0
