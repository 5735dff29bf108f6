"""G3DR's first stage on tiny random weights: trained, drawn from, written as files; LDM3D's weights in its place."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

pytest.importorskip("diffusers")

from datamodules.errors import InputError
from datamodules.objects.photos.depth_images import DepthImages, FolderPhotos, photo_paths
from datamodules.objects.photos.photo import PhotoBatch, collate_photos
from lit.callbacks.image_samples import ImageSamples
from lit.features.pretrained import build_clip
from lit.generators.dst.text_encoder import build_text_encoder
from lit.generators.dst.tokenizer import prompt_words, word_tokenizer
from lit.generators.rgbd.autoencoder import RgbdAutoencoder
from lit.generators.rgbd.conditions import ClipCondition
from lit.generators.rgbd.diffusion import RgbdDiffusion
from lit.generators.rgbd.ldm3d import Ldm3dFolder, disparity
from lit.generators.rgbd.pictures import FAR_SIDE, as_photo, resized_picture, rgbd_pictures, write_rgbd
from lit.generators.rgbd.samplers import SegmentedSampler, drawn_pictures, open_sampler
from tests.datamodules.objects.photos.test_depth_images import write_folder

CLASSES = ("class0", "class1")
TINY: dict[str, Any] = {
    "size": 16, "encoder_channels": (8, 8), "channels": (8, 16), "heads": 2, "width": 8, "text_layers": 1, "groups": 4,
    "sample_steps": 2, "total_images": 1000,
}  # fmt: skip
ENCODER: dict[str, Any] = {"size": 16, "channels": (8, 8), "groups": 4, "total_images": 1000}

CLIP: dict[str, Any] = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 16, "layers": 1, "head_width": 8},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DepthImages:
    root = write_folder(tmp_path_factory.mktemp("photos") / "set", 9, channels=4)
    found = DepthImages(str(root), size=16, masks=True, batch_size=2, flip=False, val_every=3, steps_per_epoch=2)
    found.setup()
    return found


def fit(module: Any, data: DepthImages, path: Path | None = None, *callbacks: Any) -> dict[str, float]:
    trainer = Trainer(
        max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=path is not None, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=1.0 if callbacks else 0,
        default_root_dir=path and path.parent, callbacks=list(callbacks),
    )  # fmt: skip
    trainer.fit(module, data)
    if path is not None:
        trainer.save_checkpoint(path)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.fixture(scope="module")
def trained(data: DepthImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after two steps on an autoencoder of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    torch.manual_seed(0)
    scores = ImageSamples(columns=3, rows=1, folder=str(folder))
    figures = fit(RgbdAutoencoder(**ENCODER), data, folder / "autoencoder.ckpt", scores)
    assert 0 < figures["val/absolute_error"] < 2
    module = RgbdDiffusion(CLASSES, str(folder / "autoencoder.ckpt"), **TINY)
    figures = fit(module, data, folder / "diffusion.ckpt", ImageSamples(columns=3, rows=1, folder=str(folder)))
    assert figures["val/fid"] > 0
    assert 0.1 < figures["val/loss"] < 10
    assert (folder / "samples_val.png").is_file()
    assert module.latent_scale == RgbdAutoencoder.load(folder / "autoencoder.ckpt").latent_scale != 1
    return folder / "diffusion.ckpt"


def picture(seed: int = 0) -> Tensor:
    """A picture (4, 16, 16) with a disc of an object before the far side."""
    draw = torch.Generator().manual_seed(seed)
    found = torch.rand(4, 16, 16, generator=draw) * 2 - 1
    y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    found[3] = torch.where(x * x + y * y < 0.5, 0.5 * x, torch.ones_like(x))
    return found


def batch_of(root: Path, masks: bool, size: int = 16) -> PhotoBatch:
    paths = photo_paths(root)
    return collate_photos([FolderPhotos(root, paths, size, masks).read(index) for index in range(len(paths))])


@pytest.mark.parametrize("masks", [True, False])
def test_pictures_survive_their_files(masks: bool, tmp_path: Path) -> None:
    drawn = picture()
    written = write_rgbd(as_photo(drawn, "car/car000000", "car", masks), tmp_path)
    assert written == tmp_path / "car" / "car000000.png"
    batch = batch_of(tmp_path, masks)
    assert (batch.names, batch.masked) == (("car",), masks)
    again = rgbd_pictures(batch)[0]
    inside = (drawn[3] < FAR_SIDE) | torch.tensor(not masks)
    torch.testing.assert_close(again[:3, inside], drawn[:3, inside], atol=0.51 / 127.5, rtol=0)
    torch.testing.assert_close(again[3, inside], drawn[3, inside], atol=5e-5, rtol=0)
    assert masks == bool((~inside).any())
    assert again[:3, ~inside].abs().max() < 1e-6 if masks else True
    assert (again[3, ~inside] == 1).all()


def test_pictures_change_their_size_without_mixing_depth() -> None:
    drawn = picture()
    small, large = resized_picture(drawn, 8), resized_picture(drawn, 32)
    assert (small.shape, large.shape) == ((4, 8, 8), (4, 32, 32))
    assert {*small[3].flatten().tolist()} <= {*drawn[3].flatten().tolist()}
    torch.testing.assert_close(small[:3].mean(), drawn[:3].mean())
    assert resized_picture(drawn, 16) is drawn


def test_pictures_of_one_seed_are_the_same_in_any_batch(trained: Path) -> None:
    sampler = open_sampler(trained)
    assert (sampler.size, sampler.masks) == (16, True)
    together = sampler.sample(["class0"] * 3, [1, 2, 3], 3, 2.0)
    assert together.shape == (3, 4, 16, 16)
    alone = torch.cat([sampler.sample(["class0"], [seed], 3, 2.0) for seed in (1, 2, 3)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
    assert not torch.allclose(together[0], together[1], atol=1e-3)
    model = RgbdDiffusion.load(trained)
    torch.nn.init.normal_(model.condition.get_parameter("table.weight"), std=20)  # two steps have taught no class
    first, second = (model.sample([name], [1], 3, 2.0) for name in CLASSES)
    assert not torch.allclose(first, second, atol=1e-4)
    numbered = [dict(drawn_pictures(sampler, "class1", 3, batch=size, steps=2)) for size in (1, 2)]
    assert list(numbered[0]) == list(numbered[1]) == [0, 1, 2]
    for number in range(3):
        torch.testing.assert_close(numbered[0][number], numbered[1][number], atol=1e-4, rtol=0)


def test_what_shows_nothing_is_drawn_again(trained: Path) -> None:
    class Alternating:
        size, masks, digest = 16, True, ""
        classes: tuple[str, ...] | None = None

        def sample(self, words: Any, seeds: Any, steps: int, guidance: float) -> Tensor:
            empty = torch.ones(4, 16, 16)
            return torch.stack([picture() if place % 2 else empty for place in range(len(seeds))])

    found = list(drawn_pictures(Alternating(), "car", 3, wanted=0.1, far_side=FAR_SIDE))
    assert len(found) == 3
    assert all(float((shown[3] < FAR_SIDE).float().mean()) > 0.1 for _, shown in found)
    with pytest.raises(InputError, match=r"0 of 8 pictures of 'car' show an object on 90% of them, expected 2: train"):
        list(drawn_pictures(Alternating(), "car", 2, wanted=0.9, far_side=FAR_SIDE))


def test_a_segmenter_cuts_objects_out(trained: Path) -> None:
    class LeftHalf:
        def probabilities(self, images: Tensor) -> Tensor:
            seen = torch.zeros(len(images), 2, 16, 16)
            seen[:, 1, :, :8] = 1
            return seen

    plain = open_sampler(trained)
    cut = SegmentedSampler(plain, LeftHalf(), [1])  # type: ignore[arg-type]
    found, whole = (sampler.sample(["class0"], [5], 2, 1.0)[0] for sampler in (cut, plain))
    assert torch.equal(found[:, :, :8], whole[:, :, :8])
    assert (found[:3, :, 8:] == 0).all()
    assert (found[3, :, 8:] == 1).all()


def test_a_text_takes_the_same_door(data: DepthImages) -> None:
    model = RgbdDiffusion(CLASSES, "none", "text", **TINY)
    fit(model, data)
    found = model.sample(["class0", "a photo of a class0", "a red class0"], [1, 1, 1], 2)
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=0)
    assert not torch.allclose(found[0], found[2], atol=1e-6)


def test_a_frozen_clip_reads_the_captions(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "photos", 4, channels=4)
    for path in photo_paths(root):
        (root / path).with_suffix(".txt").write_text("a car from the front left\na car\n")
    photos = DepthImages(str(root), size=16, masks=True, batch_size=2, flip=True, val_every=3, steps_per_epoch=2)
    photos.setup()
    clip = tmp_path / "clip.ckpt"
    torch.save(
        {
            "pytorch-lightning_version": "2",
            "hyper_parameters": {"architecture": CLIP},
            "state_dict": {f"network.{key}": value for key, value in build_clip(CLIP).state_dict().items()},
        },
        clip,
    )
    model = RgbdDiffusion(CLASSES, "none", "text", clip=str(clip), **TINY)
    assert isinstance(model.condition, ClipCondition)
    words = model.condition.network.token_embedding.weight
    before = words.clone()
    seen: list[str] = []
    model.condition.register_forward_pre_hook(lambda _, given: seen.extend(given[0]))
    fit(model, photos, tmp_path / "run.ckpt")
    assert {*seen} - {""} <= {"a car from the front left", "a car from the front right", "a car"}
    assert torch.equal(words, before)
    clip.unlink()  # what was trained needs the file no longer
    again = RgbdDiffusion.load(tmp_path / "run.ckpt")
    one, other, class_ = again.sample(["a red car", "a van", "class0"], [1, 1, 1], 2)
    torch.testing.assert_close(one, model.eval().sample(["a red car"], [1], 2)[0], atol=1e-5, rtol=0)
    assert not torch.allclose(one, other, atol=1e-6)
    torch.testing.assert_close(class_, again.sample(["a photo of a class0"], [1], 2)[0], atol=1e-5, rtol=0)
    with pytest.raises(InputError, match=r"model\.clip with model\.condition class: expected condition text"):
        RgbdDiffusion(CLASSES, "none", "class", clip="x", clip_architecture=CLIP, **TINY)
    with pytest.raises(InputError, match=r"clip\.ckpt: no such file"):
        RgbdDiffusion(CLASSES, "none", "text", clip=str(clip), **TINY)


def test_training_says_what_does_not_fit(data: DepthImages, trained: Path) -> None:
    def said(match: str, **changes: Any) -> None:
        settings: dict[str, Any] = {"classes": CLASSES, "autoencoder": str(trained.parent / "autoencoder.ckpt"), **TINY}
        with pytest.raises(InputError, match=match) as caught:
            fit(RgbdDiffusion(**(settings | changes)), data)
        assert "\n" not in str(caught.value)

    said(r"model.autoencoder null.*give runs/rgbd_autoencoder/last.ckpt", autoencoder=None)
    said(r"its vae has other sizes, first encoder.* \[8, 8, 3, 3\], expected \[16, 8, 3, 3\]", encoder_channels=(8, 16))
    said("the photographs have masks, model.masks is False", masks=False)
    said("sample_steps 0: expected 1 to 1000", sample_steps=0)
    said("photographs of 16 pixels: expected model.size 32", size=32)
    said("model.classes class0, van: the data have class0, class1", classes=("class0", "van"), drop=0.0)
    said("classes .*: expected different names", classes=("car", "car"))
    said("size 18: expected a multiple of 4", size=18)
    said("drop 2: expected a share", drop=2.0)


def write_ldm3d(folder: Path, channels: int) -> Path:
    """LDM3D's layout with tiny random weights, decoded to so many channels."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionLDM3DPipeline

    from lit.generators.dst.latent_diffusion import SCHEDULE, build_unet

    torch.manual_seed(0)
    tokenizer = word_tokenizer(prompt_words(["a photo of a car"]), 16)
    vae = AutoencoderKL(
        in_channels=channels, out_channels=channels, down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, block_out_channels=(8, 8), latent_channels=4, norm_num_groups=4,
    )  # fmt: skip
    StableDiffusionLDM3DPipeline(
        vae=vae, text_encoder=build_text_encoder(len(tokenizer), 8, 1, 2, 16), tokenizer=tokenizer,
        unet=build_unet(8, (8, 16), 1, 2, 8, 4), scheduler=DDIMScheduler(**SCHEDULE), safety_checker=None,
        feature_extractor=None, image_encoder=None, requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)  # fmt: skip
    return folder


