"""The documentation: `sphinx-build -nW docs docs/_build`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extension"))

import dds

project = "dds"
author = "the dds authors"
copyright = "the dds authors, Apache-2.0"
version = release = dds.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "pieces",
]
exclude_patterns = ["_build", "_extension", "jupyter_execute"]
suppress_warnings = ["mystnb.unknown_mime_type"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # tests/docs/test_notebook.py executes it

default_role = "literal"  # docstrings write `names` as Markdown does
autodoc_default_options = {"show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
nitpick_ignore_regex = [("py:.*", r"(?!dds\.).*")]  # what is not ours is described elsewhere

html_theme = "pydata_sphinx_theme"
html_title = "dds"
html_static_path = ["_static"]
html_css_files = ["dds.css"]
html_theme_options = {
    "navigation_depth": 2,
    "show_toc_level": 2,
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_show_sourcelink = False
