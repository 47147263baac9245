"""Airflow's own pages, as a person uses them: one class for each line, with the same methods."""

import re
from contextlib import suppress
from urllib.parse import urlencode

from playwright.sync_api import TimeoutError as TooLateError

from airflow_server import AIRFLOW_3

TRIES, TRY_MS = 6, 20_000
MAGE = re.compile("^Mage$")


def try_until_shown(do, shown):
    """Do something again until it has had its effect: a busy machine is late, and Test waits for 5 s only."""
    for _ in range(TRIES - 1):
        do()
        with suppress(TooLateError):
            shown.wait_for(timeout=TRY_MS)
            return shown.inner_text()
    do()
    shown.wait_for()
    return shown.inner_text()


class Pages:
    """
    What both lines have alike.

    :param page: Playwright's
    :param url: Airflow's address
    """

    def __init__(self, page, url):
        self.page, self.url = page, url

    def links(self):
        """Return address by name of the links to Mage that the task has, when the first of them is there."""
        first = self.page.get_by_role("link", name=re.compile("^Mage (run|pipeline)"))
        first.first.wait_for()
        found = self.page.get_by_role("link", name=re.compile("^Mage ")).all()
        pairs = [(link.inner_text().strip(), link.get_attribute("href")) for link in found]
        return {name: address for name, address in pairs if address}

    def wait_for_log(self, says):
        try_until_shown(self.page.reload, self.page.get_by_text(says).first)


class Pages3(Pages):
    """Airflow 3's, which React draws."""

    @property
    def _dialog(self):
        return self.page.get_by_role("dialog")

    def open_add(self, conn_id):
        self.page.goto(f"{self.url}/connections")
        self.page.get_by_role("button", name="Add Connection").first.click()
        self._dialog.locator("input[name=connection_id]").fill(conn_id)
        kind = self._dialog.get_by_role("combobox").first
        kind.click(force=True)
        kind.type("Mage")
        self.page.get_by_role("option", name="Mage", exact=True).click()

    def fill(self, **fields):
        for name, value in fields.items():
            self._dialog.locator(f"input[name={name}]").fill(value)

    def open_extra(self):
        self._dialog.get_by_role("button", name="Extra Fields", exact=True).click()

    def fill_extra(self, **fields):
        self.open_extra()
        self.fill(**{f"element_{name}": value for name, value in fields.items()})

    def switches(self):
        """Return which switches are on, by key."""
        found = self._dialog.locator("input[type=checkbox]").all()
        return {one.get_attribute("name").removeprefix("element_"): one.is_checked() for one in found}

    def value_of_extra(self, name):
        return self._dialog.locator(f"input[name=element_{name}]").input_value()

    def save(self):
        self._dialog.get_by_role("button", name="Save").click()
        self._dialog.wait_for(state="hidden")

    def _row(self, conn_id):
        return self.page.get_by_role("row").filter(has_text=conn_id)

    def open_edit(self, conn_id):
        self.page.goto(f"{self.url}/connections")
        self._row(conn_id).get_by_role("button", name="Edit Connection").click()
        self._dialog.locator("input[name=host]").wait_for()

    def test(self, conn_id, says):
        """Press Test, in the list, and return what is shown."""
        toast = self.page.locator("[data-scope=toast][data-part=root]").filter(has_text=says)
        press = self._row(conn_id).get_by_role("button", name="Test Connection").click
        return try_until_shown(press, toast)

    def provider(self):
        self.page.goto(f"{self.url}/providers")
        row = self.page.get_by_role("row").filter(has_text="airflow-provider-mage")
        return row.inner_text(), [link.get_attribute("href") for link in row.locator("a").all()]

    def open_log(self, dag_id, run_id, task_id):
        self.page.goto(f"{self.url}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}?try_number=1")

    def open_details(self, dag_id, run_id, task_id):
        self.page.goto(f"{self.url}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/details")

    def open_graph(self, dag_id, run_id):
        """Open the graph of a DAG run, with all its groups unfolded."""
        self.page.goto(f"{self.url}/dags/{dag_id}/runs/{run_id}")
        self.page.get_by_role("button", name=re.compile("graph", re.IGNORECASE)).first.click()
        self.page.get_by_role("button", name=re.compile("expand all", re.IGNORECASE)).first.click()

    def open_grid(self, dag_id, run_id):
        """Open the grid of a DAG, with all its groups unfolded."""
        self.page.goto(f"{self.url}/dags/{dag_id}/runs/{run_id}")
        self.page.get_by_role("button", name=re.compile("grid", re.IGNORECASE)).first.click()
        self.page.get_by_role("button", name=re.compile("expand all", re.IGNORECASE)).first.click()


class Pages2(Pages):
    """Airflow 2's, which the web server renders."""

    def open_add(self, conn_id):
        self.page.goto(f"{self.url}/connection/list/")
        self.page.locator("a[href*='/connection/add']").first.click()
        self.page.fill("#conn_id", conn_id)
        self.page.locator("#conn_type + .select2").click()
        self.page.locator(".select2-search__field").fill("Mage")
        self.page.locator(".select2-results__option", has_text=MAGE).click()

    def fill(self, **fields):
        for name, value in fields.items():
            self.page.fill(f"#{name}", value)

    def open_extra(self):
        """They are in view."""

    def fill_extra(self, **fields):
        self.fill(**{f"extra__mage__{name}": value for name, value in fields.items()})

    def switches(self):
        found = self.page.locator("input[type=checkbox][id^=extra__mage__]").all()
        return {one.get_attribute("id").removeprefix("extra__mage__"): one.is_checked() for one in found}

    def value_of_extra(self, name):
        return self.page.input_value(f"#extra__mage__{name}")

    def save(self):
        self.page.locator("#model_form button[type=submit]").click()
        self.page.locator(".alert", has_text=re.compile("(Added|Changed) Row")).wait_for()

    def open_edit(self, conn_id):
        self.page.goto(f"{self.url}/connection/list/")
        self.page.locator("tr", has_text=conn_id).locator("a[href*='/connection/edit/']").first.click()
        self.page.locator("#host").wait_for()

    def test(self, conn_id, says):
        """Press Test, in the form, and return what is shown."""
        shown = self.page.locator(".alert", has_text=says)
        return try_until_shown(lambda: self.page.click("#test-connection"), shown)

    def provider(self):
        self.page.goto(f"{self.url}/provider")
        row = self.page.locator("tr", has_text="airflow-provider-mage")
        return row.inner_text(), [link.get_attribute("href") for link in row.locator("a").all()]

    def open_log(self, dag_id, run_id, task_id):
        self._open(dag_id, run_id, task_id, "logs")

    def open_details(self, dag_id, run_id, task_id):
        self._open(dag_id, run_id, task_id, "details")

    def open_graph(self, dag_id, run_id):
        which = urlencode({"dag_run_id": run_id, "tab": "graph"})
        self.page.goto(f"{self.url}/dags/{dag_id}/grid?{which}")
        self.page.locator("[aria-label='Expand all task groups']").first.click()

    def open_grid(self, dag_id, run_id):
        which = urlencode({"dag_run_id": run_id})
        self.page.goto(f"{self.url}/dags/{dag_id}/grid?{which}")
        self.page.locator("[aria-label='Expand all task groups']").first.click()

    def _open(self, dag_id, run_id, task_id, tab):
        which = urlencode({"dag_run_id": run_id, "task_id": task_id, "tab": tab})
        self.page.goto(f"{self.url}/dags/{dag_id}/grid?{which}")


PAGES = Pages3 if AIRFLOW_3 else Pages2
