import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from dds.data.files import image_size, read_image, read_lines, read_text, read_values, to_picture
from dds.errors import InputError

STORED_TURNS = {
    1: lambda shown: shown,
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.swapaxes(0, 1),
    6: lambda shown: np.rot90(shown, 1),
    7: lambda shown: np.rot90(shown, 2).swapaxes(0, 1),
    8: lambda shown: np.rot90(shown, -1),
}
"""From what a picture shows to how its pixels are stored, by EXIF's number of the orientation."""


def save_turned(path, shown, orientation):
    """Write a picture that EXIF turns into what is to be shown."""
    stored = Image.fromarray(np.ascontiguousarray(STORED_TURNS[orientation](shown)))
    exif = stored.getexif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    stored.save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


def corner(height=24, width=32):
    """A black picture whose upper left quarter is white."""
    shown = np.zeros((height, width, 3), np.uint8)
    shown[: height // 2, : width // 2] = 255
    return shown


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", STORED_TURNS)
def test_a_picture_is_read_as_it_is_shown(tmp_path, orientation, suffix):
    shown = corner()
    path = save_turned(tmp_path / f"image.{suffix}", shown, orientation)
    image = read_image(path)
    assert image_size(path) == image.shape[1:] == (24, 32)
    assert (image.int() - torch.from_numpy(shown).permute(2, 0, 1)).abs().float().mean() < 3


RED, HIDDEN = (200, 10, 0), (200, 10, 0, 0)


def paletted(**options):
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, *RED])
    return image, RED, {"suffix": "png", **options}


