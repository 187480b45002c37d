// The page: signing in, the three views, and the handlers of the console's messages.

import { at, put } from "/static/dom.js";
import { Fleet } from "/static/fleet.js";
import { FleetState, ROBOT } from "/static/fleetstate.js";
import { RobotView } from "/static/robotview.js";
import { HEAR as TALK, REMEDIES, check, complain, lost, readiness, rename, stop } from "/static/talk.js";
import { door, hearDone, look, lose, worker } from "/static/wire.js";

const NOT_AGAIN = 1008;     // WebSocket close code of an error that a new attempt does not cure
const TAKEN = 4001;         // WebSocket close code: another tab has this page's robot now
const ASK_MS = 3000;
const SHOW_MS = 100;        // the least time between two redraws
const TICK_MS = 1000;
const TITLES = { talk: "Talk to Reachy", fleet: "Fleet – Reachy Link", robot: "Robot – Reachy Link" };

const state = new FleetState();
const fleet = new Fleet(state);
const robotView = new RobotView(state);
const seconds = () => performance.now() / 1000;

let asking = 0;             // timer
let showing = 0;            // timer
let view = "talk";
let robot = null;           // the robot that the Robot view shows
let code = "";              // a link's code that the console has not answered yet
let refusal = "";           // why the last link let nobody in

// --- signing in --------------------------------------------------------------------------------------------------------

// The text after the "#" is a view if it begins with a slash, and otherwise a link's code.
const isCode = () => location.hash.length > 1 && location.hash[1] !== "/";

async function comeIn() {
  check("secure", isSecureContext, REMEDIES.secure);
  clearTimeout(asking);
  if (isCode()) {
    code = location.hash.slice(1);
    history.replaceState(null, "", location.pathname);
  }
  if (code) {
    const answer = await fetch("/login", { method: "POST", body: code }).catch(() => null);
    if (answer) {
      code = "";
      refusal = answer.ok ? "" : await answer.text();
    }
  }
  const me = await fetch("/me").catch(() => null);
  if (me && me.ok) {
    check("door", true);
    refusal = "";
    worker.postMessage({ kind: "connect" });
    return;
  }
  const isStranger = me !== null && me.status === 401;
  const words = isStranger ? `${refusal} ${REMEDIES.door}`.trim() : REMEDIES.console;
  check("console", isStranger || false, words);
  if (isStranger) check("door", false, words);
  away(words);
  asking = setTimeout(comeIn, ASK_MS);  // the user may open a link in another tab, or start the console
}

// The Talk view shows its checks. The other views show this text at the top.
function away(words) {
  put(at("away"), words);
}

// --- views -------------------------------------------------------------------------------------------------------------

function route() {
  const [, first, second] = location.hash.match(/^#\/(fleet|robot|talk)(?:\/(.*))?$/) || [null, "talk"];
  const was = view;
  view = first;
  if (view === "robot") robot = second && ROBOT.test(second) ? second : null;
  for (const each of ["fleet", "robot", "talk"]) {
    at(`view-${each}`).hidden = each !== view;
    if (each === view) at(`nav-${each}`).setAttribute("aria-current", "page");
    else at(`nav-${each}`).removeAttribute("aria-current");
  }
  document.body.dataset.view = view;
  document.title = TITLES[view];
  if (robot) at("nav-robot").href = `#/robot/${robot}`;
  robotView.look(robot, view === "robot");
  watch();
  if (was !== view) {
    scrollTo(0, 0);
    if (view === "robot") at("robot-view-name").focus({ preventScroll: true });
    if (view === "fleet") fleet.focus(robot);
  }
}

// While nobody watches, the console sends no fleet data and the gateways compute none.
function watch() {
  if (document.hidden || view === "talk") look(false, null);
  else look(true, view === "robot" ? robot : null);
  show();
}

function show() {
  clearTimeout(showing);
  showing = 0;
  if (document.hidden) return;
  if (view === "fleet") fleet.show(seconds());
  if (view === "robot") robotView.show(seconds());
}

function showSoon() {
  if (!showing) showing = setTimeout(show, SHOW_MS);
}

setInterval(() => {
  if (view !== "talk") showSoon();  // durations grow, and a silent gateway becomes stale
}, TICK_MS);

// --- the console's messages --------------------------------------------------------------------------------------------

const HEAR = {
  ...TALK,
  open() {
    door.isOpen = state.isOpen = true;
    check("console", true);
    if (at("words").textContent === at("away").textContent) complain("");  // this trouble is over
    away("");
  },
  async closed({ code, reason }) {
    door.isOpen = state.isOpen = false;
    lose();
    const words = reason ? `The console closed the connection: ${reason}.` : REMEDIES.console;
    check("console", false, words);
    away(words);
    if (code === NOT_AGAIN || code === TAKEN) stop();
    lost();
    showSoon();
    if (code === TAKEN) {
      rename();
      complain("Another tab talks with this robot now. To talk here with another robot, press Talk.");
    } else if (reason) complain(words);
    const me = await fetch("/me").catch(() => null);
    if (me && me.status === 401) {
      worker.postMessage({ kind: "leave" });
      stop();
      comeIn();
    }
  },
  welcome({ role }) {
    door.role = role;
    if (role === "viewer") complain("You may look, but not talk. To talk, ask for an operator's link.");
  },
  gateways(message) {
    state.hearGateways(message, seconds());
    showSoon();
  },
  fleet(message) {
    state.hearFleet(message, seconds());
    showSoon();
  },
  detail(message) {
    robotView.hearDetail(message);
    showSoon();
  },
  event(message) {
    robotView.hearEvent(message);
    showSoon();
  },
  levels(message) {
    robotView.hearLevels(message);
  },
  done: hearDone,
};

worker.onmessage = ({ data }) => {
  if (HEAR[data.kind]) HEAR[data.kind](data);
  readiness();
};

addEventListener("hashchange", () => {
  if (isCode()) comeIn();
  route();
});
document.addEventListener("visibilitychange", watch);
addEventListener("keydown", (event) => {
  const writes = event.target.closest && event.target.closest("input, textarea, select, dialog");
  if (event.key !== "/" || view !== "fleet" || writes || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  at("filter").focus();
});

comeIn();
route();
