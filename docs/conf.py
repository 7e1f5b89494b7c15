"""Settings of the documentation. Build it with ``python -m sphinx -W docs docs/_build``.

The built pages ask no other server for anything: no fonts, scripts or mathematics from elsewhere.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
sys.path.insert(0, str(Path(__file__).parents[1]))

import skinmnist

project = "skinmnist"
author = "The skinmnist developers"
project_copyright = f"2026, {author}"
release = version = skinmnist.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "cli_reference",
    "figure_tables",
    "notebook_page",
    "root_pages",
]
exclude_patterns = ["_build", "_ext", "_static", "_templates"]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
# Methods that scikit-learn adds, with links into its own glossary.
autodoc_default_options = {"exclude-members": "set_fit_request, set_score_request"}
autodoc_typehints = "none"  # numpydoc's sections say what a parameter takes, in words.
numpydoc_class_members_toctree = False
numpydoc_show_inherited_class_members = False
numpydoc_xref_param_type = False

templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_title = f"skinmnist {release}"
html_static_path = ["_static"]
html_css_files = ["skinmnist.css"]
# Pages without pages below them have no column for these.
html_sidebars = {name: [] for name in ("index", "getting_started", "first_steps", "reading_a_report")}
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "logo": {"text": "skinmnist"},
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 5,
    "navbar_align": "left",
    "show_toc_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc"], "results": []},  # Its tables need the room.
    "footer_start": ["copyright"],
    "footer_end": [],
    "navigation_with_keys": False,
}
