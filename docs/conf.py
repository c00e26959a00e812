"""How Sphinx makes the site: sphinx-build -b html docs OUT, from the project's folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from c2c_agent import __version__
from docs.tables import filled

project = "c2c-agent"
author = "the c2c-agent developers"
version = release = __version__
extensions = ["myst_parser"]
exclude_patterns = ["_build", "man"]
myst_heading_anchors = 4
smartquotes = False  # what stands here is typed into a shell
html_theme = "furo"
html_title = f"c2c-agent {release}"
html_show_copyright = False
html_show_sourcelink = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["tables.css"]


def setup(app):
    """Put what is generated into each page."""

    def fill(_app, _page, source):
        source[0] = filled(source[0])

    app.connect("source-read", fill)
