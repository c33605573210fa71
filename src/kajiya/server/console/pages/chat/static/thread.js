// What was said, as elements: questions, answers (two side by side where two models answer), opinions.

import { element, icon } from "../shell/js/dom.js";
import { render } from "../shell/js/markdown.js";
import { show } from "../shell/js/request.js";
import { number, t } from "../shell/js/texts.js";
import { sendsOnEnter } from "./enter.js";

const ENDED = { stop: "", length: "cut", stopped: "stopped", lost: "lost", failed: "failed" };

export class Thread {
  /** `actions`: again(), edit(text, position), rate(id, verdict), compare(id, verdict), correct(id, text). */
  constructor(place, actions) {
    this.place = place;
    this.actions = actions;
    this.texts = new Map(); // of the answers being written
    this.waiting = new Set();
  }

  /** Show all messages anew. */
  draw(messages) {
    const near = this.nearEnd();
    this.texts.clear();
    const turns = [];
    for (const message of messages) {
      if (!message.side) turns.push({ question: message, answers: [] });
      else turns.at(-1)?.answers.push(message);
    }
    this.place.replaceChildren(...turns.map((turn, i) => this.turn(turn, i === turns.length - 1)));
    if (near) this.toEnd();
  }

  /** More of an answer that is being written. */
  grow(id, at, text) {
    this.texts.set(id, (this.texts.get(id) ?? "").slice(0, at) + text);
    if (this.waiting.has(id)) return;
    this.waiting.add(id);
    requestAnimationFrame(() => {
      this.waiting.delete(id);
      const place = document.getElementById(`text-${id}`);
      if (!place || !this.texts.get(id)) return; // nothing yet: that it is waited for stays
      const near = this.nearEnd();
      render(place, this.texts.get(id));
      if (near) this.toEnd();
    });
  }

  nearEnd() {
    const page = document.documentElement;
    return page.scrollHeight - page.scrollTop - page.clientHeight < 120;
  }

  toEnd() {
    document.documentElement.scrollTop = document.documentElement.scrollHeight;
  }

  turn({ question, answers }, last) {
    const done = answers.length > 1 && answers.every((a) => a.text && !["running", "failed", "lost"].includes(a.status));
    return element(
      "article",
      { class: "turn" },
      this.question(question),
      element("div", { class: answers.length > 1 ? "answers two" : "answers" }, ...answers.map((a) => this.answer(a, answers.length > 1, last))),
      done ? this.vote(answers[0], last) : null,
    );
  }

  question(message) {
    const text = element("p", { class: "text" }, message.text);
    const place = element("div", { class: "asked" }, element("h2", { class: "hidden-text" }, t("chat.you")), text);
    const tools = element(
      "div",
      { class: "tools" },
      copying(() => message.text),
      tool("edit", t("chat.edit"), () => this.rewrite(place, message)),
    );
    place.append(tools);
    return place;
  }

