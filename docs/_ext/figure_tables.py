"""Tables whose cells are all short get the class ``figures``: their cells do not wrap."""

from docutils import nodes
from sphinx.application import Sphinx

#: Characters of the longest cell of such a table.
LONGEST = 36


def mark(app: Sphinx, doctree: nodes.document) -> None:
    """Mark the tables of figures of a page; one column or two are no such table."""
    for table in doctree.findall(nodes.table):
        cells = [entry.astext() for body in table.findall(nodes.tbody) for entry in body.findall(nodes.entry)]
        columns = len(list(table.findall(nodes.colspec)))
        if columns > 2 and max(map(len, cells), default=LONGEST + 1) <= LONGEST:
            table["classes"].append("figures")


def setup(app: Sphinx) -> dict[str, bool]:
    """Look at every page once it is read."""
    app.connect("doctree-read", mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
