"""Images: whole and as their names say, or refused in one line, before anything large is decoded."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules.errors import InputError
from datamodules.image_bytes import image_facts
from datamodules.images import image_size, read_image, read_photograph, write_image

EXIF = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"  # orientation 3


@pytest.fixture
def picture() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return cv2.resize(noise, (64, 48), interpolation=cv2.INTER_CUBIC)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def refused(path: Path, data: bytes, flags: int = cv2.IMREAD_COLOR_RGB) -> str:
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_image(path, flags)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture)[1].tobytes()


def test_damaged_rows_of_a_jpeg_are_refused(tmp_path: Path, picture: np.ndarray, capfd: pytest.CaptureFixture) -> None:
    whole = jpeg(picture)
    (tmp_path / "a.jpg").write_bytes(whole)
    assert read_image(tmp_path / "a.jpg").shape == (3, 48, 64)
    start = whole.index(b"\xff\xda") + 20
    middle = (start + len(whole)) // 2
    assert "damaged rows" in refused(tmp_path / "a.jpg", whole[:middle] + b"\xff\xd9")
    assert "damaged rows" in refused(tmp_path / "a.jpg", whole[:middle] + bytes(80) + whole[middle + 80 :])
    assert "cut short" in refused(tmp_path / "a.jpg", whole[:middle])
    assert "Corrupt" not in capfd.readouterr().err  # said once, in the error


def test_damaged_chunks_of_a_png_are_refused_before_memory_is_taken(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "a.png"
    write_image(path, picture.transpose(2, 0, 1))
    whole = path.read_bytes()
    assert image_size(path) == (48, 64)
    place = whole.index(b"IDAT") - 4
    assert "chunk of 4294967295" in refused(path, whole[:place] + b"\xff" * 4 + whole[place + 4 :])
    flipped = whole[: place + 60] + bytes([whole[place + 60] ^ 1]) + whole[place + 61 :]
    assert "differs from its checksum" in refused(path, flipped)
    huge = whole[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)) + whole[33:]
    assert "damaged" in refused(path, huge)
    frame = jpeg(picture)
    start = frame.index(b"\xff\xc0")
    with pytest.raises(ValueError, match="65500 x 65500 pixels"):
        image_facts(frame[: start + 5] + struct.pack(">HH", 65500, 65500) + frame[start + 9 :])


def test_turned_pictures_are_refused(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "a.png"
    write_image(path, picture.transpose(2, 0, 1))
    whole = path.read_bytes()
    assert "EXIF orientation 3" in refused(path, whole[:33] + chunk(b"eXIf", EXIF) + whole[33:])
    data, exif = jpeg(picture), b"Exif\0\0" + EXIF
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert "EXIF orientation 3" in refused(tmp_path / "a.jpg", turned)
    (tmp_path / "a.jpeg").write_bytes(turned)
    with pytest.raises(InputError, match="EXIF orientation 3"):
        read_image(tmp_path / "a.jpeg")
    (tmp_path / "stored.jpg").write_bytes(data)  # the same rows without the tag
    stored = read_image(tmp_path / "stored.jpg")
    np.testing.assert_array_equal(
        read_photograph(tmp_path / "a.jpeg"), stored[:, ::-1, ::-1]
    )  # no calibration: upright
    upright = turned.replace(EXIF, EXIF.replace(b"\0\x03\0\0\0\0\0\0", b"\0\x01\0\0\0\0\0\0"))
    (tmp_path / "a.jpg").write_bytes(upright)
    assert read_image(tmp_path / "a.jpg").shape == (3, 48, 64)


def test_names_and_bytes_agree(tmp_path: Path, picture: np.ndarray) -> None:
    assert "JPEG bytes in a file named .png; convert it to PNG" in refused(tmp_path / "a.png", jpeg(picture))
    assert read_photograph(tmp_path / "a.png").shape == (3, 48, 64)
    assert "no PNG or JPEG" in refused(tmp_path / "a.png", b"GIF89a" + bytes(40))
    (tmp_path / "a.jpg").write_bytes(jpeg(picture)[:500])
    for name, said in (("a.png", "no PNG or JPEG"), ("a.jpg", "cut short")):
        with pytest.raises(InputError, match=said):
            read_photograph(tmp_path / name)


def test_palettes_are_no_values(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + bytes([0, 1]) for _ in range(2))
    head = b"\x89PNG\r\n\x1a\n"
    for bits, colour, said in ((8, 3, "numbers of a palette"), (4, 0, "4 bits a pixel")):
        size = chunk(b"IHDR", struct.pack(">IIBBBBB", 2 if bits == 8 else 4, 2, bits, colour, 0, 0, 0))
        palette = chunk(b"PLTE", bytes([0, 0, 0, 9, 9, 9])) if colour == 3 else b""
        data = head + size + palette + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        assert said in refused(tmp_path / "a.png", data, cv2.IMREAD_UNCHANGED)
