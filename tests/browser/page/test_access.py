"""Who can use the page: with a keyboard, with a screen reader, on a phone."""

from __future__ import annotations

import itertools

import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.browser.page.listening import HIDES


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
    page.picture("page_phone.png")


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
