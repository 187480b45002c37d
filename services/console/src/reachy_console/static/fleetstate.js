// The gateways' reports merged into one fleet: one row for each robot, however many gateways admit it. Pure: the time is an
// argument, in s.

export const ASKING_S = 3;     // a gateway has this long to answer after the console began to ask
export const FEED_OLD_S = 5;   // the console reports every second; after this long without a report nothing is shown as live
export const ROBOT = /^[a-z0-9][a-z0-9-]{0,62}$/;

export class FleetState {
  constructor() {
    this.gateways = null;       // as the console sees them; null: no report yet
    this.told = new Map();      // gateway -> its rows, strangers, recordings
    this.heardAt = -Infinity;
    this.askedAt = -Infinity;   // when the reports began
    this.isOpen = false;
  }

  hearGateways({ gateways }, now) {
    this.gateways = gateways;
    if (this.isOld(now)) this.askedAt = now;
    this.heardAt = now;
    const names = new Set(gateways.map((each) => each.name));
    for (const name of this.told.keys()) if (!names.has(name)) this.told.delete(name);
    for (const { name, whole } of gateways) if (whole) this.setClock(this.of(name), whole.now, now);
  }

  hearFleet({ gateway, it }, now) {
    const of = this.of(gateway);
    if (it.afresh) Object.assign(of, { rows: new Map(), strangers: [], recordings: [] });
    if (it.whole) this.setClock(of, it.whole.now, now);
    for (const row of it.rows) of.rows.set(row.robot, row);
    for (const robot of it.gone) of.rows.delete(robot);
    if (it.strangers) of.strangers = it.strangers;
    if (it.recordings) of.recordings = it.recordings;
  }

  of(gateway) {
    if (!this.told.has(gateway)) this.told.set(gateway, { rows: new Map(), strangers: [], recordings: [], clock: null, ahead: 0 });
    return this.told.get(gateway);
  }

  // Each gateway has its own clock. A reading that comes twice is old and is ignored.
  setClock(of, told, now) {
    if (of.clock === told) return;
    of.clock = told;
    of.ahead = told - now;
  }

  isOld(now) {
    return !this.isOpen || now - this.heardAt > FEED_OLD_S;
  }

  // Each gateway's standing. Without reports from the console, every gateway counts as gone.
  standings(now) {
    const old = this.isOld(now);
    return (this.gateways || []).map((each) => ({
      ...each,
      standing: old ? "gone" : each.standing === "gone" && now - this.askedAt < ASKING_S ? "asking" : each.standing,
      age_s: each.age_s === null ? null : each.age_s + (old ? Math.max(0, now - this.heardAt) : 0),
    }));
  }

  // One row for each robot: present robots first, then absent robots, each group sorted by name.
  rows(now) {
    const best = new Map();
    for (const gateway of this.standings(now)) {
      const of = this.told.get(gateway.name);
      if (!of) continue;
      for (const row of of.rows.values()) {
        const made = {
          ...row,
          gateway: gateway.name,
          standing: gateway.standing,
          age_s: gateway.age_s,
          role: gateway.whole ? gateway.whole.role : "operator",
          for_s: row.since === null ? null : now + of.ahead - row.since,
          told: row.state,
          state: gateway.standing === "here" ? row.state : gateway.standing === "stale" ? "stale" : "unknown",
        };
        if (!best.has(row.robot) || isBetter(made, best.get(row.robot))) best.set(row.robot, made);
      }
    }
    return [...best.values()].sort((a, b) => isAbsent(a) - isAbsent(b) || (a.robot < b.robot ? -1 : 1));
  }

  // The refused keys of all gateways, merged by key: a robot that one gateway refuses tries the next.
  strangers(now) {
    const found = new Map();
    for (const { name } of this.standings(now)) {
      const of = this.told.get(name);
      for (const each of of ? of.strangers : []) {
        const known = found.get(each.key);
        const ago_s = now + of.ahead - each.at;
        if (!known) found.set(each.key, { ...each, ago_s, gateways: [name] });
        else {
          if (ago_s < known.ago_s) Object.assign(known, { ago_s, at: each.at, address: each.address });
          known.times += each.times;
          known.gateways.push(name);
        }
      }
    }
    return [...found.values()].sort((a, b) => a.ago_s - b.ago_s);
  }

  recordings(robot) {
    const found = [];
    for (const [gateway, of] of this.told) for (const each of of.recordings) if (each.robot === robot) found.push({ ...each, gateway });
    return found.sort((a, b) => b.at - a.at);
  }
}

const isAbsent = (row) => row.told === "absent";

// A present robot's row wins over an absent robot's. Then a row from a gateway that reports wins over a row from a silent
// gateway. Then the newer state wins.
function isBetter(a, b) {
  const rank = (row) => (isAbsent(row) ? 0 : row.standing === "here" ? 2 : 1);
  if (rank(a) !== rank(b)) return rank(a) > rank(b);
  if (isAbsent(a) && (a.standing === "here") !== (b.standing === "here")) return a.standing === "here";
  return (a.for_s ?? Infinity) < (b.for_s ?? Infinity);
}
