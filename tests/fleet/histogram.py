"""Reads the distributions in `results.json`: HdrHistograms in the V2 compressed format, base64."""

import base64
import math
import struct
import zlib

V2_COMPRESSED = 0x1C849304
V2 = 0x1C849303
COOKIE_BITS = ~0xF0  # the second half byte is the size of a word, which V2 does not use
HEADER = struct.Struct(">iiiiqqd")  # cookie, bytes of counts, offset, significant digits, lowest, highest, ratio


def decode(text):
    """The pairs (upper end of a bucket, count), in ascending order, of the buckets that are not empty."""
    packed = base64.b64decode(text)
    cookie, length = struct.unpack_from(">ii", packed)
    if cookie & COOKIE_BITS != V2_COMPRESSED & COOKIE_BITS:
        raise ValueError(f"no compressed HdrHistogram V2: its cookie is {cookie:#x}")
    plain = zlib.decompress(packed[8:8 + length])
    cookie, length, _, digits, lowest, _, _ = HEADER.unpack_from(plain)
    if cookie & COOKIE_BITS != V2 & COOKIE_BITS:
        raise ValueError(f"no HdrHistogram V2: its cookie is {cookie:#x}")
    layout = Layout(digits, lowest)
    index, found = 0, []
    for value in numbers(plain[HEADER.size:HEADER.size + length]):
        if value < 0:
            index -= value
        else:
            if value:
                found.append((layout.upper_end(index), value))
            index += 1
    return found


class Layout:
    """Which values are counted at an index."""

    def __init__(self, digits, lowest):
        self.unit = int(math.log2(lowest)) if lowest > 1 else 0
        self.half_bits = math.ceil(math.log2(2 * 10 ** digits)) - 1

    def upper_end(self, index):
        half = 1 << self.half_bits
        bucket = (index >> self.half_bits) - 1
        within = (index & (half - 1)) + half
        if bucket < 0:
            bucket, within = 0, within - half
        return ((within + 1) << (bucket + self.unit)) - 1


def numbers(data):
    """ZigZag LEB128 of 64 bits, whose ninth byte is whole."""
    position = 0
    while position < len(data):
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte if shift == 56 else byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 56:
                break
        yield (value >> 1) ^ -(value & 1)


def within(histogram, limit):
    """How many values are not above the limit."""
    return sum(count for end, count in histogram if end <= limit)


def total(histogram):
    return sum(count for _, count in histogram)
