"""The documentation site: README, CONTRIBUTING, CHANGELOG and docs/ as they lie in the repository, and the docstrings.

``make docs`` builds it into build/site, without network, and takes a warning for an error: a link that leads nowhere, a
heading or a name of the package that is not there. Sphinx, because the docstrings are written for it already, and
because links into the code are checked as strictly as those between pages.
"""

import re
import tomllib
from pathlib import Path

from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCE = PROJECT["urls"]["Source"]
"""Where the repository is read, for links to what is no page of the site."""
CHAPTERS = {
    "Start": ["getting-started", "methods", "foreign-networks", "datasets"],
    "Tutorials": ["tutorials/own-network", "tutorials/video-codec", "tutorials/paper-in-an-hour"],
    "Go on": ["explore", "together", "pruning", "sizes", "sweeps", "custom-methods"],
    "Look up": ["options", "files", "errors", "performance", "api/index"],
    "What was found": ["replication", "study"],
    "The project": ["architecture", "/CONTRIBUTING", "/SECURITY", "/CHANGELOG"],
}

project, author = "xinc", PROJECT["authors"][0]["name"]
copyright = author
version = release = PROJECT["version"]
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_copybutton",
]
root_doc = "README"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "docs/*.md",
    "docs/api/*.rst",
    "docs/tutorials/*",
]
templates_path = ["templates"]

html_theme = "furo"
html_title = f"xinc {version}"
html_additional_pages = {"index": "to-readme.html"}
html_theme_options = {"source_repository": SOURCE, "source_branch": "main", "source_directory": ""}
html_show_copyright = False

myst_heading_anchors = 3
nb_execution_mode = "off"  # they are run by scripts/run_notebooks.py; their outputs lie in them
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
nitpicky = True
OTHERS = r"(?!xinc[.]).*"
nitpick_ignore_regex = [(r"py:.*", OTHERS), (r"py:.*", r"xinc\.notation\..*"), (r"py:class", r"xinc\..*")]
"""Types of other packages, to link to which needs their lists of names, from the network; types in signatures."""

rst_prolog = r".. |C| replace:: \|C\|"

LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)(?=[)#])")
log = logging.getLogger(__name__)


def chapters() -> str:
    """The list of all pages, which the README on a code host does without."""
    lists = ("\n".join(f"/docs/{page}" if page[0] != "/" else page for page in pages) for pages in CHAPTERS.values())
    heads = zip(CHAPTERS, lists, strict=True)
    return "\n".join(f"\n```{{toctree}}\n:hidden:\n:caption: {name}\n\n{pages}\n```" for name, pages in heads)


def outward(page: Path, target: str) -> str:
    """A link of a page: to a page as it is, to any other file or folder of the repository where it is read."""
    path = (page.parent / target).resolve()
    if not path.exists() or not path.is_relative_to(ROOT):
        log.warning("%s links to %s, which is not there", page.name, target)
    if path.suffix in {".md", ".ipynb", ".png", ".webp"}:
        return target
    return f"{SOURCE}/{'tree' if path.is_dir() else 'blob'}/main/{path.relative_to(ROOT).as_posix()}"


def read(app, name, text):
    """Make of a page of the repository a page of the site."""
    page = Path(app.env.doc2path(name))
    if page.suffix != ".md":
        return
    parts = re.split(r"(^```.*?^```$)", text[0], flags=re.MULTILINE | re.DOTALL)
    text[0] = "".join(p if i % 2 else LINK.sub(lambda m: outward(page, m[1]), p) for i, p in enumerate(parts))
    if name == root_doc:
        text[0] += chapters()


def setup(app):
    app.connect("source-read", read)
