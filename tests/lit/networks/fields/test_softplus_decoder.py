from __future__ import annotations

import torch
import torch.nn.functional as F

from lit.networks.fields.softplus_decoder import SoftplusDecoder


def test_decoder_is_its_formula_and_its_raw_density_the_one_before_the_softplus() -> None:
    torch.manual_seed(0)
    decoder, features = SoftplusDecoder(32, features=29), torch.randn(2, 32, 7)
    hidden = F.softplus(features.transpose(1, 2) @ decoder.hidden.weight.t() / 32**0.5 + decoder.hidden.bias)
    out = hidden @ decoder.heads.weight.t() / 8 + decoder.heads.bias
    values, raw = decoder(features), decoder.raw(features)
    assert torch.allclose(raw.density, out[..., 0], atol=1e-5)
    assert torch.allclose(values.density, F.softplus(out[..., 0] - 1), atol=1e-5)
    colour = torch.sigmoid(out[..., 1:]) * 1.002 - 0.001
    assert values.features is not None
    assert torch.allclose(torch.cat([values.rgb, values.features], 1).transpose(1, 2), colour, atol=1e-5)
    assert SoftplusDecoder(8)(torch.randn(1, 8, 4)).features is None
