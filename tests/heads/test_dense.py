"""Training on windows: each method learns four of them by heart, the same way each time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dofa_cli.errors import Diverged, OptionError, TooFewLabels, WrongHead
from dofa_cli.heads.augment import brightened, turned, turned_together
from dofa_cli.heads.build import dense_head, is_dense, token_head
from dofa_cli.heads.dense import fit_windows
from dofa_cli.heads.file import load_head, save_head
from dofa_cli.heads.fit import Fitted
from dofa_cli.heads.goal import NUMBER, Goal, Kind
from dofa_cli.heads.head import Head, Method
from dofa_cli.heads.loop import Backbone, Course, Epoch, sized
from dofa_cli.heads.losses import Objective, Tally
from dofa_cli.heads.settings import Training
from tests.heads.cases import CONFIG, WAVES, Listed, head_of, number_head, striped_windows, tiny

CLASSES = Goal(Kind.CLASSES, 3)
DENSE = [Method.UPERNET, Method.FINETUNE, Method.LORA]
BY_HEART = {"epochs": 40, "batch": 4, "channels": 16, "lr": 5e-3, "dropout": 0.0, "turns": False, "auxiliary": 0.4}
OF_DECODER = {"upernet": {}, "linear": {"decoder": "linear", "lr": 5e-2, "encoder_lr": 5e-3}}
SHORT = BY_HEART | {"epochs": 2, "turns": True, "jitter": 0.1, "dropout": 0.1}


def trained(method: Method, windows: Listed, settings: dict[str, object], **options: object) -> Fitted:
    backbone = Backbone(tiny(), WAVES, "cpu")
    goal = NUMBER if windows.targets.is_floating_point() else CLASSES
    return fit_windows(method, backbone, windows, goal=goal, settings=settings, **options)


def predicted(head: Head, windows: Listed) -> Tensor:
    """Return logits (N, K, s, s) as a map is made: the head's own encoder, folded."""
    made = dense_head(head, tiny())
    found = made.logits(made.dofa.fold(WAVES), windows.pixels)
    assert found.shape == (len(windows), 4 * made.detail, 4 * made.detail, made.goal.outputs)
    return sized(found.permute(0, 3, 1, 2), windows.targets)


@pytest.mark.parametrize("decoder", ["upernet", "linear"])
@pytest.mark.parametrize("method", DENSE)
def test_four_windows_are_learnt_by_heart_and_known_again_from_the_file(tmp_path, method, decoder):
    windows = striped_windows()
    fitted = trained(method, windows, BY_HEART | OF_DECODER[decoder])
    save_head(tmp_path / "h.pt", head_of(method, fitted.tensors, fitted.settings))
    head = load_head(tmp_path / "h.pt")
    labelled = windows.targets >= 0
    right = (predicted(head, windows).argmax(dim=1) == windows.targets)[labelled]
    assert float(right.float().mean()) > 0.95
    assert is_dense(head)


@pytest.mark.parametrize("method", DENSE)
def test_the_same_seed_gives_the_same_head(method):
    runs = [trained(method, striped_windows(), SHORT, seed=seed).tensors for seed in (1, 1, 2)]
    assert all(tensor.equal(runs[1][name]) for name, tensor in runs[0].items())
    assert any(not tensor.equal(runs[2][name]) for name, tensor in runs[0].items())


def test_heads_keep_their_decoder_and_what_changed_of_the_encoder():
    kept = {method: trained(method, striped_windows(), SHORT).tensors for method in DENSE}
    starts = {method: {name.split(".")[0] for name in tensors} for method, tensors in kept.items()}
    assert starts[Method.UPERNET] == {"decoder"}
    assert starts[Method.FINETUNE] == {"decoder", "encoder"}
    assert starts[Method.LORA] == {"decoder", "lora"}
    assert not any("patch_embed" in name or "auxiliary" in name for tensors in kept.values() for name in tensors)


def test_numbers_are_learnt_where_they_are_known():
    windows = striped_windows()
    heights = windows.targets.float() - 1
    heights[:, 0] = torch.nan
    numbers = Listed(windows.pixels, heights)
    fitted = trained(Method.UPERNET, numbers, BY_HEART)
    found = predicted(number_head(Method.UPERNET, fitted.tensors, fitted.settings), numbers)[:, 0]
    assert float((found - heights)[:, 1:].abs().mean()) < 0.2


def test_the_best_epoch_on_validation_is_kept_and_training_stops_early():
    windows = striped_windows()
    wrong = Listed(windows.pixels, torch.where(windows.targets == 2, 0, 2))  # the more is learnt, the worse
    seen: list[Epoch] = []
    settings = BY_HEART | {"patience": 3}
    fitted = trained(Method.UPERNET, windows, settings, validation=wrong, on_epoch=seen.append)
    best = max(range(len(seen)), key=lambda at: (seen[at].score, -seen[at].validation_loss))
    assert len(seen) == best + 1 + 3 < BY_HEART["epochs"]
    assert fitted.settings["trained_epochs"] == best + 1
    assert [epoch.number for epoch in seen if epoch.best][-1] == best + 1
    assert fitted.settings["history"][best]["score"] == seen[best].score


