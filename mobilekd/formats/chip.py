"""The chip that a file was compiled for, where a file is for one chip alone."""

from pydantic import Field

from mobilekd.formats.document import Document


class Chip(Document):
    """Facts of the compiled graph inside a file."""

    soc: str = Field(description="as the phone's property ro.soc.model names it")
    architecture: str = Field(description="of its neural processor, for example v75")
    qnn: str = Field(description="version of the libraries that compiled it")
