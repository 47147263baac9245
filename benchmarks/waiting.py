"""
What waiting costs: this package's triggers beside the usual ways, against one real Mage server, in one run.

The waiting runs are rows in the server's own database, so that nothing but the waiting is measured; Mage's
scheduler is told to look once an hour. What counts are the ratios within the table: absolute figures depend
on the machine. Exits with 1 if a promise of ``docs/benchmarks.md`` is not kept.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from contenders import Contender, environment
from mage_database import MageDatabase
from measured_mage import DATABASES, measured_mage
from probe import Probe, p99
from report import REPORT, table, write_section

from airflow_provider_mage._runs.run_lists import ACTIVE, TERMINAL
from airflow_provider_mage.api.auth import Credentials, MageAuth
from airflow_provider_mage.api.client import FARTHEST_EAST, MageClient
from airflow_provider_mage.api.session import MageSession

if TYPE_CHECKING:
    from measured_mage import Meter

    from mage_server import MageServer

PIPELINE = "daily_orders"
WAYS = {
    "ours": "this package",
    "request_per_run": "one request per run",
    "http_operator": "HTTP operator",
    "http_sensor": "HTTP sensor",
}
COMPLETIONS = 10
"""Runs that end while the others wait, to see how late that is noticed."""

REPEATS = 25
MANY = 1000
GRACE = 1.0
"""Seconds over a poll interval after which an end should have been noticed."""


@dataclass(frozen=True)
class Figures:
    """
    What one way of waiting for so many runs costs; CPU and requests per minute.

    A round is every waiting run looked after once, be it by a list of what has ended or by a request for
    each.
    """

    way: str
    waiting: int
    requests: float
    rounds: float
    mage_cpu: float
    status_p99: float
    own_cpu: float
    own_memory: float
    lags: list[float]
    delays: list[float]
    ended: int

    @property
    def mage_cpu_per_round(self) -> float:
        """Mage's CPU seconds for looking after every waiting run once."""
        return self.mage_cpu / self.rounds


