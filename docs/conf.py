"""How Sphinx makes a site of these pages: ``make docs``."""

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


def setup(app):
    """Let Sphinx show CSV as it is: Pygments has no lexer for it."""
    from pygments.lexers.special import TextLexer

    app.add_lexer("csv", TextLexer)
