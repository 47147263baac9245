"""What the sensors share: they wait in the triggerer, too, and a failure means the same in every mode."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    conf,
)

from airflow_provider_mage._arguments import read_switch
from airflow_provider_mage._compat import is_deferral_timeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.common.compat.sdk import Context


class DeferrableSensor(BaseSensorOperator):
    """
    A sensor that can be deferred after its first look.

    ``soft_fail`` skips the task when its time is over, and for no other reason: a connection that was
    deleted, say, is red. ``never_fail`` skips it on any failure.

    :param deferrable: Whether the triggerer waits, so that the wait takes up no worker; by default as
        Airflow's configuration says (``[operators] default_deferrable``). ``poke_interval`` is the longest
        time between two looks then, too.
    :param kwargs: Those of every sensor.
    :raises ValueError: For ``silent_fail`` in a deferrable sensor, whose wait ends with the first error.
    """

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = read_switch(deferrable, "deferrable")
        if deferrable and self.silent_fail:
            raise ValueError(
                "`silent_fail` looks again after an error, which a deferred sensor does not; give it "
                "`deferrable=False`."
            )

    def execute(self, context: Context) -> Any:
        """Wait, in whichever way was asked for."""
        if not self.deferrable:
            try:
                return super().execute(context)
            except AirflowSensorTimeout as error:
                # Airflow's own heeds `never_fail` for all errors but this.
                if self.never_fail:
                    raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
                raise
        deadline = time.time() + float(self.timeout)
        with self._skipping():
            is_over = self.poke(context)
        if not is_over:
            self._defer(deadline)
        return None

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after a deferral.

        Airflow's own way makes a skip of whatever :class:`AirflowException` ends it, if ``soft_fail`` is set:
        of a trigger that broke down because its connection was deleted, too.
        """
        with self._skipping():
            try:
                return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
            except Exception as error:
                if is_deferral_timeout(next_method, next_kwargs):
                    raise AirflowSensorTimeout(str(error)) from error
                raise

    def _defer(self, deadline: float | None) -> None:
        """Leave the waiting to the triggerer, until a time as in ``time.time()``; None for no limit."""
        raise NotImplementedError

    @staticmethod
    def _read_event(event: Any, subject: str) -> Any:
        """Return the id that a trigger's event is about, or raise why its waiting has ended before."""
        from airflow_provider_mage.triggers.event import read_event

        found, failure = read_event(event, subject)
        if isinstance(failure, TimeoutError):
            raise AirflowSensorTimeout(str(failure)) from failure
        if failure:
            raise failure
        return found

    @contextmanager
    def _skipping(self) -> Iterator[None]:
        """Do with an error what :meth:`BaseSensorOperator.execute` does with one of :meth:`poke`."""
        try:
            yield
        except AirflowSkipException:
            raise
        except Exception as error:
            if isinstance(error, AirflowSensorTimeout) and self.soft_fail:
                raise AirflowSkipException("Skipping due to soft_fail is set to True.") from error
            if self.never_fail:
                raise AirflowSkipException("Skipping due to never_fail is set to True.") from error
            raise
