"""Everything an operation needs, opened from the settings: database, blobs, ledger, engine, substrate, promoter."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from containers.engine import get_runtime
from containers.runtime import EngineUnavailable, ImageRef, Runtime, RuntimeBroken
from containers.substrate import ManifestError, SubstrateManifest, load_manifest
from evidence.ledger import Ledger, LedgerBroken
from evidence.redact import Redactor, load_key, secret_environment
from evidence.signals import LoadedRule, RuleError, load_rule
from evidence.sources.cursor import Source
from evidence.store import Store, StoreError
from evolve import worktree
from evolve.errors import BadInput, Broken, Refused
from evolve.home import require_home
from evolve.images import build_commit
from evolve.migrations import upgrade
from evolve.service import Paths
from evolve.settings import Settings, load_settings
from promote import wire
from promote.client import PromoterClient
from promote.generations import Generations
from promote.keys import machine_key
from trial.graders import GraderSet, load_graders

T = TypeVar("T")


class Product:
    """Open for one command, one job or one process; close it when done."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.paths = Paths(settings.home)
        try:
            upgrade(settings.sql_url)
            self.ledger = Ledger(settings.home / "ledger.db")
            self.store = Store(settings.sql_url, settings.home / "blobs", journal=self.ledger)
            self._checked_size = self.ledger.head()[0]
        except (StoreError, LedgerBroken) as error:
            raise Broken(str(error)) from None

    @classmethod
    def open(cls, home: Path) -> "Product":
        """Raises NotFound when there is no home, BadInput for wrong settings, Broken for an unusable database."""
        require_home(home)
        return cls(load_settings(home))

    def close(self) -> None:
        if "graders" in self.__dict__:
            self.graders.close()
        self.store.close()
        try:
            self.sign_checkpoint()
        finally:
            self.ledger.close()

    def sign_checkpoint(self) -> None:
        """Sign how far the product's ledger goes, in another folder: else a cut-off tail could not be told."""
        size = self.ledger.head()[0]
        if size > self._checked_size:
            self.ledger.checkpoint(self.paths.product_checkpoints, machine_key(self.paths.checkpoint_key))
            self._checked_size = size

    def __enter__(self) -> "Product":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @cached_property
    def runtime(self) -> Runtime:
        try:
            return get_runtime(self.settings.runtime, self.settings.home, self.settings.docker)
        except EngineUnavailable as error:
            raise Broken(str(error), hint="`evolve doctor` says more") from None

    @cached_property
    def manifest(self) -> SubstrateManifest:
        """Of the substrate's `main`."""
        try:
            return load_manifest(self.settings.substrate_repository)
        except ManifestError as error:
            raise BadInput(str(error)) from None

    @cached_property
    def graders(self) -> GraderSet:
        try:
            return load_graders(self.settings.graders, self.settings.home, self.runtime)
        except ValueError as error:
            raise BadInput(str(error)) from None

    @cached_property
    def rules(self) -> list[LoadedRule]:
        try:
            return [load_rule(r.name, self.settings.home / r.file, r.function) for r in self.settings.rules]
        except RuleError as error:
            raise BadInput(str(error)) from None

    @cached_property
    def redactor(self) -> Redactor:
        key = load_key(self.settings.home / "keys" / "redaction.key")
        values = [*secret_environment(os.environ)]
        if self.settings.model.api_key_file:
            with suppress(OSError, UnicodeDecodeError):  # whoever may not read it can't tell it either
                file = self.settings.home / self.settings.model.api_key_file
                values.append(file.read_text(encoding="utf-8").strip())
        return Redactor(key, values=values)

    def build_main(self) -> ImageRef:
        """The image of the substrate's `main`."""
        return self.build(worktree.head(self.settings.substrate_repository))

    def build(self, commit: str, run_id: str | None = None, batch_digest: str | None = None) -> ImageRef:
        """The image of a commit; with the run and the batch that made it, where it is a candidate's."""
        repository = self.settings.substrate_repository
        with tempfile.TemporaryDirectory(prefix="build-") as folder:
            tree = Path(folder) / "tree"
            try:
                return build_commit(
                    self.runtime, repository, commit, tree, run_id=run_id, batch_digest=batch_digest
                )
            except ManifestError as error:
                raise BadInput(str(error)) from None
            except RuntimeBroken as error:
                raise Broken(f"commit {commit[:12]} can't be built: {error}") from None

    def ask_promoter(self, question: Callable[[PromoterClient], T]) -> T:
        """One call to the promoter, its refusals and silence turned into errors for people."""
        try:
            return question(PromoterClient(self.paths.promoter_socket))
        except wire.Unreachable:
            raise Broken("the promoter does not answer", hint="`evolve agent start`") from None
        except wire.Refused as error:
            raise Refused(f"the promoter refused: {error}") from None

    def sources(self) -> list[Source]:
        """Every log that evidence is read from: each generation's event log, and the gateway's calls."""
        generations = Generations(self.paths.promoter_home / "state")
        logs = [generations.data(number) / self.manifest.event_log for number in generations.present()]
        events = [Source("events", path) for path in logs if path.exists()]
        return [*events, Source("gateway", self.paths.calls)] if self.paths.calls.exists() else events

    def live_image(self) -> str | None:
        """Digest of the last good image, read from the promoter's ledger; None before the first start."""
        path = self.paths.promoter_ledger
        if not path.exists():
            return None
        with Ledger(path, create=False) as ledger:
            live = ledger.pointer("lkg")
        return str(live["digest"]) if live else None
