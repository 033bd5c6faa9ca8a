"""Where a study is stored: a file in its folder, or a database that several nodes reach."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from snnexp.errors import RunError

FILES = {"sqlite": "study.db", "journal": "study.journal"}
PATIENCE = 60  # s, for which a process waits for another one that writes to sqlite


def connect(storage: str, folder: Path) -> BaseStorage:
    """The storage: `sqlite` or `journal`, files in the study's folder, or a database's URL."""
    if storage == "journal":
        return JournalStorage(JournalFileBackend(str(folder / FILES["journal"])))
    url = f"sqlite:///{folder / FILES['sqlite']}" if storage == "sqlite" else storage
    options = {"connect_args": {"timeout": PATIENCE}} if url.startswith("sqlite") else {}
    return RDBStorage(url, engine_kwargs=options)


def shown(storage: str) -> str:
    """The storage without its password."""
    return storage if storage in FILES else make_url(storage).render_as_string(hide_password=True)


@contextmanager
def naming_storage(storage: str) -> Iterator[None]:
    """RunError with the storage's name for what its driver complains about."""
    try:
        yield
    except ArgumentError as error:
        raise RunError(
            f"hydra.sweeper.storage: {storage!r} is neither {', '.join(FILES)} nor the URL of a "
            "database, such as postgresql+psycopg://user@host/name"
        ) from error
    except (ImportError, OSError, StorageInternalError, SQLAlchemyError) as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        raise RunError(
            f"hydra.sweeper.storage: {shown(storage)} cannot be used ({cause}); start the "
            "database or install its driver, or keep the study in its folder with sqlite or journal"
        ) from error
