"""What a command line asks for, carried out: plans, grids, or figures of papers."""

import sys
from collections.abc import Sequence

from tfunits.configs import Cluster, Request, UserError
from tfunits.experiments.plan import describe_together, plan_grid
from tfunits.experiments.runner import run_grid

_EXIT_FAILED = 1


def carry_out_requests(requests: Sequence[Request], *, cluster: Cluster | None = None) -> int:
    """Plan or run every grid, and draw its figure where one is asked for.

    Args:
      requests: of one command line; several are figures; one whose data are not there is named and passed over.
      cluster: machines that train together; None for this one.

    Returns: 0 if all is finished and drawn, else 1.

    Raises:
      UserError: a mistake that concerns the only request.
    """
    codes, plans = [], []
    for number, request in enumerate(requests, start=1):
        if request.figure and len(requests) > 1:
            print(f"\n({number}/{len(requests)}) {request.figure}", flush=True)
        try:
            request.check_data()
            if request.plan:
                plans.append(plan_grid(request.experiments, request.execution))
                codes.append(0)
            else:
                codes.append(_carry_out(request, cluster))
        except UserError as error:
            if len(requests) == 1:
                raise
            print(f"{request.figure}: {error}", file=sys.stderr, flush=True)
            codes.append(_EXIT_FAILED)
    if len(plans) > 1 and any(plans):
        print(f"\n{describe_together(plans)}")
    return max(codes)


def _carry_out(request: Request, cluster: Cluster | None) -> int:
    if request.figure is None:
        return run_grid(request.experiments, request.execution, cluster=cluster)
    # What draws takes seconds to import.
    from tfunits.experiments.figures import carry_out_figure

    return carry_out_figure(request, cluster)
