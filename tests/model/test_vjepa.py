from __future__ import annotations

import numpy as np
import pytest
import torch

from cellvjepa.config import Config, load_config
from cellvjepa.errors import UserError
from cellvjepa.model.grid import Grid
from cellvjepa.model.layers import gather_tokens
from cellvjepa.model.masking import Mask, draw_masks
from cellvjepa.model.pixel_statistics import PixelStatistics
from cellvjepa.model.vjepa import Prediction, VJepa, build_vjepa

GRID = Grid(4, 1, 4, 4)


def _batch(config: Config, grid: Grid = GRID, clips: int = 3) -> tuple[torch.Tensor, list[Mask]]:
    rng = np.random.default_rng(0)
    t, z, y, x = config.model.tubelet
    pixels = rng.random((clips, 1, grid.t * t, grid.z * z, grid.y * y, grid.x * x), dtype=np.float32)
    return torch.from_numpy(pixels), draw_masks(grid, config.mask_generators, clips, rng)


def _loss(prediction: Prediction) -> torch.Tensor:
    losses = [(z - h).abs().mean() for z, h in zip(prediction.predicted, prediction.targets, strict=True)]
    said = [(u - w).abs().mean() for u, w in zip(prediction.unrest_said, prediction.unrest, strict=True)]
    return torch.stack(losses).mean() + torch.stack(said).mean()


def test_a_prediction_holds_one_entry_per_mask(tiny_config: Config):
    model, (pixels, masks) = build_vjepa(tiny_config, seed=0), _batch(tiny_config)
    prediction = model(pixels, masks)
    for index, mask in enumerate(masks):
        assert prediction.context[index].shape == (*mask.context_BK.shape, 24)
        assert prediction.predicted[index].shape == prediction.targets[index].shape == (*mask.target_BM.shape, 24)
        assert not prediction.targets[index].requires_grad
    assert prediction.target_std.ndim == 0


def test_targets_are_the_layer_normed_output_of_the_target_encoder_for_the_whole_clip(tiny_config: Config):
    model, (pixels, masks) = build_vjepa(tiny_config, seed=0), _batch(tiny_config)
    with torch.no_grad():
        for parameter in model.target_encoder.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    prediction = model(pixels, masks)
    tokens = model.target_encoder(pixels).double().numpy()
    normed = (tokens - tokens.mean(-1, keepdims=True)) / np.sqrt(tokens.var(-1, keepdims=True) + 1e-5)
    for mask, targets in zip(masks, prediction.targets, strict=True):
        expected = np.stack([clip[index] for clip, index in zip(normed, mask.target_BM.numpy(), strict=True)])
        np.testing.assert_allclose(targets.numpy(), expected, atol=1e-5)
    assert prediction.target_std.item() == pytest.approx(tokens.mean(axis=1).std(axis=0).mean(), rel=1e-4)


def test_target_std_tells_what_the_layer_norm_hides(tiny_config: Config):
    model, (pixels, masks) = build_vjepa(tiny_config, seed=0), _batch(tiny_config)
    healthy = model(pixels, masks)
    with torch.no_grad():
        model.target_encoder.norm.weight.mul_(0.01)
    shrunk = model(pixels, masks)
    torch.testing.assert_close(shrunk.targets[0], healthy.targets[0], atol=0.2, rtol=0)
    assert shrunk.target_std.item() == pytest.approx(0.01 * healthy.target_std.item(), rel=1e-3)
    assert model(pixels[:1], [Mask(m.context_BK[:1], m.target_BM[:1]) for m in masks]).target_std.item() == 0.0


def test_gradient_reaches_all_that_is_trained_and_nothing_else(tiny_config: Config):
    model, (pixels, masks) = build_vjepa(tiny_config, seed=0), _batch(tiny_config)
    _loss(model(pixels, masks)).backward()
    for name, parameter in model.named_parameters():
        if name.startswith("target_encoder"):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
    tokens = model.predictor.mask_tokens.grad
    assert tokens is not None
    assert (tokens.abs().sum(dim=1) > 0).tolist() == [True, True]  # both of them: V-JEPA 2 trains only one


