"""The report in a real browser: offline, without an error, with a mouse, a phone, the dark, paper.

Chromium runs headless; its proxy is the trap of conftest.py, so a page that asked for anything
would fail its test twice.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from made_runs import EVIL, by_a_stranger, final_test, search, sweep
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from mnist_lab import study

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from selenium.webdriver.remote.webelement import WebElement

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="no chromium or no chromedriver on the PATH"
    ),
]
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # a container's root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
N_TRIALS = 12


class Reader:
    """Somebody who opens pages and looks at them."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(
        self, path: Path, *, width: int = 1200, dark: bool = False, script: bool = True
    ) -> None:
        """Open a page in a window of this width, without a network."""
        self.cdp("Network.enable")
        nothing = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.cdp("Network.emulateNetworkConditions", offline=True, **nothing)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", features=[scheme])
        self.cdp("Emulation.setScriptExecutionDisabled", value=not script)
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.cdp("Emulation.setDeviceMetricsOverride", **screen)
        self.driver.get_log("browser")  # what the pages before said
        self.driver.get_log("performance")
        self.driver.get(path.absolute().as_uri())

    def cdp(self, command: str, **arguments: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a JavaScript expression."""
        return self.driver.execute_script(f"return {script}", *arguments)

    def all(self, selector: str) -> list[WebElement]:
        """The elements that a CSS selector finds."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """The first of them."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def column(self, head: str) -> list[str]:
        """The texts of a column of the table of trials, from the top down."""
        place = [one.text for one in self.all("table thead th")].index(head) + 1
        return [one.text for one in self.all(f"tbody tr td:nth-child({place})")]

    def until(self, condition: Callable[[], Any]) -> Any:
        """Wait for something to become true; plotly draws when it can."""
        return WebDriverWait(self.driver, 60).until(lambda _: condition())

    def hover(self, dot: str) -> str:
        """Point at a dot of a chart, and read the label that appears."""
        element = self.one(dot)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self.driver, duration=50).move_to_element(element).perform()
        label = self.until(lambda: self.all(".hoverlayer .hovertext"))
        return str(label[0].text)

    def opacities(self, chart: str) -> list[float]:
        """How solid each trial's line is in a chart."""
        return [float(one.value_of_css_property("opacity")) for one in self.all(f"{chart} g.trace")]


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    """Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def reader(driver: webdriver.Chrome) -> Iterator[Reader]:
    """A reader whose pages, it is checked afterwards, asked for nothing and had no error."""
    reader = Reader(driver)
    yield reader
    assert driver.get_log("browser") == []
    events = [json.loads(one["message"])["message"] for one in driver.get_log("performance")]
    sent = [one["params"] for one in events if one["method"] == "Network.requestWillBeSent"]
    asked = [one["request"]["url"] for one in sent]
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [search(folder / "search", N_TRIALS), sweep(folder / "sweep"), sweep(folder / "again")]
    runs += [final_test(folder / "test", repeats=2)]
    made = {path.name: study.report([path]) for path in runs}
    made["several"] = study.report(runs)
    made["short"] = study.report([search(folder / n, 1) for n in "ab"], folder / "short.html")
    made["stranger"] = study.report([by_a_stranger(folder / EVIL.replace("/", "|")), *runs[1:2]])
    return made


def test_everything_is_drawn(reader: Reader, pages: dict[str, Path]) -> None:
    """Each chart has its lines, each figure is a whole image."""
    for name in ("search", "sweep", "test", "several"):
        reader.open(pages[name])
        charts = reader.all(".chart")
        assert charts
        for chart in charts:
            assert chart.find_elements(By.CSS_SELECTOR, "g.trace path.point")
        assert reader.run("[...document.images].every((one) => one.naturalWidth > 100)")


def test_a_click_sorts(reader: Reader, pages: dict[str, Path]) -> None:
    """By number, not by letters; again, the other way round; what has no number stays last."""
    reader.open(pages["search"])
    reader.until(lambda: reader.all("td input"))  # the script has put its column in front
    assert reader.column("trial") == [str(number) for number in range(1, N_TRIALS + 1)]
    head = next(one for one in reader.all("th") if one.text.startswith("validation"))
    shown = []
    for direction in ("ascending", "descending"):
        head.find_element(By.TAG_NAME, "button").click()
        assert head.get_attribute("aria-sort") == direction
        shown.append(reader.column(head.text))
    assert shown[0][-3:] == shown[1][-3:] == ["–"] * 3
    numbers = [[float(text.removesuffix(" %")) for text in texts[:-3]] for texts in shown]
    assert numbers[0] == sorted(numbers[0]) == numbers[1][::-1]


def test_the_keyboard_sorts_and_chooses(reader: Reader, pages: dict[str, Path]) -> None:
    """Without a mouse: a head is a button, and a trial has a box to tick."""
    reader.open(pages["search"])
    button = next(one for one in reader.all("th button") if one.text.startswith("seconds"))
    button.send_keys("\n")
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    reader.one('tr[data-trial="3"] input').send_keys(" ")
    assert reader.one("output").text == f"1 of {N_TRIALS} trials chosen"


def test_a_dot_has_a_label(reader: Reader, pages: dict[str, Path]) -> None:
    """Pointing at a trial tells which it is, its configuration and its error."""
    for chart in (".parallel", ".curves"):
        reader.open(pages["search"])
        label = reader.hover(f"{chart} g.trace path.point")
        assert re.search(r"trial \d+: .*learning rate [\d.e-]+, batch size \d+", label, re.DOTALL)
        assert ("epoch" in label.split("epochs")[-1]) == (chart == ".curves")


def test_a_box_chooses_the_same_trials_everywhere(reader: Reader, pages: dict[str, Path]) -> None:
    """Over the upper half of one axis: those stand out in both charts and in the table."""
    reader.open(pages["search"])
    data = json.loads(reader.run("document.getElementById('data').textContent"))["runs"][0]
    places = {one["trial"]: one["places"][0] for one in data["trials"]}
    expected = {trial for trial, place in places.items() if place > 0.5}
    assert 0 < len(expected) < N_TRIALS
    x, top, middle = reader.run(
        """(() => {
          const chart = document.querySelector(".parallel");
          chart.scrollIntoView({block: "center"});
          const { xaxis, yaxis } = chart._fullLayout, frame = chart.getBoundingClientRect();
          return [frame.x + xaxis._offset + xaxis.d2p(0), frame.y + yaxis._offset + yaxis.d2p(1.1),
            frame.y + yaxis._offset + yaxis.d2p(0.5)];
        })()"""
    )
    mouse = ActionChains(reader.driver, duration=50).w3c_actions
    mouse.pointer_action.move_to_location(x - 15, top)
    mouse.pointer_action.pointer_down()
    mouse.pointer_action.move_to_location(x, (top + middle) / 2)
    mouse.pointer_action.move_to_location(x + 25, middle)
    mouse.pointer_action.pointer_up()
    mouse.perform()
    said = f"{len(expected)} of {N_TRIALS} trials chosen"
    reader.until(lambda: reader.one("output").text == said)
    chosen = {int(str(one.get_attribute("data-trial"))) for one in reader.all("tr.chosen")}
    assert chosen == expected
    assert len(reader.all("tr.faded")) == N_TRIALS - len(expected)
    for chart in (".parallel", ".curves"):
        solid = [opacity > 0.5 for opacity in reader.opacities(chart)]
        assert solid == [one["trial"] in expected for one in data["trials"]]
    reader.one(".clear").click()
    assert reader.all("tr.faded") == []
    assert min(reader.opacities(".parallel")) == 1


def test_a_row_chooses_its_trial(reader: Reader, pages: dict[str, Path]) -> None:
    """A click on a row, a second row, the first again."""
    reader.open(pages["search"])
    for trial, n in ((2, 1), (5, 2), (2, 1)):
        row = reader.one(f'tr[data-trial="{trial}"]')
        row.find_elements(By.TAG_NAME, "td")[2].click()
        assert reader.one("output").text == f"{n} of {N_TRIALS} trials chosen"
    solid = [opacity > 0.5 for opacity in reader.opacities(".curves")]
    assert [number for number, one in enumerate(solid, start=1) if one] == [5]


@pytest.mark.parametrize("look", [{}, {"dark": True}, {"width": 390}], ids=str)
def test_a_chosen_row_stays_in_its_table(
    reader: Reader, pages: dict[str, Path], look: dict[str, Any]
) -> None:
    """Its cells keep their columns, on the screen, a phone and paper; its colour changes."""
    cells = """[...document.querySelectorAll('tbody tr[data-trial] td')].map((one) => {
      const frame = one.getBoundingClientRect();
      return [frame.width, frame.height, getComputedStyle(one.parentElement).display];
    })"""
    reader.open(pages["search"], **look)
    before = reader.until(lambda: reader.all("td input")) and reader.run(cells)
    reader.one('tr[data-trial="3"] input').click()
    assert reader.run(cells) == before
    ground = [
        reader.one(f"tr.{one} td").value_of_css_property("background-color")
        for one in ("chosen", "faded")
    ]
    assert ground[0] != ground[1]
    reader.cdp("Emulation.setEmulatedMedia", media="print")
    on_paper = reader.run(cells)
    reader.run("document.querySelector('.clear').click()")
    assert reader.run(cells) == on_paper
    reader.cdp("Emulation.setEmulatedMedia", media="")
    assert {display for *_, display in on_paper} == {"table-row"}


def test_half_epochs_are_no_ticks(reader: Reader, pages: dict[str, Path]) -> None:
    """Where few epochs were spent, the axes count them one by one."""
    reader.open(pages["short"])
    for chart in reader.all(".curves, .spending"):
        texts = [one.text for one in chart.find_elements(By.CSS_SELECTOR, ".xtick text")]
        assert texts
        assert all(float(text).is_integer() for text in texts)


def test_a_choice_stays_within_its_run(reader: Reader, pages: dict[str, Path]) -> None:
    """Of several runs on a page each has its own."""
    reader.open(pages["several"])
    reader.one('#run-2 tr[data-trial="1"] input').click()
    assert len(reader.all("tr.chosen")) == 1
    assert min(reader.opacities("#run-1 .parallel")) == 1


def test_nothing_of_a_stranger_runs(reader: Reader, pages: dict[str, Path]) -> None:
    """Nor when his words are hovered over, sorted by and chosen; they are seen as they are."""
    reader.open(pages["stranger"])
    reader.hover(".spending g.trace path.point")
    assert "<script>" in reader.one(".spending .hoverlayer").text
    for button in reader.all("th button"):
        button.click()
    reader.hover(".parallel g.trace path.point")
    reader.one('#run-1 tr[data-trial="1"] input').click()
    assert reader.run("window.hit") is None
    assert EVIL.partition("<!--")[0] in reader.one("#run-1 h2").text
    # Nor would it if it got in.
    reader.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.hit=1>')")
    reader.run(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'hit = 1'}))"
    )
    assert reader.run("window.hit") is None
    refused = [one["message"] for one in reader.driver.get_log("browser")]
    assert any("Content Security Policy" in one for one in refused)


def test_no_width_scrolls_sideways(reader: Reader, pages: dict[str, Path]) -> None:
    """A phone's neither: what is wide scrolls in its own frame."""
    for name, width in product(("search", "several", "stranger"), (320, 390, 768, 1400)):
        reader.open(pages[name], width=width)
        page = "document.documentElement"
        assert reader.run(f"{page}.scrollWidth === {page}.clientWidth"), (name, width)
        assert reader.run("innerWidth") == width  # a phone would zoom out for a wider page


