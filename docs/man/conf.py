"""How Sphinx makes the man pages: sphinx-build -b man docs/man OUT."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from docs.tables import filled

project = "c2c-agent"
author = "the c2c-agent developers"
extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
root_doc = "c2c-agent.8"
exclude_patterns = ["_build"]
smartquotes = False  # what stands here is typed into a shell
man_pages = [
    ("c2c-agent.8", "c2c-agent", "click-to-call agent beside Asterisk", [author], 8),
    ("c2c-agent.yml.5", "c2c-agent.yml", "configuration of c2c-agent", [author], 5),
]
man_show_urls = True


def setup(app):
    """Put what is generated into each page."""

    def fill(_app, _page, source):
        source[0] = filled(source[0])

    app.connect("source-read", fill)
