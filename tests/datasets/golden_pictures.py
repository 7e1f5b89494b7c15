"""Golden pictures: files and objects from outside, each beside what must come of it.

Expected pixels are computed with numpy from the levels that were written, never with the package.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

#: 6 x 4 pixels, no two alike and no symmetry.
COLOURS = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
GREYS = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10 + 3
ALPHA = np.tile(np.array([0, 255, 51, 255, 204, 128], dtype=np.uint8), (4, 1))
#: 16 x 16 flat pixels for each pixel: what JPEG keeps to a few levels.
BLOCKS = np.kron(COLOURS, np.ones((16, 16, 1), dtype=np.uint8))
JPEG = {"quality": 100, "subsampling": 0}
DAMAGED = "damaged or truncated picture"
FOREIGN = "which is not a complete PNG, JPEG, WebP or BMP"

TURNED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a),
}


def saved(image, form, **options):
    """Return a picture as the content of a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def oriented(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def grey(levels):
    return np.repeat(np.asarray(levels, dtype=np.uint8)[:, :, None], 3, axis=2)


def over_white(colours, alpha=ALPHA):
    """Lay colours over white, in exact arithmetic."""
    share = alpha[:, :, None] / 255
    return np.rint(colours * share + 255 * (1 - share))


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, rows, *chunks, depth=8, colour=2):
    """Write a PNG by hand: what no writer would write."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


def turns():
    """Yield every orientation, in files with and without loss."""
    for orientation, turn in TURNED.items():
        exif = oriented(orientation)
        flat, blocks = Image.fromarray(COLOURS), Image.fromarray(BLOCKS)
        yield f"PNG turned {orientation}", saved(flat, "PNG", exif=exif), turn(COLOURS), 0
        yield f"JPEG turned {orientation}", saved(blocks, "JPEG", exif=exif, **JPEG), turn(BLOCKS), 6
    webp = saved(flat, "WEBP", lossless=True, exif=oriented(6))
    yield "WebP turned 6", webp, TURNED[6](COLOURS), 0
    for orientation in (0, 9):
        yield f"unknown turn {orientation}", saved(flat, "PNG", exif=oriented(orientation)), COLOURS, 0
    yield "broken EXIF", saved(flat, "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"), COLOURS, 0


def modes():
    """Yield a picture of Pillow's in every mode."""
    colours, greys = Image.fromarray(COLOURS), Image.fromarray(GREYS)
    alpha = Image.fromarray(ALPHA)
    with_alpha, light_alpha = colours.copy(), greys.copy()
    with_alpha.putalpha(alpha)
    light_alpha.putalpha(alpha)
    indexed, palette_alpha = greys.copy().convert("P"), greys.convert("PA")
    indexed.putpalette(COLOURS.reshape(-1, 3).repeat(10, axis=0).tobytes())
    palette_alpha.putalpha(alpha)
    ink = 255 - COLOURS
    by_index = COLOURS.reshape(-1, 3).repeat(10, axis=0)[GREYS]
    black = np.full((4, 6, 1), 51, dtype=np.uint8)
    mild = COLOURS // 2 + 64
    lab = ImageCms.profileToProfile(
        Image.fromarray(mild), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    numbers = GREYS.astype(np.int32)
    yield "1", greys.point(lambda level: 255 * (level > 99), "1"), grey(255 * (GREYS > 99)), 0
    yield "L", greys, grey(GREYS), 0
    yield "LA", light_alpha, over_white(grey(GREYS)), 1
    yield "La", light_alpha.convert("La"), over_white(grey(GREYS)), 2
    yield "P", indexed, by_index, 0
    yield "PA", palette_alpha, over_white(grey(GREYS)), 1
    yield "RGB", colours, COLOURS, 0
    yield "RGBX", colours.convert("RGBX"), COLOURS, 0
    yield "RGBA", with_alpha, over_white(COLOURS), 1
    yield "RGBa", with_alpha.convert("RGBa"), over_white(COLOURS), 2
    yield "I;16", Image.fromarray(GREYS.astype("<u2") * 256 + 255), grey(GREYS), 0
    yield "I;16B", Image.frombytes("I;16B", (6, 4), (GREYS.astype(">u2") * 257).tobytes()), grey(GREYS), 0
    yield "I", Image.fromarray(numbers), grey(GREYS), 0
    yield "F", Image.fromarray(numbers.astype(np.float32) + 0.4), grey(GREYS), 0
    yield "I beyond", Image.fromarray(numbers * 257), "with values from 771 to 59881; expected levels", None
    yield "F of nothing", Image.fromarray(np.full((4, 6), np.nan, np.float32)), "expected levels", None
    cmyk = Image.fromarray(np.concatenate([ink, black], axis=2), mode=None).copy()
    cmyk = Image.frombytes("CMYK", (6, 4), cmyk.tobytes())
    yield "CMYK", cmyk, COLOURS * 0.8, 1
    yield "YCbCr", colours.convert("YCbCr"), COLOURS, 3
    yield "HSV", colours.convert("HSV"), COLOURS, 9
    yield "LAB", lab, mild, 4


def files():
    """Yield files of every format in every mode that it can have."""
    colours, greys, alpha = (Image.fromarray(array) for array in (COLOURS, GREYS, ALPHA))
    with_alpha = colours.copy()
    with_alpha.putalpha(alpha)
    light_alpha = greys.copy()
    light_alpha.putalpha(alpha)
    indexed = greys.convert("P")
    indexed.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    holes = np.where(GREYS == 13, 255, GREYS)
    half = over_white(grey(GREYS), np.where(GREYS == 13, 102, 255))
    some = bytes(102 if level == 13 else 255 for level in range(256))
    yield "PNG 1", saved(greys.point(lambda v: 255 * (v > 99), "1"), "PNG"), grey(255 * (GREYS > 99)), 0
    yield "PNG L", saved(greys, "PNG"), grey(GREYS), 0
    yield "PNG LA", saved(light_alpha, "PNG"), over_white(grey(GREYS)), 1
    yield "PNG P", saved(indexed, "PNG"), grey(GREYS), 0
    yield "PNG P, an entry transparent", saved(indexed, "PNG", transparency=13), grey(holes), 0
    yield "PNG P, an entry half", saved(indexed, "PNG", transparency=some), half, 1
    yield "PNG L, a level transparent", saved(greys, "PNG", transparency=13), grey(holes), 0
    first = tuple(int(v) for v in COLOURS[0, 0])
    white_first = COLOURS.copy()
    white_first[0, 0] = 255
    yield "PNG RGB, a colour transparent", saved(colours, "PNG", transparency=first), white_first, 0
    yield "PNG RGBA", saved(with_alpha, "PNG"), over_white(COLOURS), 1
    wide = b"".join(b"\0" + (row * np.uint16(256) + 9).astype(">u2").tobytes() for row in COLOURS)
    yield "PNG RGB of 16 bits", png(6, 4, wide, depth=16), COLOURS, 0
    yield "PNG grey of 16 bits", saved(Image.fromarray(GREYS.astype("<u2") * 257), "PNG"), grey(GREYS), 0
    blocks = Image.fromarray(BLOCKS)
    yield "JPEG", saved(blocks, "JPEG", **JPEG), BLOCKS, 6
    yield "JPEG progressive", saved(blocks, "JPEG", progressive=True, **JPEG), BLOCKS, 6
    yield "JPEG grey", saved(Image.fromarray(BLOCKS[:, :, 0]), "JPEG", **JPEG), grey(BLOCKS[:, :, 0]), 3
    yield "JPEG CMYK", saved(blocks.convert("CMYK"), "JPEG", quality=100), BLOCKS, 6
    yield "BMP 1", saved(greys.point(lambda v: 255 * (v > 99), "1"), "BMP"), grey(255 * (GREYS > 99)), 0
    yield "BMP L", saved(greys, "BMP"), grey(GREYS), 0
    yield "BMP P", saved(indexed, "BMP"), grey(GREYS), 0
    yield "BMP RGB", saved(colours, "BMP"), COLOURS, 0
    yield "WebP RGB", saved(colours, "WEBP", lossless=True), COLOURS, 0
    yield "WebP RGBA", saved(with_alpha, "WEBP", lossless=True, exact=True), over_white(COLOURS), 1


def odd_ones():
    """Yield what is animated, of odd sizes, cut short, or something else than it says."""
    colours, blocks = Image.fromarray(COLOURS), Image.fromarray(BLOCKS)
    more = {"save_all": True, "append_images": [Image.new("RGB", (6, 4), "red")], "duration": 50}
    yield "animated PNG", saved(colours, "PNG", **more), COLOURS, 0
    yield "animated WebP", saved(colours, "WEBP", lossless=True, **more), COLOURS, 0
    pair = {"save_all": True, "append_images": [Image.new("RGB", (96, 64))]}
    yield "JPEG of two pictures", saved(blocks, "MPO", **pair, **JPEG), BLOCKS, 6
    yield "1 x 1", saved(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"), np.array([[[9, 8, 7]]]), 0
    line = np.arange(50_000).astype(np.uint8)
    yield "50000 x 1", saved(Image.fromarray(line[None]), "PNG"), grey(line[None]), 0
    yield "1 x 50000", saved(Image.fromarray(line[:, None]), "PNG"), grey(line[:, None]), 0
    yield (
        "65536 x 1",
        saved(Image.new("L", (65_536, 1)), "PNG"),
        "65,536 x 1 pixels; expected 1 to 50,000,000",
        None,
    )
    yield "a bomb", png(60_000, 60_000, b""), "too many pixels; expected 1 to 50,000,000 in all", None
    yield "just too large", png(10_000, 5_001, b""), "10,000 x 5,001 pixels; expected 1 to 50,000,000", None
    yield "too many bytes", bytes(32 * 2**20 + 1), "received a file of more than 32 MB", None
    yield "empty", b"", "received an empty file, " + FOREIGN, None
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    for name, options in {
        "PNG": {}, "JPEG": {}, "JPEG progressive": {"progressive": True}, "WEBP": {}, "BMP": {},
    }.items():  # fmt: skip
        whole = saved(noise, name.split()[0], **options)
        yield f"{name} cut in half", whole[: len(whole) // 2], DAMAGED, None
    yield "PNG with a wrong sum", saved(colours, "PNG").replace(b"IDAT\x78", b"IDAT\x79"), DAMAGED, None
    for name in ("GIF", "TIFF", "ICO", "PPM", "EPS", "PDF"):
        yield f"disguised {name}", saved(colours, name), FOREIGN, None
    yield "disguised text", b"<svg xmlns='http://www.w3.org/2000/svg'/>", FOREIGN, None
    yield "disguised pickle", b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c", FOREIGN, None
    head = struct.pack("<2sIIIIiiHHIIiiII", b"BM", 70, 0, 62, 40, 6, 4, 1, 8, 1, 8, 0, 0, 2, 0)
    yield "BMP of runs", head + bytes(8) + b"\x06\x01\0\0" * 4 + b"\0\x01", "a compressed BMP", None
    scans = saved(blocks, "JPEG", progressive=True)
    last = scans[scans.rindex(b"\xff\xda") : -2]
    more_scans = scans[:-2] + 101 * last + scans[-2:]
    yield "JPEG of too many scans", more_scans, "JPEG of more than 100 scans", None
    comment = saved(blocks, "JPEG", comment=b"\xff\xda" * 101, **JPEG)
    yield "JPEG with marks of scans in a comment", comment, BLOCKS, 6
    behind = saved(blocks, "JPEG", **JPEG) + b"\xff\xda\0\2" * 101
    yield "JPEG with something behind it", behind, BLOCKS, 6


GOLDEN = {name: case for made in (turns, modes, files, odd_ones) for name, *case in made()}
