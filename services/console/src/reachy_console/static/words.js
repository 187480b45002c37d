// Numbers as text. Pure.

export function lasting(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} days`;
}

export function clock(unix) {
  return new Date(unix * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

export function day(unix) {
  const date = new Date(unix * 1000);
  return `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")} ${clock(unix)}`;
}

export function minutes(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

export function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

const dollars = (it) => `$${it.toFixed(it > 0 && it < 0.1 ? 4 : 2)}`;

export function money({ dollars: spent, budget }) {
  return budget === null ? dollars(spent) : `${dollars(spent)} of $${budget.toFixed(2)}`;
}

// The spent part of the budget, 0 to 1; null without a budget.
export function share({ dollars: spent, budget }) {
  return budget === null ? null : budget > 0 ? Math.min(1, spent / budget) : 1;
}

export const ms = (it) => (it === null ? "" : `${Math.round(it)} ms`);

export const STATES = {
  absent: "not connected",
  away: "not responding",
  starting: "starting",
  listening: "listening",
  thinking: "thinking",
  speaking: "speaking",
  reconnecting: "reconnecting",
  refused: "cannot talk",
  stale: "stale",
  unknown: "unknown",
};

export function standing({ state, person_speaks }) {
  return state === "listening" && person_speaks ? "hearing a person" : STATES[state] || state;
}
