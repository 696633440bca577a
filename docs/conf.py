"""Settings of the documentation site: ``make docs`` builds it.

The repository's root is the source folder, so that a page's relative links are the same
in the site and in the repository, also those to the notebooks and the README.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs/_ext")]

from sphinx.util.inspect import TypeAliasForwardRef  # noqa: E402

import ractd_jax  # noqa: E402

project = "ractd_jax"
version = release = ractd_jax.__version__
project_copyright = "the authors of ractd_jax, MIT license"

extensions = [
    # Markdown pages (MyST), and notebooks.
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    # docs/_ext: links to files of the repository.
    "repository_links",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "notebooks/**",
    "README.md",
    "benchmarks/foreign.md",
    "ractd_jax/policies/README.md",
]
# The first ones hold nothing to read, and thousands of files to look at.
exclude_patterns = [
    ".*",
    "runs",
    "build",
    "dist",
    "tests",
    "docs/_build",
    "**/.ipynb_checkpoints",
]

# Notebooks show the outputs that they are stored with.
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "amsmath"]
# GitHub's anchors of headings.
myst_heading_anchors = 4
# A signature's `$` in a table is no mathematics.
myst_dmath_allow_labels = False

autodoc_member_order = "bysource"
autodoc_default_options = {"show-inheritance": True}
autodoc_typehints_format = "short"
# Defaults as the source has them: functions and arrays by name.
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_display_short_literal_types = True
napoleon_use_ivar = True
# The signature has the types.
napoleon_attr_annotations = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
# `name` in a docstring is a link where the reference has that name, else code.
default_role = "py:obj"
# Blocks without a language are commands, tables and drawings.
highlight_language = "text"
# Signatures name types of functions (docs/reference/types.md), not what they stand for.
autodoc_type_aliases = {
    "jax.typing.ArrayLike": "jax.typing.ArrayLike",
    "jax.Array": "jax.Array",
    **{
        name: f"ractd_jax.{module}.{name}"
        for module, names in {
            "diffusion.preconditioning": ("DenoiseFn", "NetworkFn"),
            "diffusion.guidance": (
                "Condition",
                "ConditionedDenoiseFn",
                "Guidance",
                "PinFn",
            ),
            "diffusion.ddpm": ("DdpmCleanFn",),
            "losses.distances": ("DistanceFn",),
            "losses.student": ("CleanFn", "PlanReturnFn"),
            "student.jump": ("JumpFn",),
            "methods.denoisers": ("DenoiserNetwork",),
            "planning.controllers": ("ControllerFn",),
            "data.readers": ("ReadFn",),
            "tasks.base": ("BlockedFn",),
            "normalizers": ("Normalizer",),
        }.items()
        for name in names
    },
}

# Inside of another type Sphinx 9 shows an alias as TypeAliasForwardRef('name').
TypeAliasForwardRef.__repr__ = lambda alias: alias.name

# Strict (-n) about references inside the package. Those to other libraries lead
# nowhere, as nothing is fetched; names in backticks, what a module keeps to itself and
# names that only type checkers import need not.
nitpick_ignore_regex = [
    ("py:obj", ".*"),
    (
        "py:class",
        r"(jax|numpy|np|flax|gymnasium|collections|contextlib|os|pathlib|typing)\..*",
    ),
    ("py:class", r"(losses\.)?[A-Z]\w*"),
    (
        "py:class",
        r"ractd_jax\.(settings|networks\.packing|diffusion\.preconditioning)\..*",
    ),
    ("py:class", r"ractd_jax\.methods\.\w+\.(\w*Draws|DiscretePolicy|NoiseMLP)"),
]

# Furo: one dependency, no script to load, a dark variant; wide tables scroll.
html_theme = "furo"
html_title = f"ractd_jax {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
# The index of the site's root leads to the first page.
html_extra_path = ["_root"]
html_copy_source = False
html_show_sphinx = False


def skip_fields(app, what, name, obj, skip, options):
    """Fields of named tuples: the class's text says what they are."""
    return True if type(obj).__name__ == "_tuplegetter" else None


# Types that ractd_jax/__init__.py imports for type checkers only.
LATE = {"Planner": "ractd_jax.planning.Planner", "Policy": "ractd_jax.policy.Policy"}


def name_late_types(app, what, name, obj, options, signature, returns):
    """Gives the return types of `ractd_jax.load_planner` and others their full name."""
    if name.count(".") == 1 and returns in LATE:
        return signature, LATE[returns]
    return None


def setup(app):
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("autodoc-process-signature", name_late_types)
