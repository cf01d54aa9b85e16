"""ALTI and ALTI+: a two-layer encoder-decoder by hand, and every family against the independent computation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy
import torch

from budgetlens.model.mixing import contributions, mixed, mixed_with_own
from tests.reference import alti

# By hand. Width 2, one head, two encoder tokens e1 and e2, two decoder tokens d1 and d2; nothing between the sublayers.
# The map of a layer's values, W, is the identity or minus the identity, so that T_k = ±α_k x_k.

HALF = (0.5, 0.5)


@dataclass(frozen=True)
class Hand:
    """One sublayer: attention by row, the states of its keys, those of its rows, and the sign of W."""

    weights: tuple[tuple[float, ...], ...]
    keys: tuple[tuple[float, float], ...]
    rows: tuple[tuple[float, float], ...]
    sign: float = 1.0

    @property
    def reference(self) -> alti.Sublayer:
        """As the independent implementation takes it."""
        weights, keys, rows = (numpy.array(part) for part in (self.weights, self.keys, self.rows))
        return alti.Sublayer(weights[None], self.sign * keys[None], rows, weights @ (self.sign * keys))

    def mixed(self, below: numpy.ndarray, own: numpy.ndarray | None = None) -> numpy.ndarray:
        """What the project makes of it: one layer of a rollout; ``own`` is what its rows are, if no keys of it."""
        sublayer = self.reference
        residual = torch.tensor(sublayer.residual)
        given = torch.tensor(sublayer.transformed)
        shares = contributions(
            torch.tensor(sublayer.weights),
            lambda keys: given[:, keys].transpose(0, 1),
            residual + torch.tensor(sublayer.output),
            residual,
            torch.arange(len(self.rows)) if own is None else None,
        )
        if own is None:
            return mixed(shares, torch.tensor(below)).numpy()
        return mixed_with_own(shares, torch.tensor(below), torch.tensor(own)).numpy()


ENCODER = (
    # y1 = e1 + ½e1 + ½e2 = (2,0) + (1,0) + (0,1) = (3,1), ‖y1‖ = 4. Own: e1 + ½e1 = (3,0), 4 − ‖(0,1)‖ = 3; e2: 4 − ‖(3,0)‖ = 1.
    # y2 = e2 + e2 = (0,4). Own: 4 − 0 = 4; e1 gives nothing: 4 − 4 = 0.                    C = [[3/4, 1/4], [0, 1]]
    Hand((HALF, (0.0, 1.0)), ((2.0, 0.0), (0.0, 2.0)), ((2.0, 0.0), (0.0, 2.0))),
    # W = −1. y1 = (3,1) − (0,4) = (3,−3), 6. Own (3,1): 6 − ‖(0,−4)‖ = 2; the other (0,−4): 6 − ‖(3,1)‖ = 2.
    # y2 = (0,4) − ½(3,1) − ½(0,4) = (−1.5,1.5), 3. Own (0,4) − (0,2) = (0,2): 3 − ‖(−1.5,−.5)‖ = 1; the other
    # (−1.5,−.5): 3 − ‖(0,2)‖ = 1.                                                          C = [[1/2, 1/2], [1/2, 1/2]]
    Hand(((0.0, 1.0), HALF), ((3.0, 1.0), (0.0, 4.0)), ((3.0, 1.0), (0.0, 4.0)), -1.0),
)
#: ½(3/4, 1/4) + ½(0, 1) for both.
ENCODER_ROLLOUT = numpy.array([[3 / 8, 5 / 8], [3 / 8, 5 / 8]])
FINAL = ((3.0, -3.0), (-1.5, 1.5))

SEPARATE = (
    (
        # y1 = d1 + d1 = (2,0): own alone. y2 = d2 + ½d1 + ½d2 = (.5,3), 3.5. Own (0,3): 3.5 − .5 = 3; d1 (.5,0): 3.5 − 3 = .5.
        #                                                                                   C = [[1, 0], [1/7, 6/7]]
        Hand(((1.0, 0.0), HALF), ((1.0, 0.0), (0.0, 2.0)), ((1.0, 0.0), (0.0, 2.0))),
        # y1 = (2,0) + ⅓(3,−3) + ⅔(−1.5,1.5) = (2,0), 2. Residual: 2 − 0 = 2; e1 (1,−1): 2 − ‖(1,1)‖ = 0; e2 (−1,1):
        # 2 − ‖(3,−1)‖ = −2, which is 0. y2 = (.5,3) + (−1.5,1.5) = (−1,4.5), 5.5. Residual: 5.5 − ‖(−1.5,1.5)‖ = 2.5;
        # e1: 0; e2: 5.5 − ‖(.5,3)‖ = 2.                                     C = [[1; 0, 0], [5/9; 0, 4/9]]
        Hand(((1 / 3, 2 / 3), (0.0, 1.0)), FINAL, ((2.0, 0.0), (0.5, 3.0))),
    ),
    (
        # W = −1. y1 = (2,0) − (2,0) = 0: a row of zeros, undefined. y2 = (−1,4.5) − (1,0) − (−.5,2.25) = (−1.5,2.25), 3.75.
        # Own (−1,4.5) − (−.5,2.25) = (−.5,2.25): 3.75 − 1 = 2.75; d1 (−1,0): 3.75 − ‖(−.5,2.25)‖ = 1.
        #                                                                                   C = [[–, –], [4/15, 11/15]]
        Hand(((1.0, 0.0), HALF), ((2.0, 0.0), (-1.0, 4.5)), ((2.0, 0.0), (-1.0, 4.5)), -1.0),
        # y1 = 0 + (3,−3). Residual: 6 − 6 = 0, so that nothing of the undefined row is taken; e1: 6.
        # y2 = (−1.5,2.25) + ½(3,−3) + ½(−1.5,1.5) = (−.75,1.5), 2.25. Residual: 2.25 − ‖(.75,−.75)‖ = .75; e1 (1.5,−1.5):
        # 2.25 − ‖(−2.25,3)‖ = −3, which is 0; e2 (−.75,.75): 2.25 − ‖(0,.75)‖ = 1.5.        C = [[0; 1, 0], [1/3; 0, 2/3]]
        Hand(((1.0, 0.0), HALF), FINAL, ((0.0, 0.0), (-1.5, 2.25))),
    ),
)
#: Columns d1, d2, e1, e2.
SEPARATE_ROLLOUT = (
    # Row 2: 5/9·(1/7, 6/7) of the decoder, 4/9·(3/8, 5/8) of the encoder.
    numpy.array([[1, 0, 0, 0], [5 / 63, 30 / 63, 1 / 6, 5 / 18]]),
    # Row 1: all of e1's. Row 2, self: 4/15·(1, 0 | 0, 0) + 11/15·(5/63, 30/63 | 1/6, 5/18) = (307/945, 22/63 | 11/90, 11/54);
    # a third of that, and two thirds of (3/8, 5/8): 11/270 + 1/4 = 157/540, 11/162 + 5/12 = 157/324.
    numpy.array([[0, 0, 3 / 8, 5 / 8], [307 / 2835, 22 / 189, 157 / 540, 157 / 324]]),
)

MERGED = (
    # Keys d1, d2, e1, e2. y1 = (1,0) + ½(1,0) + ½(3,−3) = (3,−1.5), 4.5. Own (1.5,0): 4.5 − ‖(1.5,−1.5)‖ = 1.5; e1
    # (1.5,−1.5): 4.5 − ‖(1.5,0)‖ = 3. y2 = (0,2) + ¼(1,0) + ¼(0,2) + ½(−1.5,1.5) = (−.5,3.25), 3.75. d1 (.25,0):
    # 3.75 − 4 = −.25, which is 0; own (0,2.5): 3.75 − ‖(−.5,.75)‖ = 2.5; e2 (−.75,.75): 3.75 − ‖(.25,2.5)‖ = 1.
    #                                                                  C = [[1/3, 0, 2/3, 0], [0, 5/7, 0, 2/7]]
    Hand(
        ((0.5, 0.0, 0.5, 0.0), (0.25, 0.25, 0.0, 0.5)),
        ((1.0, 0.0), (0.0, 2.0), *FINAL),
        ((1.0, 0.0), (0.0, 2.0)),
    ),
    # y1 = (3,−1.5) + (−1.5,1.5) = (1.5,0), 1.5. Own: 1.5 − ‖(−1.5,1.5)‖ = −1.5; e2: 1.5 − ‖(3,−1.5)‖ = −3: all 0, undefined.
    # y2 = (−.5,3.25) + ½(3,−1.5) + ½(3,−3) = (2.5,1), 3.5. d1 (1.5,−.75): 3.5 − ‖(1,1.75)‖ = .75; own (−.5,3.25):
    # 3.5 − ‖(3,−2.25)‖ = −1.75; e1 (1.5,−1.5): 3.5 − ‖(1,2.5)‖ = 0.                       C = [[–], [1, 0, 0, 0]]
    Hand(
        ((0.0, 0.0, 0.0, 1.0), (0.5, 0.0, 0.5, 0.0)),
        ((3.0, -1.5), (-0.5, 3.25), *FINAL),
        ((3.0, -1.5), (-0.5, 3.25)),
    ),
)
MERGED_ROLLOUT = (
    # 2/3·(3/8, 5/8) and 2/7·(3/8, 5/8) of the encoder.
    numpy.array([[1 / 3, 0, 1 / 4, 5 / 12], [0, 5 / 7, 3 / 28, 5 / 28]]),
    # Row 2 is what d1's was below.
    numpy.array([[math.nan] * 4, [1 / 3, 0, 1 / 4, 5 / 12]]),
)
#: Sums of a few numbers, each rounded once.
ROUNDINGS = 8 * numpy.finfo(numpy.float64).eps


def same(found: numpy.ndarray, expected: numpy.ndarray) -> None:
    numpy.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDINGS)


def test_the_independent_implementation_by_hand() -> None:
    encoder = [alti.own_block(layer.reference) for layer in ENCODER]
    same(encoder[0], numpy.array([[3 / 4, 1 / 4], [0, 1]]))
    same(encoder[1], numpy.full((2, 2), 1 / 2))
    separate = [(alti.own_block(own.reference), alti.cross_block(cross.reference)) for own, cross in SEPARATE]
    same(separate[0][0], numpy.array([[1, 0], [1 / 7, 6 / 7]]))
    same(separate[0][1], numpy.array([[1, 0, 0], [5 / 9, 0, 4 / 9]]))
    same(separate[1][0], numpy.array([[math.nan] * 2, [4 / 15, 11 / 15]]))
    same(separate[1][1], numpy.array([[0, 1, 0], [1 / 3, 0, 2 / 3]]))
    merged = [(alti.own_block(layer.reference),) for layer in MERGED]
    same(merged[0][0], numpy.array([[1 / 3, 0, 2 / 3, 0], [0, 5 / 7, 0, 2 / 7]]))
    same(merged[1][0], numpy.array([[math.nan] * 4, [1, 0, 0, 0]]))
    for decoder, expected in ((separate, SEPARATE_ROLLOUT), (merged, MERGED_ROLLOUT)):
        of_encoder, of_decoder = alti.rolled_out(encoder, decoder)
        same(of_encoder[-1], ENCODER_ROLLOUT)
        for found, wanted in zip(of_decoder, expected, strict=True):
            same(found, wanted)


def encoder_rollout() -> numpy.ndarray:
    below = numpy.eye(2)
    for layer in ENCODER:
        below = layer.mixed(below)
    return below


def of_encoder(rollout: numpy.ndarray) -> numpy.ndarray:
    """Rows of encoder states over the columns d1, d2, e1, e2."""
    return numpy.concatenate([numpy.zeros((2, 2)), rollout], axis=1)


def test_contributions_and_rollout_by_hand() -> None:
    memory = encoder_rollout()
    same(memory, ENCODER_ROLLOUT)
    below = numpy.eye(2, 4)
    for (own, cross), expected in zip(SEPARATE, SEPARATE_ROLLOUT, strict=True):
        below = cross.mixed(of_encoder(memory), own.mixed(below))
        same(below, expected)
    below = numpy.eye(2, 4)
    for layer, expected in zip(MERGED, MERGED_ROLLOUT, strict=True):
        below = layer.mixed(numpy.concatenate([below, of_encoder(memory)]))
        same(below, expected)
