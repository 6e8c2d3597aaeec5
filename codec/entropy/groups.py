"""Bits that are hardly ever 1, tested in groups: whether there is any 1, and where only if so.

Most elements are all but certain to stay zero in a plane, and the range coder takes as long for
such a bit as for any other (group testing of wavelet coefficients: Hong & Ladner 2002). A group's
chance is the sum of its members', so that this halves the decisions and costs 0.03 to 0.09 % of a
file.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .coder import ONE, Bits, Chances, Coder

RARE = 256  # chances out of 2^16 below which bits are tested in groups
GROUP = 32  # members at most

T = TypeVar("T", np.bool_, np.uint16)


def code_rare(coder: Coder, chances: Chances, bits: Bits) -> NDArray[np.intp]:
    """Code rare ``bits`` (n,), each being 1 with its chance (n,); returns which are 1.

    Of g groups, bit i is in group i mod g. DamagedChunk if a group that has a 1 has none.
    """
    each, wanted = grouped(chances), grouped(bits)
    total = each.sum(0, dtype=np.uint16)
    hit = np.flatnonzero(coder.code(total, np.any(wanted, 0)))
    members = each[:, hit].astype(np.uint32)
    real = members > 0  # not what the groups are filled up with
    shares = np.minimum(members * ONE // total[hit], ONE - 1).astype(np.uint16)
    found = np.zeros(real.shape, np.bool_)
    found[real] = coder.code(shares[real], wanted[:, hit][real])
    if not found.any(0).all():
        raise coder.damage()
    rows, columns = np.nonzero(found)
    ones: NDArray[np.intp] = rows * len(total) + hit[columns]
    return ones


def grouped(values: NDArray[T]) -> NDArray[T]:
    """Values (n,) as the columns of (GROUP, groups), filled up with zeros."""
    groups = -(-len(values) // GROUP)
    filled = np.zeros(GROUP * groups, values.dtype)
    filled[: len(values)] = values
    return filled.reshape(GROUP, groups)
