"""The model of one run: devices, lines, channels and people's hands, made from its plan."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from estran.errors import PlatformError
from estran.platforms.emulated.limits.limiter import quota_and_period
from estran.platforms.simulated.channel import Channel, Trace
from estran.platforms.simulated.clock import VirtualClock
from estran.platforms.simulated.command import CommandSurroundings, SimulatedCommand
from estran.platforms.simulated.commands import Peers
from estran.platforms.simulated.compute import SimulatedCompute
from estran.platforms.simulated.costs import Costs, Uniform
from estran.platforms.simulated.gaps import Gaps, RestProcessor, YieldingProcessor
from estran.platforms.simulated.loop import RANK, VirtualLoop
from estran.platforms.simulated.moment import until
from estran.platforms.simulated.network import Network, UniformDraws
from estran.platforms.simulated.processor import Cores, Processor, QuotaProcessor, SlowProcessor
from estran.platforms.simulated.replica import Say, SimulatedReplica
from estran.platforms.simulated.seams import Seams
from estran.platforms.simulated.senders import AcknowledgedSender
from estran.platforms.simulated.tcp import Connection
from estran.platforms.simulated.trace import TraceFile
from estran.platforms.simulated.transport import Ends, SimulatedTransport
from estran.runtime.compute import Compute
from estran.runtime.launch import Launch, Yielding
from estran.runtime.recorder import Recorder
from estran.runtime.rows import MessageRow
from estran.runtime.transport import ChannelSpec
from estran.runtime.yielding import Governed, Governor, LocalBoard, Marked
from estran.runtime.zenoh_session import LEASE_MS
from estran.spec.calibration import TOGETHER, Handling, way
from estran.spec.costs import FREE, Cost
from estran.spec.plan import Plan, Replica


@dataclass(slots=True)
class Seat:
    """What one replica works with: its processor, what its messages cost, its luck."""

    rank: int
    replica: Replica
    processor: Processor
    handling: Handling
    draw: Uniform
    context: Context
    sends: Flock
    receives: Flock


class Flock:
    """Charges one replica for messages: once for those that come together, and for each."""

    def __init__(self, loop: VirtualLoop, processor: Processor, cost: Cost) -> None:
        self._loop = loop
        self._processor = processor
        self._alone, self._each = cost.time + cost.each, cost.each
        self._last = -math.inf

    def charge(self) -> None:
        """Charge for one, now."""
        now = self._loop.time()
        cost = self._each if now - self._last <= TOGETHER else self._alone
        self._last = now
        self._processor.charge_aside(now, cost)


class Hands:
    """What the two replicas of a channel spend on a message (see `estran.platforms.simulated.channel.Hands`)."""

    def __init__(self, producer: Flock, consumer: Flock, answers: Flock, extra: Cost, wake: Cost, draw: Uniform) -> None:
        self._extra = extra
        self._wake = wake
        self._draw = draw
        self._extra_varies, self._extra_mean = extra.varies, extra.mean()
        self._wake_varies, self._wake_mean = wake.varies, wake.mean()
        self.sending = producer.charge
        self.receiving = consumer.charge
        self.answered = answers.charge

    def extra(self) -> float:
        """Draw what a message takes beside the line."""
        return self._extra.draw(1, self._draw()) if self._extra_varies else self._extra_mean

    def wake(self) -> float:
        """Draw how long an idle consumer takes to notice a message."""
        return self._wake.draw(1, self._draw()) if self._wake_varies else self._wake_mean


class Toll:
    """What taking up messages costs one replica (see `estran.runtime.ports.Toll`)."""

    def __init__(self, loop: VirtualLoop, seat: Seat) -> None:
        self._loop = loop
        self._seat = seat
        self._take = seat.handling.take
        self._varies = self._take.varies
        self._until = 0.0

    def charge(self, messages: int) -> None:
        """Charge for so many."""
        take = self._take
        cost = take.draw(messages, self._seat.draw()) if self._varies else take.time + take.each * messages
        self._until = self._seat.processor.charge(self._loop.time(), cost)

    def hold(self, until: float) -> None:
        """Let nothing leave before a time of the loop."""
        self._until = max(self._until, until)

    def owed(self) -> bool:
        """Whether the time that it takes has not passed yet."""
        return self._until > self._loop.time()

    async def paid(self) -> None:
        """Return once it has."""
        await until(self._loop, self._until)


class WatchedRecorder(Recorder):
    """Tells those that are to keep a replica's latency how long its messages took.

    Parameters
    ----------
    governors
        Theirs; more may come.
    """

    def __init__(
        self, emit: Callable[[str, Any], None], clock: VirtualClock, host: str, replica: str, governors: list[Governor]
    ) -> None:
        super().__init__(emit, clock, host=host, replica=replica)
        self._governors = governors

    def message(self, row: MessageRow) -> None:
        """Record a processed message."""
        super().message(row)
        for governor in self._governors:
            governor.observe(((row.created, row.done),))


class World:
    """Everything of one simulated run that replicas share.

    Parameters
    ----------
    quota
        Whether devices are slow as emulated ones are (a share of each period), or by nature.
    """

    def __init__(self, plan: Plan, loop: VirtualLoop, costs: Costs, seams: Seams, trace: TraceFile | None, *, quota: bool) -> None:
        self.plan = plan
        self.loop = loop
        self.costs = costs
        self.trace = trace
        self.network = Network(((link.source, link.target, link.link) for link in plan.links), plan.experiment.seed)
        self.replicas: dict[int, SimulatedReplica | SimulatedCommand] = {}
        self.peers = Peers()
        self._seams = seams
        self._quota = quota
        self._gaps: dict[str, Gaps] = {}
        self._cores = {name: Cores(host.device.cores) for name, host in plan.hosts.items()}
        self.seats = {name: self._seat(rank, replica) for rank, (name, replica) in enumerate(plan.replicas.items())}
        self._planned = {channel.key: channel for channel in plan.channels}
        self._ends: dict[str, Ends] = {}
        self._inbound: dict[str, list[Ends]] = {}
        self._connections: dict[tuple[str, str], Connection] = {}
        self._boards: dict[str, LocalBoard] = {}
        self._governors: dict[str, list[Governor]] = {}
        self._begins: list[tuple[Toll, float]] = []
        self._begun = False

    def generator(self, *names: str) -> np.random.Generator:
        """A random stream of the model itself, apart from those of the components."""
        key = tuple(crc32(name.encode()) for name in ("simulated", *names))
        return np.random.default_rng(np.random.SeedSequence(self.plan.experiment.seed, spawn_key=key))

    def _seat(self, rank: int, replica: Replica) -> Seat:
        device = self.plan.hosts[replica.host].device
        context = copy_context()
        context.run(RANK.set, rank)
        self.loop.names[rank] = replica.name
        handling = self.costs.handling(replica.service, device) if replica.service.component else Handling(replica.service.name, "")
        draws = UniformDraws(self.generator(replica.name))
        processor = self._processor(replica)
        sends, receives = (Flock(self.loop, processor, cost) for cost in (handling.send_cpu, handling.receive_cpu))
        return Seat(rank, replica, processor, handling, draws, context, sends, receives)

    def _processor(self, replica: Replica) -> Processor:
        device = self.plan.hosts[replica.host].device
        cores = self._cores[replica.host]
        yields = replica.service.share.yields
        if not self._quota:
            return YieldingProcessor(self._gaps_of(replica.host), device.speed) if yields else SlowProcessor(cores, device.speed)
        usable = min(replica.service.cores, device.cores, replica.service.share.most * device.cores) * device.speed
        quota, period = quota_and_period(usable)
        phase = float(self.generator(replica.name, "period").random()) * period * 1e-6
        return self._rest_of(replica, usable, phase) if yields else QuotaProcessor(cores, quota * 1e-6, period * 1e-6, phase)

    def _gaps_of(self, host: str) -> Gaps:
        """What those that go first leave of a host's cores."""
        found = self._gaps.get(host)
        if found is None:
            found = self._gaps[host] = Gaps(self.plan.hosts[host].device.cores)
            self._cores[host].on_taken = found.take
        return found

    def _rest_of(self, replica: Replica, usable: float, phase: float) -> RestProcessor:
        """What those that go first leave of an emulated device, on other fast cores than theirs."""
        device = self.plan.hosts[replica.host].device
        beside = [other for other in self.plan.replicas.values() if other.host == replica.host]

        def worked(now: float, yields: bool) -> float:
            chosen = (other.name for other in beside if other.service.share.yields is yields)
            return sum(self.seats[name].processor.worked(now) for name in chosen)

        return RestProcessor(
            Cores(device.cores), device.cores * device.speed, usable, phase, lambda now: worked(now, False),
            lambda now: worked(now, True), sum(other.service.share.yields for other in beside),
        )  # fmt: skip

    def tracer(self, who: str) -> Trace | None:
        """Notes events of one replica, if a trace is wanted."""
        trace = self.trace
        return None if trace is None else lambda what, details: trace.write(who, what, details)

    def replica(self, launch: Launch, say: Say, emit: Callable[[str, Any], None]) -> SimulatedReplica:
        """Make a replica of a component."""
        seat = self.seats[launch.replica]
        late = seat.handling.late
        clock = VirtualClock(self.loop, launch.origin_ns, None if late == FREE else lambda: late.draw(1, seat.draw()))
        watching = self._governors.setdefault(launch.replica, [])
        recorder = WatchedRecorder(emit, clock, launch.host, launch.replica, watching)
        compute = self._compute(launch, seat, recorder, clock)
        begin = seat.handling.begin
        toll = None if seat.handling.take == FREE and begin == FREE else Toll(self.loop, seat)
        if toll is not None and begin != FREE:
            seconds = begin.draw(1, seat.draw())
            if self._begun:
                toll.hold(self.loop.time() + seconds)
            else:
                self._begins.append((toll, seconds))
        made = SimulatedReplica(
            launch, seat.context, clock, recorder, compute, SimulatedTransport(self.channel), toll, say,
            self._seams.watch,
        )  # fmt: skip
        self.replicas[seat.rank] = made
        return made

    def _compute(self, launch: Launch, seat: Seat, recorder: Recorder, clock: VirtualClock) -> Compute:
        """What a component computes with, beside others of its host or at their expense."""
        device, service = self.plan.hosts[launch.host].device, seat.replica.service
        tracer = self.tracer(launch.replica)
        compute = SimulatedCompute(seat.processor, self.costs, service, device, recorder, seat.draw, tracer)
        board = self._boards.setdefault(launch.host, LocalBoard())
        if launch.yields is not None:
            governor = Governor(launch.yields, clock, recorder)
            for watched in launch.yields.watched:
                self._governors.setdefault(watched, []).append(governor)
            return Governed(compute, board, governor, clock)
        if service.share.most < 1 and not self._quota:
            return Governed(compute, None, Governor(Yielding(device.cores, service.share.most), clock, recorder), clock)
        return Marked(compute, board.place())

    def command(self, launch: Launch, say: Say, emit: Callable[[str, Any], None]) -> SimulatedCommand:
        """Make a replica of a command.

        Raises
        ------
        PlatformError
            If there is no model of it.
        """
        seat = self.seats[launch.replica]
        model = self.costs.command(seat.replica.service)
        if model is None:
            raise PlatformError("a command cannot be simulated without a model", where=launch.replica)
        clock = VirtualClock(self.loop, launch.origin_ns)
        recorder = Recorder(emit, clock, host=launch.host, replica=launch.replica)
        rng = self.generator(launch.replica, "command")
        trace = self.tracer(launch.replica)
        surroundings = CommandSurroundings(self.loop, clock, rng, seat.processor, self.network, recorder, trace)
        made = SimulatedCommand(launch, seat.replica, seat.context, model, self.peers, surroundings, recorder, say)
        self.replicas[seat.rank] = made
        return made

    def channel(self, spec: ChannelSpec) -> Ends:
        """A channel of the plan, made at the first call."""
        found = self._ends.get(spec.key)
        if found is None:
            planned = self._planned.get(spec.key)
            if planned is None:
                raise PlatformError("there is no such channel in the plan", where=spec.key)
            producer, consumer = self.seats[planned.producer], self.seats[planned.consumer]
            hosts = producer.replica.host, consumer.replica.host
            here, there = (self.plan.hosts[host].device.name for host in hosts)
            name = way(here, there, within=hosts[0] == hosts[1])
            extra = self.costs.transfer(planned.stream, consumer.replica.service.name, name)
            draws = UniformDraws(self.generator(spec.key))
            answers = Flock(self.loop, producer.processor, Cost(producer.handling.send_cpu.time))
            hands = Hands(producer.sends, consumer.receives, answers, extra, consumer.handling.wake, draws)
            clock = VirtualClock(self.loop, 0)
            made = Channel(
                spec, self.network, clock, hosts, self._connection(planned.producer, planned.consumer, hosts), hands,
                self.tracer(planned.producer), self.tracer(planned.consumer),
            )  # fmt: skip
            found = self._ends[spec.key] = Ends(made)
            self._inbound.setdefault(planned.consumer, []).append(found)
        return found

    def sever(self, replica: str) -> None:
        """A replica has died: its connections are gone, and what was under way on them."""
        for producer, consumer in [pair for pair in self._connections if replica in pair]:
            self._connections.pop((producer, consumer)).close()
        for key, ends in self._ends.items():
            planned = self._planned[key]
            if replica in (planned.producer, planned.consumer):
                hosts = self.plan.replicas[planned.producer].host, self.plan.replicas[planned.consumer].host
                ends.channel.connect(self._connection(planned.producer, planned.consumer, hosts))
                ends.channel.renew()

    def stand_still(self, replica: str, still: bool) -> None:
        """Have a replica stand still as if its process were stopped, or go on."""
        rank = self.seats[replica].rank
        for ends in self._inbound.get(replica, ()):
            ends.channel.pause(still)
        (self.loop.freeze if still else self.loop.thaw)(rank)

    def waiting(self, replica: str) -> int:
        """Frames that were sent to a replica by acknowledged delivery, and that it has not processed."""
        senders = (ends.sender for ends in self._inbound.get(replica, ()))
        return sum(sender.waiting for sender in senders if isinstance(sender, AcknowledgedSender))

    def _connection(self, producer: str, consumer: str, hosts: tuple[str, str]) -> Connection:
        """Streams between two replicas share one."""
        found = self._connections.get((producer, consumer))
        if found is None:
            there, back = self.network.pair(*hosts), self.network.pair(*hosts[::-1])
            found = self._connections[producer, consumer] = Connection(self.loop, there, back, LEASE_MS * 1e-3)
        return found

    def begin(self, origin_ns: int) -> None:
        """The run's origin is known."""
        self._begun = True
        if self.trace is not None:
            self.trace.origin = origin_ns * 1e-9
        for ends in self._ends.values():
            ends.channel.clock.origin_ns = origin_ns
        for toll, seconds in self._begins:
            toll.hold(origin_ns * 1e-9 + seconds)
