"""What Doimo et al. 2022 claim: D01 to D18.

Networks of one recipe are a curve. The chunks are those of its widest networks, seeds are replicates. Exponents rest on
bootstrap samples over networks and test examples together. Numbers that the paper gives for its own data, such as w*
near 100, are asked of these data alone; elsewhere their place in the curve stands for them.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import stats

from tfunits.configs import Margins, UserError
from tfunits.reports.chunks import LARGEST_SHARE, fit_width_power_law
from tfunits.reports.figures.chunk_tables import up_to_margin
from tfunits.reports.figures.claims.clones import (
    ABOUT,
    CIFAR,
    chunk_sizes_within,
    clone_sizes,
    fit_chunks,
    label_verdict,
    mean_of,
    quotients,
    refuse_clones,
    refuse_limit,
    shorten,
    unfitted,
)
from tfunits.reports.figures.claims.onset import (
    correlation_falls_then_stays,
    correlation_stays,
    network_fits_first,
    stopped_early,
)
from tfunits.reports.figures.recipes import (
    Recipe,
    by_seed,
    chunk_error,
    find_grown_widths,
    find_kept_widths,
    find_recipes,
    reconstruction_number,
)
from tfunits.reports.figures.rules import all_of, cannot_tell, decide_greater, decide_inside, decide_less
from tfunits.reports.figures.runs import Runs
from tfunits.reports.figures.sample_rules import decide_exponent, decide_other_exponent, decide_samples
from tfunits.reports.figures.verdicts import Claim, Verdict
from tfunits.reports.records import RunRecord
from tfunits.statistics import (
    FITTED_ERROR,
    STRICTLY_FITTED_ERROR,
    PowerLawInterval,
    bias_variance,
    bootstrap_ratio,
    bootstrap_variance,
    first_at_most,
    noise_floor,
)

_MNIST = ("mnist_parity",)
_IMAGENET = ("imagenet2012",)
# The paper's exponent, and that of Geiger et al. 2020 for networks without weight decay; midway between them is where a
# network is nearer to the one or the other.
_HALF, _WHOLE = -0.5, -1.0
_MIDWAY = (_HALF + _WHOLE) / 2
# Doimo et al. 2022, section 3: w*, and the width below which R2 is linear in w.
_CLONE_SIZES = {"mnist_parity": 50, "cifar10": 100, "cifar100": 200}
_LINEAR_BELOW = {"mnist_parity": 6, "cifar10": 20, "cifar100": 60}
# Section 3, without a figure's number: intrinsic dimension of the last hidden layer.
_DIMENSIONS = {"mnist_parity": 2, "cifar10": 12, "cifar100": 14}
# Figure 7a: training error of the widest ResNet50.
_WIDEST_RESNET50 = 4.0
_WIDEST_RESNET50_ERROR = 0.08
# From here on constants are ours (CLAIMS), fixed before any run was judged.
_DETERMINED = 0.9
_LINEAR = 0.95
_FALLEN = 0.25
# Below w* the law is read over two doublings: chance bounds the errors of smaller chunks. Where nothing is a clone, it
# is read over three, up to a quarter of the layer.
_DOUBLINGS_BELOW = 2
_DOUBLINGS_WITHOUT_CLONES = 3

Curves = Callable[[Recipe, Margins], Sequence[Verdict]]


def _width_exponent(recipe: Recipe, margins: Margins) -> list[Verdict]:
    """D01: excess of full networks as W^-1/2 for W >= W*."""
    return [
        _of_width_law(recipe, "exponent of full networks is -1/2", lambda check, law, count: decide_exponent(
            check, law, _HALF, networks=count, margins=margins
        ))
    ]  # fmt: skip


def _of_width_law(recipe: Recipe, check: str, decide: Callable[[str, PowerLawInterval, int], Verdict]) -> Verdict:
    """What `decide` says of the power law of full networks from W* on."""
    refused = refuse_limit(recipe)
    if refused:
        return cannot_tell(check, refused)
    records = [record for records in recipe.by_width.values() for record in records]
    try:
        law = fit_width_power_law(records, recipe.limit.wrong)
    except (UserError, ValueError) as error:
        return cannot_tell(check, shorten(error))
    return decide(check, law, min(map(len, recipe.by_width.values())))


def _fits_from_352_on(recipe: Recipe, margins: Margins) -> list[Verdict]:
    """D02: no training error from W = 352 or the next width on, and some at the width before."""
    before, *reaching = (176, 352, 704)
    errors = {width: by_seed(records, chunk_error) for width, records in recipe.by_width.items()}
    missing = [width for width in (before, reaching[-1]) if width not in errors]
    check = "training error reaches 0 at W = 352 or 704"
    if missing:
        return [cannot_tell(check, f"there are no three networks with W = {missing[0]}")]
    # The wider of the two decides: where 352 fits, so does 704.
    return [
        all_of(check, [
            decide_greater(f"some at W = {before}", errors[before], STRICTLY_FITTED_ERROR, margins=margins),
            decide_less(f"none at W = {reaching[-1]}", errors[reaching[-1]], STRICTLY_FITTED_ERROR, margins=margins),
        ], margins=margins)
    ]  # fmt: skip


def _chunk_exponent(recipe: Recipe, margins: Margins) -> list[Verdict]:
    """D03: excess of chunks as w^-1/2 for w* <= w <= W / 4, and steeper below w*."""
    checks = ("exponent of chunks from w* on is -1/2", "exponent of chunks is lower below w*")
    clone = recipe.critical.clone_size
    refused = refuse_limit(recipe) or refuse_clones(recipe)
    if refused:
        return [cannot_tell(check, refused) for check in checks]
    networks = len(recipe.widest)
    above = fit_chunks(recipe, clone_sizes(recipe, clone))
    below = fit_chunks(recipe, chunk_sizes_within(recipe, clone / 2**_DOUBLINGS_BELOW, clone))
    if isinstance(above, str):
        return [cannot_tell(check, above) for check in checks]
    first = decide_exponent(checks[0], above, _HALF, networks=networks, margins=margins)
    if isinstance(below, str):
        return [first, cannot_tell(checks[1], below)]
    # Both draw the same networks and examples, so that sample by sample one can be subtracted from the other.
    value, samples = below.law.exponent - above.law.exponent, below.exponents - above.exponents
    second = decide_samples(checks[1], value, samples, networks=networks, high=0, margins=margins)
    beside = {"below": below.law.exponent, "from_clones_on": above.law.exponent}
    return [first, dataclasses.replace(second, numbers={**second.numbers, **beside})]


def _clones_are_networks(recipe: Recipe, margins: Margins) -> list[Verdict]:
    """D04: a chunk of w units has the excess of a full network of width w from w* on, and more error below."""
    clone = recipe.critical.clone_size
    refused = refuse_limit(recipe) or refuse_clones(recipe)
    if refused:
        return [cannot_tell("chunks against full networks of their width", refused)]
    verdicts = []
    for width, records in recipe.by_width.items():
        if width >= recipe.critical.layer_width:
            continue
        check = f"at w = {width}, chunks' {{}} full networks'"
        if width < clone:
            chunks = by_seed(recipe.widest, lambda record, size=width: float(_wrong_shares(record, size).mean()))
            full = by_seed(records, lambda record: chunk_error(record, split="test"))
            verdicts.append(decide_greater(check.format("error is above"), chunks, than=full, margins=margins))
        else:
            check = check.format("excess is within 1/2 .. 2 of")
            verdicts.append(_excess_ratio(recipe, width, records, check, margins))
    return verdicts or [cannot_tell("chunks against full networks of their width", "there are no such networks")]


def _excess_ratio(recipe: Recipe, width: int, records: Sequence[RunRecord], check: str, margins: Margins) -> Verdict:
    shares = [_wrong_shares(record, width) for record in recipe.widest]
    full = [_wrong_shares(record, record.chunks["test"].width) for record in records]
    try:
        ratio, samples = bootstrap_ratio(np.stack(shares), np.stack(full), recipe.limit.wrong)
    except ValueError as error:
        return cannot_tell(check, shorten(error))
    networks = min(len(shares), len(full))
    return decide_samples(check, ratio, samples, networks=networks, low=1 / ABOUT, high=ABOUT, margins=margins)


def _wrong_shares(record: RunRecord, size: int) -> np.ndarray:
    """Share of chunks of a size that are wrong about each test example, [examples].

    Networks need not be as wide as a chunk is large: between the sizes of chunks, shares are linear in log w.
    """
    chunks = record.chunks["test"]
    after = int(np.searchsorted(chunks.sizes, size))
    before = max(0, after - 1)
    if chunks.sizes[after] == size:
        return chunks.wrong_shares[after]
    part = math.log(size / chunks.sizes[before]) / math.log(chunks.sizes[after] / chunks.sizes[before])
    return (1 - part) * chunks.wrong_shares[before] + part * chunks.wrong_shares[after]


def _clone_size(recipe: Recipe, margins: Margins) -> list[Verdict]:
    """D05: w* within a factor 2 of the paper's on its data; below W / 2 elsewhere."""
    expected, width = _CLONE_SIZES.get(recipe.dataset), recipe.critical.layer_width
    against = width / 2 if expected is None else expected
    check = f"w* < W / 2 = {against:g}" if expected is None else f"w* is about {against}"
    found = by_seed(recipe.widest, lambda record: record.chunks["train"].clone_size())
    if len(found) < len(recipe.widest):
        return [cannot_tell(check, unfitted(len(recipe.widest) - len(found), len(recipe.widest)))]
    doublings = {seed: math.log2(size / against) for seed, size in found.items()}
    if expected is None:
        verdict = decide_less(check, doublings, 0, margins=margins)
    else:
        verdict = decide_inside(check, doublings, -math.log2(ABOUT), math.log2(ABOUT), margins=margins)
    # Sizes double, so that their logarithms are compared; a reader wants sizes.
    numbers = {
        name: against * 2**value if name in ("value", "low", "high") else value
        for name, value in verdict.numbers.items()
    }
    return [dataclasses.replace(verdict, numbers=numbers)]