def test_the_dark(reader: Reader, pages: dict[str, Path]) -> None:
    """Light words on a dark page, in the charts too; and again when the evening comes."""

    def brightness(selector: str, style: str) -> float:
        channels = re.findall(r"[\d.]+", reader.one(selector).value_of_css_property(style))
        return sum(map(float, channels[:3])) / 3

    def look() -> tuple[float, float, float]:
        return (
            brightness("body", "background-color"),
            brightness("body", "color"),
            brightness(".curves .xtick text", "fill"),
        )

    reader.open(pages["search"], dark=True)
    page, words, ticks = look()
    assert page < 60
    assert min(words, ticks) > 180
    light = [{"name": "prefers-color-scheme", "value": "light"}]
    reader.cdp("Emulation.setEmulatedMedia", features=light)
    reader.until(lambda: look()[2] < 80)
    page, words, _ = look()
    assert page > 200
    assert words < 80


def test_it_prints(reader: Reader, pages: dict[str, Path]) -> None:
    """On white paper, a few pages; afterwards the screen is as before.

    However wide and dark that is, the charts are drawn anew for the paper.
    """
    reader.open(pages["search"], dark=True, width=1400)
    printed = reader.cdp("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", base64.b64decode(printed["data"]))) <= 8
    assert reader.run("'print' in document.documentElement.dataset") is False
    assert reader.run("document.querySelector('.curves').layout.width") is None
    reader.cdp("Emulation.setEmulatedMedia", media="print")
    reader.run("dispatchEvent(new Event('beforeprint'))")
    for chart in reader.all(".chart"):
        svg = chart.find_element(By.CSS_SELECTOR, "svg.main-svg")
        assert 600 < svg.size["width"] < 700
    words = reader.one(".curves .xtick text").value_of_css_property("fill")
    assert words == "rgb(29, 33, 38)"


def test_without_scripts(reader: Reader, pages: dict[str, Path]) -> None:
    """Findings, figures and the tables are there, and no empty place for a chart."""
    reader.open(pages["several"], script=False)
    assert not any(one.is_displayed() for one in reader.all(".chart"))
    assert all(one.is_displayed() for one in reader.all("img, table, pre"))
    assert len(reader.all("#run-1 tr[data-trial]")) == N_TRIALS
    assert "need JavaScript" in reader.one("main").text
