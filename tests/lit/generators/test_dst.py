"""3D-DST's diffusion stage on tiny random weights: trained, written, loaded by diffusers, drawn from, into a bank."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

pytest.importorskip("diffusers")

from datamodules.assets.bank import AssetBank
from datamodules.errors import InputError
from datamodules.files.atomic_files import write_atomically
from datamodules.geometry import Boxes3D, Camera, projected_bbox
from datamodules.renders.filtered import FILTERED, FilterFile, FilterRow, kept_images, write_filter
from datamodules.renders.generated import Generated, digest_of_images, generated_images
from datamodules.renders.prompted_images import BackdropKind, PromptedImages
from datamodules.renders.render_set import RenderSet
from datamodules.renders.text_prompts import write_text_prompts
from datamodules.renders.view_bank import view_assets
from datamodules.renders.visual_prompts import visual_prompt
from lit.cli import main
from lit.generators.dst.autoencoder import DstAutoencoder
from lit.generators.dst.diffusion import DstDiffusion
from lit.generators.dst.images import generate_images, image_seed
from lit.generators.dst.pipelines import ControlledPipeline, PipelineSettings
from lit.generators.dst.tokenizer import prompt_words, word_tokenizer

TINY: dict[str, Any] = {
    "size": 32, "encoder_channels": (8, 8), "channels": (8, 16), "heads": 2, "text_width": 8, "text_layers": 1,
    "groups": 4, "total_images": 1000,
}  # fmt: skip
ENCODER: dict[str, Any] = {"size": 32, "channels": (8, 8), "groups": 4, "total_images": 1000}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PromptedImages:
    found = PromptedImages(
        str(tmp_path_factory.mktemp("dst") / "renders"),
        batch_size=2,
        val_every=2,
        val_batches=1,
        steps_per_epoch=2,
        create_classes=("car", "bicycle"),
        create_models=2,
        create_views=2,
        create_size=32,
    )
    found.prepare_data()
    found.setup()
    return found


@pytest.fixture(scope="module")
def renders(data: PromptedImages) -> RenderSet:
    found = RenderSet.load(data.hparams["folder"])
    write_text_prompts(found)
    return found


def fit(module: Any, data: PromptedImages, path: Path | None = None) -> None:
    trainer = Trainer(
        max_steps=2, accelerator="cpu", logger=False, enable_checkpointing=path is not None, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0, default_root_dir=path and path.parent,
    )  # fmt: skip
    trainer.fit(module, data)
    if path is not None:
        trainer.save_checkpoint(path)


@pytest.fixture(scope="module")
def trained(data: PromptedImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after two steps on an autoencoder of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    fit(DstAutoencoder(**ENCODER), data, folder / "autoencoder.ckpt")
    torch.manual_seed(0)
    fit(DstDiffusion(str(folder / "autoencoder.ckpt"), **TINY), data, folder / "diffusion.ckpt")
    return folder / "diffusion.ckpt"


@pytest.fixture(scope="module")
def folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline in diffusers' layout."""
    found = tmp_path_factory.mktemp("pipeline") / "sd"
    assert main(["prepare", "dst-pipeline", "--checkpoint", str(trained), "--root", str(found)]) == 0
    return found


def settings(folder: Path, **options: Any) -> PipelineSettings:
    return PipelineSettings(str(folder), **({"steps": 2, "guidance": 2.0} | options))


def test_pictures_come_with_their_edges_and_a_prompt(data: PromptedImages) -> None:
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == batch.controls.shape == (2, 3, 32, 32)
    assert batch.controls.float().mean() > 1
    for prompt, key in zip(batch.prompts, batch.ids):
        assert key.split("/")[0] in prompt
    held = {key for b in data.val_dataloader() for key in b.ids}
    assert held
    assert all(key.split("/")[1] == "000001" for key in held)  # every second model
    assert data.train_dataloader().dataset[(0, 1)].images.equal(data.train_dataloader().dataset[(0, 1)].images)


