"""The engine fits a single-view generator: planes from one picture, samples about its depth, gradients scaled there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lit.networks.fields.field_values import FieldValues
from lit.networks.fields.planes import EG3D_AXES, DecodedPlanes, plane_levels
from lit.networks.fields.softplus_decoder import SoftplusDecoder, softplus_density
from lit.rendering.rays import image_pixels, projection_rays
from lit.rendering.render import Hook, render_rays
from lit.rendering.samplers import around, in_cube
from tests.lit.rendering.box_projection import box_projection


def gradients_near(depth: Tensor) -> Hook:
    """G3DR's depth regularisation (Eq. 2): values as they are, gradients times a kernel about the depth (B, R)."""

    def scaled(values: FieldValues, depths: Tensor) -> FieldValues:
        kernel = (1.25 * torch.exp(-((depth[..., None] - depths) ** 2) / 0.03)).clamp(0.05, 1.0)
        density = torch.lerp(values.density.detach(), values.density, kernel)
        return values._replace(density=density, rgb=torch.lerp(values.rgb.detach(), values.rgb, kernel[:, None]))

    return scaled


class SingleView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.to_planes, self.decoder = nn.Conv2d(4, 24, 3, padding=1), SoftplusDecoder(8)

    def forward(self, picture: Tensor) -> DecodedPlanes:
        planes = self.to_planes(picture).unflatten(1, (3, 8))
        return DecodedPlanes(plane_levels(planes), self.decoder.raw, axes=EG3D_AXES)


def test_a_few_steps_reduce_the_loss_and_the_hook_changes_gradients_only() -> None:
    model, picture = SingleView(), torch.rand(1, 4, 32, 32)
    origins, directions = (rays[None] for rays in projection_rays(box_projection(), image_pixels(32, 64)[700:1300:7]))
    depth, wanted = torch.full_like(origins[..., 0], 10.0), torch.rand(1, origins.shape[1], 3) * 0.2 + 0.6
    more, _ = around(depth, 0.05, 8)(origins, directions)  # where another step draws by importance

    def render(hook: Hook | None) -> Tensor:
        rays = model(picture), origins, directions, in_cube(16)
        return render_rays(*rays, lambda edges, weights: more, softplus_density, hook).rgb

    plain, hooked = render(None), render(gradients_near(depth))
    assert torch.equal(plain, hooked)
    norms = [float(torch.autograd.grad(out.sum(), model.decoder.heads.weight)[0].norm()) for out in (plain, hooked)]
    assert 0.0 < norms[1] < norms[0]
    optimizer, losses = torch.optim.Adam(model.parameters(), 0.02), []
    for _ in range(30):
        losses.append((render(gradients_near(depth)) - wanted).square().mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
