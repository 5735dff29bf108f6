"""Reading images from folders, zips and arrays: order, batches of one size, memory, and what is refused."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.errors import InputError
from lit.metrics.image.files import batches, open_images


def picture(seed: int, height: int = 8, width: int = 10) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def everything(path: Path, size: int = 3) -> list[np.ndarray]:
    """All images (3, H, W) in their sorted order."""
    found: dict[int, np.ndarray] = {}
    for positions, images in batches(open_images(path), size):
        assert images.dtype == torch.uint8
        assert len(positions) == len(images) <= size
        found.update(zip(positions, images.numpy()))
    return [found[position] for position in range(len(found))]


def same(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    return len(found) == len(expected) and all(np.array_equal(a, b.transpose(2, 0, 1)) for a, b in zip(found, expected))


def test_folder_is_read_recursively_in_sorted_order(tmp_path: Path) -> None:
    names = ["b.png", "a/z.PNG", "a/b/c.png", "c.webp", "a.png"]
    for seed, name in enumerate(names):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(seed), "WEBP" if name.endswith("webp") else "PNG", lossless=True))
    for name in ("notes.txt", ".hidden.png", "__MACOSX/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    order = [names.index(name) for name in sorted(names)]
    assert len(open_images(tmp_path)) == 5
    assert same(everything(tmp_path), [picture(seed) for seed in order])


def test_zip_is_read_in_sorted_order(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for seed, name in ((0, "y/2.png"), (1, "y/1.png"), (2, "x.png")):
            archive.writestr(name, encoded(picture(seed)))
        archive.writestr("__MACOSX/._x.png", b"resource fork")
    assert same(everything(path), [picture(2), picture(1), picture(0)])


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_of_either_layout(tmp_path: Path, save: Callable[..., None], channels_first: bool) -> None:
    stack = np.stack([picture(seed) for seed in range(7)])
    path = tmp_path / "set.npz"
    save(path, stack.transpose(0, 3, 1, 2).copy() if channels_first else stack, labels=np.arange(7))
    assert same(everything(path), list(stack))


def test_memory_does_not_grow_with_the_set(tmp_path: Path) -> None:
    """200 images of 48 kB in an npz, and as many in a folder, pass through batches of 4 within 2 MB."""
    stack = np.zeros((200, 128, 128, 3), np.uint8)
    np.savez_compressed(tmp_path / "set.npz", stack)
    folder = tmp_path / "folder"
    folder.mkdir()
    for index in range(200):
        (folder / f"{index}.png").write_bytes(encoded(stack[0]))
    for path in (tmp_path / "set.npz", folder):
        tracemalloc.start()
        assert sum(len(positions) for positions, _ in batches(open_images(path), 4)) == 200
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2e6 < stack.nbytes


def test_sizes_are_grouped_and_waiting_is_bounded(tmp_path: Path) -> None:
    sizes = [(8, 10), (9, 9), (10, 8)]
    expected = [picture(k, *sizes[k % 3]) for k in range(14)]
    for k, image in enumerate(expected):
        (tmp_path / f"{k:02d}.png").write_bytes(encoded(image))
    assert same(everything(tmp_path, 4), expected)
    many = [picture(k, 3 + k, 5) for k in range(30)]  # every image has its own size
    for k, image in enumerate(many):
        (tmp_path / f"{k:02d}.png").write_bytes(encoded(image))
    taken: list[int] = []

    class Counted:
        """Notes what is read."""

        path = tmp_path

        def __len__(self) -> int:
            return len(source)

        def __iter__(self) -> Iterator[np.ndarray]:
            for image in source:
                taken.append(1)
                yield image

    source = open_images(tmp_path)
    for index, _ in enumerate(batches(Counted(), 2), 1):
        assert len(taken) - index < 8
    assert index == 30


def test_grey_palette_and_opaque_alpha_become_rgb(tmp_path: Path) -> None:
    colour = Image.fromarray(picture(0))
    grey = colour.convert("L")
    for name, image in {
        "0": grey,
        "1": colour.quantize(16),
        "2": colour.convert("RGBA"),
        "3": grey.convert("LA"),
        "4": grey.point(lambda v: 255 * (v > 99)).convert("1"),
    }.items():
        (tmp_path / f"{name}.png").write_bytes(encoded(image))
        expected = np.asarray(image.convert("RGB"))
        assert np.array_equal(everything(tmp_path)[int(name)], expected.transpose(2, 0, 1))


def test_names_and_bytes_must_agree(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(picture(0), "JPEG"))
    with pytest.raises(InputError, match=r"a.png: .*JPEG bytes in a file named .png"):
        everything(tmp_path)


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (truncated(encoded(picture(0, 99, 99))), "cannot be read"),
        (truncated(encoded(picture(0, 99, 99), "JPEG")), "truncated"),
        (b"", "not an image"),
        (b"GIF89a", "not an image"),
        (encoded(Image.fromarray(picture(0)).convert("RGBA").rotate(45)), "transparent pixels; composite"),
        (encoded(Image.fromarray(picture(0)).quantize(8), transparency=0), "transparent pixels"),
        (encoded(Image.fromarray(np.zeros((4, 4), np.uint16))), "mode I;16, expected 8-bit"),
        (encoded(Image.fromarray(picture(0)).convert("CMYK"), "JPEG"), "mode CMYK"),
    ],
)
def test_broken_and_unusable_images_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.png").write_bytes(encoded(picture(0)))
    name = "bad.jpg" if content.startswith(b"\xff\xd8") else "bad.png"
    (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(name, content)
    for path in (tmp_path, tmp_path / "set.zip"):
        with pytest.raises(InputError, match=f"{name}: .*{says}") as caught:
            everything(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"arr_0": np.zeros((2, 4, 4, 3), np.float32)}, "arr_0 is float32; expected uint8"),
        ({"arr_0": np.zeros((2, 4, 4, 4), np.uint8)}, r"shape \(2, 4, 4, 4\)"),
        ({"arr_0": np.zeros((2, 3, 4, 3), np.uint8)}, r"expected \(N, H, W, 3\) or"),
        ({"arr_0": np.asfortranarray(np.zeros((2, 4, 4, 3), np.uint8))}, "Fortran"),
        ({"arr_0": np.zeros((0, 4, 4, 3), np.uint8)}, "holds no images"),
        ({"a": np.zeros((1, 4, 4, 3), np.uint8), "b": np.zeros((1, 4, 4, 3), np.uint8)}, "expected images in one"),
        ({"features": np.zeros((3, 4))}, r"holds features \(3, 4\)"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path: Path, arrays: dict, says: str) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(InputError, match=says):
        everything(tmp_path / "set.npz")


def test_missing_empty_and_broken_sets(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("")
    for name in ("broken.npz", "broken.zip"):
        (tmp_path / name).write_bytes(b"PK nothing")
    np.savez(tmp_path / "pickled.npz", arr_0=np.array([{}], dtype=object))
    for name, says in {
        "none": "no such folder",
        "empty": "holds no images",
        "a.txt": r"expected a folder, \.zip or \.npz",
        "broken.npz": "cannot be read",
        "broken.zip": "cannot be read",
        "pickled.npz": "object",
    }.items():
        with pytest.raises(InputError, match=says):
            open_images(tmp_path / name)
