"""Import this module to let Pillow open and save .cae files; see :mod:`nncodec.pillow`."""
# ruff: noqa: N999  # so are plugins of Pillow called

from .pillow import register_cae_opener

register_cae_opener()
