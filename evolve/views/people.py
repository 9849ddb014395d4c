"""Who is registered."""

from evolve.settings import Settings
from evolve.views.record import Record
from promote.policy import Role


class PersonView(Record):
    name: str
    roles: tuple[Role, ...]
    public_key: str


def list_people(settings: Settings) -> tuple[PersonView, ...]:
    people = settings.consent.people.items()
    return tuple(PersonView(name=name, roles=p.roles, public_key=p.public_key) for name, p in people)