KINDS = {
    "grey": lambda: (Image.new("L", (3, 2), 9), (9, 9, 9), {"suffix": "png"}),
    "grey with alpha": lambda: (Image.new("LA", (3, 2), (9, 0)), (9, 9, 9), {"suffix": "png"}),
    "black or white": lambda: (Image.new("1", (3, 2), 1), (255, 255, 255), {"suffix": "png"}),
    "palette": paletted,
    "palette with a transparent colour": lambda: paletted(transparency=1),
    "alpha": lambda: (Image.new("RGBA", (3, 2), HIDDEN), RED, {"suffix": "png"}),
    "alpha in TIFF": lambda: (Image.new("RGBA", (3, 2), HIDDEN), RED, {"suffix": "tiff"}),
    "CMYK": lambda: (Image.new("CMYK", (3, 2), (55, 245, 255, 0)), RED, {"suffix": "tiff"}),
    "CMYK of print": lambda: (
        Image.new("CMYK", (3, 2), (55, 245, 255, 0)),
        RED,
        {"suffix": "jpg", "quality": 100},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_every_kind_become_rgb(tmp_path, kind):
    image, colour, options = KINDS[kind]()
    path = tmp_path / f"image.{options.pop('suffix')}"
    image.save(path, **options)
    for pixels in (read_image(path), to_picture(image, "it")):
        assert (pixels.dtype, pixels.shape) == (torch.uint8, (3, 2, 3))
        assert (pixels.flatten(1).T.int() - torch.tensor(colour)).abs().max() <= 2 * (path.suffix == ".jpg")


def test_a_damaged_note_on_a_whole_picture(tmp_path):
    stored = Image.fromarray(corner())
    stored.save(tmp_path / "image.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff damaged")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_image(tmp_path / "image.jpg").shape == (3, 24, 32)
        assert image_size(tmp_path / "image.jpg") == (24, 32)


VALUES = np.arange(12).reshape(3, 4)


@pytest.mark.parametrize(
    ("kind", "suffix", "options"),
    [
        ("uint8", "png", {}),
        ("uint8", "bmp", {}),
        ("uint8", "pgm", {}),
        ("uint8", "tiff", {"compression": "tiff_lzw"}),
        ("uint16", "png", {}),
        ("uint16", "pgm", {}),
        ("uint16", "tiff", {"compression": "tiff_lzw"}),
        ("int32", "tiff", {}),
        ("float32", "tiff", {}),
        ("float32", "pfm", {}),
    ],
)
def test_values_are_those_that_are_stored(tmp_path, kind, suffix, options):
    values = (VALUES * (5000 if kind != "uint8" else 20)).astype(kind)
    path = tmp_path / f"values.{suffix}"
    Image.fromarray(values).save(path, "PPM" if suffix in ("pgm", "pfm") else None, **options)
    assert read_values(path)[0].double().tolist() == values.tolist()


def test_values_of_the_other_byte_order(tmp_path):
    values = (VALUES * 5000).astype(">u2")
    tags = {256: 4, 257: 3, 258: 16, 259: 1, 262: 1, 273: 134, 277: 1, 278: 3, 279: 24, 339: 1}
    entries = b"".join(struct.pack(">HHII", number, 4, 1, value) for number, value in tags.items())
    head = b"MM\0*\0\0\0\x08" + len(tags).to_bytes(2, "big") + entries + bytes(4)
    (tmp_path / "big.tiff").write_bytes(head + values.tobytes())
    assert read_values(tmp_path / "big.tiff")[0].int().tolist() == values.tolist()


def write_four_bits(path):
    """Write a grey PNG of half bytes, which Pillow before 13 cannot."""
    height, width = VALUES.shape
    halves = VALUES.astype(np.uint8) % 16
    rows = b"".join(b"\0" + row.tobytes() for row in halves[:, ::2] << 4 | halves[:, 1::2])
    header = struct.pack(">IIBBBBB", width, height, 4, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    (path / "values.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path / "values.png"


def write_one_bit(path):
    Image.fromarray(VALUES > 5).save(path / "values.png")
    return path / "values.png"


def write_jpeg(path):
    Image.fromarray(VALUES.astype(np.uint8)).save(path / "values.jpg")
    return path / "values.jpg"


def write_white_is_zero(path):
    Image.fromarray(VALUES.astype(np.uint8)).save(path / "values.tiff", tiffinfo={262: 0})
    return path / "values.tiff"


def write_another_maximum(path):
    (path / "values.pgm").write_bytes(b"P5\n2 1\n10000\n" + np.array([1000, 2000], ">u2").tobytes())
    return path / "values.pgm"


def write_palette(path):
    image = Image.fromarray(VALUES.astype(np.uint8), mode="P")
    image.putpalette(list(range(36)))
    image.save(path / "values.png")
    return path / "values.png"


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (write_four_bits, "fewer than 8 bits"),
        (write_one_bit, "fewer than 8 bits"),
        (write_jpeg, "its compression has changed"),
        (write_white_is_zero, "inverted"),
        (write_another_maximum, "from 0 to 10000, which readers scale"),
        (write_palette, "colours of a palette"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_values_that_a_reader_would_change_are_refused(tmp_path, write, words):
    path = write(tmp_path)
    with pytest.raises(InputError, match=rf"{path.name} holds .*{words}.*Write it again"):
        read_values(path)


def test_values_are_turned_as_their_pictures_are(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(VALUES.astype(np.uint16)).save(tmp_path / "values.png", exif=exif)
    assert read_values(tmp_path / "values.png")[0].int().tolist() == np.rot90(VALUES, -1).tolist()


def test_a_note_behind_the_pixels_is_read(tmp_path):
    """PNG may hold EXIF after the pixels; a size that then differs is found when the image is read."""
    exif = Image.Exif()
    exif[0x0112] = 6
    note = b"eXIf" + exif.tobytes()[6:]
    chunk = (len(note) - 4).to_bytes(4, "big") + note + zlib.crc32(note).to_bytes(4, "big")
    Image.fromarray(corner()).save(tmp_path / "late.png")
    content = (tmp_path / "late.png").read_bytes()
    (tmp_path / "late.png").write_bytes(content[:-12] + chunk + content[-12:])
    assert read_image(tmp_path / "late.png").shape == (3, 32, 24)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1"])
def test_lists_in_any_usual_encoding(tmp_path, encoding):
    (tmp_path / "list.txt").write_bytes("zwölf.jpg\r\n\r\n été.jpg\n".encode(encoding))
    assert read_lines(tmp_path / "list.txt") == ["zwölf.jpg", "été.jpg"]


@pytest.mark.parametrize("content", [b"\xff\xfea", b"\x89PNG\r\n\x1a\n\0", "a".encode("utf-16-le")])
def test_what_is_no_text(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"list\.txt is no text in UTF-8, UTF-16 or"):
        read_text(tmp_path / "list.txt")
