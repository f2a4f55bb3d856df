"""How Sphinx makes a site of these pages: ``make docs``."""

import re

from docutils import nodes
from sphinx.addnodes import index
from sphinx.transforms import SphinxTransform

from airflow_provider_leen import __version__

project = "airflow-provider-leen"
author = "The authors of airflow-provider-leen"
copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"airflow-provider-leen {release}"
html_show_sphinx = False

# One argument a line, where they are many.
python_maximum_signature_line_length = 100
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
autodoc_inherit_docstrings = False


class StatusesInTitles(SphinxTransform):
    """Index the HTTP statuses that titles name, such as 429: the site's search skips numbers elsewhere."""

    default_priority = 500

    def apply(self):
        """Put the entries where the domains collect them later."""
        for section in self.document.findall(nodes.section):
            statuses = re.findall(r"\b[1-5]\d\d\b", section.next_node(nodes.title).astext())
            if statuses and "benchmarks" not in self.env.docname:
                section.insert(1, index(entries=[("single", each, section["ids"][0], "", None) for each in statuses]))


def setup(app):
    """Index statuses, and let Sphinx show CSV as it is: Pygments has no lexer for it."""
    from pygments.lexers.special import TextLexer

    app.add_lexer("csv", TextLexer)
    app.add_transform(StatusesInTitles)
