"""Crops and batches: where they lie, what they hold, and that they come again."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.errors import OptionError
from dofa_cli.training.augment import SYMMETRIES, fitted, turned, whole_patches
from dofa_cli.training.data import BATCH_VALUES, CropRules, batch_size, draw_batch, random_numbers
from dofa_cli.training.proxies import proxy_for
from dofa_cli.training.stream import BatchStream, choose

PLAIN = CropRules(size=8, patch=4, turn=False)
FOUR = (0.49, 0.56, 0.665, 0.83)


def draw(source, count=8, rules=PLAIN, seed=0):
    return draw_batch(source, source.images, count, rules, random_numbers(seed, 0))


class TestSymmetries:
    @given(st.integers(1, 5), st.integers(0, SYMMETRIES - 1))
    def test_keep_every_value(self, side, number):
        block = np.arange(2 * side * side).reshape(2, side, side)
        assert sorted(turned(block, number).ravel()) == sorted(block.ravel())

    def test_are_eight_different_ones(self):
        block = np.arange(9).reshape(3, 3)
        assert len({turned(block, number).tobytes() for number in range(SYMMETRIES)}) == SYMMETRIES

    def test_the_first_is_the_block_itself(self):
        assert turned(np.arange(4).reshape(2, 2), 0).tolist() == [[0, 1], [2, 3]]


class TestEnlarging:
    def test_keeps_a_slope_a_slope(self):
        ramp = torch.arange(4.0).expand(1, 1, 4, 4)
        torch.testing.assert_close(fitted(ramp, 8)[0, 0, 0, 1:-1], torch.arange(0.25, 3, 0.5))

    def test_leaves_out_patches_that_an_invalid_pixel_reaches(self):
        valid = torch.ones(1, 1, 4, 4, dtype=torch.bool)
        valid[0, 0, 0, 0] = False
        assert whole_patches(valid, 8, 2)[0].view(4, 4).tolist() == [
            [False, False, True, True],
            [False, False, True, True],
            [True, True, True, True],
            [True, True, True, True],
        ]


class TestReducing:
    def test_averages_pixels(self):
        checks = torch.tensor([[0.0, 2.0], [2.0, 0.0]]).repeat(8, 8).expand(1, 1, 16, 16)
        torch.testing.assert_close(fitted(checks, 4)[0, 0, 1:-1, 1:-1], torch.ones(2, 2))

    def test_crops_cover_up_to_as_many_times_the_side(self, source_of, image_of):
        ramp = np.tile(np.arange(32, dtype=np.float32), (1, 32, 1))
        source = source_of(waves=(0.6,), pictures=(image_of(ramp),), shrink=4)
        steps = {round(float(draw(source, seed=seed).pixels[0, 0, 0, 3:5].diff()), 3) for seed in range(40)}
        assert min(steps) == pytest.approx(1)
        assert 2 < max(steps) <= 4

    def test_crops_are_no_larger_than_the_largest_image(self, source_of, image_of):
        small, large = (image_of(np.full((1, side, side), side, np.float32)) for side in (9, 12))
        source = source_of(waves=(0.6,), pictures=(small, large), shrink=100)
        assert source.largest(PLAIN) == 12
        assert draw(source).pixels.shape == (8, 1, 8, 8)


class TestShares:
    def test_of_a_batch_are_masked_and_taught(self, source_of):
        batch = draw(source_of(), rules=replace(PLAIN, masked=0.25, proxies=0.5))
        assert (len(batch.pixels), len(batch.proxy), batch.count) == (2, 4, 4)

    def test_of_a_source_replace_the_runs(self, source_of):
        source = source_of(masked=0.5, taught=1.0)
        batch = draw(source, rules=replace(PLAIN, masked=0.25, proxies=0.5))
        assert (len(batch.pixels), len(batch.proxy)) == (4, 8)

    def test_without_a_teacher_nothing_is_taught(self, source_of):
        assert len(draw(source_of(taught=1.0)).proxy) == 0

    def test_do_not_change_the_crops(self, source_of):
        whole = draw(source_of(), rules=replace(PLAIN, proxies=1.0))
        part = draw(source_of(masked=0.25, taught=0.5), rules=replace(PLAIN, proxies=1.0))
        assert torch.equal(part.pixels, whole.pixels[:2])
        assert torch.equal(part.proxy, whole.proxy[:4])


class TestCrops:
    def test_are_parts_of_the_image(self, source_of, image_of):
        values = np.arange(400, dtype=np.float32).reshape(1, 20, 20)
        batch = draw(source_of(waves=(0.6,), pictures=(image_of(values),)))
        for crop in batch.pixels[:, 0]:
            row, col = divmod(int(crop[0, 0]), 20)
            np.testing.assert_array_equal(crop, values[0, row : row + 8, col : col + 8])

    def test_lie_in_different_places(self, source_of):
        assert len({float(crop[0, 0, 0]) for crop in draw(source_of()).pixels}) > 4

    def test_of_zoomed_sources_are_of_smaller_parts(self, source_of, image_of):
        ramp = np.tile(np.arange(20, dtype=np.float32), (1, 20, 1))
        batch = draw(source_of(waves=(0.6,), pictures=(image_of(ramp),), zoom=2))
        assert batch.pixels.shape == (8, 1, 8, 8)
        assert float(batch.pixels[0, 0, 0].diff().max()) == pytest.approx(0.5)

    def test_have_sizes_between_the_smallest_and_the_whole(self, source_of, image_of):
        ramp = np.tile(np.arange(40, dtype=np.float32), (1, 40, 1))
        source = source_of(waves=(0.6,), pictures=(image_of(ramp),))
        rules = replace(PLAIN, min_scale=0.25)
        slopes = {round(float(draw(source, rules=rules, seed=seed).pixels[0, 0, 4].diff()[3]), 3) for seed in range(40)}
        assert slopes == {0.5, 0.625, 0.75, 0.875, 1.0}

    def test_come_from_large_images_more_often(self, source_of, image_of):
        small, large = np.zeros((1, 8, 8), np.float32), np.ones((1, 32, 32), np.float32)
        batch = draw(source_of(waves=(0.6,), pictures=(image_of(small), image_of(large))), count=500)
        assert float(batch.pixels.mean()) == pytest.approx(16 / 17, abs=0.04)

    def test_are_standardised_by_the_rule_of_their_image(self, source_of, image_of):
        one, other = (image_of(np.full((1, 8, 8), value, np.float32)) for value in (1, 2))
        other = replace(other, standardise=lambda block: 10 * one.standardise(block))
        found = draw(source_of(waves=(0.6,), pictures=(one, other)), count=64).pixels.unique()
        assert found.tolist() == [1, 20]

    def test_of_scenes_on_disk_come_in_groups_from_one_tile(self, source_of, image_of):
        reads = []
        scene = image_of(np.zeros((3, 200, 300), np.float32), in_memory=False, reads=reads)
        draw(source_of(pictures=(scene,)), count=24)
        assert len(reads) == 3
        assert all((window.height, window.width) == (24, 24) for window in reads)


class TestInvalidPixels:
    def holed(self, source_of, image_of):
        values, valid = np.zeros((3, 16, 16), np.float32), np.ones((16, 16), bool)
        valid[8:, 8:] = False
        return source_of(pictures=(image_of(values, valid),))

    def test_leave_crops_out_that_have_too_many(self, source_of, image_of):
        batch = draw(self.holed(source_of, image_of), count=64, rules=replace(PLAIN, min_valid=1.0))
        assert batch.valid is None

    def test_mark_the_patches_that_they_lie_in(self, source_of, image_of):
        batch = draw(self.holed(source_of, image_of), count=64, rules=replace(PLAIN, min_valid=0.7))
        assert batch.valid.shape == (64, 4)
        assert 0 < (~batch.valid).float().mean() < 0.3
        assert batch.valid.any(dim=1).all()

    def test_all_over_end_in_an_error_that_names_the_source(self, source_of, image_of):
        nothing = image_of(np.zeros((3, 16, 16), np.float32), np.zeros((16, 16), bool))
        with pytest.raises(OptionError, match="Source 'rgb': next to no crop of 8 pixels has 90% valid"):
            draw(source_of(pictures=(nothing,)))


class TestBands:
    def test_all_are_shown_by_default(self, source_of):
        assert draw(source_of(waves=FOUR)).wavelengths_um == FOUR

    def test_dropped_ones_take_their_wavelengths_with_them(self, source_of, image_of):
        values = np.stack([np.full((8, 8), wave, np.float32) for wave in FOUR])
        source = source_of(waves=FOUR, pictures=(image_of(values),))
        counts = set()
        for seed in range(20):
            batch = draw(source, rules=replace(PLAIN, drop_bands=0.5), seed=seed)
            assert batch.pixels[0, :, 0, 0].tolist() == pytest.approx(batch.wavelengths_um)
            counts.add(len(batch.wavelengths_um))
        assert counts == {2, 3, 4}

    def test_no_more_than_the_most_are_shown(self, source_of):
        waves = tuple(np.linspace(0.4, 2.4, 30))
        assert len(draw(source_of(waves=waves, most_bands=10)).wavelengths_um) == 10

    def test_many_bands_make_batches_smaller(self, source_of):
        many = source_of(waves=tuple(np.linspace(0.4, 2.4, 200)), images=1)
        assert batch_size(many, 256, 224) == BATCH_VALUES // (200 * 224 * 224)
        assert batch_size(replace(many, most_bands=3), 256, 224) == 256
        assert batch_size(replace(many, batch=2), 256, 224) == 2


class TestProxies:
    @pytest.mark.parametrize(
        ("waves", "bands", "proxy_um"),
        [
            ((3.75, 3.75), (0, 1, None), (3.75,) * 3),
            ((0.6,), (0, 0, 0), (0.6,) * 3),
            ((0.665, 0.56, 0.49), (0, 1, 2), (0.665, 0.56, 0.49)),
            (FOUR, (2, 1, 0), (0.665, 0.56, 0.49)),
            ((0.665, 0.56, 0.49, 0.705, 0.74, 0.783, 0.842, 1.61, 2.19), (0, 1, 2), (0.665, 0.56, 0.49)),
        ],
    )
    def test_are_the_published_bands(self, waves, bands, proxy_um):
        proxy = proxy_for(waves)
        assert (proxy.bands, proxy.wavelengths_um) == (bands, proxy_um)

    def test_of_enmap_are_the_published_channels(self):
        from dofa_cli.sensors.registry import built_in

        enmap = built_in("enmap")
        waves = [enmap.by_id[name].wavelength_um("dofa_v1") for name in enmap.default_bands("dofa_v1")]
        assert proxy_for(waves).bands == (47, 29, 15)

    def test_of_radar_end_in_zeros(self):
        pixels = torch.rand(2, 2, 4, 4)
        found = proxy_for((3.75, 3.75)).of(pixels)
        assert torch.equal(found[:, :2], pixels)
        assert found[:, 2].abs().sum() == 0

    def test_show_the_first_crops_only(self, source_of):
        batch = draw(source_of(waves=FOUR), count=8, rules=replace(PLAIN, proxies=0.25))
        assert torch.equal(batch.proxy, batch.pixels[:2, [2, 1, 0]])

    def test_are_of_all_bands_even_if_some_are_dropped(self, source_of):
        rules = replace(PLAIN, drop_bands=0.7, proxies=1.0)
        assert draw(source_of(waves=FOUR), rules=rules).proxy.shape[1] == 3


class TestStream:
    def stream(self, source_of, schedule_of, **fields) -> BatchStream:
        sources = (source_of(), source_of("radar", (3.75, 3.75)))
        return BatchStream(sources, schedule_of(rgb=3, radar=1), PLAIN, seed=1, **fields)

    def test_gives_the_same_batch_for_the_same_step(self, source_of, schedule_of):
        one, other = (self.stream(source_of, schedule_of) for _ in range(2))
        other.batch(3, 0)
        assert torch.equal(one.batch(5, 0).pixels, other.batch(5, 0).pixels)

    def test_goes_on_where_it_was_left(self, source_of, schedule_of):
        stream = self.stream(source_of, schedule_of, parts=2)
        whole = [batch.pixels for batch in stream.ahead(0)]
        rest = [batch.pixels for batch in stream.ahead(7, workers=2)]
        assert len(whole) == 40
        assert all(torch.equal(one, other) for one, other in zip(whole[14:], rest, strict=True))

    def test_draws_sources_in_proportion_to_their_weights(self, source_of):
        sources = (source_of(), source_of("radar", (3.75, 3.75)), source_of("never"))
        weights = {"rgb": 3, "radar": 1, "never": 0}
        found = [choose(sources, weights, random_numbers(0, step)).name for step in range(2000)]
        assert found.count("rgb") == pytest.approx(1500, abs=60)
        assert "never" not in found

    def test_processes_see_other_crops_of_the_same_source(self, source_of, schedule_of):
        one, other = (self.stream(source_of, schedule_of, rank=rank).batch(4, 0) for rank in (0, 1))
        assert one.source == other.source
        assert not torch.equal(one.pixels, other.pixels)

    def test_measures_held_out_images_where_there_are_any(self, source_of, schedule_of, image_of):
        apart = image_of(np.full((3, 16, 16), 7, np.float32))
        source = source_of(held_out=(apart,))
        stream = BatchStream((source,), schedule_of(), replace(PLAIN, drop_bands=0.5), seed=0)
        (batch,) = stream.measured()
        assert batch.pixels.unique().tolist() == [7]
        assert batch.wavelengths_um == source.wavelengths_um

    def test_leaves_no_thread_behind_when_it_is_closed(self, source_of, schedule_of):
        batches = self.stream(source_of, schedule_of).ahead(0)
        next(batches)
        batches.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]

    def test_passes_errors_on(self, source_of, schedule_of, image_of):
        nothing = image_of(np.zeros((3, 16, 16), np.float32), np.zeros((16, 16), bool))
        stream = BatchStream((source_of(pictures=(nothing,)),), schedule_of(), PLAIN, seed=0)
        with pytest.raises(OptionError, match="next to no crop"):
            next(stream.ahead(0))
