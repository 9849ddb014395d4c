"""What a request may hold. Whatever is not named here is refused."""

from typing import Annotated, Literal

from fastapi import Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from starlette.exceptions import HTTPException

from evidence.records import BatchState
from evolve.errors import BadInput
from evolve.web.deeds import MIN_REASON

LARGEST_PAGE = 200

Id = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,79}$")]
ShortId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,79}$")]
Reason = Annotated[
    str,
    Field(
        min_length=MIN_REASON,
        max_length=2000,
        pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",
        description="Why; kept for ever. One line.",
    ),
]
Passphrase = Annotated[SecretStr, Field(max_length=1000, description="Of the key that signs, every time.")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Page(_Strict):
    """Newest first. A page with fewer rows than `limit` is the last one."""

    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = 50
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class BatchPage(Page):
    state: BatchState | None = None


class RunPage(Page):
    batch: ShortId | None = None


class CandidatePage(Page):
    state: Annotated[str, Field(pattern="^[a-z_]{1,20}$")] | None = None
    run: ShortId | None = None


class HistoryPage(Page):
    rows: Literal["all"] | None = Field(
        None, description="`all` adds the ledgers' own bookkeeping and every step of a swap."
    )


class EvidencePage(_Strict):
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = 50
    before: ShortId | None = Field(None, description="The id of the last one that was seen.")


class Events(_Strict):
    limit: Annotated[int, Field(ge=0, le=1000)] = 200
    after_event: Annotated[int, Field(ge=0, le=2**53)] = 0


class Approval(_Strict):
    reason: Reason
    digits: Annotated[
        str, Field(pattern="^[0-9a-f]{8}$", description="The last 8 of the image that was looked at.")
    ]
    passphrase: Passphrase
    accept_lossy: bool = Field(
        False, strict=True, description="Agree that a rollback may lose what users wrote; two people must."
    )


class Refusal(_Strict):
    reason: Reason


class WayBack(_Strict):
    reason: Reason
    passphrase: Passphrase


def only_json(request: Request) -> None:
    """What a form of another site can't send without being asked first. Said before the body is looked at."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "application/json only")


def once_each(request: Request) -> None:
    """Of two values for one key, somebody would read the other one."""
    if len(request.query_params.multi_items()) != len(request.query_params):
        raise BadInput("a key of the query is given twice")


def no_query(request: Request) -> None:
    """For routes that take none."""
    if request.query_params:
        raise BadInput("this path takes no query")


BatchQuery = Annotated[BatchPage, Query()]
RunQuery = Annotated[RunPage, Query()]
CandidateQuery = Annotated[CandidatePage, Query()]
HistoryQuery = Annotated[HistoryPage, Query()]
EvidenceQuery = Annotated[EvidencePage, Query()]
EventQuery = Annotated[Events, Query()]
PageQuery = Annotated[Page, Query()]
