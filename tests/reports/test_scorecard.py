"""Judgements: on the papers' data or stand-ins, in each way of measuring; their file, their lines and the scorecard."""

import dataclasses
import re

import pytest
from planted_runs import growing, make_runs

from tfunits.artifacts import write_json
from tfunits.configs import Margins, MeasureConfig
from tfunits.reports.figures import CLAIMS, Claim, Figure, Outcome, Verdict, judge, judge_claims
from tfunits.reports.figures.judging import (
    claims_file,
    describe_judgements,
    describe_numbers,
    describe_verdict,
    read_judgements,
    write_judgements,
)
from tfunits.reports.figures.scorecard import report_claims, tabulate_claims, write_scorecard

FIGURE = Figure(name="made/fig1", title="two | initialisations", panels=[], claims=("F14",))
GAINS = {"P": growing(2.4), "R": growing(2.3, 0.3)}


def make_networks(dataset: str = "cifar10", **planted):
    found = {"glorot": {"P": growing(2.6), "R": growing(2.2, 0.3)}, "he": {"R": growing(2.6, 0.3)}, "lecun": {}}
    found = {name: {**GAINS, **values, **planted} for name, values in found.items()}
    return [
        ({"model": "alexnet", "dataset": dataset, "initializer": f"{name}_normal"}, values)
        for name, values in found.items()
    ]


def test_stand_in_data_are_judged_apart_and_give_no_verdict_on_the_paper():
    runs = make_runs([*make_networks(), *make_networks("digits", P=growing(1.6))])
    papers, other = judge(FIGURE, runs)
    assert (papers.data, papers.on_papers_data, papers.outcome) == (("cifar10",), True, Outcome.AGREES)
    assert (other.data, other.on_papers_data, other.outcome) == (("digits",), False, Outcome.DISAGREES)
    assert {verdict.outcome for verdict in papers.verdicts} == {Outcome.AGREES}
    assert len(papers.verdicts) == len(other.verdicts) == 8


@pytest.mark.parametrize(("dataset", "outcome"), [("cifar10", Outcome.AGREES), ("digits", Outcome.CANNOT_TELL)])
def test_too_few_rows_are_marked_and_decide_nothing_on_stand_in_data(dataset, outcome):
    (found,) = judge(FIGURE, make_runs(make_networks(dataset), rows=100))
    assert found.outcome == outcome
    by_check = {verdict.check.partition(",")[0]: verdict for verdict in found.verdicts}
    redundant, prunable = by_check["g(R) > 2"], by_check["g(P) > 2"]
    assert tuple(redundant.marks) == ("rank-limited",)
    assert redundant.outcome == outcome
    # What is ablated needs no rank.
    assert (tuple(prunable.marks), prunable.outcome) == ((), Outcome.AGREES)
    assert "rank-limited" in " ".join(map(describe_verdict, found.verdicts))


def test_what_speaks_against_a_claim_is_printed_first_and_the_rest_is_counted():
    outcomes = [Outcome.AGREES] * 4 + [Outcome.CANNOT_TELL, Outcome.DISAGREES]
    verdicts = [Verdict(check=f"check {i}", outcome=outcome, numbers={}) for i, outcome in enumerate(outcomes)]
    (found,) = judge(FIGURE, make_runs(make_networks()))
    lines = describe_judgements([dataclasses.replace(found, verdicts=verdicts)]).splitlines()
    assert [line.strip() for line in lines[1:]] == [
        "disagrees: check 5", "cannot tell: check 4", "agrees: check 0", "and 3 that agree"
    ]  # fmt: skip


def test_the_untrained_baseline_decides_what_is_above_it():
    networks = make_networks()
    growth = {"P": growing(2.6), "R": growing(2.6, 0.3)}
    (found,) = judge(FIGURE, make_runs(networks, untrained=growth))
    assert found.outcome == Outcome.NOT_ABOVE_UNTRAINED
    (found,) = judge(FIGURE, make_runs(networks, untrained=None))
    assert found.outcome == Outcome.CANNOT_TELL


