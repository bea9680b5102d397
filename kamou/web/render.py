"""``Templates`` and static files (``StaticFile``) of the site, from the package."""

from __future__ import annotations

import hashlib
from importlib import resources

import attrs
import jinja2
from markupsafe import Markup

from kamou.web import format as fmt
from kamou.web.site import RISK_NOTICE, Site

STATIC_TYPES = {
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "ico": "image/x-icon",
    "png": "image/png",
}


@attrs.frozen(kw_only=True)
class StaticFile:
    """A style sheet or an image."""

    name: str  # with a digest of ``body``, so that the body at an address never changes
    body: bytes
    media_type: str


@attrs.frozen
class Templates:
    """The templates, which know the site and the addresses of static files."""

    environment: jinja2.Environment
    static: tuple[StaticFile, ...]

    def page(self, template: str, **values: object) -> bytes:
        """Return the rendered template in UTF-8."""
        return self.environment.get_template(template).render(**values).encode()

    def macro(self, name: str, *values: object) -> Markup:
        """Return a rendered macro of ``macros.html``, for a cached part of a page."""
        module = self.environment.get_template("macros.html").module
        return Markup(getattr(module, name)(*values))


def load_templates(site: Site) -> Templates:
    """Return the site's templates.

    They escape their values, and rendering an undefined name raises ``jinja2.UndefinedError``.
    """
    static = load_static()
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kamou.web", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    for name in (
        "money",
        "percent",
        "number",
        "e_value",
        "exact",
        "exit_of",
        "feature",
        "feature_name",
        "price",
        "cause",
        "contracts",
        "count",
        "counted",
        "moment",
        "moment_exact",
        "iso",
        "date",
        "weekday",
        "day_name",
        "month_name",
        "duration",
        "sentence",
        "bound",
        "words",
        "state",
    ):
        environment.filters[name] = getattr(fmt, name)
    addresses = {file.name.partition(".")[0]: f"/static/{file.name}" for file in static}
    environment.globals.update(
        site=site, risk_notice=RISK_NOTICE, static=addresses, dash=fmt.DASH, minus=fmt.MINUS
    )
    return Templates(environment, static)


def load_static() -> tuple[StaticFile, ...]:
    """Return the static files of the package."""
    directory = resources.files("kamou.web") / "static"
    found: list[StaticFile] = []
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        stem, _, suffix = entry.name.partition(".")
        if suffix in STATIC_TYPES:
            body = entry.read_bytes()
            digest = hashlib.sha256(body).hexdigest()[:12]
            found.append(
                StaticFile(
                    name=f"{stem}.{digest}.{suffix}", body=body, media_type=STATIC_TYPES[suffix]
                )
            )
    return tuple(found)
