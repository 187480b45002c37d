"""gemini-gateway, once its settings are read."""

from collections.abc import Sequence
from contextlib import closing
from functools import partial

from gemini_gateway import personas
from gemini_gateway.configuration import Configuration
from gemini_gateway.endpoint import Endpoint
from gemini_gateway.metrics import metrics_of
from gemini_gateway.office import GeminiOffice
from gemini_gateway.proxy import password_of
from gemini_gateway.robots_document import SHELF, RobotsDocument
from gemini_gateway.settings import GeminiSettings
from gemini_gateway.voices import Voices
from reachy_gateway import service
from reachy_gateway.fleet.join import Parts
from reachy_gateway.journal import logged
from reachy_gateway.provider.ledger import Ledger, LedgerError
from reachy_gateway.provider.load import Load
from reachy_gateway.tools import toolbox
from reachy_service import logs
from reachy_service.config import fail, read


def run(settings: GeminiSettings, secrets: Sequence[str]) -> int:
    """Serve until a signal comes; exit status 0, or 2 for bad configuration.

    Args:
        settings: The settings.
        secrets: What no log line may show.
    """
    foreign, problems = toolbox.read(settings.tools_dir)
    box = toolbox.Toolbox(foreign if not problems else ())
    shared, mistakes = personas.read(settings.robots_file, settings.model, box.names | {tool.name for tool in foreign})
    problems += mistakes
    try:
        service.keys_of(settings)
    except ValueError as error:
        problems.append(str(error))
    try:
        ledger = Ledger(settings.ledger)
    except LedgerError as error:
        problems.append(f"GATEWAY_LEDGER: {error}")

    def endpoint() -> Endpoint:
        """Read the settings again, because the key's file may have changed."""
        return read(GeminiSettings).endpoint()

    try:
        configuration = Configuration(endpoint, shared, settings.robots_file, settings.model, box.names)
        logs.conceal(password_of(configuration.endpoint.proxy))
    except ValueError as error:
        problems.append(str(error))
    if problems:
        fail(problems)
    feed = logged()
    gateway_load = Load(settings.uplink_ms)
    voices = Voices(
        configuration,
        ledger,
        feed=feed,
        transcripts=settings.transcripts_dir,
        keep_days=settings.transcripts_keep_days,
        load=gateway_load,
        shortcut=settings.shortcut,
        toolbox=box,
    )
    document = RobotsDocument(configuration, ledger, partial(voices.refresh, mended=True))
    voices.on_reload = document.look
    banner = f"will talk to {configuration.endpoint.name}, model {shared.default.model}"
    with closing(ledger), closing(voices):
        return service.main(
            "gemini-gateway",
            settings,
            voices.make,
            banner,
            secrets,
            feed=feed,
            sources=[partial(metrics_of, voices)],
            beside=voices.watch,
            on_hangup=partial(voices.reload, asked=True),
            office=GeminiOffice(voices, configuration, box.names, settings.model),
            load=gateway_load,
            parts=Parts(voices.accounts_of_the_fleet(), {SHELF: document.follow}),
        )
