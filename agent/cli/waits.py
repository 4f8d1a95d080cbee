"""The options of `goroscope record` that ask for time off the CPU."""

import argparse

from agent.cli.arguments import nanoseconds
from agent.errors import UsageError
from bpf.waits import ALL_STATES, WaitSettings, WaitState

_DEFAULT = WaitSettings()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    group = parser.add_argument_group("time off the CPU")
    group.add_argument("--off-cpu", action="store_true", help="where threads wait, how long, and for what state")
    group.add_argument("--on-cpu", action="store_true", help="with --off-cpu: CPU time as well, in the same profile")
    group.add_argument(
        "--min-block", metavar="TIME", type=nanoseconds, help="keep waits from this length on (default 1ms; 0: all)"
    )
    group.add_argument("--max-block", metavar="TIME", type=nanoseconds, help="keep waits up to this length")
    group.add_argument(
        "--states",
        metavar="STATE,..",
        type=_states,
        help=f"keep these only: {', '.join(state.name.lower() for state in ALL_STATES)}",
    )
    group.add_argument("--wakers", action="store_true", help="who ended each wait, as frames above its stack")


def settings_of(args: argparse.Namespace) -> WaitSettings | None:
    """What was asked for; None where waits are not wanted. Raises UsageError."""
    if not args.off_cpu:
        given = {
            "--min-block": args.min_block is not None,
            "--max-block": args.max_block is not None,
            "--states": args.states is not None,
            "--wakers": args.wakers,
        }
        alone = [name for name, is_given in given.items() if is_given]
        if alone:
            raise UsageError(f"{' and '.join(alone)} without --off-cpu says nothing.", "Add --off-cpu.")
        return None
    minimum = _DEFAULT.min_ns if args.min_block is None else args.min_block
    if args.max_block is not None and args.max_block < minimum:
        raise UsageError(
            "--max-block is below --min-block, so that no wait could be kept.",
            "Give a longer --max-block or a shorter --min-block.",
        )
    return WaitSettings(
        min_ns=minimum,
        max_ns=args.max_block or 0,
        states=args.states or ALL_STATES,
        wakers=args.wakers,
    )


def _states(text: str) -> tuple[WaitState, ...]:
    known = {state.name.lower(): state for state in ALL_STATES}
    words = text.split(",")
    unknown = [word for word in words if word not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is not one of {', '.join(known)}")
    return tuple(dict.fromkeys(known[word] for word in words))
