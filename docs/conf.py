"""Sphinx: the site is built from this folder and from the code, offline, and needs no network to be read."""

import hashlib
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE / "_extensions")]

from solo_invariance import __version__  # noqa: E402


def _digest_of_the_package() -> str:
    """Return a hash of the code."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "solo_invariance").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


project = "solo-invariance"
copyright = "the authors of solo-invariance, MIT licence"
version = release = __version__
language = "en"
smartquotes_action = "D"  # dashes alone: quotes and dots are as they are to be typed

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_copybutton",
    "mathml",
    "public_api",
    "generated_reference",
]
exclude_patterns = ["_build", "_extensions", "**/.ipynb_checkpoints"]
nitpicky = True
# Other projects' objects are named, and not linked: that would need their sites.
nitpick_ignore_regex = [("py:.*", r"(?!solo_invariance).*")]

myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
myst_update_mathjax = False
myst_dmath_double_inline = True

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds a cell, on a machine that is busy
nb_execution_show_tb = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False
default_role = "literal"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "solo-invariance"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app: Sphinx) -> None:
    """Read all pages again, and run the notebooks, where the code is another than that of the last build."""
    app.add_config_value("digest_of_the_package", _digest_of_the_package(), "env")
