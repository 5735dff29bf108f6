"""diffusers' Stable Diffusion pipelines with ControlNets, from folders: which one, with which options.

Defaults are 3D-DST's: DDIM, 20 steps, eta 1, guidance 9, strength 1 (times the render's own).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import diffusers
import numpy as np
import torch
from safetensors import SafetensorError

from datamodules.errors import InputError
from datamodules.files.checksums import digest_of
from datamodules.renders.visual_prompts import VisualKind
from lit.weights.files import digest, shortened

Family = Literal["sd", "sdxl", "sd3"]
COUNTED = (".safetensors", ".json", ".txt")  # files of a folder that its pictures follow from: weights, settings, words
PIPELINES: dict[str, tuple[str, str, str]] = {  # of each family: the pipeline, a ControlNet, several of them
    "sd": ("StableDiffusionControlNetPipeline", "ControlNetModel", "MultiControlNetModel"),
    "sdxl": ("StableDiffusionXLControlNetPipeline", "ControlNetModel", "MultiControlNetModel"),
    "sd3": ("StableDiffusion3ControlNetPipeline", "SD3ControlNetModel", "SD3MultiControlNetModel"),
}
IMAGE_TO_IMAGE = {  # of each family that has one: the pipeline that begins with a picture
    "sd": "StableDiffusionControlNetImg2ImgPipeline",
    "sdxl": "StableDiffusionXLControlNetImg2ImgPipeline",
}
SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "unipc": "UniPCMultistepScheduler",
    "dpm": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
}
LARGEST = 4096  # pixels a side
MISFITS = (  # what networks raise that do not fit each other, the folder or the picture
    ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
CURE = (
    "expected a diffusers folder (model_index.json, unet/, vae/, ...), such as a copy of Stable Diffusion 1.5 with the "
    "canny ControlNet 1.1 beside it, or one of prepare dst-pipeline; give it as --pipeline"
)


@dataclass(frozen=True)
class PipelineSettings:
    """A pipeline and how it draws.

    Attributes:
        folder: the pipeline in diffusers' layout, or a hub's name where ``hub`` is true.
        controlnets: their folders, one a control; empty where the pipeline's folder holds its own.
        controls: what each of them is shown.
        family: Stable Diffusion 1 and 2, XL, or 3.
        scheduler: of :data:`SCHEDULERS`; None keeps the folder's own (the only choice for "sd3").
        steps: of the sampler.
        eta: of DDIM: 1 draws new noise at every step, 0 none.
        guidance: weight of the text.
        strength: of the control, times the render's own.
        size: pixels a side; None for the render's.
        dtype: of the weights.
        hub: whether names may be fetched from a hub.
    """

    folder: str
    controlnets: tuple[str, ...] = ()
    controls: tuple[VisualKind, ...] = ("canny",)
    family: Family = "sd"
    scheduler: str | None = "ddim"
    steps: int = 20
    eta: float = 1.0
    guidance: float = 9.0
    strength: float = 1.0
    size: int | None = None
    dtype: str = "float32"
    hub: bool = False

    def __post_init__(self) -> None:
        if self.controlnets and len(self.controlnets) != len(self.controls):
            raise InputError(
                f"{len(self.controlnets)} ControlNets for the controls {', '.join(self.controls)}: expected one each"
            )
        if not self.controls:
            raise InputError("no control: expected canny, depth or normal, or several with a ControlNet each")
        chosen: tuple[Any, ...] = (("family", self.family, PIPELINES), ("dtype", self.dtype, DTYPES))
        if self.scheduler is not None:
            chosen = (*chosen, ("scheduler", self.scheduler, SCHEDULERS))
        for name, value, known in chosen:
            if value not in known:
                raise InputError(f"{name} {value!r}: expected one of {', '.join(known)}")
        if self.family == "sd3" and self.scheduler is not None:
            raise InputError(
                f"scheduler {self.scheduler!r} with family sd3: expected none, it follows a flow of its own"
            )
        limits = (("steps", self.steps, 1, 1000), ("eta", self.eta, 0, 1), ("guidance", self.guidance, 0, 50))
        for number, amount, low, high in (*limits, ("strength", self.strength, 0, 2)):
            if not low <= amount <= high:
                raise InputError(f"{number} {amount:g}: expected {low} to {high}")
        if self.size is not None and (not 16 <= self.size <= LARGEST or self.size % 8):
            raise InputError(f"size {self.size}: expected a multiple of 8 from 16 to {LARGEST}")


class ControlledPipeline:
    """A loaded pipeline that draws images from prompts.

    Args:
        settings: which one, and how.
        device: where.

    Attributes:
        digest: of the settings and the files of all folders: equal ones draw equal images.
    """

    def __init__(self, settings: PipelineSettings, device: torch.device | str = "cpu") -> None:
        self.settings = settings
        try:
            self.device = torch.device(device)
        except RuntimeError:
            raise InputError(f"device {device!s}: expected cpu, cuda or cuda:0 and its like") from None
        if not settings.hub:
            for folder, index in (
                (settings.folder, "model_index.json"),
                *((f, "config.json") for f in settings.controlnets),
            ):
                if not (Path(folder) / index).is_file():
                    what = f"no {index} in it" if Path(folder).is_dir() else "no such folder"
                    raise InputError(f"{folder}: {what}, {CURE}{' and --controlnet' * (index == 'config.json')}")
        try:
            self.pipeline = self._load()
        except (OSError, AssertionError, SafetensorError, *MISFITS) as error:
            raise InputError(f"{settings.folder}: cannot be loaded ({shortened(error)}), {CURE}") from error
        held = len(getattr(self.pipeline.controlnet, "nets", [None]))
        if held != len(settings.controls):
            raise InputError(
                f"{len(settings.controls)} controls ({', '.join(settings.controls)}) with {held} ControlNet of "
                f"{settings.folder}: expected one each; give as many folders with --controlnet"
            )
        self.pipeline.set_progress_bar_config(disable=True)
        self.digest = digest_of(json.dumps([_stated(settings), self._files(), diffusers.__version__]).encode())
        self._restyling: Any = None  # around the same networks, when it is first asked for

    def _load(self) -> Any:
        s = self.settings
        pipeline_class, control_class, several = PIPELINES[s.family]
        common: dict[str, Any] = {"local_files_only": not s.hub, "use_safetensors": True}
        options = dict(common)
        nets: list[Any] = []
        if s.controlnets:
            nets = [getattr(diffusers, control_class).from_pretrained(folder, **common) for folder in s.controlnets]
            options["controlnet"] = nets[0]  # a folder that has one of its own refuses a list
        if s.family == "sd":  # objects on plain backdrops; a missing checker shall not be fetched
            options |= {"safety_checker": None, "requires_safety_checker": False}
        pipeline = getattr(diffusers, pipeline_class).from_pretrained(s.folder, **options)
        if len(nets) > 1:
            pipeline.register_modules(controlnet=getattr(diffusers, several)(nets))
        if s.scheduler is not None:
            pipeline.scheduler = getattr(diffusers, SCHEDULERS[s.scheduler]).from_config(pipeline.scheduler.config)
        return pipeline.to(self.device, DTYPES[s.dtype])

    def _files(self) -> dict[str, str]:
        """Digest of each file of weights, settings and words by its path; a hub's name stands for itself."""
        folders = [
            Path(folder) for folder in (self.settings.folder, *self.settings.controlnets) if Path(folder).is_dir()
        ]
        found = {}
        for number, folder in enumerate(folders):
            for file in sorted(path for path in folder.rglob("*") if path.suffix in COUNTED):
                name = file.relative_to(folder).as_posix()
                # All ControlNets name their files alike; the first one's never meet the pipeline's, which lie deeper.
                found[f"{number}/{name}" if name in found else name] = digest(file)
        return found

    @torch.no_grad()
    def draw(
        self,
        controls: Sequence[np.ndarray],
        prompts: Sequence[str],
        negatives: Sequence[str],
        seeds: Sequence[int],
        strength: float = 1.0,
    ) -> np.ndarray:
        """Images (B, S, S, 3) uint8 RGB.

        Args:
            controls: one (B, S, S, 3) uint8 array a ControlNet.
            prompts, negatives: B texts each.
            seeds: of each image's noise, so that its neighbours in a batch change nothing.
            strength: of the control, beside the settings' own.

        Raises:
            InputError: what comes out is not finite, as with half precision on a processor that lacks it.
        """
        return self._images(self.pipeline, controls, prompts, negatives, seeds, strength)

    def restyle(
        self,
        pictures: np.ndarray,
        change: float,
        controls: Sequence[np.ndarray],
        prompts: Sequence[str],
        negatives: Sequence[str],
        seeds: Sequence[int],
        strength: float = 1.0,
    ) -> np.ndarray:
        """Pictures (B, S, S, 3) uint8 RGB drawn over, by the same networks (image-to-image).

        Args:
            pictures: (B, S, S, 3) uint8 RGB to begin with.
            change: in (0, 1]: share of the noise that they are given, and of the steps that take it away again.
            controls, prompts, negatives, seeds, strength: as :meth:`draw`.

        Raises:
            InputError: as :meth:`draw`; a family without such a pipeline, or so little change that no step is left.
        """
        s = self.settings
        if s.family not in IMAGE_TO_IMAGE:
            raise InputError(
                f"family {s.family!r}: has no pipeline that begins with a picture, expected one of "
                f"{', '.join(IMAGE_TO_IMAGE)}"
            )
        if not 0 < change <= 1 or int(s.steps * change) < 1:
            raise InputError(
                f"strength {change:g} of {s.steps} steps: expected at least one step and at most all; raise --strength "
                "or --steps"
            )
        if self._restyling is None:
            own = {} if s.family == "sdxl" else {"requires_safety_checker": False}
            self._restyling = getattr(diffusers, IMAGE_TO_IMAGE[s.family])(**self.pipeline.components, **own)
            self._restyling.set_progress_bar_config(disable=True)
        begun = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 255
        given = {"image": begun.to(self.device, DTYPES[s.dtype]), "strength": change}
        return self._images(self._restyling, controls, prompts, negatives, seeds, strength, given)

    def _images(
        self,
        pipeline: Any,
        controls: Sequence[np.ndarray],
        prompts: Sequence[str],
        negatives: Sequence[str],
        seeds: Sequence[int],
        strength: float,
        given: dict[str, Any] | None = None,
    ) -> np.ndarray:
        s, taken = self.settings, set(inspect.signature(pipeline.__call__).parameters)
        if s.family == "sd3" and len(prompts) > 1:  # see below: one at a time, so that neighbours change nothing
            rows = [slice(row, row + 1) for row in range(len(prompts))]
            parts = [
                self._images(pipeline, [c[k] for c in controls], prompts[k], negatives[k], seeds[k], strength)
                for k in rows
            ]
            return np.concatenate(parts)
        shown = [torch.from_numpy(np.ascontiguousarray(c.transpose(0, 3, 1, 2))).float() / 255 for c in controls]
        shown = [c.to(self.device, DTYPES[s.dtype]) for c in shown]
        scales = [strength * s.strength] * len(shown)
        size = s.size or controls[0].shape[1]
        call: dict[str, Any] = {
            "prompt": list(prompts),
            "negative_prompt": list(negatives),
            "height": size,
            "width": size,
            "num_inference_steps": s.steps,
            "guidance_scale": s.guidance,
            "generator": [torch.Generator().manual_seed(seed) for seed in seeds],
            "controlnet_conditioning_scale": scales[0] if len(scales) == 1 else scales,
            "output_type": "np",
            "eta": s.eta,
            "control_image" if "control_image" in taken else "image": shown[0] if len(shown) == 1 else shown,
        } | (given or {})
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices):
                torch.manual_seed(seeds[0])  # SD3's draws the latents of its control from the process's own numbers
                images = pipeline(**{key: value for key, value in call.items() if key in taken}).images
        except MISFITS as error:
            raise InputError(
                f"{s.folder}: cannot draw {len(prompts)} images of {size} pixels ({type(error).__name__}: "
                f"{shortened(error)}); expected a whole folder of the family {s.family}, ControlNets made for it, a "
                "size that it can halve, and room in memory; check --family, --controlnet, --size and --batch"
            ) from error
        if not np.isfinite(images).all():
            raise InputError(f"{s.folder}: draws values that are not finite in {s.dtype}; give --dtype float32")
        return np.asarray(np.rint(np.clip(images, 0, 1) * 255), np.uint8)


def _stated(settings: PipelineSettings) -> dict[str, Any]:
    """What decides the images, without where the folders lie."""
    stated = {key: value for key, value in asdict(settings).items() if key not in ("folder", "controlnets", "hub")}
    return stated if not settings.hub else {**stated, "folder": settings.folder, "controlnets": settings.controlnets}
