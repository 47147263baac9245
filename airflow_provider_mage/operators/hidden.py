"""Template fields of which Airflow must not keep the values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_mage._arguments import HiddenValues

if TYPE_CHECKING:
    Base = Any
else:
    Base = object


class HidesRenderedField(Base):  # type: ignore[misc]  # an operator's is its base
    """
    For an operator with a template field that holds secrets once it is rendered.

    However Airflow gets at the value (a template in one place or all of it, the output of another task, a
    callable, a mapped task), all that it then keeps and shows is what :class:`HiddenValues` shows.
    """

    hidden_field: ClassVar[str]

    def _do_render_template_fields(self, parent: Any, *args: Any, **options: Any) -> None:
        super()._do_render_template_fields(parent, *args, **options)
        rendered = getattr(parent, self.hidden_field)
        if rendered is not None and not isinstance(rendered, HiddenValues):
            setattr(parent, self.hidden_field, HiddenValues(rendered))

    def reveal(self) -> Any:
        """Return the value of the field, rendered or not."""
        value = getattr(self, self.hidden_field)
        return value.value if isinstance(value, HiddenValues) else value
