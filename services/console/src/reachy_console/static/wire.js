// The page's end of its socket: the worker that holds it, what commands became of, and whether the page is let in.

import { make } from "/static/dom.js";

export const worker = new Worker("/static/socket.js", { type: "module" });
export const door = { role: "", isOpen: false };

const ANSWER_MS = 15_000;
const waiting = new Map();  // a command's number -> who waits for its answers
let last = 0;

// What is to be told of: all robots, one of them in full, or nothing.
let looked = JSON.stringify({ fleet: false, robot: null });
export function look(fleet, robot) {
  const now = JSON.stringify({ fleet, robot });
  if (now === looked) return;
  looked = now;
  worker.postMessage({ kind: "look", fleet, robot });
}

// Have a gateway do something, or all of them if these are a list. Gives what they answered, as [{gateway, ok, words, ...}];
// `more` hears what is there already.
export function ask(gateway, to_do, more = () => {}) {
  const asked = Array.isArray(gateway) ? gateway : [gateway];
  if (!door.isOpen) return Promise.resolve([failed("", "The console is gone: nothing was asked.")]);
  const id = ++last;
  return new Promise((done) => {
    const it = { asked, answers: [], done, more };
    it.timer = setTimeout(() => give(id, "did not answer within 15 s. Nobody knows whether it was done."), ANSWER_MS);
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
  // One that names no gateway of those that were asked is the console's own, and the last.
  if (!it.asked.includes(gateway) || it.asked.every((name) => it.answers.some((each) => each.gateway === name))) give(answer.id, "");
  else it.more(it.answers);
}

export function lose() {
  for (const id of [...waiting.keys()]) give(id, "did not answer: the console is gone. Nobody knows whether it was done.");
}

// What was answered, next to the form: one line for each gateway.
export function tell(place, answers) {
  place.replaceChildren(...answers.flatMap(({ gateway, ok, words }, n) => {
    const line = make("span", { "data-ok": ok ? "yes" : "no" });
    line.textContent = `${ok ? "✓" : "✗"} ${gateway ? `${gateway}: ` : ""}${words || (ok ? "done" : "not done")}`;
    return n ? ["\n", line] : [line];
  }));
}

// Ask, with the button of the form out of use meanwhile.
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
