"""The dashboard in a real browser, while real searches train: nothing one looks at is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lab
import pytest
from dashboards import Dashboard, dashboard
from made_runs import EVIL, by_a_stranger, final_test, search, sweep
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys
from test_report_browser import Reader, driver, pytestmark

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium import webdriver

__all__ = ["driver", "pytestmark"]  # a fixture and the marks of that page

SEARCH = ("random-search", "--iters", "4", "--epochs", "3", "--data", "sample", "--workers", "1")


class Visitor(Reader):
    """A reader of pages that a server of this machine has."""

    def visit(self, url: str, *, width: int = 1400, dark: bool = False) -> None:
        """Open an address, and wait until the page is live."""
        look = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.cdp("Emulation.setEmulatedMedia", features=look)
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.cdp("Emulation.setDeviceMetricsOverride", **screen)
        self.driver.get(url)
        self.arrive()

    def arrive(self) -> None:
        """Wait until another page than the one before is live: driver and click may be early."""
        self.until(lambda: not self.run("window.isSame") and self.one("#live").text == "Live")
        self.run("(window.isSame = true)")

    def row(self, name: str) -> dict[str, str]:
        """A run in the list: the texts of its cells by the heads of the columns."""
        return dict(
            self.run(
                """(() => {
                  const heads = [...document.querySelectorAll("thead th")];
                  const row = document.querySelector(`tr[data-run="${arguments[0]}"]`);
                  const pair = (cell, at) => [heads[at].textContent, cell.textContent.trim()];
                  return row ? [...row.cells].map(pair) : [];
                })()""",
                name,
            )
        )

    def names(self) -> list[str]:
        """The runs that the list shows, from the top down."""
        return [one.text for one in self.all("tbody th a") if one.is_displayed()]

    def tab_to(self, selector: str) -> None:
        """Press the key until something has the focus."""
        for _ in range(60):
            ActionChains(self.driver).send_keys(Keys.TAB).perform()
            if self.run("document.activeElement.matches(arguments[0])", selector):
                return
        pytest.fail(f"the key does not reach {selector}")

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()


@pytest.fixture
def visitor(driver: webdriver.Chrome) -> Iterator[Visitor]:
    """A visitor of a dashboard, whose pages asked nobody else and had no error."""
    visitor = Visitor(driver)
    visitor.cdp("Network.enable")
    online = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    visitor.cdp("Network.emulateNetworkConditions", offline=False, **online)
    visitor.cdp("Emulation.setScriptExecutionDisabled", value=False)
    driver.get_log("browser")
    driver.get_log("performance")
    yield visitor
    # A page that was left has closed its stream.
    said = [one for one in driver.get_log("browser") if "INCOMPLETE_CHUNKED" not in one["message"]]
    assert said == []
    asked = visitor.asked()
    assert asked
    assert [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:"))] == []
    driver.get("about:blank")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    sweep(folder / "sweep")
    search(folder / "search")
    final_test(folder / "test", repeats=2)
    by_a_stranger(folder / EVIL.replace("/", "|"))
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Dashboard]:
    """A dashboard of them."""
    with dashboard(folder) as made:
        yield made


def test_a_search_is_seen_in_the_list(visitor: Visitor, tmp_path: Path) -> None:
    """It appears, its curve grows, its best error changes, it becomes complete.

    The order, the filter, the tick, the focus and the place in the frame stay as they were.
    """
    folder = tmp_path / "runs"
    for number in range(40):
        sweep(folder / f"old-{number:02}")
    with dashboard(folder) as made:
        visitor.visit(made.url)
        visitor.one('tr[data-run="old-07"] input').click()
        next(one for one in visitor.all("thead button") if one.text == "run").click()
        visitor.one("input[type=search]").send_keys("e")
        visitor.run("document.querySelector('.scroll').scrollTo(0, 300)")
        place = "document.querySelector('tr[data-run=old-15]').getBoundingClientRect().top"
        before = visitor.run(place)
        running = lab.start(*SEARCH, "--out", str(folder / "live"), command=lab.REAL)
        visitor.until(lambda: visitor.row("live"))
        visitor.until(lambda: visitor.row("live")["state"] == "running")
        points, bests = set(), set()

        def is_complete() -> bool:
            row = visitor.row("live")
            bests.add(row["best error"])
            # In one call: between two the cell may be replaced.
            line = "document.querySelector('tr[data-run=live] polyline')"
            points.add(len(visitor.run(f"{line}?.getAttribute('points') ?? ''").split()))
            return row["state"] == "complete"

        visitor.until(is_complete)
        running.communicate()
        assert running.returncode == 0
        assert {0, 2, 3} <= points
        assert len(bests - {"–"}) > 1
        assert visitor.row("live")["trials"].startswith("4/4")
        assert visitor.run("window.isSame")
        assert visitor.names()[:2] == ["live", "old-00"]
        assert visitor.run("document.activeElement.value") == "e"
        assert visitor.run(place) == pytest.approx(before, abs=2)
        assert visitor.one('tr[data-run="old-07"] input').is_selected()
        visitor.driver.refresh()
        visitor.arrive()
        assert visitor.one('tr[data-run="old-07"] input').is_selected()
        assert visitor.one("input[type=search]").get_attribute("value") == "e"
        assert visitor.names()[0] == "live"


def test_a_search_is_seen_on_its_page(visitor: Visitor, tmp_path: Path) -> None:
    """Trials and curves come, and the verdict; the zoom, open details and the place stay."""
    folder = tmp_path / "runs"
    folder.mkdir()
    with dashboard(folder) as made:
        running = lab.start(*SEARCH, "--out", str(folder / "live"), command=lab.REAL)
        visitor.visit(made.url)
        visitor.until(lambda: visitor.all('tr[data-run="live"] polyline'))
        visitor.one('tr[data-run="live"] a').click()
        visitor.arrive()
        plot = visitor.draw("figure.curves")
        before = visitor.run("arguments[0].data.length", plot)
        visitor.run("Plotly.relayout(arguments[0], {'xaxis.range': [1, 2]})", plot)
        details = visitor.all("section.run > details")[-1]
        visitor.run("(arguments[0].open = true)", details)
        visitor.until(lambda: visitor.all("tr[data-trial]"))
        visitor.run("document.querySelector('tr[data-trial=\"1\"] input').click()")
        visitor.draw("figure.curves")
        top = visitor.run("arguments[0].getBoundingClientRect().top", plot)
        state = "document.querySelector('section .state').textContent"
        visitor.until(lambda: visitor.run(state) == "complete")
        running.communicate()
        assert running.returncode == 0
        visitor.until(lambda: len(visitor.all("tr[data-trial]")) == 4)
        visitor.until(lambda: visitor.run("arguments[0].data.length", plot) > before)
        assert "validation error" in visitor.one(".verdict").text.lower()
        assert visitor.run("window.isSame")
        assert visitor.run("arguments[0].layout.xaxis.range", plot) == [1, 2]
        assert visitor.run("arguments[0].open", details)
        assert visitor.one('tr[data-trial="1"] input').is_selected()
        now = visitor.run("arguments[0].getBoundingClientRect().top", plot)
        assert now == pytest.approx(top, abs=2)


def test_the_keyboard_is_enough(visitor: Visitor, served: Dashboard) -> None:
    """To filter, sort, choose, compare, and to come back."""
    visitor.visit(served.url)
    visitor.tab_to("input[type=search]")
    visitor.press("lr-sweep, best error < 5", Keys.ENTER)
    assert visitor.names() == ["sweep"]
    assert visitor.one(".tools output").text == "1 of 4 shown"
    for _ in "lr-sweep, best error < 5":
        visitor.press(Keys.BACKSPACE)
    visitor.tab_to("thead th:nth-child(2) button")
    visitor.press(Keys.ENTER)
    assert visitor.one("thead th:nth-child(2)").get_attribute("aria-sort") == "ascending"
    assert visitor.names()[1:] == ["search", "sweep", "test"]
    for name in ("search", "sweep"):
        visitor.tab_to(f'tr[data-run="{name}"] input')
        visitor.press(Keys.SPACE)
    assert visitor.one("#compare").text == "Compare 2 chosen runs"
    visitor.one("input[type=search]").send_keys("")
    visitor.tab_to("#compare")
    visitor.press(Keys.ENTER)
    visitor.until(lambda: visitor.all("#comparison"))
    assert {one.text for one in visitor.all("#comparison td a")} == {"search", "sweep"}
    visitor.tab_to("nav a")
    visitor.press(Keys.ENTER)
    visitor.until(lambda: visitor.all("#runs"))


def test_everything_has_a_name(visitor: Visitor, served: Dashboard) -> None:
    """What a screen reader says of what can be used, and of the landmarks."""
    visitor.visit(served.url)
    tree = visitor.cdp("Accessibility.getFullAXTree")["nodes"]
    named: dict[str, list[str]] = {}
    for node in tree:
        if not node["ignored"]:
            role = node["role"]["value"]
            named.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    for role in ("checkbox", "link", "button", "searchbox", "progressbar", "image", "columnheader"):
        assert named[role]
        assert all(named[role]), role
    assert {"main", "status", "table", "rowheader"} <= named.keys()
    assert "choose sweep" in named["checkbox"]
    assert named["heading"][0].startswith("Runs below")


@pytest.mark.parametrize("look", [{"width": 390}, {"width": 1400}, {"dark": True}], ids=str)
def test_it_looks_right(visitor: Visitor, served: Dashboard, look: dict[str, Any]) -> None:
    """No width scrolls sideways, and words are dark on light or light on dark."""
    links = ["", "/run?name=search", "/run?name=test", "/run?name=sweep&name=search"]
    for link in links:
        visitor.visit(served.url if not link else f"http://127.0.0.1:{served.port}{link}", **look)
        page = "document.documentElement"
        assert visitor.run(f"{page}.scrollWidth === {page}.clientWidth"), link
        ground = visitor.one("body").value_of_css_property("background-color")
        assert ground == ("rgba(20, 23, 26, 1)" if "dark" in look else "rgba(255, 255, 255, 1)")


def test_nothing_of_a_stranger_runs(visitor: Visitor, served: Dashboard) -> None:
    """On any page, whatever is clicked."""
    visitor.visit(served.url)
    link = next(one for one in visitor.all("tbody th a") if "<script>" in one.text)
    for button in visitor.all("thead button"):
        button.click()
    assert visitor.run("window.hit") is None
    link.click()
    visitor.arrive()
    visitor.hover(".curves g.trace path.point")
    visitor.one('tr[data-trial="1"] input').click()
    visitor.is_closed_to_strangers()


def test_it_says_when_it_is_alone(visitor: Visitor, folder: Path) -> None:
    """A page whose dashboard has ended does not pretend to be live."""
    with dashboard(folder) as made:
        visitor.visit(made.url)
        made.end()
        visitor.until(lambda: "does not answer" in visitor.one("#live").text)
        visitor.driver.get("about:blank")
    visitor.driver.get_log("browser")
