"""Run directories -> one self-contained HTML page, which opens anywhere and asks nobody.

Nothing in it is trusted: `pages` escapes all text, and the page's own policy lets no script run but
the two that it is made with, and no address be asked.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from markupsafe import Markup

from mnist_lab import __version__, pages
from mnist_lab.pages import figures, sections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_lab.pages import Shown

__all__ = ["page"]

_MOST_NAMED = 3  # in the title


def page(runs: Sequence[Shown]) -> str:
    """One self-contained page about some runs, at least one; of several, how they compare.

    It needs no network and asks for none. The same records give the same text.
    """
    keyed = {f"run-{number}": one for number, one in enumerate(runs, start=1)}
    several = len(runs) > 1
    # In a text of JavaScript these are the same, in HTML they are the end of the element.
    library = pages.asset("plotly-basic.min.js").replace("</script", "<\\/script")
    scripts = [library.replace("<!--", "<\\!--"), pages.asset("page.js")]
    digests = (base64.b64encode(hashlib.sha256(one.encode()).digest()) for one in scripts)
    hashes = " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
    title = ", ".join(one.label for one in runs[:_MOST_NAMED]) + ", …" * (len(runs) > _MOST_NAMED)
    return (
        pages.environment(__name__)
        .get_template("report.html")
        .render(
            title=title,
            # The page may run these scripts and show images that it holds; nothing else, from
            # nowhere.
            policy=f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
            "img-src data:; base-uri 'none'; form-action 'none'",
            style=Markup(pages.asset("page.css")),  # noqa: S704 - our own file
            scripts=[Markup(one) for one in scripts],  # noqa: S704 - our own files
            runs=[sections.run(one, key) | {"label": one.label} for key, one in keyed.items()],
            figures={key: pages.json_text(figures.of_run(one)) for key, one in keyed.items()},
            comparison=sections.comparison(runs, [f"#{key}" for key in keyed]) if several else None,
            comparison_data=pages.json_text(figures.of_comparison(runs)) if several else None,
            version=__version__,
        )
    )
