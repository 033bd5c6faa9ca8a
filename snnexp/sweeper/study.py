"""A study in a folder: one Optuna storage that any number of processes take trials from.

A worker takes a trial and locks its file in `locks/` while it holds the study's own lock, and
keeps the trial's lock until the result is stored. So a trial that is RUNNING while its lock is
free belongs to a process that died, and is queued again under its own number.
"""

import json
import time
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from snnexp import folders
from snnexp.errors import ConfigError, RunError, UserError
from snnexp.sweeper import storages
from snnexp.sweeper.space import Value

IDENTITY = "study.json"
LOCKS = "locks"
PAUSE = 0.3  # s, between two looks at the trials of others


@dataclass(frozen=True)
class Objective:
    """A metric that trials return, and whether to maximize or minimize it."""

    name: str
    direction: str


@dataclass(frozen=True)
class Held:
    """A trial that this process runs; `lock` is held until its result is told."""

    trial: Trial
    values: dict[str, Value]
    lock: FileLock

    @property
    def number(self) -> int:
        return self.trial.number

    @property
    def attempts(self) -> int:
        return attempts(self.trial.user_attrs)


def attempts(attributes: Mapping[str, Any]) -> int:
    """How often a trial was begun."""
    return int(attributes.get("killed", 0)) + 1


class Study:
    """The study `name` of `folder`, made or joined.

    storage: see `storages.connect`. definition: what must be the same for all that join, by name.
    retries: how often a trial whose process died is begun again before it counts as failed.
    Raises RunError where the storage cannot be reached, the folder holds something else, or the
    study was defined otherwise.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        storage: str,
        objectives: Sequence[Objective],
        definition: Mapping[str, Any],
        retries: int,
    ):
        self.folder, self.name, self.retries = folder, name, retries
        self.objectives = list(objectives)
        _refuse_foreign(folder)
        (folder / LOCKS).mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / LOCKS / "study")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self._lock, storages.naming_storage(storage):
            self.storage = storages.connect(storage, folder)
            self.optuna = self._open(storage, definition)

    def _open(self, storage: str, definition: Mapping[str, Any]) -> optuna.Study:
        known = self.name in optuna.get_all_study_names(self.storage)
        if known:
            stored = optuna.load_study(study_name=self.name, storage=self.storage)
            _refuse_other_definition(self.folder, stored.user_attrs, definition)
        study = optuna.create_study(
            study_name=self.name,
            storage=self.storage,
            directions=[StudyDirection[o.direction.upper()] for o in self.objectives],
            load_if_exists=True,
        )
        self._identify(study, storages.shown(storage))
        if "definition" not in study.user_attrs:
            study.set_user_attr("definition", dict(definition))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([objective.name for objective in self.objectives])
        return study

    def _identify(self, study: optuna.Study, storage: str) -> None:
        """Folder and storage belong together: else numbers, and with them folders, would clash."""
        path, given = self.folder / IDENTITY, study.user_attrs.get("id")
        own = identity(self.folder)["id"] if path.exists() else None
        if own is None and given is None:
            own = uuid.uuid4().hex
            record = {"id": own, "study": self.name, "storage": storage}
            with folders.whole(path) as partial:
                partial.write_text(json.dumps(record, indent=1))
        is_new = given is None and not study.get_trials(deepcopy=False)
        if is_new and not _has_trials(self.folder):
            study.set_user_attr("id", own)
        elif own != given:
            raise RunError(
                f"{self.folder}: the folder and the study {self.name!r} in {storage} do not belong "
                "together (a storage was deleted, or another folder holds its trials; all nodes "
                "must see one folder); choose another hydra.sweeper.study"
            )

    def next(
        self,
        wanted: Callable[[list[FrozenTrial]], bool],
        suggest: Callable[[Trial], dict[str, Value]],
        sampler: Callable[[int], optuna.samplers.BaseSampler],
        waiting_only: bool = False,
    ) -> Held | None:
        """The next trial, held by this process; None once no more is wanted.

        wanted: whether the trials so far leave something to do; asked again while others run.
        suggest: gives a new trial its values. sampler: makes the sampler for a trial's number.
        waiting_only: take queued trials only, ask for no new ones.
        """
        while True:
            with self._lock:
                trials = self._reclaimed()
                running = sum(trial.state == TrialState.RUNNING for trial in trials)
                waiting = any(trial.state == TrialState.WAITING for trial in trials)
                if waiting or (wanted(trials) and not waiting_only):
                    held = self._ask(len(trials), suggest, sampler)
                    if held is not None:
                        return held
                elif running == 0:
                    return None
            time.sleep(PAUSE)

    def _ask(
        self,
        count: int,
        suggest: Callable[[Trial], dict[str, Value]],
        sampler: Callable[[int], optuna.samplers.BaseSampler],
    ) -> Held | None:
        """The next trial; None for one that cannot have values, which has failed."""
        self.optuna.sampler = sampler(count)
        trial = self.optuna.ask()
        held = Held(trial, {}, self._trial_lock(trial.number))
        held.lock.acquire(timeout=0)
        try:
            held.values.update(suggest(trial))
        except UserError as error:
            self.tell(held, TrialState.FAIL, reason=str(error))
            return None
        except BaseException:
            self.give_back(held)
            raise
        return held

    def tell(
        self,
        held: Held,
        state: TrialState,
        values: Sequence[float] | None = None,
        reason: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Store a trial's end, and let go of it."""
        for key, value in {**(attributes or {}), "reason": reason}.items():
            held.trial.set_user_attr(key, value)
        self.optuna.tell(held.trial, values, state=state)
        held.lock.release()

    def give_back(self, held: Held) -> None:
        """Queue a trial again whose run was interrupted."""
        self.storage.set_trial_state_values(held.trial._trial_id, TrialState.WAITING)
        held.lock.release()

    def trials(self) -> list[FrozenTrial]:
        """All trials in the order of their numbers."""
        return self.optuna.get_trials(deepcopy=False)

    def enqueue(self, points: Sequence[Mapping[str, Value]]) -> None:
        """Queue those points that no trial was made for yet."""
        with self._lock:
            for point in points:
                self.optuna.enqueue_trial(dict(point), skip_if_exists=True)

    def _reclaimed(self) -> list[FrozenTrial]:
        """All trials, after those of dead processes were queued again."""
        trials = self.trials()
        dead = [t for t in trials if t.state == TrialState.RUNNING and self._reclaim(t)]
        return self.trials() if dead else trials

    def _reclaim(self, trial: FrozenTrial) -> bool:
        """Whether a trial that was running is no longer: its lock tells."""
        lock = self._trial_lock(trial.number)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        try:
            # it may have ended between the look at it and its lock
            if self.storage.get_trial(trial._trial_id).state == TrialState.RUNNING:
                self._queue_again(trial)
        finally:
            lock.release()
        return True

    def _queue_again(self, trial: FrozenTrial) -> None:
        killed = attempts(trial.user_attrs)
        self.storage.set_trial_user_attr(trial._trial_id, "killed", killed)
        if killed <= self.retries:
            self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
            return
        reason = "killed" if killed == 1 else f"killed in each of {killed} attempts"
        self.storage.set_trial_user_attr(trial._trial_id, "reason", reason)
        self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _trial_lock(self, number: int) -> FileLock:
        return FileLock(self.folder / LOCKS / str(number))


