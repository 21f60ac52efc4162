"""Runs as web pages: the templates, values and figures that report and dashboard have in common.

Nothing of a run is trusted: text becomes HTML through jinja2 alone, which escapes it, and figures
are data that a script of ours draws.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mnist_lab.pages.sections import Shown

__all__ = ["Shown", "asset", "environment", "json_text"]

# What could end a script's element, or a line of an old JavaScript's text.
_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def environment(package: str) -> Environment:
    """The templates in the `assets` of a package of ours, and below them those of this one.

    All text is escaped, and a value that a template names must be there.
    """
    made = Environment(
        loader=ChoiceLoader([PackageLoader(name, "assets") for name in (package, __name__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["code"] = _code
    return made


def _code(text: str) -> Markup:
    """Text in which backticks mark a command."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


def asset(name: str) -> str:
    """A file of the pages' own: `page.css`, `page.js` or `plotly-basic.min.js`."""
    return (files(__name__) / "assets" / name).read_text(encoding="utf-8")


def json_text(data: Any) -> Markup:
    """Data as JSON for a script element, in which no HTML parser sees an end or a beginning."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)
    return Markup(text)  # noqa: S704 - no sign of HTML is left in it