class Bench:
    """
    A Mage server with many finished runs, and as many running ones as a measurement wants.

    :param server: The server.
    :param meter: Tells what the server spends.
    :param database: Its database.
    :param poll_interval: Seconds between two looks at a run; everything else takes a multiple of it.
    """

    def __init__(
        self, server: MageServer, meter: Meter, database: MageDatabase, poll_interval: float
    ) -> None:
        self.server = server
        self.meter = meter
        self.database = database
        self.poll_interval = poll_interval
        database.add_finished()
        self.idle_cpu = self.idle_p99 = 0.0

    def rest(self) -> None:
        """Measure the server when nobody waits."""
        with self.meter.measure() as spent:
            time.sleep(4 * self.poll_interval)
        self.idle_cpu = spent.cpu_per_minute
        self.idle_p99 = p99(Probe(self.server.url, 2 * self.poll_interval).latencies())

    def measure(self, way: str, waiting: int) -> Figures:
        """
        Let so many runs be waited for in one way.

        First undisturbed, for the cost; then with somebody else's requests, and with runs that end.

        :param way: One of :data:`WAYS`.
        :param waiting: How many runs.
        :return: What it cost.
        """
        cost_seconds, service_seconds = (
            intervals * self.poll_interval for intervals in ((6, 3) if waiting >= MANY else (2, 1.5))
        )
        created_after = time.time() - 1
        run_ids = self.database.add_running(waiting)
        env = environment(self.server, self.poll_interval, created_after)
        with Contender(way, run_ids, cost_seconds + service_seconds, env) as contender:
            with self.meter.measure() as spent:
                time.sleep(cost_seconds)
            probe = Probe(self.server.url, service_seconds - GRACE)
            completed = self._complete_some(run_ids, service_seconds - self.poll_interval - 2 * GRACE)
            latencies = probe.latencies()
            seen = contender.seen()
        self.database.remove(run_ids)
        per_minute = 60 / cost_seconds
        feeds, details = map(spent.count, (r"GET /pipeline_runs\?\S*=completed", r"GET /pipeline_runs/\d"))
        return Figures(
            way=way,
            waiting=waiting,
            requests=len(spent.requests) * per_minute,
            rounds=(feeds + details / waiting) * per_minute,
            mage_cpu=spent.cpu_per_minute - self.idle_cpu,
            status_p99=p99(latencies) / self.idle_p99,
            own_cpu=seen["cpu"] * 60 / (cost_seconds + service_seconds),
            own_memory=seen["memory"] / 2**20,
            lags=seen["lags"],
            delays=[
                seen["ended"][str(run_id)] - moment
                for run_id, moment in completed.items()
                if str(run_id) in seen["ended"]
            ],
            ended=len(completed),
        )

    def request_costs(self) -> dict[str, float]:
        """
        Measure what each kind of request costs Mage that waiting for many runs is made of.

        :return: CPU milliseconds by kind.
        """
        url = f"{self.server.url}/api"
        auth = MageAuth(url, Credentials(self.server.email, self.server.password))
        client = MageClient(MageSession(url, auth=auth))
        last_hour = datetime.now(timezone.utc) - timedelta(hours=1) + FARTHEST_EAST
        run_ids = self.database.add_running(MANY)
        read = client.list_pipeline_runs
        feed = {"statuses": TERMINAL, "order_by": "updated_at desc,id desc", "short": True}
        costs = {}
        for name, request in {
            "one run, in detail": lambda: client.get_pipeline_run(run_ids[0]),
            "the 20 runs that ended last": lambda: read(**feed, limit=20, page_size=20),
            "the 20 that ended last of those created in the last hour": lambda: read(
                **feed, limit=20, page_size=20, created_after=last_hour
            ),
            "the 100 runs that ended last": lambda: read(**feed, limit=100, page_size=100),
            "20 active runs, block by block": lambda: read(statuses=ACTIVE, limit=20, page_size=20),
        }.items():
            request()
            with self.meter.measure() as spent:
                for _ in range(REPEATS):
                    request()
            costs[name] = spent.cpu * 1000 / REPEATS
        self.database.remove(run_ids)
        return costs

    def _complete_some(self, run_ids: range, seconds: float) -> dict[int, float]:
        """Let a few runs end, early enough for everybody to notice within one poll interval."""
        chosen = random.Random(len(run_ids)).sample(run_ids, min(COMPLETIONS, len(run_ids)))  # noqa: S311
        completed = {}
        for run_id in chosen:
            time.sleep(max(0.0, seconds) / len(chosen))
            completed[run_id] = self.database.complete(run_id)
        return completed


def figures_table(figures: list[Figures], poll_interval: float) -> str:
    """Return the figures as a Markdown table."""
    head = (
        "waiting runs",
        "way",
        "requests/min",
        "looks at each run, of those wanted",
        "Mage CPU s/min",
        "Mage CPU ms/round",
        "p99 of `/api/status`, x idle",
        "own CPU s/min",
        "own memory, MiB",
        "event-loop lag p99 / worst, ms",
        "worst delay, s",
        "ended runs noticed",
    )
    return table(
        head,
        [
            (
                f"{row.waiting:,}",
                WAYS[row.way],
                f"{row.requests:,.0f}",
                f"{row.rounds * poll_interval / 60:.0%}",
                f"{row.mage_cpu:.2f}",
                f"{row.mage_cpu_per_round * 1000:,.0f}",
                f"{row.status_p99:.1f}",
                f"{row.own_cpu:.1f}",
                f"{row.own_memory:.0f}",
                f"{p99(row.lags) * 1000:.1f} / {max(row.lags) * 1000:.0f}" if row.lags else "",
                f"{max(row.delays):.1f}" if row.delays else "",
                f"{len(row.delays)} of {row.ended}",
            )
            for row in figures
        ],
    )


