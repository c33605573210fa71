// Markdown as elements: for answers of models and for cards, which may say anything.
// Makes no element from text but those named here, loads no picture, and takes no time that grows
// faster than the text does. What it does not know stays as it was written.

import { element } from "./dom.js";

const FAR = 4000; // how far the end of an emphasis may be
const DEEP = 6;

/** Show `text` in `place`, instead of what is there. */
export function render(place, text) {
  place.replaceChildren(...blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0));
}

const FENCE = /^ {0,3}(```+|~~~+)\s*([\w+#.-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,12})([-*+]|\d{1,9}[.)])(?:\s+|$)/;
const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

function blocks(lines, depth) {
  const made = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (!line.trim()) {
      at += 1;
      continue;
    }
    const fence = FENCE.exec(line);
    const heading = HEADING.exec(line);
    if (fence) {
      const end = lines.findIndex((l, i) => i > at && l.trim().startsWith(fence[1]));
      const last = end < 0 ? lines.length : end;
      made.push(code(lines.slice(at + 1, last).join("\n")));
      at = last + 1;
    } else if (heading) {
      // A page has one h1, which is its own.
      made.push(element(`h${Math.min(6, heading[1].length + 1)}`, {}, ...inline(heading[2], depth)));
      at += 1;
    } else if (RULE.test(line)) {
      made.push(element("hr"));
      at += 1;
    } else if (QUOTE.test(line) && depth < DEEP) {
      const end = until(lines, at, (l) => !QUOTE.test(l));
      const inner = lines.slice(at, end).map((l) => l.replace(QUOTE, ""));
      made.push(element("blockquote", {}, ...blocks(inner, depth + 1)));
      at = end;
    } else if (ITEM.test(line) && depth < DEEP) {
      const end = until(lines, at, (l, i) => endsList(lines, l, i));
      made.push(list(lines.slice(at, end), depth));
      at = end;
    } else if (line.includes("|") && DELIMITERS.test(lines[at + 1] ?? "") && lines[at + 1].includes("-")) {
      const end = until(lines, at + 2, (l) => !l.includes("|"));
      made.push(table(line, lines.slice(at + 2, end), depth));
      at = end;
    } else {
      const end = until(lines, at + 1, startsBlock);
      made.push(element("p", {}, ...inline(lines.slice(at, end).join("\n").trim(), depth)));
      at = end;
    }
  }
  return made;
}

function until(lines, from, ends) {
  let at = from;
  while (at < lines.length && !ends(lines[at], at)) at += 1;
  return at;
}

const startsBlock = (line) =>
  !line.trim() || FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line);

function endsList(lines, line, at) {
  if (line.trim()) return !ITEM.test(line) && !/^\s{2,}/.test(line);
  const next = lines[at + 1] ?? "";
  return !ITEM.test(next) && !/^\s{2,}\S/.test(next);
}

function code(text) {
  return element("pre", { tabindex: "0" }, element("code", {}, text));
}

function list(lines, depth) {
  const first = ITEM.exec(lines[0]);
  const ordered = /\d/.test(first[2]);
  const items = [];
  for (const line of lines) {
    const found = ITEM.exec(line);
    if (found && found[1].length <= first[1].length + 1) items.push([line.slice(found[0].length)]);
    else items.at(-1).push(line.replace(/^ {1,4}/, ""));
  }
  const start = ordered ? Number.parseInt(first[2], 10) : 1;
  return element(
    ordered ? "ol" : "ul",
    start === 1 ? {} : { start },
    ...items.map((inner) => {
      const parts = blocks(inner, depth + 1);
      const only = parts.length === 1 && parts[0].tagName === "P";
      return element("li", {}, ...(only ? parts[0].childNodes : parts));
    }),
  );
}

function table(head, rows, depth) {
  const titles = cells(head);
  const row = (line) => element("tr", {}, ...cells(line).slice(0, titles.length).map((c) => element("td", {}, ...inline(c, depth))));
  return element(
    "div",
    { class: "table", tabindex: "0" },
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, ...titles.map((c) => element("th", { scope: "col" }, ...inline(c, depth))))),
      element("tbody", {}, ...rows.map(row)),
    ),
  );
}

/** The cells of `| a | b \| c |`. */
function cells(line) {
  const found = [""];
  const text = line.trim().replace(/^\|/, "");
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === "\\" && at + 1 < text.length) found[found.length - 1] += text[at] + text[++at];
    else if (text[at] === "|") found.push("");
    else found[found.length - 1] += text[at];
  }
  if (!found.at(-1).trim() && found.length > 1) found.pop();
  return found.map((cell) => cell.trim());
}

const NAMED = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'" };
const MARKS = { "**": "strong", __: "strong", "~~": "del", "*": "em", _: "em" };
const ADDRESS = /https?:\/\/[^\s<>"'`、。「」()（）]{1,2000}/y;

