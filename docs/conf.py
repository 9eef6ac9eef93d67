"""How `make site` builds the documentation: MyST pages, docstrings, and the programs of examples/.

Everything that the source knows is generated while building (`_ext/`): tables of registries, the
command line, the error index, pages of the API, the tree. Nothing is loaded from the network, while
building or while reading.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

# Idle OpenMP threads that spin make a build on busy cores several times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("MPLBACKEND", "agg")

from pictures import WrittenPictures, empty_folder  # noqa: E402

import convscope  # noqa: E402

project = "convscope"
author = "the convscope authors"
project_copyright = f"{author}, Apache-2.0"
release = version = convscope.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "from_source",
    "docstrings",
    "pictures",
    "snippets",
]
root_doc = "index"
exclude_patterns = ["gallery/*.ipynb", "gallery/*.py", "**/sg_execution_times.rst"]
nitpicky = True
default_role = "py:obj"
suppress_warnings = ["config.cache"]  # The gallery's settings hold classes, which are not cached.

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Source", "returns_style")]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "image_scrapers": (WrittenPictures(),),
    "reset_argv": empty_folder,
    "reset_modules": (),
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "min_reported_time": 0,
    "write_computation_times": False,
    "abort_on_example_error": True,
    "plot_gallery": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "convscope"
html_static_path = ["_static"]
html_css_files = ["convscope.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "show_prev_next": False,
    "navbar_align": "left",
    "navbar_persistent": [],
    "navbar_end": ["search-button-field", "theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": []}
