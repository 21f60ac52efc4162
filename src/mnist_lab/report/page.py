"""The page itself: one HTML text with its style, its scripts and its data inside."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from mnist_lab import __version__
from mnist_lab.report import charts, sections
from mnist_lab.report.comparison import comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.report.reported import Reported

# What could end a script's element, or a line of an old JavaScript's text.
_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def page(runs: Sequence[Reported]) -> str:
    """One self-contained page about some runs, at least one; of several, how they compare.

    It needs no network and asks for none. The same records give the same text.
    """
    several = len(runs) > 1
    data = {
        "runs": [charts.of_run(run) for run in runs],
        "comparison": charts.of_comparison(runs) if several else [],
    }
    title = ", ".join(run.label for run in runs[:3]) + (", …" if len(runs) > 3 else "")  # noqa: PLR2004
    scripts = [_library(), _asset("page.js")]
    body = [comparison(runs)] if several else []
    body += [sections.run(run, number) for number, run in enumerate(runs, start=1)]
    return Template(_asset("page.html")).substitute(
        title=escape(f"{title} · mnist-lab"),
        policy=escape(_policy(scripts)),
        style=_asset("page.css"),
        navigation=_navigation(runs) if several else "",
        body=sections.joined(body),
        version=escape(__version__),
        data=_embedded(data),
        plotly=scripts[0],
        script=scripts[1],
    )


def _navigation(runs: Sequence[Reported]) -> Markup:
    links = [
        Markup('<a href="#run-{}">{}</a>').format(number, run.label)
        for number, run in enumerate(runs, start=1)
    ]
    return Markup("<nav>{}</nav>").format(Markup(" ").join(links))


def _policy(scripts: Sequence[str]) -> str:
    """The page may run these scripts and show images that it holds; nothing else, from nowhere."""
    digests = (base64.b64encode(hashlib.sha256(one.encode()).digest()) for one in scripts)
    hashes = " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _embedded(value: Any) -> str:
    """The value as JSON that no HTML parser sees an end or a beginning in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _library() -> str:
    """Plotly's script, as its Python package ships it."""
    text = (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    # In a text of JavaScript the same; in HTML the end of the element.
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _asset(name: str) -> str:
    return (files("mnist_lab.report") / "assets" / name).read_text(encoding="utf-8")
