// News of all conversions: by server-sent events, or by asking again and again where they do not come through.

const POLL = 2_000;
const TRY_AGAIN = 20_000;
/** So long without a connection is a loss. After an orderly end browsers connect again in 3 to 5 seconds. */
const LOST = 8_000;

/**
 * Follows the server. `fresh` is called whenever something may have been missed, `progress` and
 * `removed` with an event's data, `connected` with whether the server is heard.
 */
export function follow({ fresh, progress, removed, connected, busy }) {
  let source = null;
  let timers = [];
  let lost = null;
  let stopped = false;

  function open() {
    close();
    source = new EventSource("/v1/events");
    source.addEventListener("open", () => { calm(); connected(true); fresh(); });
    source.addEventListener("progress", (event) => progress(JSON.parse(event.data)));
    source.addEventListener("removed", (event) => removed(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      // An orderly end, or a network that comes back: the browser sees to that, with an error for each try.
      if (source?.readyState === EventSource.CONNECTING) lost ??= setTimeout(() => connected(false), LOST);
      if (source?.readyState !== EventSource.CLOSED) return;
      close();
      poll();
      timers.push(setTimeout(open, TRY_AGAIN));
    });
  }

  async function poll() {
    const heard = await fresh();
    // An event source that was opened meanwhile knows better.
    if (source !== null || stopped) return;
    connected(heard);
    timers.push(setTimeout(poll, POLL));
  }

  function calm() {
    clearTimeout(lost);
    lost = null;
  }

  function close() {
    calm();
    source?.close();
    source = null;
    timers.forEach(clearTimeout);
    timers = [];
  }

  // Browsers open few connections to one server: a page that nobody sees leaves them to others.
  const seen = () => {
    if (document.hidden && !busy()) close();
    else if (!document.hidden && source === null) open();
  };
  document.addEventListener("visibilitychange", seen);
  open();
  return () => {
    stopped = true;
    document.removeEventListener("visibilitychange", seen);
    close();
  };
}
