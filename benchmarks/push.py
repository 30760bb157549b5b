"""How many changes a second a server takes from devices, and what they cost: Fieldpost, Kinto, PouchDB Server, and
PostgreSQL by itself, side by side.

The load is that of `load.py`, in batches of 100 and of 1. Contenders take turns, so that a noisy machine is noisy for
all; figures are medians over the rounds, ratios are medians of each round's ratio.

    python benchmarks/push.py                             Fieldpost on both databases, and the limit
    python benchmarks/push.py --peers ~/.cache/peers      all; Kinto and PouchDB Server are installed there if need be
    python benchmarks/push.py --batches 1 --seconds 5     one operation a request only

Kinto and PouchDB Server need a package index, npm and Node.js.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from statistics import median

import peers
from devices import devices
from load import Contender, Measured, load
from server import running_postgresql, running_server

DATABASES = ("postgresql", "sqlite")

#: Before each turn: what the others left behind for later, such as a flush to disk, is done in it.
PAUSE = 1.0


@contextmanager
def fieldpost(database: str) -> Iterator[Contender]:
    """Fieldpost with its defaults: two workers of four threads."""
    with (
        running_postgresql() if database == "postgresql" else nullcontext() as postgresql,
        running_server(postgresql=postgresql) as server,
    ):
        roots = [server.process_id, *([postgresql.process_id] if postgresql else [])]
        yield Contender(name=f"Fieldpost, {database}", peers=devices(server), roots=roots)


def contenders(databases: Sequence[str], directory: Path | None) -> list[AbstractContextManager[Contender]]:
    """All that take part; Kinto and PouchDB Server only where there is a directory for them."""
    found = [fieldpost(each) for each in databases]
    if directory is not None:
        peers.install(directory)
        found += [peers.kinto(directory), peers.pouchdb(directory)]
    return [*found, peers.limit()]


def measure(taking_part: Sequence[Contender], batch: int, seconds: float, rounds: int) -> dict[str, list[Measured]]:
    """All rounds of all contenders, after one that does not count."""
    found: dict[str, list[Measured]] = {each.name: [] for each in taking_part}
    for each in taking_part:
        load(each, batch, seconds / 2)
    for _ in range(rounds):
        for each in taking_part:
            time.sleep(PAUSE)
            found[each.name].append(load(each, batch, seconds))
    return found


def show(found: dict[str, list[Measured]], batch: int) -> None:
    """The figures as tables of Markdown: medians, then the rates of Fieldpost as multiples of the others'."""
    print(f"\nBatches of {batch}:\n")
    print("| | operations/s | rounds | p50 ms | p95 ms | CPU s for 1000 operations | not applied |")
    print("|---|---|---|---|---|---|---|")
    for name, rounds in found.items():
        rates = sorted(each.rate for each in rounds)
        p50, p95 = (median(each.percentile(percent) for each in rounds) for percent in (50, 95))
        cpu = median(each.cpu_per_thousand for each in rounds)
        spread = f"{rates[0]:,.0f}–{rates[-1]:,.0f}"
        print(
            f"| {name} | {median(rates):,.0f} | {spread} | {p50:.1f} | {p95:.1f} | {cpu:.3f} "
            f"| {sum(each.failed for each in rounds)} |"
        )
    _compare("rate as a multiple of", found, lambda one: one.rate)
    _compare("p95 as a share of", found, lambda one: one.percentile(95))


def _compare(what: str, found: dict[str, list[Measured]], figure: Callable[[Measured], float]) -> None:
    """Fieldpost's figure divided by each other's: the median of the rounds' ratios, the least and the greatest."""
    others = [each for each in found if not each.startswith("Fieldpost")]
    print(f"\n| {what} | {' | '.join(others)} |")
    print(f"|---|{'---|' * len(others)}")
    for name in found:
        if name not in others:
            print(f"| {name} | {' | '.join(_ratio(found[name], found[each], figure) for each in others)} |", flush=True)


def _ratio(ours: Sequence[Measured], theirs: Sequence[Measured], figure: Callable[[Measured], float]) -> str:
    ratios = sorted(figure(mine) / figure(other) for mine, other in zip(ours, theirs, strict=True))
    return f"{median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--peers", type=Path, metavar="DIRECTORY", help="where Kinto and PouchDB Server are, or shall be"
    )
    parser.add_argument("--database", choices=DATABASES, help="Fieldpost on one of them; both unless said")
    parser.add_argument("--batches", type=int, nargs="+", default=[100, 1])
    parser.add_argument("--seconds", type=float, default=10, help="of one turn")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        directory = arguments.peers.expanduser().resolve() if arguments.peers else None
        databases = DATABASES if arguments.database is None else [arguments.database]
        taking_part = [stack.enter_context(each) for each in contenders(databases, directory)]
        for batch in arguments.batches:
            show(measure(taking_part, batch, arguments.seconds, arguments.rounds), batch)


if __name__ == "__main__":
    main()
