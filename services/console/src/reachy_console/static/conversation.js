// The shown robot's words, turns and events, collected from its gateways' messages. Pure and bounded.

export const SAID_MAX = 200;
export const TURNS_MAX = 100;
export const NOTES_MAX = 50;

const byTime = (a, b) => a.at - b.at;

export class Conversation {
  constructor() {
    this.told = new Map();      // gateway -> its turns, words and events
  }

  hearDetail({ gateway, it }) {
    const known = this.told.get(gateway);
    const of = known && known.boot === it.boot ? known : { boot: it.boot, turns: [], said: [], notes: [] };
    this.told.set(gateway, of);
    for (const name of ["body", "may_show", "may_record"]) of[name] = it[name];
    for (const name of ["turns", "said", "notes"]) if (it[name]) of[name] = [...it[name]];
    bound(of);
  }

  hearEvent({ gateway, it }) {
    const of = this.told.get(gateway);
    if (!of || of.boot !== it.boot) return;  // the detail that this event adds to has not arrived yet
    if (it.turn) of.turns = [...of.turns.filter((each) => each.turn !== it.turn.turn), it.turn];
    if (it.said) of.said.push(it.said);
    if (it.note) of.notes.push(it.note);
    bound(of);
  }

  all(name, most) {
    const found = [];
    for (const [gateway, of] of this.told) for (const each of of[name]) found.push({ ...each, from: `${gateway} ${of.boot}` });
    return found.sort(byTime).slice(-most);
  }

  turns() {
    return this.all("turns", TURNS_MAX);
  }

  notes() {
    return this.all("notes", NOTES_MAX);
  }

  // Paragraphs, ordered by their start. A person's paragraph ends when the robot speaks. The robot has one paragraph for each
  // turn, also for a finished turn without known words.
  paragraphs() {
    const found = [];
    const byTurn = new Map();
    let persons = null;
    const turns = this.turns().map((turn) => ({ at: turn.at, turn: turn.turn, from: turn.from, over: turn }));
    const pieces = [...this.all("said", SAID_MAX), ...turns].sort(byTime);
    for (const piece of pieces) {
      if (piece.who === "person") {
        if (!persons) found.push((persons = { key: `person ${piece.at} ${piece.from}`, who: "person", at: piece.at, text: "", turn: null, over: null }));
        persons.text += piece.text;
        continue;
      }
      const key = piece.turn === null ? `robot ${piece.at} ${piece.from}` : `turn ${piece.turn} ${piece.from}`;
      let robots = byTurn.get(key);
      if (!robots) {
        robots = { key, who: "robot", at: piece.at, text: "", turn: piece.turn, over: null };
        byTurn.set(key, robots);
        found.push(robots);
        persons = null;
      }
      if (piece.over) robots.over = piece.over;
      else robots.text += piece.text;
    }
    return found;
  }
}

function bound(of) {
  of.turns = of.turns.slice(-TURNS_MAX);
  of.said = of.said.slice(-SAID_MAX);
  of.notes = of.notes.slice(-NOTES_MAX);
}
