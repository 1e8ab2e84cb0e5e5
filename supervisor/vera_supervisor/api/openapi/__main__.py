"""`python -m vera_supervisor.api.openapi` prints the API as Markdown."""

import sys

from vera_supervisor.api.openapi.document import document
from vera_supervisor.api.openapi.markdown import markdown

if __name__ == "__main__":
    sys.stdout.write(markdown(document()))
