// Server-sent events. The browser connects again by itself and says where it stopped, so nothing is missed.

/**
 * follow("/jobs/x/events", { events: (list) => …, state: (s) => …, end: () => … })
 * Handlers are named by event and get the data. `lost` and `back` tell of the connection.
 * The stream ends with the event `end`. Returns a function that ends it sooner.
 */
export function follow(address, handlers) {
  const source = new EventSource(address);
  let away = false;
  for (const [name, handle] of Object.entries(handlers)) {
    if (name === "lost" || name === "back" || name === "end") continue;
    source.addEventListener(name, (event) => handle(JSON.parse(event.data), event.lastEventId));
  }
  source.addEventListener("end", (event) => {
    source.close();
    handlers.end?.(JSON.parse(event.data));
  });
  source.addEventListener("open", () => {
    if (away) handlers.back?.();
    away = false;
  });
  source.addEventListener("error", () => {
    if (!away) handlers.lost?.();
    away = true;
    // A server that says no (it was restarted and wants a sign-in, say) is not asked again by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 2000);
  });
  addEventListener("pagehide", () => source.close());
  return () => source.close();
}
