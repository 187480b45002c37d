import re
from decimal import Decimal
from pathlib import Path

import pytest

from gemini_gateway.models import LEVELS, MODELS, UNKNOWN, Model
from gemini_gateway.personas import Persona, Vad, impossible, read
from reachy_gateway.provider.usage import PRICES


@pytest.fixture
def robots(tmp_path):
    """Reads a robots file."""

    def written(text: str, model: str | None = None):
        path = tmp_path / "robots.toml"
        path.write_text(text)
        found, problems = read(path, model)
        assert all(problem.startswith(f"{path}: ") for problem in problems), "the file is named"
        return found, [problem.removeprefix(f"{path}: ") for problem in problems]

    return written


# --- what is right ----------------------------------------------------------------------------------------------------


def test_without_a_file_there_is_one_persona_for_all():
    found, problems = read(None)
    assert problems == []
    assert found.of("anyone") == Persona()
    assert Persona().model == "gemini-3.8-live", "the current GA model"


def test_the_model_of_the_environment_is_the_default():
    assert read(None, "my-model")[0].of("a").model == "my-model"


def test_the_file_goes_before_the_environment(robots):
    found, _ = robots('[defaults]\nmodel = "theirs"\n[robots.a]\nmodel = "its"\n[robots.b]\nvoice = "Puck"\n', "mine")
    assert [found.of(robot).model for robot in "abc"] == ["its", "theirs", "theirs"]
    found, _ = robots('[robots.a]\nvoice = "Puck"\n', "mine")
    assert found.of("a").model == "mine"


def test_robots_inherit_from_the_defaults(robots):
    found, problems = robots("""
        [defaults]
        voice = "Puck"
        language = "de-DE"
        temperature = 0.5
        budget_usd_per_day = 0.10
        [robots.lab-1]
        voice = "Kore"
        instruction = "You are the lab's."
        [robots.lab-2]
        transcripts = false
    """)
    assert problems == []
    one, two, other = (found.of(robot) for robot in ("lab-1", "lab-2", "lab-3"))
    assert (one.voice, one.language, one.instruction) == ("Kore", "de-DE", "You are the lab's.")
    assert (two.voice, two.transcripts, two.temperature) == ("Puck", False, 0.5)
    assert other == found.default
    assert other.transcripts
    assert one.budget_usd_per_day == Decimal("0.10"), "money is exact"


def test_the_vad_table_is_inherited_key_by_key(robots):
    found, problems = robots("""
        [defaults.vad]
        silence_duration_ms = 300
        start_sensitivity = "low"
        [robots.a.vad]
        start_sensitivity = "high"
        [robots.b.vad]
        mode = "manual"
        interrupts = false
    """)
    assert problems == []
    assert found.of("a").vad == Vad(silence_duration_ms=300, start_sensitivity="high")
    assert found.of("b").vad == Vad(silence_duration_ms=300, start_sensitivity="low", mode="manual", interrupts=False)


def test_a_robot_may_have_a_vad_table_where_the_defaults_have_none(robots):
    found, problems = robots("[robots.a.vad]\nprefix_padding_ms = 20\n")
    assert problems == []
    assert found.of("a").vad == Vad(prefix_padding_ms=20)


def test_the_gateway_has_a_budget_of_its_own(robots):
    found, problems = robots("[gateway]\nbudget_usd_per_day = 5\n")
    assert problems == []
    assert found.gateway.budget_usd_per_day == 5
    assert found.of("a").budget_usd_per_day is None


def test_prices_may_be_newer_than_ours_and_an_unknown_model_is_priced_like_the_default(robots):
    found, problems = robots("""
        [prices."my-model"]
        as_of = 2027-01-01
        in_text = 0.1
        in_audio = 0.2
        in_image = 0.3
        out_text = 0.4
        out_audio = 0.5
    """)
    assert problems == []
    assert found.price("my-model").in_audio == Decimal("0.2")
    assert found.price("my-model").as_of.year == 2027
    assert found.price("gemini-3.8-live") == found.price("another") == PRICES["gemini-3.8-live"]
    assert found.priced_as("another") == "gemini-3.8-live"
    assert found.priced_as("my-model-preview-11") == "my-model"


