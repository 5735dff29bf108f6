"""What a field is trained for: the weighted losses of one batch of rays."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from datamodules.objects.posed_rays import RayBatch
from lit.losses.mask import semantic_loss, soft_iou_loss
from lit.losses.perceptual import PerceptualLoss
from lit.losses.photometric import photometric_loss
from lit.networks.batch_draws import batch_draw
from lit.networks.fields.field_values import Field
from lit.networks.fields.quadrature import Rendering
from lit.rendering.render import render_rays
from lit.rendering.samplers import in_cube


class RayObjective(nn.Module):
    """Renders a batch and compares it: photometric, perceptual, soft IoU and semantic losses (Lift3D Eq. 5-8).

    Args:
        samples: samples a ray.
        shared_jitter: one jitter vector for all rays of a batch, as the released code has it.
        photometric: "composited" or "mask" (:func:`lit.losses.photometric.photometric_loss`).
        iou_weight: weight of the soft IoU.
        perceptual_weight: weight of the perceptual loss on the batch's patches; 0 for none.
        vgg16: file of torchvision's VGG16 weights for it; None for fixed random features.
        semantic_weight: weight of the part logits' cross-entropy, where network and data have parts.
    """

    def __init__(
        self,
        samples: int = 24,
        shared_jitter: bool = False,
        photometric: str = "composited",
        iou_weight: float = 0.1,
        perceptual_weight: float = 0.1,
        vgg16: str | None = None,
        semantic_weight: float = 0.2,
    ) -> None:
        super().__init__()
        self.samples, self.shared_jitter, self.photometric = samples, shared_jitter, photometric
        self.iou_weight, self.perceptual_weight, self.semantic_weight = iou_weight, perceptual_weight, semantic_weight
        self.perceptual = PerceptualLoss(vgg16) if perceptual_weight else None

    def forward(self, field: Field, batch: RayBatch) -> dict[str, Tensor]:
        """Weighted losses by name; the batch's seed decides the samples' jitter."""
        device, alpha = batch.origins.device, batch.rgba[..., 3]
        draw = torch.Generator(device).manual_seed(batch.seed)
        if self.shared_jitter:
            jitter = torch.rand(self.samples, generator=draw, device=device)
        else:
            each = (alpha.shape[1], self.samples)
            jitter = batch_draw(lambda n: torch.rand(n, *each, generator=draw, device=device), len(alpha))
        out = render_rays(field, batch.origins, batch.directions, in_cube(self.samples, jitter))
        losses = {
            "photometric": photometric_loss(out.rgb, out.opacity, batch.rgba, batch.background, self.photometric),
            "iou": self.iou_weight * soft_iou_loss(out.opacity, alpha),
        }
        if self.perceptual is not None and batch.patches:
            losses["perceptual"] = self.perceptual_weight * self.perceptual(*patches_of(out, batch))
        if out.parts is not None and batch.labels is not None:
            losses["semantic"] = self.semantic_weight * semantic_loss(out.parts, batch.labels, alpha)
        return losses


def patches_of(out: Rendering, batch: RayBatch) -> tuple[Tensor, Tensor]:
    """Rendered and observed patches (B * patches, 3, side, side) on the batch's background."""
    count = batch.patches * batch.patch**2
    rendered = out.rgb[:, :count] + (1 - out.opacity[:, :count, None]) * batch.background
    alpha = batch.rgba[:, :count, 3:]
    wanted = batch.rgba[:, :count, :3] * alpha + (1 - alpha) * batch.background
    shape = (-1, batch.patch, batch.patch, 3)
    return rendered.reshape(shape).permute(0, 3, 1, 2), wanted.reshape(shape).permute(0, 3, 1, 2)