def test_the_gradient_is_that_of_the_loss_in_float64(tiny_config: Config):
    model, (pixels, masks) = build_vjepa(tiny_config, seed=0).double(), _batch(tiny_config)
    pixels = pixels.double()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    loss = _loss(model(pixels, masks))
    gradients = torch.autograd.grad(loss, trained)
    direction = [torch.randn(parameter.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) for parameter in trained]
    expected, step = sum((g * d).sum().item() for g, d in zip(gradients, direction, strict=True)), 1e-6

    def moved(by: float) -> float:
        with torch.no_grad():
            torch._foreach_add_(trained, direction, alpha=by)
            value = _loss(model(pixels, masks)).item()
            torch._foreach_add_(trained, direction, alpha=-by)
        return value

    assert (moved(step) - moved(-step)) / (2 * step) == pytest.approx(expected, rel=1e-4)


def test_float32_gradients_are_those_of_float64(tiny_config: Config):
    (pixels, masks), gradients = _batch(tiny_config), []
    for dtype in (torch.float32, torch.float64):
        model = build_vjepa(tiny_config, seed=0).to(dtype)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        gradients.append(torch.cat([g.flatten().double() for g in torch.autograd.grad(_loss(model(pixels.to(dtype), masks)), trained)]))
    assert (gradients[0] - gradients[1]).norm() < 1e-4 * gradients[1].norm()


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_the_target_encoder_follows_with_momentum(tiny_config: Config, momentum: float):
    model = build_vjepa(tiny_config, seed=0)
    with torch.no_grad():
        for parameter in model.context_encoder.parameters():
            parameter.add_(1.0)
    before = {name: value.clone() for name, value in model.target_encoder.state_dict().items()}
    model.update_target(momentum)
    for name, value in model.target_encoder.state_dict().items():
        expected = momentum * before[name] + (1 - momentum) * model.context_encoder.state_dict()[name]
        torch.testing.assert_close(value, expected, atol=1e-6, rtol=0)
    if momentum == 0.0:
        assert all(torch.equal(v, model.context_encoder.state_dict()[n]) for n, v in model.target_encoder.state_dict().items())


def test_both_encoders_begin_alike_and_share_nothing(tiny_config: Config):
    model = build_vjepa(tiny_config, seed=0)
    for name, value in model.context_encoder.state_dict().items():
        follower = model.target_encoder.state_dict()[name]
        assert torch.equal(value, follower)
        assert value.data_ptr() != follower.data_ptr()