@pytest.mark.parametrize("channels", [4, 6])
def test_ldm3d_draws_from_a_folder(channels: int, tmp_path: Path) -> None:
    sampler = open_sampler(write_ldm3d(tmp_path / "ldm3d", channels))
    assert isinstance(sampler, Ldm3dFolder)
    assert (sampler.size, sampler.masks) == (16, False)
    both = sampler.sample(["car", "a photo of a car"], [3, 3], 2, 3.0)
    assert both.shape == (2, 4, 16, 16)
    torch.testing.assert_close(both[0], both[1], atol=1e-4, rtol=0)
    low, high = np.quantile(both[0, 3].numpy(), (0.02, 0.98))
    assert (low, high) == pytest.approx((-0.9, 0.9), abs=0.05)
    write_rgbd(as_photo(both[0], "car/a", "car", sampler.masks), tmp_path / "photos")
    assert not batch_of(tmp_path / "photos", False).masked


def test_disparity_is_read_from_one_channel_or_two_bytes() -> None:
    four = torch.zeros(1, 4, 1, 2)
    four[0, 3, 0] = torch.tensor([-1.0, 0.5])
    assert disparity(four).flatten().tolist() == pytest.approx([0, 0.75])
    stored = torch.tensor([[0x12, 0x34], [0xFF, 0xFF]])
    six = torch.zeros(1, 6, 1, 2)
    six[0, 4:, 0] = stored.T / 127.5 - 1
    assert (disparity(six) * 65535).round().flatten().tolist() == [0x1234, 0xFFFF]


