"""Makes vectors.f32: 128 unit vectors of dimension 384, little-endian f32, from a fixed seed."""

import array
import math
import pathlib
import random
import sys

ROWS, DIMENSION = 128, 384


def rows():
    generator = random.Random(20251121)
    for _ in range(ROWS):
        row = [generator.gauss(0, 1) for _ in range(DIMENSION)]
        norm = math.sqrt(sum(number * number for number in row))
        yield array.array("f", (number / norm for number in row))


def main():
    with open(pathlib.Path(__file__).parent / "vectors.f32", "wb") as file:
        for row in rows():
            if sys.byteorder == "big":
                row.byteswap()
            row.tofile(file)


if __name__ == "__main__":
    main()
