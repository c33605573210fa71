// The settings of a conversation: kept a moment after they were changed, and before the next question.

import { element } from "../shell/js/dom.js";
import { send, show } from "../shell/js/request.js";
import { number, t } from "../shell/js/texts.js";

const find = (id) => document.getElementById(id);
const SIDES = ["a", "b"];
const PAUSE = 600;
const LOOK = 1000;

/** Begin; `saved()` of what is returned waits until everything is kept. */
export function watchPanel(base, state, coming) {
  const form = find("panel");
  let timer = 0;
  let saving = Promise.resolve();

  function showModels(models) {
    for (const [at, side] of SIDES.entries()) {
      const model = models[at];
      const select = find(`model-${side}`);
      const name = model?.base ?? "";
      if (name && ![...select.options].some((option) => option.value === name)) select.append(new Option(name, name));
      select.value = name;
      showSliders(form.querySelector(`[data-side="${side}"] .sliders`), side, model?.sliders ?? []);
    }
  }

  async function save() {
    clearTimeout(timer);
    timer = 0;
    const told = await send("POST", `${base}/settings`, filledIn());
    showModels(told.models);
    find("saved").textContent = t("chat.settings-saved");
    await look();
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(() => {
      saving = save().catch((error) => show("bad", error.message));
    }, PAUSE);
  }

  async function saved() {
    if (timer) await save();
    else await saving;
  }

  /** Whether the chosen models can be asked yet. */
  async function look() {
    showComing(coming, await send("GET", "/chat/models"));
  }

  function showComing(place, { served, coming: on_their_way }) {
    const chosen = SIDES.map((side) => find(`model-${side}`).value).filter(Boolean);
    const told = [];
    let more = false;
    for (const name of chosen) {
      if (served.includes(name) || !(name in on_their_way)) continue;
      const problem = on_their_way[name];
      more ||= !problem;
      const words = problem ? t("chat.unavailable", { name, problem }) : t("chat.preparing", { name });
      told.push(element("p", { class: problem ? "notice bad" : "notice", role: "status" }, words));
    }
    place.replaceChildren(...told);
    if (more) {
      setTimeout(async () => {
        await look();
        // What can be mixed is known when the model is there.
        if (!place.children.length && !timer) saving = save().catch((error) => show("bad", error.message));
      }, LOOK);
    }
  }

  showModels(state.models);
  showComing(coming, state);
  form.addEventListener("input", later);
  form.addEventListener("submit", (event) => event.preventDefault());
  return { saved };
}

function filledIn() {
  const values = (id) => Object.fromEntries([...find(id).querySelectorAll("[name]")].map((field) => [field.name, field.value]));
  const sampling = Object.entries(values("sampling")).map(([name, text]) => [name, text.trim() === "" ? null : Number(text)]);
  return {
    models: SIDES.map((side) => chosenModel(side)).filter((model) => model.name),
    system: find("system").value,
    character: values("character"),
    sampling: Object.fromEntries(sampling),
  };
}

function chosenModel(side) {
  const fieldset = find("panel").querySelector(`[data-side="${side}"]`);
  const name = find(`model-${side}`).value;
  const weights = {};
  // Sliders of the model that was chosen before say nothing about this one.
  for (const slider of fieldset.querySelectorAll("input[type=range]")) {
    if (slider.dataset.model === name) weights[slider.dataset.reference] = Number(slider.value);
  }
  return { name, weights };
}

function showSliders(place, side, sliders) {
  if (place.contains(document.activeElement)) return; // somebody is moving one
  const model = find(`model-${side}`).value;
  place.replaceChildren(
    ...sliders.map(({ reference, weight, own }, at) => {
      const id = `weight-${side}-${at}`;
      const value = element("output", { for: id, class: "number" }, number(weight, 2));
      const slider = element("input", {
        type: "range",
        id,
        min: "-1",
        max: "2",
        step: "0.05",
        value: weight,
        "data-reference": reference,
        "data-model": model,
        oninput: (event) => {
          value.textContent = number(Number(event.target.value), 2);
        },
      });
      const words = own ? `${reference} (${t("chat.own")})` : reference;
      return element(
        "div",
        { class: "field" },
        element("div", { class: "row apart" }, element("label", { for: id }, t("chat.weight-of", { name: words })), value),
        slider,
      );
    }),
  );
}
