"""The fully convolutional networks: sizes, where scores lie, and that tiles see what the whole image shows."""

import pytest
import torch
import torch.nn.functional as F

from unet_fast.baselines import FCN8s, FCN16s, FCN32s
from unet_fast.geometry import TilePlan, legal_side
from unet_fast.reference import mirror_tiles, stitch_tiles

NETWORKS = [FCN32s, FCN16s, FCN8s]


def small(network, **arguments):
    return network(**{"base": 1, "dropout": 0.0} | arguments).double()


@pytest.mark.parametrize(("network", "border"), [(FCN32s, 404), (FCN16s, 420), (FCN8s, 428)])
def test_shapes(network, border):
    net, image = network(channels=3, classes=4, base=1).eval(), torch.rand(2, 3, 436, 468)
    assert net.sides.border == border
    scores = net(image)
    assert scores.shape == (2, 4, 436 - border, 468 - border)
    torch.testing.assert_close(net(image, softmax=True), scores.softmax(1))


def test_parameters_are_those_of_vgg16():
    # 14,714,688 in the 13 convolutions of VGG-16, 102,764,544 in fc6 and 16,781,312 in fc7, as everywhere stated.
    net = FCN32s(channels=3, classes=21)
    count = sum(p.numel() for p in net.parameters())
    assert count == 14_714_688 + 102_764_544 + 16_781_312 + (4096 * 21 + 21) + 21 * 21 * 64 * 64


@pytest.mark.parametrize("network", NETWORKS)
def test_up_sampling_is_bilinear_at_first(network):
    net = network(base=1)
    ramp = torch.arange(5.0)[None, None, :, None].expand(1, 2, 5, 5).contiguous()
    expected = F.interpolate(ramp, scale_factor=net.stride, mode="bilinear", align_corners=False)
    cut = net.stride // 2
    assert torch.allclose(net.last_up(ramp), expected[..., cut:-cut, cut:-cut], atol=1e-6)


@pytest.mark.parametrize("network", [FCN16s, FCN8s])
def test_skips_lie_where_the_scores_are(network, generator):
    """A bright pixel moves the scores symmetrically about itself, coarse and fine ones alike."""
    net = small(network, classes=2)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if not name.startswith(("ups", "last_up")):
                parameter.fill_(0.0 if name.endswith("bias") else 1e-2)
        side = legal_side(100, net.sides)
        image = torch.rand(1, 1, side, side, dtype=torch.float64, generator=generator)
        image = image + image.flip(-1)
        scores = net(image)
    assert scores.std() > 0
    assert torch.allclose(scores, scores.flip(-1), rtol=1e-10)


@pytest.mark.parametrize("network", NETWORKS)
def test_tiles_equal_the_whole_image(network, generator):
    torch.manual_seed(0)
    net = small(network)
    image = torch.rand(1, 70, 61, generator=generator)

    def predicted(tile, count):
        plan = TilePlan((70, 61), tile, net.sides)
        tiles = mirror_tiles(image, plan.input_origins, plan.input_side).double()
        assert len(tiles) == count
        return stitch_tiles(net(tiles), plan.output_origins, (70, 61))

    with torch.inference_mode():
        whole, tiled = predicted(legal_side(70, net.sides), 1), predicted(legal_side(32, net.sides), 6)
    assert whole.std() > 0
    assert (whole - tiled).abs().max() <= 1e-12 * whole.abs().max()


@pytest.mark.parametrize("network", NETWORKS)
def test_every_parameter_learns(network, generator):
    torch.manual_seed(0)
    net = network(base=2)
    net(torch.rand(1, 1, 436, 436, generator=generator)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.norm() > 0, name


def test_an_8s_without_skips_is_a_32s(generator):
    torch.manual_seed(0)
    coarse, fine = FCN32s(base=1, dropout=0.0), FCN8s(base=1, dropout=0.0)
    fine.load_state_dict({k: v for k, v in coarse.state_dict().items() if k != "last_up.weight"}, strict=False)
    for parameter in fine.skips.parameters():
        torch.nn.init.zeros_(parameter)
    image = torch.rand(1, 1, 468, 468, generator=generator)
    cut = (fine.sides.border - coarse.sides.border) // 2
    scores, expected = fine(image), coarse(image)[..., cut:-cut, cut:-cut]
    # Twice, twice and eight times is not quite 32 times: bilinear up-sampling in steps is smoother at the scores.
    assert (scores - expected).norm() <= 0.1 * expected.norm()


def test_errors():
    with pytest.raises(ValueError, match=r"dropout: wanted a probability in \[0, 1\), got 1"):
        FCN8s(base=1, dropout=1)
    with pytest.raises(ValueError, match=r"legal input side of an FCN-8s .* got 572; the nearest is 564 or 596"):
        FCN8s(base=1)(torch.zeros(1, 1, 572, 572))
