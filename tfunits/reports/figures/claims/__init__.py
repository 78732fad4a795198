"""What the papers say about their figures, as checks: a module a paper, one registry."""

from tfunits.reports.figures.claims import frivolous, frivolous_appendix, redundant, removable, robustness
from tfunits.reports.figures.verdicts import Claim

_PAPERS = (frivolous, frivolous_appendix, redundant, removable, robustness)

# Id -> the claim.
CLAIMS: dict[str, Claim] = {claim.id: claim for paper in _PAPERS for claim in paper.CLAIMS}

# Claims of different papers, or of a paper's text and caption, that cannot all hold -> what they say; all stay.
CONTRADICTIONS: dict[tuple[str, ...], str] = {
    ("F24", "V13", "R18"): "F24 against V13 and R18: the AAAI paper has the most redundant units with SGD; the earlier "
    "versions have the fewest similar units, and the least compressible layers, with SGD",
    ("F19",): "F19 against itself: the AAAI text has taps of Inception-v3 whose gain is at most 2, the caption similar "
    "gains",
}

__all__ = ["CLAIMS", "CONTRADICTIONS"]
