"""A person asks for something that only a tool knows: the whole path, with real parts only."""

import logging
import re
from functools import partial
from importlib import resources
from pathlib import Path

from rig import Keys, read_wav, running_hub, running_robot
from scraping import asked

from gemini_gateway.metrics import metrics_of
from gemini_gateway.personas import Persona
from gemini_live_sim.server import serve
from reachy_gateway.top import Told, table

TIME = read_wav(Path(str(resources.files("gemini_live_sim"))) / "phrases" / "time.wav")


async def test_what_time_is_it_is_answered_by_the_tool_and_told_in_the_log_the_metrics_and_the_terminal(
    tmp_path, office, caplog
):
    caplog.set_level(logging.INFO)
    made = Keys(tmp_path, "reachy-1")
    async with serve() as sim:
        voices = office(sim, Persona(tools=("what_time_is_it", "robot_status")))
        async with (
            running_hub(made, voices.make) as hub,
            asked(hub, [partial(metrics_of, voices)]) as port,
            running_robot(made.robot("reachy-1"), hub.bound) as robot,
        ):
            await robot.welcomed()
            robot.desk.say(TIME)
            await robot.answered(1)
            [session] = sim.sessions
            [call] = session.tool_calls
            [response] = session.tool_responses
            assert (response["id"], response["name"]) == (call["id"], "what_time_is_it")
            assert re.fullmatch(r"\d\d:\d\d", response["response"]["time"])
            [answer] = session.answers
            assert response["response"]["time"] in answer.text, "which the model has used"
            scrape = await port.until(lambda it: it.value("reachylink_tool_calls_total", outcome="done") == 1)
            assert scrape.value("reachylink_tool_seconds_count", tool="what_time_is_it") == 1
            shown = table(Told(scrape.text))
    assert re.search(r"reachy-1: called what_time_is_it: done in \d+ ms", caplog.text)
    assert re.search(r"turn=1 outcome=done .* tools=what_time_is_it:done:\d+ms", caplog.text)
    heads, line = shown.splitlines()[2:4]
    assert line.split()[heads.split().index("calls")] == "1"
    assert response["response"]["time"] not in caplog.text, "results are for the model"
