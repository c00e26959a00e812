"""The way in: from a request's parameters to a call that is placed, refused, or answered again.

Every intake (HTTP, later a broker) hands its requests to `Intake.submit`. In order: the same
request again is answered from what is known; the parameters are read, the key's policy and the
limits are asked, the PBX driver makes its plan, and the call is on its way. What is refused becomes
a call, too: one that ended as `rejected`, so that its status can be asked for.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import frozen
from twisted.logger import Logger

from c2c_agent.call.call import Answer, Call, CallState, Entry, Received
from c2c_agent.call.events import Expire, Place, Reject
from c2c_agent.call.evolve import evolve
from c2c_agent.call.job import PBX_KINDS, CallJob, JobRules, is_request_id, parse_job
from c2c_agent.call.machine import step
from c2c_agent.call.number import NumberError
from c2c_agent.call.request_data import bounded, known, without
from c2c_agent.config.sections import CallsConfig
from c2c_agent.dispatch.active import ActiveCall, Ownership
from c2c_agent.dispatch.dispatcher import Dispatcher
from c2c_agent.dispatch.repeats import Repeats
from c2c_agent.errors import ApiError, ErrorCode, Fault, StoreError
from c2c_agent.pbx.driver import PbxDriver
from c2c_agent.policy.hours import WeekTime
from c2c_agent.policy.keys import Key
from c2c_agent.policy.meter import Admission, Lease, LimitReached, Meter
from c2c_agent.policy.numbers import NumberPlan, PlannedNumber
from c2c_agent.policy.pbxs import PbxNames
from c2c_agent.policy.token import Token
from c2c_agent.store.call_store import CallStore, Claim, TokenStore

_log = Logger()

#: Ends of calls that may wait in memory for a store that cannot be written; beyond that no request
#: is kept.
_MOST_UNSTORED: Final = 1000

#: Refused requests of a key that are stored in a minute; beyond that they are only answered.
_MOST_REFUSALS: Final = 60
_MINUTE: Final = 60.0

_SHUTTING_DOWN: Final = "The agent is shutting down."
_NOT_STORED: Final = Fault(ErrorCode.INTERNAL_ERROR, "The call could not be stored.")
_USED_UP: Final = Fault(ErrorCode.RATE_LIMITED, "This token has no calls left.")
_NOT_NOW: Final = Fault(ErrorCode.NOT_ALLOWED, "This key may not place calls at this hour.")


@frozen
class Submission:
    """What became of a request: the call, and what its requester is told.

    `retry_after`: the seconds after which another try is worth it, where that is known. `kept`:
    the request is known from now on; else another try is one of its own.
    """

    call: Call
    answer: Answer
    replayed: bool = False
    retry_after: int | None = None
    kept: bool = True


class Clock(Protocol):
    """What is needed of `clock.SteadyClock`."""

    def now(self) -> float:
        """Epoch seconds that never jump."""

    def wall(self) -> float:
        """Epoch seconds as the host's clock has them."""

    def ahead(self) -> float:
        """By how many seconds the host's clock is ahead of the steady one."""