def identity(folder: Path) -> dict[str, str]:
    """What a sweep's folder says of its study: `id`, `study` and `storage`."""
    path = folder / IDENTITY
    try:
        record = json.loads(path.read_text())
        return {name: str(record[name]) for name in ("id", "study", "storage")}
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{path}: this says of no study ({type(error).__name__}: {error}); put it back as it "
            "was, or choose another hydra.sweeper.study"
        ) from error


def _has_trials(folder: Path) -> bool:
    return any(path.name.isdigit() for path in folder.iterdir())


def _refuse_foreign(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / LOCKS).is_dir():
        raise RunError(
            f"{folder}: the folder exists and holds no study; choose another hydra.sweeper.study"
        )


def _refuse_other_definition(
    folder: Path, attributes: Mapping[str, Any], definition: Mapping[str, Any]
) -> None:
    stored: Mapping[str, Any] | None = attributes.get("definition")
    if stored is None:
        return
    here = json.loads(json.dumps(definition))
    differing = [key for key in {**stored, **here} if stored.get(key) != here.get(key)]
    if differing:
        lines = [
            f"  {key}: {stored.get(key, 'not set')} there, {here.get(key, 'not set')} here"
            for key in differing
        ]
        raise ConfigError(
            f"{folder}: the study is defined otherwise, and trials that do not compare are not "
            "mixed; choose another name with hydra.sweeper.study\n" + "\n".join(lines)
        )