def promises(figures: list[Figures], poll_interval: float) -> dict[str, bool]:
    """
    Compare this package with what it promises, and with one request per run.

    :param figures: What was measured.
    :param poll_interval: Seconds between two looks at a run.
    :return: Sentences, and whether what each says is as good as promised.
    """
    by_cell = {(row.way, row.waiting): row for row in figures}
    kept = {}
    most = max(row.waiting for row in figures)
    if ours := by_cell.get(("ours", most)):
        per_round = ours.requests / ours.rounds
        kept[f"{per_round:.1f} requests per round with {most:,} waiting (at most 3)"] = per_round <= 3  # noqa: PLR2004
        kept[f"an unrelated request's p99 is {ours.status_p99:.1f} times its idle value (under 2)"] = (
            ours.status_p99 < 2  # noqa: PLR2004
        )
        lag = p99(ours.lags) * 1000
        kept[f"the event loop's lag has a p99 of {lag:.1f} ms (under 50)"] = lag < 50  # noqa: PLR2004
        if usual := by_cell.get(("request_per_run", most)):
            ratio = usual.mage_cpu_per_round / ours.mage_cpu_per_round
            kept[
                f"one request per run costs Mage {ratio:.0f} times as much CPU for a look at the same "
                f"{most:,} runs (at least 100), and {usual.mage_cpu / ours.mage_cpu:.0f} times as much per "
                f"minute, in which it gets {usual.rounds * poll_interval / 60:.0%} of its looks done"
            ] = ratio >= 100  # noqa: PLR2004
    for (way, waiting), row in by_cell.items():
        if way == "ours" and waiting in (1, most):
            is_kept = len(row.delays) == row.ended and max(row.delays) <= poll_interval + GRACE
            worst = max(row.delays, default=float("inf"))
            kept[
                f"with {waiting:,} waiting, an end is noticed after {worst:.1f} s at worst "
                f"(at most {poll_interval + GRACE:.0f})"
            ] = is_kept
    return kept


def plot(figures: list[Figures]) -> None:
    """Draw what Mage, and others who want something of it, pay for each way of waiting."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "waiting", "font.size": 9})
    from matplotlib import pyplot as plt

    drawing, (cost, others) = plt.subplots(1, 2, figsize=(9, 3.4))
    for way, name in WAYS.items():
        rows = [row for row in figures if row.way == way]
        waiting = [row.waiting for row in rows]
        cost.plot(waiting, [max(row.mage_cpu, 0.01) for row in rows], marker="o", label=name)
        others.plot(waiting, [row.status_p99 for row in rows], marker="o", label=name)
    cost.set(title="Mage CPU seconds per minute")
    others.set(title="p99 of somebody else's request, times idle")
    for axes in (cost, others):
        axes.set(xscale="log", yscale="log", xlabel="waiting runs")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(visible=True, alpha=0.3)
    cost.legend()
    drawing.savefig(REPORT.with_name("waiting.svg"), bbox_inches="tight", metadata={"Date": None})


def main() -> int:
    """Measure, write the table and the plot, and say whether every promise is kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=DATABASES, default="sqlite")
    parser.add_argument("--poll-interval", type=float, default=10, help="seconds; all else is a multiple")
    parser.add_argument("--waiting", type=int, nargs="*", default=[1, 10, 100, 1000])
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--dry-run", action="store_true", help="print only, and write no report")
    arguments = parser.parse_args()
    with measured_mage(arguments.database) as (server, meter):
        bench = Bench(server, meter, MageDatabase(server, PIPELINE), arguments.poll_interval)
        bench.rest()
        costs = table(
            ("request", "Mage CPU ms"), [(name, f"{ms:.0f}") for name, ms in bench.request_costs().items()]
        )
        figures = []
        for waiting in arguments.waiting:
            for way in arguments.ways:
                figures.append(bench.measure(way, waiting))
                print(figures_table(figures[-1:], arguments.poll_interval).splitlines()[-1], flush=True)
    kept = promises(figures, arguments.poll_interval)
    ours = [row for row in figures if row.way == "ours"]
    found = [f"- {'' if is_kept else '**Not kept:** '}{promise}" for promise, is_kept in kept.items()]
    if len(ours) > 1:
        few, many = ours[0], ours[-1]
        found.append(
            f"- {many.waiting - few.waiting:,} waiting tasks more add "
            f"{many.own_memory - few.own_memory:.0f} MiB and {many.own_cpu - few.own_cpu:.1f} CPU s/min "
            "to a triggerer"
        )
    text = "\n".join([figures_table(figures, arguments.poll_interval), "", *found])
    print(f"{text}\n\n{costs}")
    if not arguments.dry_run:
        write_section(f"waiting-{arguments.database}", text)
        if arguments.database == "sqlite":
            write_section("requests", costs)
            plot(figures)
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