function inline(text, depth) {
  const made = [];
  const nearest = new Map(); // where each end is next, so that none is looked for twice
  let plain = "";
  let at = 0;
  const push = (...nodes) => {
    if (plain) made.push(document.createTextNode(plain));
    plain = "";
    made.push(...nodes);
  };
  const find = (end, from) => {
    let found = nearest.get(end);
    if (found === undefined || found < from) {
      found = text.indexOf(end, from);
      nearest.set(end, found < 0 ? Infinity : found);
    }
    return found >= 0 && found - from <= FAR ? found : -1;
  };
  while (at < text.length) {
    const letter = text[at];
    if (letter === "\\" && /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
    } else if (letter === "\n") {
      plain = plain.trimEnd();
      push(element("br"));
      at += 1;
    } else if (letter === "&") {
      const end = text.indexOf(";", at);
      const named = end > 0 && end - at < 7 ? NAMED[text.slice(at, end + 1)] : undefined;
      plain += named ?? letter;
      at = named ? end + 1 : at + 1;
    } else if (letter === "`") {
      const ticks = /`+/y;
      ticks.lastIndex = at;
      const mark = ticks.exec(text)[0];
      const end = find(mark, at + mark.length);
      if (end > 0) push(element("code", {}, text.slice(at + mark.length, end).trim() || " "));
      else plain += mark;
      at = end > 0 ? end + mark.length : at + mark.length;
    } else if (letter === "[" || (letter === "!" && text[at + 1] === "[")) {
      const link = linked(text, letter === "!" ? at + 1 : at, find);
      if (!link) {
        plain += letter;
        at += 1;
        continue;
      }
      const words = depth < DEEP ? inline(link.words, depth + 1) : [link.words];
      if (letter === "!") push(...words); // a picture could tell its host who is reading
      else push(anchor(link.address, words));
      at = link.end;
    } else if (letter === "h" && address(text, at)) {
      const found = address(text, at);
      push(anchor(found, [found]));
      at += found.length;
    } else if ("*_~".includes(letter)) {
      const mark = text.startsWith(letter + letter, at) ? letter + letter : letter;
      const end = MARKS[mark] && depth < DEEP ? closing(text, at, mark, find) : -1;
      if (end > 0) push(element(MARKS[mark], {}, ...inline(text.slice(at + mark.length, end), depth + 1)));
      else plain += mark;
      at = end > 0 ? end + mark.length : at + mark.length;
    } else {
      plain += letter;
      at += 1;
    }
  }
  push();
  return made;
}

function closing(text, at, mark, find) {
  const from = at + mark.length;
  if (/\s/.test(text[from] ?? " ")) return -1;
  if (mark[0] === "_" && /\w/.test(text[at - 1] ?? " ")) return -1;
  const end = find(mark, from + 1);
  if (end < 0 || /\s/.test(text[end - 1])) return -1;
  if (mark[0] === "_" && /\w/.test(text[end + mark.length] ?? " ")) return -1;
  return end;
}

/** [words](address) */
function linked(text, at, find) {
  const middle = find("](", at);
  if (middle < 0) return null;
  const end = find(")", middle);
  const written = end < 0 ? "" : text.slice(middle + 2, end).trim().split(/\s/)[0];
  return end < 0 ? null : { words: text.slice(at + 1, middle), address: written, end: end + 1 };
}

function address(text, at) {
  ADDRESS.lastIndex = at;
  return ADDRESS.exec(text)?.[0].replace(/[.,:;!?]+$/, "");
}

/** A link, if it leads to the web; else its words. */
function anchor(where, words) {
  const known = /^https?:\/\//i.test(where) && URL.canParse(where);
  if (!known) return element("span", {}, ...words);
  return element("a", { href: where, rel: "noopener noreferrer nofollow", target: "_blank", title: where }, ...words);
}
