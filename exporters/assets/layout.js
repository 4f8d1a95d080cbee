// Where each call is drawn: rows by depth, each an array of boxes from left to right.

const NARROWEST = 0.3; // CSS pixels; a narrower call is not drawn, nor are those below it

// Boxes {node, x, width} for the calls under `top`, which takes the full width, as do its callers above it.
// Relies on CallTree.sortChildren: the first child that is too narrow ends its row.
function layout(tree, total, top, width) {
  const rows = tree.path(top).map((node) => [{ node, x: 0, width }]);
  if (!(total[top] > 0)) return rows;
  const scale = width / total[top];
  const pending = [rows.at(-1)[0]];
  while (pending.length > 0) {
    const box = pending.pop();
    const depth = tree.depth[box.node] + 1;
    const laid = [];
    let x = box.x;
    for (let index = tree.firstChild[box.node]; index < tree.firstChild[box.node + 1]; index++) {
      const node = tree.children[index];
      const childWidth = total[node] * scale;
      if (childWidth < NARROWEST) break;
      laid.push({ node, x, width: childWidth });
      x += childWidth;
    }
    if (laid.length === 0) continue;
    (rows[depth] ??= []).push(...laid);
    pending.push(...laid.reverse()); // the leftmost is taken next, so rows fill from the left
  }
  return rows;
}

// The box of a row at a horizontal position, or undefined.
function boxAt(row, x) {
  let low = 0;
  let high = row.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const box = row[middle];
    if (x < box.x) high = middle - 1;
    else if (x >= box.x + box.width) low = middle + 1;
    else return box;
  }
  return undefined;
}
