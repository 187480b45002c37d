// Our own drawing of a Reachy Mini, which follows the robot's poses. Only attributes change, so the page's layout stays.

const SVG = "http://www.w3.org/2000/svg";
const PX_MM = 1.6;          // px for one millimetre of the head
const YAW_PX = 70;          // px that the face moves at 90 degrees
const PITCH_PX = 45;

function add(parent, name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

export class Robot {
  constructor(place, calm) {
    this.calm = calm;
    const svg = add(place, "svg", { viewBox: "-160 -190 320 330", role: "img", "aria-label": "a small robot: a head with two eyes and two antennas on a round body" });
    this.body = add(svg, "g", {});
    add(this.body, "path", { d: "M-78 62 Q-92 128 -60 132 H60 Q92 128 78 62 Q0 40 -78 62Z", class: "shell" });
    this.mark = add(this.body, "circle", { cx: 0, cy: 100, r: 7, class: "tip" });
    this.head = add(svg, "g", {});
    this.voice = [34, 48].map((r) => add(this.head, "ellipse", { cx: 0, cy: 0, rx: 100 + r, ry: 64 + r, class: "voice", opacity: 0 }));
    this.left = add(this.head, "g", {});
    this.right = add(this.head, "g", {});
    for (const side of [this.left, this.right]) {
      add(side, "line", { x1: 0, y1: 0, x2: 0, y2: -84, class: "antenna" });
      add(side, "circle", { cx: 0, cy: -88, r: 8, class: "tip" });
    }
    add(this.head, "rect", { x: -104, y: -58, width: 208, height: 116, rx: 52, class: "shell" });
    this.face = add(this.head, "g", {});
    add(this.face, "circle", { cx: -40, cy: 0, r: 34, class: "dark" });
    add(this.face, "circle", { cx: 46, cy: 2, r: 26, class: "dark" });
    add(this.face, "circle", { cx: -30, cy: -11, r: 9, class: "glint" });
    add(this.face, "circle", { cx: 53, cy: -7, r: 7, class: "glint" });
    add(this.face, "rect", { x: -10, y: 0, width: 22, height: 6, rx: 3, class: "dark" });
    this.pose([-21, 0, -44, 0, 24, 0, 0, 174, -174]);
  }

  // x, y, z in mm; the head's roll, pitch and yaw, the body's yaw, the left and the right antenna in degrees. The picture shows
  // the robot from the front, so the robot's left is on the right.
  pose([x, y, z, roll, pitch, yaw, body, left, right]) {
    const turned = ((yaw - body) * Math.PI) / 180;
    const scale = 1 + x / 400;
    this.body.setAttribute("transform", `translate(${(body * 0.25).toFixed(2)} 0)`);
    this.mark.setAttribute("cx", (Math.sin((body * Math.PI) / 180) * 60).toFixed(2));
    this.head.setAttribute("transform", `translate(${(y * PX_MM + Math.sin(turned) * 14).toFixed(2)} ${(-z * PX_MM - 18).toFixed(2)}) rotate(${(-roll).toFixed(2)}) scale(${scale.toFixed(3)})`);
    this.face.setAttribute("transform", `translate(${(Math.sin(turned) * YAW_PX).toFixed(2)} ${(Math.sin((pitch * Math.PI) / 180) * PITCH_PX).toFixed(2)}) scale(${Math.max(0.5, Math.cos(turned)).toFixed(3)} 1)`);
    this.left.setAttribute("transform", `translate(56 -50) rotate(${left.toFixed(2)})`);
    this.right.setAttribute("transform", `translate(-56 -50) rotate(${right.toFixed(2)})`);
  }

  // Loudness of the robot's speech, 0 to 1. Shown without movement to a person whose system asks for reduced motion.
  level(loud) {
    const shown = Math.min(1, loud * 5);
    this.voice[0].setAttribute("opacity", (this.calm ? (shown > 0.05 ? 0.5 : 0) : shown * 0.8).toFixed(2));
    this.voice[1].setAttribute("opacity", (this.calm ? 0 : Math.max(0, shown - 0.4)).toFixed(2));
  }
}
