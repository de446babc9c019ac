"""Bytes and seconds as people read them."""

GIB, MIB = 1 << 30, 1 << 20


def to_gib(number: float) -> str:
    """
    >>> to_gib(3 * MIB), to_gib(1.5 * GIB)
    ('3 MiB', '1.5 GiB')
    """
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / MIB:.0f} MiB"


def to_duration(seconds: float) -> str:
    """
    >>> to_duration(42.2), to_duration(754), to_duration(9000)
    ('42 s', '13 min', '2.5 h')
    """
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
