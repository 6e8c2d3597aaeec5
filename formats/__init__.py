"""Bytes to structures and back: the .cae container and image files. Knows no model, no torch.

`cae` is the container and its specification, `bits` and `alpha` what its chunks carry, `images` the
pictures on either side, `files` output that appears whole or not at all.
"""