def test_a_models_price_can_be_replaced(robots):
    keys = "as_of = 2027-01-01\nin_text = 1\nin_audio = 1\nin_image = 1\nout_text = 1\nout_audio = 1\n"
    found, _ = robots(f'[prices."gemini-3.8-live"]\n{keys}')
    assert found.price("another").out_audio == 1


def test_parking_is_off_unless_asked_for():
    assert Persona().park_after_s is None


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_every_mistake_is_named_at_once_with_its_key_and_the_reason(robots):
    _, problems = robots("""
        colour = "red"
        [gateway]
        budget_usd_per_day = -1
        [defaults]
        temperature = 9
        [defaults.vad]
        silence_duration_ms = -5
        [robots.a]
        voise = "Puck"
        thinking_level = "low"
        [robots.b]
        language = "German"
        [robots.b.vad]
        mode = "telepathy"
        [robots."Not An Id"]
        voice = "Kore"
        [prices."my-model"]
        in_text = -1
    """)
    keys = [problem.split(": ", 1)[0] for problem in problems]
    assert sorted(key for key in keys if "prices" not in key and "Not An Id" not in key) == [
        "colour",
        "defaults.temperature",
        "defaults.vad.silence_duration_ms",
        "gateway.budget_usd_per_day",
        "robots.a.thinking_level",
        "robots.a.voise",
        "robots.b.language",
        "robots.b.vad.mode",
    ]
    assert any(key.startswith("robots.Not An Id") for key in keys)
    assert {key for key in keys if "prices" in key} == {
        f"prices.my-model.{key}" for key in ("as_of", "in_text", "in_audio", "in_image", "out_text", "out_audio")
    }
    assert "defaults.temperature: must be less than or equal to 2 (given: 9)" in problems
    assert "robots.a.voise: there is no such setting: is it voice? (given: 'Puck')" in problems
    assert "robots.b.vad.mode: must be 'auto' or 'manual' (given: 'telepathy')" in problems
    assert "colour: there is no such setting" in {problem.partition(" (given")[0] for problem in problems}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[default]\nvoice = "Kore"', "default: there is no such setting: is it defaults?"),
        ('[defaults]\nvad = "auto"', "defaults.vad: must be a table (given: 'auto')"),
        ("[defaults.vad]\nmod = 1", "defaults.vad.mod: there is no such setting: is it mode? (given: 1)"),
        ('voice = "Kore"', "voice: there is no such setting: is it defaults.voice? (given: 'Kore')"),
        ('[robots.a]\nmode = "manual"', "robots.a.mode: there is no such setting: is it vad.mode? (given: 'manual')"),
        ("[defaults.manner]\nbreathing = 2", "defaults.manner.breathing: must be true or false (given: 2)"),
        ("[defaults]\nvoice = 3", "defaults.voice: must be text (given: 3)"),
        ('[defaults]\npark_after_s = "x"', "defaults.park_after_s: must be a number (given: 'x')"),
        ("[prices.m]\nas_of = 2026-01-01", "prices.m.in_text: is missing"),
    ],
)
def test_a_mistake_is_told_in_words_for_a_person(robots, text, words):
    assert words in robots(text)[1]


def test_a_mistake_in_the_defaults_is_not_repeated_for_each_robot(robots):
    _, problems = robots("""
        [defaults]
        temperature = 9
        proactive_audio = false
        [defaults.vad]
        start_sensitivity = "medium"
        [robots.a]
        voice = "Puck"
        [robots.b.vad]
        silence_duration_ms = 300
        [robots.c]
        temperature = 0.5
    """)
    assert [problem.split(": ")[0] for problem in problems] == [
        "defaults.temperature",
        "defaults.vad.start_sensitivity",
        "defaults.proactive_audio",
    ]


