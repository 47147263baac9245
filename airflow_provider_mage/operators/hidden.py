"""Template fields of which Airflow must not keep the values."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_mage._arguments import HiddenValues


class HidesRenderedField(BaseOperator):
    """
    An operator with a template field that holds secrets once it is rendered.

    However Airflow gets at the value (a template in one place or all of it, the output of another task, a
    callable, a mapped task), all that it then keeps and shows is what
    :class:`~airflow_provider_mage._arguments.HiddenValues` shows.

    :param kwargs: Those of every operator.
    """

    hidden_field: ClassVar[str]

    # The one method that Airflow calls for mapped tasks, too (2.11, and 3.x).
    def _do_render_template_fields(self, parent: Any, *args: Any, **options: Any) -> None:
        super()._do_render_template_fields(parent, *args, **options)
        rendered = getattr(parent, self.hidden_field)
        if rendered is not None and not isinstance(rendered, HiddenValues):
            setattr(parent, self.hidden_field, HiddenValues(rendered))

    def reveal(self) -> Any:
        """Return the value of the field, rendered or not."""
        value = getattr(self, self.hidden_field)
        return value.value if isinstance(value, HiddenValues) else value