def test_backdrops_are_white_or_drawn_anew_in_each_epoch(data: PromptedImages) -> None:
    def corners(kind: BackdropKind) -> list[torch.Tensor]:
        found = PromptedImages(data.hparams["folder"], batch_size=2, val_every=2, backdrop=kind)
        found.setup()
        batches = found.train_dataloader().dataset
        return [batches[(epoch, 0)].images[:, :, 0, 0] for epoch in range(2)]

    assert all((colours == 255).all() for colours in corners("white"))
    first, second = corners("colour")
    assert not (first == first[:1]).all()
    assert not first.equal(second)


def test_the_tokenizer_knows_the_prompts_words(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(prompt_words(["zeppelin"]))
    assert tokenizer.tokenize("A photo of a zeppelin")[1:3] == ["photo", "of"]
    assert "zeppelin" in tokenizer.tokenize("a zeppelin")
    assert "car" not in tokenizer.tokenize("a cargo")  # spelt, for it is no whole word
    tokenizer.save_pretrained(tmp_path)
    from transformers import CLIPTokenizer

    again = CLIPTokenizer.from_pretrained(tmp_path)
    assert again("a photo of a van").input_ids == tokenizer("a photo of a van").input_ids


def test_training_needs_an_autoencoder_that_fits(data: PromptedImages, trained: Path) -> None:
    with pytest.raises(InputError, match=r"model.autoencoder null.*dst_autoencoder.yaml"):
        fit(DstDiffusion(**TINY), data)
    other = DstDiffusion(str(trained.parent / "autoencoder.ckpt"), **(TINY | {"encoder_channels": (8, 16)}))
    with pytest.raises(
        InputError, match=r"its vae has other sizes, first encoder.* \[8, 8, 3, 3\], expected \[16, 8, 3, 3\]"
    ):
        fit(other, data)
    with pytest.raises(InputError, match="size 30: expected a multiple of 4"):
        DstDiffusion(**(TINY | {"size": 30}))


def test_a_base_stays_as_it_is_and_its_controlnet_starts_as_a_copy(data: PromptedImages, trained: Path) -> None:
    base = DstDiffusion.load(trained)
    module = DstDiffusion(base=str(trained), **TINY)
    fit(module, data)
    for name in ("vae", "unet", "text_encoder"):
        for key, value in getattr(base, name).state_dict().items():
            assert torch.equal(value, getattr(module, name).state_dict()[key]), key
    assert module.controlnet.controlnet_mid_block.weight.abs().max() > 0  # began as zeros
    assert module.latent_scale == base.latent_scale


def test_training_goes_on_from_another_model(data: PromptedImages, trained: Path) -> None:
    before, first = DstDiffusion.load(trained), str(trained.parent / "autoencoder.ckpt")
    encoder = DstAutoencoder(**ENCODER, start=first)
    encoder.setup("fit")
    given = DstAutoencoder.load(first)
    for key, value in given.network.state_dict().items():
        assert torch.equal(value, encoder.network.state_dict()[key]), key
    assert encoder.latent_scale == given.latent_scale
    torch.manual_seed(3)
    module = DstDiffusion(start=str(trained), **TINY)
    module.setup("fit")
    for name in ("vae", "unet", "text_encoder", "controlnet"):
        for key, value in getattr(before, name).state_dict().items():
            assert torch.equal(value, getattr(module, name).state_dict()[key]), key
    torch.manual_seed(4)
    other = DstAutoencoder(**ENCODER)
    fit(other, data, trained.parent / "other.ckpt")
    both = DstDiffusion(str(trained.parent / "other.ckpt"), start=str(trained), **TINY)
    both.setup("fit")
    assert torch.equal(both.vae.decoder.conv_in.weight, other.network.decoder.conv_in.weight)
    with pytest.raises(
        InputError, match=r"its autoencoder has other sizes, first .* \[8, 8, 3, 3\], expected \[16, 8, 3, 3\]"
    ):
        DstAutoencoder(**(ENCODER | {"channels": (8, 16)}), start=first).setup("fit")


def test_pictures_are_drawn_over_from_their_own_noise(folder: Path) -> None:
    pipeline, rng = ControlledPipeline(settings(folder, steps=4)), np.random.default_rng(0)
    pictures, edges = (rng.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8) for _ in range(2))
    texts = ["A photo of a car", "A photo of a van"]
    drawn = pipeline.restyle(pictures, 0.5, [edges], texts, ["", ""], [5, 6])
    assert drawn.shape == pictures.shape
    second = pipeline.restyle(pictures[1:], 0.5, [edges[1:]], texts[1:], [""], [6])
    np.testing.assert_allclose(second[0].astype(int), drawn[1].astype(int), atol=1)
    assert (pipeline.restyle(pictures, 0.5, [edges], texts, ["", ""], [7, 6])[0] != drawn[0]).any()
    with pytest.raises(InputError, match=r"strength 0.2 of 4 steps: expected at least one step"):
        pipeline.restyle(pictures, 0.2, [edges], texts, ["", ""], [5, 6])
    object.__setattr__(pipeline.settings, "family", "sd3")
    with pytest.raises(InputError, match="family 'sd3': has no pipeline that begins with a picture"):
        pipeline.restyle(pictures, 0.5, [edges], texts, ["", ""], [5, 6])