def test_a_robot_that_makes_the_mistake_of_the_defaults_anew_is_told(robots):
    _, problems = robots("[defaults]\ntemperature = 9\n[robots.a]\ntemperature = 8\n")
    assert [problem.split(": ")[0] for problem in problems] == ["defaults.temperature", "robots.a.temperature"]
    _, problems = robots('[defaults]\nthinking_level = "low"\n[robots.a]\nthinking_level = "high"\n')
    assert [problem.split(": ")[0] for problem in problems] == ["defaults.thinking_level", "robots.a.thinking_level"]


DOC = Path(__file__).parents[2] / "docs" / "sessions.md"
NOT_HERE = "version v1beta of the API does not take this setting; leave it out"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("thinking_level", '"low"', "gemini-3.8-live does not take this setting; leave it out"),
        ("proactive_audio", "false", f"{NOT_HERE}: gemini-3.8-live itself chooses when to speak and when to stay silent"),
        ("proactive_audio", "true", f"{NOT_HERE}: gemini-3.8-live itself chooses when to speak and when to stay silent"),
        ("affective_dialog", "true", "gemini-3.8-live does not have this setting; leave it out"),
        ("affective_dialog", "false", "gemini-3.8-live does not have this setting; leave it out"),
    ],
)
def test_what_the_model_would_refuse_is_refused_at_start(robots, key, value, reason):
    for where in ("defaults", "robots.a"):
        _, problems = robots(f"[{where}]\n{key} = {value}\n")
        assert problems == [f"{where}.{key}: {reason}"]


@pytest.mark.parametrize(
    ("model", "key", "value", "reason"),
    [
        ("gemini-3.1-flash-live-preview", "proactive_audio", "true", f"{NOT_HERE}: MODEL speaks only when it is spoken to"),
        ("gemini-3.1-flash-live-preview", "affective_dialog", "true", "MODEL does not have this setting; leave it out"),
        ("not-listed", "proactive_audio", "true", f"{NOT_HERE}: MODEL itself chooses whether to speak unasked"),
        ("not-listed", "affective_dialog", "true", NOT_HERE),
        (
            "gemini-3.8-live-extended-thinking",
            "thinking_level",
            '"minimal"',
            "MODEL does not take 'minimal', but low, medium, high",
        ),
        (
            "gemini-2.5-flash-native-audio-preview-12-2025",
            "thinking_level",
            '"low"',
            "MODEL does not take this setting; leave it out",
        ),
    ],
)
def test_what_another_model_would_refuse_is_refused_for_it(robots, model, key, value, reason):
    _, problems = robots(f'[robots.a]\nmodel = "{model}"\n{key} = {value}\n')
    assert problems == [f"robots.a.{key}: {reason.replace('MODEL', model)}"]


def test_a_model_that_nobody_knows_is_sent_any_thinking_level(robots):
    assert robots('[robots.a]\nmodel = "not-listed"\nthinking_level = "minimal"\n')[1] == []


@pytest.mark.parametrize("model", MODELS)
def test_every_listed_model_takes_the_default_persona(model):
    assert impossible(Persona(model=model)) == []


def test_what_a_model_takes_may_be_asked_for():
    assert impossible(Persona(model="gemini-3.1-flash-live-preview", thinking_level="low")) == []


def test_a_robot_whose_model_does_not_take_what_it_inherits_is_told(robots):
    _, problems = robots("""
        [defaults]
        model = "gemini-3.1-flash-live-preview"
        thinking_level = "low"
        [robots.a]
        model = "gemini-3.8-live"
    """)
    assert problems == ["robots.a.thinking_level: gemini-3.8-live does not take this setting; leave it out"]


@pytest.mark.parametrize(
    ("key", "least", "most", "less", "more"),
    [
        ("temperature", 0, 2, -0.1, 2.1),
        ("vad.prefix_padding_ms", 0, 2000, -1, 2001),
        ("vad.silence_duration_ms", 0, 10_000, -1, 10_001),
        ("budget_usd_per_day", 0.01, 1000, 0, None),
        ("park_after_s", 10, 86_400, 9.9, None),
        ("voice", '"K"', '"Kore"', '""', None),
        ("instruction", '"x"', f'"{"x" * 20_000}"', '""', f'"{"x" * 20_001}"'),
    ],
)
def test_numbers_and_texts_have_bounds(robots, key, least, most, less, more):
    for value in (least, most):
        assert robots(f"[defaults]\n{key} = {value}\n")[1] == []
    for value in (less, more):
        if value is not None:
            _, (problem,) = robots(f"[defaults]\n{key} = {value}\n")
            assert problem.startswith(f"defaults.{key}: ")


