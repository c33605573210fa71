// One job as it goes: progress, chart, messages, sample answers, log. All words from the job are text.

import { element } from "../shell/js/dom.js";
import { follow } from "../shell/js/follow.js";
import { show } from "../shell/js/request.js";
import { clock, number, t } from "../shell/js/texts.js";
import { Chart } from "./chart.js";
import { PrintedLog } from "./log.js";
import { tabs } from "./tabs.js";

const { id, state, ended, epochs, measured, live } = JSON.parse(document.getElementById("live").textContent);
const at = (name) => document.getElementById(name);
const address = `/jobs/${encodeURIComponent(id)}`;
const MOST_MESSAGES = 500;
const BADGES = { succeeded: "good", failed: "bad", lost: "bad", running: "busy", stopping: "warning", cancelled: "warning", stopped: "warning" };

const chart = measured ? new Chart(at("chart"), `${address}/chart`) : null; // of a training
const printed = new PrintedLog(at("raw"), at("earlier"), `${address}/log`);

const stageWords = (stage) => {
  const known = t(`jobs.stage-${stage}`);
  return known.startsWith("jobs.") ? stage : known;
};

function showProgress({ stage, done, total, remaining_seconds: left }) {
  if (!measured) showStage(stage, done, total);
  if (!ended) at("stage").textContent = stageWords(stage);
  if (stage === "held-out") return; // a moment within the training, whose bar stays
  const bar = at("bar");
  if (total) {
    bar.max = total;
    bar.value = done;
  } else bar.removeAttribute("value");
  if (stage === "train") at("step").textContent = total ? `${number(done)} / ${number(total)}` : number(done);
  at("remaining").textContent = ended ? "" : left ? t("jobs.left", { time: clock(left) }) : total ? `${number(done)} / ${number(total)}` : "";
}

// Of work that is no training: how far each of its stages is.
const stages = new Map();

function showStage(stage, done, total) {
  let found = stages.get(stage);
  if (!found) {
    found = { bar: element("progress", { "aria-label": stageWords(stage) }), told: element("span", { class: "number soft small" }) };
    stages.set(stage, found);
    at("stages").append(element("li", {}, element("span", {}, stageWords(stage)), found.told, found.bar));
  }
  if (total) {
    found.bar.max = total;
    found.bar.value = done;
    found.told.textContent = `${number(done)} / ${number(total)}`;
  } else if (ended) found.bar.value = 0;
}

function showNumbers(step, values) {
  if ("loss" in values) at("loss").textContent = values.loss == null ? "–" : number(values.loss, 3);
  if ("held_out_loss" in values && values.held_out_loss != null) at("held-out").textContent = number(values.held_out_loss, 3);
  if (values.tokens_per_second) at("speed").textContent = number(values.tokens_per_second);
  if ("epoch" in values && values.epoch != null) {
    at("epoch-fact").hidden = false;
    at("epoch").textContent = epochs ? `${values.epoch} / ${epochs}` : values.epoch;
  }
}

function addMessage({ message, level, time }) {
  const list = at("messages-list");
  const clockTime = new Date(time * 1000).toLocaleTimeString(document.documentElement.lang);
  list.append(element("li", { class: level }, element("time", { class: "soft small number" }, clockTime), " ", message));
  while (list.children.length > MOST_MESSAGES) list.firstChild.remove();
}

// Of each question: what was answered at which step, the newest first.
const answers = new Map();

function addSample({ step, question, answer, expected }) {
  if (!answers.size) at("samples").replaceChildren();
  let found = answers.get(question);
  if (!found) {
    found = { list: element("ol", { class: "answers" }), steps: new Map() };
    answers.set(question, found);
    const wanted = expected ? element("p", { class: "expected small" }, `${t("jobs.expected")}: ${expected}`) : null;
    at("samples").append(element("article", { class: "sample" }, element("h3", {}, question), wanted, found.list));
  }
  for (const [old, line] of found.steps) {
    if (old < step) continue;
    line.remove(); // a resumed job asks again
    found.steps.delete(old);
  }
  const when = step ? t("jobs.at-step", { step: number(step) }) : t("jobs.before");
  const line = element("li", {}, element("span", { class: "soft small number" }, when), element("p", {}, answer || "…"));
  found.steps.set(step, line);
  found.list.prepend(line);
}

const takers = {
  progress: showProgress,
  metric: ({ step, values }) => {
    if (measured) showNumbers(step, values);
    chart?.add(step, values);
    if (chart) offer(Object.keys(values));
  },
  log: addMessage,
  sample: addSample,
  artifact: ({ reference }) => show("good", t("jobs.registered", { what: reference })),
};

// The metrics that can be chosen for the chart.
const choices = at("metric");
const offered = new Set(["loss", "held_out_loss", "epoch"]);
function offer(names) {
  for (const name of names) {
    if (offered.has(name)) continue;
    offered.add(name);
    const known = t(`jobs.metric-${name}`);
    choices.append(element("option", { value: name }, known.startsWith("jobs.") ? name : known));
  }
}
choices?.addEventListener("change", () => chart.choose(choices.value));

for (const stage of live.stages) if (stage.stage !== "train") showProgress(stage);
const train = live.stages.find((stage) => stage.stage === "train");
if (train) showProgress(train);
if (live.stages.length) showProgress(live.stages.at(-1));
else if (ended) at("bar").value = 0;
else at("stage").textContent = t("jobs.preparing");
if (measured) showNumbers(live.step, live.metrics);
live.logs.forEach(addMessage);
live.samples.forEach(addSample);
if (chart) offer(Object.keys(live.metrics));

tabs(document.querySelector('[role="tablist"]'), live.samples.length ? "samples" : "messages", (name) => {
  if (name === "raw") printed.open(!ended);
  else printed.close();
});

chart?.load().then(offer);

if (!ended) {
  let last = state;
  follow(`${address}/events?from=${live.position}`, {
    events: (list) => list.forEach((event) => takers[event.type]?.(event)),
    state: (now) => {
      if (now.state === last || now.ended) return;
      last = now.state;
      at("state").textContent = now.label;
      at("state").className = `badge ${BADGES[now.state] ?? ""}`;
    },
    end: () => location.reload(),
    lost: () => show("warning", t("shell.offline")),
    back: () => show("good", t("jobs.back")),
  });
}
