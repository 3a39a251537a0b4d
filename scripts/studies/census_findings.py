"""What the census found, looked at by hand: a title, what it is, and a few lines that show it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Found:
    """A finding. `rows` are the rows and promises that it explains."""

    title: str
    text: str
    code: str
    rows: dict[str, tuple[str, ...]]


FINDINGS = ()
