"""Renders templates: only text of the Dag file, once. The text of a finding is never rendered, wherever it comes from.

Airflow's own rendering has three gaps: values that ``expand_kwargs`` gets from upstream are rendered like text of the
Dag file; native rendering turns texts into numbers; and a rendered value may be rendered again.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_leen.api.errors import LeenConfigError

if TYPE_CHECKING:
    import jinja2
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leen.tasks.arguments import Argument

_MARKS = ("{{", "{%", "{#")


def is_template(value: Any) -> bool:
    """Return whether an argument has no value before it is rendered."""
    if isinstance(value, str):
        return any(mark in value for mark in _MARKS)
    return is_reference(value) or callable(value)


def is_reference(value: Any) -> bool:
    """Return whether a value stands for another task's output, a parameter of the run, or a mapped group's argument."""
    return hasattr(value, "iter_references")


class Absent(tuple[()]):
    """What a source gave that is one of several, and was skipped or returned nothing: no rows."""


class RendersOnce:
    """Renders the template fields of an operator, a sensor or a notifier: strings of the Dag file, each once, to text.

    Strings without template marks are kept. Mix it in before Airflow's base class.
    """

    rendered_to_objects: ClassVar[frozenset[str]] = frozenset()
    """Fields that a Dag with native rendering turns into objects, if they consist of one template."""

    joined_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that may be a list of several tasks' outputs; outputs that are None are skipped."""

    argument_checks: ClassVar[Mapping[str, Argument]] = {}
    """The allowed values of fields, once rendered; values that are not texts are parsed."""

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        """Render. Overrides Airflow's method of this name, which every release calls for operators and notifiers."""
        if parent is not self:
            # An object with its own template fields, in a list of the Dag file.
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)  # type: ignore[misc]
            return
        # If it is rendered again (on a resume or a retry in the same process), render the Dag file's text, not the
        # result.
        templates = self.__dict__.setdefault("_templates", {})
        text_env = _environment_for_text(jinja_env, context)
        from_upstream = _from_upstream(self, template_fields, context)
        for name in template_fields:
            if name not in from_upstream:
                template = templates.setdefault(name, getattr(self, name))
                try:
                    setattr(self, name, self._render_field(name, template, context, jinja_env, text_env))
                except Exception as error:
                    error.add_note(f"This is about the argument `{name}`.")
                    raise
        self._check_rendered(template_fields)

    def as_written(self, name: str) -> Any:
        """Return a field as it is written in the Dag file; None where a mapped instance got it from upstream.

        :param name: of the field.
        """
        return self.__dict__.get("_templates", {}).get(name)

    def _render_field(
        self, name: str, template: Any, context: Context, jinja_env: jinja2.Environment, text_env: jinja2.Environment
    ) -> Any:
        if _is_path(template):
            template = str(template)
        if isinstance(template, str) and name in self.rendered_to_objects and _has_marks(template, jinja_env):
            return _yielded_by(jinja_env.from_string(template), context)
        if callable(template):
            return template(context=context, jinja_env=jinja_env)
        value = self.render_template(template, context, text_env, set())
        if name in self.joined_fields and isinstance(template, list | tuple):
            return [
                Absent() if item is None and is_reference(source) else item
                for item, source in zip(value, template, strict=True)
            ]
        return value

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render a string with template marks to text; collections as Airflow does.

        :param content: a value of the Dag file.
        :param context: Airflow's context.
        :param jinja_env: default: the Dag's.
        :param seen_oids: Airflow's, for objects that contain themselves.
        """
        if isinstance(content, str):
            env = jinja_env or self.get_template_env()  # type: ignore[attr-defined]
            return "".join(map(str, _parts(env.from_string(content), context))) if _has_marks(content, env) else content
        if not isinstance(content, list | dict) and _is_path(content):
            return content  # Airflow 3.1 would call its resolve().
        return super().render_template(content, context, jinja_env, seen_oids)  # type: ignore[misc]

    def _check_rendered(self, template_fields: Iterable[str]) -> None:
        from airflow.providers.common.compat.sdk import AirflowFailException

        for name in template_fields:
            if name in self.argument_checks:
                try:
                    setattr(self, name, self.argument_checks[name](name, getattr(self, name)))
                except LeenConfigError as error:
                    raise AirflowFailException(str(error)) from error


def _from_upstream(task: Any, template_fields: Iterable[str], context: Context) -> set[str]:
    """Return which fields of a mapped instance are not written in the Dag file."""
    tasks = getattr(context.get("dag"), "task_dict", {})
    mapped: Any = tasks.get(getattr(task, "task_id", None))
    if not hasattr(mapped, "expand_input"):
        return set()
    given = mapped.expand_input.value
    written: set[str] = set()
    if isinstance(given, Mapping):  # .expand(): each argument by itself
        written = {name for name, values in given.items() if not is_reference(values)}
    elif isinstance(given, Sequence) and isinstance(arguments := given[context["ti"].map_index or 0], Mapping):
        written = set(arguments)  # .expand_kwargs() over a list of the Dag file
    # Compared by identity: with expand_kwargs(…, strict=False), an upstream may override arguments of partial().
    partial = {name: value for name, value in mapped.partial_kwargs.items() if getattr(task, name, None) is value}
    return set(template_fields) - written - set(partial)


def _environment_for_text(jinja_env: jinja2.Environment, context: Context) -> jinja2.Environment:
    from jinja2.nativetypes import NativeEnvironment

    dag: Any = context.get("dag")
    if isinstance(jinja_env, NativeEnvironment) and hasattr(dag, "get_template_env"):
        jinja_env = dag.get_template_env(force_sandboxed=True)
    return jinja_env


def _has_marks(text: str, env: jinja2.Environment) -> bool:
    return any(mark in text for mark in (env.variable_start_string, env.block_start_string, env.comment_start_string))


def _yielded_by(template: jinja2.Template, context: Context) -> Any:
    """Render a template: in a native environment to the object of its only expression, else to text.

    Unlike Jinja's own native rendering, it does not parse texts as Python literals: the readers of arguments parse
    JSON, too.
    """
    from jinja2 import Undefined
    from jinja2.nativetypes import NativeEnvironment

    parts = _parts(template, context)
    if isinstance(template.environment, NativeEnvironment) and len(parts) == 1 and not isinstance(parts[0], Undefined):
        return parts[0]
    return "".join(map(str, parts))


def _parts(template: jinja2.Template, context: Context) -> list[Any]:
    # Not by Template.render(), which copies the whole context: in Airflow 2, that warns of each deprecated name in it.
    variables: Any = copy.copy(context)
    variables.update({name: value for name, value in template.globals.items() if name not in variables})
    env = template.environment
    try:
        return list(template.root_render_func(env.context_class(env, variables, template.name, template.blocks)))
    except Exception:
        env.handle_exception()  # It raises, with a traceback that points at the template.


def _is_path(value: Any) -> bool:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    return isinstance(value, os.PathLike | ObjectStoragePath)
