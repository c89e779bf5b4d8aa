"""Picture files that lie, and honest ones of rare kinds, each made by code: the list of reference/faults.md (4.4)."""

from __future__ import annotations

import io
import os
import socket
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

WHITE, RED = (255, 255, 255), (255, 0, 0)
FINE = ""                      # no error: the picture is read


def noise(width: int = 40, height: int = 32) -> Image.Image:
    draw = np.random.default_rng(0)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png(*chunks: tuple[bytes, bytes], width: int = 8, height: int = 8, data: bytes | None = None) -> bytes:
    """Eight-bit grey, with chunks before its data."""
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixels = zlib.compress(bytes((width + 1) * height)) if data is None else data
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
            + b"".join(chunk(*given) for given in chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def bmp(width: int, height: int) -> bytes:
    """A header that promises."""
    data = bytearray(saved(Image.new("RGB", (1, 1)), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


def gif(width: int, height: int, later: bytes = b"") -> bytes:
    """A frame of 2x2 on a screen of that size, and other frames."""
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 2, 2, 0) + b"\x02\x03\x84\x0f\x05\x00"
    return (b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + frame + later + b";")


def tiff(entries: list[tuple[int, int, int, int]], next_directory: int = 0) -> bytes:
    """A directory of (tag, type, count, value) at byte 8."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", next_directory)


def contents() -> Iterator[tuple[str, bytes, str]]:
    """(name, bytes, code of the error or FINE; "image_" for any)"""
    image = noise()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 8

    # Bombs: refused by their header, before a pixel is decoded.
    yield "60000 x 60000.bmp", bmp(60000, 60000), "image_too_large"
    yield "13000 x 13000.bmp", bmp(13000, 13000), "image_too_large"
    yield "8400 x 8400.bmp", bmp(8400, 8400), "image_too_large"
    yield "negative.bmp", bmp(-20000, -20000), "image_"
    yield "50000 x 50000.png", png(width=50000, height=50000, data=zlib.compress(b"")), "image_too_large"
    yield "65535 x 65535.gif", gif(65535, 65535), "image_too_large"
    yield "2 to the 31.ppm", b"P6 2147483647 2147483647 255\n", "image_"
    large = tiff([(256, 4, 1, 100000), (257, 4, 1, 100000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
                  (273, 4, 1, 8), (277, 3, 1, 1), (279, 4, 1, 9)])
    yield "100000 x 100000.tif", large, "image_too_large"
    later = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\0"
    yield "bomb in a later frame.gif", gif(2, 2, later), FINE
    yield "text that unpacks to 1 GB.png", png((b"zTXt", b"k\0\0" + zlib.compress(bytes(2**27)))), "image_"
    yield "profile that unpacks to 1 GB.png", png((b"iCCP", b"k\0\0" + zlib.compress(bytes(2**27)))), "image_"
    yield "data that unpacks to more.png", png(data=zlib.compress(bytes(2**27))), FINE
    yield "20,000 chunks of text.png", png(*[(b"tEXt", b"k\0v")] * 20_000), FINE

    # Shapes.
    yield "1 x 1.png", png(width=1, height=1), FINE
    yield "20000 x 10.png", saved(Image.new("L", (20000, 10)), "PNG"), "image_aspect"
    yield "10 x 20000.png", saved(Image.new("L", (10, 20000)), "PNG"), "image_aspect"
    yield "65500 x 1.jpg", saved(Image.new("L", (65500, 1)), "JPEG"), "image_aspect"
    yield "0 x 0.png", png(width=0, height=0), "image_"

    # Cut off, and damaged.
    for format in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000"):
        data = saved(image, format)
        yield f"half.{format.lower()}", data[: len(data) // 2], "image_"
    yield "only a signature.png", b"\x89PNG\r\n\x1a\n", "image_"
    yield "wrong checksum.png", saved(image, "PNG")[:40] + b"\xff\xff\xff\xff" + saved(image, "PNG")[44:], "image_"
    yield "directory that leads to itself.tif", tiff([(256, 3, 1, 8)], next_directory=8), "image_"
    yield "huge counts.tif", tiff([(256, 3, 2**32 - 1, 8), (257, 3, 2**31, 8), (273, 4, 2**32 - 1, 8)]), "image_"

    # Kinds.
    yield "cmyk.jpg", saved(image.convert("CMYK"), "JPEG"), FINE
    yield "cmyk.tif", saved(image.convert("CMYK"), "TIFF"), FINE
    yield "16 bit.png", saved(Image.fromarray(np.full((20, 20), 30000, np.uint16)), "PNG"), FINE
    yield "16 bit colour.png", saved(image, "PNG")[:24] + saved(image, "PNG")[24:], FINE
    yield "float.tif", saved(Image.fromarray(np.ones((20, 20), np.float32)), "TIFF"), "image_mode"
    yield "32 bit.tif", saved(Image.fromarray(np.ones((20, 20), np.int32)), "TIFF"), "image_mode"
    yield "palette with transparency.png", saved(image.convert("P"), "PNG", transparency=bytes(range(256))), FINE
    yield "grey and alpha.png", saved(image.convert("LA"), "PNG"), FINE
    yield "all transparent.png", saved(Image.new("RGBA", (20, 20), (1, 2, 3, 0)), "PNG"), FINE
    yield "black and white.tif", saved(image.convert("1"), "TIFF", compression="group4"), FINE
    yield "lying on its side.jpg", saved(image, "JPEG", exif=exif), FINE
    yield "damaged exif.png", saved(image, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"), FINE
    yield "damaged exif.jpg", saved(image, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), FINE
    yield "damaged profile.png", saved(image, "PNG", icc_profile=profile[:200]), FINE
    yield "nonsense profile.jpg", saved(image, "JPEG", icc_profile=b"\xff" * 5000), FINE
    for format in ("GIF", "PNG", "WEBP", "TIFF"):
        frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, WHITE)]
        yield f"animated.{format.lower()}", saved(frames[0], format, save_all=True, append_images=frames[1:]), FINE

    # Something else under the name; some of these start programs when they are opened without care.
    yield "eps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n", "image_format"
    yield "svg.png", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", "image_format"
    yield "pdf.png", saved(image, "PDF"), "image_format"
    yield "ico.png", saved(image, "ICO"), "image_format"
    yield "page.png", b"<!DOCTYPE html><html></html>", "image_format"
    yield "empty.png", b"", "image_format"
    yield "zeros.png", bytes(4096), "image_format"
    yield "text.png", b"not a picture", "image_format"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as inside:
        inside.writestr("../../x.png", b"")
    yield "zip.png", archive.getvalue(), "image_format"
    yield "TIFF under another name.png", saved(image, "TIFF"), FINE

    # Names.
    for name in ("with space", "emoji 🎬", "new\nline", "-x", "%d", "e\u0301", "\u202egpj", "\x1b[2J", "a" * 240):
        yield f"{name}.png", saved(image, "PNG"), FINE


def write(folder: Path) -> list[tuple[str, str]]:
    """(path, code) of every file, and of what is none. Close to nothing of it takes room on the disk."""
    folder.mkdir()
    cases = []
    for name, data, code in contents():
        (folder / name).write_bytes(data)
        cases.append((str(folder / name), code))
    os.mkfifo(folder / "pipe.png")
    with (folder / "10 GB.png").open("wb") as file:
        file.truncate(10 * 2**30)
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "nowhere.png").symlink_to("absent")
    (folder / "zero.png").symlink_to("/dev/zero")
    cases += [(str(folder / "pipe.png"), "image_not_a_file"), (str(folder / "10 GB.png"), "image_too_large"),
              (str(folder / "loop.png"), "image_not_found"), (str(folder / "nowhere.png"), "image_not_found"),
              (str(folder / "zero.png"), "image_not_a_file"), ("/dev/zero", "image_not_a_file"),
              (str(folder), "image_not_a_file"), (str(folder / "absent.png"), "image_not_found"),
              ("nul\0.png", "image_not_found"), ("x" * 5000, "image_not_found"), ("", "image_missing"),
              ("https://example.org/a.png", "image_not_found"), ("file:///etc/hostname", "image_not_found")]
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{short}/s")       # such a path has 100 bytes at most
        Path(short, "s").rename(folder / "socket.png")
    return [*cases, (str(folder / "socket.png"), "image_not_a_file")]
