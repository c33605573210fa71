// The printed log: its end at once, earlier stretches when they are asked for, new lines as they come.

import { element } from "../shell/js/dom.js";
import { headers, read } from "../shell/js/request.js";

const EVERY = 1000; // milliseconds between looks, while the log is shown

export class PrintedLog {
  #host;
  #earlier;
  #address;
  #start = null;
  #end = 0;
  #timer = 0;

  constructor(host, earlier, address) {
    this.#host = host;
    this.#earlier = earlier;
    this.#address = address;
    earlier.addEventListener("click", () => this.#before());
  }

  /** Begin to show it; `live`: it still grows. */
  async open(live) {
    if (this.#start === null) {
      const found = await this.#ask("");
      [this.#start, this.#end] = [found.start, found.end];
      this.#host.append(element("div", {}, found.text));
      this.#earlier.hidden = this.#start === 0;
      this.#host.scrollTop = this.#host.scrollHeight;
    }
    if (live && !this.#timer) this.#timer = setInterval(() => this.#after(), EVERY);
  }

  close() {
    clearInterval(this.#timer);
    this.#timer = 0;
  }

  async #before() {
    const found = await this.#ask(`?before=${this.#start}`);
    this.#start = found.start;
    const height = this.#host.scrollHeight;
    this.#host.prepend(element("div", {}, found.text));
    this.#host.scrollTop += this.#host.scrollHeight - height;
    this.#earlier.hidden = this.#start === 0;
  }

  async #after() {
    const found = await this.#ask(`?after=${this.#end}`).catch(() => null);
    if (!found?.text) return;
    const atEnd = this.#host.scrollHeight - this.#host.scrollTop - this.#host.clientHeight < 40;
    this.#end = found.end;
    this.#host.append(element("div", {}, found.text));
    if (atEnd) this.#host.scrollTop = this.#host.scrollHeight;
  }

  async #ask(query) {
    return read(await fetch(this.#address + query, { headers: headers() }));
  }
}