def test_diffusers_loads_the_folder_and_draws_what_the_module_draws(
    data: PromptedImages, trained: Path, folder: Path
) -> None:
    from diffusers import StableDiffusionControlNetPipeline

    loaded = StableDiffusionControlNetPipeline.from_pretrained(folder, local_files_only=True)
    module = DstDiffusion.load(trained)
    assert loaded.vae.config.scaling_factor == pytest.approx(float(module.latent_scale))
    batch = next(iter(data.val_dataloader()))
    drawn = module.sample(batch, steps=2)
    assert drawn.shape == (2, 3, 32, 32)
    for name in ("vae", "unet", "controlnet", "text_encoder"):
        for key, value in getattr(module, name).state_dict().items():
            assert torch.equal(value, getattr(loaded, name).state_dict()[key]), key


def test_images_are_drawn_once_and_again_where_damaged(renders: RenderSet, folder: Path) -> None:
    pipeline = ControlledPipeline(settings(folder))
    assert generate_images(renders, pipeline, "one", batch=3) == 8
    assert generate_images(renders, pipeline, "one", batch=3) == 0
    images = generated_images(renders, "one")
    before = [image.read() for image in images]
    assert before[0].shape == (32, 32, 3)
    log = images[0].log
    assert (log.seed, log.strength) == (image_seed(0, images[0]), 1.0)
    assert "car" in log.prompt
    half = images[3].path
    half.write_bytes(half.read_bytes()[:60])
    with pytest.raises(InputError, match="half-written or changed; run prepare dst-images again"):
        images[3].read()
    assert generate_images(renders, pipeline, "one") == 1
    np.testing.assert_allclose(images[3].read().astype(int), before[3].astype(int), atol=1)
    # Two processes draw what one draws, whatever the batches; the sum of a batch may round otherwise.
    counts = [generate_images(renders, pipeline, "two", batch=2, rank=rank, world_size=2) for rank in (0, 1)]
    assert counts == [4, 4]
    for image, pixels in zip(generated_images(renders, "two"), before):
        np.testing.assert_allclose(image.read().astype(int), pixels.astype(int), atol=1)
    other = ControlledPipeline(settings(folder, guidance=3.0))
    assert not Generated(images[0].render, "one", 0).is_whole(other.digest)
    scheduler = folder / "scheduler/scheduler_config.json"
    before_edit = scheduler.read_text()
    scheduler.write_text(before_edit.replace("{", '{"steps_offset": 1,', 1))
    assert ControlledPipeline(settings(folder)).digest != pipeline.digest
    scheduler.write_text(before_edit)


