# Copyright: Cloudwatt, Orange
# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration of the documentation site: see scripts/docs-site, which `make docs-site` runs."""

import re

project = "Socle"
author = "Cloudwatt, Orange"
project_copyright = author

extensions = ["myst_parser", "sphinx_antsibull_ext", "sphinxcontrib.mermaid"]
exclude_patterns = ["README.md", "collections/*.rst", "collections/cloudwatt/index.rst"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
# Diagrams are drawn when the site is built: the pages load nothing from the net.
mermaid_output_format = "svg"
mermaid_cmd = "mmdr"
antsibull_ext_color_scheme = "none"  # site.css has the colours
# Links of antsibull-docs to pages of Ansible's own documentation, and to other collections.
nitpick_ignore_regex = [
    ("std:ref", "action_plugins|callback_plugins|common_return_values|list_of_collections"),
    ("std:ref", r"ansible_collections\.(?!cloudwatt\.socle\.).*"),
]

html_theme = "furo"
html_title = "Socle"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_use_index = False
# A page that is opened as a file cannot read the other pages, from which the summaries would come.
html_show_search_summary = False

# The theme has the contents of a page at its side; the note explains an installation from Galaxy.
LEFT_OUT = re.compile(r"^\.\. (?:contents::|Collection note\n\n\.\. note::)\n(?: .*\n|\n)*", re.MULTILINE)
ENTRY = re.compile(r"^    ((\w+)_(?:module|role|filter|lookup|callback|vars))$", re.MULTILINE)

DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IN_A_BOX = r"""````{container} diagram
```mermaid
%%{init: {"theme": "neutral"}}%%
\1```
````"""


def edit(_app, name, source):
    """Fit the pages of antsibull-docs to the theme, and let wide diagrams be scrolled."""
    if name.startswith("collections/"):
        source[0] = LEFT_OUT.sub("", source[0])
        source[0] = ENTRY.sub(r"    \2 <\1>", source[0])
    source[0] = DIAGRAM.sub(IN_A_BOX, source[0])


def setup(app):
    app.connect("source-read", edit)