def test_transcripts_are_kept_nowhere_and_speech_interrupts_unless_it_is_said_otherwise():
    assert not Persona().transcripts_to_file
    assert Persona().vad == Vad(mode="auto", interrupts=True)


def test_a_table_that_is_none_is_named(robots):
    _, problems = robots('defaults = 3\n[robots]\na = "b"\nc = { voise = "Puck" }\n')
    keys = [problem.split(": ")[0] for problem in problems]
    assert sorted(keys) == ["defaults", "robots.a", "robots.c.voise"]
    _, problems = robots("robots = []\n")
    assert [problem.split(": ")[0] for problem in problems] == ["robots"]
    assert "given" not in problems[0], "a whole table would be too much"


def test_a_vad_that_is_no_table_is_named(robots):
    _, problems = robots('[defaults.vad]\nmode = "auto"\n[robots.a]\nvad = "manual"\n')
    assert [problem.split(": ")[0] for problem in problems] == ["robots.a.vad"]


def test_a_mistake_in_toml_is_named_with_its_line(robots):
    _, problems = robots("[defaults]\nvoice = Puck\n")
    assert len(problems) == 1
    assert "not TOML" in problems[0]
    assert "line 2" in problems[0]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        _, (problem,) = read(path)
        assert problem.startswith(f"{path}: cannot be read (GATEWAY_ROBOTS_FILE names this file): ")
    broken = tmp_path / "latin1.toml"
    broken.write_bytes('[defaults]\ninstruction = "Grüß dich"\n'.encode("latin-1"))
    _, (problem,) = read(broken)
    assert problem.startswith(f"{broken}: cannot be read (GATEWAY_ROBOTS_FILE names this file): ")


def test_text_is_utf_8_wherever_it_runs(tmp_path):
    path = tmp_path / "robots.toml"
    path.write_text('[defaults]\ninstruction = "Sprich deutsch, grüße höflich. 你好"\n', encoding="utf-8")
    found, problems = read(path)
    assert problems == []
    assert found.default.instruction.endswith("你好")


def test_a_long_mistake_is_told_in_short(robots):
    _, (problem,) = robots(f'[defaults]\nlanguage = "{"x" * 10_000}"\n')
    assert len(problem) <= 500


def test_a_file_with_mistakes_still_gives_personas(robots):
    found, problems = robots("[defaults]\ntemperature = 9\nvoice = 'Puck'\n")
    assert problems
    assert isinstance(found.of("a"), Persona), "a usable persona must remain"


def test_the_documentation_has_the_tables_of_models_as_they_are():
    page = DOC.read_text(encoding="utf-8").partition("## Models")[2]
    told: dict[str, list[str]] = {}
    for row in re.findall(r"^\|(.+)\|$", page, re.MULTILINE):  # of two tables, one behind the other
        name, *cells = [cell.strip() for cell in row.split("|")]
        assert len(cells) == 4
        if name not in ("Model", "---"):
            told.setdefault(name, []).extend(cells)
    word = {True: "yes", False: "no", None: "unknown"}

    def listed(values, default) -> str:
        return ", ".join(f"{value} (default)" if value == default else value for value in values) or "none"

    def of(model: Model) -> list[str]:
        return [
            listed([level for level in LEVELS if level in model.thinking_levels], model.thinking_default),
            word[model.proactive],
            word[model.affective_dialog],
            word[model.transcripts_unasked],
            word[model.stream_end_counts],
            model.content,
            listed(sorted(model.calls), model.calls_default),
            word[model.scheduling],
        ]

    assert told == {name: of(model) for name, model in [*MODELS.items(), ("any other", UNKNOWN)]}