def test_images_are_drawn_again_with_other_seeds_prompts_or_edges(renders: RenderSet, folder: Path) -> None:
    pipeline = ControlledPipeline(settings(folder, steps=1))

    def drawn(seed: int = 0) -> int:
        return generate_images(renders, pipeline, "again", batch=8, seed=seed)

    assert (drawn(), drawn(), drawn(1), drawn(1)) == (8, 0, 8, 0)
    edges = visual_prompt(next(iter(renders)), "canny")
    usual = generated_images(renders, "again")[0].log.settings
    words = ["prepare", "dst-prompts", "--root", str(renders.root), "--workers", "1"]
    assert main([*words, "--canny", "900", "2000"]) == 0
    shown: list[np.ndarray] = []
    draw = pipeline.draw
    pipeline.draw = lambda controls, *rest: (shown.append(controls[0][0]), draw(controls, *rest))[1]  # type: ignore[method-assign,func-returns-value]
    assert (drawn(1), drawn(1)) == (8, 0)
    assert (shown[0] > 0).sum() < (edges > 0).sum()
    assert generated_images(renders, "again")[0].log.settings != usual
    assert main([*words, "--seed", "3"]) == 0
    assert drawn(1) == 8
    assert generated_images(renders, "again")[0].log.settings == usual
    write_text_prompts(renders)


def test_an_image_is_drawn_again_when_its_render_has_changed(renders: RenderSet, folder: Path, tmp_path: Path) -> None:
    own = RenderSet.load(shutil.copytree(renders.root, tmp_path / "own"))
    pipeline = ControlledPipeline(settings(folder, steps=1))
    assert generate_images(own, pipeline, "once", batch=8) == 8
    (first, *_) = own
    picture, annotation = first.path("image_render"), first.path("annotation", ".json")
    painted = cv2.imread(str(picture), cv2.IMREAD_UNCHANGED)
    assert painted is not None
    repainted = cv2.imencode(".png", np.subtract(255, painted))[1].tobytes()
    written = json.loads(annotation.read_text())
    written["files"]["image_render"] = write_atomically(picture, repainted)
    annotation.write_text(json.dumps(written))
    assert [generate_images(RenderSet.load(own.root), pipeline, "once", batch=8) for _ in range(2)] == [1, 0]


def test_images_of_two_pipelines_are_not_taken_for_one_set(
    renders: RenderSet, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (ControlledPipeline(settings(folder, steps=1, guidance=weight)) for weight in (2.0, 3.0))
    generate_images(renders, first, "mixed", per_render=2, batch=8)
    kept = generated_images(renders, "mixed")
    rows = [FilterRow(image.key, 0.0, 0.0, True) for image in kept]
    write_filter(renders.root, "mixed", FilterFile(1, {FILTERED: digest_of_images(kept)}, {}, rows))
    assert kept_images(kept, renders.root, "mixed") == kept
    generate_images(renders, second, "mixed", batch=8)
    with pytest.raises(InputError, match=r"images 'mixed' of 2 pipelines or options \(as .*000_00 and .*000_01\)"):
        generated_images(renders, "mixed")
    generate_images(renders, second, "mixed", per_render=2, batch=8)
    with pytest.raises(InputError, match=r"kcf_mixed.json: is of other images than those there now"):
        kept_images(generated_images(renders, "mixed"), renders.root, "mixed")


def test_each_controlnet_counts(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    places = [tmp_path / "one", tmp_path / "two"]
    for place in places:
        shutil.copytree(folder / "controlnet", place)
    both = settings(folder, controlnets=tuple(map(str, places)), controls=("canny", "depth"))
    before = ControlledPipeline(both).digest
    for place in places:
        file = next(place.glob("*.safetensors"))
        was = file.read_bytes()
        save_file({key: value + 1 for key, value in load_file(file).items()}, file)
        assert ControlledPipeline(both).digest != before
        file.write_bytes(was)
    assert ControlledPipeline(both).digest == before


def test_edges_and_depth_together(renders: RenderSet, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "controlnet", tmp_path / "second")
    both = settings(
        folder, controlnets=(str(folder / "controlnet"), str(tmp_path / "second")), controls=("canny", "depth"), size=48
    )
    assert generate_images(renders, ControlledPipeline(both), "both", batch=8) == 8
    assert generated_images(renders, "both")[0].read().shape == (48, 48, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"controlnets": ("a", "b")}, "2 ControlNets for the controls canny: expected one each"),
        ({"scheduler": "ddpm"}, "scheduler 'ddpm': expected one of ddim, unipc"),
        ({"family": "sd3"}, "scheduler 'ddim' with family sd3"),
        ({"steps": 0}, "steps 0: expected 1 to 1000"),
        ({"size": 20}, "size 20: expected a multiple of 8"),
        ({"size": 80_000}, "size 80000: expected a multiple of 8 from 16 to 4096"),
    ],
)
def test_bad_settings_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        PipelineSettings("x", **options)


