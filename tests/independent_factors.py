"""The factors of model 5's filter, read as FORMAT.md, section 4, says; no code of the package."""


def factors(params: tuple[int, ...]) -> list[int]:
    """What all params of a file say of its filter. ValueError if they cannot say so."""
    packed = params[2:]
    if packed and (packed[-1] == 0 or max(packed) >= 2**28):
        raise ValueError("params that nobody writes")
    digits = "".join(format(param, "028b")[::-1] for param in packed).rstrip("0")
    found = []
    while digits:
        n = digits.index("1")
        number = int("1" + digits[n + 1 : 2 * n + 1].ljust(n, "0")[::-1], 2)
        digits = digits[2 * n + 1 :]
        found.append(number // 2 if number % 2 == 0 else -(number // 2))
    if found and found[-1] == 0:
        raise ValueError("a last factor of 0")
    if len(found) > 64 or any(abs(factor) > 63 for factor in found):
        raise ValueError("factors beyond their bounds")
    return found