def _determines_the_layer(recipe: Recipe, margins: Margins) -> list[Verdict]:
    """D06: R2 on held-out rows at w*, its growth up to there, and its straight beginning."""

    def r2(size: int, name: str = "held_out_r2") -> dict[int, float]:
        return by_seed(recipe.widest, lambda record: reconstruction_number(record, size, name))

    verdicts = [_linear_beginning(recipe, margins)]
    clone, refused = recipe.critical.clone_size, refuse_clones(recipe)
    checks = (f"R2(w*) >= {_DETERMINED}", "R2 grows with w up to w*")
    if refused:
        return [*(cannot_tell(check, refused) for check in checks), *verdicts]
    at_clone = decide_greater(checks[0], r2(clone), _DETERMINED, margins=margins)
    sizes = chunk_sizes_within(recipe, 1, clone)
    growth = [
        decide_greater(f"from {small} to {large}", r2(large), than=r2(small), margins=margins)
        for small, large in zip(sizes, sizes[1:], strict=False)
    ]
    beside = {"in_sample": mean_of(r2(clone, "r2")), "clone_size": clone}
    return [
        dataclasses.replace(at_clone, numbers={**at_clone.numbers, **beside}),
        all_of(checks[1], growth, margins=margins),
        *verdicts,
    ]


