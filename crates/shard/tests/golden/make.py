"""Writes the fixtures of version 1 from the pages of the formats alone: docs/formats/{meta,segment,wal,frame-body,checkpoint}.md.

    python3 crates/shard/tests/golden/make.py [DIRECTORY]

`v1-mapped.pages` and `v1-anonymous.pages` are data directories after the program in `golden.rs`. A `.pages` file is a row of files, each: name
length (1 byte), name, size (u64), number of pages that are not all zero (u32), and these: page number (u32), length without the zeros at
the end (u16), bytes. All little endian.
"""

import struct
import sys
import zlib
from pathlib import Path

NOW = 1_800_000_000_000
FAR = NOW + 30 * 86_400_000
SEED = 3
MASK = (1 << 64) - 1
PAGE = 4096


def u16(n): return struct.pack("<H", n)
def u32(n): return struct.pack("<I", n)
def u64(n): return struct.pack("<Q", n)
def f32(n): return struct.pack("<f", n)
def text(b): return u32(len(b)) + b


# ---- shard.meta ----

def meta(mapped):
    block = b"SMETA\x01\0\0" + u64(SEED) + bytes([mapped]) + bytes(11)
    block += u32(zlib.crc32(block))
    return b"".join(block.ljust(PAGE, b"\0") for _ in range(3))


# ---- hash of a key ----

def xxh3(key):
    """XXH3-64 of 1 to 3 bytes: its specification's case for inputs of that length."""
    assert 1 <= len(key) <= 3
    combined = key[0] << 16 | key[len(key) >> 1] << 24 | key[-1] | len(key) << 8
    secret = bytes.fromhex("b8fe6c3923a44bbe")
    flip = (int.from_bytes(secret[:4], "little") ^ int.from_bytes(secret[4:], "little")) + SEED
    h = combined ^ flip
    h = (h ^ h >> 33) * 0xC2B2AE3D27D4EB4F & MASK
    h = (h ^ h >> 29) * 0x165667B19E3779F9 & MASK
    return h ^ h >> 32


def stripe_of(key): return xxh3(key) >> 56
def hash_of(key): return xxh3(key) >> 24 & 0xFFFFFFFF


# ---- segments ----

class Segment:
    def __init__(self, number, kind):
        head = b"SUTRASEG" + u32(1) + u32(number) + u64(1) + u64(65536) + bytes([kind, 0]) + bytes(26)
        self.number = number
        self.content = head + u32(zlib.crc32(head))

    def put(self, key, value, expiry=0, cost=None, later_expiry=None):
        """Appends a record; returns location, padded bytes and CRC. `later_expiry`: set by an EXPIRE afterwards."""
        offset = len(self.content)
        location = self.number << 20 | offset // 8
        covered = u32(len(value)) + bytes([2 if cost is not None else 0, len(key)])
        covered += (f32(cost) if cost is not None else b"") + key + value
        crc = zlib.crc32(covered)
        ms = expiry if later_expiry is None else later_expiry
        check = (~((ms ^ location) * 0x9E3779B97F4A7C15) & MASK) >> 48
        record = u64(check << 48 | ms) + u32(crc) + covered
        record += bytes(-len(record) % 8)
        self.content += record
        return location, len(record), crc

    def file(self): return self.content.ljust(65536, b"\0")


# ---- edits ----

def place(db, key, record, expiry=0, old=None, moved=False):
    location, size, crc = record
    flags = (1 if old is not None else 0) | (2 if moved else 0)
    edit = bytes([1, db, stripe_of(key), flags]) + u32(hash_of(key)) + u64(location) + u32(size) + u32(crc) + u64(expiry)
    return edit + (u64(old) if old is not None else b"")


def remove(db, key, location): return bytes([2, db, stripe_of(key), 0]) + u32(hash_of(key)) + u64(location)
def expire(db, key, location, at): return bytes([3, db, stripe_of(key), 0]) + u32(hash_of(key)) + u64(location) + u64(at)
def head(tag, db, key, flags=0): return bytes([tag, db, 0, flags]) + text(key)
def heap_put(db, key, value, expiry=0, cost=1.0): return head(4, db, key) + u64(expiry) + f32(cost) + text(value)
def write_range(db, key, offset, data): return head(5, db, key) + u64(offset) + text(data)


def hash_set(db, key, pairs, keep=False):
    return head(6, db, key, int(keep)) + u64(NOW) + u32(len(pairs)) + b"".join(text(f) + text(v) for f, v in pairs)