def test_each_way_of_measuring_is_judged():
    few = make_runs(make_networks(), measure=MeasureConfig(measured_examples=1000), rows=1000)
    many = make_runs(make_networks(R=0.3), measure=MeasureConfig(measured_examples=50_000), rows=50_000)
    first, second = judge(FIGURE, [few, many])
    assert (first.rows, first.outcome) == (1000, Outcome.AGREES)
    assert (second.rows, second.outcome) == (50_000, Outcome.CANNOT_TELL)
    lines = describe_judgements([first, second])
    assert "on cifar10, 1,000 rows" in lines
    assert "on cifar10, 50,000 rows" in lines


def lonely(p_against: float, data: str = "cifar10") -> Claim:
    verdict = Verdict(check="a curve", outcome=Outcome.DISAGREES, p_for=1.0, p_against=p_against, data=(data,))
    return Claim(id="X", paper="none", text="x", data=("cifar10",), check=lambda runs, margins: [verdict])


def test_holms_correction_is_over_all_curves_of_the_figure():
    runs = make_runs([])
    alone = judge_claims([lonely(0.03)], "made", runs)
    assert [found.outcome for found in alone] == [Outcome.DISAGREES]
    together = judge_claims([lonely(0.03), lonely(0.9), lonely(0.001)], "made", runs)
    assert [found.outcome for found in together] == [Outcome.CANNOT_TELL, Outcome.CANNOT_TELL, Outcome.DISAGREES]
    # Stand-in data are no part of the family.
    apart = judge_claims([lonely(0.03), lonely(0.9, "digits")], "made", runs)
    assert apart[0].outcome == Outcome.DISAGREES


def test_the_file_holds_every_number(tmp_path):
    runs = make_runs(make_networks())
    judgements = judge(FIGURE, runs)
    path = claims_file(tmp_path, FIGURE.name)
    write_judgements(path, FIGURE, judgements, runs, Margins(gain=0.5))
    stored = read_judgements(path)
    assert (stored["figure"], stored["runs"], stored["seeds"]) == ("made/fig1", len(runs), [0, 1, 2])
    assert stored["margins"]["gain"] == 0.5
    (judgement,) = stored["judgements"]
    assert (judgement["claim"], judgement["outcome"], judgement["data"]) == ("F14", "agrees", ["cifar10"])
    for verdict, found in zip(judgement["verdicts"], judgements[0].verdicts, strict=True):
        assert verdict["numbers"] == pytest.approx(dict(found.numbers))
        assert verdict["p_against"] == found.p_against
    for damaged in ({"figure": "made/fig1"}, {**stored, "title": ...}, {**stored, "margins": None},
                    {**stored, "margins": {"gain": "x"}}, {**stored, "margins": {"gian": 1}}):  # fmt: skip
        write_json(path, {name: value for name, value in damaged.items() if value is not ...})
        with pytest.raises(ValueError, match="expected the claims of a figure, received another file"):
            read_judgements(path)


def test_the_scorecard_says_which_figures_were_judged_with_other_margins(tmp_path):
    runs = make_runs(make_networks())
    text, files = report_claims(FIGURE, runs, tmp_path)
    assert "F14 agrees" in text
    assert "another margin" not in files[1].read_text()
    other = dataclasses.replace(FIGURE, name="made/fig2")
    text, _ = report_claims(other, runs, tmp_path, Margins(modest_gain=0.25, confidence=1 - 1e-12))
    # No interval of three seeds is so certain.
    assert "F14 cannot tell" in text
    for path in files[1:]:
        text = path.read_text()
        assert "judged with another margin, modest gain 0.25, not 0.5: made/fig2" in text
        assert "judged with another margin, confidence 0.999999999999, not 0.95: made/fig2" in text