def _linear_beginning(recipe: Recipe, margins: Margins) -> Verdict:
    like = "mnist_parity" if recipe.key["model"] == "fc5" else "cifar10"
    limit = _LINEAR_BELOW.get(recipe.dataset, _LINEAR_BELOW[like])
    sizes = chunk_sizes_within(recipe, 1, min(limit, recipe.critical.layer_width / 2))

    def explained(record: RunRecord) -> float | None:
        values = [reconstruction_number(record, size, "held_out_r2") for size in sizes]
        if None in values or len(sizes) < 3 or np.ptp(values) == 0:
            return None
        return float(stats.linregress(sizes, values).rvalue ** 2)

    check = f"R2 is linear in w below {limit}"
    return decide_greater(check, by_seed(recipe.widest, explained), _LINEAR, margins=margins)


def _residuals_are_noise(recipe: Recipe, margins: Margins) -> list[Verdict]:
    """D07: residuals' mean correlation outside the chunk, held out, at w >= w* below 1/4 of that at w = 1."""
    check = "residuals' correlation at w >= w* is below 1/4 of that at the smallest w"
    refused = refuse_clones(recipe)
    if refused:
        return [cannot_tell(check, refused)]
    sizes = chunk_sizes_within(recipe, recipe.critical.clone_size, recipe.critical.layer_width / 2)
    verdicts = [_residuals_at(recipe, size, margins) for size in sizes]
    return [all_of(check, verdicts, margins=margins)] if verdicts else [cannot_tell(check, "w* is above W / 2")]


