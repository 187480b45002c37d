// Helpers with which the views build their elements. Text is set as text, never as HTML.

export const at = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Write only a text that differs. Otherwise a screen reader repeats the live region, and the user's selection is lost.
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

// Put the elements into this order. Move only the elements that must move, and keep the focus.
export function order(parent, elements) {
  const focused = document.activeElement;
  elements.forEach((element, n) => {
    if (parent.children[n] !== element) parent.insertBefore(element, parent.children[n] || null);
  });
  while (parent.children.length > elements.length) parent.lastElementChild.remove();
  if (focused && focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true });
}

// A level meter, from -60 dB to 0 dB.
export class Level {
  constructor(label) {
    this.fill = make("span");
    this.element = make("span", { class: "level", role: "meter", "aria-label": label, "aria-valuemin": -60, "aria-valuemax": 0 }, this.fill);
    this.show(null);
  }

  show(db) {
    const shown = db === null ? -60 : Math.max(-60, Math.min(0, Math.round(db)));
    if (this.shown === shown && this.isKnown === (db !== null)) return;
    this.shown = shown;
    this.isKnown = db !== null;
    this.fill.style.transform = `scaleX(${(shown + 60) / 60})`;
    this.element.setAttribute("aria-valuenow", shown);
    this.element.setAttribute("aria-valuetext", db === null ? "no sound" : `${shown} dB`);
  }
}
