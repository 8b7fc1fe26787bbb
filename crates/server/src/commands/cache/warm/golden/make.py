"""Writes v1.blob from docs/formats/warm.md, so that page and code are checked against each other."""

import struct
from pathlib import Path


def crc64(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x95AC9329AC4BC9B5 if crc & 1 else crc >> 1
    return crc


def text(data, length="<H"):
    return struct.pack(length, len(data)) + data


# The check value of Redis.
assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA

# Version 1, cosine, cascade, guarding numbers; two dimensions.
space = bytes([1, 0, 0, 1]) + struct.pack("<I", 2) + text(b"docs", "<I") + text(b"builtin:m", "<I")
key, value, vector = b"answer:1", b"forty-two", struct.pack("<ff", 3, 4)
tags, sources = [b"user:1", b"doc:2"], [(b"doc:2", 7)]
facts, meta = bytes([1, 0, 0, 0, 0, 0, 0]), b'{"model":"m"}'

blob = b"SCWE" + bytes([1, 1 + 2 + 4, 0, 1])
blob += struct.pack("<QQQf", 1_800_000_000_000, 1_800_000_060_000, 1_799_999_999_000, 0.25)
blob += struct.pack("<HHHH", len(tags), len(sources), len(facts), len(space))
blob += struct.pack("<IIII", len(key), len(value), len(vector), len(meta))
assert len(blob) == 60
blob += key + value + space + vector
blob += b"".join(text(tag) for tag in tags)
blob += b"".join(text(name) + struct.pack("<Q", version) for name, version in sources)
blob += facts + meta
blob += struct.pack("<Q", crc64(blob))
Path(__file__).with_name("v1.blob").write_bytes(blob)
