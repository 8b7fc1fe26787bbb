"""Writes v1-annex.seg from docs/formats/segment.md alone, so that the page and the code are checked against each other.

    python3 make.py

It holds what the records of tests/golden.rs with an annex should give. Fixtures are never edited; a new layout adds one.
"""

import struct
import zlib
from pathlib import Path

SEGMENT, CAPACITY = 1, 65536


def u32(number):
    return struct.pack("<I", number)


def header():
    head = b"SUTRASEG" + u32(1) + u32(SEGMENT) + struct.pack("<QQ", 1, CAPACITY) + bytes(28)
    return head + u32(zlib.crc32(head))


def expiry_word(offset, milliseconds):
    location = SEGMENT << 20 | offset // 8
    product = (milliseconds ^ location) * 0x9E3779B97F4A7C15 % 2**64
    check = (product ^ (2**64 - 1)) >> 48
    return struct.pack("<Q", check << 48 | milliseconds)


def record(offset, key, annex, value, milliseconds=0, cost=None):
    is_long = len(key) > 255
    flags = is_long | (cost is not None) << 1 | (annex is not None) << 2
    covered = u32(len(value)) + bytes([flags])
    covered += u32(len(key)) if is_long else bytes([len(key)])
    covered += b"" if cost is None else struct.pack("<f", cost)
    covered += b"" if annex is None else u32(len(annex))
    covered += key + (annex or b"") + value
    whole = expiry_word(offset, milliseconds) + u32(zlib.crc32(covered)) + covered
    return whole + bytes(-len(whole) % 8)


RECORDS = [
    (b"key", b"annex", b"value"),
    (b"empty", b"", b"value"),
    (b"expires", b"soon", b"", 1_760_000_000_123),
    (b"costs", bytes([0xA7]) * 300, b"\xee" * 21, 0, 0.125),
    (b"k" * 256, b"long key", b"v"),
    (b"K" * 256, b"everything", b"value", 2**48 - 1, 1e9),
    (b"plain", None, b"behind"),
]

content = header()
for it in RECORDS:
    print(len(content), end=" ")
    content += record(len(content), *it)
print(f"of {len(content)}")
Path(__file__).with_name("v1-annex.seg").write_bytes(content)
