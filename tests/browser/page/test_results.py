"""What is shown, heard and saved of a recording."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import soundfile
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By

from tests.browser.page.listening import HIDES, LONG, answers_of


@pytest.mark.parametrize("name", ["song.wav", "song.mp3", "song.ogg"])
def test_what_is_shown_of_a_recording_are_the_numbers_of_the_service(page, service, songs, name):
    page.add(songs[name])
    page.wait(name)
    page.picture("page.png")
    answers = answers_of(service, songs[name])
    for model in ("tags", "key"):
        answer = answers[model]
        assert page.bars(model) == {
            label: (value, label in answer["selected"]) for label, value in answer["ranked"].items()
        }
        head, *rows = page.table(model, "Over time")
        assert head[1:] == list(answer["ranked"])
        assert [[float(cell) for cell in row] for row in rows] == [
            [row["seconds"], *row["values"].values()] for row in answer["over_time"]
        ]
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
