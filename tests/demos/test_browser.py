"""The demo in a browser, as a newcomer meets it."""

import datetime
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unimodal.catalog import catalog

pytestmark = pytest.mark.browser

OTHER_HOSTS = """
const own = location.host;
return performance.getEntriesByType('resource').map(e => new URL(e.name))
    .filter(u => u.protocol.startsWith('http') && u.host !== own).map(u => u.href);
"""


class Page:
    """What a person does with the page."""

    def __init__(self, browser: Any, address: str, width: int = 1280, height: int = 800) -> None:
        self.browser = browser
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get_log("browser")
        browser.get(address)
        self.wait(lambda: self.tabs())

    def wait(self, condition: Callable[[], Any], limit_s: float = 60.0) -> Any:
        from selenium.common.exceptions import StaleElementReferenceException

        begun = time.monotonic()
        while time.monotonic() - begun < limit_s:
            try:
                if found := condition():
                    return found
            except StaleElementReferenceException:
                pass
            time.sleep(0.05)
        raise AssertionError(f"never came true; the page says:\n{self.text()}")

    def found(self, css: str) -> list[Any]:
        return [element for element in self.browser.find_elements("css selector", css) if element.is_displayed()]

    def text(self) -> str:
        return self.browser.find_element("tag name", "body").text

    def tabs(self) -> dict[str, Any]:
        return {tab.text: tab for tab in self.found("button[role=tab]")}

    def open(self, title: str) -> None:
        self.tabs()[title].click()
        self.wait(lambda: self.tabs()[title].get_attribute("aria-selected") == "true")

    def press(self, label: str) -> None:
        (button,) = [b for b in self.found("button") if b.text == label]
        button.click()

    def upload(self, task: str, path: Path, shown: str = ".image-frame img") -> None:
        field = self.browser.find_element("css selector", f"#tab-{task} input[type=file]")
        field.send_keys(str(path))
        self.wait(lambda: self.found(f"#tab-{task} {shown}"))

    def told(self, words: str) -> None:
        self.wait(lambda: words in self.text())

    def assert_clean(self) -> None:
        assert [entry for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"] == []
        assert self.browser.execute_script(OTHER_HOSTS) == []


def test_a_newcomer_uploads_a_picture_and_gets_an_answer(browser: Any, alone: Any, repository: Path):
    page = Page(browser, alone.address())
    tasks = catalog("tasks").usable()
    assert set(page.tabs()) == {task.title for task in tasks.values() if "unimodal.tasks" in task.__module__}
    page.open(tasks["classification"].title)
    page.upload("classification", repository / "unimodal" / "data" / "samples" / "object_cat.jpg")
    page.press("Run")
    page.told("Answered in")
    (label,) = page.found("#tab-classification .output-class")
    assert label.text
    assert len(page.found("#tab-classification .confidence-set")) == 5
    page.assert_clean()
    if os.environ.get("UNIMODAL_SAVE_SCREENSHOT"):
        target = repository / "docs" / "images" / "demo.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(target))


def test_a_newcomer_s_table_from_a_spreadsheet_is_forecast(browser: Any, alone: Any, tmp_path: Path):
    days = [datetime.date(2023, 1, 1) + datetime.timedelta(i) for i in range(120)]
    rows = [f"{day:%d.%m.%Y};1.{200 + 10 * (i % 7)},50;Nord" for i, day in enumerate(days)]
    table = tmp_path / "Umsatz & Co.csv"
    table.write_bytes("\r\n".join(["Datum;Umsatz (EUR);Filiale", *rows]).encode("utf-8-sig"))
    page = Page(browser, alone.address())
    page.open("Forecasting")
    page.told("A row for each moment")
    page.upload("forecasting", table, ".file-preview")
    page.press("Run")
    page.told("Answered in")
    words = page.found("#tab-forecasting textarea")[0].get_property("value")
    assert (
        words
        == "96 steps, from 2023-05-01 to 2023-08-04.\nLeft out: Filiale (text).\nSteps 25 to 120 of 120 were taken."
    )
    page.told("Umsatz (EUR) upper 95%")
    (chart,) = page.found("#tab-forecasting .image-frame img")
    assert chart.size["width"] / int(chart.get_property("naturalWidth")) > 0.6, "its words are too small to be read"
    page.assert_clean()


def test_a_file_that_is_no_table_is_told_in_one_message_by_its_own_name(
    browser: Any, alone: Any, tmp_path: Path, street: Path
):
    empty = tmp_path / "empty.csv"
    empty.touch()
    for bad, words in ((street, "street_rain.jpg: is no text, so it is not a series"), (empty, "empty.csv: is empty")):
        page = Page(browser, alone.address())
        page.open("Forecasting")
        page.upload("forecasting", bad, ".file-preview")
        page.press("Run")
        page.told(words)
        (message,) = page.found("[data-testid=toast-text]")
        assert message.text.startswith(words), "the server's path is not told"
        assert len(page.found("#tab-forecasting span.error")) == 1


def test_a_sample_picture_is_answered_at_one_click(browser: Any, beside: Any):
    page = Page(browser, beside.address())
    page.open("Gallery")
    page.wait(lambda: page.found("#tab-gallery .gallery-item"))[0].click()
    page.told("Answered in")
    assert {e.text for e in page.found("#tab-gallery .legend-item")} == {"dark", "dim", "light", "bright"}
    page.assert_clean()


def test_a_bad_file_is_told_on_the_page_which_stays_alive(browser: Any, beside: Any, tmp_path: Path, street: Path):
    bad = tmp_path / "a <b> letter.jpg"
    bad.write_text("Dear reader", encoding="utf-8")
    page = Page(browser, beside.address())
    page.open("Gallery")
    page.browser.find_element("css selector", "#tab-gallery input[type=file]").send_keys(str(bad))
    page.wait(lambda: page.found("#tab-gallery button[aria-label='Clear']") or page.found("#tab-gallery img"))
    page.press("Run")
    page.told("a <b> letter.jpg: is not an image file")
    page.wait(lambda: page.found("#tab-gallery .gallery-item"))[0].click()
    page.told("Answered in")


def test_a_running_request_can_be_cancelled(browser: Any, beside: Any):
    page = Page(browser, beside.address())
    page.open("Slow")
    page.wait(lambda: page.found("#tab-slow .gallery-item"))[0].click()
    page.told("Predicting")
    page.press("Cancel")
    page.told("Cancelled.")
    beside.release.touch()
    time.sleep(1)
    assert page.browser.find_element("css selector", "#tab-slow textarea").get_property("value") == ""
    assert "Cancelled." in page.text()
    page.open("Gallery")
    page.wait(lambda: page.found("#tab-gallery .gallery-item"))[0].click()
    page.told("Answered in")


def test_a_phone_shows_the_page_without_scrolling_sideways(browser: Any, beside: Any):
    page = Page(browser, beside.address(), 390, 844)
    width, visible = browser.execute_script(
        "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert width <= visible
    assert [b.text for b in page.found("button") if b.text in ("Run", "Cancel")] == ["Run", "Cancel"]