def test_missing_weights_say_what_to_give_where(folder: Path, tmp_path: Path, renders: RenderSet) -> None:
    with pytest.raises(InputError, match=r"no such folder, expected a diffusers folder .*give it as --pipeline"):
        ControlledPipeline(settings(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"no config.json in it.*--controlnet"):
        ControlledPipeline(settings(folder, controlnets=(str(tmp_path),)))
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    next((broken / "unet").glob("*.safetensors")).unlink()
    with pytest.raises(InputError, match=r"broken: cannot be loaded"):
        ControlledPipeline(settings(broken))
    shutil.rmtree(broken)
    shutil.copytree(folder, broken)
    half = next((broken / "text_encoder").glob("*.safetensors"))
    half.write_bytes(half.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"broken: cannot be loaded"):
        ControlledPipeline(settings(broken))
    with pytest.raises(InputError, match=r"2 controls \(canny, depth\) with 1 ControlNet of .*: expected one each"):
        ControlledPipeline(settings(folder, controls=("canny", "depth")))
    with pytest.raises(InputError, match="device gpu: expected cpu, cuda"):
        ControlledPipeline(settings(folder), "gpu")
    with pytest.raises(InputError, match=r"cannot draw 4 images of 32 pixels .*check --family, --controlnet, --size"):
        generate_images(renders, ControlledPipeline(settings(folder, family="sdxl")), "xl")
    with pytest.raises(InputError, match="name 'canny': expected a folder's name other than"):
        generate_images(renders, ControlledPipeline(settings(folder)), "canny")
    with pytest.raises(InputError, match="holds no images 'nothing'"):
        generated_images(renders, "nothing")


def test_a_bank_has_the_renders_outline(
    renders: RenderSet, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate_images(renders, ControlledPipeline(settings(folder)), "bank")
    words = ["--root", str(renders.root), "--bank", str(tmp_path / "bank"), "--name", "bank", "--max-elevation", "90"]
    assert main(["prepare", "dst-bank", *words, "--max-angle", "20"]) == 0
    assert "set --data.injection.source.max_angle 20" in capsys.readouterr().out
    assert main(["prepare", "dst-bank", *words, "--max-angle", "0"]) == 2
    bank = AssetBank(tmp_path / "bank")
    assert sorted(bank.classes) == ["Car", "bicycle"]
    images = generated_images(renders, "bank")
    asset = next(view_assets(renders, images, 90.0))
    first = images[0].render
    np.testing.assert_array_equal(np.asarray(asset.rgba[0])[..., 3], first.rgba[..., 3])
    # Drawn at the box that its own view shows, through the same camera, it covers that box.
    found = first.annotation
    camera, box = found.level_camera, found.level_box
    layer = asset.render(Camera(camera.projection, 32, 32), Boxes3D(box.center, box.dims, box.yaw))
    assert layer is not None
    left, top, right, bottom = projected_bbox(camera, box, clip=False)[0]
    seen = layer.full_bbox
    overlap = (min(right, seen[2]) - max(left, seen[0])) * (min(bottom, seen[3]) - max(top, seen[1]))
    area = (right - left) * (bottom - top) + np.prod(seen[2:] - seen[:2]) - overlap
    assert overlap / area > 0.6
    with pytest.raises(InputError, match=r"no view within 0.001 degrees"):
        list(view_assets(renders, images, 0.001))


def test_images_that_follow_their_edges_score_far_above_others(
    renders: RenderSet, folder: Path, tmp_path: Path
) -> None:
    """The renders themselves, as if they had been generated, follow their own edges and not each other's."""
    from datamodules.renders.generated import ImageLog
    from datamodules.renders.visual_prompts import on_white

    generate_images(renders, ControlledPipeline(settings(folder)), "noise")
    for render in renders:
        Generated(render, "perfect", 0).write(on_white(render.rgba), ImageLog("x", 0, "", "", 1.0, ""))
    out = tmp_path / "edges.json"
    assert (
        main(["evaluate", "dst-edges", "--root", str(renders.root), "--name", "perfect", "noise", "--out", str(out)])
        == 0
    )
    found = json.loads(out.read_text())
    assert found["perfect/edge_ap"] > 0.8 > found["perfect/edge_ap_of_other_prompts"]
    assert found["perfect/edge_ap"] > found["noise/edge_ap"] + 0.3


def test_the_filter_and_the_pose_figures_run_on_generated_images(
    renders: RenderSet,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline = ControlledPipeline(settings(folder))
    generate_images(renders, pipeline, "kcf", per_render=2)
    images = generated_images(renders, "kcf")
    truth = tmp_path / "truth.csv"
    stated = [f"{i.key},{i.render.annotation.azimuth},{i.render.annotation.elevation}" for i in images]
    truth.write_text("\n".join(["key,azimuth,elevation", *stated]) + "\n")
    words = ["--root", str(renders.root), "--name", "kcf"]
    small = ["--weights", "none", "--backbone", "resnet10t", "--channels", "8", "8", "8", "8", "--size", "32"]
    small += ["--folds", "2", "--epochs", "1", "--batch", "4", "--save", str(tmp_path / "e.ckpt"), "--stride", "16"]
    assert main(["prepare", "dst-filter", *words, *small, "--truth", str(truth)]) == 0
    content = json.loads((renders.root / "kcf_kcf.json").read_text())
    assert content["figures"]["true_success_all"] == 1
    assert sum(row["kept"] for row in content["rows"]) == 12  # of 16: a quarter of each class went
    pose = ["evaluate", "dst-pose", *words, "--estimator", str(tmp_path / "e.ckpt"), "--filtered", "--out"]
    assert main([*pose, str(tmp_path / "pose.json")]) == 0
    assert json.loads((tmp_path / "pose.json").read_text())["images"] == 12
    (renders.root / "kcf_kcf.json").unlink()
    unsaved = small[: small.index("--save")] + small[small.index("--stride") :]
    capsys.readouterr()
    assert main(["prepare", "dst-filter", *words, *unsaved, "--exchange", "0.25"]) == 0
    said = capsys.readouterr().out
    assert "exchanged 4 of 16 images; nothing is written" in said
    assert "exchanged_dropped" in said
    assert not (renders.root / "kcf_kcf.json").exists()
    assert main(["prepare", "dst-filter", *words, *small, "--exchange", "0.25"]) == 2  # --save
    truth.write_text("key,azimuth,elevation\n")
    capsys.readouterr()
    for more, line in (
        (["--truth", str(truth)], "no row of car/000000/000_00; add it"),
        (["--drop", "1"], "drop 1: expected a share in [0, 1)"),
        (["--lr", "-1"], "lr -1: expected a rate above 0"),
        (["--channels", "8"], "--channels 8: expected four"),
    ):
        with monkeypatch.context() as patched:  # none of them after a training of hours
            patched.setattr(Trainer, "fit", None)
            assert main(["prepare", "dst-filter", *words, *unsaved, *more]) == 2
        assert line in capsys.readouterr().err
    assert main(["evaluate", "dst-pose", *words[:2], "--estimator", str(tmp_path / "e.ckpt"), "--filtered"]) == 2
    assert "--filtered: renders need no filter" in capsys.readouterr().err
