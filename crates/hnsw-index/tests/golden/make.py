#!/usr/bin/env python3
"""Writes v1.txt from the page of the format, without the code that it tests: the bytes of a file of rows that are not zero, sixteen a line."""
import math, struct, zlib

DIMENSION, ROWS = 11, 4096
BITS, CODES = (DIMENSION + 7) // 8, (DIMENSION + 63) // 64 * 64
COLUMNS = [("live", ROWS // 8)] + [(name, size * ROWS) for name, size in (
    ("alpha", 2), ("beta", 2), ("length", 8), ("step", 8), ("owner", 16), ("written", 8), ("signature", 8),
    ("stamp", 8), ("hits", 4), ("checksums", 8), ("bits", BITS), ("codes", CODES))]
offset, at = {}, 0
for name, size in COLUMNS:
    offset[name], at = at, at + (size + 63) // 64 * 64
BLOCK = (at + 4095) // 4096 * 4096

f32 = lambda x: struct.unpack("<f", struct.pack("<f", x))[0]
bits_of = lambda x: struct.unpack("<I", struct.pack("<f", x))[0]
next_up = lambda x: struct.unpack("<f", struct.pack("<I", bits_of(x) + 1))[0]

def fold(values):
    lanes = [0.0] * 8
    for i, v in enumerate(values):
        lanes[i % 8] += v
    a, b, c, d, e, f, g, h = lanes
    return ((a + b) + (c + d)) + ((e + f) + (g + h))

def vector(number):
    return [f32(math.floor((number * 7 + i * i * 3) % 23 - 11) / 4) for i in range(DIMENSION)]

def row(block, place, number, side, hits):
    x = vector(number)
    length = math.sqrt(fold([v * v for v in x]))
    step = next_up(f32(max(map(abs, x)) / length / 127))
    codes = [round(v * (1 / length / step)) for v in x]
    residual = math.sqrt(fold([(v * (1 / length) - c * step) ** 2 for v, c in zip(x, codes)])) + 1e-9
    residual = f32(residual) if f32(residual) >= residual else next_up(f32(residual))
    cosine = fold([abs(v) for v in x]) / length / math.sqrt(DIMENSION)
    alpha = math.floor((cosine - 1e-9) * 65536)
    beta = math.ceil((math.sqrt((1 - alpha / 65536) * (1 + alpha / 65536)) + 1e-9) * 65536)
    signs = sum((math.copysign(1, v) > 0) << i for i, v in enumerate(x)).to_bytes(BITS, "little")
    packed = struct.pack(f"<{DIMENSION}b", *codes).ljust(CODES, b"\0")
    alpha, beta, length = struct.pack("<H", alpha), struct.pack("<H", beta), struct.pack("<d", length)
    step = struct.pack("<2f", step, residual)
    first = zlib.crc32(packed + signs + alpha + beta + step + length)
    second = zlib.crc32(struct.pack("<I", first) + struct.pack("<6Q", *side, place))
    def put(column, value):
        start = offset[column] + place * len(value)
        block[start:start + len(value)] = value
    put("alpha", alpha); put("beta", beta); put("length", length); put("step", step); put("codes", packed)
    put("owner", struct.pack("<2Q", *side[:2])); put("written", struct.pack("<Q", side[2]))
    put("signature", struct.pack("<Q", side[3])); put("stamp", struct.pack("<Q", side[4]))
    put("hits", struct.pack("<I", hits)); put("checksums", struct.pack("<2I", first, second))
    for i, byte in enumerate(signs):
        block[offset["bits"] + place // 64 * 64 * BITS + i * 64 + place % 64] = byte
    block[offset["live"] + place // 8] |= 1 << place % 8

block = bytearray(BLOCK)
for place in range(70):
    row(block, place, place, (place, 2 ** 64 - 1 - place, 1_760_000_000_000 + place, 1 << place % 64, place), place % 3)
header = b"SUTRAROW" + struct.pack("<3IQ", 1, DIMENSION, ROWS, BLOCK)
content = (header + struct.pack("<I", zlib.crc32(header))).ljust(4096, b"\0") + bytes(block)
with open("v1.txt", "w") as out:
    for start in range(0, len(content), 16):
        if any(content[start:start + 16]):
            out.write(f"{start:08x} {content[start:start + 16].hex()}\n")
