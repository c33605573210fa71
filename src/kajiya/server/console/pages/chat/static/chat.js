// A conversation: what was said, the answer that is being written, and the next question.

import { follow } from "../shell/js/follow.js";
import { RequestError, send, show } from "../shell/js/request.js";
import { t } from "../shell/js/texts.js";
import { sendsOnEnter } from "./enter.js";
import { watchPanel } from "./panel.js";
import { Thread } from "./thread.js";

const data = JSON.parse(document.getElementById("chat-data").textContent);
const base = `/chat/${data.id}`;
const find = (id) => document.getElementById(id);
const question = find("question");
let endFollowing = null;

const thread = new Thread(find("said"), {
  again: () => change("/again"),
  edit: (text, position) => change("/ask", { text, position }),
  rate: (id, verdict) => opinion(id, "rate", { verdict }),
  compare: (id, verdict) => opinion(id, "compare", { verdict }),
  correct: (id, text) => opinion(id, "correct", { text }),
});

/** Ask the server for a change and show what came of it; whether that went well. */
async function change(path, body) {
  try {
    await panel.saved();
    const { messages } = await send("POST", base + path, body ?? {});
    draw(messages);
    return true;
  } catch (error) {
    tell(error);
    return false;
  }
}

async function opinion(id, what, body) {
  try {
    await send("POST", `/chat/messages/${id}/${what}`, body);
    return true;
  } catch (error) {
    tell(error);
    return false;
  }
}

function tell(error) {
  if (!(error instanceof RequestError)) throw error;
  show("bad", error.message);
}

function draw(messages) {
  thread.draw(messages);
  const running = messages.some((message) => message.status === "running");
  find("stop").hidden = !running;
  find("send").disabled = running;
  const first = messages.find((message) => message.position === 0);
  if (first) find("title").textContent = first.text.length > 60 ? `${first.text.slice(0, 59)}…` : first.text;
  endFollowing?.();
  endFollowing = null;
  if (!running) return;
  find("announce").textContent = t("chat.waiting");
  endFollowing = follow(`${base}/events`, {
    text: ({ id, at, text }) => thread.grow(id, at, text),
    end: (told) => {
      draw(told.messages);
      find("announce").textContent = t("chat.answered");
    },
  });
}

const panel = watchPanel(base, data.state, find("coming"));
draw(data.messages);
question.focus();

sendsOnEnter(question, find("composer"));
find("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = question.value;
  if (!text.trim() || find("send").disabled) return;
  find("send").disabled = true;
  question.value = "";
  if (!(await change("/ask", { text }))) {
    question.value = text; // nothing that was written is lost
    find("send").disabled = false;
  }
  question.focus();
  thread.toEnd();
});
find("stop").addEventListener("click", () => change("/stop"));