def test_the_same_seed_gives_the_same_model_and_leaves_the_global_generator_alone(tiny_config: Config):
    before = torch.random.get_rng_state()
    one, same, other = (build_vjepa(tiny_config, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["predictor.mask_tokens"], other["predictor.mask_tokens"])


def test_both_encoders_standardise_by_the_pixels_of_training(tiny_config: Config):
    model, (pixels, _) = build_vjepa(tiny_config, seed=0, pixels=PixelStatistics(0.2, 0.1, ())), _batch(tiny_config)
    plain = build_vjepa(tiny_config, seed=0, pixels=PixelStatistics(0.0, 1.0, ()))
    for encoder, other in ((model.context_encoder, plain.context_encoder), (model.target_encoder, plain.target_encoder)):
        torch.testing.assert_close(encoder(pixels), other((pixels - 0.2) / 0.1), atol=1e-5, rtol=0)


def test_a_single_frame_model_is_i_jepa(tiny_config: Config):
    config = Config.model_validate(
        {**tiny_config.model_dump(), "clip": {"frames": 1, "size_px": 32}, "model": {**tiny_config.model.model_dump(), "tubelet": (1, 1, 8, 8)}}
    )
    model, (pixels, masks) = build_vjepa(config, seed=0), _batch(config, Grid(1, 1, 4, 4))
    assert model.context_encoder.shape.axes == ("y", "x")
    _loss(model(pixels, masks)).backward()
    grads = [parameter.grad for parameter in model.predictor.parameters()]
    assert all(grad is not None and grad.isfinite().all() for grad in grads)


def test_a_stack_has_four_axes():
    config = load_config(None, ["clip.frames=4", "clip.size_px=16", "clip.z=stack", "model.tubelet=[2, 2, 8, 8]", "model.dim=32", "model.depth=1"])
    model: VJepa = build_vjepa(config, seed=0, planes=4)
    assert model.context_encoder.shape.axes == ("t", "z", "y", "x")
    pixels, masks = _batch(config, Grid(2, 2, 2, 2))
    assert model(pixels, masks).predicted[0].isfinite().all()


def test_one_generator_more_is_one_mask_token_more(tiny_config: Config):
    generators = [*tiny_config.masks.model_dump()["generators"], {"blocks": 1}]
    config = Config.model_validate({**tiny_config.model_dump(), "masks": {"generators": generators}})
    model, (pixels, masks) = build_vjepa(config, seed=0), _batch(config)
    assert len(model(pixels, masks).predicted) == len(model.predictor.mask_tokens) == 3


def test_the_scale_reaches_encoders_and_predictor(tiny_config: Config):
    model, (pixels, masks) = build_vjepa(tiny_config, seed=0), _batch(tiny_config)
    plain, same, wider = (model(pixels, masks, scale) for scale in (None, torch.ones(3, 4), torch.tensor([1.0, 1.0, 3.0, 3.0])))
    torch.testing.assert_close(same.predicted[0], plain.predicted[0], atol=1e-6, rtol=0)
    for one, other in ((wider.context, plain.context), (wider.predicted, plain.predicted), (wider.targets, plain.targets)):
        assert not torch.equal(one[0], other[0])


def test_training_works_after_inference_mode(tiny_config: Config):
    model, (pixels, masks) = build_vjepa(tiny_config, seed=0), _batch(tiny_config)
    with torch.inference_mode():
        model(pixels, masks)
    _loss(model(pixels, masks)).backward()
    assert all(p.grad is not None for p in model.context_encoder.parameters())


def test_bfloat16_gives_nearly_the_same_loss_and_float32_targets(tiny_config: Config):
    model, (pixels, masks) = build_vjepa(tiny_config, seed=0), _batch(tiny_config)
    exact = _loss(model(pixels, masks)).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = model(pixels, masks)
    assert prediction.targets[0].dtype == torch.float32
    assert _loss(prediction).item() == pytest.approx(exact, rel=0.01)


def test_what_the_context_tells_is_learned(tiny_config: Config):
    # Every clip is of one brightness, so any context token tells the targets.
    model, (pixels, masks) = build_vjepa(tiny_config, seed=0), _batch(tiny_config, clips=8)
    pixels = torch.linspace(0, 1, 8).reshape(8, 1, 1, 1, 1, 1).expand_as(pixels)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = _loss(model(pixels, masks))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_heads_too_narrow_for_positions_are_refused(tiny_config: Config):
    config = Config.model_validate({**tiny_config.model_dump(), "model": {**tiny_config.model.model_dump(), "predictor_heads": 6}})
    with pytest.raises(UserError, match="heads of 2 numbers cannot hold positions along t, y, x"):
        build_vjepa(config, seed=0)


def test_context_is_what_the_context_encoder_says_of_the_visible_tokens_alone(tiny_config: Config):
    model, (pixels, masks) = build_vjepa(tiny_config, seed=0), _batch(tiny_config)
    full = model.context_encoder(pixels)
    context = model(pixels, masks).context[0]
    assert torch.equal(context, model.context_encoder(pixels, masks[0].context_BK))
    assert not torch.allclose(context, gather_tokens(full, masks[0].context_BK), atol=1e-4)


@pytest.mark.parametrize("scaled", [False, True])
def test_all_masks_in_one_pass_are_as_each_alone(scaled: bool, tiny_config: Config):
    model, (pixels, masks) = build_vjepa(tiny_config, seed=0), _batch(tiny_config)
    with torch.no_grad():
        for parameter in (*model.context_encoder.parameters(), *model.predictor.parameters()):
            parameter.mul_(8 if parameter.ndim > 1 else 1)  # so that attention is far from uniform
    scale = torch.tensor([[1.0, 1.0, 1.0, 1.0], [2.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.5, 2.0]]) if scaled else None
    assert len({mask.context_BK.shape[1] for mask in masks}) > 1
    together = model(pixels, masks, scale)
    for index, mask in enumerate(masks):
        context = model.context_encoder(pixels, mask.context_BK, scale)
        (predicted,) = model.predictor(context, [mask], [index], GRID, scale)
        torch.testing.assert_close(together.context[index], context, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(together.predicted[index], predicted, atol=1e-6, rtol=1e-6)
