"""Documents that leave keys out: what was not given is not written as null."""

from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from mobilekd.formats.document import Document


class Sparse(Document):
    """A document that is written with the keys that it was made with, and no others."""

    @model_serializer(mode="wrap")
    def _given_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key in self.model_fields_set}
