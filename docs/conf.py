"""Settings of Sphinx, which makes the API reference from the docstrings; see bin/docs."""

import nncodec

project = "nncodec"
release = nncodec.__version__
extensions = ["sphinx.ext.autodoc"]
html_theme_options = {"description": "A neural image codec"}
html_show_copyright = False
add_module_names = False
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80

# Every name that is referred to must be there, but for those of other projects and of types that
# are told by what they stand for.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(numpy|PIL|torch|collections|os|np|_?io)\b.*")]