def _residuals_at(recipe: Recipe, size: int, margins: Margins) -> Verdict:
    def read(size: int, name: str = "held_out_correlation") -> dict[int, float]:
        return by_seed(recipe.widest, lambda record: reconstruction_number(record, size, name))

    smallest = int(recipe.widest[0].chunks["train"].sizes[0])
    held_out = quotients(read(size), read(smallest))
    verdict = decide_less(f"w = {size}", held_out, _FALLEN, margins=margins)
    rows = [c.num_rows // 2 for r in recipe.widest if (c := r.reconstructions.get(("test", "layer"))) is not None]
    if not rows:
        return verdict
    floor = noise_floor(min(rows), size)
    beside = {
        "correlation": mean_of(read(size)),
        "noise_floor": floor,
        "all_pairs": mean_of(quotients(read(size, "correlation"), read(smallest, "correlation"))),
    }
    verdict = dataclasses.replace(verdict, numbers={**verdict.numbers, **beside})
    # Independent residuals of so few rows are as correlated as that: a NaN, without any freedom, is no better.
    if not floor < _FALLEN * mean_of(read(smallest)):
        reason = f"{min(rows)} held-out rows are too few: noise alone gives {floor:.2g}"
        return cannot_tell(verdict.check, reason, numbers=verdict.numbers)
    return verdict


def _dimension_is_small(recipe: Recipe, margins: Margins) -> list[Verdict]:
    """D08: intrinsic dimension below w*, and the paper's on its data."""

    def dimension(record: RunRecord) -> float | None:
        return next((s["value"] for s in record.values.get("dimension", ()) if s["settings"]["split"] == "test"), None)

    found, check = by_seed(recipe.widest, dimension), "intrinsic dimension < w*"
    clones = by_seed(recipe.widest, lambda record: record.chunks["train"].clone_size())
    refused = refuse_clones(recipe)
    verdicts = [cannot_tell(check, refused) if refused else decide_less(check, found, than=clones, margins=margins)]
    if recipe.dataset in _DIMENSIONS:
        expected = _DIMENSIONS[recipe.dataset]
        low, high = expected / ABOUT, expected * ABOUT
        verdicts.append(decide_inside(f"intrinsic dimension is about {expected}", found, low, high, margins=margins))
    return verdicts


def _without_decay(runs: Runs, margins: Margins) -> list[Verdict]:
    """D12: without weight decay no w^-1/2, and residuals that stay correlated."""
    every = [*find_recipes(runs)]
    verdicts = []
    for recipe in every:
        if not recipe.is_decayed:
            partner = next((other for other in every if other.is_decayed and other.key == recipe.key), None)
            has_limit, has_epochs = not refuse_limit(recipe), bool(recipe.trajectories)
            found = [_more_correlated(recipe, partner, margins)]
            # Networks that keep epochs are others than those of the ensemble: a figure of either says its own part.
            if has_epochs or not has_limit:
                found.insert(0, correlation_stays(recipe, "without weight decay the correlation stays", margins))
            if has_limit or not has_epochs:
                found.insert(0, _exponent_without_decay(recipe, partner, margins))
            verdicts += [label_verdict(verdict, recipe) for verdict in found]
    return verdicts


def _exponent_without_decay(recipe: Recipe, partner: Recipe | None, margins: Margins) -> Verdict:
    check = "exponent of chunks without weight decay is not -1/2"
    refused = refuse_limit(recipe)
    if refused:
        return cannot_tell(check, refused)
    # Where too few chunks without decay fit, those sizes are read of which chunks with decay are clones.
    own = recipe.critical.clone_size
    clones = [size for size in (own, partner.critical.clone_size if partner else None) if size is not None]
    sizes = next((found for clone in clones if len(found := clone_sizes(recipe, clone)) > 1), [])
    law = fit_chunks(recipe, sizes)
    if isinstance(law, str):
        return cannot_tell(check, law)
    found = decide_other_exponent(check, law, _HALF, networks=len(recipe.widest), margins=margins)
    return dataclasses.replace(found, numbers={**found.numbers, "from_chunks_of": sizes[0]})


def _more_correlated(recipe: Recipe, partner: Recipe | None, margins: Margins) -> Verdict:
    check = "correlation without weight decay is above that with it at every w"
    if partner is None or partner.critical.layer_width != recipe.critical.layer_width:
        return cannot_tell(check, "there are no networks with weight decay of the same width")

    def read(of: Recipe, size: int) -> dict[int, float]:
        return by_seed(of.widest, lambda record: reconstruction_number(record, size))

    verdicts = [
        decide_greater(f"w = {size}", read(recipe, size), than=read(partner, size), margins=margins)
        for size in chunk_sizes_within(recipe, 1, recipe.critical.layer_width / 2)
    ]
    return all_of(check, verdicts, margins=margins)


def _no_clones_without_fit(recipe: Recipe, margins: Margins) -> list[Verdict]:
    """D13: ResNet50 fits at no size, its chunks' error falls faster than w^-1/2, residuals stay correlated."""
    errors = {width: by_seed(records, chunk_error) for width, records in recipe.by_width.items()}
    above = [
        decide_greater(f"W = {width}", found, STRICTLY_FITTED_ERROR, margins=margins)
        for width, found in errors.items()
    ]  # fmt: skip
    verdicts = [all_of("training error is above 0 at every size", above, margins=margins)]
    widest = recipe.widest[0]
    if recipe.dataset in _IMAGENET and widest.size == _WIDEST_RESNET50:
        expected = _WIDEST_RESNET50_ERROR
        verdicts.append(
            decide_inside(f"training error at size 4 is about {expected:.0%}", by_seed(recipe.widest, chunk_error),
                          expected / ABOUT, expected * ABOUT, margins=margins)
        )  # fmt: skip
    last = recipe.critical.layer_width / LARGEST_SHARE
    check, refused = "exponent of chunks is below -1/2", refuse_limit(recipe)
    law = refused or fit_chunks(recipe, chunk_sizes_within(recipe, last / 2**_DOUBLINGS_WITHOUT_CLONES, last))
    if isinstance(law, str):
        verdicts.append(cannot_tell(check, law))
    else:
        verdicts.append(
            decide_samples(check, law.law.exponent, law.exponents, networks=len(recipe.widest), high=_HALF,
                           widest=margins.exponent_width, margins=margins)
        )  # fmt: skip
    return [*verdicts, correlation_stays(recipe, "the correlation does not fall over epochs", margins)]


def _depth_makes_clones(runs: Runs, margins: Margins) -> list[Verdict]:
    """D14: clones come from the width of the whole network, not from that of its last layer."""
    verdicts = []
    for recipe in find_kept_widths(runs):
        if not recipe.is_decayed:
            continue
        small, large = _extremes(recipe, lambda record: record.size or 0)
        errors = [by_seed(records, lambda record: chunk_error(record, split="test")) for records in (small, large)]
        check = "last width kept, other widths grown: test error falls"
        found = [
            decide_less(check, errors[1], than=errors[0], margins=margins),
            *_chunk_exponent(recipe, margins),
            *_residuals_are_noise(recipe, margins),
        ]
        verdicts += [label_verdict(verdict, recipe) for verdict in found]
    for recipe in find_grown_widths(runs):
        if recipe.is_decayed:
            narrow, wide = _extremes(recipe, lambda record: record.chunks["train"].width)
            errors = [by_seed(records, lambda record: chunk_error(record, split="test")) for records in (narrow, wide)]
            check = "only the last width grown: test error does not fall"
            verdict = decide_greater(check, errors[1], -margins.accuracy, than=errors[0], margins=margins)
            verdicts.append(label_verdict(verdict, recipe))
    return verdicts


def _extremes(recipe: Recipe, width: Callable[[RunRecord], float]) -> tuple[list[RunRecord], list[RunRecord]]:
    """The networks of the least and of the largest width."""
    widths = [width(record) for record in recipe.runs.records]
    return tuple(
        [record for record, found in zip(recipe.runs.records, widths, strict=True) if found == end]
        for end in (min(widths), max(widths))
    )


def _clones_after_the_peak(recipe: Recipe, margins: Margins) -> list[Verdict]:
    """D16: w* is not below the width at which networks vary most, and about W*."""
    checks = ("w* is at least the width of the variance's peak", "w* is about W*")
    critical, widest = recipe.critical, len(recipe.widest)
    stored = {w: [r for r in records if r.run_dir.logits.is_file()] for w, records in recipe.by_width.items()}
    outputs = {w: [r.outputs("test") for r in records] for w, records in stored.items() if len(records) > 1}
    refused = refuse_clones(recipe)
    if not refused and critical.fitting_width is None:
        refused = "no width fits its training data"
    if not refused and (len(outputs) < 2 or not set(recipe.by_width) <= set(outputs)):
        refused = "there are no two widths of which networks have stored their outputs"
    if refused:
        return [cannot_tell(check, refused) for check in checks]
    widths = np.array(list(recipe.by_width))
    stacks = [up_to_margin(np.stack([output for output, _ in outputs[w]])) for w in widths]
    peak = widths[np.argmax([bias_variance(s, outputs[w][0][1]).variance for s, w in zip(stacks, widths, strict=True)])]
    drawn = np.stack([bootstrap_variance(stack, seed=int(w)) for stack, w in zip(stacks, widths, strict=True)])
    peaks = widths[drawn.argmax(axis=0)]
    clones = _drawn_sizes(recipe.widest)
    fitting = _drawn_fitting_widths(recipe, len(clones))
    beside = {"clone_size": critical.clone_size, "variance_peak": peak, "fitting_width": critical.fitting_width}
    found = [
        decide_samples(checks[0], math.log2(critical.clone_size / peak), np.log2(clones / peaks), networks=widest,
                       low=0, margins=margins),
        decide_samples(checks[1], math.log2(critical.clone_size / critical.fitting_width), np.log2(clones / fitting),
                       networks=widest, low=-math.log2(ABOUT), high=math.log2(ABOUT), margins=margins),
    ]  # fmt: skip
    return [dataclasses.replace(verdict, numbers={**verdict.numbers, **beside}) for verdict in found]


def _draw_rows(errors: np.ndarray, num_samples: int, seed: int) -> np.ndarray:
    """Means over networks drawn with replacement, of [networks, sizes], float64 [samples, sizes]."""
    draws = np.random.default_rng(seed).integers(len(errors), size=(num_samples, len(errors)))
    return errors[draws].mean(axis=1)


def _drawn_sizes(records: Sequence[RunRecord], num_samples: int = 1000) -> np.ndarray:
    """w* of bootstrap samples of the networks, NaN without one, float64 [samples]."""
    chunks = [record.chunks["train"] for record in records]
    means = _draw_rows(np.stack([found.errors for found in chunks]), num_samples, 0)
    return np.array([first_at_most(chunks[0].sizes, row, FITTED_ERROR) or math.nan for row in means])


def _drawn_fitting_widths(recipe: Recipe, num_samples: int) -> np.ndarray:
    """W* of bootstrap samples of the networks of every width."""
    errors = {w: np.array([[r.chunks["train"].errors[-1]] for r in records]) for w, records in recipe.by_width.items()}
    means = np.concatenate([_draw_rows(rows, num_samples, int(w)) for w, rows in errors.items()], axis=1)
    return np.array([first_at_most(list(errors), row, FITTED_ERROR) or math.nan for row in means])


def _decay_changes_the_exponent(runs: Runs, margins: Margins) -> list[Verdict]:
    """D18: FC5's exponent nearer to -1 without weight decay, nearer to -1/2 with it."""
    verdicts = []
    for recipe in find_recipes(runs, model="fc5"):
        bounds = {"low": _MIDWAY} if recipe.is_decayed else {"high": _MIDWAY}
        check = f"exponent of full networks is nearer to {_HALF if recipe.is_decayed else _WHOLE:g}"

        def decide(check: str, law: PowerLawInterval, count: int, bounds: Mapping[str, float] = bounds) -> Verdict:
            return decide_samples(check, law.law.exponent, law.exponents, networks=count,
                                  widest=margins.exponent_width, margins=margins, **bounds)  # fmt: skip

        verdicts.append(label_verdict(_of_width_law(recipe, check, decide), recipe))
    return verdicts


def _of_decayed(decide: Curves, model: str | None = None) -> Callable[[Runs, Margins], list[Verdict]]:
    """A check of every recipe with weight decay: all that the paper says of networks without it is D12 and D18."""

    def check(runs: Runs, margins: Margins) -> list[Verdict]:
        settings = {} if model is None else {"model": model}
        recipes = [recipe for recipe in find_recipes(runs, **settings) if recipe.is_decayed]
        return [label_verdict(verdict, recipe) for recipe in recipes for verdict in decide(recipe, margins)]

    return check


def _make(name: str, where: str, data: tuple[str, ...], text: str, check: Callable) -> Claim:
    return Claim(id=name, paper=f"Doimo et al. 2022, {where}", text=text, data=data, check=check)


CLAIMS = (
    _make("D01", "figures 1b, 2", _MNIST + CIFAR,
          "full networks from W* on: excess error falls as W^-1/2", _of_decayed(_width_exponent)),
    _make("D02", "figure 1b", CIFAR,
          "DenseNet40: training error reaches 0 for W > 350", _of_decayed(_fits_from_352_on, "densenet40")),
    _make("D03", "figures 1b, 3", _MNIST + CIFAR,
          "chunks from w* to W / 4: excess error falls as w^-1/2, and faster below w*", _of_decayed(_chunk_exponent)),
    _make("D04", "figures 1b, 3", _MNIST + CIFAR,
          "a chunk of w >= w* units has the excess error of a full network of width w within a factor 2; below w* it "
          "errs more", _of_decayed(_clones_are_networks)),
    _make("D05", "figure 4a-c", _MNIST + CIFAR,
          "w* is within a factor 2 of 50 (MNIST parity), 100 (CIFAR-10), 200 (CIFAR-100); on other data below W / 2",
          _of_decayed(_clone_size)),
    _make("D06", "figure 4d-f", _MNIST + CIFAR,
          "R2 of the layer from w* units is at least 0.9, grows with w, and does so linearly for the fewest units",
          _of_decayed(_determines_the_layer)),
    _make("D07", "figure 4d-f", _MNIST + CIFAR,
          "residuals' mean correlation at w >= w* is below a quarter of that at the smallest w (held out, outside the "
          "chunk)", _of_decayed(_residuals_are_noise)),
    _make("D08", "section 3", _MNIST + CIFAR,
          "intrinsic dimension of the last hidden layer is below w*; 2, 12, 14 on the paper's data",
          _of_decayed(_dimension_is_small)),
    _make("D09", "figures 5a, S1, S2d", CIFAR + _MNIST,
          "residuals' mean correlation falls until the network has no training error, then stays; it is lower for "
          "large chunks", _of_decayed(correlation_falls_then_stays)),
    _make("D10", "figures 5b-c, S1, S2e-f", CIFAR + _MNIST,
          "the network fits its training data before its clones do, smaller chunks never; test error falls more before "
          "than after, and not at the end", _of_decayed(network_fits_first)),
    _make("D12", "figures 6a-b, S3", CIFAR + _MNIST,
          "without weight decay chunks' excess error does not fall as w^-1/2 and residuals stay correlated, more than "
          "with it", _without_decay),
    _make("D13", "figure 7a-c", _IMAGENET,
          "ResNet50 has training errors at all sizes, chunks' excess error falls faster than w^-1/2, residuals' "
          "correlation does not fall over epochs", _of_decayed(_no_clones_without_fit, "resnet50")),
    _make("D14", "figure S4", CIFAR,
          "with the last width kept and the others grown test error falls and chunks are clones; with the last width "
          "alone grown test error does not fall", _depth_makes_clones),
    _make("D16", "figure S5", CIFAR,
          "w* is at least the width at which the variance peaks, and within a factor 2 of W*",
          _of_decayed(_clones_after_the_peak)),
    _make("D17", "section 4", _MNIST + CIFAR,
          "where training error is closest to test error, residuals are more correlated than at the end",
          _of_decayed(stopped_early)),
    _make("D18", "section 4 (citing Geiger et al. 2020)", _MNIST,
          "FC5: exponent of the excess error nearer to -1 than to -1/2 without weight decay, nearer to -1/2 with it",
          _decay_changes_the_exponent),
)  # fmt: skip
