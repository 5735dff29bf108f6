"""``prepare dst-images`` and ``prepare dst-pipeline``: diffusion models that turn renders into images."""

from __future__ import annotations

import os

from lit.arguments import Arguments, positive
from lit.commands.prepare.paths import typed_path


def dst_images(argv: list[str]) -> int:
    """Draw images of renders; finished ones are skipped, several processes share them."""
    parser = Arguments("prepare dst-images", "Turns renders into images by diffusion with ControlNets (3D-DST).")
    add = parser.add_argument
    add("--root", type=typed_path, required=True, help="folder of prepare dst-renders, after prepare dst-prompts")
    add("--name", default="images", help="folder of the images in each model's (default images)")
    add("--pipeline", required=True, help="folder in diffusers' layout, or with --hub a name there")
    add(
        "--controlnet",
        nargs="+",
        default=(),
        help="of ControlNets, one a control (default: the pipeline's own)",
    )
    add("--control", nargs="+", choices=("canny", "depth", "normal"), default=("canny",), help="default canny")
    add("--family", choices=("sd", "sdxl", "sd3"), default="sd", help="Stable Diffusion 1 and 2 (default), XL, or 3")
    add("--scheduler", choices=("ddim", "unipc", "dpm", "euler", "own"), help="default ddim; own is the folder's")
    add("--steps", type=positive, default=20, help="of the sampler (default 20)")
    add("--eta", type=float, default=1.0, help="of DDIM (default 1)")
    add("--guidance", type=float, default=9.0, help="weight of the text (default 9)")
    add("--strength", type=float, default=1.0, help="of the control, times the list's (default 1)")
    add("--size", type=positive, help="pixels a side (default: the render's)")
    add("--per-render", type=positive, default=1, help="images of each render (default 1)")
    add("--batch", type=positive, default=4, help="images at a time (default 4)")
    add("--dtype", choices=("float32", "float16", "bfloat16"), help="default float16 on a GPU, else float32")
    add("--device", help="default: the GPU of this process's local rank, else cpu")
    add("--hub", action="store_true", help="names may be fetched from the Hugging Face hub")
    add("--rank", type=int, default=int(os.environ.get("RANK", 0)), help="of this process (default: torchrun's)")
    add("--world", type=positive, default=int(os.environ.get("WORLD_SIZE", 1)), help="processes (default: torchrun's)")
    add("--seed", type=int, default=0, help="of the noise (default 0)")
    options = parser.parse_args(argv)
    import torch

    from datamodules.renders.render_set import RenderSet
    from lit.generators.dst.images import generate_images
    from lit.generators.dst.pipelines import ControlledPipeline, PipelineSettings

    renders = RenderSet.load(options.root)
    local = int(os.environ.get("LOCAL_RANK", 0))
    device = options.device or (f"cuda:{local}" if torch.cuda.is_available() else "cpu")
    scheduler = options.scheduler or ("own" if options.family == "sd3" else "ddim")
    settings = PipelineSettings(
        options.pipeline,
        tuple(options.controlnet),
        tuple(options.control),
        options.family,
        None if scheduler == "own" else scheduler,
        options.steps,
        options.eta,
        options.guidance,
        options.strength,
        options.size,
        options.dtype or ("float16" if device.startswith("cuda") else "float32"),
        options.hub,
    )
    pipeline = ControlledPipeline(settings, device)
    drawn = generate_images(
        renders,
        pipeline,
        options.name,
        options.per_render,
        options.batch,
        options.seed,
        options.rank,
        options.world,
        progress=True,
    )
    print(f"drew {drawn} images {options.name!r} into {options.root}; others were there")
    return 0


def dst_pipeline(argv: list[str]) -> int:
    """Write a trained small diffusion model as a folder that diffusers loads."""
    parser = Arguments("prepare dst-pipeline", "Writes conf/experiment/dst.yaml's model in diffusers' layout.")
    parser.add_argument("--checkpoint", type=typed_path, required=True, help="of conf/experiment/dst.yaml")
    parser.add_argument("--root", type=typed_path, required=True, help="folder to write, new or empty")
    options = parser.parse_args(argv)
    from datamodules.errors import InputError
    from datamodules.files.atomic_files import disk_refusals
    from lit.generators.dst.diffusion import DstDiffusion

    if options.root.exists() and any(options.root.iterdir()):
        raise InputError(f"{options.root}: is not empty, expected a new folder; choose another one")
    model = DstDiffusion.load(options.checkpoint)
    with disk_refusals(options.root):
        model.pipeline().save_pretrained(options.root, safe_serialization=True)
    print(f"wrote {options.root}: a StableDiffusionControlNetPipeline of {model.hparams['size']} pixels")
    return 0