def test_missing_weights_say_what_to_give_where(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file or folder, expected a folder of LDM3D.*give it as --rgbd"):
        open_sampler(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no model_index.json in it, expected a folder of LDM3D"):
        open_sampler(tmp_path)
    next(iter(write_ldm3d(tmp_path / "broken", 4).glob("unet/*.safetensors"))).unlink()
    with pytest.raises(InputError, match=r"cannot be loaded"):
        open_sampler(tmp_path / "broken")
    with pytest.raises(InputError, match=r"its autoencoder has 3 channels, expected 4 or 6"):
        open_sampler(write_ldm3d(tmp_path / "plain", 3))
    (tmp_path / "file.ckpt").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"a checkpoint of conf/experiment/rgbd.yaml"):
        open_sampler(tmp_path / "file.ckpt")


def test_data_of_other_classes_are_refused_before_a_step(trained: Path) -> None:
    model = RgbdDiffusion.load(trained)
    assert model.known_classes == CLASSES
    for found, says in ((("class0",), "data have class0;"), ((*CLASSES, "dog"), "data have class0, class1, dog;")):
        model.trainer = SimpleNamespace(datamodule=SimpleNamespace(classes=found))  # type: ignore[assignment]
        with pytest.raises(InputError, match=f"model.classes class0, class1: the {says} set model.classes to these"):
            model.setup("fit")
        model.setup("validate")


def test_groups_that_divide_no_channels_are_one_line() -> None:
    with pytest.raises(InputError, match=r"groups 3: expected a divisor of the channels 8, 16; set model.groups"):
        RgbdDiffusion(CLASSES, "none", size=16, encoder_channels=(6, 6), channels=(8, 16), heads=2, width=8, groups=3)
    with pytest.raises(InputError, match=r"groups 4: expected a divisor of the channels 6, 6; set model.groups"):
        RgbdDiffusion(CLASSES, "none", size=16, encoder_channels=(6, 6), channels=(8, 16), heads=2, width=8, groups=4)