def hash_remove(db, key, fields): return head(7, db, key) + u64(NOW) + u32(len(fields)) + b"".join(map(text, fields))


def hash_expire(db, key, at, fields):
    return head(8, db, key) + u64(NOW) + u64(at) + u32(len(fields)) + b"".join(map(text, fields))


def heap_remove(db, key): return head(9, db, key)
def heap_expire(db, key, at): return head(10, db, key) + u64(at)
def flush(db): return bytes([11, db, 0, 0])
def swap(a, b): return bytes([12, a, b, 0])
def key_put(db, key, value, expiry=0, cost=1.0): return head(13, db, key) + u64(expiry) + f32(cost) + text(value)
def key_remove(db, key): return head(14, db, key)
def key_expire(db, key, at): return head(15, db, key) + u64(at)
def hash_expired(db, key, now): return head(16, db, key) + u64(now)
def store_synced(lsn): return bytes([17, 0, 0, 0]) + u64(lsn)


# ---- values on the heap ----

def number(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def pair(name, value, expiry=0):
    return number(len(name) << 1 | (expiry != 0)) + (u64(expiry) if expiry else b"") + name + number(len(value)) + value


def string(value): return b"\x01\x01" + value
def listpack(*pairs): return b"\x01\x02" + number(len(pairs)) + b"".join(pairs)
def listpackex(*pairs): return b"\x01\x03" + number(len(pairs)) + b"".join(pairs)


# ---- the log ----

def log(frames, marks):
    """One file with a salt of its own; `marks[lsn]` is the durable mark that the frame carries (0 before)."""
    salt = 0x5EED5EED
    header = b"SUTRAWAL" + u32(1) + u32(salt) + u64(1) + u64(1) + u64(0) + bytes(20)
    content = header + u32(zlib.crc32(header))
    mark = 0
    for lsn, body in enumerate(frames, 1):
        mark = marks.get(lsn, mark)
        covered = u32(len(body)) + u64(lsn) + u32(lsn - mark) + body
        frame = u32(zlib.crc32(covered, salt)) + covered
        content += frame + bytes(-len(frame) % 8)
    return content.ljust(16384, b"\0")


# ---- checkpoints ----

def slot(key, location, expiry=0, frequency=5, clock=NOW):
    if expiry == 0:
        rough = 0
    else:
        seconds = -(-expiry // 1000)
        rough = 1 if seconds - -(-NOW // 1000) > 6 * 86400 else 2 + seconds % (2**20 - 2)
    word0 = hash_of(key) << 32 | (clock & (1 << 30) - 1) << 2 | 1
    return u64(word0) + u64(location << 28 | rough << 8 | frequency)


def chunk(kind, stripe, db, lsn, body):
    covered = u32(len(body)) + bytes([kind, stripe, db]) + bytes(5) + u64(lsn) + body
    whole = b"SCKP" + u32(1) + u32(zlib.crc32(covered)) + covered
    return whole + bytes(-len(whole) % PAGE)


def checkpoint(lsn, slots, edits):
    """`slots`: (stripe, database) to a list of slots; `edits`: stripe to a list of edits."""
    content, chunks = b"", 0
    for stripe in range(256):
        content += chunk(3, stripe, 0, lsn, b"")
        chunks += 1
        for (_, db), cells in sorted(item for item in slots.items() if item[0][0] == stripe):
            content += chunk(1, stripe, db, lsn, b"".join(sorted(cells, key=lambda cell: cell[4:8][::-1])))
            chunks += 1
        if stripe in edits:
            content += chunk(2, stripe, 0, lsn, b"".join(edits[stripe]))
            chunks += 1
    return content + chunk(4, 0, 0, chunks, b"")


# ---- the program ----

def on_the_heap_before():
    """Edits of heap values up to the checkpoint: the same with mapped and with anonymous memory."""
    return [
        heap_put(0, b"h", listpack()) + hash_set(0, b"h", [(b"f", b"v"), (b"g", b"w")]),
        hash_set(0, b"h", [(b"f", b"x")], keep=True),
        hash_expire(0, b"h", NOW + 5000, [b"f"]),
        hash_remove(0, b"h", [b"g"]),
        heap_expire(0, b"h", NOW + 9000),
        heap_put(1, b"h2", listpackex(pair(b"f", b"x", NOW + 5000)), NOW + 9000),
        heap_put(0, b"big", string(b"")) + write_range(0, b"big", 5000, b"end"),
        write_range(0, b"big", 3, b"mid"),
    ]


BIG = bytes(3) + b"mid" + bytes(4994) + b"end"


def heap_image():
    edits = {}
    for key, edit in [
        (b"h", heap_put(0, b"h", listpackex(pair(b"f", b"x", NOW + 5000)), NOW + 9000)),
        (b"h2", heap_put(1, b"h2", listpackex(pair(b"f", b"x", NOW + 5000)), NOW + 9000)),
        (b"big", heap_put(0, b"big", string(BIG))),
    ]:
        edits.setdefault(stripe_of(key), []).append(edit)
    return edits


def mapped():
    plain, short = Segment(1, 0), Segment(2, 1)
    one = plain.put(b"k1", b"one")
    two = short.put(b"k2", b"two", NOW + 60_000, 0.5, later_expiry=NOW + 60_000)
    far = Segment(3, 3)
    three = far.put(b"k3", b"three", FAR)
    frames = [
        place(0, b"k1", one),
        place(3, b"k2", two, NOW + 60_000),
        place(0, b"k3", three, FAR),
        *on_the_heap_before(),
    ]
    frames.append(store_synced(len(frames)))
    lsn = len(frames) - 1
    slots = {
        (stripe_of(b"k1"), 0): [slot(b"k1", one[0])],
        (stripe_of(b"k2"), 3): [slot(b"k2", two[0], NOW + 60_000)],
        (stripe_of(b"k3"), 0): [slot(b"k3", three[0], FAR)],
    }
    uno = plain.put(b"k1", b"uno", later_expiry=NOW + 30_000)
    four = plain.put(b"k4", b"four")
    frames += [
        place(0, b"k1", uno, old=one[0]),
        expire(0, b"k1", uno[0], NOW + 30_000),
        remove(0, b"k3", three[0]),
        heap_remove(1, b"h2"),
        place(5, b"k4", four),
        flush(3),
        swap(0, 5),
    ]
    program = len(frames)
    # What a merge and a tick write, which the program does not do.
    moved = Segment(4, 0).put(b"k4", b"four")
    third = Segment(4, 0)
    third.put(b"k4", b"four")
    frames += [place(0, b"k4", moved, old=four[0], moved=True), hash_expired(5, b"h", NOW + 5000)]
    files = {
        "shard.meta": meta(True),
        "0000000000000001.wal": log(frames, {lsn + 2: lsn}),
        f"checkpoint-{lsn:020}": checkpoint(lsn, slots, heap_image()),
        "00001.seg": plain.file(),
        "00002.seg": short.file(),
        "00003.seg": far.file(),
        "00004.seg": third.file(),
    }
    return files, program


def anonymous():
    frames = [
        key_put(0, b"k1", b"one"),
        key_put(3, b"k2", b"two", NOW + 60_000, 0.5),
        key_put(0, b"k3", b"three", FAR),
        *on_the_heap_before(),
    ]
    lsn = len(frames)
    edits = heap_image()
    for key, edit in [
        (b"k1", key_put(0, b"k1", b"one")),
        (b"k2", key_put(3, b"k2", b"two", NOW + 60_000, 0.5)),
        (b"k3", key_put(0, b"k3", b"three", FAR)),
    ]:
        edits.setdefault(stripe_of(key), []).append(edit)
    frames += [
        key_put(0, b"k1", b"uno"),
        key_expire(0, b"k1", NOW + 30_000),
        key_remove(0, b"k3"),
        heap_remove(1, b"h2"),
        key_put(5, b"k4", b"four"),
        flush(3),
        swap(0, 5),
    ]
    program = len(frames)
    frames += [hash_expired(5, b"h", NOW + 5000)]
    files = {
        "shard.meta": meta(False),
        "0000000000000001.wal": log(frames, {lsn + 1: lsn}),
        f"checkpoint-{lsn:020}": checkpoint(lsn, {}, edits),
    }
    return files, program


def pages(files):
    out = b""
    for name, content in files.items():
        assert len(content) % PAGE == 0, name
        cut = [(n, content[n * PAGE:(n + 1) * PAGE].rstrip(b"\0")) for n in range(len(content) // PAGE)]
        cut = [(n, page) for n, page in cut if page]
        out += bytes([len(name)]) + name.encode() + u64(len(content)) + u32(len(cut))
        out += b"".join(u32(n) + u16(len(page)) + page for n, page in cut)
    return out


if __name__ == "__main__":
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    for kind, made in [("mapped", mapped()), ("anonymous", anonymous())]:
        files, program = made
        (directory / f"v1-{kind}.pages").write_bytes(pages(files))
        print(f"{kind}: {program} frames of the program")