def test_the_kept_state_is_the_one_that_was_scored():
    windows, held_out = striped_windows(), striped_windows(3)
    seen: list[Epoch] = []
    fitted = trained(
        Method.FINETUNE,
        windows,
        BY_HEART | {"epochs": 6},
        validation=held_out,
        on_epoch=seen.append,
        weights="balanced",
    )
    kept = next(epoch for epoch in reversed(seen) if epoch.best)
    logits = predicted(head_of(Method.FINETUNE, fitted.tensors, fitted.settings), held_out)
    tally = Tally(Objective(CLASSES))
    tally.add(logits, held_out.targets)
    assert tally.score == pytest.approx(kept.score, abs=1e-4)


def test_pixels_that_are_no_numbers_diverge():
    windows = striped_windows()
    windows.pixels[0, 0, 0, 0] = torch.nan
    with pytest.raises(Diverged, match=r"loss is nan at a learning rate of 0\.00\d+\. Give a smaller lr"):
        trained(Method.UPERNET, windows, SHORT)


def test_one_class_alone_and_no_windows_are_refused():
    windows = striped_windows()
    with pytest.raises(TooFewLabels, match="of one class"):
        trained(Method.UPERNET, Listed(windows.pixels, windows.targets.clamp(max=0)), SHORT)
    with pytest.raises(TooFewLabels, match="no labels"):
        trained(Method.UPERNET, Listed(windows.pixels[:0], windows.targets[:0]), SHORT)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epoch": 3}, "Did you mean 'epochs'"),
        ({"epochs": -1}, "epochs must be 0 or more"),
        ({"batch": 0}, "batch must be 1 or more"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"warmup": 3.0}, "warmup must lie from 0 to 1"),
        ({"decoder": "unet"}, "Use upernet or linear"),
        ({"turns": 1}, "must be like True"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings, said):
    with pytest.raises(OptionError, match=said):
        trained(Method.UPERNET, striped_windows(), settings)


def test_methods_of_single_embeddings_take_no_windows():
    with pytest.raises(OptionError, match="linear learns from single embeddings"):
        trained(Method.LINEAR, striped_windows(), {})


def test_a_head_of_windows_is_none_of_tokens_and_the_other_way_round():
    dense = head_of(Method.UPERNET, trained(Method.UPERNET, striped_windows(), SHORT).tensors, Training().plain())
    tokens = head_of(Method.LINEAR, {"weight": torch.ones(3, 24), "bias": torch.zeros(3)})
    with pytest.raises(WrongHead, match="needs pixels"):
        token_head(dense)
    with pytest.raises(WrongHead, match="needs no windows"):
        dense_head(tokens, tiny())


@pytest.mark.parametrize(("samples", "epochs"), [(1, 60), (64, 60), (200, 32), (800, 20), (10**5, 20)])
def test_small_sets_are_gone_through_more_often(samples, epochs):
    assert Training(batch=8).settled(samples).epochs == epochs
    assert Training(batch=8, epochs=7).settled(samples).epochs == 7


def test_the_rate_rises_and_falls():
    course = Course(Training(warmup=0.1), Objective(CLASSES), Backbone(tiny(), WAVES, "cpu"), 0)
    shares = [course.learning_share(step, 100) for step in range(100)]
    assert shares[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert shares[10] == 1
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[-1] < 0.001


class TestAugmentation:
    def test_the_eight_symmetries_differ_and_are_undone_by_one_of_them(self):
        block = torch.arange(9).view(1, 3, 3)
        found = [turned(block, number) for number in range(8)]
        assert len({tuple(one.flatten().tolist()) for one in found}) == 8
        assert all(any(turned(one, number).equal(block) for number in range(8)) for one in found)

    def test_pixels_and_targets_turn_together(self):
        target = torch.arange(6 * 25).view(6, 5, 5)
        pixels = target[:, None].expand(-1, 3, -1, -1).float()
        turned_pixels, turned_target = turned_together(pixels, target, torch.Generator().manual_seed(0))
        assert turned_pixels[:, 1].equal(turned_target.float())
        assert not turned_target.equal(target)

    def test_targets_of_whole_images_stay(self):
        target = torch.tensor([[0, 1], [1, 0]])
        assert turned_together(torch.randn(2, 3, 4, 4), target, torch.Generator())[1].equal(target)

    def test_brightness_changes_within_its_share(self):
        pixels = torch.ones(50, 2, 3, 3)
        found = brightened(pixels, 0.1, torch.Generator().manual_seed(0))
        assert float((found - pixels).abs().max()) <= 0.2
        assert found[:, 0, 0, 0].unique().numel() == 50
        assert found.flatten(1).std(dim=1).max() == 0


def test_a_head_on_an_encoder_of_another_shape_names_both():
    fitted = trained(Method.UPERNET, striped_windows(), SHORT)
    other = head_of(Method.UPERNET, fitted.tensors, fitted.settings, architecture=CONFIG.to_json().replace("24", "48"))
    with pytest.raises(WrongHead, match=r"embed_dim=48.*embed_dim=24"):
        dense_head(other, tiny())
