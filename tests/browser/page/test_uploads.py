"""How recordings get into the list and to the service, and what becomes of them there."""

from __future__ import annotations

import base64

import httpx
import pytest
from selenium.webdriver import Keys
from selenium.webdriver.common.by import By

from tests.browser.page.listening import HIDES, MODELS, Listening, ServiceProcess

TOKEN = "a-token-that-nobody-guesses"


def test_it_says_what_the_service_serves_before_anything_is_added(page):
    cards = {card.find_element(By.TAG_NAME, "h3").text: card.text for card in page.all("#models .card")}
    assert list(cards) == MODELS.split(",")
    for name, words in {"tags": "tagging", "key": "24 labels", "mood": "emotion", "beats": "2 labels"}.items():
        assert words in cards[name]
    assert all("licence" in text for text in cards.values())
    assert f"curl -F audio=@song.mp3 {page.url}/v1/texture/embed" in cards["texture"]
    assert f"curl -F audio=@song.mp3 {page.url}/v1/predict" in [line.text for line in page.all("#models > .line pre")]
    page.picture("page_empty.png")


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
    assert page.wait("dropped.mp3") == "done"


@pytest.fixture(scope="module")
def closed_service(tmp_path_factory):
    """One that asks for a token, and refuses two uploads before it takes one."""
    running = ServiceProcess(tmp_path_factory.mktemp("service") / "closed", "tags", f"token={TOKEN}", BUSY="2")
    yield running
    running.close()


@pytest.fixture
def closed(browser, until, closed_service):
    """The page of a service that asks for a token; it has none yet."""
    page = Listening(browser, until, closed_service.url)
    page.open()
    page.run("sessionStorage.clear()")
    page.open()
    until(lambda: page.one("#secret").is_displayed(), "the field for the token")
    return page


def test_a_token_is_asked_for_and_forgotten_with_the_tab(closed, until):
    assert closed.browser.switch_to.active_element == closed.one("#secret")
    assert closed.one("#refusal").text == httpx.get(f"{closed.url}/v1/models").json()["detail"]
    closed.one("#secret").send_keys("another-token", Keys.ENTER)
    until(lambda: closed.one("#secret").is_displayed() and closed.one("#refusal").text, "why it is refused")
    closed.one("#secret").send_keys(TOKEN, Keys.ENTER)
    closed.ready()
    assert not closed.one("#token").is_displayed()
    assert '-H "Authorization: Bearer $TOKEN"' in closed.one("#models > .line pre").text
    closed.open("/docs")
    until(lambda: closed.all("#paths article"), "addresses, without asking again")
    assert closed.run("return [localStorage.length, document.cookie]") == [0, ""]
    closed.run("sessionStorage.clear()")
    closed.open("/docs")
    until(lambda: closed.one("#secret").is_displayed(), "the field for the token")


def test_a_busy_service_is_asked_again_when_it_says(closed, songs):
    closed.one("#secret").send_keys(TOKEN, Keys.ENTER)
    closed.ready()
    assert not closed.one("#wanted").is_displayed(), "one model alone is not chosen"
    closed.add(songs["song.mp3"])
    closed.until(lambda: "the service is busy, sent again in 1 s" in closed.state("song.mp3"), "that it is busy")
    closed.wait("song.mp3")
    assert closed.bars("tags")


def test_the_schema_is_readable_without_another_host(page):
    page.open("/docs")
    page.until(lambda: page.all("#paths article"), "addresses")
    text = page.one("#paths").text
    for path in ("GET /health", "POST /v1/predict", "POST /v1/tags/predict", "POST /v1/texture/embed"):
        assert path in text
    assert f"curl -F audio=@song.mp3 {page.url}/v1/tags/predict" in text
    page.size(360, 740)
    assert page.overflow() <= 0
