"""Pictures that are made to be slow or large: all of them are to be refused, at once and in a sentence."""

import struct
import zlib

from golden_pictures import BLOCKS, chunk, saved
from PIL import Image

MOST = 32 * 2**20
PNG = b"\x89PNG\r\n\x1a\n"
BEYOND = "expected at most"
DAMAGED = "damaged JPEG"
FOREIGN = "which is not a complete PNG, JPEG, WebP or BMP"
EMPTY = "which is no photograph"


def filled(head, piece, end=b"", most=MOST):
    """Repeat a piece until a file is as large as is allowed."""
    return head + piece * ((most - len(head) - len(end)) // len(piece)) + end


def segment(code, data=b""):
    return bytes([0xFF, code]) + struct.pack(">H", len(data) + 2) + data


def frame(width, height, components=3):
    return segment(0xC2, struct.pack(">BHHB", 8, height, width, components) + b"\1\x11\0" * components)


def progressive(times, size):
    """Repeat the last scan of a progressive JPEG."""
    whole = saved(Image.new("L", size, 90), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * times + whole[-2:]


def header(width, height, depth=8, colour=2, interlaced=0):
    return PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def zeros(count):
    """Deflate many zeros, by repeating what a million of them become."""
    deflate = zlib.compressobj(9)
    first = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    times = count // 2**20 + 1
    return first[:2] + first[2:] * times + b"\3\0" + struct.pack(">HH", times * 2**20 % 65_521, 1)


def png_bomb(width, height, depth, channels, colour, interlaced=0):
    pixels = zeros((width * channels * depth // 8 + 8) * height)
    return header(width, height, depth, colour, interlaced) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def many_frames():
    small = zlib.compress(bytes(4))
    control = struct.pack(">IIIIIHHBB", 0, 1, 1, 0, 0, 1, 1, 0, 0)
    head = header(1, 1) + chunk(b"acTL", struct.pack(">II", 2**20, 0))
    whole = head + chunk(b"fcTL", control) + chunk(b"IDAT", small)
    return filled(whole, chunk(b"fcTL", control) + chunk(b"fdAT", b"\0\0\0\1" + small), chunk(b"IEND", b""))


def riff(*chunks):
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_chunk(kind, data):
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def webp_frames():
    still = saved(Image.new("RGB", (2, 2)), "WEBP", lossless=True)[12:]
    frame = webp_chunk(b"ANMF", bytes(16) + still)
    canvas = webp_chunk(b"VP8X", b"\2\0\0\0\1\0\0\1\0\0") + webp_chunk(b"ANIM", bytes(6))
    return riff(filled(canvas, frame, most=MOST - 12))


def webp_nothing():
    canvas = webp_chunk(b"VP8X", b"\0\0\0\0\1\0\0\1\0\0")
    return riff(filled(canvas, webp_chunk(b"none", b""), most=MOST - 12))


def bmp(width, height, bits, compression, pixels):
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(pixels), 0, 0, 2, 0)
    return struct.pack("<2sIII", b"BM", 62 + len(pixels), 0, 62) + head + bytes(8) + pixels


def tiff_loop():
    """Two directories that name each other, and a long chain behind them."""
    entry = struct.pack("<HHHII", 1, 0x100, 4, 1, 1)
    loop = entry + struct.pack("<I", 26) + entry + struct.pack("<I", 8)
    return filled(b"II*\0\x08\0\0\0", loop)


SOI = b"\xff\xd8"
SCANNED = saved(Image.fromarray(BLOCKS), "JPEG")
WHOLE_PNG = saved(Image.fromarray(BLOCKS), "PNG")
TEXT = b"a\0b"
#: 7,000 x 7,000 pixels of black, lossless.
FLAT_WEBP = "524946461a000000574542505650384c0e0000002f57dbd506071011fd0f4444ff03"

HOSTILE = {
    "JPEG of empty segments": (lambda: filled(SOI, segment(0xE5)), BEYOND),
    "JPEG of empty comments": (lambda: filled(SOI, segment(0xFE), SCANNED[2:]), BEYOND),
    "JPEG that ends before its segments": (lambda: filled(SOI + b"\xff\xd9", segment(0xE5)), BEYOND),
    "JPEG of segments behind a scan": (lambda: filled(SCANNED[:-2], segment(0xE5), b"\xff\xd9"), BEYOND),
    "JPEG of junk": (lambda: filled(SOI + segment(0xE5), b"\0", SCANNED[2:]), DAMAGED),
    "JPEG of fill bytes": (lambda: filled(SOI, b"\xff", SCANNED[2:]), DAMAGED),
    "JPEG of restarts": (lambda: filled(SOI, b"\xff\xd0", SCANNED[2:]), DAMAGED),
    "JPEG of ends": (lambda: filled(SOI, b"\xff\xd9", SCANNED[2:]), DAMAGED),
    "JPEG with segments in an unknown one": (
        lambda: filled(SOI, segment(0xF0, segment(0xE5) * 16_383)),
        DAMAGED,
    ),
    "JPEG of full comments": (lambda: filled(SOI, segment(0xFE, bytes(65_533)), SCANNED[2:]), BEYOND),
    "JPEG of small pieces of EXIF": (
        lambda: filled(SOI, segment(0xE1, b"Exif\0\0" + bytes(410)), SCANNED[2:], most=8 * 2**20),
        BEYOND,
    ),
    "JPEG of large pieces of EXIF": (
        lambda: filled(SOI, segment(0xE1, b"Exif\0\0" + bytes(65_000)), SCANNED[2:]),
        BEYOND,
    ),
    "JPEG of Photoshop blocks": (
        lambda: filled(SOI, segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\0" * 5_000), SCANNED[2:]),
        BEYOND,
    ),
    "JPEG of profiles": (
        lambda: filled(SOI, segment(0xE2, b"ICC_PROFILE\0\1\xff" + bytes(65_000)), SCANNED[2:]),
        BEYOND,
    ),
    "JPEG of tables": (lambda: filled(SOI, segment(0xDB, bytes(65) * 1000), SCANNED[2:]), BEYOND),
    "JPEG of many components": (
        lambda: filled(SOI, segment(0xC0, b"\x08\0\1\0\1\3" + bytes(65_520)), SCANNED[2:]),
        DAMAGED,
    ),
    "JPEG of many frames": (lambda: filled(SOI, frame(8, 8), SCANNED[2:]), DAMAGED),
    "JPEG of 101 scans": (lambda: progressive(101, (64, 64)), BEYOND),
    "large JPEG of 60 scans": (lambda: progressive(60, (5000, 5000)), BEYOND),
    "JPEG of two pictures and segments": (
        lambda: filled(SOI, segment(0xE2, b"MPF\0"), SCANNED[2:]),
        BEYOND,
    ),
    "JPEG that is nearly all missing": (
        lambda: SOI + frame(7000, 7000) + segment(0xDA, b"\3\1\0\2\0\3\0\0\0\0") + bytes(1000),
        EMPTY,
    ),
    "PNG of private chunks": (lambda: filled(header(1, 1), chunk(b"prVt", b"")), BEYOND),
    "PNG of texts": (lambda: filled(header(1, 1), chunk(b"tEXt", TEXT), WHOLE_PNG[8:]), BEYOND),
    "PNG of texts behind its pixels": (
        lambda: filled(WHOLE_PNG[:-12], chunk(b"tEXt", TEXT), WHOLE_PNG[-12:]),
        BEYOND,
    ),
    "PNG of one long text": (
        lambda: header(1, 1) + chunk(b"tEXt", TEXT * 10 * 2**20) + WHOLE_PNG[33:],
        BEYOND,
    ),
    "PNG of empty pieces of pixels": (lambda: filled(header(1, 1), chunk(b"IDAT", b"")), BEYOND),
    "PNG of many frames": (many_frames, BEYOND),
    "PNG of 49 million colours": (lambda: png_bomb(7000, 7000, 8, 3, 2), EMPTY),
    "PNG of 49 million with alpha": (lambda: png_bomb(7000, 7000, 8, 4, 6), EMPTY),
    "interlaced PNG of 16 bits": (lambda: png_bomb(7000, 7000, 8, 4, 6, 1), EMPTY),
    "PNG of one bit": (lambda: png_bomb(7000, 7000, 1, 1, 0), EMPTY),
    "PNG of 3.6 thousand million": (
        lambda: header(60_000, 60_000) + chunk(b"IDAT", zeros(2**25)),
        "too many pixels",
    ),
    "WebP of frames": (webp_frames, BEYOND),
    "WebP of nothing": (webp_nothing, BEYOND),
    "WebP of 49 million": (lambda: bytes.fromhex(FLAT_WEBP), EMPTY),
    "BMP of runs": (lambda: bmp(7000, 7000, 8, 1, b"\xff\0" * 200_000), "compressed BMP"),
    "BMP that is nearly all missing": (lambda: bmp(7000, 7000, 24, 0, bytes(1000)), EMPTY),
    "GIF of empty blocks": (lambda: filled(b"GIF89a\1\0\1\0\0\0\0", b"!\xfe\1 \0"), FOREIGN),
    "TIFF of a loop of directories": (tiff_loop, FOREIGN),
    "PNM of comments": (lambda: filled(b"P6\n", b"#\n"), FOREIGN),
    "ICO of many": (lambda: filled(b"\0\0\1\0\xff\xff", bytes(16)), FOREIGN),
    "zeros": (lambda: bytes(MOST), FOREIGN),
}
