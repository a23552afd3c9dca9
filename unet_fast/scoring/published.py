"""The figures that the paper (tables 1 and 2) and the challenges published, to print beside ours."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A table.

    Attributes:
        title: what was measured, and on what.
        columns: headings.
        scores: the names of our scores that go beside the columns; None where a column has none of ours.
        rows: name, and a figure for each column; None where none was published.
        formats: of the figures in each column.
    """

    title: str
    columns: tuple[str, ...]
    scores: tuple[str | None, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    formats: tuple[str, ...]


MEMBRANES = Published(
    "published (ISBI 2012, March 2015), on the challenge's hidden test set",
    ("warping", "Rand", "pixel"),
    ("warping_error", "rand_error", "pixel_error"),
    (
        ("human values", (0.000005, 0.0021, 0.0010)),
        (" 1. u-net", (0.000353, 0.0382, 0.0611)),
        (" 2. DIVE-SCI", (0.000355, 0.0305, 0.0584)),
        (" 3. IDSIA", (0.000420, 0.0504, 0.0613)),
        (" 4. DIVE", (0.000430, 0.0545, 0.0582)),
        ("10. IDSIA-SCI", (0.000653, 0.0189, 0.1027)),
    ),
    (".6f", ".4f", ".4f"),
)

CELLS = Published(
    "published (ISBI cell tracking challenge 2015), SEG on the hidden test sets",
    ("here", "PhC-U373", "DIC-HeLa"),
    ("seg", None, None),
    (
        ("IMCB-SG (2014)", (None, 0.2669, 0.2935)),
        ("KTH-SE (2014)", (None, 0.7953, 0.4607)),
        ("HOUS-US (2014)", (None, 0.5323, None)),
        ("second-best 2015", (None, 0.83, 0.46)),
        ("u-net (2015)", (None, 0.9203, 0.7756)),
    ),
    (".4f", ".4f", ".4f"),
)
