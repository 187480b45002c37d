// The difference between two texts, line by line. Pure.

const CELLS_MAX = 4_000_000;    // beyond this size the whole middle is shown as removed and added

// Returns a list of [sign, line]; the sign is " ", "-" or "+".
export function diff(before, after) {
  const a = before.split("\n");
  const b = after.split("\n");
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const same = (lines) => lines.map((line) => [" ", line]);
  return [...same(a.slice(0, head)), ...middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)), ...same(a.slice(a.length - tail))];
}

function middle(a, b) {
  if ((a.length + 1) * (b.length + 1) > CELLS_MAX) return [...a.map((line) => ["-", line]), ...b.map((line) => ["+", line])];
  // longest[i][j]: the number of lines that a from line i on and b from line j on have in common
  const longest = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
  }
  const found = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      found.push([" ", a[i++]]);
      j++;
    } else if (i < a.length && (j === b.length || longest[i + 1][j] >= longest[i][j + 1])) found.push(["-", a[i++]]);
    else found.push(["+", b[j++]]);
  }
  return found;
}

// Only the changed lines, with a few lines around them. null stands for the lines that are left out.
export function around(lines, context = 2) {
  const near = new Uint8Array(lines.length);
  lines.forEach(([sign], n) => {
    if (sign !== " ") near.fill(1, Math.max(0, n - context), n + context + 1);
  });
  const found = [];
  lines.forEach((line, n) => {
    if (near[n]) found.push(line);
    else if (!n || near[n - 1]) found.push(null);
  });
  return found;
}
