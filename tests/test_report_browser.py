"""The report in a real browser: offline, without an error, with a mouse, a phone, the dark, paper.

Chromium runs headless; its proxy is the trap of conftest.py, so a page that asked for anything
would fail its test twice.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import pytest
from made_events import begun_as, forge, journal_lines
from made_runs import EVIL, by_a_stranger, final_test, search, sweep
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from mnist_lab import data, study
from mnist_lab.pages import environment, figures, json_text, sections
from mnist_lab.rundir import RunDir

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
        self.driver.get(path.absolute().as_uri())  # may return before the page is there
        place = "[document.readyState, decodeURIComponent(location.pathname)]"
        self.until(lambda: self.run(place) == ["complete", str(path.absolute())])

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
        return WebDriverWait(self.driver, 200).until(lambda _: condition())

    def hover(self, dot: str) -> str:
        """Point at a dot of a chart, and read the label that appears."""
        self.draw(dot.split(maxsplit=1)[0])
        element = self.one(dot)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self.driver, duration=50).move_to_element(element).perform()
        label = self.until(lambda: self.all(".hoverlayer .hovertext"))
        return str(label[0].text)

    def draw(self, figure: str) -> WebElement:
        """Scroll to a figure, which is drawn then."""
        self.until(lambda: self.all(f"{figure} .plot"))  # a live page gets it with its first epoch
        element = self.one(f"{figure} .plot")
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        self.until(lambda: element.find_elements(By.CSS_SELECTOR, ".plot-container g.trace"))
        return element

    def is_closed_to_strangers(self) -> None:
        """What would get into the page from outside does not run, which the browser reports."""
        assert self.run("window.hit") is None
        self.run(
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.hit=1>')"
        )
        self.run(
            "document.body.append(Object.assign(document.createElement('script'), "
            "{text: 'hit = 1'}))"
        )
        assert self.run("window.hit") is None
        refused = [one["message"] for one in self.driver.get_log("browser")]
        assert any("Content Security Policy" in one for one in refused)

    def asked(self) -> list[str]:
        """The addresses that its pages asked for."""
        log = self.driver.get_log("performance")
        events = [json.loads(one["message"])["message"] for one in log]
        sent = [one["params"] for one in events if one["method"] == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent]

    def strong(self, figure: str) -> set[int]:
        """The trials that stand out in a figure; all, where none is chosen."""
        plot = self.draw(figure)
        self.until(lambda: not self.run("arguments[0].of.figure.isStale", plot))
        script = """document.querySelector(arguments[0] + ' .plot').data
          .filter((one) => one.customdata && (one.opacity ?? 1) > 0.3)
          .flatMap((one) => one.customdata)"""
        return set(self.run(script, figure))


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
    asked = reader.asked()
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
    made["mistakes"] = study.report([with_images(folder / "mistakes")])
    runs[0] = by_a_stranger(folder / EVIL.replace("/", "|"))
    made["stranger"] = study.report(runs[:2], folder / "stranger.html")
    return made


def with_images(path: Path) -> Path:
    """A test on the bundled digits, of which two fours are taken for nines, and a seven for a one.

    Who reads it finds their images.
    """
    run_dir = RunDir(final_test(path))
    info = run_dir.read_info().model_copy(update={"data": data.load("sample").info})
    run_dir.write_info(info)
    lines = [begun_as(run_dir), *journal_lines(run_dir)[1:]]
    lines[-1]["test"]["mistakes"] = [
        {"image": image, "true": true, "predicted": predicted, "confidence": 0.9}
        for image, true, predicted in ((3, 4, 9), (5, 4, 9), (7, 7, 1))
    ]
    lines[-1]["test"]["confusion"][7][1] = 1
    forge(run_dir, lines)
    return path


def test_everything_is_drawn(reader: Reader, pages: dict[str, Path]) -> None:
    """Each figure has its lines when it is scrolled to, and a name for who cannot see it."""
    for name in ("search", "sweep", "test", "several"):
        reader.open(pages[name])
        assert reader.all("figure.chart")
        for figure in reader.all("figure.chart"):
            kind = str(figure.get_attribute("class")).split()[-1]
            section = figure.find_element(By.XPATH, "ancestor::section").get_attribute("id")
            plot = reader.draw(f"#{section} .{kind}")
            assert plot.get_attribute("role") == "img"
            assert figure.find_element(By.TAG_NAME, "h3").text in str(plot.accessible_name)
            assert figure.accessible_name == figure.find_element(By.TAG_NAME, "h3").text


def test_a_click_sorts(reader: Reader, pages: dict[str, Path]) -> None:
    """The best stands first; by number, not by letters; again, the other way round.

    What has no number stays last.
    """
    reader.open(pages["search"])
    first = reader.column("validation error")
    head = next(one for one in reader.all("th") if one.text.startswith("validation"))
    shown = []
    for direction in ("ascending", "descending"):
        head.find_element(By.TAG_NAME, "button").click()
        assert head.get_attribute("aria-sort") == direction
        shown.append(reader.column(head.text))
    assert shown[0] == first
    assert shown[0][-3:] == shown[1][-3:] == ["–"] * 3
    numbers = [[float(text.removesuffix(" %")) for text in texts[:-3]] for texts in shown]
    assert numbers[0] == sorted(numbers[0]) == numbers[1][::-1]


def test_a_filter_hides_rows(reader: Reader, pages: dict[str, Path]) -> None:
    """Words, numbers of a column, or both; what is hidden is counted, and comes back."""
    reader.open(pages["search"])
    field = reader.all("input[type=search]")[-1]
    everything = reader.column("validation error")
    for text, holds in (
        ("validation error < 10", lambda row: row != "–" and float(row.split()[0]) < 10),
        ("validation error<10, 5×5", None),
        ("failed", lambda row: row == "–"),
    ):
        field.clear()
        field.send_keys(text)
        shown = [one.text for one in reader.all("tbody tr[data-trial]") if one.is_displayed()]
        assert 0 < len(shown) < N_TRIALS
        assert reader.one(".tools output").text == f"{len(shown)} of {N_TRIALS} shown"
        if text == "failed":
            assert len(shown) == 1
        elif holds:
            assert len(shown) == sum(map(holds, everything))
        else:
            assert all("5×5" in row for row in shown)
    field.send_keys("\b" * len("failed"))
    assert all(one.is_displayed() for one in reader.all("tbody tr[data-trial]"))


def test_the_keyboard_sorts_and_chooses(reader: Reader, pages: dict[str, Path]) -> None:
    """Without a mouse: a head is a button, and a trial has a box to tick."""
    reader.open(pages["search"])
    button = next(one for one in reader.all("th button") if one.text.startswith("seconds"))
    button.send_keys("\n")
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    reader.one('tr[data-trial="3"] input').send_keys(" ")
    assert reader.one(".choice output").text == f"1 of {N_TRIALS} trials chosen"


def test_a_point_has_a_label(reader: Reader, pages: dict[str, Path]) -> None:
    """Pointing at a trial tells which it is, its configuration and its error."""
    reader.open(pages["search"])
    label = reader.hover(".incumbent g.trace path.point")
    assert re.search(r"trial \d+: .*learning rate [\d.e-]+, batch size \d+", label, re.DOTALL)
    assert label.rstrip().endswith("%")


def test_a_figure_is_scaled_and_chosen(reader: Reader, pages: dict[str, Path]) -> None:
    """Linear instead of logarithmic, over time instead of epochs, and back to the whole."""
    reader.open(pages["search"])
    plot = reader.draw(".incumbent")

    def axes() -> list[Any]:
        layout = "arguments[0].layout"
        return list(reader.run(f"[{layout}.yaxis.type, {layout}.xaxis.title.text]", plot))

    def press(name: str) -> None:
        buttons = reader.all(".incumbent button")
        next(one for one in buttons if one.text == name).click()

    assert axes() == ["log", "epochs trained, all trials together"]
    press("linear scale")
    press("time")
    assert axes() == ["linear", "seconds since the start, pauses included"]
    pressed = [one.text for one in reader.all(".incumbent [aria-pressed=true]")]
    assert pressed == ["time", "linear scale"]
    whole = reader.run("arguments[0]._fullLayout.xaxis.range", plot)
    reader.run("Plotly.relayout(arguments[0], {'xaxis.range': [0, 1e-3]})", plot)
    reader.one('tr[data-trial="3"] input').send_keys(" ")
    assert reader.run("arguments[0]._fullLayout.xaxis.range", plot) == [0, 1e-3], "the zoom stays"
    press("reset zoom")
    assert reader.run("arguments[0]._fullLayout.xaxis.range", plot) == whole


def test_a_box_chooses_the_same_trials_everywhere(reader: Reader, pages: dict[str, Path]) -> None:
    """Over the upper half of one axis: those stand out in every figure and in the table."""
    reader.open(pages["search"])
    drawn = json.loads(reader.run("document.querySelector('#run-1 .data').textContent"))
    (choice,) = drawn["figures"]["parallel"]["choices"].values()
    expected = {
        trial
        for trace in choice["traces"]
        for x, y, trial in zip(trace["x"], trace["y"], trace["customdata"], strict=True)
        if x == 0 and y > 0.5
    }
    assert 0 < len(expected) < N_TRIALS
    for figure in (".incumbent", ".curves", ".parallel"):
        reader.draw(figure)
    x, top, middle = reader.run(
        """(() => {
          const chart = document.querySelector(".parallel .plot");
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
    reader.until(lambda: reader.one(".choice output").text == said)
    chosen = {int(str(one.get_attribute("data-trial"))) for one in reader.all("tr.picked")}
    assert chosen == expected
    assert len(reader.all("tr.faded")) == N_TRIALS - len(expected)
    assert reader.strong(".parallel") == reader.strong(".curves") == expected
    assert reader.strong(".incumbent") < expected, "those that have ended"
    reader.one(".clear").click()
    assert reader.all("tr.faded") == []
    assert len(reader.strong(".parallel")) == N_TRIALS


def test_a_row_chooses_its_trial(reader: Reader, pages: dict[str, Path]) -> None:
    """A click on a row, a second row, the first again."""
    reader.open(pages["search"])
    reader.draw(".curves")
    for trial, n in ((2, 1), (5, 2), (2, 1)):
        row = reader.one(f'tr[data-trial="{trial}"]')
        reader.run("arguments[0].scrollIntoView({block: 'center'})", row)
        row.find_elements(By.TAG_NAME, "td")[2].click()
        assert reader.one(".choice output").text == f"{n} of {N_TRIALS} trials chosen"
    assert reader.strong(".curves") == {5}


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
    before = reader.run(cells)
    reader.one('tr[data-trial="3"] input').click()
    assert reader.run(cells) == before
    ground = [
        reader.one(f"tr.{one} td").value_of_css_property("background-color")
        for one in ("picked", "faded")
    ]
    assert ground[0] != ground[1]
    reader.cdp("Emulation.setEmulatedMedia", media="print")
    on_paper = reader.run(cells)
    reader.run("document.querySelector('.clear').click()")
    assert reader.run(cells) == on_paper
    reader.cdp("Emulation.setEmulatedMedia", media="")
    assert {display for *_, display in on_paper} == {"table-row"}


def test_a_cell_opens_its_images(reader: Reader, pages: dict[str, Path]) -> None:
    """A number of the confusion matrix shows the images that it counts, and those alone."""
    reader.open(pages["mistakes"])
    assert reader.run("[...document.images].every((one) => one.naturalWidth === 28)")
    n_all = len(reader.all(".gallery li"))
    assert n_all == 3
    cell = reader.one('.confusion td[data-pair="4-9"] button')
    assert "4 → 9" in str(cell.accessible_name)
    cell.send_keys("\n")
    shown = [one.text for one in reader.all(".gallery li") if one.is_displayed()]
    assert len(shown) == 2
    assert all(text.startswith("4 → 9") for text in shown)
    assert reader.one(".opened output").text == f"4 → 9: 2 of {n_all} images."
    reader.one(".opened button").click()
    assert all(one.is_displayed() for one in reader.all(".gallery li"))


def test_newer_data_disturb_nobody(reader: Reader, tmp_path: Path) -> None:
    """Twelve trials become thirty while somebody looks: rows and points come, and all else stays.

    That is the order, the filter, the ticks, the zoom, what has the focus, where a frame is
    scrolled to; what is said changes.
    """
    reader.open(study.report([search(tmp_path / "run", N_TRIALS)]), width=900)
    plot = reader.draw(".curves")
    reader.run("Plotly.relayout(arguments[0], {'xaxis.range': [1, 2]})", plot)
    next(one for one in reader.all("th button") if one.text.startswith("seed")).click()
    reader.one('tr[data-trial="3"] input').click()
    field = reader.one("input[type=search]")
    field.send_keys("batch size > 20")
    reader.run("document.querySelector('[data-live=trials] .scroll').scrollLeft = 40")
    (tmp_path / "run").rename(tmp_path / "before")
    run = study.load_run(search(tmp_path / "run", 30)).shown("run", ".")
    html = (
        environment("mnist_lab.report")
        .get_template("run.html")
        .render(run=sections.run(run, "run-1"), data=json_text(figures.of_run(run)))
    )
    reader.run("MnistLab.update(arguments[0])", html)
    assert "27 of 30 trials complete" in reader.one("#run-1").text
    assert len(reader.all("tr[data-trial]")) == 30
    assert [one.get_attribute("data-trial") for one in reader.all("tr.picked")] == ["3"]
    assert reader.one(".choice output").text == "1 of 30 trials chosen"
    assert reader.one('tr[data-trial="3"] input').is_selected()
    assert reader.strong(".curves") == {3}
    assert reader.run("arguments[0]._fullLayout.xaxis.range", plot) == [1, 2]
    (ordered,) = reader.all("th[aria-sort=ascending]")
    assert ordered.text == "seed"
    seeds = [int(text) for text in reader.column("seed") if text]
    assert seeds == sorted(seeds)
    shown = [one for one in reader.all("tr[data-trial]") if one.is_displayed()]
    assert 0 < len(shown) < 30
    assert reader.one(".tools output").text == f"{len(shown)} of 30 shown"
    assert reader.run("document.activeElement.value") == "batch size > 20"
    assert reader.run("document.querySelector('[data-live=trials] .scroll').scrollLeft") == 40


def test_the_page_has_landmarks(reader: Reader, pages: dict[str, Path]) -> None:
    """One title, a main part, links to the runs, each run a region with a name."""
    reader.open(pages["several"])
    assert [one.aria_role for one in reader.all("header, nav, main, footer")] == [
        "banner",
        "navigation",
        "main",
        "contentinfo",
    ]
    assert len(reader.all("h1")) == 1
    names = [one.accessible_name for one in reader.all("section.run")]
    assert [one.partition(":")[0] for one in names[:2]] == ["Comparison", "search"]
    levels = [int(one.tag_name[1]) for one in reader.all("h1, h2, h3, h4")]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_half_epochs_are_no_ticks(reader: Reader, pages: dict[str, Path]) -> None:
    """Where few epochs were spent, the axes count them one by one."""
    reader.open(pages["short"])
    for figure in ("#run-1 .curves", "#comparison .spending"):
        plot = reader.draw(figure)
        texts = [one.text for one in plot.find_elements(By.CSS_SELECTOR, ".xtick text")]
        assert texts
        assert all(float(text).is_integer() for text in texts)


def test_a_choice_stays_within_its_run(reader: Reader, pages: dict[str, Path]) -> None:
    """Of several runs on a page each has its own."""
    reader.open(pages["several"])
    reader.draw("#run-1 .parallel")
    reader.one('#run-2 tr[data-trial="1"] input').click()
    assert len(reader.all("tr.picked")) == 1
    assert len(reader.strong("#run-1 .parallel")) == N_TRIALS


def test_nothing_of_a_stranger_runs(reader: Reader, pages: dict[str, Path]) -> None:
    """Nor when his words are hovered over, sorted by and chosen; they are seen as they are."""
    reader.open(pages["stranger"])
    reader.hover(".spending g.trace path.point")
    assert "<script>" in reader.one(".spending .hoverlayer").text
    for button in reader.all("th button, .buttons button"):
        button.click()
    reader.hover(".incumbent g.trace path.point")
    reader.one('#run-1 tr[data-trial="1"] input').click()
    assert EVIL.partition("<!--")[0] in reader.one("#run-1 h2").text
    reader.is_closed_to_strangers()


def test_no_width_scrolls_sideways(reader: Reader, pages: dict[str, Path]) -> None:
    """A phone's neither: what is wide scrolls in its own frame."""
    for name, width in product(("search", "several", "stranger"), (320, 390, 768, 1400)):
        reader.open(pages[name], width=width)
        page = "document.documentElement"
        assert reader.run(f"{page}.scrollWidth === {page}.clientWidth"), (name, width)
        assert reader.run("innerWidth") == width  # a phone would zoom out for a wider page


def test_a_table_that_fits_has_no_bar(reader: Reader, pages: dict[str, Path]) -> None:
    """Its frame is as wide as itself."""
    reader.open(pages["several"], width=1400)
    overhang = """[...document.querySelectorAll(".scroll")]
      .filter(frame => frame.offsetWidth < frame.parentElement.clientWidth)
      .map(frame => frame.scrollWidth - frame.clientWidth)"""
    found = reader.run(overhang)
    assert found
    assert set(found) == {0}


def test_the_dark(reader: Reader, pages: dict[str, Path]) -> None:
    """Light words on a dark page, in the charts too; and the other way round in the morning.

    The best has the style's colour of the best in either.
    """

    def best() -> str:
        lines = reader.all(".curves .scatterlayer path.js-line")
        return str(lines[-1].value_of_css_property("stroke"))

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
    reader.draw(".curves")
    page, words, ticks = look()
    assert best() == "rgb(255, 138, 61)"
    assert page < 60
    assert min(words, ticks) > 180
    light = [{"name": "prefers-color-scheme", "value": "light"}]
    reader.cdp("Emulation.setEmulatedMedia", features=light)
    reader.until(lambda: look()[2] < 80)
    page, words, _ = look()
    assert best() == "rgb(213, 94, 0)"
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
    assert reader.run("document.querySelector('.curves .plot').layout.width") is None
    assert not any(reader.run("[...document.querySelectorAll('details')].map((one) => one.open)"))
    reader.cdp("Emulation.setEmulatedMedia", media="print")
    reader.run("dispatchEvent(new Event('beforeprint'))")
    assert all(reader.run("[...document.querySelectorAll('details')].map((one) => one.open)"))
    for chart in reader.all(".chart"):
        svg = chart.find_element(By.CSS_SELECTOR, "svg.main-svg")
        assert 600 < svg.size["width"] < 700
    words = reader.one(".curves .xtick text").value_of_css_property("fill")
    assert words == "rgb(29, 33, 38)"


def test_without_scripts(reader: Reader, pages: dict[str, Path]) -> None:
    """Findings, the tables, the confusion matrix and the mistakes are there; no dead button is.

    The figures are files of the runs, to which links lead.
    """
    reader.open(pages["several"], script=False)
    assert not any(one.is_displayed() for one in reader.all(".chart, button, input"))
    assert all(one.is_displayed() for one in reader.all("img, table, pre"))
    assert len(reader.all("#run-1 tr[data-trial]")) == N_TRIALS
    assert "need JavaScript" in reader.one("main").text