def test_numbers_are_read_as_a_value_with_its_interval():
    numbers = {"value": 2.4, "low": 2.1, "high": 2.7, "seeds": 3, "on_means": float("nan"), "untrained": None}
    assert describe_numbers(numbers) == "2.4 [2.1, 2.7], seeds 3"
    assert describe_numbers({"at 0.1": 2.0}) == "at 0.1 2"


def test_the_scorecard_grows_with_every_figure(tmp_path):
    text, files = report_claims(FIGURE, make_runs(make_networks()), tmp_path)
    assert [path.name for path in files] == ["fig1.claims.json", "scorecard.md", "scorecard.html"]
    assert "F14 agrees (on cifar10)" in text
    assert "g(P) > 2, AlexNet, glorot normal: 2.6 [" in text
    digits = dataclasses.replace(FIGURE, name="made/fig2", claims=("F14", "F24"))
    report_claims(digits, make_runs(make_networks("digits")), tmp_path)
    markdown, page = (path.read_text() for path in files[1:])
    papers, rest = markdown.split("## On the papers' own data")[1].split("## On stand-in data")
    assert "| F14 | made/fig1 | cifar10 | all | agrees | 8 agree |" in papers
    assert "made/fig2" not in papers
    assert "| F14 | made/fig2 | digits | all | agrees | 8 agree |" in rest
    assert "no verdict" not in papers
    assert "| F24 | made/fig2 |  | all | cannot tell | 1 cannot tell |" in rest
    # Claims that contradict others stand with them.
    assert "F24 against V13 and R18" in markdown
    for part in (
        "made/fig1",
        "made/fig2",
        "two | initialisations",
        "F24 against V13 and R18",
        "on stand-in data digits",
    ):
        assert part in page
    # A bar ends a cell of Markdown.
    assert all(line.count("|") - line.count("\\|") in (0, 9) for line in markdown.splitlines() if line.startswith("|"))


def test_a_claim_in_two_figures_counts_once_and_a_disagreement_wins(tmp_path):
    report_claims(FIGURE, make_runs(make_networks()), tmp_path)
    again = dataclasses.replace(FIGURE, name="made/fig2")
    report_claims(again, make_runs(make_networks()), tmp_path)
    assert "own data, a claim once for its data and rows: 1 agrees\n" in (tmp_path / "scorecard.md").read_text()
    low = make_runs(make_networks(P=growing(1.2), R=growing(1.2)))
    report_claims(again, low, tmp_path)
    assert "own data, a claim once for its data and rows: 1 disagrees\n" in (tmp_path / "scorecard.md").read_text()


def test_a_damaged_file_is_named_and_the_rest_is_drawn(tmp_path):
    report_claims(FIGURE, make_runs(make_networks()), tmp_path)
    (tmp_path / "made" / "fig0.claims.json").write_text("{")
    markdown, page = (path.read_text() for path in write_scorecard(tmp_path))
    for text in (markdown, page):
        assert "fig0.claims.json" in text
        assert "made/fig1" in text


def test_an_empty_scorecard_says_so(tmp_path):
    markdown, _ = write_scorecard(tmp_path)
    assert "- 0 figures\n" in markdown.read_text()
    assert all(frame.empty for frame in tabulate_claims([]).values())
    assert report_claims(dataclasses.replace(FIGURE, claims=()), make_runs([]), tmp_path) == ("", [])


def test_pictures_are_on_the_page(tmp_path, png):
    picture = tmp_path / "made" / "fig1.png"
    picture.parent.mkdir()
    picture.write_bytes(png)
    report_claims(FIGURE, make_runs(make_networks()), tmp_path)
    page = (tmp_path / "scorecard.html").read_text()
    assert len(re.findall(r'<img[^>]*src="data:image/png', page)) == 1


@pytest.fixture
def png() -> bytes:
    """The first bytes of a picture of one pixel, as far as a page reads it."""
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"


def test_claims_read_as_sentences():
    for claim in CLAIMS.values():
        assert claim.text[0].isalpha()
        assert not claim.text.endswith(".")
        assert claim.paper