class Intake:
    """Takes requests for calls in.

    `week_time` tells what the clock shows in a time zone. `drivers` and `number_plans` are those of
    the PBXs, by their names, and `pbxs` knows which of them a key means.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        week_time: Callable[[float, str | None], WeekTime],
        new_id: Callable[[], str],
        dispatcher: Dispatcher,
        store: CallStore,
        drivers: Mapping[str, PbxDriver],
        pbxs: PbxNames,
        limits: CallsConfig,
        meter: Meter,
        tokens: TokenStore,
        number_plans: Mapping[str, NumberPlan] | None = None,
    ) -> None:
        self._clock = clock
        self._week_time = week_time
        self._new_id = new_id
        self._dispatcher = dispatcher
        self._store = store
        self._drivers = drivers
        self._pbxs = pbxs
        self._limits = limits
        self._meter = meter
        self._refusals: defaultdict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=_MOST_REFUSALS)
        )  # when the latest of a key were stored
        self._number_plans = {} if number_plans is None else number_plans
        self._tokens = tokens
        self._closed = False
        self._repeats = Repeats()

    def method_of(self, job: CallJob | None, asked: object = None) -> str:
        """What was done with a request, or would have been, as its PBX's own API names it.

        `job` None: it was no valid one. Then the kind that was `asked` for counts, if there is such
        a kind, or else the default.
        """
        kind = next((one for one in PBX_KINDS if one == asked), PBX_KINDS[0])
        kind = kind if job is None else job.pbx
        driver = self._drivers.get(kind if job is None else job.pbx_name)
        return f"{kind}.call" if driver is None else driver.method

    def close(self) -> None:
        """Take no new calls any more; those in progress go on."""
        self._closed = True

    def change(self, limits: CallsConfig) -> None:
        """Hold the calls that come from now on to these limits."""
        self._limits = limits

    async def submit(
        self,
        key: Key,
        parameters: Mapping[str, object],
        faults: Sequence[Fault] = (),
        *,
        url: str,
        method: str,
        token: Token | None = None,
        secrets: Collection[str] = (),
        must_keep: bool = False,
        relay: str | None = None,
        pbx_name: str | None = None,
    ) -> Submission:
        """Take in a request for a call, and answer when the PBX has answered.

        `faults` is what was wrong with the way the parameters were sent; the request is refused
        for it, together with what is wrong with the parameters themselves. `token`: that of the key
        which was presented in its place. `secrets` were presented with it; nothing that is kept has
        one in it. `must_keep`: it is kept however many of the key's requests are refused. `relay`:
        the server_id of the relay that gave it, where that alone is to hear of it over the broker.
        `pbx_name`: the PBX that it named.
        """
        parameters = without(secrets, known(parameters))
        faults = [evolve(one, message=without(secrets, one.message)) for one in faults]
        data = {**bounded(parameters), "api_key": key.name}
        received = Received(self._clock.now(), without(secrets, url), method, data)
        asked = parameters.get("request_id")
        request_id = asked.lower() if isinstance(asked, str) and is_request_id(asked) else None
        fingerprint, job, more = self._read(key, token, parameters, pbx_name)
        faults = (*faults, *more)
        call = Call(
            request_id=request_id or self._new_id(),
            key=key.name,
            received=received,
            fingerprint=fingerprint,
            max_duration=self._limits.max_duration,
            job=job,
            timeline=(Entry(received.at, CallState.ACCEPTED.value),),
            clock_ahead=self._clock.ahead(),
            server_id=self._store.server_id,
            relay=relay,
        )
        window = 0 if job is None or faults else key.repeat_window
        again = self._again(call, key, token, window)
        if again is not None:
            return await again
        fault = self._no_room(asks=request_id is not None)
        if fault is not None:
            return Submission(call, Answer((fault,)), kept=False)
        refusal = self._refusal(job, faults)
        if refusal is not None and not must_keep and self._has_refused_many(key):
            return await self._only_answer(call, key, refusal, asks=request_id is not None)
        asks = request_id is not None or bool(window)
        return await self._take_in(call, key, token, faults, window, asks=asks, must_keep=must_keep)

    def _no_room(self, *, asks: bool) -> Fault | None:
        """Why no request is taken in at present; `asks`: it may have been made before."""
        if self._closed:
            # Nothing of it is stored, for the store may be closed by the time that it would be.
            return Fault(ErrorCode.PBX_UNAVAILABLE, _SHUTTING_DOWN)
        if self._dispatcher.has_undecided(_MOST_UNSTORED):
            return _NOT_STORED
        # What was made before can be told even so.
        may_ask = asks and not self._store.shared
        return _NOT_STORED if self._is_full and not may_ask else None

    @property
    def _is_full(self) -> bool:
        return self._dispatcher.has_unstored(_MOST_UNSTORED)

    async def _take_in(
        self,
        call: Call,
        key: Key,
        token: Token | None,
        faults: Sequence[Fault],
        window: int,
        *,
        asks: bool,
        must_keep: bool,
    ) -> Submission:
        """Have a request placed or refused; `asks`: unless it was made before.

        `window`: within how many seconds another request for the same is the same.
        """
        job, full = call.job, self._is_full
        asks = asks or self._store.shared
        active = self._dispatcher.begin(call, Ownership.UNDECIDED if asks else Ownership.OURS)
        active.token = token
        self._repeats.note(active, window)
        claim, hindrance, wanted = Claim(), None, True
        if asks:
            if job is not None:
                hindrance = self._hindrance(job, faults)
            try:
                # Where the store counts calls, only what can be placed is counted.
                placeable = job is not None and hindrance is None
                claim = await self._store.claim(call, key if placeable else None, self._limits)
            except StoreError:
                # It may be there all the same, and was not placed: so it ends like one.
                faults = (_NOT_STORED,)
            except BaseException:
                self._dispatcher.forget(active)  # nothing is known of it, and nothing was done
                raise
            if claim.earlier is not None:
                return await self._answer_again(active, claim.earlier, claim, call, key)
            wanted = active.is_ours()
            if full:  # what was made before can be told even so
                self._dispatcher.forget(active)
                return Submission(call, Answer((_NOT_STORED,)), kept=False)
        retry_after = await self._start(
            active, key, faults, claim, hindrance, wanted=wanted, must_keep=must_keep
        )
        answer = await self._dispatcher.answer_of(active)
        kept = active.durability.was_given
        return Submission(active.call, answer, retry_after=retry_after, kept=kept)

    def _has_refused_many(self, key: Key) -> bool:
        """Whether so many requests of a key were refused lately that no more are stored."""
        lately = self._refusals[key.name]
        return len(lately) == _MOST_REFUSALS and lately[0] > self._clock.now() - _MINUTE

    async def _only_answer(
        self, call: Call, key: Key, refusal: Reject | Expire, *, asks: bool
    ) -> Submission:
        """Refuse a request without keeping it; one that was made before is answered again."""
        active = self._dispatcher.begin(call, Ownership.UNDECIDED)
        try:
            earlier = await self._store.find(call.request_id) if asks else None
        except StoreError:
            earlier = None
        except BaseException:
            self._dispatcher.forget(active)
            raise
        if earlier is not None:
            return await self._answer_again(active, earlier, Claim(), call, key)
        return self._forget_refused(active, refusal)

    def _forget_refused(self, active: ActiveCall, refusal: Reject | Expire) -> Submission:
        """Have a request end as refused, and keep nothing of it."""
        active.call = step(active.call, refusal, self._clock.now()).call
        active.count(self._clock.now())
        self._dispatcher.forget(active)
        return Submission(active.call, active.call.answer or Answer(), kept=False)

    def _refuse(
        self, active: ActiveCall, key: Key, refusal: Reject | Expire, *, must_keep: bool
    ) -> None:
        """Refuse a request, and keep it, unless too many of the key's were refused lately."""
        # What other processes see already has to end there.
        if must_keep or self._store.shared or not self._has_refused_many(key):
            self._refusals[key.name].append(self._clock.now())
            self._dispatcher.apply(active, refusal)
        else:
            self._forget_refused(active, refusal)

    def _again(
        self, call: Call, key: Key, token: Token | None, window: int
    ) -> Coroutine[Any, Any, Submission] | None:
        """Who answers a request that is known here already; None: it is not."""
        earlier = self._dispatcher.active(call.request_id)
        if earlier is not None:
            return self._replay(earlier, call, key, token)
        lately = self._repeats.find(call, window)
        return None if lately is None else self._repeat(lately)

    async def _answer_again(
        self, active: ActiveCall, earlier: Call, claim: Claim, call: Call, key: Key
    ) -> Submission:
        """Answer a request that turned out to have been made before, perhaps of another process."""
        wanted = active.was_made_before(earlier, foreign=self._store.shared)
        self._dispatcher.forget(active)
        if claim.repeated:  # whoever has cancelled this one has not meant that
            return await self._repeat(active)
        if not wanted and earlier.key == call.key:
            await self._dispatcher.cancel_anywhere(earlier)
        return await self._replay(active, call, key, active.token)

    def _read(
        self,
        key: Key,
        token: Token | None,
        parameters: Mapping[str, object],
        pbx_name: str | None = None,
    ) -> tuple[str, CallJob | None, Sequence[Fault]]:
        """Fingerprint, job and faults of a request's parameters."""
        rules = JobRules(
            self._limits.timeout,
            self._limits.max_timeout,
            key.names,
            key.auto_answer,
            key.auto_answer_always,
            key.confirm,
            key.agent,
            key.default_first if token is None else token.dial_first,
            None if token is None else token.dial_as,
        )
        try:
            job = parse_job(parameters, rules)
        except ApiError as error:
            asked = json.dumps(bounded(parameters), sort_keys=True)
            return f"{key.name} {asked}", None, error.faults
        wanted: tuple[object, ...] = (
            job.dial_first,
            job.dial_second,
            job.dial_as,
            job.timeout,
            job.pbx,
        )
        if job.auto_answer is not None:
            wanted += (job.auto_answer,)
        if job.confirm:
            wanted += ("confirm auto" if job.confirm == "auto" else "confirm",)
        if job.max_duration is not None:
            wanted += (f"max_duration {job.max_duration}",)
        job, pbx_faults = self._find_pbx(key, job, pbx_name)
        job, faults = self._plan_numbers(key, job)
        if token is not None:
            faults += token.faults(job)
        if key.hours and not key.may_call_at(self._week_time(self._clock.wall(), key.timezone)):
            faults.append(_NOT_NOW)
        return f"{key.name} {wanted}", job, [*faults, *pbx_faults]

    def _find_pbx(
        self, key: Key, job: CallJob, pbx_name: str | None
    ) -> tuple[CallJob, Sequence[Fault]]:
        """The job with its PBX, here and at the agent; and why it may have none."""
        if pbx_name is None:
            pbx = self._pbxs.of(key, job.pbx)
        else:
            pbx = self._pbxs.of_job(key, job.pbx, pbx_name)
        if isinstance(pbx, Fault):
            return job, (pbx,)
        if pbx != job.pbx:
            return evolve(job, named_pbx=pbx), ()
        at_agent = self._pbxs.at_agent(key, job.pbx)
        return job if at_agent is None else evolve(job, agent_pbx=at_agent), ()

    def _plan_numbers(self, key: Key, job: CallJob) -> tuple[CallJob, list[Fault]]:
        """The job with its numbers as they are dialled, and what the key may not do of it."""
        plan = key.numbers or self._number_plans.get(job.pbx_name)
        if plan is None:
            return job, key.faults(job, self._limits.international_prefix)
        planned: dict[str, PlannedNumber] = {}
        faults: list[Fault] = []
        for name, number in (("dial_first", job.dial_first), ("dial_second", job.dial_second)):
            try:
                planned[number] = plan.read(number)
            except NumberError as error:
                message = f"{name} is not a number that can be dialled: {error}."
                faults.append(Fault(ErrorCode.INVALID_PARAMETER, message))
        faults += key.faults(job, plan.prefix, planned)
        if job.agent is None:  # else the agent beside the PBX has a plan of its own
            told = {number: one.dialed for number, one in planned.items() if one.dialed != number}
            job = evolve(
                job,
                dialed_first=told.get(job.dial_first),
                dialed_second=told.get(job.dial_second),
            )
        return job, faults

    def _hindrance(self, job: CallJob, faults: Sequence[Fault]) -> Reject | Expire | None:
        """What keeps a job from being placed, whatever the limits say."""
        fault = self._dispatcher.kill_switch_fault()
        if fault is not None:
            return Reject((fault,))
        if faults:
            return Reject(tuple(faults))
        if job.has_expired(self._clock.wall()):
            return Expire()
        unready = _SHUTTING_DOWN if self._closed else self._drivers[job.pbx_name].unready()
        if unready is not None:
            return Reject((Fault(ErrorCode.PBX_UNAVAILABLE, unready),))
        return None

    def _refusal(self, job: CallJob | None, faults: Sequence[Fault]) -> Reject | Expire | None:
        """The same of a request that may be no valid job."""
        if job is not None:
            return self._hindrance(job, faults)
        fault = self._dispatcher.kill_switch_fault()
        return Reject(tuple(faults) if fault is None else (fault,))

    async def _start(
        self,
        active: ActiveCall,
        key: Key,
        faults: Sequence[Fault],
        claim: Claim,
        hindrance: Reject | Expire | None,
        *,
        wanted: bool,
        must_keep: bool,
    ) -> int | None:
        """Place the call, or refuse it; gives the seconds after which another try is worth it.

        `wanted`: it was not cancelled since the store was asked. `hindrance` is what kept it from
        being placed when that was asked. It does so also where it is over by now, for then the
        store has not counted the call.
        """
        if not wanted:
            self._dispatcher.cancel(active.call.request_id)
            return None
        job = active.call.job
        hindrance = hindrance or self._refusal(job, faults)
        if hindrance is not None or job is None:
            refusal = hindrance or Reject(tuple(faults))
            self._refuse(active, key, refusal, must_keep=must_keep)
            return None
        lease = self._lease(key, job, claim)
        if isinstance(lease, LimitReached):
            self._refuse(active, key, Reject((lease.fault,)), must_keep=must_keep)
            return lease.retry_after
        active.lease, longest = lease, lease.admission.max_duration
        job = evolve(job, max_duration=longest)
        active.call = evolve(active.call, job=job, max_duration=longest)
        driver = self._drivers[job.pbx_name]
        plan = await self._plan(driver, active, job)
        if isinstance(plan, Reject):
            self._refuse(active, key, plan, must_keep=must_keep)
        else:
            active.call = evolve(active.call, cannot_hang_up=driver.cannot_hang_up())
            self._dispatcher.apply(active, plan)
        return None

    def _lease(self, key: Key, job: CallJob, claim: Claim) -> Lease | LimitReached:
        """The call's slot, as the store has decided, or else the meter does."""
        now = self._clock.now()
        match claim.admitted:
            case None:
                return self._meter.admit(key, job, self._limits.max_duration, now)
            case Admission() as admission:
                return self._meter.resume(key.name, admission, now, job.pbx_name)
            case LimitReached() as reached:
                return reached

    async def _plan(self, driver: PbxDriver, active: ActiveCall, job: CallJob) -> Place | Reject:
        request_id = active.call.request_id
        try:
            plan = await driver.prepare(request_id, job)
            if await self._may_use(active):
                return Place(plan)
        except ApiError as error:
            return Reject(error.faults)
        except StoreError as error:
            reason = str(error)
            _log.warn(
                "call {call}: the use of its token could not be counted: {reason}",
                call=request_id,
                reason=reason,
            )
            return Reject((_NOT_STORED,))
        except Exception:  # noqa: BLE001 - whatever it is, the requester is told, and the call ends
            _log.failure("call {call}: no plan could be made", call=request_id)
            return Reject((Fault(ErrorCode.INTERNAL_ERROR, "An internal error; see the log."),))
        return Reject((_USED_UP,))

    async def _may_use(self, active: ActiveCall) -> bool:
        """Whether the token that was presented, if any was, can be used once more; it is, then."""
        token = active.token
        if token is None or token.uses is None:
            return True
        return await self._tokens.use(active.call.key, token.id, token.uses, token.expires)

    async def _repeat(self, earlier: ActiveCall) -> Submission:
        """Answer what was asked for a moment ago as it was answered then; dial nothing."""
        answer = await self._dispatcher.answer_of(earlier)
        return Submission(earlier.call, answer, replayed=True)

    async def _replay(
        self, earlier: ActiveCall, call: Call, key: Key, token: Token | None
    ) -> Submission:
        """Answer a repeated request from what is known of the earlier one; dial nothing."""
        answer = await self._dispatcher.answer_of(earlier)
        if not self._is_the_same(earlier.call, call, key, token):
            message = "This request_id was used before for another call."
            fault = Fault(ErrorCode.REQUEST_ID_CONFLICT, message)
            return Submission(call, Answer((fault,)), kept=False)
        return Submission(earlier.call, answer, replayed=True)

    def _is_the_same(self, earlier: Call, call: Call, key: Key, token: Token | None) -> bool:
        """Whether two requests are one, though what they leave to the configuration has changed."""
        if earlier.fingerprint == call.fingerprint:
            return True
        # Of a request that 0.1 has stored, what is known and as much as would be kept today.
        asked = bounded(known(earlier.received.data))
        return earlier.key == key.name and self._read(key, token, asked)[0] == call.fingerprint
