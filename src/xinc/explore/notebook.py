"""The page inside a notebook: as a file in a frame, without a port, or from a server that runs beside the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from threading import Thread

from xinc.canvas.trace import Canvas
from xinc.explore.answers import Answers
from xinc.explore.html import canvas_page, file_page
from xinc.explore.server import Served
from xinc.files import write_text
from xinc.run import Run

HEIGHT = 860
"""Of the frame in a notebook, in CSS pixels."""


@dataclass(frozen=True, eq=False)
class InlinePage:
    """The page with its network in it; a notebook shows it inline.

    Attributes:
        html: all of it.
    """

    html: str

    def save(self, path: str | Path) -> Path:
        """Write it as a file that any browser opens."""
        path = Path(path)
        write_text(path, self.html)
        return path

    def _repr_html_(self) -> str:
        return _frame(f'srcdoc="{escape(self.html, quote=True)}"')

    def __repr__(self) -> str:
        return f"InlinePage({len(self.html) / 1e6:.1f} MB; show it in a notebook, or page.save('page.html'))"


@dataclass(frozen=True, eq=False)
class ServedPage:
    """The page from a server in this process, on this machine only.

    Attributes:
        address: with the token that lets one in.
    """

    address: str
    _served: Served

    def close(self) -> None:
        """End the server."""
        self._served.stop()

    def _repr_html_(self) -> str:
        link = f'<p><a href="{escape(self.address, quote=True)}" target="_blank">Open it in a tab of its own</a></p>'
        return _frame(f'src="{escape(self.address, quote=True)}"') + link

    def __repr__(self) -> str:
        return f"ServedPage({self.address!r}; page.close() ends it)"


def _frame(source: str) -> str:
    style = f"width:100%;height:{HEIGHT}px;border:1px solid #8886;border-radius:6px"
    return f'<iframe {source} style="{style}" title="Point at a pixel" allow="clipboard-write"></iframe>'


def explore_run(run: Run, *, server: bool = False, port: int | None = None) -> InlinePage | ServedPage:
    """See :meth:`xinc.run.Run.explore`."""
    name = run.path.resolve().name if run.path is not None else run.family
    if not server:
        return InlinePage(file_page({name: run}))
    served = Served.of(Answers({name: run}), port)
    Thread(target=served.run, name="xinc-explore-server", daemon=True).start()
    return ServedPage(served.address, served)


def explore_canvas(canvas: Canvas) -> InlinePage:
    """See :meth:`xinc.canvas.trace.Canvas.explore`."""
    return InlinePage(canvas_page(canvas))
