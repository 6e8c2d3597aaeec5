"""Measure nncodec and other codecs on images: rate, distortion, speed; tables, plots, pictures."""
