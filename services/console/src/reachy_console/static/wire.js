// The page's end of the connection: the worker that holds the socket, pending commands, and the page's role.

import { make } from "/static/dom.js";

export const worker = new Worker("/static/socket.js", { type: "module" });
export const door = { role: "", isOpen: false };

const ANSWER_MS = 15_000;
const waiting = new Map();  // number of a command -> the caller that waits for its answers
let last = 0;

// Ask the console for reports: on all robots, on one robot in full, or none.
let looked = JSON.stringify({ fleet: false, robot: null });
export function look(fleet, robot) {
  const now = JSON.stringify({ fleet, robot });
  if (now === looked) return;
  looked = now;
  worker.postMessage({ kind: "look", fleet, robot });
}

// Send a command to one gateway, or to every gateway of a list. Returns the answers, as [{gateway, ok, words, ...}]. `more`
// is called with the answers so far.
export function ask(gateway, to_do, more = () => {}) {
  const asked = Array.isArray(gateway) ? gateway : [gateway];
  if (!door.isOpen) return Promise.resolve([failed("", "The console is not connected, so the command was not sent.")]);
  const id = ++last;
  return new Promise((done) => {
    const it = { asked, answers: [], done, more };
    it.timer = setTimeout(() => give(id, "no answer within 15 s. The command may or may not have been carried out."), ANSWER_MS);
    waiting.set(id, it);
    worker.postMessage({ kind: "command", gateway: Array.isArray(gateway) ? "" : gateway, do: { v: 1, ...to_do, id } });
  });
}

const failed = (gateway, words) => ({ gateway, ok: false, words, text: null, was: "", may_save: false });

function give(id, why) {
  const it = waiting.get(id);
  waiting.delete(id);
  clearTimeout(it.timer);
  const silent = why && it.asked.filter((name) => !it.answers.some((each) => each.gateway === name));
  it.done([...it.answers, ...(silent || []).map((name) => failed(name, why))]);
}

export function hearDone({ gateway, it: answer }) {
  const it = waiting.get(answer.id);
  if (!it) return;
  it.answers.push({ gateway, ...answer });
  // An answer that names none of the asked gateways comes from the console itself and is the last answer.
  if (!it.asked.includes(gateway) || it.asked.every((name) => it.answers.some((each) => each.gateway === name))) give(answer.id, "");
  else it.more(it.answers);
}

export function lose() {
  for (const id of [...waiting.keys()]) give(id, "no answer, because the console is gone. The command may or may not have been carried out.");
}

// Show the answers next to the form: one line for each gateway.
export function tell(place, answers) {
  place.replaceChildren(...answers.flatMap(({ gateway, ok, words }, n) => {
    const line = make("span", { "data-ok": ok ? "yes" : "no" });
    line.textContent = `${ok ? "✓" : "✗"} ${gateway ? `${gateway}: ` : ""}${words || (ok ? "done" : "not done")}`;
    return n ? ["\n", line] : [line];
  }));
}

// Send a command, and ignore further clicks on its button until the answers are there.
export async function askFrom(button, place, gateway, to_do) {
  if (button.dataset.waits) return [];
  button.dataset.waits = "yes";
  place.textContent = "…";
  try {
    const answers = await ask(gateway, to_do, (some) => {
      tell(place, some);
      place.append("\n…");
    });
    tell(place, answers);
    return answers;
  } finally {
    delete button.dataset.waits;
  }
}
