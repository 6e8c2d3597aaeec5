"""Bits to fewer bits: integer-exact context models and a range coder. Knows nothing of pixels."""
