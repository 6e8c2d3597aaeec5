"""The .cae container, version 1: its specification and its public names.

Numbers are little-endian; a *varint* is an unsigned LEB128 number below 2^32 in its shortest form.
A file is a signature, a version, and chunks:

    signature   8 bytes   89 43 41 45 0D 0A 1A 0A  ("\\x89CAE\\r\\n\\x1a\\n")
    version     u8        1
    chunks                H, then c x m A and unknown optional ones in any order, then D..., then E
    tail        u32       size of the whole E chunk, so that it is found from the end of the file

    chunk
        kind      u8       an ASCII letter; upper case: a reader that does not know it must stop;
                           lower case: optional, a reader that does not know it skips it
        length    varint   of the body
        body
        checksum  u32      CRC-32 (that of zlib) of n as u32, kind, length and body, where n is
                           the number of chunks of this kind before it in the file (so no two can
                           be exchanged, and no A or D can be lost unseen)

    H  header
        width, height      varint   pixels, 1..2^24 each, together at most 2^32
        patch              u8       side of a patch in units of 8 pixels, 1..255
        pad top, pad left  varint   pixels added there, each less than a patch; bottom and right
                                    are what is then missing to whole patches; model 5 has 0, 0
        pad mode           u8       0 edge, 1 reflect, 2 zeros
        colour             u8       low 4 bits: 0 grey, 1 grey + alpha, 2 RGB, 3 RGB + alpha;
                                    high 4 bits, samples of the source: 0 8 bits, 1 16 bits
        model              varint   a number of `MODEL_NUMBERS`, or 0 and then the id itself:
                                    varint length, 1..64 characters of a-z 0-9 _ . -
        fingerprint        8 bytes  the first of the SHA-256 of the weights file
        channels           varint   of the latent, 1..4096
        side               varint   latent positions along a patch, 1..128
        segment rows       varint   patches in a segment, vertically, 1..4096
        segment columns    varint   ... horizontally, 1..4096
        planes             varint   passes over all segments, 1..64: the stages of model 5
        params             varint   their number, 0..16, then as many varints for the model's use;
                                    models 1..4 have one if segments may be context coded: the
                                    first 14 bits of the SHA-256 of the context model's file;
                                    model 5 has two: its step is 2^(first / 128) 8-bit levels,
                                    and the second is the last plane of bits that was sent; the
                                    first is below 2048, the second and the stages at most 13
                                    together; those that follow are the factors by which its
                                    filter varies, see `write_factors` in stages.py

    at most 64 optional chunks, each of at most 16 MiB; known are
    c  ICC profile     each at most once; copied, never parsed
    x  EXIF            a TIFF header and what follows, without a leading "Exif\\0\\0"
    m  XMP             an XML packet

    A  alpha: as many as the header implies, if the colour has alpha; each is a strip of whole
       rows, as many as fit 4 MiB and at least one, from top to bottom
        coding             u8       1 zstd; 2 zstd of each value's difference to its left
                                    neighbour; 3 zstd of the differences (as in 2) of each value's
                                    difference to the one above; modulo 256, outside the strip is 0
        payload                     of width * rows bytes

    D  data: for each plane, each segment in raster order; number k is plane k div n, segment
       k mod n of the n segments that the header implies, at most 2^20 chunks in all
        coding             u8       0 raw, 1 zstd, 2 context (if there are params, and for at most
                                    2^20 pixels, padding included)
        payload                     of the segment's bits: its patches (a tile of segment rows x
                                    segment columns of the grid, clipped at the grid's edge) in
                                    raster order, each (channels, side, side) in C order; bit 1 is
                                    +1, bit 0 is -1; the most significant bit of a byte first, the
                                    last byte filled up with zeros; at most 2^24 bytes

    E  end
        count              varint   number of D chunks
        sizes              varints  size of each whole D chunk; the last ends where E begins

*zstd* stands for the blocks of one zstandard frame without checksum (RFC 8878), the frame header
left out: its only content would be the size, which is known. To inflate, prepend 28 B5 2F FD A0 and
the size as u32. Blocks must inflate to just that size, and nothing may follow them. A payload of
what has n bytes may itself have n + n div 128 + 64, and where there are params 64 times that.

*context* stands for the bytes of a range coder, which may be none at all. The bits are those of the
segment's latent as a whole, its patches side by side; in which order they are coded and with which
probabilities, the context model says: see codec/entropy/context.py, and coder.py for the bytes.
Model 5 always does so: see codec/entropy/planes.py. Its latent ends with the picture: positions of
16 x 16 pixels that hold none of it are not coded. The first of its stages alone are a file, too,
with as many more in the second parameter as are missing.

A reader checks a chunk before it uses it, refuses a number outside its bounds before it allocates
or loops, and reads to the end: whatever follows, is missing or has another order is an error.
"""

from __future__ import annotations

from .header import Header, Pad, Tile
from .index import read_index
from .layout import (
    METADATA_KINDS,
    MODEL_NUMBERS,
    SIGNATURE,
    VERSION,
    AlphaCoding,
    Coding,
    Colour,
    PadMode,
)
from .parts import AlphaStrip, Segment
from .reader import Reader
from .writer import Writer

__all__ = [
    "METADATA_KINDS",
    "MODEL_NUMBERS",
    "SIGNATURE",
    "VERSION",
    "AlphaCoding",
    "AlphaStrip",
    "Coding",
    "Colour",
    "Header",
    "Pad",
    "PadMode",
    "Reader",
    "Segment",
    "Tile",
    "Writer",
    "read_index",
]