  rewrite(place, message) {
    const field = element("textarea", { rows: "3", "aria-label": t("chat.edit") });
    field.value = message.text;
    const back = [...place.children];
    const form = element(
      "form",
      { class: "stack" },
      field,
      element(
        "div",
        { class: "actions" },
        element("button", { class: "primary" }, t("chat.send")),
        element("button", { type: "button", onclick: () => place.replaceChildren(...back) }, t("shell.cancel")),
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value.trim()) this.actions.edit(field.value, message.position);
    });
    sendsOnEnter(field, form);
    place.replaceChildren(form);
    field.focus();
  }

  answer(message, beside, last) {
    const text = element("div", { class: "markdown", id: `text-${message.id}` });
    if (message.status === "running") this.texts.set(message.id, message.text);
    if (message.text) render(text, message.text);
    else if (message.status === "running") text.append(element("p", { class: "soft" }, t("chat.waiting")));
    const label = beside ? `${message.side.toUpperCase()} · ${message.model}` : message.model;
    const place = element("div", { class: "answer" }, element("h2", { class: "by" }, label), text);
    const note = notes(message);
    if (note) place.append(note);
    if (message.status !== "running") place.append(this.tools(place, message, last));
    if (message.correction != null) place.append(corrected(message.correction));
    return place;
  }

  tools(place, message, last) {
    const tools = element("div", { class: "tools" });
    if (message.text) {
      tools.append(copying(() => message.text));
      if (message.status !== "failed" && message.status !== "lost") {
        tools.append(...this.ratings(message), tool("edit", t("chat.correct"), () => this.correct(place, message)));
      }
    }
    if (last) tools.append(tool("again", t("chat.again"), () => this.actions.again()));
    return tools;
  }

  ratings(message) {
    const buttons = { up: t("chat.good"), down: t("chat.bad") };
    const made = Object.entries(buttons).map(([verdict, words]) => {
      const button = tool(verdict, words, async () => {
        const said = message.rating === verdict ? "" : verdict;
        if (await this.actions.rate(message.id, said)) {
          message.rating = said;
          for (const each of made) each.setAttribute("aria-pressed", String(each.dataset.verdict === said));
        }
      });
      button.dataset.verdict = verdict;
      button.setAttribute("aria-pressed", String(message.rating === verdict));
      return button;
    });
    return made;
  }

  vote(first, last) {
    const choices = { a: t("chat.a-better"), tie: t("chat.tie"), b: t("chat.b-better") };
    const buttons = Object.entries(choices).map(([verdict, words]) =>
      element(
        "button",
        {
          type: "button",
          "aria-pressed": String(first.comparison === verdict),
          onclick: async (event) => {
            if (!(await this.actions.compare(first.id, verdict))) return;
            first.comparison = verdict;
            for (const each of buttons) each.setAttribute("aria-pressed", String(each === event.currentTarget || each === event.target));
          },
        },
        words,
      ),
    );
    return element(
      "div",
      { class: "vote", role: "group", "aria-label": t("chat.which-better") },
      element("p", {}, t("chat.which-better")),
      element("div", { class: "actions" }, ...buttons),
      last ? element("p", { class: "soft small" }, t("chat.goes-on")) : null,
    );
  }

  correct(place, message) {
    if (place.querySelector("form")) return;
    const field = element("textarea", { rows: "5", "aria-label": t("chat.correction") });
    field.value = message.correction ?? message.text;
    const form = element(
      "form",
      { class: "stack" },
      element("p", { class: "soft small" }, t("chat.correct-about")),
      field,
      element(
        "div",
        { class: "actions" },
        element("button", { class: "primary" }, t("chat.save-correction")),
        element("button", { type: "button", onclick: () => form.remove() }, t("shell.cancel")),
      ),
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!(await this.actions.correct(message.id, field.value))) return;
      message.correction = field.value === message.text ? null : field.value;
      place.querySelector(".corrected")?.remove();
      form.remove();
      if (message.correction != null) place.append(corrected(message.correction));
    });
    place.append(form);
    field.focus();
  }
}

function tool(name, words, act) {
  return element("button", { type: "button", class: "quiet", title: words, "aria-label": words, onclick: act }, icon(name));
}

function copying(text) {
  return tool("copy", t("shell.copy"), async () => {
    await navigator.clipboard.writeText(text());
    show("good", t("shell.copied"));
  });
}

function corrected(text) {
  return element("div", { class: "corrected" }, element("h3", {}, t("chat.corrected")), element("p", { class: "text" }, text));
}

function notes(message) {
  const told = [];
  const ended = ENDED[message.status];
  if (ended) told.push(t(`chat.${ended}`, { problem: message.problem }));
  if (message.forgotten) told.push(t("chat.forgotten", { count: message.forgotten }));
  if (message.tokens != null && message.seconds != null) {
    told.push(t("chat.figures", { tokens: number(message.tokens), seconds: number(message.seconds, 1) }));
  }
  const bad = message.status === "failed" || message.status === "lost";
  return told.length ? element("p", { class: bad ? "end bad" : "end" }, told.join(" · ")) : null;
}
